//! A desk to try rules: one engine, one host `h`, commands in, effects out as short words.

use devstack_dag::{
    Answer, Config, Decision, Engine, Rejection,
    attempt::{Conflict, Outcome, Report, Stage, Start, Usage},
    command::{Command, HostReport, Job},
    effect::{Effect, Timer},
    ids::{CommitId, MergeId, Text, Timestamp},
    invariants,
    plan::PlanSpec,
    record::{Status, TaskRecord},
};

use crate::common::{attempt_id, commit, host_name, project_name, task_ref};

pub struct Desk {
    pub engine: Engine,
    pub now: u64,
    pub last: Option<Decision>,
}

/// The integration head at the start.
pub const HEAD: u64 = 1;

impl Desk {
    /// Submits the plan and reports a host with this many slots. Returns the effects of both.
    pub fn new(plan: PlanSpec, slots: u32) -> (Self, Vec<String>) {
        let mut desk = Self { engine: Engine::new(Config::default()), now: 0, last: None };
        let mut effects = desk.submit(plan).unwrap();
        effects.extend(desk.host("h", slots, &[]));
        (desk, effects)
    }

    /// One step with invariants checked; returns its effects as words.
    pub fn try_do(&mut self, command: Command) -> Result<Vec<String>, Rejection> {
        self.now += 1;
        let before: Vec<_> = self.engine.records().collect();
        let decision = match self.engine.step(Timestamp(self.now), command) {
            Ok(decision) => decision,
            Err(rejection) => {
                assert_eq!(self.engine.records().collect::<Vec<_>>(), before, "a refused command changed something");
                return Err(rejection);
            }
        };
        invariants::check(&self.engine).unwrap();
        invariants::check_quiet(&self.engine).unwrap();
        let (counted, listed) = (self.engine.waiting_counts(), self.engine.waiting(None).len());
        assert_eq!(counted.values().sum::<u32>() as usize, listed, "{counted:?}");
        // Every start sets a deadline, which `members` tests.
        let deadline = |effect: &&Effect| matches!(effect, Effect::SetTimer { timer: Timer::Deadline(_), .. });
        let words = decision.effects.iter().filter(|effect| !deadline(effect)).map(words).collect();
        self.last = Some(decision);
        Ok(words)
    }

    pub fn act(&mut self, command: Command) -> Vec<String> {
        self.try_do(command).unwrap()
    }

    /// The code of the refusal.
    pub fn refused(&mut self, command: Command) -> &'static str {
        self.try_do(command).unwrap_err().code()
    }

    pub fn answer(&self) -> Answer {
        self.last.as_ref().unwrap().answer.clone()
    }

    pub fn submit(&mut self, plan: PlanSpec) -> Result<Vec<String>, Rejection> {
        let head = plan.project.source.is_some().then(|| commit(HEAD));
        self.try_do(Command::SubmitPlan { plan, head })
    }

    pub fn host(&mut self, name: &str, slots: u32, secrets: &[&str]) -> Vec<String> {
        let secrets = secrets.iter().map(|s| s.to_string()).collect();
        let held = self.engine.on_host(&host_name(name)).map(|a| a.attempt.clone()).collect();
        let report = HostReport { secrets, attempts: held, ..HostReport::new(host_name(name), slots) };
        self.act(Command::ReportHost(report))
    }

    /// The newest attempt of a task ends.
    pub fn ends(&mut self, id: &str, outcome: Outcome, result: Option<CommitId>) -> Vec<String> {
        let number = self.task(id).attempts;
        self.attempt_ends(id, number, outcome, result)
    }

    pub fn attempt_ends(&mut self, id: &str, number: u32, outcome: Outcome, result: Option<CommitId>) -> Vec<String> {
        let tail = Text::Inline("last words".into());
        let attempt = attempt_id(id, number);
        self.reports(Report { commit: result, tail, ..Report::new(attempt, outcome) })
    }

    /// The newest attempt ends and reports its cost, in dollars.
    pub fn costs(&mut self, id: &str, outcome: Outcome, dollars: Option<u64>) -> Vec<String> {
        let attempt = attempt_id(id, self.task(id).attempts);
        let usage = dollars.map(|dollars| Usage { cost_micros: Some(dollars * 1_000_000), ..Usage::default() });
        self.reports(Report { usage, ..Report::new(attempt, outcome) })
    }

    /// The host of an attempt reports its end.
    pub fn reports(&mut self, report: Report) -> Vec<String> {
        let known = self.engine.attempts(&report.attempt.task).iter().find(|known| known.attempt == report.attempt);
        let host = known.map_or_else(|| host_name("h"), |known| known.host.clone());
        self.act(Command::FinishAttempt { host, report })
    }

    /// The newest attempt exits 0 with this commit.
    pub fn done(&mut self, id: &str, result: u64) -> Vec<String> {
        self.ends(id, Outcome::Exited(0), Some(commit(result)))
    }

    /// The newest attempt exits 0 without a commit.
    pub fn passes(&mut self, id: &str) -> Vec<String> {
        self.ends(id, Outcome::Exited(0), None)
    }

    pub fn fails(&mut self, id: &str) -> Vec<String> {
        self.ends(id, Outcome::Exited(1), None)
    }

    pub fn prepared(&mut self, id: &str, number: u32, onto: u64, candidate: u64) -> Vec<String> {
        let attempt = attempt_id(id, number);
        self.act(Command::MergePrepared { attempt, onto: commit(onto), candidate: commit(candidate) })
    }

    pub fn conflicts(&mut self, id: &str, number: u32) -> Vec<String> {
        let attempt = attempt_id(id, number);
        let theirs = self.task(id).harvested.map_or(commit(0), |(_, commit)| commit);
        let text = Text::Inline("<<<<<<<".into());
        let conflict = Conflict { ours: commit(HEAD), theirs, base: commit(0), paths: vec!["a.txt".into()], text };
        self.act(Command::MergeConflicted { attempt, conflict })
    }

    pub fn landed(&mut self, merge: u64, head: u64) -> Vec<String> {
        self.act(Command::MergeLanded { merge: MergeId(merge), project: project_name("p"), head: commit(head) })
    }

    pub fn lost(&mut self, merge: u64, head: u64) -> Vec<String> {
        self.act(Command::MergeLost { merge: MergeId(merge), project: project_name("p"), head: commit(head) })
    }

    pub fn backoff_over(&mut self, id: &str) -> Vec<String> {
        let number = self.task(id).attempts;
        self.act(Command::TimerFired(Timer::Backoff(attempt_id(id, number))))
    }

    pub fn task(&self, id: &str) -> TaskRecord {
        self.engine.task(&task_ref(id)).unwrap()
    }

    pub fn status(&self, id: &str) -> Status {
        self.task(id).status
    }

    /// The reason of a BLOCKED task.
    pub fn blocked(&self, id: &str) -> &'static str {
        self.task(id).blocked.map_or("not blocked", |(reason, _)| reason.as_str())
    }

    /// The workspace content of the running attempt: `base..tip` or `base<theirs`.
    pub fn start(&self, id: &str) -> String {
        match self.engine.running(&task_ref(id)).unwrap().start {
            Start::Empty => "empty".into(),
            Start::Commit { base, tip } => format!("{}..{}", number(base), number(tip)),
            Start::Merging { base, theirs } => format!("{}<{}", number(base), number(theirs)),
        }
    }
}

fn number(commit: CommitId) -> u64 {
    u64::from_be_bytes(commit.0[12..].try_into().unwrap())
}

/// An effect in a few words, without the project's name.
fn words(effect: &Effect) -> String {
    let text = match effect {
        Effect::StartAttempt { host, order, .. } => {
            let what = if order.stage == Stage::Check { "check" } else { "start" };
            format!("{what} {} {}@{host}", order.attempt, order.agent)
        }
        Effect::StopAttempt { attempt, .. } => format!("stop {attempt}"),
        Effect::SalvageAttempt { host, order } => format!("salvage {}@{host}", order.attempt),
        Effect::ForgetAttempt { attempt, .. } => format!("forget {attempt}"),
        Effect::PrepareMerge(request) => format!("prepare {}", request.attempt),
        Effect::PublishMerge { merge, onto, candidate, .. } => {
            format!("publish {} {}->{}", merge.0, number(*onto), number(*candidate))
        }
        Effect::Deliver(_) => "deliver".into(),
        Effect::SetTimer { timer: Timer::Backoff(attempt), after_ms } => format!("backoff {attempt} {after_ms}"),
        Effect::SetTimer { timer: Timer::Deadline(attempt), after_ms } => format!("deadline {attempt} {after_ms}"),
        Effect::SetTimer { timer: Timer::Drain { host, .. }, after_ms } => format!("drain {host} {after_ms}"),
        Effect::SetTimer { timer: Timer::Unpark { provider, .. }, after_ms } => format!("unpark {provider} {after_ms}"),
        Effect::SetTimer { timer: Timer::Retry(job), after_ms } => match job {
            Job::Prepare(attempt) => format!("again prepare {attempt} {after_ms}"),
            Job::Publish(_, merge) => format!("again publish {} {after_ms}", merge.0),
            Job::Deliver(_) => format!("again deliver {after_ms}"),
        },
    };
    text.replace("p/", "")
}
