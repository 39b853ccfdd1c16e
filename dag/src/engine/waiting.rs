//! What waits for a user: the reason, and the command to run next.
//! Deliberately absent: notifications (the shell sends them).

use std::collections::BTreeMap;

use super::{
    Engine,
    delivery::clash,
    queries::Counts,
    spending::RAISE,
    state::{ClassIx, Project, Task, TaskIx},
};
use crate::{
    ids::{ProjectName, TaskId},
    record::{BlockedReason, Kind, Status},
};

/// Something that waits for a user, with the command to run next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The project.
    pub project: ProjectName,
    /// The task; `None`: the project itself.
    pub task: Option<TaskId>,
    /// Its status; `None` for a project.
    pub status: Option<Status>,
    /// Why it is BLOCKED, if it is.
    pub reason: Option<BlockedReason>,
    /// The reason, as a sentence.
    pub why: String,
    /// The command to run next.
    pub command: String,
}

/// The words under which [`Engine::waiting_counts`] counts: why tasks are BLOCKED, and the four other reasons to wait.
pub const WAITING_FOR: [&str; 10] = [
    "attempts-exhausted",
    "conflict",
    "dependency-rejected",
    "human",
    "merge-check-failed",
    "needs-human",
    "policy",
    "project",
    "review",
    "unplaceable",
];

/// What a user must do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Decide on a result.
    Review,
    /// Do the work.
    Work,
    /// Provide a host that can run it.
    Place,
    /// Resolve the blocked conflict.
    Resolve,
    /// Reject a task that can never start.
    Reject,
    /// Retry it.
    Retry,
}

/// Answers whether any known host can ever run a ready task, and asks once per class: ten thousand ready tasks and a
/// hundred hosts would be a million questions.
struct Places<'a> {
    engine: &'a Engine,
    known: Vec<Option<bool>>,
}

impl<'a> Places<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, known: vec![None; engine.classes.len()] }
    }

    fn unplaceable(&mut self, task: &Task) -> bool {
        let Some((class, _)) = task.ready else { return false };
        let engine = self.engine;
        *self.known[class as usize].get_or_insert_with(|| engine.no_host_for(class))
    }
}

impl Engine {
    /// Everything that waits for a user; `None`: of all projects.
    pub fn waiting(&self, project: Option<&ProjectName>) -> Vec<Waiting> {
        let (mut list, mut places) = (Vec::new(), Places::new(self));
        for &ix in self.by_name.values() {
            let known = &self.projects[ix as usize];
            if project.is_some_and(|name| known.name() != name) {
                continue;
            }
            self.project_waiting(known, &mut list);
            for &ix in &known.tasks {
                let wanted = self.wanted(known, ix, |task| places.unplaceable(task));
                list.extend(wanted.map(|wanted| self.task_waiting(known, ix, wanted)));
            }
        }
        list
    }

    /// How much waits for a user, by each word of [`WAITING_FOR`]. Cheap: it makes no sentences.
    pub fn waiting_counts(&self) -> BTreeMap<&'static str, u32> {
        let (mut counts, mut places) = (WAITING_FOR.map(|word| (word, 0)).into_iter().collect(), Places::new(self));
        let mut count = |word, more| *BTreeMap::entry(&mut counts, word).or_default() += more;
        let mut of_projects = Vec::new();
        for project in &self.projects {
            self.project_waiting(project, &mut of_projects);
            for &ix in &project.tasks {
                let task = self.at(ix);
                let word = match self.wanted(project, ix, |task| places.unplaceable(task)) {
                    None => continue,
                    Some(Wanted::Review) => "review",
                    Some(Wanted::Work) => "human",
                    Some(Wanted::Place) => "unplaceable",
                    Some(Wanted::Resolve | Wanted::Reject | Wanted::Retry) => {
                        task.blocked.as_ref().map_or(BlockedReason::NeedsHuman, |blocked| blocked.0).as_str()
                    }
                };
                count(word, 1);
            }
        }
        count("project", of_projects.len() as u32);
        counts
    }

    fn project_waiting(&self, project: &Project, list: &mut Vec<Waiting>) {
        let name = project.name().clone();
        let mut push = |why: String, command: String| {
            let project = name.clone();
            list.push(Waiting { project, task: None, status: None, reason: None, why, command });
        };
        let command = format!("devstack project resume {}", project.name());
        if project.record.paused && Counts(project.counts).unfinished() > 0 {
            push("the project is paused".into(), command.clone());
        }
        // A delivery that waits for a resolution waits for a user only if that task does.
        if let Some(reason) = project.record.delivery_blocked.as_ref().filter(|_| project.sync.is_none()) {
            push(format!("the source cannot be brought up to date: {reason}"), command);
        }
        for why in self.limits_reached(project) {
            push(why, RAISE.to_owned());
        }
    }

    fn task_waiting(&self, project: &Project, ix: TaskIx, wanted: Wanted) -> Waiting {
        let task = self.at(ix);
        let why = match (task.status, &task.blocked) {
            (Status::Blocked, Some(blocked)) => blocked.1.to_string(),
            (Status::Review, _) => match &task.held {
                None => "needs a review".into(),
                Some(why) => format!("needs a human decision: {why}"),
            },
            (Status::Todo, _) if task.is_human() => match &task.kind {
                Kind::Sync { conflict } => clash(project, conflict),
                Kind::Resolve { conflict, .. } => {
                    format!("conflict in {} needs manual resolution", conflict.paths.join(", "))
                }
                Kind::Work => "needs manual work".into(),
            },
            _ => self.class_of(task).map_or_else(String::new, |ix| self.unmet(&self.classes[ix as usize])),
        };
        Waiting {
            project: project.name().clone(),
            task: Some(task.spec.id.clone()),
            status: Some(task.status),
            reason: task.blocked.as_ref().map(|b| b.0),
            why,
            command: command(project, task, wanted),
        }
    }

    /// The command for a user to run next for a task that waits for one.
    pub(super) fn moved_by(&self, project: &Project, ix: TaskIx) -> Option<String> {
        let wanted = self.wanted(project, ix, |task| self.unplaceable(task))?;
        Some(command(project, self.at(ix), wanted))
    }

    /// What a user must do for a task. A blocked task whose resolution is in progress waits for the resolution.
    fn wanted(&self, project: &Project, ix: TaskIx, mut unplaceable: impl FnMut(&Task) -> bool) -> Option<Wanted> {
        let task = self.at(ix);
        match task.status {
            Status::Review => Some(Wanted::Review),
            Status::Todo if task.is_human() && task.waiting == 0 => Some(Wanted::Work),
            Status::Todo | Status::Testing if unplaceable(task) => Some(Wanted::Place),
            Status::Blocked if task.blocked_for(BlockedReason::Conflict) => {
                task.resolution().is_none().then_some(Wanted::Retry)
            }
            Status::Blocked if task.blocked_for(BlockedReason::DependencyRejected) => Some(Wanted::Reject),
            Status::Blocked if task.is_human() && project.has_repository() => Some(Wanted::Resolve),
            Status::Blocked => Some(Wanted::Retry),
            _ => None,
        }
    }

    /// The task could start, but no known host can ever run it. Without any host, one is still expected.
    pub(super) fn unplaceable(&self, task: &Task) -> bool {
        task.ready.is_some_and(|(class, _)| self.no_host_for(class))
    }

    fn no_host_for(&self, class: ClassIx) -> bool {
        let needs = self.classes[class as usize].needs();
        !self.hosts.is_empty() && !crate::placement::possible(&self.hosts, needs)
    }
}

fn command(project: &Project, task: &Task, wanted: Wanted) -> String {
    let name = project.task_ref(&task.spec.id);
    let commits = project.has_repository() && !task.spec.allow_empty;
    match wanted {
        Wanted::Work if !commits => format!("devstack task approve {name}"),
        Wanted::Work | Wanted::Resolve => format!("devstack task resolve {name} --checkout DIR"),
        Wanted::Review => format!("devstack task approve {name}"),
        Wanted::Place => format!("devstack task explain {name}"),
        Wanted::Reject => format!("devstack task reject {name}"),
        Wanted::Retry => format!("devstack task retry {name}"),
    }
}
