//! ETags. An answer that depends only on the engine has the engine's version as its tag: a client with the current
//! version gets 304, and the answer is not computed. Any other answer (hosts, the overview) has its own digest as its
//! tag.
//! Deliberately absent: caching; every answer is computed for its request.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::Api;
use devstack_api::ApiError;

/// The version is read before the answer is computed. A tag can be older than its answer, never newer, so no client
/// keeps outdated data.
pub(super) async fn by_version(State(api): State<Api>, request: Request, next: Next) -> Response {
    if !is_read(request.method()) {
        return next.run(request).await;
    }
    let tag = match api.backend.version().await {
        Ok(version) => format!("W/\"{version:x}\""),
        Err(error) => return error.into_response(),
    };
    if matches(request.headers(), &tag) {
        return not_modified(&tag);
    }
    tagged(next.run(request).await, &tag)
}

/// The answer is computed and compared.
pub(super) async fn by_digest(request: Request, next: Next) -> Response {
    if !is_read(request.method()) {
        return next.run(request).await;
    }
    let asked = request.headers().clone();
    let (parts, body) = next.run(request).await.into_parts();
    if parts.status != StatusCode::OK {
        return Response::from_parts(parts, body);
    }
    // These answers are in memory: they end and cannot fail.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return ApiError::internal("cannot make the answer").into_response();
    };
    let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
    if matches(&asked, &tag) {
        return not_modified(&tag);
    }
    tagged(Response::from_parts(parts, Body::from(body)), &tag)
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether the client has this tag. Tags are compared weakly, as `If-None-Match` requires.
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let all = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|list| list.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

fn not_modified(tag: &str) -> Response {
    tagged(StatusCode::NOT_MODIFIED.into_response(), tag)
}

fn tagged(mut response: Response, tag: &str) -> Response {
    if response.status() == StatusCode::OK || response.status() == StatusCode::NOT_MODIFIED {
        let headers = response.headers_mut();
        // Hexadecimal digits and quotes.
        if let Ok(tag) = HeaderValue::from_str(tag) {
            headers.insert(ETAG, tag);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            headers
        };
        for same in ["W/\"1f\"", "\"1f\"", "\"0\", W/\"1f\"", "*"] {
            assert!(matches(&asked(same), "W/\"1f\""), "{same}");
        }
        for other in ["W/\"1e\"", "1f", "\"1f", ""] {
            assert!(!matches(&asked(other), "W/\"1f\""), "{other}");
        }
        assert!(!matches(&HeaderMap::new(), "W/\"1f\""));
    }
}
