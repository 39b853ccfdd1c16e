//! The steps of every request before its handler: authentication, permission, rate limits, and a line in the audit log
//! for each change.
//! Deliberately absent: the rules of access ([`access`](super::access)), the counters ([`throttle`](super::throttle))
//! and the log itself ([`audit`](devstack_members::audit)).

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
use devstack_config::problem::Problem;
use devstack_members::{
    Person, Role,
    audit::{Audit, Entry, target},
};

/// The header with the id of a request, in its response and in the audit log.
const REQUEST_ID: &str = "x-request-id";
/// Uploads of nodes. They come all the time, and are not changes by users.
const BULK: &str = "/v1/nodes/";
/// Live output of an agent. It brings no data while the agent is silent, and ends with its reader.
const LIVE: &str = "/v1/nodes/logs/{channel}";

/// The label of an unauthenticated caller.
const STRANGER: &str = "stranger";

/// The middleware state of a node.
#[derive(Clone)]
pub(super) struct Guards {
    pub(super) throttle: Arc<Throttle>,
    /// `None`: changes are not logged (tests).
    pub(super) audit: Option<Arc<Audit>>,
}

/// Refuses a request unless its caller has access and is within its limits, and, for a change, unless the audit log can
/// take its line.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let (least, group) = match &path {
        Some(path) => match routes::least(request.method(), path.as_str()) {
            Ok(found) => found,
            Err(error) => return error.into_response(),
        },
        // Strangers do not learn which paths exist, either.
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

/// Handles a change: reserves room for its audit line first, and sends the answer only after the line is written.
async fn written(api: &Api, line: Entry, request: Request, next: Next, stream: Option<(Who, Group)>) -> Response {
    let room = match api.guards.audit.as_ref().map(|audit| audit.room()).transpose() {
        Ok(room) => room,
        Err(why) => {
            tracing::warn!(
                who = line.who,
                target = line.target,
                "refused a change, because the audit log cannot be written: {why}"
            );
            let problem = Problem::new(code::NO_AUDIT, format!("the audit log cannot be written: {why}"));
            let hint = "free space on the disk of the node, then try again";
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

/// Logs a change that was refused before its handler. Such a line is dropped when there is no room, because nothing
/// changed.
async fn refused(api: &Api, line: Option<Entry>, answer: Response) -> Response {
    let Some(mut line) = line else { return answer };
    // Authenticated callers have limits of their own.
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
        let message = format!("{} streams are open already", api.limits.streams);
        return too_many(message, Duration::from_secs(1));
    };
    // The whole upload arrives before the answer begins.
    let _spool = match group {
        Group::Spooling => match throttle.spool(&who) {
            Some(spool) => Some(spool),
            None => return too_many("another upload of this caller is running".to_owned(), Duration::from_secs(1)),
        },
        _ => None,
    };
    // Counted until the body ends or its reader disconnects.
    next.run(request).await.map(|body| Keeping::body(body, open))
}

/// Members have a limit of their own (`routes::nodes`), and as many streams as connections. A member treats 429 as a
/// permanent refusal.
fn is_member(who: &Who) -> bool {
    matches!(who, Who::Node(_))
}

/// The refusal of a caller that exceeds a limit.
fn throttled(api: &Api, who: &Who, is_change: bool) -> Option<Response> {
    if is_member(who) {
        return None;
    }
    let wait = api.guards.throttle.admit(who, is_change).err()?;
    let what = if is_change { "changes or requests" } else { "requests" };
    Some(too_many(format!("too many {what} from this caller"), wait))
}

fn too_many(message: String, wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let hint =
        format!("try again in {seconds} s; the limits are requests, changes and streams in [limits] of node.toml");
    let mut answer = ApiError::new(429, Problem::new(code::TOO_MANY, message).hint(hint)).into_response();
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    answer
}

/// The caller, for handlers and pages.
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

/// The owner of the token, even if the token's role is not sufficient.
fn person(admitted: &Result<Admitted, Refused>) -> Option<&Person> {
    match admitted {
        Ok(Admitted::Person(person, _)) => Some(person),
        Err(refused) => refused.person.as_ref(),
        Ok(_) => None,
    }
}

/// The key for the counters of a caller. A stranger is identified by its address.
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

/// What is known about a change before it runs.
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

/// Completes the line with the outcome, and adds the id of the line to the answer.
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

/// 64 random bits in hexadecimal. Without randomness all digits are zero, which is harmless.
fn fresh_id() -> String {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    format!("{:016x}", u64::from_ne_bytes(random))
}

/// Adds a challenge to a refusal of an unauthenticated caller.
fn challenge(error: ApiError) -> Response {
    let unauthenticated = error.status == 401;
    let mut response = error.into_response();
    if unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
