//! The session with the Taskmaster: orders become messages to the AgentHost, reports become frames. The heartbeat goes
//! through the AgentHost, so that one that hangs is silent.
//! Deliberately absent: anything that blocks; the link's threads call this.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use devstack_cluster::{Link, Message, NodeName, Receiver, Reply, Session, SessionId};
use devstack_dag::{command::HostReport, ids::AttemptId};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{bulk::Bulk, deliver::Deliveries, logs::Logs};
use crate::{
    actor::Address,
    agent_host::{Host, Superior, message::AgentHostMessage},
    config::node::OnDisconnect,
    repository::policy,
    taskmaster::message::Exit,
    wire::{self, HostOrder, ToHost, ToTaskmaster, Welcome},
};

/// The longest wait for the AgentHost to stop attempts, and the pause before it is asked again.
const STOP_ANSWER: Duration = Duration::from_secs(60);
const STOP_AGAIN: Duration = Duration::from_secs(1);

/// What an uplink is made with.
pub struct UplinkConfig {
    /// Where orders go.
    pub agent_host: Address<AgentHostMessage>,
    /// The way for everything large.
    pub bulk: Bulk,
    /// What happens to attempts while there is no session.
    pub on_disconnect: OnDisconnect,
    /// How long a result is tried to be handed over while there is a session.
    pub delivery: Duration,
    /// Limits on results.
    pub limits: policy::Limits,
}

/// An agent host's end of its link. Cloning is cheap.
#[derive(Clone)]
pub struct Uplink(pub(super) Arc<Shared>);

pub(super) struct Shared {
    agent_host: Address<AgentHostMessage>,
    pub(super) bulk: Bulk,
    on_disconnect: OnDisconnect,
    pub(super) delivery: Duration,
    pub(super) limits: policy::Limits,
    tokio: tokio::runtime::Handle,
    /// Set once, right after the start.
    link: OnceLock<Link>,
    /// Set once; it holds this as its superior.
    host: OnceLock<Weak<Host>>,
    present: Mutex<Present>,
    deliveries: Deliveries,
    logs: Logs,
}

/// The present session, and what depends on it.
#[derive(Default)]
struct Present {
    session: Option<(SessionId, NodeName)>,
    welcome: Option<Welcome>,
    /// The version of messages that its Taskmaster understands; 0: it did not say, and understands version 1.
    version: u16,
    /// It was told that this machine is no member, and that was acted upon.
    removed: bool,
    /// The heartbeat, or with no session the wait before attempts are stopped.
    timer: Option<JoinHandle<()>>,
}

impl Present {
    fn time(&mut self, timer: Option<JoinHandle<()>>) {
        if let Some(old) = std::mem::replace(&mut self.timer, timer) {
            old.abort();
        }
    }
}

impl Uplink {
    /// Without a link yet; see [`Self::attach`]. Call within a tokio runtime.
    pub fn new(config: UplinkConfig) -> Self {
        Self(Arc::new(Shared {
            agent_host: config.agent_host,
            bulk: config.bulk,
            on_disconnect: config.on_disconnect,
            delivery: config.delivery,
            limits: config.limits,
            tokio: tokio::runtime::Handle::current(),
            link: OnceLock::new(),
            host: OnceLock::new(),
            present: Mutex::default(),
            deliveries: Deliveries::default(),
            logs: Logs::default(),
        }))
    }

    /// The machine whose reports pass here.
    pub fn serve(&self, host: &Arc<Host>) {
        // Called once, by whoever made both.
        let _ = self.0.host.set(Arc::downgrade(host));
    }

    /// From now on it can send.
    pub fn attach(&self, link: Link) {
        // Attached once, by whoever started it.
        let _ = self.0.link.set(link);
        if self.is_connected() {
            // What was reported in between could not be sent.
            self.order(HostOrder::ReportAgain);
        }
    }

    /// Is there a session whose Taskmaster has said what it wants?
    pub fn is_connected(&self) -> bool {
        self.present().welcome.is_some()
    }

    /// The version of messages that its Taskmaster understands; `None`: there is no session.
    pub(super) fn version(&self) -> Option<u16> {
        let present = self.present();
        present.welcome.as_ref().map(|_| present.version.max(1))
    }

    pub(super) fn welcome(&self) -> Option<Welcome> {
        self.present().welcome.clone()
    }

    pub(super) fn host(&self) -> Option<Arc<Host>> {
        self.0.host.get()?.upgrade()
    }

    pub(super) fn tokio(&self) -> &tokio::runtime::Handle {
        &self.0.tokio
    }

    /// Sends a message on the present session; without one it is dropped, to be made up for by the next report.
    pub(super) fn send(&self, message: ToTaskmaster) {
        let (peer, version) = {
            let present = self.present();
            (present.session.as_ref().map(|(_, peer)| peer.clone()), present.version)
        };
        let (Some(peer), Some(link)) = (peer, self.0.link.get()) else { return };
        match wire::encode_for(version, &message.fit()) {
            Ok(body) => {
                // The session ended just now: the next one begins with a report.
                let _ = link.send(&peer, wire::TO_TASKMASTER, body);
            }
            Err(error) => tracing::error!(%error, "a report cannot be sent"),
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn welcomed(&self, welcome: Welcome) {
        let beat = Duration::from_millis(welcome.heartbeat_ms.max(1));
        let agent_host = self.0.agent_host.clone();
        let heart = self.0.tokio.spawn(async move {
            let mut ticks = tokio::time::interval(beat);
            loop {
                ticks.tick().await;
                // It is being restarted: its successor beats again.
                let _ = agent_host.cast(AgentHostMessage::Beat);
            }
        });
        let mut present = self.present();
        (present.welcome, present.removed) = (Some(welcome), false);
        present.time(Some(heart));
        drop(present);
        self.order(HostOrder::ReportAgain);
    }

    fn order(&self, order: HostOrder) {
        // It is being restarted: its successor reports, and is told again.
        let _ = self.0.agent_host.cast(AgentHostMessage::Order(order));
    }

    fn take(&self, message: ToHost) {
        match message {
            ToHost::Welcome(welcome) => self.welcomed(welcome),
            ToHost::Order(order) => self.order(order),
            ToHost::SendLog(order) => self.0.logs.send(self, order),
            ToHost::CloseLog { channel } => self.0.logs.close(channel),
            ToHost::Removed => self.removed("its Taskmaster said so"),
            ToHost::Understands(version) => self.present().version = version,
        }
    }

    /// This machine is no member any more, and never will be with the certificate that this process has: whatever
    /// `on_disconnect` says, nobody waits for its attempts. What they left stays, for when it joins again.
    fn removed(&self, why: &str) {
        let mut present = self.present();
        if std::mem::replace(&mut present.removed, true) {
            return;
        }
        present.time(None);
        drop(present);
        tracing::error!(
            why,
            "this machine is no member of its cluster any more: its attempts are ended. To let it work again, run \
             `devstack-node join` with a new token and restart this node"
        );
        if !self.stop_all() {
            // It is being restarted: the next dial is refused, too.
            self.present().removed = false;
        }
    }

    /// Nobody waits for the end. False: nobody is there to be told.
    fn stop_all(&self) -> bool {
        self.0.agent_host.cast(AgentHostMessage::StopAll(oneshot::channel().0)).is_ok()
    }

    /// Attempts are stopped when they are replaced elsewhere, each as its order says, else after `default`; if that is wanted.
    fn stop_later(&self, default: Duration) -> Option<JoinHandle<()>> {
        if self.0.on_disconnect == OnDisconnect::Continue {
            return None;
        }
        let uplink = self.clone();
        Some(self.0.tokio.spawn(async move {
            let mut silent = Duration::ZERO;
            loop {
                let ask = |answer| AgentHostMessage::Silence { silent, default, answer };
                let next = match uplink.0.agent_host.ask(STOP_ANSWER, ask).await {
                    Ok(Some(next)) => next,
                    Ok(None) => return,
                    // It is being restarted.
                    Err(_) => silent + STOP_AGAIN,
                };
                tokio::time::sleep(next.saturating_sub(silent)).await;
                silent = next;
            }
        }))
    }
}

impl Receiver for Uplink {
    fn connected(&self, session: &Session) {
        tracing::info!(taskmaster = %session.peer, address = %session.address, "connected");
        let mut present = self.present();
        present.session = Some((session.id, session.peer.clone()));
        present.welcome = None;
    }

    fn disconnected(&self, session: &Session, why: &str) {
        let mut present = self.present();
        if present.session.as_ref().is_none_or(|(id, _)| *id != session.id) {
            return;
        }
        if present.removed {
            tracing::warn!(taskmaster = %session.peer, %why, "disconnected for good");
        } else {
            tracing::warn!(taskmaster = %session.peer, %why, "disconnected; attempts go on");
        }
        let limit = present.welcome.as_ref().map(|welcome| Duration::from_millis(welcome.max_disconnect_ms));
        let timer = limit.filter(|_| !present.removed).and_then(|limit| self.stop_later(limit));
        present.time(timer);
        present.session = None;
        present.welcome = None;
        present.version = 0;
        drop(present);
        self.0.logs.close_all();
    }

    fn received(&self, session: &Session, message: Message) {
        let taken = match message.kind {
            wire::TO_HOST => wire::decode(&message.body).map_err(|error| error.to_string()),
            other => Err(format!("messages of kind {other} are not known")),
        };
        match taken {
            Ok(message) => self.take(message),
            // A newer Taskmaster may ask for what this version has not; the rest of what it says still counts.
            Err(why) => tracing::error!(taskmaster = %session.peer, %why, "an order is not understood"),
        }
    }

    fn not_admitted(&self, by: &NodeName, why: &str) {
        tracing::debug!(taskmaster = %by, why, "not admitted");
        self.removed(why);
    }

    fn called(&self, session: &Session, message: Message, reply: Reply) {
        if message.kind == wire::TO_HOST && wire::decode(&message.body) == Ok(ToHost::Removed) {
            self.take(ToHost::Removed);
            // The session is gone already: who called does not wait any more.
            let _ = reply.send(Ok(Vec::new()));
            return;
        }
        // The reply is dropped: the caller is refused.
        tracing::warn!(taskmaster = %session.peer, kind = message.kind, "nothing is answered on a link");
    }
}

impl Superior for Uplink {
    fn report(&self, report: HostReport) {
        self.send(ToTaskmaster::Report(report));
    }

    fn exited(&self, exit: Exit) {
        self.0.deliveries.deliver(self, exit);
    }

    fn alive(&self) {
        self.send(ToTaskmaster::Alive);
    }

    fn shelved(&self, attempt: &AttemptId) {
        self.0.deliveries.forget(attempt);
        self.0.logs.ship(self, attempt.clone());
    }
}
