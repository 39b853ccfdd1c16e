//! ETags. An answer of the engine alone has the engine's version for a tag: who has it is told so (304) without computing
//! it again. An answer that says more (hosts, the whole at a glance) has its own digest for a tag.
//! Deliberately absent: caching; every answer is of its moment.

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
use crate::gateway::ApiError;

/// The version is asked for before the answer is made: a tag may be older than what it stands for, never newer, so that
/// nobody keeps what is out of date.
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

/// The answer is made and compared.
pub(super) async fn by_digest(request: Request, next: Next) -> Response {
    if !is_read(request.method()) {
        return next.run(request).await;
    }
    let asked = request.headers().clone();
    let (parts, body) = next.run(request).await.into_parts();
    if parts.status != StatusCode::OK {
        return Response::from_parts(parts, body);
    }
    // These answers are made in memory: they end, and cannot fail.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return ApiError::internal("the answer could not be made").into_response();
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

/// Is this tag among those that the asker has? Compared weakly, as `If-None-Match` is.
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
