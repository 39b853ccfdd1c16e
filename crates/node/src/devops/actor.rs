//! A project's DevOps actor: the only writer of the hub's integration ref. Jobs run one at a time, in order of arrival,
//! on a blocking thread; their results go to the Taskmaster. A restarted actor closes the fence of the job that was
//! running. Deliberately absent: deciding what to merge (the engine's merge queue) and git itself.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{
    jobs::{self, Done, Job, Project},
    message::DevopsMessage,
};
use crate::{actor::Address, taskmaster::message::TaskmasterMessage};

/// The pause after an import that failed because of this machine: usually a full disk or a lock.
const IMPORT_BACKOFF: Duration = Duration::from_secs(5);

/// The actor.
pub struct Devops;

/// The arguments of a start.
pub struct DevopsArguments {
    /// The project's hub and source, and the fence of this incarnation.
    pub project: Project,
    /// The destination of results.
    pub taskmaster: Address<TaskmasterMessage>,
}

/// The state.
pub struct State {
    project: Arc<Project>,
    taskmaster: Address<TaskmasterMessage>,
    waiting: VecDeque<Job>,
    /// Housekeeping jobs, run when nothing else waits.
    later: VecDeque<Job>,
    busy: bool,
}

impl Actor for Devops {
    type Msg = DevopsMessage;
    type State = State;
    type Arguments = DevopsArguments;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, given: DevopsArguments) -> Result<State, ActorProcessingErr> {
        let DevopsArguments { project, taskmaster } = given;
        Ok(State {
            project: Arc::new(project),
            taskmaster,
            waiting: VecDeque::new(),
            later: VecDeque::new(),
            busy: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DevopsMessage::Do(housekeeping @ Job::Release { .. }) => state.later.push_back(housekeeping),
            DevopsMessage::Do(job) => state.queue(job),
            DevopsMessage::JobDone(done) => state.done(&myself, done)?,
        }
        state.work(&myself);
        Ok(())
    }
}

impl State {
    /// The same job twice in the queue (a repeated effect) counts as one job.
    fn queue(&mut self, job: Job) {
        if !self.waiting.contains(&job) {
            self.waiting.push_back(job);
        }
    }

    fn work(&mut self, myself: &ActorRef<DevopsMessage>) {
        if self.busy {
            return;
        }
        let Some(job) = self.waiting.pop_front().or_else(|| self.later.pop_front()) else { return };
        self.busy = true;
        let (project, myself) = (self.project.clone(), myself.clone());
        tokio::task::spawn_blocking(move || {
            let done =
                std::panic::catch_unwind(AssertUnwindSafe(|| jobs::run(&project, job))).unwrap_or(Done::Panicked);
            // If the actor is gone, its successor does the work.
            let _ = myself.cast(DevopsMessage::JobDone(done));
        });
    }

    fn done(&mut self, myself: &ActorRef<DevopsMessage>, done: Done) -> Result<(), ActorProcessingErr> {
        self.busy = false;
        let message = match done {
            Done::Nothing | Done::Fenced => return Ok(()),
            Done::Again(job) => {
                myself.send_after(IMPORT_BACKOFF, move || DevopsMessage::Do(*job));
                return Ok(());
            }
            Done::Panicked => return Err("a job panicked".into()),
            Done::Tell(command) => TaskmasterMessage::DevopsReported(command),
            Done::HubReady(ready) => TaskmasterMessage::HubReady(ready),
        };
        // If the Taskmaster is absent, it is being restarted and asks for everything again.
        let _ = self.taskmaster.cast(message);
        Ok(())
    }
}
