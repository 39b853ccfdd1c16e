//! The session with the Taskmaster: orders become messages to the AgentHost, reports become frames. The heartbeat
//! passes through the AgentHost, so an AgentHost that hangs sends none. Deliberately absent: anything that blocks; the
//! link's threads call this code.

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
    taskmaster::message::Exit,
    wire::{self, HostOrder, ToHost, ToTaskmaster, Welcome},
};
use devstack_config::node::OnDisconnect;
use devstack_repository::policy;

/// The longest wait for the AgentHost to stop attempts, and the pause before it is asked again.
const STOP_ANSWER: Duration = Duration::from_secs(60);
const STOP_AGAIN: Duration = Duration::from_secs(1);

/// The parameters of an uplink.
pub struct UplinkConfig {
    /// The destination of orders.
    pub agent_host: Address<AgentHostMessage>,
    /// The client for large transfers.
    pub bulk: Bulk,
    /// What happens to attempts while there is no session.
    pub on_disconnect: OnDisconnect,
    /// How long delivery of a result is tried during a session.
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
    /// Set once; the host holds this as its report sink.
    host: OnceLock<Weak<Host>>,
    present: Mutex<Present>,
    deliveries: Deliveries,
    logs: Logs,
}

/// The current session, and its state.
#[derive(Default)]
struct Present {
    session: Option<(SessionId, NodeName)>,
    welcome: Option<Welcome>,
    /// The version of messages that its Taskmaster understands; 0 if it did not say, which means version 1.
    version: u16,
    /// It was told that this machine is no longer a member, and acted on it.
    removed: bool,
    /// The heartbeat, or without a session the wait before attempts are stopped.
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
    /// An uplink without a link yet; see [`Self::attach`]. Call this within a tokio runtime.
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

    /// Sets the host whose reports pass through here.
    pub fn serve(&self, host: &Arc<Host>) {
        // Called once, by the code that made both.
        let _ = self.0.host.set(Arc::downgrade(host));
    }

    /// Sets the link, with which it can send.
    pub fn attach(&self, link: Link) {
        // The starter attaches it once.
        let _ = self.0.link.set(link);
        if self.is_connected() {
            // Reports made in between could not be sent.
            self.order(HostOrder::ReportAgain);
        }
    }

    /// Whether there is a session whose Taskmaster has sent its welcome.
    pub fn is_connected(&self) -> bool {
        self.present().welcome.is_some()
    }

    /// The version of messages that its Taskmaster understands; `None` without a session.
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

    /// Sends a message on the current session; without a session it is dropped, and the next report makes up for it.
    pub(super) fn send(&self, message: ToTaskmaster) {
        let (peer, version) = {
            let present = self.present();
            (present.session.as_ref().map(|(_, peer)| peer.clone()), present.version)
        };
        let (Some(peer), Some(link)) = (peer, self.0.link.get()) else { return };
        match wire::encode_for(version, &message.fit()) {
            Ok(body) => {
                // If the session ended just now, the next one begins with a report.
                let _ = link.send(&peer, wire::TO_TASKMASTER, body);
            }
            Err(error) => tracing::error!(%error, "cannot send a report"),
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
                // If it is being restarted, its successor beats again.
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
        // If it is being restarted, its successor reports, and gets the order again.
        let _ = self.0.agent_host.cast(AgentHostMessage::Order(order));
    }

    fn take(&self, message: ToHost) {
        match message {
            ToHost::Welcome(welcome) => self.welcomed(welcome),
            ToHost::Order(order) => self.order(order),
            ToHost::SendLog(order) => self.0.logs.send(self, order),
            ToHost::CloseLog { channel } => self.0.logs.close(channel),
            ToHost::Removed => self.removed("its Taskmaster reported it"),
            ToHost::Understands(version) => self.present().version = version,
        }
    }

    /// This machine is no longer a member, and never will be again with the certificate of this process: whatever
    /// `on_disconnect` says, nobody waits for its attempts. Their files stay, in case it joins again.
    fn removed(&self, why: &str) {
        let mut present = self.present();
        if std::mem::replace(&mut present.removed, true) {
            return;
        }
        present.time(None);
        drop(present);
        tracing::error!(
            why,
            "this machine is no longer a member of its cluster: ending its attempts. To use it again, run \
             `devstack-node join` with a new token and restart this node"
        );
        if !self.stop_all() {
            // If it is being restarted, the next dial is refused, too.
            self.present().removed = false;
        }
    }

    /// Does not wait for the end. Returns false if there is no actor to ask.
    fn stop_all(&self) -> bool {
        self.0.agent_host.cast(AgentHostMessage::StopAll(oneshot::channel().0)).is_ok()
    }

    /// Stops attempts when they are replaced elsewhere, each after the time in its order, else after `default`; only if
    /// configured.
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
            tracing::warn!(taskmaster = %session.peer, %why, "disconnected; attempts continue");
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
            other => Err(format!("unknown message kind {other}")),
        };
        match taken {
            Ok(message) => self.take(message),
            // A newer Taskmaster may send a message that this version does not know; its other messages still count.
            Err(why) => tracing::error!(taskmaster = %session.peer, %why, "cannot parse an order"),
        }
    }

    fn not_admitted(&self, by: &NodeName, why: &str) {
        tracing::debug!(taskmaster = %by, why, "not admitted");
        self.removed(why);
    }

    fn called(&self, session: &Session, message: Message, reply: Reply) {
        if message.kind == wire::TO_HOST && wire::decode(&message.body) == Ok(ToHost::Removed) {
            self.take(ToHost::Removed);
            // If the session is already gone, the caller does not wait any more.
            let _ = reply.send(Ok(Vec::new()));
            return;
        }
        // Dropping the reply refuses the caller.
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
