//! The frame of every response: security headers, and error pages for browsers.
//! Deliberately absent: authentication.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, WWW_AUTHENTICATE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{Html, IntoResponse, Response},
};

use super::{View, assets, page::Drawn, shell};
use devstack_api::ApiError;

/// Where an unauthenticated browser is redirected.
const LOGIN: &str = "/login";

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src '{}'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        assets::style_hash()
    );
    // The policy consists of ASCII letters, digits and signs.
    HeaderValue::from_str(&policy).unwrap_or_else(|_| unreachable!("a policy is ASCII"))
});

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    error: &'a ApiError,
    heading: &'static str,
    login: bool,
}

/// Runs a request, and adds the required headers to its response.
pub(crate) async fn frame(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let place = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let reads_pages = !path.starts_with("/v1/") && accepts_html(request.headers());
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>().filter(|_| reads_pages) {
        response = if error.status == 401 && looks && path != LOGIN {
            to_login(&place)
        } else {
            page(&path, &error, response.headers().get(WWW_AUTHENTICATE).cloned())
        };
    }
    protect(response.headers_mut());
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

fn to_login(place: &str) -> Response {
    // The address after the login, with everything but letters, digits and some signs escaped.
    let mut then = String::new();
    for byte in place.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => then.push(char::from(byte)),
            other => then.push_str(&format!("%{other:02X}")),
        }
    }
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{LOGIN}?then={then}"))]).into_response()
}

fn page(path: &str, error: &ApiError, challenge: Option<HeaderValue>) -> Response {
    let heading = match error.status {
        401 => "Login required",
        403 => "Access denied",
        404 => "Page not found",
        409 => "Not possible now",
        503 => "The node cannot answer now",
        400..500 => "Invalid request",
        _ => "Something went wrong",
    };
    let template = ErrorPage { error, heading, login: error.status == 401 };
    let html = View::of(heading, &template).and_then(|view| shell::still(path, &Drawn::from(view)));
    let Ok(html) = html else { return error.clone().into_response() };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(CACHE_CONTROL, "no-store")], Html(html)).into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn protect(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}
