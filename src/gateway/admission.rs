//! The way of every request to its handler: who asks, may they, do they ask too much, and is it a change that leaves its line
//! in the log of changes.
//! Deliberately absent: what it takes to ask ([`access`](super::access)), the counts ([`throttle`](super::throttle)) and the
//! log itself ([`audit`](crate::audit)).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderValue, Method,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    ApiError, access,
    access::{Access, Admitted, Asked, Caller, Identity, Peer, Refused, Visitor},
    dto,
    error::code,
    routes,
    routes::{Api, Group},
    server::{Keeping, Stalling},
    throttle::{Throttle, Who},
};
use crate::{
    audit::{Audit, Entry, target},
    config::problem::Problem,
    members::{Person, Role},
};

/// The header that names a request in an answer and in the log of changes.
const REQUEST_ID: &str = "x-request-id";
/// What nodes bring, all the time: no change of a person.
const BULK: &str = "/v1/nodes/";
/// What an agent says just now: nothing comes of it while the agent is silent, and it ends with its reader.
const LIVE: &str = "/v1/nodes/logs/{channel}";

/// How somebody came who showed nothing.
const STRANGER: &str = "stranger";

/// What stands around the handlers of a node.
#[derive(Clone)]
pub(super) struct Guards {
    pub(super) throttle: Arc<Throttle>,
    /// `None`: changes leave no lines (tests).
    pub(super) audit: Option<Arc<Audit>>,
}

/// Refuses a request unless its caller may ask, does not ask too much, and what it changes can be written down.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let (least, group) = match &path {
        Some(path) => match routes::least(request.method(), path.as_str()) {
            Ok(found) => found,
            Err(error) => return error.into_response(),
        },
        // Which paths there are is not for strangers, either.
        None => (Access::Viewer, None),
    };
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let caller = request.extensions().get::<Caller>().cloned();
    let asked = Asked { method: request.method(), uri: request.uri(), headers: request.headers() };
    let admitted = access::admit(&api, caller.as_ref(), least, asked);
    let who = counted(&admitted, caller.as_ref());
    let has_reserve = match &admitted {
        Ok(Admitted::Node(_) | Admitted::Local) => true,
        Ok(Admitted::Person(person, _)) => person.role == Role::Admin,
        Ok(Admitted::Stranger) | Err(_) => false,
    };
    let line = is_change.then(|| line(&request, path.as_ref(), caller.as_ref(), &admitted));
    let refusal = match (throttled(&api, &who, is_change), admitted) {
        (Some(too_many), _) => Some(too_many),
        (None, Err(refused)) => Some(challenge(refused.error)),
        (None, Ok(admitted)) => {
            remember(&mut request, admitted, caller.as_ref());
            None
        }
    };
    if let Some(answer) = refusal {
        return refused(&api, line, answer).await;
    }
    if let Some(Caller::Remote(remote)) = caller
        && least != Access::Anyone
    {
        remote.guest().welcome(&who, has_reserve).await;
    }
    if path.as_ref().is_none_or(|path| path.as_str() != LIVE) {
        let limit = Duration::from_millis(api.limits.body_stall);
        request = request.map(|body| Stalling::body(body, limit));
    }
    let stream = group.filter(|group| group.is_streaming() && !is_member(&who)).map(|group| (who, group));
    let is_bulk = path.is_some_and(|path| path.as_str().starts_with(BULK));
    match line.filter(|_| !is_bulk) {
        Some(line) => written(&api, line, request, next, stream).await,
        None => run(&api, request, next, stream).await,
    }
}

/// A change: it gets room for its line first, and its answer leaves when the line is written.
async fn written(api: &Api, line: Entry, request: Request, next: Next, stream: Option<(Who, Group)>) -> Response {
    let room = match api.guards.audit.as_ref().map(|audit| audit.room()).transpose() {
        Ok(room) => room,
        Err(why) => {
            tracing::warn!(who = line.who, target = line.target, "a change is refused: the log of changes: {why}");
            let problem = Problem::new(code::NO_AUDIT, format!("the log of changes cannot be written: {why}"));
            let hint = "make room on the disk of the node; then try again";
            return ApiError::new(503, problem.hint(hint)).into_response();
        }
    };
    let answer = run(api, request, next, stream).await;
    let (mut line, answer) = ended(line, answer);
    if line.via == STRANGER && line.status >= 400 {
        match api.guards.throttle.refusal() {
            Some(left_out) => line.left_out = left_out,
            None => return answer,
        }
    }
    tracing::info!(
        who = line.who,
        role = line.role,
        uid = line.uid,
        status = line.status,
        request = line.request,
        "{} {}",
        line.method,
        line.target
    );
    if let Some(room) = room {
        room.write(line).await;
    }
    answer
}

/// The line of a change that was refused before its handler. Such lines are dropped when there is no room: nothing changed.
async fn refused(api: &Api, line: Option<Entry>, answer: Response) -> Response {
    let Some(mut line) = line else { return answer };
    // Who showed who they are has their own limit.
    if line.via == STRANGER {
        let Some(left_out) = api.guards.throttle.refusal() else { return answer };
        line.left_out = left_out;
    }
    let (line, answer) = ended(line, answer);
    tracing::warn!(
        who = line.who,
        address = line.address,
        uid = line.uid,
        status = line.status,
        code = line.code,
        "{} {} is refused",
        line.method,
        line.target
    );
    if let Some(Ok(room)) = api.guards.audit.as_ref().map(|audit| audit.room()) {
        room.write(line).await;
    }
    answer
}

async fn run(api: &Api, request: Request, next: Next, stream: Option<(Who, Group)>) -> Response {
    let Some((who, group)) = stream else { return next.run(request).await };
    let throttle = &api.guards.throttle;
    let Some(open) = throttle.stream(&who) else {
        let message = format!("there are {} streams open already", api.limits.streams);
        return too_many(message, Duration::from_secs(1));
    };
    // Taken in whole before the answer begins.
    let _spool = match group {
        Group::Spooling => match throttle.spool(&who) {
            Some(spool) => Some(spool),
            None => return too_many("another upload of this caller is under way".to_owned(), Duration::from_secs(1)),
        },
        _ => None,
    };
    // Counted until its body ends, or its reader goes away.
    next.run(request).await.map(|body| Keeping::body(body, open))
}

/// Members have a limit of their own (`routes::nodes`), and as many streams as connections: to them 429 is a refusal for good.
fn is_member(who: &Who) -> bool {
    matches!(who, Who::Node(_))
}

/// The refusal of a caller who asks too much.
fn throttled(api: &Api, who: &Who, is_change: bool) -> Option<Response> {
    if is_member(who) {
        return None;
    }
    let wait = api.guards.throttle.admit(who, is_change).err()?;
    let what = if is_change { "changes or requests" } else { "requests" };
    Some(too_many(format!("there are too many {what} of this caller"), wait))
}

fn too_many(message: String, wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let hint = format!(
        "come again in {seconds} s; [limits] requests, changes and streams of node.toml say how much is allowed"
    );
    let mut answer = ApiError::new(429, Problem::new(code::TOO_MANY, message).hint(hint)).into_response();
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    answer
}

/// For handlers and pages: who asks.
fn remember(request: &mut Request, admitted: Admitted, caller: Option<&Caller>) {
    let extensions = request.extensions_mut();
    let uid = match caller {
        Some(Caller::Local { uid }) => uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
        Some(Caller::Remote(_)) | None => u32::MAX,
    };
    match admitted {
        Admitted::Node(peer) => {
            extensions.insert(Peer(peer));
        }
        Admitted::Person(person, signed_in) => {
            extensions.insert(Identity(format!("token {}", person.id)));
            extensions.insert(Visitor { name: Some(person.name), role: person.role, signed_in });
        }
        Admitted::Local => {
            extensions.insert(Identity(format!("user {uid}")));
            extensions.insert(Visitor { name: None, role: Role::Admin, signed_in: false });
        }
        Admitted::Stranger => {}
    }
}

/// Whose token it is, also of one that is not enough.
fn person(admitted: &Result<Admitted, Refused>) -> Option<&Person> {
    match admitted {
        Ok(Admitted::Person(person, _)) => Some(person),
        Err(refused) => refused.person.as_ref(),
        Ok(_) => None,
    }
}

/// Under which name a caller is counted. Who showed nothing is known by where they come from.
fn counted(admitted: &Result<Admitted, Refused>, caller: Option<&Caller>) -> Who {
    if let Ok(Admitted::Node(peer)) = admitted {
        return Who::Node(peer.name.as_str().into());
    }
    if let Some(person) = person(admitted) {
        return Who::Token(person.name.as_str().into());
    }
    match caller {
        Some(Caller::Local { uid }) => Who::Local(*uid),
        Some(Caller::Remote(remote)) => Who::Stranger(remote.address()),
        None => Who::Stranger(None),
    }
}

/// What is known of a change before it is made.
fn line(
    request: &Request,
    path: Option<&MatchedPath>,
    caller: Option<&Caller>,
    admitted: &Result<Admitted, Refused>,
) -> Entry {
    let (who, role, via) = match (person(admitted), admitted, caller) {
        (Some(person), Ok(Admitted::Person(_, true)), _) => {
            (Some(person.name.clone()), Some(person.role.to_string()), "session")
        }
        (Some(person), ..) => (Some(person.name.clone()), Some(person.role.to_string()), "token"),
        (_, Ok(Admitted::Node(peer)), _) => (Some(peer.name.to_string()), Some("node".to_owned()), "certificate"),
        (.., Some(Caller::Local { uid: Some(_) })) => (None, Some(Role::Admin.to_string()), "socket"),
        (.., Some(Caller::Local { uid: None })) => (None, Some(Role::Admin.to_string()), "process"),
        _ => (None, None, STRANGER),
    };
    Entry {
        who,
        role,
        via: via.to_owned(),
        uid: if let Some(Caller::Local { uid }) = caller { *uid } else { None },
        address: match caller {
            Some(Caller::Remote(remote)) => remote.address().map(|address| address.to_string()),
            _ => None,
        },
        method: request.method().to_string(),
        route: path.map(|path| path.as_str().to_owned()),
        target: target(request.uri().path()),
        request: fresh_id(),
        ..Entry::default()
    }
}

/// The line with how it ended, and the answer with the line's name.
fn ended(line: Entry, mut answer: Response) -> (Entry, Response) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = dto::Time(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)).to_string();
    let code = answer.extensions().get::<ApiError>().map(|error| error.problem.code.to_string());
    // Hexadecimal digits.
    if let Ok(id) = HeaderValue::from_str(&line.request) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    (Entry { at, status: answer.status().as_u16(), code, ..line }, answer)
}

/// 64 random bits in hexadecimal; all zero if there is no randomness, which harms nobody.
fn fresh_id() -> String {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    format!("{:016x}", u64::from_ne_bytes(random))
}

/// A refusal that says how to show who one is, if that is what it lacks.
fn challenge(error: ApiError) -> Response {
    let unauthenticated = error.status == 401;
    let mut response = error.into_response();
    if unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
