//! No decision may exceed what the store takes: a step's output is sized before it is applied, and the command is
//! refused if a fact or a record would be too large. Texts are cut and lists bounded where facts are composed, so this
//! is the second check; a property test covers the first.
//!
//! Facts are sized as they are. Records are not built for that: a record grows by no more than the facts that feed it.
//! Only where that bound exceeds the limit, the step is tried on a copy of the engine and measured exactly.
//! Deliberately absent: the encoding, which is the store's ([`Sizer`]).

use std::collections::HashMap;

use super::{Decision, Engine, Heard, Proposal};
use crate::{
    command::Command,
    fact::{Fact, FactKind},
    ids::{ProjectName, TaskRef, Timestamp},
    plan::TaskSpec,
    record::{Record, RecordKey},
    rejection::Rejection,
};

/// Sizes rows as the store would write them.
pub trait Sizer {
    /// The bytes of a fact.
    fn fact(&self, fact: &Fact) -> usize;
    /// The bytes of a record.
    fn record(&self, record: &Record) -> usize;
    /// The most bytes of a fact or a record.
    fn max(&self) -> usize;
}

/// The most bytes of a record's numbers and names that no fact of [`fed`] brings: names have 64 bytes, and no record
/// has more than eight of them, three commits and twenty numbers of nine bytes.
const FIXED: usize = 1024;

impl Engine {
    /// Like [`Engine::step`], but refuses a command that would make a fact or a record larger than the store takes.
    ///
    /// # Errors
    /// The command is refused, and nothing changed.
    pub fn step_within(&mut self, now: Timestamp, command: Command, sizer: &dyn Sizer) -> Result<Decision, Rejection> {
        let command = command.fit();
        let heard = Heard::of(&command, &self.config);
        let proposal = self.decide(now, command)?;
        if !self.may_be_too_large(&proposal, sizer)? {
            return Ok(self.carry_out(now, proposal, heard));
        }
        let mut trial = self.clone();
        let decision = trial.carry_out(now, proposal, heard);
        check_facts(&decision.facts, sizer)?;
        let max = sizer.max() - FIXED / 2;
        for key in &decision.touched {
            let bytes = trial.record(key).map_or(0, |record| sizer.record(&record));
            if bytes > max {
                return Err(Rejection::TooLarge { what: name(key), bytes, max });
            }
        }
        *self = trial;
        Ok(decision)
    }

    /// Whether a record might be too large afterwards, by the facts that feed it.
    fn may_be_too_large(&self, proposal: &Proposal, sizer: &dyn Sizer) -> Result<bool, Rejection> {
        let sizes = check_facts(&proposal.facts, sizer)?;
        // Several facts of a step may feed one record.
        let mut grown: HashMap<RecordKey, usize> = HashMap::new();
        for (fact, bytes) in proposal.facts.iter().zip(sizes) {
            for key in fed(&fact.kind) {
                let now = |key: &RecordKey| self.record(key).map_or(0, |record| sizer.record(&record)) + FIXED;
                let before = grown.get(&key).copied().unwrap_or_else(|| now(&key));
                grown.insert(key, before + bytes);
            }
        }
        Ok(grown.values().any(|bytes| *bytes > sizer.max()))
    }
}

/// The sizes of the given rows.
fn check_facts(facts: &[Fact], sizer: &dyn Sizer) -> Result<Vec<usize>, Rejection> {
    let max = sizer.max();
    let size = |fact: &Fact| match sizer.fact(fact) {
        bytes if bytes <= max => Ok(bytes),
        bytes => {
            let what = fed(&fact.kind).first().map_or_else(|| "what happens".to_owned(), name);
            Err(Rejection::TooLarge { what, bytes, max })
        }
    };
    facts.iter().map(size).collect()
}

/// The records that get texts or lists from a fact of the kind that a command makes. Without those of a plan's tasks,
/// which are new and were measured with the plan.
fn fed(kind: &FactKind) -> Vec<RecordKey> {
    use FactKind as F;
    match kind {
        F::ProjectDescribed { spec, .. } => vec![RecordKey::Project(spec.name.clone())],
        F::DeliveryBlocked { project, .. } => vec![RecordKey::Project(project.clone())],
        F::TaskMoved { task, place } if place.blocked.is_some() || place.rejected.is_some() => {
            vec![RecordKey::Task(task.clone())]
        }
        F::FeedbackGiven { task, .. } | F::TaskHeld { task, .. } => vec![RecordKey::Task(task.clone())],
        F::AttemptLeft { attempt, .. } => {
            vec![RecordKey::Attempt(attempt.clone()), RecordKey::Task(attempt.task.clone())]
        }
        F::AttemptEnded { attempt, usage, .. } => {
            let spent = usage.as_ref().map(|_| RecordKey::Project(attempt.task.project.clone()));
            std::iter::once(RecordKey::Attempt(attempt.clone())).chain(spent).collect()
        }
        F::AttemptStarted { attempt, .. } | F::ResultGiven { attempt, .. } => vec![RecordKey::Attempt(attempt.clone())],
        F::HostReported { host, .. } | F::HostQuarantined { host, .. } => vec![RecordKey::Host(host.clone())],
        F::HostPinned { host, .. } => vec![RecordKey::HostIntent(host.clone())],
        F::ProviderParked { provider, .. } => vec![RecordKey::Provider(provider.clone())],
        F::TaskUpdated { project, spec } => vec![task(project, spec)],
        F::ConflictFound { task: blocked, resolution, .. } => vec![task(&blocked.project, resolution)],
        F::SourceConflicted { project, resolution, .. } => vec![task(project, resolution)],
        F::TasksAdded { .. }
        | F::PlanSubmitted { .. }
        | F::PlanCancelled { .. }
        | F::ProjectPaused { .. }
        | F::HostLost { .. }
        | F::AttemptStopping { .. }
        | F::TaskMoved { .. }
        | F::WorkDropped { .. }
        | F::ExecutorChanged { .. }
        | F::MergeRequested { .. }
        | F::MergePrepared { .. }
        | F::MergeIntended { .. }
        | F::MergeLanded { .. }
        | F::MergeAbandoned { .. }
        | F::HeadMoved { .. }
        | F::TaskCompleted { .. }
        | F::Delivered { .. }
        | F::JobDelayed { .. }
        | F::JobRepeated { .. }
        | F::ProviderResumed { .. }
        | F::ProviderServed { .. }
        | F::HostSuspected { .. }
        | F::HostReturned { .. }
        | F::HostDrained { .. }
        | F::HostUndrained { .. }
        | F::HostRemoved { .. } => Vec::new(),
    }
}

fn task(project: &ProjectName, spec: &TaskSpec) -> RecordKey {
    RecordKey::Task(TaskRef { project: project.clone(), id: spec.id.clone() })
}

/// The name of a record for humans.
fn name(key: &RecordKey) -> String {
    match key {
        RecordKey::Project(project) | RecordKey::Plan(project, _) | RecordKey::Merge(project, _) => {
            format!("what is kept of project `{project}`")
        }
        RecordKey::Task(task) => format!("what is kept of task `{task}`"),
        RecordKey::Attempt(attempt) => format!("what is kept of attempt `{attempt}`"),
        RecordKey::Host(host) | RecordKey::HostIntent(host) => format!("what is kept of host `{host}`"),
        RecordKey::Provider(_) => "what is kept of a provider of models".to_owned(),
    }
}
