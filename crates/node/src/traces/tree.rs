//! The spans of a finished task, from its records. Pure. Deliberately absent: what the records do not contain: when a
//! task was reviewed, and merges that came too late.

use devstack_dag::{
    attempt::Outcome,
    ids::Timestamp,
    record::{AttemptRecord, MergeRecord, Status, TaskRecord},
};

use devstack_telemetry::trace_id;

/// The data of a finished task.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The task: COMPLETED or REJECTED, and for [`Moment::Delivered`] with its time of delivery.
    pub task: TaskRecord,
    /// Its newest attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// The merge that landed.
    pub merge: Option<MergeRecord>,
    /// When it was approved.
    pub approved_at: Option<Timestamp>,
    /// When it finished.
    pub at: Timestamp,
    /// The reported moment.
    pub moment: Moment,
}

/// A moment in a task's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The task finished: everything except the delivery.
    Over,
    /// Its source got it, later: one more span of the same tree.
    Delivered,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The enclosing span; `None` for the task's own span.
    pub parent: Option<String>,
    /// Its kind: few names, so that spans can be compared.
    pub name: &'static str,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; not before its start.
    pub end: Timestamp,
    /// Further data by name.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed; `None` if it did not.
    pub failed: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

/// The spans of a task, the outermost first.
pub fn spans(finished: &Finished) -> Vec<Span> {
    let Finished { task, attempts, merge, approved_at, at, moment } = finished;
    let tree = Tree::of(task);
    if *moment == Moment::Delivered {
        let delivered = task.delivered_at.unwrap_or(*at);
        return vec![tree.span("delivery", 0, merge.as_ref().map_or(delivered, |merge| merge.at), delivered)];
    }
    let mut root = tree.span("task", 0, task.created_at, *at);
    root.id.clone_from(&tree.root);
    root.parent = None;
    root.attributes.extend(facts_of(task));
    root.failed = (task.status != Status::Completed).then(|| task.rejected.as_deref().unwrap_or("given up").to_owned());
    let mut spans = vec![root];
    let mut waiting_since = task.created_at;
    for one in attempts {
        let end = one.ended_at.unwrap_or(*at);
        let number = one.attempt.number;
        spans.push(tree.span("waiting", number, waiting_since, one.started_at));
        spans.push(attempt(&tree, one, end));
        waiting_since = end;
    }
    if let (Some(approved), Some(merge)) = (approved_at, merge) {
        let mut span = tree.span("merge", 0, *approved, merge.at);
        span.attributes.push(("devstack.commit", Attribute::Text(merge.candidate.to_string())));
        spans.push(span);
    }
    spans
}

fn facts_of(task: &TaskRecord) -> Vec<(&'static str, Attribute)> {
    vec![
        ("devstack.status", Attribute::Text(task.status.to_string())),
        ("devstack.plan", Attribute::Number(task.plan.into())),
        ("devstack.attempts", Attribute::Number(task.attempts.into())),
    ]
}

fn attempt(tree: &Tree<'_>, one: &AttemptRecord, end: Timestamp) -> Span {
    let mut span = tree.span(one.stage.as_str(), one.attempt.number, one.started_at, end);
    let text = |text: &str| Attribute::Text(text.to_owned());
    span.attributes.extend([
        ("devstack.attempt", Attribute::Number(one.attempt.number.into())),
        ("devstack.host", text(one.host.as_str())),
        ("devstack.agent", text(one.agent.as_str())),
        ("devstack.role", text(one.role.as_str())),
    ]);
    if let Some(outcome) = &one.outcome {
        span.attributes.push(("devstack.outcome", text(outcome.word())));
        span.failed = (*outcome != Outcome::Exited(0)).then(|| outcome.word().to_owned());
    }
    let usage = one.usage.as_ref();
    for (name, tokens) in [
        ("gen_ai.usage.input_tokens", usage.and_then(|usage| usage.input_tokens)),
        ("gen_ai.usage.output_tokens", usage.and_then(|usage| usage.output_tokens)),
        ("devstack.cost_micros", usage.and_then(|usage| usage.cost_micros)),
    ] {
        span.attributes.extend(tokens.map(|tokens| (name, Attribute::Number(tokens))));
    }
    span
}

/// The common data of a task's spans.
struct Tree<'a> {
    task: &'a TaskRecord,
    trace: String,
    root: String,
}

impl<'a> Tree<'a> {
    fn of(task: &'a TaskRecord) -> Self {
        let trace = trace_id(task.project.as_str(), task.spec.id.as_str());
        let root = span_id(&trace, "task", 0);
        Self { task, trace, root }
    }

    fn span(&self, name: &'static str, number: u32, start: Timestamp, end: Timestamp) -> Span {
        let text = |text: &str| Attribute::Text(text.to_owned());
        Span {
            trace: self.trace.clone(),
            id: span_id(&self.trace, name, number),
            parent: Some(self.root.clone()),
            name,
            start,
            end: end.max(start),
            attributes: vec![
                ("devstack.project", text(self.task.project.as_str())),
                ("devstack.task", text(self.task.spec.id.as_str())),
            ],
            failed: None,
        }
    }
}

/// A repeated span has the same id.
fn span_id(trace: &str, name: &str, number: u32) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("devstack span of a task, version 1");
    hasher.update(trace.as_bytes()).update(name.as_bytes()).update(&number.to_le_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use devstack_dag::{
        Config, Engine,
        attempt::{Report, Usage},
        command::{Command, HostReport},
        ids::{CommitId, MergeId},
        record::MergeState,
    };

    use super::*;
    use devstack_config::plan_file;

    const PLAN: &str = "[project]\nname = \"p\"\n[agents.dev]\ncommand = [\"x\"]\n[defaults]\nattempts = 1\n[[task]]\nid = \"a\"\nprompt = \"x\"\n";

    /// A task that failed once and then succeeded, at known times.
    fn finished() -> Finished {
        let mut engine = Engine::new(Config::default());
        let plan = plan_file::parse("plan.toml", PLAN, &plan_file::Posted).unwrap();
        let task = plan.tasks[0].id.clone();
        let task = devstack_dag::ids::TaskRef { project: plan.project.name.clone(), id: task };
        let mut step = |at: u64, command| drop(engine.step(Timestamp(at), command).unwrap());
        let host: devstack_dag::ids::HostName = "h".parse().unwrap();
        step(1000, Command::SubmitPlan { plan, head: None });
        step(2000, Command::ReportHost(HostReport::new(host.clone(), 1)));
        let end = |number, code, usage| {
            let attempt = devstack_dag::ids::AttemptId { task: task.clone(), number };
            let report = Report { usage, ..Report::new(attempt, Outcome::Exited(code)) };
            Command::FinishAttempt { host: host.clone(), report }
        };
        step(5000, end(1, 1, None));
        step(9000, Command::RetryTask { task: task.clone(), message: None });
        step(12_000, end(2, 0, Some(Usage { input_tokens: Some(7), ..Usage::default() })));
        let (record, attempts) = (engine.task(&task).unwrap(), engine.attempts(&task).to_vec());
        assert_eq!((record.status, attempts.len()), (Status::Completed, 2));
        let merge = MergeRecord {
            project: task.project.clone(),
            id: MergeId(1),
            attempt: attempts[1].attempt.clone(),
            commit: CommitId([1; 20]),
            onto: CommitId([2; 20]),
            candidate: CommitId([3; 20]),
            state: MergeState::Landed,
            at: Timestamp(12_500),
        };
        let approved_at = Some(Timestamp(12_100));
        Finished {
            task: record,
            attempts,
            merge: Some(merge),
            approved_at,
            at: Timestamp(12_500),
            moment: Moment::Over,
        }
    }

    #[test]
    fn the_tree_covers_a_task_from_its_submission_to_its_merge() {
        let all = spans(&finished());
        let shown: Vec<_> =
            all.iter().map(|span| (span.name, span.start.0, span.end.0, span.failed.as_deref())).collect();
        let expected = [
            ("task", 1000, 12_500, None),
            ("waiting", 1000, 2000, None),
            ("work", 2000, 5000, Some("failed")),
            ("waiting", 5000, 9000, None),
            ("work", 9000, 12_000, None),
            ("merge", 12_100, 12_500, None),
        ];
        assert_eq!(shown, expected);
        let ids: std::collections::BTreeSet<_> = all.iter().map(|span| &span.id).collect();
        assert_eq!(ids.len(), all.len(), "{all:?}");
        assert!(all[1..].iter().all(|span| span.parent.as_ref() == Some(&all[0].id) && span.trace == all[0].trace));
        assert!(all[4].attributes.contains(&("gen_ai.usage.input_tokens", Attribute::Number(7))), "{:?}", all[4]);
        assert_eq!(spans(&finished()), all, "told again it is the same");
    }

    #[test]
    fn a_delivery_is_one_more_span_of_the_same_tree() {
        let mut later = finished();
        (later.moment, later.task.delivered_at) = (Moment::Delivered, Some(Timestamp(20_000)));
        let delivered = spans(&later);
        let root = &spans(&finished())[0];
        assert_eq!((delivered.len(), delivered[0].name), (1, "delivery"));
        assert_eq!((delivered[0].start.0, delivered[0].end.0), (12_500, 20_000));
        assert_eq!((&delivered[0].trace, delivered[0].parent.as_ref()), (&root.trace, Some(&root.id)));
    }
}
