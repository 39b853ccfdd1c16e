//! The follow-ups of a state: merges to prepare or to intend, attempts to start. One move at a time, so that the next
//! move sees the changes of this one.

use super::{
    Draft, Engine,
    state::{Class, ClassIx, Git, Host, Task, TaskIx},
};
use crate::{
    attempt::{Dependency, Order, Outcome, Stage, Start},
    effect::{Effect, MergeRequest},
    fact::FactKind,
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, TaskRef, Text, Timestamp},
    merge_queue::{self, Next},
    plan::{RetryFrom, VerifyOn},
    prompt::Brief,
    ready::Key,
    record::AttemptRecord,
};

impl Engine {
    /// The next move, if any. Apply its facts before asking again.
    pub(super) fn follow_up(&mut self, now: Timestamp) -> Option<Draft> {
        let mut draft = Draft::new(now);
        while let Some(project) = self.recheck.pop_first() {
            self.recheck_rejections(&mut draft, project);
            if !draft.facts.is_empty() {
                return Some(draft);
            }
        }
        if !self.config.dispatch {
            return None;
        }
        if let Some(&task) = self.unprepared.first() {
            self.request_merge(&mut draft, task);
        } else if let Some(&project) = self.queues.first() {
            match merge_queue::next(&self.projects[project as usize], &self.tasks) {
                Next::Prepare(task) => self.request_merge(&mut draft, task),
                Next::Intend(task) => self.intend_merge(&mut draft, task),
                Next::Wait => return None,
            }
        } else if self.free > 0 && self.config.dispatch {
            let (class, key, host) = self.pick()?;
            self.start(&mut draft, class, key, host);
        }
        (!draft.facts.is_empty()).then_some(draft)
    }

    fn request_merge(&self, draft: &mut Draft, ix: TaskIx) {
        let Some(request) = self.merge_request(self.at(ix)) else { return };
        draft.fact(FactKind::MergeRequested { attempt: request.attempt.clone() });
        draft.effect(Effect::PrepareMerge(request));
    }

    /// The merge of a task's accepted commit.
    pub(super) fn merge_request(&self, task: &Task) -> Option<MergeRequest> {
        let (number, commit) = task.harvested()?;
        let must_contain = match task.conflict() {
            None => Vec::new(),
            Some(conflict) => [conflict.theirs].into_iter().chain(base_of(task, number)).collect(),
        };
        let agent = task.git.as_ref().and_then(|g| g.agent.as_ref());
        Some(MergeRequest {
            attempt: AttemptId { task: self.task_ref(task), number },
            commit,
            branch: agent.map_or_else(String::new, |agent| format!("feat/{agent}")),
            title: task.spec.title.to_string(),
            must_contain,
        })
    }

    fn intend_merge(&self, draft: &mut Draft, ix: TaskIx) {
        let task = self.at(ix);
        let project = self.project_of(task);
        let (Some((number, commit)), Some((onto, candidate))) = (task.harvested(), task.candidate()) else { return };
        let merge = MergeId(project.record.merges + 1);
        let attempt = AttemptId { task: self.task_ref(task), number };
        let project = project.name().clone();
        draft.fact(FactKind::MergeIntended { project: project.clone(), merge, attempt, commit, onto, candidate });
        draft.effect(Effect::PublishMerge { project, merge, onto, candidate });
    }

    /// The most urgent startable task over all classes with free slots, and its host.
    pub(crate) fn pick(&self) -> Option<(ClassIx, Key, HostName)> {
        let mut best: Option<(ClassIx, Key, &HostName)> = None;
        for &ix in &self.open {
            let class = &self.classes[ix as usize];
            let Some(key) = self.next_of(ix) else { continue };
            if best.is_none_or(|(_, other, _)| key < other)
                && let Some(host) = self.room.choose(&class.fits)
            {
                best = Some((ix, key, host));
            }
        }
        best.map(|(class, key, host)| (class, key, self.verifier(class, key).unwrap_or(host).clone()))
    }

    /// The host for the checks of a result, if the project wants them on another host than the work: another able host
    /// with a free slot. `None`: there is none, or it does not matter.
    fn verifier(&self, class: ClassIx, key: Key) -> Option<&HostName> {
        let task = self.at(key.task());
        let spec = &self.project_of(task).record.spec;
        if key.stage() != Stage::Check || spec.verify_on != VerifyOn::OtherHost {
            return None;
        }
        let (number, _) = task.harvested()?;
        let worked = self.hosts.get(&task.attempt(number)?.host)?;
        self.room.choose_other(&self.classes[class as usize].fits, worked.ix)
    }

    fn start(&self, draft: &mut Draft, class: ClassIx, key: Key, host: HostName) {
        let (ix, stage) = (key.task(), key.stage());
        let task = self.at(ix);
        if stage == Stage::Check && !self.project_of(task).has_checks() {
            // The checks were removed while the task waited for a slot.
            return self.after_checks(draft, ix, task.held.is_some(), self.place(task, task.status));
        }
        let class_state = &self.classes[class as usize];
        let role = &class_state.spec;
        let agent = self.free_agent(class);
        let attempt = AttemptId { task: self.task_ref(task), number: self.next_number(task) };
        let start = self.start_of(task, stage);
        let on = (stage, self.hosts.get(&host));
        let order = self.order(task, attempt.clone(), on, agent.clone(), class_state, start.clone());
        let (at, image, role) = (host.clone(), order.image.clone(), role.name.clone());
        draft.fact(FactKind::AttemptStarted { attempt: attempt.clone(), stage, host: at, agent, role, start, image });
        draft.effect(Effect::StartAttempt { host, order: Box::new(order), template: self.template(task) });
        self.set_deadline(draft, task, attempt);
    }

    /// The prompt template of a task's project.
    pub(super) fn template(&self, task: &Task) -> Option<Text> {
        self.project_of(task).record.spec.prompt_template.clone()
    }

    /// A task's dependencies, for its agent.
    fn dependencies(&self, task: &Task) -> Vec<Dependency> {
        let project = self.project_of(task);
        let known = task.spec.dependencies.iter().filter_map(|id| project.by_id.get(id));
        let told = known.take(Order::DEPENDENCIES_MAX).map(|&ix| self.at(ix));
        told.map(|done| Dependency {
            id: done.spec.id.clone(),
            title: done.spec.title.clone(),
            summary: done.summary.as_deref().cloned(),
        })
        .collect()
    }

    /// The brief for the next attempt of a task; `None`: there is no such task.
    pub fn brief(&self, task: &TaskRef) -> Option<Brief> {
        let task = self.at(self.ix(task)?);
        Some(Brief {
            title: task.spec.title.to_string(),
            prompt: task.spec.prompt.clone(),
            dependencies: self.dependencies(task),
            more_dependencies: task.spec.dependencies.len().saturating_sub(Order::DEPENDENCIES_MAX) as u32,
            feedback: task.feedback.clone(),
            template: self.template(task),
        })
    }

    /// The lowest free name of a role. Roles `dev` and `dev1` could both have an agent `dev11`: names in use are
    /// skipped.
    fn free_agent(&self, class: ClassIx) -> AgentName {
        let class = &self.classes[class as usize];
        let project = &self.projects[class.project as usize];
        (1u32..)
            .filter(|index| !class.busy.contains(index))
            .map(|index| AgentName::new(&format!("{}{index}", class.spec.name)).expect("checked at submission"))
            .find(|name| !project.agents.contains_key(name))
            .expect("finitely many names are in use")
    }

    /// The workspace content of the next attempt.
    pub(super) fn start_of(&self, task: &Task, stage: Stage) -> Start {
        let project = self.project_of(task);
        let Some(head) = project.record.head.filter(|_| project.has_repository()) else { return Start::Empty };
        let fresh = Start::Commit { base: head, tip: head };
        let on_candidate = task.candidate().map(|(base, tip)| Start::Commit { base, tip });
        if stage == Stage::Check {
            return on_candidate.unwrap_or(fresh);
        }
        if let Some(conflict) = task.conflict() {
            // Always against the present head, unless checks or a reviewer returned a complete resolution.
            return on_candidate.unwrap_or(Start::Merging { base: head, theirs: conflict.theirs });
        }
        match task.spec.retry_from {
            RetryFrom::Fresh => fresh,
            // After failed checks the agent gets the merged tree that failed.
            RetryFrom::Last => on_candidate.or_else(|| on_harvested(task)).unwrap_or(fresh),
        }
    }

    /// The order for an attempt, also when it is sent again.
    pub(super) fn order(
        &self,
        task: &Task,
        attempt: AttemptId,
        (stage, host): (Stage, Option<&Host>),
        agent: AgentName,
        class: &Class,
        start: Start,
    ) -> Order {
        let (spec, role) = (&task.spec, &class.spec);
        // The profile does not apply to a task's own command.
        let profile = class.profile.as_ref().filter(|_| stage == Stage::Work && spec.command.is_none()).cloned();
        let command = match (stage, &spec.command) {
            (Stage::Check, _) => self.project_of(task).record.spec.checks.clone(),
            (Stage::Work, Some(command)) => command.iter().map(|c| c.to_string()).collect(),
            (Stage::Work, None) => role.command.clone(),
        };
        Order {
            attempt,
            stage,
            agent,
            role: role.name.clone(),
            title: spec.title.to_string(),
            command,
            prompt: spec.prompt.clone(),
            feedback: task.feedback.clone(),
            conflict: task.conflict().cloned(),
            start,
            secrets: class.needs().on(host),
            image: role.image.clone(),
            network: role.network,
            limits: role.limits,
            timeout_ms: spec.timeout_ms,
            grace_ms: spec.grace_ms,
            idle_timeout_ms: spec.idle_timeout_ms,
            profile,
            model: role.profile.as_ref().and_then(|profile| profile.model.clone()),
            composed: false,
            max_disconnect_ms: self.waited_for(task, role),
            dependencies: self.dependencies(task),
            more_dependencies: spec.dependencies.len().saturating_sub(Order::DEPENDENCIES_MAX) as u32,
            whole_prompt: None,
        }
    }

    /// The order of a running attempt, for a host that lacks it.
    pub(super) fn running_order(&self, ix: TaskIx) -> Option<(HostName, Order)> {
        let task = self.at(ix);
        let run = task.running()?;
        Some((run.host.clone(), self.order_again(task, run, self.hosts.get(&run.host))?))
    }

    /// The same for a host with its present offer.
    pub(super) fn order_on(&self, ix: TaskIx, host: &Host) -> Option<Order> {
        let task = self.at(ix);
        self.order_again(task, task.running()?, Some(host))
    }

    /// The order as it was sent for this attempt, as far as its task and role are unchanged. `None` also for a host
    /// that has not reported since the start, if the order depends on its offer: the host gets the order when it
    /// reports.
    pub(super) fn order_again(&self, task: &Task, run: &AttemptRecord, host: Option<&Host>) -> Option<Order> {
        let class = &self.classes[*self.project_of(task).classes.get(&run.role)? as usize];
        if class.needs().ask_the_host() && host.is_none_or(|host| host.offer.is_none()) {
            return None;
        }
        let on = (run.stage, host);
        Some(self.order(task, run.attempt.clone(), on, run.agent.clone(), class, run.start.clone()))
    }
}

/// The start of a workspace that continues the last harvested commit: on the base of that commit. Earlier versions kept
/// commits of attempts that the machine had failed: nothing continues those.
fn on_harvested(task: &Task) -> Option<Start> {
    let Git { harvested: Some((number, tip)), .. } = **task.git.as_ref()? else { return None };
    if let Some(Outcome::Infrastructure(_)) = task.attempt(number)?.outcome {
        return None;
    }
    Some(Start::Commit { base: base_of(task, number)?, tip })
}

/// The integration head on which an attempt was made.
pub(super) fn base_of(task: &Task, number: u32) -> Option<CommitId> {
    task.attempt(number)?.start.base()
}
