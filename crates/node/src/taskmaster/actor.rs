//! The Taskmaster: the only writer of the store. A thin shell around the engine: a message becomes a command, the
//! decision becomes one journal entry, and answer and effects go out when that entry is durable. Deliberately absent:
//! decisions (crate dag) and waiting for I/O (journal thread, DevOps, hosts).

use std::{collections::HashMap, sync::Arc, time::Instant};

use devstack_dag::{
    Answer, Decision, Engine, Rejection,
    command::Command,
    ids::{HostName, ProjectName, Timestamp},
    pins::PinChange,
    plan::ProjectSpec,
};
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;

use super::{
    leases::Leases,
    ledger::Ledger,
    measures::Measures,
    message::{
        Ask, AskError, AskReply, Exit, FactsAnswer, GetFacts, Look, Recall, Request, SubmitPlan, TaskmasterMessage,
        View,
    },
    outbox::Outbox,
};
use crate::{
    actor::{Address, Fence, Generations, Restarts},
    devops::message::{DevopsMessage, Job},
    traces::Traces,
};
use devstack_repository::held::Guard;
use devstack_store::{
    Commit, Entry, Loaded, Lookup, Packed, RowSizes, Seq, StoreReader, StoredReply, Term,
    fault::{self, Point},
};
use devstack_telemetry::cpu;

/// The actor.
pub struct Taskmaster;

/// Starts a DevOps actor for this project, linked to this supervisor; its jobs carry the fence.
pub type StartDevops = Arc<
    dyn Fn(ProjectSpec, Fence, ActorCell) -> BoxFuture<'static, Result<ActorRef<DevopsMessage>, SpawnErr>>
        + Send
        + Sync,
>;

/// The limits that a machine got when it joined; they apply from its first report.
pub type Joined = Arc<dyn Fn(&HostName) -> PinChange + Send + Sync>;

/// The arguments of a start.
pub struct TaskmasterArguments {
    /// The content of the store.
    pub loaded: Loaded,
    /// Limits of the engine.
    pub engine: devstack_dag::Config,
    /// The handle on the journal.
    pub ledger: Ledger,
    /// Reads the store without the journal.
    pub reader: StoreReader,
    /// Carries out effects.
    pub outbox: Outbox,
    /// Starts DevOps actors.
    pub start_devops: StartDevops,
    /// Number of facts kept for readers.
    pub keep_facts: u64,
    /// Publishes the number of the last durable fact.
    pub news: watch::Sender<u64>,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// How long hosts on other machines may be silent.
    pub leases: devstack_cluster::Leases,
    /// The host of this process.
    pub local_host: Option<HostName>,
    /// The limits that machines got when they joined.
    pub joined: Joined,
    /// Receives finished tasks; `None` if traces are off.
    pub traces: Option<Traces>,
}

/// The state: the engine, and the position in the history.
pub struct State {
    pub(super) engine: Engine,
    pub(super) ledger: Ledger,
    reader: StoreReader,
    pub(super) outbox: Outbox,
    pub(super) start_devops: StartDevops,
    news: watch::Sender<u64>,
    clock: fn() -> Timestamp,
    last: Timestamp,
    seq: Seq,
    pruned: Seq,
    keep_facts: u64,
    term: Term,
    measures: Measures,
    traces: Option<Traces>,
    pub(super) submissions: HashMap<u64, SubmitPlan>,
    pub(super) next_submission: u64,
    pub(super) children: HashMap<ProjectName, Child>,
    pub(super) started: Instant,
    pub(super) leases: Leases,
    /// The host of this process, which is available as long as the process is.
    pub(super) local_host: Option<HostName>,
    pub(super) joined: Joined,
}

/// A project's DevOps actor.
pub(super) struct Child {
    pub(super) cell: ActorCell,
    pub(super) address: Address<DevopsMessage>,
    pub(super) generations: Generations,
    pub(super) restarts: Restarts,
}

impl Actor for Taskmaster {
    type Msg = TaskmasterMessage;
    type State = State;
    type Arguments = TaskmasterArguments;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, given: Self::Arguments) -> Result<State, ActorProcessingErr> {
        let Loaded { meta, records } = given.loaded;
        let engine = Engine::from_records(given.engine, records.into_iter())?;
        Ok(State {
            measures: Measures::of(&engine),
            traces: given.traces,
            engine,
            ledger: given.ledger,
            reader: given.reader,
            outbox: given.outbox,
            start_devops: given.start_devops,
            news: given.news,
            clock: given.clock,
            last: meta.last_time,
            seq: meta.seq,
            pruned: meta.first,
            keep_facts: given.keep_facts,
            term: meta.term,
            submissions: HashMap::new(),
            next_submission: 0,
            children: HashMap::new(),
            started: Instant::now(),
            leases: Leases::new(given.leases),
            local_host: given.local_host,
            joined: given.joined,
        })
    }

    async fn post_start(&self, myself: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let with_repository: Vec<ProjectSpec> = state
            .engine
            .projects()
            .map(|project| &project.spec)
            .filter(|spec| spec.source.is_some())
            .cloned()
            .collect();
        for spec in with_repository {
            state.ensure_devops(&myself, spec).await?;
        }
        let now = state.now();
        state.outbox.carry_out(state.engine.resume(now));
        state.expect_hosts(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        cpu::TASKMASTER.of_future(state.take(&myself, message)).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, reason) = event {
            state.devops_failed(&myself, cell, &reason).await?;
        }
        Ok(())
    }
}

impl State {
    async fn take(
        &mut self,
        myself: &ActorRef<TaskmasterMessage>,
        message: TaskmasterMessage,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TaskmasterMessage::Ask(ask) => self.ask(ask),
            TaskmasterMessage::SubmitPlan(submission) => self.submit(myself, submission).await?,
            TaskmasterMessage::HubReady(ready) => self.hub_ready(ready),
            TaskmasterMessage::Recall(Recall { request, reply }) => {
                let known = self.known(&request);
                // If the caller is gone, there is nothing to do.
                self.when_durable(move || drop(reply.send(known)));
            }
            TaskmasterMessage::Look(look) => self.look(look),
            TaskmasterMessage::GetFacts(get) => self.facts(get),
            TaskmasterMessage::LookAtStore(look) => {
                // The last commit reported that the journal is closed; the caller sees that nobody answers.
                let _ = self.ledger.look(look.0);
            }
            TaskmasterMessage::HostReported(report) => self.host_reported(myself, report),
            TaskmasterMessage::HostAlive(host) => self.host_alive(myself, &host),
            TaskmasterMessage::HostSilent(host) => self.host_silent(myself, &host),
            TaskmasterMessage::HostGone(host) => self.leases.remove(&host),
            TaskmasterMessage::LeaseDue => self.lease_due(myself),
            TaskmasterMessage::AttemptExited(exit) => {
                fault::point(Point::TaskmasterReport);
                self.attempt_exited(exit);
            }
            TaskmasterMessage::DevopsReported(command) => self.tell(command),
        }
        Ok(())
    }

    /// The larger of the last stored time and the wall clock.
    pub(super) fn now(&mut self) -> Timestamp {
        self.last = self.last.max((self.clock)());
        self.last
    }

    pub(super) fn tell(&mut self, command: Command) {
        self.ask(Ask { command, request: None, reply: None });
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        let Ask { command, request, reply } = ask;
        if let Some(request) = &request
            && let Some(known) = self.known(request)
        {
            return self.when_durable(move || answer(reply, known));
        }
        let now = self.now();
        let host = command.host().filter(|host| self.is_remote(host)).cloned();
        match self.decide(now, command) {
            Ok(decision) => self.commit(decision, request, reply),
            // A host repeats its message until it is accepted.
            Err(why @ Rejection::TooLarge { .. }) if host.is_some() => {
                host.into_iter().for_each(|host| self.outbox.cut_off(&host, &why.to_string()));
            }
            // The reason of a refusal must be durable before anybody learns of it.
            Err(rejection) => {
                if matches!(rejection, Rejection::TooLarge { .. }) {
                    tracing::error!(%rejection, "the consequences cannot be stored, so the request is refused");
                }
                self.when_durable(move || answer(reply, Err(rejection.into())));
            }
        }
    }

    /// Makes a decision that the store can hold. Details of an attempt's end that do not fit are left out: the attempt
    /// has ended anyway.
    fn decide(&mut self, now: Timestamp, command: Command) -> Result<Decision, Rejection> {
        let least = command.least();
        match (self.engine.step_within(now, command, &RowSizes), least) {
            (Err(why @ Rejection::TooLarge { .. }), Some(least)) => {
                tracing::warn!(%why, "the attempt's report does not fit, so its details are left out");
                self.engine.step_within(now, least, &RowSizes)
            }
            (decided, _) => decided,
        }
    }

    /// The earlier answer to this request, if there is one.
    pub(super) fn known(&self, request: &Request) -> Option<Result<Answer, AskError>> {
        match self.ledger.lookup(&request.key, &request.body_hash) {
            Ok(Lookup::New) => None,
            Ok(Lookup::Conflict) => Some(Err(AskError::KeyReused)),
            Ok(Lookup::Replay(reply)) => Some(serde_json::from_slice(&reply).map_err(|_| AskError::KeyReused)),
            Err(error) => {
                tracing::error!(%error, "cannot read the answer of an earlier request");
                Some(Err(AskError::KeyReused))
            }
        }
    }

    fn commit(&mut self, decision: Decision, request: Option<Request>, reply: Option<AskReply>) {
        let Decision { facts, effects, touched, answer: said } = decision;
        let traces = self.traces.clone();
        let finished =
            traces.as_ref().map(|_| self.measures.finished(&self.engine, &facts, &touched)).unwrap_or_default();
        self.measures.note(&self.engine, &facts);
        let outbox = self.outbox.clone();
        if facts.is_empty() && touched.is_empty() && request.is_none() {
            return self.when_durable(move || {
                outbox.carry_out(effects);
                answer(reply, Ok(said));
            });
        }
        let mut commit = Commit { term: self.term, expected_seq: self.seq, facts, ..Commit::default() };
        let pack = touched.len() > Packed::MANY;
        for key in touched {
            match self.engine.record(&key) {
                Some(record) if pack && commit.packed.push(&record) => {}
                Some(record) => commit.records.push(record),
                None => commit.removed.push(key),
            }
        }
        if let Some(Request { key, body_hash }) = request {
            // An answer is a struct of numbers and names: it always serializes.
            let reply = serde_json::to_vec(&said).unwrap_or_default();
            commit.replies.push((key, StoredReply { body_hash, reply }));
        }
        self.seq = commit.seq_after();
        let news = self.news.clone();
        let then = Box::new(move |seq: Seq| {
            outbox.carry_out(effects);
            answer(reply, Ok(said));
            news.send_replace(seq.0);
            if let Some(traces) = traces {
                finished.into_iter().for_each(|task| traces.take(task));
            }
        });
        if self.ledger.submit(Entry { commit, then }).is_err() {
            tracing::error!("the journal is closed: nothing more is accepted");
        }
        self.prune();
    }

    /// Facts are pruned in steps, so that pruning is rare.
    fn prune(&mut self) {
        let horizon = self.seq.0.saturating_sub(self.keep_facts);
        if horizon < self.pruned.0 + self.keep_facts / 10 {
            return;
        }
        self.pruned = Seq(horizon);
        // The last commit reported that the journal is closed.
        let _ = self.ledger.prune(self.pruned);
    }

    /// Runs `then` when everything decided so far is durable.
    pub(super) fn when_durable(&self, then: impl FnOnce() + Send + 'static) {
        if self.ledger.when_durable(self.seq, then).is_err() {
            tracing::error!("the journal is closed: nothing more is answered");
        }
    }

    fn look(&mut self, look: Look) {
        let now = self.now();
        let hand_over = look.0(&View {
            engine: &self.engine,
            now,
            seq: self.seq.0,
            since: self.started,
            heard: &|host| self.leases.silence(host),
        });
        self.when_durable(hand_over);
    }

    fn facts(&mut self, get: GetFacts) {
        let page = self.reader.facts(Seq(get.after), get.limit);
        // If the reader is gone, there is nothing to do.
        let _ = get.reply.send(FactsAnswer { page, news: self.news.subscribe() });
    }

    fn attempt_exited(&mut self, mut exit: Exit) {
        // Only the import decides why a user must review a result.
        exit.report.held = None;
        let mut ordered = self.engine.attempts(&exit.attempt().task).iter();
        let ordered = ordered.rfind(|known| known.attempt == *exit.attempt() && known.host == exit.host);
        let is_wanted = exit.bundle.is_some() && self.engine.may_bring(&exit.host, exit.attempt());
        let Some(known) = ordered.filter(|_| is_wanted) else {
            // Nothing to import: no commits, or not of that host, or already ended. Nobody has the commits that it
            // claims.
            (exit.report.commit, exit.report.left.branches) = (None, Vec::new());
            return self.tell(Command::FinishAttempt { host: exit.host, report: exit.report });
        };
        exit.start = known.start.clone();
        exit.guard = self.guard(&exit);
        if let Some(devops) = self.outbox.devops(exit.project()) {
            // If DevOps is being restarted, the hosts are asked again when it is back.
            let _ = devops.cast(DevopsMessage::Do(Job::Import(Box::new(exit))));
        }
    }
}

impl State {
    /// The rules for when a user must review an attempt's result.
    fn guard(&self, exit: &Exit) -> Guard {
        let protected = self.engine.project(exit.project()).map(|project| project.spec.protected.clone());
        let task = self.engine.task(&exit.attempt().task).map(|task| task.spec);
        let may_change = task.iter().flat_map(|task| task.may_change.iter()).map(|glob| glob.to_string()).collect();
        let deletions = task.is_some_and(|task| !task.mass_delete);
        Guard { protected: protected.unwrap_or_default(), may_change, deletions }
    }
}

pub(super) fn answer(reply: Option<AskReply>, answer: Result<Answer, AskError>) {
    if let Some(reply) = reply {
        // If the caller is gone, the change is valid anyway.
        let _ = reply.send(answer);
    }
}
