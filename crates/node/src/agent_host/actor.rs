//! The AgentHost: the slots of one machine. It starts an Attempt for each order, adopts at its start what the runtime
//! still holds, restarts Attempts that panic, reports its full state, and removes attempts that were acknowledged.
//! Deliberately absent: choosing what runs where (the engine) and running it (the runtime).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use devstack_dag::{
    attempt::Order,
    command::{HostReport, Quarantine, ShardReport},
    ids::AttemptId,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::{
    attempt::{Attempt, AttemptArguments, AttemptMessage, infrastructure},
    host::Host,
    message::AgentHostMessage,
};
use crate::{
    actor::{Fence, Generations, RestartPolicy, RestartVerdict, Restarts},
    wire::HostOrder,
};
use devstack_machine::disk::Seen;
use devstack_store::fault::{self, Point};

/// The pause between two attempts to remove what cannot be removed: a container that hangs in the kernel, an engine
/// that is gone.
const REMOVE_AGAIN: Duration = Duration::from_secs(10);

/// The interval of disk checks while attempts run or room is short: a fast disk receives a gigabyte in this time.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The actor.
pub struct AgentHost;

/// The state.
pub struct State {
    host: Arc<Host>,
    fence: Fence,
    running: HashMap<AttemptId, Child>,
    /// Left by an earlier process, and neither ordered nor forgotten yet.
    found: HashSet<AttemptId>,
    /// Those of the found attempts that are being ended.
    ending: HashSet<AttemptId>,
    /// Being removed: only the runtime still knows them.
    leaving: Vec<AttemptId>,
    /// Those that cannot be removed now, each with the reason: they occupy slots.
    stuck: BTreeMap<AttemptId, String>,
    /// Why the runtime cannot start anything now.
    sick: Option<String>,
    /// Room on the disk, as last checked.
    disk: Seen,
    /// Whether another disk check is in progress.
    looking: bool,
    /// How full the bridges were in the last report.
    shards: Vec<ShardReport>,
    /// Whether the runtime has listed its attempts; until then, orders wait.
    surveyed: bool,
    early: Vec<AgentHostMessage>,
    stopping: Vec<oneshot::Sender<()>>,
    tidying: Vec<oneshot::Sender<()>>,
    started: Instant,
}

struct Child {
    actor: ActorRef<AttemptMessage>,
    order: Arc<Order>,
    generations: Generations,
    restarts: Restarts,
    stop: bool,
}

impl Actor for AgentHost {
    type Msg = AgentHostMessage;
    type State = State;
    type Arguments = Arc<Host>;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, host: Arc<Host>) -> Result<State, ActorProcessingErr> {
        let surveyor = host.clone();
        let (listener, mut health) = (myself.clone(), host.runtime.health());
        tokio::spawn(async move {
            let found = surveyor.survey().await;
            // The first report contains both.
            let seen = surveyor.look_at_disk(found.clone()).await;
            // If the actor is gone, its successor checks again.
            let _ = myself.cast(AgentHostMessage::Disk(seen));
            let _ = myself.cast(AgentHostMessage::Observed(found));
        });
        tokio::spawn(async move {
            loop {
                let now = health.borrow_and_update().clone();
                // Ends with the actor, or with a runtime whose health never changes.
                if listener.cast(AgentHostMessage::Health(now)).is_err() || health.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(State {
            fence: host.incarnations.next(),
            host,
            running: HashMap::new(),
            found: HashSet::new(),
            ending: HashSet::new(),
            leaving: Vec::new(),
            stuck: BTreeMap::new(),
            sick: None,
            disk: Seen::enough(),
            looking: false,
            shards: Vec::new(),
            surveyed: false,
            early: Vec::new(),
            stopping: Vec::new(),
            tidying: Vec::new(),
            started: Instant::now(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let at_once = matches!(
            message,
            AgentHostMessage::Observed(_)
                | AgentHostMessage::Disk(_)
                | AgentHostMessage::Beat
                | AgentHostMessage::Ping(_)
        );
        if !state.surveyed && !at_once {
            state.early.push(message);
            return Ok(());
        }
        match message {
            AgentHostMessage::Order(order) => state.order(&myself, order).await?,
            AgentHostMessage::Beat => state.beat(),
            AgentHostMessage::Observed(found) => state.found(&myself, found)?,
            AgentHostMessage::Ended(attempt) => state.ended(&attempt),
            AgentHostMessage::Removed(attempt) => state.removed(&attempt),
            AgentHostMessage::Stuck(attempt, why) => state.cannot_remove(attempt, why),
            AgentHostMessage::Health(sick) => state.health(sick),
            AgentHostMessage::Disk(seen) => state.disk(seen),
            AgentHostMessage::Silence { silent, default, answer } => {
                // The caller may be gone.
                let _ = answer.send(state.silence(&myself, silent, default));
            }
            AgentHostMessage::StopAll(done) => state.stop_all(&myself, done),
            AgentHostMessage::Ping(answer) => {
                // The caller may be gone.
                let _ = answer.send(());
            }
            AgentHostMessage::TidyUp(done) => {
                state.tidying.push(done);
                state.answer_waiting();
            }
        }
        state.watch_disk(&myself);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, reason) = event {
            state.attempt_failed(&myself, &cell, &reason).await?;
        }
        Ok(())
    }
}

impl State {
    async fn order(&mut self, myself: &ActorRef<AgentHostMessage>, order: HostOrder) -> Result<(), ActorProcessingErr> {
        match order {
            HostOrder::Start(order) => self.start(myself, Arc::new(*order), false).await?,
            HostOrder::Stop(attempt) => self.stop(&attempt),
            HostOrder::Forget(attempt) => self.forget(myself, attempt),
            HostOrder::ReportAgain => self.report_again(),
            HostOrder::Salvage(order) => self.salvage(myself, *order).await?,
        }
        Ok(())
    }

    async fn start(
        &mut self,
        myself: &ActorRef<AgentHostMessage>,
        order: Arc<Order>,
        stop: bool,
    ) -> Result<(), ActorProcessingErr> {
        let attempt = order.attempt.clone();
        self.found.remove(&attempt);
        if self.running.contains_key(&attempt) || self.leaving.contains(&attempt) {
            return Ok(());
        }
        fault::point(Point::AgentHostOrder);
        let generations = Generations::default();
        let actor = self.spawn(myself, &order, &generations, stop).await?;
        self.running.insert(attempt, Child { actor, order, generations, restarts: Restarts::default(), stop });
        Ok(())
    }

    /// An Attempt that is asked to stop from the beginning starts nothing: it ends what runs and reports what it finds.
    /// An attempt that neither exists nor was found has been removed since it was reported.
    async fn salvage(&mut self, myself: &ActorRef<AgentHostMessage>, order: Order) -> Result<(), ActorProcessingErr> {
        if let Some(child) = self.running.get(&order.attempt) {
            // It may have ended, and its report may be lost.
            let _ = child.actor.cast(AttemptMessage::ReportAgain);
            self.stop(&order.attempt);
        } else if self.found.contains(&order.attempt) {
            self.start(myself, Arc::new(order), true).await?;
        }
        Ok(())
    }

    async fn spawn(
        &self,
        myself: &ActorRef<AgentHostMessage>,
        order: &Arc<Order>,
        generations: &Generations,
        stop: bool,
    ) -> Result<ActorRef<AttemptMessage>, ActorProcessingErr> {
        let fence = generations.next().within(&self.fence);
        let arguments = AttemptArguments { order: order.clone(), host: self.host.clone(), fence, stop };
        Ok(Actor::spawn_linked(None, Attempt, arguments, myself.get_cell()).await?.0)
    }

    fn stop(&mut self, attempt: &AttemptId) {
        if let Some(child) = self.running.get_mut(attempt) {
            child.stop = true;
            // If it failed just now, its successor is started with the request to stop.
            let _ = child.actor.cast(AttemptMessage::Stop);
        }
    }

    fn forget(&mut self, myself: &ActorRef<AgentHostMessage>, attempt: AttemptId) {
        self.found.remove(&attempt);
        if self.leaving.contains(&attempt) {
            return;
        }
        fault::point(Point::AttemptBeforeForget);
        if let Some(child) = self.running.remove(&attempt) {
            // Also closes the fence of the job.
            drop(child.generations.next());
            child.actor.stop(None);
        }
        self.leaving.push(attempt.clone());
        let (host, myself) = (self.host.clone(), myself.clone());
        tokio::spawn(async move {
            while let Err(error) = host.remove(&attempt).await {
                // If the actor is gone, its successor finds the rest.
                if myself.cast(AgentHostMessage::Stuck(attempt.clone(), error.to_string())).is_err() {
                    return;
                }
                tokio::time::sleep(REMOVE_AGAIN).await;
            }
            let _ = myself.cast(AgentHostMessage::Removed(attempt));
        });
    }

    fn ended(&mut self, attempt: &AttemptId) {
        self.ending.remove(attempt);
        self.answer_waiting();
    }

    fn removed(&mut self, attempt: &AttemptId) {
        self.leaving.retain(|other| other != attempt);
        if self.stuck.remove(attempt).is_some() {
            self.report();
        }
        self.answer_waiting();
    }

    fn cannot_remove(&mut self, attempt: AttemptId, why: String) {
        if self.stuck.insert(attempt, why).is_none() {
            self.report();
        }
    }

    fn health(&mut self, sick: Option<String>) {
        if self.sick != sick {
            self.sick = sick;
            self.report();
        }
    }

    fn disk(&mut self, seen: Seen) {
        self.looking = false;
        // The numbers in the message change all the time: the report shows those of the moment when room became short.
        if seen.level != self.disk.level {
            self.disk = seen;
            if self.surveyed {
                self.report();
            }
        }
    }

    /// Checks the disk again in a moment, while attempts run or room is short. An idle host checks nothing.
    fn watch_disk(&mut self, myself: &ActorRef<AgentHostMessage>) {
        let is_idle = self.running.is_empty() && self.disk.refusal().is_none();
        if !self.surveyed || is_idle || std::mem::replace(&mut self.looking, true) {
            return;
        }
        let held = self.running.keys().chain(&self.found).chain(&self.leaving).cloned().collect();
        let (host, myself) = (self.host.clone(), myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AGAIN).await;
            // If the actor is gone, its successor checks.
            let _ = myself.cast(AgentHostMessage::Disk(host.look_at_disk(held).await));
        });
    }

    /// The slots that cannot be used now.
    fn quarantine(&self) -> Option<Quarantine> {
        if let Some(why) = &self.sick {
            return Some(Quarantine { slots: self.host.slots, why: why.clone() });
        }
        if let Some(why) = self.disk.refusal() {
            return Some(Quarantine { slots: self.host.slots, why: why.to_owned() });
        }
        let (attempt, why) = self.stuck.first_key_value()?;
        let slots = u32::try_from(self.stuck.len()).unwrap_or(u32::MAX);
        Some(Quarantine { slots, why: format!("the remains of {attempt} cannot be removed: {why}") })
    }

    fn found(&mut self, myself: &ActorRef<AgentHostMessage>, found: Vec<AttemptId>) -> Result<(), ActorProcessingErr> {
        self.surveyed = true;
        self.found = found.into_iter().collect();
        self.report();
        for message in std::mem::take(&mut self.early) {
            myself.cast(message)?;
        }
        Ok(())
    }

    /// Reports always contain the full state. Nobody waits yet for attempts that were found: the answer to a report
    /// without them orders those that are valid, and the answer to a report with them forgets the rest.
    fn report(&mut self) {
        if !self.found.is_empty() {
            self.report_attempts(self.running.keys().cloned().collect());
        }
        self.report_attempts(self.running.keys().chain(&self.found).cloned().collect());
    }

    fn beat(&mut self) {
        self.host.superior.alive();
        if self.surveyed && self.host.shards() != self.shards {
            self.report();
        }
    }

    fn report_attempts(&mut self, attempts: Vec<AttemptId>) {
        let report = HostReport { attempts, quarantine: self.quarantine(), ..self.host.describe() };
        self.shards.clone_from(&report.shards);
        self.host.superior.report(report);
    }

    fn report_again(&mut self) {
        self.report();
        for child in self.running.values() {
            let _ = child.actor.cast(AttemptMessage::ReportAgain);
        }
    }

    /// Found attempts have no actor: only the Taskmaster, which may be absent, could order them.
    fn stop_all(&mut self, myself: &ActorRef<AgentHostMessage>, done: oneshot::Sender<()>) {
        let all: Vec<AttemptId> = self.running.keys().cloned().collect();
        all.iter().for_each(|attempt| self.stop(attempt));
        self.end_found(myself);
        self.stopping.push(done);
        self.answer_waiting();
    }

    fn end_found(&mut self, myself: &ActorRef<AgentHostMessage>) {
        for attempt in self.found.iter().filter(|attempt| self.ending.insert((*attempt).clone())) {
            let (host, myself, attempt) = (self.host.clone(), myself.clone(), attempt.clone());
            tokio::spawn(async move {
                host.end(&attempt).await;
                // If the actor is gone, its successor finds the attempt ended.
                let _ = myself.cast(AgentHostMessage::Ended(attempt));
            });
        }
    }

    /// Found attempts have no order that says how long to wait for them.
    fn silence(
        &mut self,
        myself: &ActorRef<AgentHostMessage>,
        silent: Duration,
        default: Duration,
    ) -> Option<Duration> {
        let waits = |child: &Child| child.order.max_disconnect_ms.map_or(default, Duration::from_millis);
        let due = self.running.iter().filter(|(_, child)| !child.stop && waits(child) <= silent);
        let due: Vec<AttemptId> = due.map(|(attempt, _)| attempt.clone()).collect();
        for attempt in due {
            tracing::warn!(%attempt, "the Taskmaster was unreachable for too long: stopping the attempt");
            self.stop(&attempt);
        }
        if default <= silent {
            self.end_found(myself);
        }
        let found = self.found.iter().map(|_| default);
        self.running.values().map(waits).chain(found).filter(|waits| *waits > silent).min()
    }

    fn answer_waiting(&mut self) {
        if !self.leaving.is_empty() {
            return;
        }
        let stopped = if self.running.is_empty() && self.ending.is_empty() { self.stopping.len() } else { 0 };
        for done in self.tidying.drain(..).chain(self.stopping.drain(..stopped)) {
            // The caller may be gone.
            let _ = done.send(());
        }
    }

    async fn attempt_failed(
        &mut self,
        myself: &ActorRef<AgentHostMessage>,
        cell: &ActorCell,
        reason: &ActorProcessingErr,
    ) -> Result<(), ActorProcessingErr> {
        let found = self.running.iter().find(|(_, child)| child.actor.get_id() == cell.get_id());
        let Some(attempt) = found.map(|(attempt, _)| attempt.clone()) else { return Ok(()) };
        let Some(mut child) = self.running.remove(&attempt) else { return Ok(()) };
        let verdict = child.restarts.failed(RestartPolicy::default(), self.started.elapsed());
        tracing::error!(%attempt, %reason, ?verdict, "the Attempt actor failed");
        if verdict == RestartVerdict::GiveUp {
            let exit = infrastructure(&self.host, &child.order, format!("its actor failed too often: {reason}"));
            self.host.superior.exited(exit);
            return Ok(());
        }
        child.actor = self.spawn(myself, &child.order, &child.generations, child.stop).await?;
        self.running.insert(attempt, child);
        Ok(())
    }
}
