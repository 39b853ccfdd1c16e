//! One session: who it is with, what was sent and consumed, what waits for an answer. Frames are handed to the receiver in
//! order, between `connected` and `disconnected`.
//! Deliberately absent: the stream (see `stream`) and the choice between two sessions of one name (see `sessions`).

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

/// Which run of a node's process: random, new with every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random() -> std::io::Result<Self> {
        getrandom::u64().map(Self).map_err(|error| std::io::Error::other(error.to_string()))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which session of this process: grows, and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A session, as it is told to the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The node at the other end, as its certificate says.
    pub peer: NodeName,
    /// Which run of its process, as it says itself.
    pub incarnation: Incarnation,
    /// Which session.
    pub id: SessionId,
    /// Where it is connected from, or was dialed.
    pub address: SocketAddr,
    /// What the node says of itself, as it says it: at most [`crate::ABOUT_MAX`] bytes, none from a node of frames 1.0.
    pub about: Arc<[u8]>,
}

/// A message that arrived. Its credit goes back to the sender when it is dropped, so whoever queues messages keeps them
/// whole: the queue is then bounded by the credit.
#[derive(Debug)]
pub struct Message {
    /// What the body is.
    pub kind: u16,
    /// Up to [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
    _slot: Option<Slot>,
}

/// Where the answer to a call goes. Dropped without one, the caller gets a negative answer. The credit of the call goes
/// back when it is answered.
#[derive(Debug)]
pub struct Reply {
    peer: Arc<Peer>,
    request: u64,
    answered: bool,
    _slot: Slot,
}

impl Reply {
    /// Answers; an `Err` arrives as [`CallError::Refused`]. The body has at most [`BODY_MAX`] bytes.
    ///
    /// # Errors
    /// The answer was not sent: the session is gone or ends, or the answer is too large (the caller is told so instead).
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
            // The session may be gone, and with it the caller's wait.
            let _ = self.refuse("nobody answered");
        }
    }
}

/// Gets what happens on a link. Called in order within a session, by the threads of the link: it must not block, and what
/// takes time it hands to an actor. Calling the link from within is allowed.
pub trait Receiver: Send + Sync + 'static {
    /// A session began. There is at most one with a node at a time.
    fn connected(&self, session: &Session);
    /// A node that was dialed does not admit this node's certificate, and says why. Told at every such dial.
    fn not_admitted(&self, _by: &NodeName, _why: &str) {}
    /// It ended. Nothing more of it arrives.
    fn disconnected(&self, session: &Session, why: &str);
    /// A message without an answer.
    fn received(&self, session: &Session, message: Message);
    /// A message that waits for an answer.
    fn called(&self, session: &Session, message: Message, reply: Reply);
}

/// What a caller gets.
type Answer = Result<Vec<u8>, CallError>;

/// A frame's place in the credit.
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

/// Before the receiver knows of the session, while it does, and after.
enum Inbox {
    Early(Vec<(Header, Vec<u8>)>),
    Open,
    Closed,
}

/// The state of a session, shared by its stream, the gateway and senders.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) end: End,
    /// Issued here; the peer's frames carry it.
    pub(crate) key: Key,
    /// Issued there.
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
        // What waits here for a peer is bounded by this node's limits, whatever the peer would take.
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

    /// Both ends know each other's gateway: the receiver is told, and gets what came before.
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

    /// Waits until it was opened.
    pub(crate) async fn wait_open(&self) {
        // The sender lives as long as `self`.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Nothing more arrives or leaves: the receiver is told, and every call fails. True if the receiver knew of it.
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
            // A caller that is gone waits for nothing.
            let _ = caller.send(Err(CallError::Disconnected));
        }
        known
    }

    /// A frame of the application, from the gateway.
    pub(crate) fn received(self: &Arc<Self>, header: Header, body: Vec<u8>) {
        let mut inbox = lock(&self.inbox);
        match &mut *inbox {
            // Bounded by the credit.
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
            // The gate keeps them.
            Class::Hello | Class::Refused | Class::Ping | Class::Credit => {}
        }
    }

    fn answered(&self, request: u64, answer: Answer) {
        if let Some(caller) = lock(&self.waiting).remove(&request) {
            // A caller that is gone wants no answer.
            let _ = caller.send(answer);
        }
    }

    /// Sends a frame that takes credit. Without credit the session ends: what is lost with it is made good by reconciling
    /// on the next, which is the one way in which anything lost is made good.
    pub(crate) fn send(&self, class: Class, kind: u16, request: u64, body: &[u8]) -> Result<(), SendError> {
        let frame =
            frame::encode(class, kind, request, self.theirs, body).map_err(|_| SendError::TooLarge(body.len()))?;
        let gateway = self.gateway.get().filter(|_| self.end.asked().is_none()).ok_or(SendError::NotConnected)?;
        // Held while sending: the order of the credit is the order of the frames.
        let mut ledger = lock(&self.ledger);
        if !ledger.outgoing.take(frame.len()) {
            drop(ledger);
            self.end.ask("it consumes nothing: no credit was left for another frame");
            return Err(SendError::NoCredit);
        }
        gateway.cast(GatewayMessage(frame)).map_err(|_| SendError::NotConnected)
    }

    /// Says that this end is there.
    pub(crate) fn ping(&self) {
        self.control(Class::Ping, &[]);
    }

    fn consume(&self, bytes: usize) {
        let mut ledger = lock(&self.ledger);
        if let Some(consumed) = ledger.incoming.consume(bytes) {
            // Within the lock: a smaller credit after a larger one would be a false one.
            self.control(Class::Credit, &consumed.to_bytes());
        }
    }

    fn control(&self, class: Class, body: &[u8]) {
        let frame = frame::encode(class, 0, 0, self.theirs, body);
        if let (Ok(frame), Some(gateway)) = (frame, self.gateway.get()) {
            // A session that is gone needs neither pings nor credit.
            let _ = gateway.cast(GatewayMessage(frame));
        }
    }

    /// Sends a call; the answer arrives through the receiver. Forget it when nobody waits any more.
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

    /// Nobody waits for this answer any more.
    pub(crate) fn forget(&self, request: u64) {
        lock(&self.waiting).remove(&request);
    }
}
