//! Why a task is in its status and what to do next, in a paragraph for a user.

use super::{
    Engine,
    compose::{branches, not_taken, utc},
    state::{Class, Project, Task, TaskIx},
};
use crate::{
    attempt::Stage,
    command::Job,
    ids::{AttemptId, HostName, ProjectName, TaskRef},
    plan::Executor,
    presence::Presence,
    record::Status,
};

/// The most open dependencies to name; further ones are counted.
const NAMED: usize = 5;

impl Engine {
    /// The paragraph; `None`: no such task.
    pub fn explain(&self, task: &TaskRef) -> Option<String> {
        let ix = self.ix(task)?;
        let task = self.at(ix);
        let project = self.project_of(task);
        let name = project.task_ref(&task.spec.id);
        let mut text = format!("{name} is {}", task.status);
        if let Some(blocked) = &task.blocked {
            text.push_str(&format!(" ({})", blocked.0));
        }
        text.push_str(": ");
        text.push_str(&match task.status {
            Status::Todo => self.explain_todo(project, ix),
            Status::Wip | Status::Testing => self.explain_busy(project, ix),
            Status::Review => match &task.held {
                None => "its result waits for a review".to_owned(),
                Some(why) => format!("its result needs a human decision: {why}"),
            },
            Status::Approved => self.explain_queue(project, ix),
            Status::Completed => self.explain_completed(project, task),
            Status::Blocked => self.explain_blocked(task),
            Status::Rejected => {
                let why = task.rejected.as_deref().filter(|why| !why.is_empty()).unwrap_or("no reason was given");
                format!("it was rejected: {why}")
            }
        });
        text.push('.');
        text.push_str(&left_words(task));
        if task.charged > 0 && !task.status.is_terminal() {
            text.push_str(&format!(" Attempts used: {} of {}.", task.charged, task.spec.attempts));
        }
        if let Some(command) = self.moved_by(project, ix) {
            text.push_str(&format!(" Next: `{command}`."));
        } else if project.record.paused && !task.status.is_terminal() {
            text.push_str(&format!(" The project is paused. Next: `devstack project resume {}`.", project.name()));
        }
        Some(text)
    }

    fn explain_todo(&self, project: &Project, ix: TaskIx) -> String {
        let task = self.at(ix);
        if task.waiting > 0 {
            let open = task.deps.iter().map(|&dep| self.at(dep)).filter(|dep| dep.status != Status::Completed);
            let mut named: Vec<String> =
                open.take(NAMED).map(|dep| format!("{} ({})", dep.spec.id, dep.status)).collect();
            if task.waiting as usize > NAMED {
                named.push(format!("{} more", task.waiting as usize - NAMED));
            }
            return format!("it waits for {}", named.join(", "));
        }
        if let Some(ms) = task.backoff_ms {
            let last = task.history.last().and_then(|a| a.outcome.as_ref());
            let last = last.map_or_else(String::new, |outcome| format!(" after {outcome:?}"));
            return format!("it backs off {:.1} s{last}; `devstack task retry` skips the back-off", ms as f64 / 1000.0);
        }
        if task.is_human() {
            return "it needs manual work".to_owned();
        }
        self.explain_slot(project, task)
    }

    /// The task could start; only a free slot is missing.
    fn explain_slot(&self, project: &Project, task: &Task) -> String {
        let Some(ix) = self.class_of(task) else { return "its role is not defined".to_owned() };
        let class = &self.classes[ix as usize];
        let held = self.held(task);
        let role = &class.spec.name;
        if project.record.paused {
            "it is ready, but the project is paused".to_owned()
        } else if self.hosts.is_empty() {
            "it is ready, but no host is known".to_owned()
        } else if self.unplaceable(task) {
            self.unmet(class)
        } else if let Some(lack) = self.lack(class) {
            format!("it is ready, but {lack}; a host that is silent now may have it")
        } else if let Some(why) = held {
            why
        } else if class.busy.len() as u32 >= class.spec.count {
            format!("it is ready; all {} agents of `{role}` are busy", class.spec.count)
        } else {
            let why = self.hosts.values().find_map(|host| Some((&host.name, host.quarantine.as_ref()?)));
            let mut why = why.map_or_else(String::new, |(host, quarantine)| {
                format!("; {} slots of {host} cannot be used for now: {}", quarantine.slots, quarantine.why)
            });
            if let Some((host, owed)) = self.hosts.values().find_map(|host| Some((&host.name, host.owes.first()?))) {
                why.push_str(&format!(
                    "; {host} gets no attempts until it reports how {owed} ended, which is long overdue, or until \
                     `devstack host undrain {host}`"
                ));
            }
            format!("it is ready; {} tasks of `{role}` wait for a free slot{why}", class.ready.len())
        }
    }

    /// Why no host can run the attempts of a class, whatever is running now.
    pub(super) fn unmet(&self, class: &Class) -> String {
        self.lack(class).unwrap_or_else(|| "no host is available: all are drained, lost or without slots".to_owned())
    }

    /// What the hosts that report and accept attempts lack for a class; `None`: nothing, or there are no such hosts.
    fn lack(&self, class: &Class) -> Option<String> {
        let there = self.hosts.values().filter(|host| host.is_expected() && !host.is_silent());
        class.needs().lacking(&there.collect::<Vec<_>>())
    }

    fn explain_busy(&self, project: &Project, ix: TaskIx) -> String {
        let task = self.at(ix);
        if let Some(run) = task.running() {
            let what = if run.stage == Stage::Work { "works on it" } else { "runs the project's checks" };
            let stopping = if run.stopping { "; it is being stopped" } else { "" };
            let silent = self.silence(&run.host);
            return format!("{} {what} on {} (attempt {}){stopping}{silent}", run.agent, run.host, run.attempt.number);
        }
        if let Some(ms) = task.backoff_ms {
            return format!("its checks run again in {:.1} s", ms as f64 / 1000.0);
        }
        match task.ready {
            Some(_) => format!("its merge is prepared and its checks are due; {}", self.explain_slot(project, task)),
            None => format!("its merge with the integration branch is being prepared{}", self.trouble(project, task)),
        }
    }

    /// What its host's silence means for an attempt.
    fn silence(&self, host: &HostName) -> String {
        match self.hosts.get(host).map(|host| host.presence) {
            Some(Presence::Awaited) => {
                format!(
                    "; host {host} has not reported since the start, so the attempt is UNKNOWN until the host reports or \
                     is lost"
                )
            }
            Some(Presence::Suspect { since }) => {
                let since = utc(since);
                format!(
                    "; host {host} has been silent since {since}, so the attempt is UNKNOWN until the host returns or is \
                     lost"
                )
            }
            _ => String::new(),
        }
    }

    /// Why the shell's job failed.
    fn trouble(&self, project: &Project, task: &Task) -> String {
        let prepare = task
            .harvested()
            .map(|(number, _)| Job::Prepare(AttemptId { task: project.task_ref(&task.spec.id), number }));
        let publish = task.merging().map(|merge| Job::Publish(project.name().clone(), merge));
        let trouble = prepare.into_iter().chain(publish).find_map(|job| self.troubles.get(&job));
        trouble.map_or_else(String::new, |t| format!(", but failed {} times; last: {}", t.times, t.reason))
    }

    fn explain_queue(&self, project: &Project, ix: TaskIx) -> String {
        let task = self.at(ix);
        if task.merging().is_some() {
            return format!("its merge is in flight{}", self.trouble(project, task));
        }
        let front = crate::merge_queue::front(project);
        if front == Some(ix) {
            return format!(
                "it is at the front of the merge queue and its merge is prepared{}",
                self.trouble(project, task)
            );
        }
        let key = self.queue_key(ix);
        let before = project.queue.iter().filter(|&&other| Some(other) < key).count();
        let front = front.map_or_else(String::new, |front| format!(" behind {}", self.at(front).spec.id));
        format!("it is in the merge queue{front}, {before} before it")
    }

    fn explain_blocked(&self, task: &Task) -> String {
        let why = task.blocked.as_ref().map_or("", |b| &b.1).to_owned();
        let Some(resolution) = task.resolution().map(|ix| self.at(ix)) else { return why };
        let by = match &resolution.spec.executor {
            Executor::Human => "a human",
            Executor::Agent(role) => role.as_str(),
        };
        format!("{why}; {} is {}, assigned to {by}", resolution.spec.id, resolution.status)
    }

    fn explain_completed(&self, project: &Project, task: &Task) -> String {
        let git = task.git.as_deref();
        let Some(commit) = git.and_then(|g| g.merge_commit) else {
            return "its attempt was accepted and there was nothing to merge".to_owned();
        };
        let by = git.and_then(|g| g.resolved_by.as_ref()).map_or_else(String::new, |id| format!(" by {id}"));
        let delivered = match git.and_then(|g| g.delivered_at) {
            Some(_) => "and delivered".to_owned(),
            None => {
                let why = self.delivery_waits(project.name()).map_or_else(String::new, |why| format!(": {why}"));
                format!("and not delivered yet{why}")
            }
        };
        format!("it was merged{by} as {commit} {delivered}")
    }

    /// Why the source is not up to date: waiting for a user, for a resolution, or until it can be reached again.
    pub fn delivery_waits(&self, project: &ProjectName) -> Option<String> {
        let trouble = || {
            let trouble = self.troubles.get(&Job::Deliver(project.clone()))?;
            Some(format!("it failed {} times and is tried again; last: {}", trouble.times, trouble.reason))
        };
        self.known(project)?.record.delivery_blocked.clone().or_else(trouble)
    }
}

/// The leftovers of the last attempt that did the task, in sentences.
fn left_words(task: &Task) -> String {
    let last = task.history.iter().rev().find(|run| run.stage == Stage::Work && run.outcome.is_some());
    let Some((run, left)) = last.and_then(|run| Some((run, run.left.as_deref()?))) else { return String::new() };
    let number = run.attempt.number;
    let mut words = String::new();
    let taken = left.branches.iter().find(|branch| Some(branch.commit) == run.commit);
    if let Some(taken) = taken {
        words.push_str(&format!(" The commits of attempt {number} are on {}, and were taken from there.", taken.name));
    } else if !left.branches.is_empty() {
        words.push_str(&format!(" Attempt {number} left other branches, which are kept: {}.", branches(left)));
    }
    if let Some(list) = not_taken(left) {
        words.push_str(&format!(" Not taken of attempt {number}: {list}."));
    }
    words
}
