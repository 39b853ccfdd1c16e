//! Carries out effects once the facts behind them are durable: orders to hosts, jobs to DevOps, timers. The journal's
//! thread calls it, so it only queues. Deliberately absent: decisions and retries: an effect whose receiver is absent
//! is repeated by `resume` when that actor is back.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use devstack_dag::{
    command::Command,
    effect::{Effect, Timer},
    ids::{HostName, ProjectName},
};

use super::{
    message::{Ask, TaskmasterMessage},
    prompts::{Later, Prompts},
};
use crate::{
    actor::{Address, Generations},
    agent_host::message::AgentHostMessage,
    devops::message::{DevopsMessage, Job},
    wire::HostOrder,
};
use devstack_store::{
    Blobs,
    fault::{self, Point},
};

/// The route to one host. Orders are queued, never waited for.
pub trait HostRoute: Send + Sync + 'static {
    /// Queues an order.
    ///
    /// # Errors
    /// The host is unreachable now; the order is sent again when it reports.
    fn send(&self, order: HostOrder) -> Result<(), Unreachable>;

    /// The host sent something unacceptable: its session ends with this reason. A host in this process has no session.
    fn cut_off(&self, _why: &str) {}
}

/// The host is unreachable now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

impl HostRoute for Address<AgentHostMessage> {
    fn send(&self, order: HostOrder) -> Result<(), Unreachable> {
        self.cast(AgentHostMessage::Order(order)).map_err(|_| Unreachable)
    }
}

/// The destination of effects. Cloning is cheap; all clones see the same addresses.
#[derive(Clone)]
pub struct Outbox {
    taskmaster: Address<TaskmasterMessage>,
    routes: Arc<RwLock<Routes>>,
    prompts: Arc<Prompts>,
    timers: tokio::runtime::Handle,
    muted: bool,
}

#[derive(Default)]
struct Routes {
    hosts: HashMap<HostName, Arc<dyn HostRoute>>,
    devops: HashMap<ProjectName, Address<DevopsMessage>>,
    generations: HashMap<ProjectName, Generations>,
}

impl Outbox {
    /// An outbox without routes. A muted outbox drops every effect: it is for a node that serves one request and
    /// dispatches nothing; `resume` repeats the effects at the next start. Long texts of prompts are read from and
    /// stored in `blobs`.
    pub fn new(
        taskmaster: Address<TaskmasterMessage>,
        blobs: Arc<Blobs>,
        timers: tokio::runtime::Handle,
        muted: bool,
    ) -> Self {
        Self { taskmaster, routes: Arc::default(), prompts: Arc::new(Prompts::new(blobs)), timers, muted }
    }

    /// Sets the route for orders to this host.
    pub fn connect_host(&self, host: HostName, route: Arc<dyn HostRoute>) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).hosts.insert(host, route);
    }

    /// Sets the address for jobs of this project.
    pub fn connect_devops(&self, project: ProjectName, address: Address<DevopsMessage>) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).devops.insert(project, address);
    }

    /// Counts the project's DevOps actors. Kept here because it outlives the Taskmaster: jobs of an earlier
    /// Taskmaster's DevOps must not act beside the current jobs.
    pub(super) fn generations(&self, project: &ProjectName) -> Generations {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.generations.entry(project.clone()).or_default().clone()
    }

    /// The project's DevOps actor.
    pub fn devops(&self, project: &ProjectName) -> Option<Address<DevopsMessage>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).devops.get(project).cloned()
    }

    /// Queues effects at their destinations.
    pub fn carry_out(&self, effects: Vec<Effect>) {
        if self.muted {
            return;
        }
        for effect in effects {
            fault::point(Point::TaskmasterBeforeEffect);
            self.carry(effect);
        }
    }

    fn carry(&self, effect: Effect) {
        match effect {
            Effect::StartAttempt { host, order, template } => {
                self.in_turn(Later { host, order: HostOrder::Start(order), compose: Some(template) });
            }
            Effect::StopAttempt { host, attempt } => {
                self.in_turn(Later { host, order: HostOrder::Stop(attempt), compose: None });
            }
            Effect::SalvageAttempt { host, order } => {
                self.in_turn(Later { host, order: HostOrder::Salvage(order), compose: None });
            }
            Effect::ForgetAttempt { host, attempt } => {
                self.in_turn(Later { host, order: HostOrder::Forget(attempt), compose: None });
            }
            Effect::PrepareMerge(request) => {
                self.to_devops(&request.attempt.task.project.clone(), DevopsMessage::Do(Job::Prepare(request)));
            }
            Effect::PublishMerge { project, merge, onto, candidate } => {
                self.to_devops(&project, DevopsMessage::Do(Job::Publish { merge, onto, candidate }));
            }
            Effect::Deliver(project) => self.to_devops(&project, DevopsMessage::Do(Job::Deliver)),
            Effect::SetTimer { timer, after_ms } => self.set_timer(timer, Duration::from_millis(after_ms)),
        }
    }

    /// Sends an order to a host after all earlier orders.
    fn in_turn(&self, later: Later) {
        if self.prompts.pass(later, |host, order| self.to_host(&host, order)) {
            let this = self.clone();
            self.timers.spawn_blocking(move || this.prompts.work(|host, order| this.to_host(&host, order)));
        }
    }

    /// Asks hosts to report their full state and every unacknowledged exit.
    pub fn ask_hosts_to_report(&self) {
        for route in self.routes.read().unwrap_or_else(PoisonError::into_inner).hosts.values() {
            // An absent host reports when it comes.
            let _ = route.send(HostOrder::ReportAgain);
        }
    }

    /// Sends an order to a host, if it is reachable now.
    pub(super) fn to_host(&self, host: &HostName, order: HostOrder) {
        let route = self.routes.read().unwrap_or_else(PoisonError::into_inner).hosts.get(host).cloned();
        if route.is_none_or(|route| route.send(order).is_err()) {
            tracing::debug!(%host, "the host is unreachable now; the order is sent again when it reports");
        }
    }

    /// Ends the session of a host that sent something unacceptable.
    pub(super) fn cut_off(&self, host: &HostName, why: &str) {
        if let Some(route) = self.routes.read().unwrap_or_else(PoisonError::into_inner).hosts.get(host).cloned() {
            route.cut_off(why);
        }
    }

    fn to_devops(&self, project: &ProjectName, message: DevopsMessage) {
        if self.devops(project).is_none_or(|address| address.cast(message).is_err()) {
            tracing::debug!(%project, "DevOps is unreachable now; the job is sent again when it is back");
        }
    }

    fn set_timer(&self, timer: Timer, after: Duration) {
        let taskmaster = self.taskmaster.clone();
        self.timers.spawn(async move {
            tokio::time::sleep(after).await;
            let ask = Ask { command: Command::TimerFired(timer), request: None, reply: None };
            // If the Taskmaster is absent, it is being restarted and sets its timers again.
            let _ = taskmaster.cast(TaskmasterMessage::Ask(ask));
        });
    }
}
