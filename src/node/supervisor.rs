//! The NodeSupervisor: one per process. Starts Taskmaster and AgentHost, restarts what fails within limits, and
//! when that does not help stops the node loudly. Deliberately absent: any work of its own.

use std::{sync::Arc, time::Instant};

use devstack_dag::ids::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, Message, SupervisionEvent};
use tokio::sync::{mpsc, watch};

use crate::{
    actor::{Address, RestartPolicy, RestartVerdict, Restarts},
    agent_host::{AgentHost, Host, message::AgentHostMessage},
    store::{Journal, JournalConfig, Store},
    taskmaster::{Joined, Ledger, Outbox, StartDevops, Taskmaster, TaskmasterArguments, message::TaskmasterMessage},
    traces::Traces,
    wire::HostOrder,
};

/// The actor.
pub(super) struct NodeSupervisor;

/// To the supervisor. Local only.
pub(super) enum SupervisorMessage {
    /// The journal of a failed Taskmaster is closed: the store is free for its successor.
    StoreFree(Box<dyn Store>),
}

impl Message for SupervisorMessage {}

/// What the children are made of, kept for restarts.
pub(super) struct Parts {
    /// What the Taskmaster is made of; `None`: it is on another machine.
    pub seat: Option<Seat>,
    /// Where the Taskmaster lives.
    pub taskmaster: Address<TaskmasterMessage>,
    /// Where the AgentHost lives.
    pub agent_host: Address<AgentHostMessage>,
    /// The machine; `None`: this node runs no attempts.
    pub host: Option<Arc<Host>>,
    /// Told once, with the reason, when the node cannot go on.
    pub fatal: mpsc::UnboundedSender<String>,
}

/// What a Taskmaster is made of.
pub(super) struct Seat {
    /// Limits of the engine.
    pub engine: devstack_dag::Config,
    /// Limits of the journal.
    pub journal: JournalConfig,
    /// The way from the Taskmaster to the world.
    pub outbox: Outbox,
    /// Starts DevOps actors.
    pub start_devops: StartDevops,
    /// Facts kept for readers.
    pub keep_facts: u64,
    /// Says which fact is durable.
    pub news: watch::Sender<u64>,
    /// How long hosts on other machines may be silent.
    pub leases: devstack_cluster::Leases,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// Takes tasks that are over.
    pub traces: Option<Traces>,
    /// What people said of machines when they let them join.
    pub joined: Joined,
}

/// What it is started with.
pub(super) struct SupervisorArguments {
    /// What the children are made of.
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
            // What was accepted becomes durable before the process ends.
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
        let seat = self.parts.seat.as_ref().ok_or("this node has no place for a Taskmaster")?;
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
            // Nobody listens: the node ends already.
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
        // Orders given before this moment found nobody.
        actor.cast(AgentHostMessage::Order(HostOrder::ReportAgain))?;
        Ok(())
    }

    /// May this child be started again? If not, the node ends.
    fn allow(&mut self, who: &str, reason: &ActorProcessingErr, restarts: impl Fn(&mut Self) -> &mut Restarts) -> bool {
        let now = self.started.elapsed();
        let verdict = restarts(self).failed(RestartPolicy::default(), now);
        tracing::error!(%reason, ?verdict, "the {who} failed");
        if verdict == RestartVerdict::GiveUp {
            self.fatal(format!("the {who} failed too often, the last time with: {reason}"));
        }
        verdict == RestartVerdict::Restart
    }

    /// A child that cannot be started again ends the node, with the reason.
    fn fatal_unless(&self, who: &str, started: Result<(), ActorProcessingErr>) -> bool {
        if let Err(reason) = &started {
            self.fatal(format!("the {who} could not be started again: {reason}"));
        }
        started.is_ok()
    }

    fn fatal(&self, reason: String) {
        // Nobody listens: the node ends already.
        let _ = self.parts.fatal.send(reason);
        self.close();
    }

    /// Whoever waits for an answer waits no longer.
    fn close(&self) {
        self.parts.taskmaster.close();
        self.parts.agent_host.close();
    }

    /// The journal is joined before the Taskmaster reloads: nothing of the old one may still be on its way.
    fn free_store(&mut self, myself: ActorRef<SupervisorMessage>) {
        let Some(journal) = self.ledger.take().and_then(|ledger| ledger.take()) else { return };
        tokio::task::spawn_blocking(move || {
            // A journal that failed has told why already.
            if let Ok(store) = journal.close() {
                // The supervisor has gone: the node stops.
                let _ = myself.cast(SupervisorMessage::StoreFree(store));
            }
        });
    }
}
