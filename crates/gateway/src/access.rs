//! Authenticates callers and checks what they may request. A route without an entry in the table of routes is refused
//! to everyone. On TCP a user shows a token, or a browser shows the cookie of its session, which allows less
//! ([`browser::prove`]).
//! Deliberately absent: the table itself (the routes have it), how a session begins, and the rest of a request's path
//! (`admission`).

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, Uri, header::AUTHORIZATION, request::Parts},
};
use devstack_cluster::PeerCertificate;

use super::{ApiError, browser, error::code, routes::Api, server::Guest};
use devstack_config::problem::Problem;
use devstack_members::{Person, Role};

/// How a machine becomes a node: the hint of a refusal.
const JOIN: &str = "join the machine to the cluster with `devstack-node join TOKEN`";

/// The minimum access that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// None: the route checks a proof of its own, or reveals nothing.
    Anyone,
    /// The token of any user.
    Viewer,
    /// The token of an operator or an admin.
    Operator,
    /// The token of an admin.
    Admin,
    /// The certificate of a member; no token is accepted.
    Node,
}

impl Access {
    /// The word in the API description.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

/// The origin of a request. Every listener sets it.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The unix socket, or this process. A user who may open the socket file may do everything.
    Local {
        /// The user at the other end of the socket; `None`: this process.
        uid: Option<u32>,
    },
    /// TCP.
    Remote(Arc<Remote>),
}

/// A TCP connection.
#[derive(Debug)]
pub struct Remote {
    peer: Option<PeerCertificate>,
    address: Option<IpAddr>,
    guest: Arc<Guest>,
}

impl Remote {
    /// A connection whose client certificate, if there is one, is signed by the cluster's CA.
    pub fn new(peer: Option<PeerCertificate>, address: Option<IpAddr>, guest: Arc<Guest>) -> Self {
        Self { peer, address, guest }
    }

    /// The address of the client.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The seat of the connection.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }
}

/// The user of a request, for pages that show only permitted actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The name of the token; `None`: a user of the socket.
    pub name: Option<String>,
    /// The role of the user.
    pub role: Role,
    /// Whether the user has a browser session, which can be ended.
    pub signed_in: bool,
}

/// The identity of a caller, independent of its name: for data that must not mix callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(pub(super) String);

/// The origin of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The socket, or this process. A user who may open the socket file may read everything that the node can read.
    Here,
    /// TCP.
    Network,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match parts.extensions.get::<Caller>() {
            Some(Caller::Local { .. }) => Self::Here,
            // Without an origin the request counts as remote.
            Some(Caller::Remote(_)) | None => Self::Network,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal("the request has no caller"))
    }
}

/// The node that sends a request, for handlers of routes with [`Access::Node`]: a member with a current certificate.
#[derive(Debug, Clone)]
pub struct Peer(pub PeerCertificate);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(only_nodes)
    }
}

/// What a request asks for, with its credentials.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// The authenticated identity of a caller.
pub(super) enum Admitted {
    /// Anonymous: the route requires nothing.
    Stranger,
    /// A user of the socket.
    Local,
    /// The owner of a token, and whether a session stands for the token.
    Person(Person, bool),
    Node(PeerCertificate),
}

/// Why a caller was refused, with the owner of the token if the token itself is valid.
pub(super) struct Refused {
    pub(super) error: ApiError,
    pub(super) person: Option<Person>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, person: None }
    }
}

/// Admits or refuses a caller.
#[allow(clippy::result_large_err, reason = "made once for each refused request")]
pub(super) fn admit(api: &Api, caller: Option<&Caller>, least: Access, asked: Asked<'_>) -> Result<Admitted, Refused> {
    // A listener that does not set the caller is a bug, and admits nobody.
    let caller = caller.ok_or_else(|| ApiError::internal("the request has no caller"))?;
    match (caller, least) {
        (_, Access::Anyone) => Ok(Admitted::Stranger),
        (Caller::Local { .. }, Access::Node) => Err(only_nodes().into()),
        (Caller::Local { .. }, _) => Ok(Admitted::Local),
        (Caller::Remote(remote), Access::Node) => {
            let no_certificate =
                || unauthenticated("only nodes of the cluster can use this, with their certificate").hint(JOIN);
            let peer = remote.peer.clone().ok_or_else(no_certificate)?;
            let members = &api.cluster()?.members;
            members.admit(&peer).map_err(|error| forbidden(error.to_string()).hint(JOIN))?;
            Ok(Admitted::Node(peer))
        }
        (Caller::Remote(remote), _) => {
            let (person, signed_in) = person(api, asked, remote.peer.is_some())?;
            let needed = match least {
                Access::Admin => Role::Admin,
                Access::Operator => Role::Operator,
                Access::Anyone | Access::Viewer | Access::Node => Role::Viewer,
            };
            if person.role < needed {
                let message = format!("the token `{}` has the role {}", person.name, person.role);
                let error = forbidden(message).hint(format!("use a token with the role {needed}"));
                return Err(Refused { error, person: Some(person) });
            }
            Ok(Admitted::Person(person, signed_in))
        }
    }
}

/// Identifies a user by a token, or else by a cookie.
fn person(api: &Api, asked: Asked<'_>, is_node: bool) -> Result<(Person, bool), ApiError> {
    match (asked.headers.get(AUTHORIZATION), browser::cookie(asked.headers, browser::SESSION_COOKIE)) {
        (Some(token), _) => Ok((of_token(api, token)?, false)),
        (None, Some(secret)) => Ok((of_session(api, secret, asked)?, true)),
        (None, None) if is_node => {
            let message = "a node's certificate is valid only for the routes of nodes";
            Err(forbidden(message).hint("use a token"))
        }
        (None, None) => {
            let hint = "send `Authorization: Bearer TOKEN`, or use --token-file";
            Err(unauthenticated("the request has no token").hint(hint))
        }
    }
}

fn of_token(api: &Api, shown: &HeaderValue) -> Result<Person, ApiError> {
    let words = shown.to_str().ok().and_then(|text| text.split_once(' '));
    let bearer = words.filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")).and_then(|(_, text)| text.parse().ok());
    let cluster = api.cluster()?;
    bearer.and_then(|bearer| cluster.members.authenticate(&bearer, cluster.now())).ok_or_else(|| {
        unauthenticated("the token is unknown, expired or revoked")
            .hint("ask an admin for another: `devstack token create`")
    })
}

/// Each request checks the token of its session: revoking a token ends its sessions at once.
fn of_session(api: &Api, secret: &str, asked: Asked<'_>) -> Result<Person, ApiError> {
    let cluster = api.cluster()?;
    let now = cluster.now();
    let ended = || unauthenticated("the session has ended").hint("sign in again at /login");
    let token = api.sessions.find(secret, now).ok_or_else(ended)?;
    let person = cluster.members.person(token, now).ok_or_else(|| {
        api.sessions.end(secret);
        ended()
    })?;
    browser::prove(asked.method, asked.uri.path(), asked.headers, &browser::own_origin(asked.headers))?;
    Ok(person)
}

fn unauthenticated(message: impl Into<String>) -> ApiError {
    ApiError::new(401, Problem::new(code::UNAUTHENTICATED, message))
}

pub(super) fn forbidden(message: impl Into<String>) -> ApiError {
    ApiError::new(403, Problem::new(code::FORBIDDEN, message))
}

fn only_nodes() -> ApiError {
    forbidden("only nodes of the cluster can use this, with their certificate").hint(JOIN)
}
