//! Responses for pages: a handler draws the page, and the response has the whole page, or only `<main>` for a browser
//! that has the rest.
//! Deliberately absent: the content of pages.

use std::convert::Infallible;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, VARY},
        request::Parts,
    },
    response::{Html, IntoResponse, Response},
};

use super::{Dashboard, cache::Key, shell};
use crate::access::Visitor;
use devstack_api::ApiError;
use devstack_members::Role;

/// The request header of the module for only the `<main>` of a page.
pub(super) const FRAGMENT: &str = "devstack-fragment";

/// The user and the address of a page request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The user.
    pub(crate) visitor: Visitor,
    /// The path.
    pub(crate) path: String,
    /// The query, without the question mark; may be empty.
    pub(crate) query: String,
    /// Whether only the `<main>` is requested.
    fragment: bool,
    /// The tag of the `<main>` that the browser has.
    known: Option<String>,
}

impl Asked {
    /// Whether this visitor may act.
    pub(super) fn may_act(&self) -> bool {
        self.visitor.role >= Role::Operator
    }

    /// Whether this visitor may use actions of admins.
    pub(super) fn may_admin(&self) -> bool {
        self.visitor.role >= Role::Admin
    }

    /// Whether a browser that has the page requests only the `<main>`.
    pub(super) fn is_fragment(&self) -> bool {
        self.fragment
    }

    fn key(&self) -> Key {
        let place = format!("{}?{}", self.path, self.query);
        Key { may_act: self.may_act(), may_admin: self.may_admin(), place }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
        Ok(Self {
            // Routes without a visitor are open to everybody; their pages require no role.
            visitor: parts.extensions.get().cloned().unwrap_or(Visitor {
                name: None,
                role: Role::Viewer,
                signed_in: false,
            }),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            fragment: parts.headers.contains_key(FRAGMENT),
            known: text(IF_NONE_MATCH.as_str()),
        })
    }
}

/// The content of a page.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The title without the name of the program, as text.
    pub(crate) title: String,
    /// The content of `<main>`, as HTML.
    pub(crate) html: String,
}

impl View {
    /// Renders a template under a title.
    ///
    /// # Errors
    /// A value cannot be formatted: a bug.
    pub(crate) fn of(title: impl Into<String>, template: &impl Template) -> Result<Self, ApiError> {
        Ok(Self { title: title.into(), html: draw(template)? })
    }
}

/// Renders a template.
///
/// # Errors
/// A value cannot be formatted: a bug.
pub(crate) fn draw(template: &impl Template) -> Result<String, ApiError> {
    template.render().map_err(|error| ApiError::internal(format!("cannot render the page: {error}")))
}

/// A view with its tag, for comparison.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) view: View,
    /// The tag with its quotes.
    pub(super) tag: String,
}

impl From<View> for Drawn {
    fn from(view: View) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(view.title.as_bytes()).update(b"\n").update(view.html.as_bytes());
        let tag = format!("\"{}\"", &hash.finalize().to_hex()[..16]);
        Self { view, tag }
    }
}

impl Dashboard {
    /// Answers with the whole page, with its `<main>`, or with 304. `make` does not run if others just saw the same
    /// page.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) async fn page(
        &self,
        asked: &Asked,
        make: impl Future<Output = Result<View, ApiError>>,
    ) -> Result<Response, ApiError> {
        let make = async { make.await.map(Drawn::from) };
        match self.live.tick().filter(|_| asked.fragment) {
            Some(tick) => answer(asked, &*self.cache.drawn(asked.key(), tick, make).await?),
            None => answer(asked, &make.await?),
        }
    }

    /// The same for a view that belongs to this visitor and moment alone.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) async fn page_for_one(
        &self,
        asked: &Asked,
        make: impl Future<Output = Result<View, ApiError>>,
    ) -> Result<Response, ApiError> {
        answer(asked, &Drawn::from(make.await?))
    }
}

fn answer(asked: &Asked, drawn: &Drawn) -> Result<Response, ApiError> {
    if !asked.fragment {
        return Ok((headers(None), Html(shell::whole(asked, drawn)?)).into_response());
    }
    if asked.known.as_deref() == Some(&drawn.tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers(Some(&drawn.tag))).into_response());
    }
    Ok((headers(Some(&drawn.tag)), Html(shell::main(drawn)?)).into_response())
}

/// Pages are private, and browsers must revalidate them.
fn headers(tag: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, axum::http::HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, axum::http::HeaderValue::from_static(FRAGMENT));
    if let Some(tag) = tag.and_then(|tag| tag.parse().ok()) {
        headers.insert(ETAG, tag);
    }
    headers
}
