//! Sessions with hosts: each becomes a route of the outbox, and what arrives on it a message to the Taskmaster.
//! Deliberately absent: anything that blocks; the link's threads call this.

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
    gateway::ByteStream,
    taskmaster::{
        HostRoute, Outbox, Unreachable,
        message::{Exit, TaskmasterMessage},
    },
    wire::{self, HostOrder, Introduction, LogOrder, ToHost, ToTaskmaster, Welcome},
};

/// How long a host that is removed may take to hear of it. Half of what makes a session end: who takes longer is not there, and
/// ends its attempts when it is refused at its next dial.
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
    /// What each host was ordered.
    given: Given,
    /// Set once, right after the start.
    link: OnceLock<Link>,
    /// The present session of each host: the end of an earlier one means nothing.
    present: Mutex<HashMap<NodeName, Present>>,
    /// What each host said of itself in its last session; of hosts that are away, too.
    introduced: Mutex<HashMap<HostName, Introduction>>,
    /// Why hosts were cut off, the last time of each, since the start.
    cut_off: Mutex<HashMap<HostName, CutOff>>,
}

/// The end of a session that the Taskmaster ended for what the host said in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// When.
    pub at: Timestamp,
    /// For what.
    pub why: String,
}

struct Present {
    session: SessionId,
    /// It is being removed: what it says counts no more.
    is_removed: bool,
}

impl Downlink {
    /// Without a link yet; see [`Self::attach`].
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

    /// From now on it can send.
    pub fn attach(&self, link: Link) {
        // Attached once, by whoever started it.
        let _ = self.0.link.set(link);
        // Who connected in between was not welcomed.
        let early: Vec<NodeName> = self.present().keys().cloned().collect();
        early.iter().for_each(|host| self.welcome(host));
    }

    /// What hosts bring.
    pub fn results(&self) -> &Arc<Results> {
        &self.0.results
    }

    /// May this host read a text, on which these attempts run?
    pub fn readable(&self, host: &HostName, text: BlobId, running: &[AttemptId]) -> Readable {
        self.0.given.readable(host, text, running)
    }

    /// Is there a session with this host now?
    pub fn is_connected(&self, host: &HostName) -> bool {
        NodeName::new(host.as_str()).is_ok_and(|name| self.present().contains_key(&name))
    }

    /// What a host says of itself, since it connected the last time.
    pub fn introduction(&self, host: &HostName) -> Introduction {
        self.introduced().get(host).cloned().unwrap_or_default()
    }

    /// Why its session was ended the last time for what it had said.
    pub fn last_cut_off(&self, host: &HostName) -> Option<CutOff> {
        self.cut_offs().get(host).cloned()
    }

    fn cut_offs(&self) -> std::sync::MutexGuard<'_, HashMap<HostName, CutOff>> {
        self.0.cut_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session for what the host said in it. It may dial again.
    fn cut_off(&self, peer: &NodeName, why: &str) {
        tracing::error!(host = %peer, %why, "the host says what it may not, and is cut off");
        if let Ok(host) = HostName::new(peer.as_str()) {
            self.cut_offs().insert(host, CutOff { at: wall_clock(), why: why.to_owned() });
        }
        if let Some(link) = self.0.link.get() {
            link.disconnect(peer, why);
        }
    }

    /// Nothing more that a host says in this session counts: one more report would make it a host again. It still hears.
    pub fn deafen(&self, host: &HostName) {
        let Ok(name) = NodeName::new(host.as_str()) else { return };
        if let Some(present) = self.present().get_mut(&name) {
            present.is_removed = true;
        }
    }

    /// Tells a host that is no member any more to end its attempts, after all that it was told before; waits a moment until
    /// it has heard; then ends the session, and its lease. One that does not hear is cut off all the same.
    pub async fn dismiss(&self, host: &HostName) {
        if let (Some(link), Ok(name)) = (self.0.link.get(), NodeName::new(host.as_str())) {
            let word = wire::encode(&ToHost::Removed).unwrap_or_default();
            match link.call(&name, wire::TO_HOST, word, LAST_WORD).await {
                Ok(_) => tracing::info!(%host, "the removed host ends its attempts"),
                // Of a version that knows the single orders only, which it has by now.
                Err(CallError::Refused(_)) => tracing::info!(%host, "the removed host was told to end its attempts"),
                Err(why) => tracing::warn!(%host, %why, "the removed host does not hear that it is removed"),
            }
            link.disconnect(&name, "it was removed from the cluster");
        }
        self.introduced().remove(host);
        self.0.results.forget_host(host);
        self.0.given.forget(host);
        self.cut_offs().remove(host);
        // The Taskmaster is being restarted: the host is not among those that it expects.
        let _ = self.0.taskmaster.cast(TaskmasterMessage::HostGone(host.clone()));
    }

    /// The log of an attempt, from its host; `None`: the host is not there.
    pub fn log(&self, host: &HostName, attempt: AttemptId, follow: bool) -> Option<ByteStream> {
        let name = NodeName::new(host.as_str()).ok()?;
        let (channel, stream) = self.0.logs.open(name.clone(), self.clone());
        let order = ToHost::SendLog(LogOrder { channel, attempt, follow });
        self.send(&name, &order).ok()?;
        Some(stream)
    }

    /// What a host sends into a channel of [`Self::log`]. Returns when the reader has all of it, or is gone.
    pub async fn feed_log(&self, host: &NodeName, channel: u64, body: ByteStream) {
        self.0.logs.feed(host, channel, body).await;
    }

    pub(super) fn close_log(&self, host: &NodeName, channel: u64) {
        // The host is gone: it stops by itself.
        let _ = self.send(host, &ToHost::CloseLog { channel });
    }

    fn send(&self, to: &NodeName, message: &ToHost) -> Result<(), Unreachable> {
        let link = self.0.link.get().ok_or(Unreachable)?;
        let body = wire::encode(message).map_err(|error| {
            tracing::error!(%to, %error, "a message cannot be sent");
            Unreachable
        })?;
        link.send(to, wire::TO_HOST, body).map_err(|_| Unreachable)
    }

    fn ask_again(&self, host: &HostName) {
        let Ok(name) = NodeName::new(host.as_str()) else { return };
        // It is gone: the next session begins with a report.
        let _ = self.send(&name, &ToHost::Order(HostOrder::ReportAgain));
    }

    fn welcome(&self, host: &NodeName) {
        // It is gone again: the next session says it.
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
                    // This process was restarted since it came, or it never did: it is to be brought before it is reported.
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
        // It is being restarted, and asks all hosts when it is back.
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
            // It is being restarted: every host that it knows gets a lease.
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
            other => Err(format!("messages of kind {other} are not known")),
        };
        if let Err(why) = taken.and_then(|message| self.take(&host, message)) {
            self.cut_off(&session.peer, &why);
        }
    }

    fn called(&self, session: &Session, message: Message, _: Reply) {
        // Dropped: the caller is refused.
        tracing::warn!(host = %session.peer, kind = message.kind, "nothing is answered on a link");
    }
}

/// The time of day, for people.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The way to one host, whichever session it has.
struct Route {
    downlink: Downlink,
    name: NodeName,
}

impl HostRoute for Route {
    fn send(&self, order: HostOrder) -> Result<(), Unreachable> {
        if let HostOrder::Forget(attempt) = &order {
            // Its result is in the hub, or nobody wants it.
            self.downlink.0.results.forget(attempt);
        }
        if let Ok(host) = HostName::new(self.name.as_str()) {
            // Before it is told: it may ask at once.
            self.downlink.0.given.note(&host, &order);
        }
        self.downlink.send(&self.name, &ToHost::Order(order))
    }

    fn cut_off(&self, why: &str) {
        self.downlink.cut_off(&self.name, why);
    }
}
