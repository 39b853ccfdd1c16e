//! Sessions with hosts: each session becomes a route of the outbox, and every frame on it becomes a message to the
//! Taskmaster. Deliberately absent: anything that blocks; the link's threads call this code.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use devstack_cluster::{CallError, Link, Message, NodeName, Receiver, Reply, Session, SessionId};
use devstack_dag::ids::{AttemptId, BlobId, HostName, Timestamp};

use super::{
    given::{Given, Readable},
    logs::Logs,
    results::Results,
};
use crate::{
    actor::Address,
    taskmaster::{
        HostRoute, Outbox, Unreachable,
        message::{Exit, TaskmasterMessage},
    },
    wire::{self, HostOrder, Introduction, LogOrder, ToHost, ToTaskmaster, Welcome},
};
use devstack_api::ByteStream;

/// How long a removed host may take to receive the message. Half of the silence that ends a session: a host that takes
/// longer is absent, and ends its attempts when its next dial is refused.
const LAST_WORD: Duration = Duration::from_secs(3);

/// The Taskmaster's end of all links. Cloning is cheap.
#[derive(Clone)]
pub struct Downlink(Arc<Shared>);

struct Shared {
    taskmaster: Address<TaskmasterMessage>,
    outbox: Outbox,
    welcome: Welcome,
    results: Arc<Results>,
    logs: Logs,
    /// The orders of each host.
    given: Given,
    /// Set once, right after the start.
    link: OnceLock<Link>,
    /// The current session of each host: the end of an earlier session is ignored.
    present: Mutex<HashMap<NodeName, Present>>,
    /// The introduction of each host in its last session, including absent hosts.
    introduced: Mutex<HashMap<HostName, Introduction>>,
    /// Why hosts were disconnected for a forbidden message: the last time for each, since the start.
    cut_off: Mutex<HashMap<HostName, CutOff>>,
}

/// A session that the Taskmaster ended because of the host's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// The time.
    pub at: Timestamp,
    /// The reason.
    pub why: String,
}

struct Present {
    session: SessionId,
    /// It is being removed: its messages are ignored.
    is_removed: bool,
}

impl Downlink {
    /// A downlink without a link yet; see [`Self::attach`].
    pub fn new(
        taskmaster: Address<TaskmasterMessage>,
        outbox: Outbox,
        welcome: Welcome,
        results: Arc<Results>,
    ) -> Self {
        Self(Arc::new(Shared {
            taskmaster,
            outbox,
            welcome,
            results,
            logs: Logs::default(),
            given: Given::default(),
            link: OnceLock::new(),
            present: Mutex::default(),
            introduced: Mutex::default(),
            cut_off: Mutex::default(),
        }))
    }

    /// Sets the link, with which it can send.
    pub fn attach(&self, link: Link) {
        // The starter attaches it once.
        let _ = self.0.link.set(link);
        // Hosts that connected in between were not welcomed yet.
        let early: Vec<NodeName> = self.present().keys().cloned().collect();
        early.iter().for_each(|host| self.welcome(host));
    }

    /// The results that hosts upload.
    pub fn results(&self) -> &Arc<Results> {
        &self.0.results
    }

    /// Whether this host, on which these attempts run, may read a text.
    pub fn readable(&self, host: &HostName, text: BlobId, running: &[AttemptId]) -> Readable {
        self.0.given.readable(host, text, running)
    }

    /// Whether there is a session with this host now.
    pub fn is_connected(&self, host: &HostName) -> bool {
        NodeName::new(host.as_str()).is_ok_and(|name| self.present().contains_key(&name))
    }

    /// A host's introduction from its last connection.
    pub fn introduction(&self, host: &HostName) -> Introduction {
        self.introduced().get(host).cloned().unwrap_or_default()
    }

    /// When and why its session was last ended because of its messages.
    pub fn last_cut_off(&self, host: &HostName) -> Option<CutOff> {
        self.cut_offs().get(host).cloned()
    }

    fn cut_offs(&self) -> std::sync::MutexGuard<'_, HashMap<HostName, CutOff>> {
        self.0.cut_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session because of the host's messages. The host may dial again.
    fn cut_off(&self, peer: &NodeName, why: &str) {
        tracing::error!(host = %peer, %why, "the host sent a forbidden message: disconnecting it");
        if let Ok(host) = HostName::new(peer.as_str()) {
            self.cut_offs().insert(host, CutOff { at: wall_clock(), why: why.to_owned() });
        }
        if let Some(link) = self.0.link.get() {
            link.disconnect(peer, why);
        }
    }

    /// Ignores all further messages of a host in this session: one more report would register it again. It still
    /// receives messages.
    pub fn deafen(&self, host: &HostName) {
        let Ok(name) = NodeName::new(host.as_str()) else { return };
        if let Some(present) = self.present().get_mut(&name) {
            present.is_removed = true;
        }
    }

    /// Tells a removed host to end its attempts, after all earlier messages, and waits briefly until it has received
    /// this. Then ends the session, and the host's lease. A host that does not answer is disconnected anyway.
    pub async fn dismiss(&self, host: &HostName) {
        if let (Some(link), Ok(name)) = (self.0.link.get(), NodeName::new(host.as_str())) {
            let word = wire::encode(&ToHost::Removed).unwrap_or_default();
            match link.call(&name, wire::TO_HOST, word, LAST_WORD).await {
                Ok(_) => tracing::info!(%host, "the removed host ends its attempts"),
                // A host of a version that knows only single orders, which it has received by now.
                Err(CallError::Refused(_)) => tracing::info!(%host, "told the removed host to end its attempts"),
                Err(why) => tracing::warn!(%host, %why, "cannot tell the removed host that it was removed"),
            }
            link.disconnect(&name, "it was removed from the cluster");
        }
        self.introduced().remove(host);
        self.0.results.forget_host(host);
        self.0.given.forget(host);
        self.cut_offs().remove(host);
        // If the Taskmaster is being restarted, it does not expect this host.
        let _ = self.0.taskmaster.cast(TaskmasterMessage::HostGone(host.clone()));
    }

    /// The log of an attempt, from its host; `None` if the host is absent.
    pub fn log(&self, host: &HostName, attempt: AttemptId, follow: bool) -> Option<ByteStream> {
        let name = NodeName::new(host.as_str()).ok()?;
        let (channel, stream) = self.0.logs.open(name.clone(), self.clone());
        let order = ToHost::SendLog(LogOrder { channel, attempt, follow });
        self.send(&name, &order).ok()?;
        Some(stream)
    }

    /// Forwards a host's data into a channel of [`Self::log`]. Returns when the reader has all of it, or is gone.
    pub async fn feed_log(&self, host: &NodeName, channel: u64, body: ByteStream) {
        self.0.logs.feed(host, channel, body).await;
    }

    pub(super) fn close_log(&self, host: &NodeName, channel: u64) {
        // If the host is gone, it stops by itself.
        let _ = self.send(host, &ToHost::CloseLog { channel });
    }

    fn send(&self, to: &NodeName, message: &ToHost) -> Result<(), Unreachable> {
        let link = self.0.link.get().ok_or(Unreachable)?;
        let body = wire::encode(message).map_err(|error| {
            tracing::error!(%to, %error, "cannot send a message");
            Unreachable
        })?;
        link.send(to, wire::TO_HOST, body).map_err(|_| Unreachable)
    }

    fn ask_again(&self, host: &HostName) {
        let Ok(name) = NodeName::new(host.as_str()) else { return };
        // If it is gone, the next session begins with a report.
        let _ = self.send(&name, &ToHost::Order(HostOrder::ReportAgain));
    }

    fn welcome(&self, host: &NodeName) {
        // If it is gone again, the next session sends it.
        let _ = self.send(host, &ToHost::Understands(wire::VERSION));
        let _ = self.send(host, &ToHost::Welcome(self.0.welcome.clone()));
    }

    fn present(&self) -> std::sync::MutexGuard<'_, HashMap<NodeName, Present>> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn introduced(&self) -> std::sync::MutexGuard<'_, HashMap<HostName, Introduction>> {
        self.0.introduced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, host: &HostName, message: ToTaskmaster) -> Result<(), String> {
        let message = match message {
            ToTaskmaster::Alive => TaskmasterMessage::HostAlive(host.clone()),
            ToTaskmaster::Report(report) if report.host == *host => TaskmasterMessage::HostReported(report),
            ToTaskmaster::Report(report) => return Err(format!("it reports as {}", report.host)),
            ToTaskmaster::Exited { report, result } => {
                let named = result.map(|result| self.0.results.reported(host, &report.attempt, &result));
                if named == Some(None) {
                    // Either this process was restarted since the upload, or the upload never arrived: the host must
                    // upload the result before it reports it.
                    self.ask_again(host);
                    return Ok(());
                }
                TaskmasterMessage::AttemptExited(Exit { bundle: named.flatten(), ..Exit::of(host.clone(), report) })
            }
            ToTaskmaster::NoLog { channel, why } => {
                if let Ok(name) = NodeName::new(host.as_str()) {
                    self.0.logs.none(&name, channel, why);
                }
                return Ok(());
            }
        };
        // If it is being restarted, it asks all hosts when it is back.
        let _ = self.0.taskmaster.cast(message);
        Ok(())
    }
}

impl Receiver for Downlink {
    fn connected(&self, session: &Session) {
        let Ok(host) = HostName::new(session.peer.as_str()) else { return };
        tracing::info!(%host, address = %session.address, "the host is connected");
        self.present().insert(session.peer.clone(), Present { session: session.id, is_removed: false });
        self.introduced().insert(host.clone(), Introduction::decode(&session.about));
        let route = Route { downlink: self.clone(), name: session.peer.clone() };
        self.0.outbox.connect_host(host, Arc::new(route));
        self.welcome(&session.peer);
    }

    fn disconnected(&self, session: &Session, why: &str) {
        let mut present = self.present();
        if present.get(&session.peer).is_none_or(|known| known.session != session.id) {
            return;
        }
        present.remove(&session.peer);
        drop(present);
        tracing::warn!(host = %session.peer, %why, "the host is gone");
        self.0.logs.host_gone(&session.peer);
        if let Ok(host) = HostName::new(session.peer.as_str()) {
            // If it is being restarted, it gives every known host a lease.
            let _ = self.0.taskmaster.cast(TaskmasterMessage::HostSilent(host));
        }
    }

    fn received(&self, session: &Session, message: Message) {
        let Ok(host) = HostName::new(session.peer.as_str()) else { return };
        if self.present().get(&session.peer).is_some_and(|present| present.is_removed) {
            return;
        }
        let taken = match message.kind {
            wire::TO_TASKMASTER => wire::decode(&message.body).map_err(|error| error.to_string()),
            other => Err(format!("unknown message kind {other}")),
        };
        if let Err(why) = taken.and_then(|message| self.take(&host, message)) {
            self.cut_off(&session.peer, &why);
        }
    }

    fn called(&self, session: &Session, message: Message, _: Reply) {
        // Dropped: the caller gets a refusal.
        tracing::warn!(host = %session.peer, kind = message.kind, "nothing is answered on a link");
    }
}

/// The wall-clock time, for display.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The route to one host, in whichever session.
struct Route {
    downlink: Downlink,
    name: NodeName,
}

impl HostRoute for Route {
    fn send(&self, order: HostOrder) -> Result<(), Unreachable> {
        if let HostOrder::Forget(attempt) = &order {
            // Its result is in the hub, or no longer needed.
            self.downlink.0.results.forget(attempt);
        }
        if let Ok(host) = HostName::new(self.name.as_str()) {
            // Before the order is sent: the host may ask for texts at once.
            self.downlink.0.given.note(&host, &order);
        }
        self.downlink.send(&self.name, &ToHost::Order(order))
    }

    fn cut_off(&self, why: &str) {
        self.downlink.cut_off(&self.name, why);
    }
}
