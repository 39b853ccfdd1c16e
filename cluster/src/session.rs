//! One session: its peer, what was sent and consumed, and the calls that wait for an answer. The receiver gets the
//! frames in order, between `connected` and `disconnected`. Deliberately absent: the stream (see `stream`) and the
//! choice between two sessions of one name (see `sessions`).

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ractor::ActorRef;
use tokio::sync::{oneshot, watch};

use crate::{
    NodeName,
    credit::{Amount, Incoming, Ledger, Outgoing},
    error::{CallError, SendError},
    frame::{self, BODY_MAX, Class, Header, Key},
    gateway::GatewayMessage,
    hello::Hello,
    limits::Limits,
    sync::{End, lock},
};

/// The incarnation of a node's process: random, new with every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// Makes a random incarnation.
    ///
    /// # Errors
    /// The system provides no random bytes.
    pub fn random() -> std::io::Result<Self> {
        getrandom::u64().map(Self).map_err(|error| std::io::Error::other(error.to_string()))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The id of a session in this process: it grows, and is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A session, as the receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The node at the other end, as in its certificate.
    pub peer: NodeName,
    /// The incarnation of its process, as it claims.
    pub incarnation: Incarnation,
    /// The id of the session.
    pub id: SessionId,
    /// The address from which it connected, or which was dialed.
    pub address: SocketAddr,
    /// The node's introduction, as it claims: at most [`crate::ABOUT_MAX`] bytes, empty from a node with frames 1.0.
    pub about: Arc<[u8]>,
}

/// A message that arrived. Its credit returns to the sender when it is dropped. A queue must therefore keep whole
/// messages: the credit then bounds the queue.
#[derive(Debug)]
pub struct Message {
    /// The kind of the body.
    pub kind: u16,
    /// Up to [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
    _slot: Option<Slot>,
}

/// The destination of the answer to a call. If it is dropped without an answer, the caller gets a negative answer. The
/// credit of the call returns with the answer.
#[derive(Debug)]
pub struct Reply {
    peer: Arc<Peer>,
    request: u64,
    answered: bool,
    _slot: Slot,
}

impl Reply {
    /// Sends the answer; an `Err` arrives as [`CallError::Refused`]. The body has at most [`BODY_MAX`] bytes.
    ///
    /// # Errors
    /// The answer was not sent: the session is gone or ends, or the answer is too large (the caller gets a refusal
    /// instead).
    pub fn send(mut self, answer: Result<Vec<u8>, String>) -> Result<(), SendError> {
        self.answered = true;
        match answer {
            Ok(body) if body.len() > BODY_MAX => {
                self.refuse("the answer is too large for a frame")?;
                Err(SendError::TooLarge(body.len()))
            }
            Ok(body) => self.peer.send(Class::Reply, 0, self.request, &body),
            Err(why) => self.refuse(&why),
        }
    }

    fn refuse(&self, why: &str) -> Result<(), SendError> {
        self.peer.send(Class::Refusal, 0, self.request, &why.as_bytes()[..why.floor_char_boundary(BODY_MAX)])
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            // If the session is gone, the caller no longer waits.
            let _ = self.refuse("nobody answered");
        }
    }
}

/// Receives the events of a link. The link's threads call it, in order within a session. It must not block, and must
/// hand long work to an actor. It may call the link.
pub trait Receiver: Send + Sync + 'static {
    /// A session began. There is at most one with a node at a time.
    fn connected(&self, session: &Session);
    /// A dialed node does not admit this node's certificate, and says why. Called at every such dial.
    fn not_admitted(&self, _by: &NodeName, _why: &str) {}
    /// The session ended. Nothing more of it arrives.
    fn disconnected(&self, session: &Session, why: &str);
    /// A message without an answer.
    fn received(&self, session: &Session, message: Message);
    /// A message that waits for an answer.
    fn called(&self, session: &Session, message: Message, reply: Reply);
}

/// The outcome of a call.
type Answer = Result<Vec<u8>, CallError>;

/// A frame's share of the credit.
#[derive(Debug)]
struct Slot {
    peer: Arc<Peer>,
    bytes: usize,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.peer.consume(self.bytes);
    }
}

/// The states: before the receiver knows of the session, while it does, and after.
enum Inbox {
    Early(Vec<(Header, Vec<u8>)>),
    Open,
    Closed,
}

/// The state of a session, shared by its stream, the gateway and senders.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) end: End,
    /// The key issued here; the peer's frames contain it.
    pub(crate) key: Key,
    /// The key issued by the peer.
    theirs: Key,
    pub(crate) ledger: Mutex<Ledger>,
    gateway: OnceLock<ActorRef<GatewayMessage>>,
    inbox: Mutex<Inbox>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    requests: AtomicU64,
    open: watch::Sender<bool>,
    receiver: Arc<dyn Receiver>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

impl Peer {
    pub(crate) fn new(session: Session, key: Key, hello: &Hello, limits: &Limits, receiver: Arc<dyn Receiver>) -> Self {
        let ours = Amount { frames: limits.frames, bytes: limits.bytes };
        // This node's limits bound what waits here for a peer, whatever the peer would accept.
        let theirs = Amount { frames: hello.frames.min(ours.frames), bytes: hello.bytes.min(ours.bytes) };
        Self {
            session,
            end: End::new(),
            key,
            theirs: hello.key,
            ledger: Mutex::new(Ledger { outgoing: Outgoing::new(theirs), incoming: Incoming::new(ours) }),
            gateway: OnceLock::new(),
            inbox: Mutex::new(Inbox::Early(Vec::new())),
            waiting: Mutex::new(HashMap::new()),
            requests: AtomicU64::new(1),
            open: watch::Sender::new(false),
            receiver,
        }
    }

    /// Both ends know each other's gateway: notifies the receiver, which then gets the frames that arrived earlier.
    pub(crate) fn opened(self: &Arc<Self>, gateway: ActorRef<GatewayMessage>) {
        let mut inbox = lock(&self.inbox);
        if self.gateway.set(gateway).is_err() || self.end.asked().is_some() {
            return;
        }
        let Inbox::Early(early) = std::mem::replace(&mut *inbox, Inbox::Open) else {
            *inbox = Inbox::Closed;
            return;
        };
        self.open.send_replace(true);
        self.receiver.connected(&self.session);
        for (header, body) in early {
            self.hand_over(header, body);
        }
    }

    /// Whether the receiver knows of it now.
    pub(crate) fn is_open(&self) -> bool {
        *self.open.borrow() && self.end.asked().is_none()
    }

    /// Waits until the session was opened.
    pub(crate) async fn wait_open(&self) {
        // The sender lives as long as `self`.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Nothing more arrives or leaves: notifies the receiver, and fails every call. Returns true if the receiver knew
    /// of the session.
    pub(crate) fn closed(&self, why: &str) -> bool {
        self.end.ask(why);
        let mut inbox = lock(&self.inbox);
        let known = matches!(std::mem::replace(&mut *inbox, Inbox::Closed), Inbox::Open);
        if known {
            self.receiver.disconnected(&self.session, why);
        }
        drop(inbox);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for (_, caller) in waiting {
            // If the caller is gone, nothing waits for this.
            let _ = caller.send(Err(CallError::Disconnected));
        }
        known
    }

    /// Handles a frame of the application, from the gateway.
    pub(crate) fn received(self: &Arc<Self>, header: Header, body: Vec<u8>) {
        let mut inbox = lock(&self.inbox);
        match &mut *inbox {
            // The credit bounds this list.
            Inbox::Early(early) => early.push((header, body)),
            Inbox::Open => self.hand_over(header, body),
            Inbox::Closed => {}
        }
    }

    fn hand_over(self: &Arc<Self>, Header { class, kind, request, .. }: Header, body: Vec<u8>) {
        let slot = Slot { peer: self.clone(), bytes: frame::HEADER + body.len() };
        match class {
            Class::Message => self.receiver.received(&self.session, Message { kind, body, _slot: Some(slot) }),
            Class::Call => {
                let reply = Reply { peer: self.clone(), request, answered: false, _slot: slot };
                self.receiver.called(&self.session, Message { kind, body, _slot: None }, reply);
            }
            Class::Reply => self.answered(request, Ok(body)),
            Class::Refusal => {
                self.answered(request, Err(CallError::Refused(String::from_utf8_lossy(&body).into_owned())));
            }
            // The gate handled these.
            Class::Hello | Class::Refused | Class::Ping | Class::Credit => {}
        }
    }

    fn answered(&self, request: u64, answer: Answer) {
        if let Some(caller) = lock(&self.waiting).remove(&request) {
            // If the caller is gone, it needs no answer.
            let _ = caller.send(answer);
        }
    }

    /// Sends a frame that takes credit. Without credit the session ends; reconciling in the next session repairs the
    /// loss, as it does for every loss.
    pub(crate) fn send(&self, class: Class, kind: u16, request: u64, body: &[u8]) -> Result<(), SendError> {
        let frame =
            frame::encode(class, kind, request, self.theirs, body).map_err(|_| SendError::TooLarge(body.len()))?;
        let gateway = self.gateway.get().filter(|_| self.end.asked().is_none()).ok_or(SendError::NotConnected)?;
        // Held while sending: the order of the credit must be the order of the frames.
        let mut ledger = lock(&self.ledger);
        if !ledger.outgoing.take(frame.len()) {
            drop(ledger);
            self.end.ask("it consumes nothing: no credit is left for another frame");
            return Err(SendError::NoCredit);
        }
        gateway.cast(GatewayMessage(frame)).map_err(|_| SendError::NotConnected)
    }

    /// Sends a ping.
    pub(crate) fn ping(&self) {
        self.control(Class::Ping, &[]);
    }

    fn consume(&self, bytes: usize) {
        let mut ledger = lock(&self.ledger);
        if let Some(consumed) = ledger.incoming.consume(bytes) {
            // Under the lock: a smaller credit after a larger one would be a false credit.
            self.control(Class::Credit, &consumed.to_bytes());
        }
    }

    fn control(&self, class: Class, body: &[u8]) {
        let frame = frame::encode(class, 0, 0, self.theirs, body);
        if let (Ok(frame), Some(gateway)) = (frame, self.gateway.get()) {
            // If the session is gone, it needs neither pings nor credit.
            let _ = gateway.cast(GatewayMessage(frame));
        }
    }

    /// Sends a call; the answer arrives through the receiver. Forget the call when nobody waits any more.
    pub(crate) fn call(&self, kind: u16, body: &[u8]) -> Result<(u64, oneshot::Receiver<Answer>), SendError> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let (caller, answer) = oneshot::channel();
        lock(&self.waiting).insert(request, caller);
        match self.send(Class::Call, kind, request, body) {
            Ok(()) => Ok((request, answer)),
            Err(error) => {
                self.forget(request);
                Err(error)
            }
        }
    }

    /// Nobody waits for this answer any more: forgets the call.
    pub(crate) fn forget(&self, request: u64) {
        lock(&self.waiting).remove(&request);
    }
}
