//! Measures speed from decisions: each fact is read once, right after the engine applied it. Deliberately absent:
//! numbers of state (they are read from the engine), and any influence on a decision.

use std::{collections::HashMap, time::Duration};

use devstack_dag::{
    Engine,
    attempt::{Stage, Usage},
    fact::{Fact, FactKind},
    ids::{AttemptId, TaskRef, Timestamp},
    record::{MergeRecord, MergeState, RecordKey, Status},
};

use crate::traces::{Finished, Moment};
use devstack_telemetry::metrics::meters;

/// The data that must be remembered between two facts.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// When the tasks in merge queues were approved: the engine forgets it when they land.
    approved: HashMap<TaskRef, Timestamp>,
}

impl Measures {
    /// Starts with the tasks already in merge queues.
    pub(super) fn of(engine: &Engine) -> Self {
        let names = engine.projects().map(|project| &project.spec.name);
        let queued = names.flat_map(|project| {
            let queue = engine.merge_queue(project).into_iter();
            queue.map(|id| TaskRef { project: project.clone(), id })
        });
        let approved = queued.filter_map(|task| Some((task.clone(), engine.task(&task)?.approved_at?)));
        Self { approved: approved.collect() }
    }

    /// Counts these facts, which the engine has already applied.
    pub(super) fn note(&mut self, engine: &Engine, facts: &[Fact]) {
        for Fact { at, kind } in facts {
            match kind {
                FactKind::AttemptStarted { attempt, stage, .. } => started(engine, *at, attempt, *stage),
                FactKind::AttemptEnded { attempt, usage, .. } => ended(engine, *at, attempt, usage.as_ref()),
                FactKind::TaskMoved { task, place } => self.moved(*at, task, place.status),
                FactKind::TaskCompleted { task, .. } => drop(self.approved.remove(task)),
                FactKind::MergeLanded { project, merge, .. } => {
                    let landed = engine.merges(project).iter().rfind(|record| record.id == *merge);
                    let approved = landed.and_then(|record| self.approved.get(&record.attempt.task));
                    if let Some(approved) = approved {
                        meters().merged(since(*approved, *at));
                    }
                }
                FactKind::MergeAbandoned { .. } => meters().merge_lost(),
                FactKind::ConflictFound { .. } | FactKind::SourceConflicted { .. } => meters().conflicted(),
                _ => {}
            }
        }
    }

    /// The tasks that these facts finish or deliver, with the data for their traces. Call this before [`Self::note`],
    /// which forgets approvals.
    pub(super) fn finished(&self, engine: &Engine, facts: &[Fact], touched: &[RecordKey]) -> Vec<Finished> {
        let mut finished = Vec::new();
        for Fact { at, kind } in facts {
            match kind {
                FactKind::TaskCompleted { task, .. } => finished.extend(self.story(engine, task, *at, Moment::Over)),
                FactKind::TaskMoved { task, place } if place.status == Status::Rejected => {
                    finished.extend(self.story(engine, task, *at, Moment::Over));
                }
                FactKind::Delivered { .. } => {
                    let tasks = touched.iter().filter_map(|key| match key {
                        RecordKey::Task(task) => Some(task),
                        _ => None,
                    });
                    let delivered = tasks.filter_map(|task| self.story(engine, task, *at, Moment::Delivered));
                    finished.extend(delivered.filter(|story| story.task.delivered_at == Some(*at)));
                }
                _ => {}
            }
        }
        finished
    }

    fn story(&self, engine: &Engine, task: &TaskRef, at: Timestamp, moment: Moment) -> Option<Finished> {
        let landed = |merge: &&MergeRecord| merge.attempt.task == *task && merge.state == MergeState::Landed;
        Some(Finished {
            task: engine.task(task)?,
            attempts: engine.attempts(task).to_vec(),
            merge: engine.merges(&task.project).iter().rev().find(landed).cloned(),
            approved_at: self.approved.get(task).copied(),
            at,
            moment,
        })
    }

    fn moved(&mut self, at: Timestamp, task: &TaskRef, status: Status) {
        match status {
            Status::Approved => drop(self.approved.entry(task.clone()).or_insert(at)),
            // Its checks run again on a newer head; it keeps its place in the queue.
            Status::Testing => {}
            _ => drop(self.approved.remove(task)),
        }
    }
}

fn started(engine: &Engine, at: Timestamp, attempt: &AttemptId, stage: Stage) {
    let ready = engine.ready_since(&attempt.task);
    meters().dispatched(stage.as_str(), ready.map(|ready| since(ready, at)));
}

fn ended(engine: &Engine, at: Timestamp, attempt: &AttemptId, usage: Option<&Usage>) {
    let known = engine.attempts(&attempt.task).iter().rfind(|known| known.attempt == *attempt);
    let Some(known) = known else { return };
    if let Some(outcome) = &known.outcome {
        meters().attempt_ended(known.stage.as_str(), outcome.word(), since(known.started_at, at));
    }
    let Some(usage) = usage else { return };
    let Usage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, .. } = usage;
    meters().used([*input_tokens, *output_tokens, *cache_read_tokens, *cache_write_tokens]);
    meters().cost(usage.cost_micros.unwrap_or(0) as f64 / 1e6);
}

fn since(start: Timestamp, end: Timestamp) -> Duration {
    Duration::from_millis(end.0.saturating_sub(start.0))
}
