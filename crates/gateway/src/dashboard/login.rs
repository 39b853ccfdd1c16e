//! Login and logout: a user pastes a token, and from then on a cookie stands for the token. On the socket no login is
//! needed. A wrong token is treated like a wrong token of a program: the connection stays among those that can be
//! closed to make room.
//! Deliberately absent: the rights of the cookie (`access` decides), and passwords.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{State, rejection::FormRejection},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, LOCATION, SET_COOKIE},
    },
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;

use super::{View, shell};
use crate::{
    Caller,
    access::Visitor,
    browser::{self, SESSION_COOKIE},
    extract::Params,
    routes::Api,
};
use devstack_api::ApiError;
use devstack_config::units;
use devstack_members::Bearer;

/// The login page.
const LOGIN: &str = "/login";
/// The page after a login without another target.
const HOME: &str = "/";
/// The maximum length of the address after the login, in bytes: enough for a filtered list.
const PLACE_MAX: usize = 2048;

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    refused: Option<&'static str>,
    then: &'a str,
    life: String,
}

/// The query of the login page.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    then: Option<String>,
}

/// The fields of the form.
#[derive(Deserialize)]
pub(crate) struct Shown {
    token: String,
    then: Option<String>,
}

/// `GET /login`.
pub(crate) async fn login(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    let then = place(query.then.as_deref());
    match caller {
        Caller::Local { .. } => Ok(go(then)),
        Caller::Remote(_) => page(&api, StatusCode::OK, None, then),
    }
}

/// `POST /login`.
pub(crate) async fn log_in(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Result<Form<Shown>, FormRejection>,
) -> Result<Response, ApiError> {
    if matches!(caller, Caller::Local { .. }) {
        return Ok(go(HOME));
    }
    let Ok(Form(shown)) = form else {
        return page(&api, StatusCode::BAD_REQUEST, Some("The form is incomplete. Try again."), HOME);
    };
    let then = place(shown.then.as_deref());
    // Otherwise another site could log a browser in with its own token, and see what the victim types.
    if browser::prove(&Method::POST, LOGIN, &headers, &browser::own_origin(&headers)).is_err() {
        return page(&api, StatusCode::BAD_REQUEST, Some("This form was sent from another page. Use this form."), then);
    }
    let cluster = api.cluster()?;
    let bearer = shown.token.parse::<Bearer>().ok();
    let known = bearer.and_then(|bearer| Some((bearer.id, cluster.members.authenticate(&bearer, cluster.now())?)));
    let Some((token, person)) = known else {
        let refused = "This token is unknown, expired or revoked.";
        return page(&api, StatusCode::UNAUTHORIZED, Some(refused), then);
    };
    let secret =
        browser::secret().map_err(|error| ApiError::internal(format!("cannot get random numbers: {error}")))?;
    api.sessions.begin(&secret, token, cluster.now());
    tracing::info!(who = %person.name, role = %person.role, "a person logged in");
    let mut response = go(then);
    response.headers_mut().insert(SET_COOKIE, cookie(&secret, "")?);
    Ok(response)
}

/// `POST /logout`.
pub(crate) async fn log_out(
    State(api): State<Api>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(secret) = browser::cookie(&headers, SESSION_COOKIE).filter(|_| visitor.signed_in) else {
        return Ok(go(HOME));
    };
    api.sessions.end(secret);
    let mut response = go(LOGIN);
    response.headers_mut().insert(SET_COOKIE, cookie("", "; Max-Age=0")?);
    Ok(response)
}

/// The cookie ends with the browser session, unless the browser restores sessions; the node ends the session in time in
/// any case.
fn cookie(secret: &str, more: &str) -> Result<HeaderValue, ApiError> {
    let text = format!("{SESSION_COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    let mut value = HeaderValue::try_from(text).map_err(|error| ApiError::internal(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn page(api: &Api, status: StatusCode, refused: Option<&'static str>, then: &str) -> Result<Response, ApiError> {
    let page = Page { refused, then, life: units::format_duration(api.limits.session_life) };
    let html = shell::door(View::of("Log in", &page)?)?;
    Ok((status, [(CACHE_CONTROL, "no-store")], Html(html)).into_response())
}

fn go(place: &str) -> Response {
    let home = HeaderValue::from_static(HOME);
    let place = HeaderValue::try_from(place).unwrap_or(home);
    (StatusCode::SEE_OTHER, [(LOCATION, place), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
}

/// Whether the address is one of our pages: not something that a browser could take for another site, and not the login
/// page.
fn place(wanted: Option<&str>) -> &str {
    let good = |place: &&str| {
        let path = place.split('?').next().unwrap_or_default();
        place.len() <= PLACE_MAX
            && place.starts_with('/')
            && !place[1..].starts_with(['/', '\\'])
            && place.bytes().all(|byte| byte.is_ascii_graphic())
            && ![LOGIN, "/logout", "/live"].contains(&path)
    };
    wanted.filter(good).unwrap_or(HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_door_comes_a_page_of_ours() {
        for ours in ["/", "/board", "/tasks?status=WIP&q=a%20b", "/tasks/shop/T-1"] {
            assert_eq!(place(Some(ours)), ours);
        }
        let long = format!("/{}", "a".repeat(PLACE_MAX));
        for other in [
            "",
            "board",
            "//evil",
            "/\\evil",
            "https://evil",
            "javascript:alert(1)",
            "/a\r\nb",
            "/é",
            "/login?then=/",
            &long,
        ] {
            assert_eq!(place(Some(other)), "/", "{other}");
        }
        assert_eq!(place(None), "/");
    }

    #[test]
    fn the_cookie_is_for_this_host_over_tls_and_for_no_script() {
        let set = cookie("0123", "").unwrap();
        assert!(set.is_sensitive());
        assert_eq!(set, "__Host-devstack=0123; Path=/; Secure; HttpOnly; SameSite=Strict");
    }
}
