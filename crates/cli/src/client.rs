//! Sends one HTTP request at a time: over the unix socket, over TLS, or directly to the router of a node in this
//! process.

use std::{collections::HashMap, path::PathBuf};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{
        HeaderValue, Method, Request, Response,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
    },
};
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tower::ServiceExt;

use super::CliError;
use devstack_api::{ApiError, ByteStream, https::Https};
use devstack_config::Secret;
use devstack_gateway::{Caller, server};

/// Requested for answers that are read at once. Facts then arrive as a page instead of a stream.
const JSON: &str = "application/json";

/// Where requests go.
#[derive(Clone)]
pub(super) enum Client {
    /// A node in another process.
    Socket(PathBuf),
    /// A node on another machine.
    Https {
        /// The node's address and the trusted CA.
        https: Https,
        /// The token; it is sent to this node only.
        token: Secret,
    },
    /// A node in this process.
    Router(Router),
}

impl Client {
    /// The raw answer of a GET.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, CliError> {
        collect(self.send(Method::GET, path, Body::empty(), None, Some(JSON)).await?.into_body()).await
    }

    /// The parsed answer of a GET.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        parse(&self.get(path).await?)
    }

    /// All pages of a list as one answer; `list` is the field with its entries. A list of one page is returned
    /// unchanged.
    pub(super) async fn all(&self, path: &str, list: &str) -> Result<Bytes, CliError> {
        let first = self.get(path).await?;
        let mark = if path.contains('?') { '&' } else { '?' };
        let (mut entries, mut body) = (Vec::new(), first.clone());
        loop {
            let page: HashMap<String, Box<RawValue>> = parse(&body)?;
            let next: Option<String> = page.get("next").map_or(Ok(None), |next| parse(next.get().as_bytes()))?;
            if next.is_none() && entries.is_empty() {
                return Ok(first);
            }
            if let Some(all) = page.get(list) {
                entries.extend(parse::<Vec<Box<RawValue>>>(all.get().as_bytes())?);
            }
            let Some(next) = next else { break };
            body = self.get(&format!("{path}{mark}after={}", escape(&next))).await?;
        }
        Ok(serde_json::json!({ "apiVersion": "v1", list: entries, "next": null }).to_string().into())
    }

    /// The answer of a GET, with its headers.
    pub(super) async fn answer(&self, path: &str) -> Result<Response<Body>, CliError> {
        self.send(Method::GET, path, Body::empty(), None, None).await
    }

    /// The body of a GET as a stream.
    pub(super) async fn stream(&self, path: &str) -> Result<ByteStream, CliError> {
        let body = self.answer(path).await?.into_body();
        Ok(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed())
    }

    /// Posts a change with a new idempotency key.
    pub(super) async fn change(&self, path: &str, body: &impl Serialize) -> Result<Bytes, CliError> {
        let body = serde_json::to_vec(body).map_err(|e| CliError::failure(e.to_string()))?;
        self.post(path, Body::from(body), "application/json").await
    }

    /// Posts a body of any content type with a new idempotency key.
    pub(super) async fn post(&self, path: &str, body: Body, kind: &'static str) -> Result<Bytes, CliError> {
        collect(self.send(Method::POST, path, body, Some(kind), None).await?.into_body()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        kind: Option<&str>,
        accept: Option<&str>,
    ) -> Result<Response<Body>, CliError> {
        let mut request = Request::builder().method(&method).uri(path).header("host", "devstack");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind).header("idempotency-key", fresh_key()?);
        }
        let request = request.body(body).map_err(|e| CliError::usage(format!("cannot request `{path}`: {e}")))?;
        let response = self.exchange(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(response.into_body()).await?;
        Err(ApiError::from_answer(status.as_u16(), &body).into())
    }

    /// Sends a request whose URI is a path, with the token if the node needs one. Returns the answer as a stream,
    /// whatever its status is.
    pub(super) async fn exchange(&self, mut request: Request<Body>) -> Result<Response<Body>, CliError> {
        Ok(match self {
            // The router answers every request, even with errors.
            Self::Router(router) => {
                request.extensions_mut().insert(Caller::Local { uid: None });
                router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
            Self::Https { https, token } => {
                let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                    .map_err(|_| CliError::usage("the token contains invalid characters"))?;
                bearer.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, bearer);
                https.send(request).await?
            }
            Self::Socket(socket) => {
                let lost = |e: &dyn std::fmt::Display| {
                    let error = CliError::unreachable(format!("no node answers on {}: {e}", socket.display()));
                    error.hint("start a node with `devstack up`")
                };
                let stream = server::connect(socket).await.map_err(|e| lost(&e))?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| lost(&e))?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(|e| lost(&e))?.map(Body::new)
            }
        })
    }
}

async fn collect(body: Body) -> Result<Bytes, CliError> {
    let lost = |e| CliError::unreachable(format!("the connection to the node broke during its answer: {e}"));
    Ok(body.collect().await.map_err(lost)?.to_bytes())
}

/// Parses an answer.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|e| {
        CliError::failure(format!("cannot parse the node's answer: {e}"))
            .hint("the node may have another version: compare `devstack version` on both machines")
    })
}

/// 128 random bits in hexadecimal.
fn fresh_key() -> Result<String, CliError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| CliError::failure(format!("the machine provides no random numbers: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Escapes a string for use as one segment of a path or a query.
pub(super) fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
