//! The NodeSupervisor: one per process. It starts Taskmaster and AgentHost, restarts them within limits when they fail,
//! and stops the node loudly when that does not help. Deliberately absent: any work of its own.

use std::{sync::Arc, time::Instant};

use devstack_dag::ids::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, Message, SupervisionEvent};
use tokio::sync::{mpsc, watch};

use crate::{
    actor::{Address, RestartPolicy, RestartVerdict, Restarts},
    agent_host::{AgentHost, Host, message::AgentHostMessage},
    taskmaster::{Joined, Ledger, Outbox, StartDevops, Taskmaster, TaskmasterArguments, message::TaskmasterMessage},
    traces::Traces,
    wire::HostOrder,
};
use devstack_store::{Journal, JournalConfig, Store};

/// The actor.
pub(super) struct NodeSupervisor;

/// Messages to the supervisor. Local only.
pub(super) enum SupervisorMessage {
    /// The journal of a failed Taskmaster is closed: its successor can use the store.
    StoreFree(Box<dyn Store>),
}

impl Message for SupervisorMessage {}

/// The parts of the children, kept for restarts.
pub(super) struct Parts {
    /// The parts of the Taskmaster; `None` if it is on another machine.
    pub seat: Option<Seat>,
    /// The address of the Taskmaster.
    pub taskmaster: Address<TaskmasterMessage>,
    /// The address of the AgentHost.
    pub agent_host: Address<AgentHostMessage>,
    /// The machine; `None` if this node runs no attempts.
    pub host: Option<Arc<Host>>,
    /// Notified once, with the reason, when the node cannot continue.
    pub fatal: mpsc::UnboundedSender<String>,
}

/// The parts of a Taskmaster.
pub(super) struct Seat {
    /// Limits of the engine.
    pub engine: devstack_dag::Config,
    /// Limits of the journal.
    pub journal: JournalConfig,
    /// Carries the Taskmaster's effects.
    pub outbox: Outbox,
    /// Starts DevOps actors.
    pub start_devops: StartDevops,
    /// Number of facts kept for readers.
    pub keep_facts: u64,
    /// Publishes the number of the last durable fact.
    pub news: watch::Sender<u64>,
    /// How long hosts on other machines may be silent.
    pub leases: devstack_cluster::Leases,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// Receives finished tasks.
    pub traces: Option<Traces>,
    /// The limits that machines got when they joined.
    pub joined: Joined,
}

/// The arguments of a start.
pub(super) struct SupervisorArguments {
    /// The parts of the children.
    pub parts: Parts,
    /// The opened store, for a Taskmaster.
    pub store: Option<Box<dyn Store>>,
}

/// The state.
pub(super) struct State {
    parts: Parts,
    ledger: Option<Ledger>,
    taskmaster: Option<ActorCell>,
    agent_host: Option<ActorCell>,
    taskmaster_restarts: Restarts,
    agent_host_restarts: Restarts,
    started: Instant,
}

impl Actor for NodeSupervisor {
    type Msg = SupervisorMessage;
    type State = State;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        given: Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut state = State {
            parts: given.parts,
            ledger: None,
            taskmaster: None,
            agent_host: None,
            taskmaster_restarts: Restarts::default(),
            agent_host_restarts: Restarts::default(),
            started: Instant::now(),
        };
        if let Some(store) = given.store {
            state.start_taskmaster(&myself, store).await?;
        }
        state.start_agent_host(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::StoreFree(store) => {
                let started = state.start_taskmaster(&myself, store).await;
                if state.fatal_unless("Taskmaster", started)
                    && let Some(seat) = &state.parts.seat
                {
                    seat.outbox.ask_hosts_to_report();
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(cell, reason) = event else { return Ok(()) };
        let is = |child: &Option<ActorCell>| child.as_ref().is_some_and(|child| child.get_id() == cell.get_id());
        if is(&state.taskmaster) {
            state.parts.taskmaster.move_out();
            if state.allow("Taskmaster", &reason, |state| &mut state.taskmaster_restarts) {
                state.free_store(myself);
            }
        } else if is(&state.agent_host) {
            state.parts.agent_host.move_out();
            if state.allow("AgentHost", &reason, |state| &mut state.agent_host_restarts) {
                let started = state.start_agent_host(&myself).await;
                state.fatal_unless("AgentHost", started);
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.close();
        if let Some(journal) = state.ledger.take().and_then(|ledger| ledger.take()) {
            // Accepted changes become durable before the process ends.
            tokio::task::spawn_blocking(move || drop(journal.close())).await?;
        }
        Ok(())
    }
}

impl State {
    async fn start_taskmaster(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        store: Box<dyn Store>,
    ) -> Result<(), ActorProcessingErr> {
        let seat = self.parts.seat.as_ref().ok_or("this node has no Taskmaster")?;
        let (store, loaded) = tokio::task::spawn_blocking(move || {
            let loaded = store.load();
            (store, loaded)
        })
        .await?;
        let loaded = loaded?;
        seat.news.send_replace(loaded.meta.seq.0);
        let reader = store.reader();
        let fatal = self.parts.fatal.clone();
        let journal = Journal::spawn(store, seat.journal, move |error| {
            // If nobody listens, the node is already ending.
            let _ = fatal.send(format!("the store cannot be written any more: {error}"));
        })?;
        let ledger = Ledger::new(journal, loaded.meta.seq);
        self.ledger = Some(ledger.clone());
        let arguments = TaskmasterArguments {
            loaded,
            engine: seat.engine.clone(),
            ledger,
            reader,
            outbox: seat.outbox.clone(),
            start_devops: seat.start_devops.clone(),
            keep_facts: seat.keep_facts,
            news: seat.news.clone(),
            clock: seat.clock,
            leases: seat.leases,
            local_host: self.parts.host.as_ref().map(|host| host.name.clone()),
            traces: seat.traces.clone(),
            joined: seat.joined.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, Taskmaster, arguments, myself.get_cell()).await?;
        self.taskmaster = Some(actor.get_cell());
        self.parts.taskmaster.move_in(actor);
        Ok(())
    }

    async fn start_agent_host(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let Some(host) = self.parts.host.clone() else { return Ok(()) };
        let (actor, _) = Actor::spawn_linked(None, AgentHost, host.clone(), myself.get_cell()).await?;
        self.agent_host = Some(actor.get_cell());
        self.parts.agent_host.move_in(actor.clone());
        if let Some(seat) = &self.parts.seat {
            seat.outbox.connect_host(host.name.clone(), Arc::new(self.parts.agent_host.clone()));
        }
        // Orders sent before this moment reached nobody.
        actor.cast(AgentHostMessage::Order(HostOrder::ReportAgain))?;
        Ok(())
    }

    /// Whether this child may be started again. If not, the node ends.
    fn allow(&mut self, who: &str, reason: &ActorProcessingErr, restarts: impl Fn(&mut Self) -> &mut Restarts) -> bool {
        let now = self.started.elapsed();
        let verdict = restarts(self).failed(RestartPolicy::default(), now);
        tracing::error!(%reason, ?verdict, "the {who} failed");
        if verdict == RestartVerdict::GiveUp {
            self.fatal(format!("the {who} failed too often, the last time with: {reason}"));
        }
        verdict == RestartVerdict::Restart
    }

    /// If a child cannot be started again, the node ends with the reason.
    fn fatal_unless(&self, who: &str, started: Result<(), ActorProcessingErr>) -> bool {
        if let Err(reason) = &started {
            self.fatal(format!("the {who} could not be started again: {reason}"));
        }
        started.is_ok()
    }

    fn fatal(&self, reason: String) {
        // If nobody listens, the node is already ending.
        let _ = self.parts.fatal.send(reason);
        self.close();
    }

    /// Callers that wait for an answer stop waiting.
    fn close(&self) {
        self.parts.taskmaster.close();
        self.parts.agent_host.close();
    }

    /// The journal is joined before the Taskmaster reloads: no write of the old one may still be in progress.
    fn free_store(&mut self, myself: ActorRef<SupervisorMessage>) {
        let Some(journal) = self.ledger.take().and_then(|ledger| ledger.take()) else { return };
        tokio::task::spawn_blocking(move || {
            // A failed journal has already reported the reason.
            if let Ok(store) = journal.close() {
                // If the supervisor is gone, the node stops.
                let _ = myself.cast(SupervisorMessage::StoreFree(store));
            }
        });
    }
}
