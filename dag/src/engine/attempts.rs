//! What the end of an attempt means: passed, charged, or not charged; and the next position of the task.

use super::{
    Draft, Engine,
    compose::{bounded, describe, feedback, head, short},
    returns::Wait,
    state::{Task, TaskIx},
};
use crate::{
    answer::Answer,
    attempt::{Left, Outcome, Report, Stage},
    effect::{Effect, Timer},
    fact::{FactKind, Place},
    ids::{AttemptId, CommitId, HostName, TaskId, Text, Timestamp},
    plan::{Executor, Review},
    record::{AttemptRecord, BlockedReason, Status},
};

/// The meaning of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Charged,
    Uncharged,
    Limited(Option<Timestamp>),
    Policy,
}

/// The exit code that says "try again later".
const EXIT_LATER: i32 = 75;

/// Whether the commit is an agent's work. If the machine failed, nobody knows. An attempt that never started has no
/// work. The commit that it started from is not work either (it stands for a result without a commit, whose branches
/// came along).
fn is_work(attempt: &AttemptRecord, outcome: &Outcome, commit: CommitId) -> bool {
    let is_base = attempt.start.base() == Some(commit);
    attempt.stage == Stage::Work && !matches!(outcome, Outcome::Infrastructure(_)) && !is_base
}

impl Engine {
    pub(super) fn finish_attempt(&self, draft: &mut Draft, host: HostName, report: Report) -> Answer {
        let Some(ix) = self.ix(&report.attempt.task) else { return Answer::Fenced };
        let task = self.at(ix);
        let Some(known) = task.attempt(report.attempt.number) else { return Answer::Fenced };
        // A host's reports about another host's attempts are ignored.
        if known.host != host {
            return Answer::Fenced;
        }
        draft.effect(Effect::ForgetAttempt { host: host.clone(), attempt: report.attempt.clone() });
        if known.outcome.is_some() || known.attempt.number != task.attempts {
            return Answer::Fenced;
        }
        let Report { attempt, outcome, commit, tail, usage, left, summary, held } = report;
        let (stage, number, role) = (known.stage, attempt.number, known.role.clone());
        let commit =
            commit.filter(|&commit| self.project_of(task).has_repository() && is_work(known, &outcome, commit));
        let left = left.bounded(self.config.left_bytes);
        let verdict = self.judge(task, &outcome, commit, &left);
        let outcome = bounded(outcome, self.config.reason_bytes);
        let said = describe(number, stage, &outcome, task, &left);
        if !left.is_empty() || summary.is_some() {
            let summary = summary.map(|text| short(text, self.config.summary_bytes));
            draft.fact(FactKind::AttemptLeft { attempt: attempt.clone(), left, summary });
        }
        draft.fact(FactKind::AttemptEnded {
            attempt,
            outcome: outcome.clone(),
            charged: verdict == Verdict::Charged,
            commit,
            usage,
        });
        match (verdict, stage) {
            (Verdict::Passed, Stage::Work) => {
                self.served(draft, task, &role);
                let held = held.filter(|_| commit.is_some());
                let held = held.map(|why| head(&why, self.config.reason_bytes).into());
                self.after_work(draft, ix, (commit, held), self.place(task, task.status));
            }
            (Verdict::Passed, Stage::Check) => {
                self.after_checks(draft, ix, task.held.is_some(), self.place(task, task.status));
            }
            (Verdict::Charged, _) => self.charge(draft, ix, stage, number, &said, &tail),
            (Verdict::Uncharged, _) => {
                let back = if stage == Stage::Work { Status::Todo } else { Status::Testing };
                let cause = self.cause_of(draft.now, &host, ix, &outcome);
                self.send_back(draft, (ix, back), &said, (cause, Wait::Yes));
            }
            (Verdict::Limited(reset), _) => self.limit(draft, ix, &role, reset, &said),
            (Verdict::Policy, _) => self.block(draft, ix, BlockedReason::Policy, &said),
        }
        Answer::Done
    }

    fn judge(&self, task: &Task, outcome: &Outcome, commit: Option<CommitId>, left: &Left) -> Verdict {
        let run = task.history.last();
        let stopping = run.is_some_and(|a| a.stopping);
        let work = run.is_some_and(|a| a.stage == Stage::Work);
        let must_change = work && self.project_of(task).has_repository() && !task.spec.allow_empty;
        // The destroyed repository may have contained work, also for a task that requires none.
        let lacking = work && commit.is_none() && (must_change || left.destroyed().is_some());
        match outcome {
            Outcome::Exited(0) if lacking && !stopping => Verdict::Charged,
            Outcome::Exited(0) if !lacking => Verdict::Passed,
            Outcome::Policy(_) => Verdict::Policy,
            Outcome::Exited(EXIT_LATER) | Outcome::Infrastructure(_) | Outcome::Stopped => Verdict::Uncharged,
            _ if stopping => Verdict::Uncharged,
            // Only once: a first stall may be caused by a network, a second one is caused by the task.
            Outcome::Stalled if work && task.stalls == 0 => Verdict::Uncharged,
            Outcome::RateLimited { reset } if work => Verdict::Limited(*reset),
            Outcome::RateLimited { .. } => Verdict::Uncharged,
            _ => Verdict::Charged,
        }
    }

    /// A task's position, to be changed.
    pub(super) fn place(&self, task: &Task, status: Status) -> Place {
        let (charged, uncharged, limited) = (task.charged, task.uncharged, task.limited);
        Place { status, blocked: None, rejected: None, backoff_ms: None, charged, uncharged, limited }
    }

    pub(super) fn go(&self, draft: &mut Draft, ix: TaskIx, place: Place) {
        draft.fact(FactKind::TaskMoved { task: self.task_ref(self.at(ix)), place });
    }

    /// A work attempt exited 0, or a user submitted a result; with it, why a human must review it. `place` has the
    /// counters to continue with.
    pub(super) fn after_work(
        &self,
        draft: &mut Draft,
        ix: TaskIx,
        (commit, held): (Option<CommitId>, Option<Box<str>>),
        place: Place,
    ) {
        let is_held = held.is_some();
        self.hold(draft, self.at(ix), held);
        if commit.is_none() {
            self.complete(draft, ix, None, None);
        } else if self.project_of(self.at(ix)).has_checks() {
            // A follow-up prepares the merge.
            self.go(draft, ix, Place { status: Status::Testing, uncharged: 0, limited: 0, ..place });
        } else {
            self.after_checks(draft, ix, is_held, place);
        }
    }

    /// Records why a human must review a task's result, or that no review is needed any more.
    pub(super) fn hold(&self, draft: &mut Draft, task: &Task, why: Option<Box<str>>) {
        if task.held != why {
            draft.fact(FactKind::TaskHeld { task: self.task_ref(task), why });
        }
    }

    /// The checks passed, or there are none. Whatever the project says about reviews, a held result waits for a user;
    /// nobody reviews twice.
    pub(super) fn after_checks(&self, draft: &mut Draft, ix: TaskIx, is_held: bool, place: Place) {
        let task = self.at(ix);
        let wanted = is_held || self.project_of(task).record.spec.review == Review::Human;
        let review = wanted && task.approved_at().is_none();
        let status = if review { Status::Review } else { Status::Approved };
        self.go(draft, ix, Place { status, uncharged: 0, limited: 0, ..place });
    }

    /// Proven done.
    pub(super) fn complete(&self, draft: &mut Draft, ix: TaskIx, merge: Option<CommitId>, resolved_by: Option<TaskId>) {
        let task = self.task_ref(self.at(ix));
        draft.fact(FactKind::TaskCompleted { task, merge_commit: merge, resolved_by });
    }

    /// A failure of the task itself: feedback, and TODO after a back-off or, with the budget used up, BLOCKED.
    pub(super) fn charge(&self, draft: &mut Draft, ix: TaskIx, stage: Stage, number: u32, said: &str, output: &Text) {
        let task = self.at(ix);
        let name = self.task_ref(task);
        draft.fact(FactKind::FeedbackGiven { task: name.clone(), feedback: feedback(number, said, output) });
        let charged = task.charged + 1;
        let place = Place { charged, uncharged: 0, limited: 0, ..self.place(task, Status::Todo) };
        if charged < task.spec.attempts {
            // A user needs no back-off.
            let backoff_ms = (!task.is_human()).then(|| self.config.charged_backoff.after(charged));
            self.go(draft, ix, Place { backoff_ms, ..place });
            return self.set_backoff(draft, ix, backoff_ms);
        }
        let reason = match stage {
            _ if task.conflict().is_some() => BlockedReason::NeedsHuman,
            Stage::Work => BlockedReason::AttemptsExhausted,
            Stage::Check => BlockedReason::MergeCheckFailed,
        };
        if task.conflict().is_some() && !task.is_human() {
            draft.fact(FactKind::ExecutorChanged { task: name, executor: Executor::Human });
        }
        let why = format!("failed {charged} of {} attempts; last: {said}", task.spec.attempts);
        let blocked = Some((reason, head(&why, self.config.reason_bytes).into()));
        self.go(draft, ix, Place { status: Status::Blocked, blocked, ..place });
    }

    pub(super) fn block(&self, draft: &mut Draft, ix: TaskIx, reason: BlockedReason, why: &str) {
        let blocked = Some((reason, head(why, self.config.reason_bytes).into()));
        self.go(draft, ix, Place { blocked, ..self.place(self.at(ix), Status::Blocked) });
    }

    pub(super) fn set_backoff(&self, draft: &mut Draft, ix: TaskIx, after_ms: Option<u64>) {
        let task = self.at(ix);
        if let Some(after_ms) = after_ms {
            let timer = Timer::Backoff(AttemptId { task: self.task_ref(task), number: task.attempts });
            draft.effect(Effect::SetTimer { timer, after_ms });
        }
    }

    pub(super) fn timer_fired(&self, draft: &mut Draft, timer: Timer) -> Answer {
        match timer {
            Timer::Backoff(attempt) => {
                let Some(ix) = self.ix(&attempt.task) else { return Answer::Unchanged };
                let task = self.at(ix);
                if task.backoff_ms.is_none() || task.attempts != attempt.number {
                    return Answer::Unchanged;
                }
                self.go(draft, ix, self.place(task, task.status));
                Answer::Done
            }
            Timer::Retry(job) => self.job_due(draft, job),
            Timer::Drain { host, since } => self.drain_due(draft, &host, since),
            Timer::Deadline(attempt) => self.deadline_due(draft, attempt),
            Timer::Unpark { provider, until } => self.unpark_due(draft, &provider, until),
        }
    }
}
