//! Facts about attempts: slots, agents and history.

use std::sync::Arc;

use crate::{
    attempt::{Left, Outcome, Stage, Start, Usage},
    engine::{
        Engine,
        compose::{person_agent, person_host, person_role},
        state::TaskIx,
        touched::Touched,
    },
    ids::{AgentName, AttemptId, CommitId, HostName, RoleName, Text, Timestamp},
    record::{AttemptRecord, Status},
};

type Started<'a> = (Stage, &'a HostName, &'a AgentName, &'a RoleName, &'a Start, &'a Option<Arc<str>>);
type Ended<'a> = (&'a Outcome, bool, Option<CommitId>, Option<&'a Usage>);

impl Engine {
    pub(super) fn attempt_started(
        &mut self,
        at: Timestamp,
        attempt: &AttemptId,
        (stage, host, agent, role, start, image): Started<'_>,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = &mut self.tasks[ix as usize];
        task.attempts = attempt.number;
        task.updated_at = at;
        (task.backoff_ms, task.blocked) = (None, None);
        let record = AttemptRecord {
            attempt: attempt.clone(),
            stage,
            host: host.clone(),
            agent: agent.clone(),
            role: role.clone(),
            start: start.clone(),
            image: image.clone(),
            stopping: false,
            outcome: None,
            charged: false,
            commit: None,
            usage: None,
            started_at: at,
            ended_at: None,
            left: None,
        };
        self.push_history(ix, record, touched);
        self.set_status(ix, if stage == Stage::Work { Status::Wip } else { Status::Testing });
        self.occupy(ix);
        self.refresh(ix);
        touched.task(ix);
    }

    /// Adds an attempt and drops the oldest ones, never the one whose commit may still be merged.
    fn push_history(&mut self, ix: TaskIx, record: AttemptRecord, touched: &mut Touched) {
        let task = &mut self.tasks[ix as usize];
        touched.attempt(ix, record.attempt.number);
        if task.history.is_empty() {
            task.history.reserve_exact(1);
        }
        task.history.push(record);
        let accepted = task.harvested().map(|(number, _)| number);
        while task.history.len() > self.config.attempts_kept + 2 {
            let Some(oldest) = task.history.iter().position(|a| Some(a.attempt.number) != accepted) else { break };
            touched.attempt(ix, task.history.remove(oldest).attempt.number);
        }
    }

    /// Takes the slot and the agent of a task's running attempt.
    pub(in crate::engine) fn occupy(&mut self, ix: TaskIx) {
        let Some((host, agent, (role, stage))) =
            self.at(ix).running().map(|a| (a.host.clone(), a.agent.clone(), (a.role.clone(), a.stage)))
        else {
            return;
        };
        self.change_host(&host, |host| _ = host.running.insert(ix));
        let project = &mut self.projects[self.tasks[ix as usize].project as usize];
        project.running += 1;
        let class = project.classes.get(&role).copied();
        if let (Some(class), Some(index)) = (class, agent_index(&role, &agent)) {
            let class_state = &mut self.classes[class as usize];
            class_state.busy.insert(index);
            class_state.working += u32::from(stage == Stage::Work);
            self.refresh_spending(class);
        }
        self.projects[self.tasks[ix as usize].project as usize].agents.insert(agent, ix);
    }

    fn vacate(&mut self, ix: TaskIx, stage: Stage, (host, agent, role): (&HostName, &AgentName, &RoleName)) {
        self.change_host(host, |host| _ = host.running.remove(&ix));
        let project = &mut self.projects[self.tasks[ix as usize].project as usize];
        project.running -= 1;
        project.agents.remove(agent);
        let class = project.classes.get(role).copied();
        if let (Some(class), Some(index)) = (class, agent_index(role, agent)) {
            let class_state = &mut self.classes[class as usize];
            class_state.busy.remove(&index);
            class_state.working -= u32::from(stage == Stage::Work);
            self.refresh_spending(class);
        }
    }

    pub(super) fn attempt_stopping(&mut self, at: Timestamp, attempt: &AttemptId, touched: &mut Touched) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = &mut self.tasks[ix as usize];
        let Some(record) = task.history.last_mut().filter(|a| a.attempt.number == attempt.number) else { return };
        record.stopping = true;
        task.updated_at = at;
        touched.attempt(ix, attempt.number);
        touched.task(ix);
    }

    pub(super) fn attempt_ended(
        &mut self,
        at: Timestamp,
        attempt: &AttemptId,
        (outcome, charged, commit, usage): Ended<'_>,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = &mut self.tasks[ix as usize];
        let Some(record) = task.history.last_mut().filter(|a| a.attempt.number == attempt.number) else { return };
        if record.outcome.is_some() {
            return;
        }
        let stalled = !charged && !record.stopping && record.stage == Stage::Work && *outcome == Outcome::Stalled;
        task.stalls += u32::from(stalled);
        (record.outcome, record.charged, record.commit) = (Some(outcome.clone()), charged, commit);
        record.usage = usage.cloned();
        record.ended_at = Some(at);
        let (stage, host, agent, role) = (record.stage, record.host.clone(), record.agent.clone(), record.role.clone());
        task.updated_at = at;
        if let (Stage::Work, Some(commit)) = (stage, commit) {
            let git = task.git_mut();
            (git.harvested, git.agent, git.candidate) = (Some((attempt.number, commit)), Some(agent.clone()), None);
        }
        if stage == Stage::Work {
            self.account(ix, &role, outcome, usage, touched);
        }
        self.vacate(ix, stage, (&host, &agent, &role));
        self.refresh(ix);
        touched.attempt(ix, attempt.number);
        touched.task(ix);
    }

    pub(super) fn attempt_left(
        &mut self,
        at: Timestamp,
        attempt: &AttemptId,
        left: &Left,
        summary: Option<&Text>,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = &mut self.tasks[ix as usize];
        let Some(record) = task.history.iter_mut().rev().find(|a| a.attempt.number == attempt.number) else { return };
        record.left = (!left.is_empty()).then(|| Box::new(left.clone()));
        if let Some(summary) = summary {
            task.summary = Some(Box::new(summary.clone()));
        }
        task.updated_at = at;
        touched.attempt(ix, attempt.number);
        touched.task(ix);
    }

    pub(super) fn result_given(
        &mut self,
        at: Timestamp,
        attempt: &AttemptId,
        start: &Start,
        commit: CommitId,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = self.at(ix);
        let role = self.project_of(task).role_of(&task.spec.executor).cloned().unwrap_or_else(person_role);
        let (host, agent) = (person_host(), person_agent());
        let record = AttemptRecord {
            attempt: attempt.clone(),
            stage: Stage::Work,
            host,
            agent: agent.clone(),
            role,
            start: start.clone(),
            image: None,
            stopping: false,
            outcome: Some(Outcome::Exited(0)),
            charged: false,
            commit: Some(commit),
            usage: None,
            started_at: at,
            ended_at: Some(at),
            left: None,
        };
        let task = &mut self.tasks[ix as usize];
        (task.attempts, task.backoff_ms, task.updated_at) = (attempt.number, None, at);
        let git = task.git_mut();
        (git.harvested, git.agent, git.candidate) = (Some((attempt.number, commit)), Some(agent), None);
        self.push_history(ix, record, touched);
        self.refresh(ix);
        touched.task(ix);
    }
}

/// The agent's number: 2 for `dev2` of the role `dev`.
fn agent_index(role: &RoleName, agent: &AgentName) -> Option<u32> {
    agent.as_str().strip_prefix(role.as_str())?.parse().ok()
}
