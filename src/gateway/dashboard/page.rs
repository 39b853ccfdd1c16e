//! How a page is answered: drawn by a handler, put into the shell, or given alone to a browser that has the shell.
//! Deliberately absent: what is on it.

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
use crate::{
    gateway::{ApiError, access::Visitor},
    members::Role,
};

/// The header with which the module asks for the `<main>` of a page alone.
pub(super) const FRAGMENT: &str = "devstack-fragment";

/// Who asks for a page, and how.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Asked {
    /// Who.
    pub(in crate::gateway) visitor: Visitor,
    /// The path.
    pub(in crate::gateway) path: String,
    /// The query, without the question mark; may be empty.
    pub(in crate::gateway) query: String,
    /// Only its `<main>`?
    fragment: bool,
    /// The `<main>` that the browser has.
    known: Option<String>,
}

impl Asked {
    /// May this visitor act?
    pub(super) fn may_act(&self) -> bool {
        self.visitor.role >= Role::Operator
    }

    /// May this visitor do what only admins do?
    pub(super) fn may_admin(&self) -> bool {
        self.visitor.role >= Role::Admin
    }

    /// Is only the `<main>` wanted, by a browser that has the page?
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
            // Routes without a visitor are open to everybody: what they show must need nothing.
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

/// What a handler draws.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct View {
    /// Without the program's name; as text.
    pub(in crate::gateway) title: String,
    /// What stands inside `<main>`, as HTML.
    pub(in crate::gateway) html: String,
}

impl View {
    /// A template under a title.
    ///
    /// # Errors
    /// A value cannot be written: a defect.
    pub(in crate::gateway) fn of(title: impl Into<String>, template: &impl Template) -> Result<Self, ApiError> {
        Ok(Self { title: title.into(), html: draw(template)? })
    }
}

/// A template as text.
///
/// # Errors
/// A value cannot be written: a defect.
pub(in crate::gateway) fn draw(template: &impl Template) -> Result<String, ApiError> {
    template.render().map_err(|error| ApiError::internal(format!("a page cannot be drawn: {error}")))
}

/// A view, and a tag that says whether another is the same.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) view: View,
    /// With its quotes.
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
    /// Answers a page: whole, or its `<main>`, or that the browser has it already. `make` is not asked if others just saw
    /// the same.
    ///
    /// # Errors
    /// Those of `make`.
    pub(in crate::gateway) async fn page(
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

    /// The same for a view that is of this visitor and this moment alone.
    ///
    /// # Errors
    /// Those of `make`.
    pub(in crate::gateway) async fn page_for_one(
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

/// Pages are for whoever asked, and never shown again without asking.
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
