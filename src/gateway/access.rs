//! Who asks, and what it takes to ask. A route without an entry in the table of routes is refused to everyone. On TCP people
//! show a token, or a browser the cookie of its session, which is good for less ([`browser::prove`]).
//! Deliberately absent: the table itself (it stands with the routes), how a session begins, and the way of a request past
//! here ([`admission`](super::admission)).

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, Uri, header::AUTHORIZATION, request::Parts},
};
use devstack_cluster::PeerCertificate;

use super::{ApiError, browser, error::code, routes::Api, server::Guest};
use crate::{
    config::problem::Problem,
    members::{Person, Role},
};

/// What a machine does that wants to be a node.
const JOIN: &str = "a machine joins with `devstack-node join TOKEN`";

/// The least that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: the route has a proof of its own, or tells nothing.
    Anyone,
    /// Any person's token.
    Viewer,
    /// A token of an operator or an admin.
    Operator,
    /// A token of an admin.
    Admin,
    /// A member's certificate, and nothing else.
    Node,
}

impl Access {
    /// As the description says it.
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

/// Where a request comes from; every listener says it.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The unix socket, or this process: whoever may open the file may do everything that people may.
    Local {
        /// The user at the other end of the socket; `None`: this process.
        uid: Option<u32>,
    },
    /// TCP.
    Remote(Arc<Remote>),
}

/// A connection over TCP.
#[derive(Debug)]
pub struct Remote {
    peer: Option<PeerCertificate>,
    address: Option<IpAddr>,
    guest: Arc<Guest>,
}

impl Remote {
    /// A connection whose certificate, if one was shown, is of the cluster's CA.
    pub fn new(peer: Option<PeerCertificate>, address: Option<IpAddr>, guest: Arc<Guest>) -> Self {
        Self { peer, address, guest }
    }

    /// Where it comes from.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Its seat.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }
}

/// The person who asks, for pages that show only what may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The token's name; `None`: whoever may open the socket.
    pub name: Option<String>,
    /// What may be asked for.
    pub role: Role,
    /// By a browser's session, which can be ended.
    pub signed_in: bool,
}

/// Which caller it is, whatever it is called: for what must not be mistaken for another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(pub(super) String);

/// Where a plan comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The socket, or this process: whoever may open the file may read what the node may read.
    Here,
    /// TCP.
    Network,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match parts.extensions.get::<Caller>() {
            Some(Caller::Local { .. }) => Self::Here,
            // Whoever does not say comes from far.
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

/// The node that asks, for handlers of routes with [`Access::Node`]: a member, by a certificate that is not replaced.
#[derive(Debug, Clone)]
pub struct Peer(pub PeerCertificate);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(only_nodes)
    }
}

/// What is asked for, and what is shown for it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// As whom a caller was let in.
pub(super) enum Admitted {
    /// Anybody: the route asks for nothing.
    Stranger,
    /// Whoever may open the socket.
    Local,
    /// By a token; in a session that began with it?
    Person(Person, bool),
    Node(PeerCertificate),
}

/// Why a caller was not let in, and whose token it was, if it was a good one.
pub(super) struct Refused {
    pub(super) error: ApiError,
    pub(super) person: Option<Person>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, person: None }
    }
}

/// Lets a caller in, or not.
#[allow(clippy::result_large_err, reason = "made once for each refused request")]
pub(super) fn admit(api: &Api, caller: Option<&Caller>, least: Access, asked: Asked<'_>) -> Result<Admitted, Refused> {
    // A listener that does not say who calls is a defect, and lets nobody in.
    let caller = caller.ok_or_else(|| ApiError::internal("the request has no caller"))?;
    match (caller, least) {
        (_, Access::Anyone) => Ok(Admitted::Stranger),
        (Caller::Local { .. }, Access::Node) => Err(only_nodes().into()),
        (Caller::Local { .. }, _) => Ok(Admitted::Local),
        (Caller::Remote(remote), Access::Node) => {
            let no_certificate =
                || unauthenticated("this is for nodes of the cluster, by their certificate").hint(JOIN);
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
                let error = forbidden(message).hint(format!("this takes a token with the role {needed}"));
                return Err(Refused { error, person: Some(person) });
            }
            Ok(Admitted::Person(person, signed_in))
        }
    }
}

/// Who is it, by a token, else by a cookie?
fn person(api: &Api, asked: Asked<'_>, is_node: bool) -> Result<(Person, bool), ApiError> {
    match (asked.headers.get(AUTHORIZATION), browser::cookie(asked.headers, browser::SESSION_COOKIE)) {
        (Some(token), _) => Ok((of_token(api, token)?, false)),
        (None, Some(secret)) => Ok((of_session(api, secret, asked)?, true)),
        (None, None) if is_node => {
            let message = "a node's certificate is for the routes of nodes";
            Err(forbidden(message).hint("people show a token"))
        }
        (None, None) => {
            let hint = "send `Authorization: Bearer TOKEN`, or use --token-file";
            Err(unauthenticated("there is no token").hint(hint))
        }
    }
}

fn of_token(api: &Api, shown: &HeaderValue) -> Result<Person, ApiError> {
    let words = shown.to_str().ok().and_then(|text| text.split_once(' '));
    let bearer = words.filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")).and_then(|(_, text)| text.parse().ok());
    let cluster = api.cluster()?;
    bearer.and_then(|bearer| cluster.members.authenticate(&bearer, cluster.now())).ok_or_else(|| {
        unauthenticated("the token is not known, has expired or was revoked")
            .hint("an admin makes another with `devstack token create`")
    })
}

/// The session's token is asked about each time: one that was revoked ends its sessions at once.
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
    forbidden("this is for nodes of the cluster, by their certificate").hint(JOIN)
}
