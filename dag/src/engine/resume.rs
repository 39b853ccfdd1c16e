//! Everything that the world must do (again) after a restart or a take-over. Executors are idempotent: hosts ignore
//! orders that they have, DevOps finds merges that landed. Back-offs start again in full: no due time is stored.

use super::{Draft, Engine, state::TaskIx};
use crate::{
    command::Job,
    effect::{Effect, Timer},
    ids::{AttemptId, Timestamp},
};

impl Engine {
    /// All effects that the present state still needs, in the order of the tasks.
    pub fn resume(&self, now: Timestamp) -> Vec<Effect> {
        let mut draft = Draft::new(now);
        let d = &mut draft;
        for (ix, task) in self.tasks.iter().enumerate() {
            if task.status.is_terminal() {
                continue;
            }
            if let Some((host, order)) = self.running_order(ix as TaskIx) {
                let attempt = order.attempt.clone();
                let (to, order, template) = (host.clone(), Box::new(order), self.template(task));
                d.effect(Effect::StartAttempt { host: to, order, template });
                if task.running().is_some_and(|run| run.stopping) {
                    d.effect(Effect::StopAttempt { host, attempt: attempt.clone() });
                }
                self.set_deadline(d, task, attempt);
            }
            if let Some(after_ms) = task.backoff_ms {
                let timer = Timer::Backoff(AttemptId { task: self.task_ref(task), number: task.attempts });
                d.effect(Effect::SetTimer { timer, after_ms });
            }
            if let Some((number, _)) = task.harvested().filter(|_| task.preparing) {
                self.resume_job(d, Job::Prepare(AttemptId { task: self.task_ref(task), number }));
            }
        }
        for project in self.by_name.values().map(|&ix| &self.projects[ix as usize]) {
            if let Some(merge) = project.merging {
                self.resume_job(d, Job::Publish(project.name().clone(), merge));
            }
            if project.record.head != project.record.delivered || !project.undelivered.is_empty() {
                self.resume_job(d, Job::Deliver(project.name().clone()));
            }
        }
        self.resume_providers(d);
        self.resume_drains(d);
        draft.effects
    }

    /// A failed job waits for its timer; any other job is requested at once.
    fn resume_job(&self, draft: &mut Draft, job: Job) {
        match self.troubles.get(&job).filter(|t| t.waiting) {
            Some(trouble) => {
                draft.effect(Effect::SetTimer { timer: Timer::Retry(job), after_ms: trouble.after_ms });
            }
            None => draft.effects.extend(self.job_effect(&job)),
        }
    }
}
