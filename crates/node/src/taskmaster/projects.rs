//! The Taskmaster's side of projects with a repository: their DevOps actors, and plans that wait for a hub.
//! Deliberately absent: git.

use devstack_dag::{
    command::Command,
    ids::{CommitId, ProjectName},
    plan::ProjectSpec,
};
use ractor::{ActorCell, ActorProcessingErr, ActorRef};

use super::{
    actor::{Child, State, answer},
    message::{Ask, HubReady, ReadyHub, SubmitPlan, TaskmasterMessage},
};
use crate::{
    actor::{Address, Generations, RestartPolicy, RestartVerdict, Restarts},
    devops::message::{DevopsMessage, Job},
};

impl State {
    /// A plan without a repository goes to the engine at once. A plan with a repository first needs its hub, whose head
    /// the engine gets. If the engine would refuse the plan anyway, no hub is touched.
    pub(super) async fn submit(
        &mut self,
        myself: &ActorRef<TaskmasterMessage>,
        submission: SubmitPlan,
    ) -> Result<(), ActorProcessingErr> {
        let SubmitPlan { plan, request, reply } = submission;
        if plan.project.source.is_none() {
            self.ask(Ask { command: Command::SubmitPlan { plan, head: None }, request, reply: Some(reply) });
            return Ok(());
        }
        if let Some(known) = request.as_ref().and_then(|request| self.known(request)) {
            self.when_durable(move || answer(Some(reply), known));
            return Ok(());
        }
        let rehearsal = Command::SubmitPlan { plan: plan.clone(), head: Some(CommitId([0; 20])) };
        let now = self.now();
        if let Err(rejection) = self.engine.decide(now, rehearsal) {
            self.when_durable(move || answer(Some(reply), Err(rejection.into())));
            return Ok(());
        }
        self.ensure_devops(myself, plan.project.clone()).await?;
        self.next_submission += 1;
        let number = self.next_submission;
        self.submissions.insert(number, SubmitPlan { plan, request, reply });
        self.ask_for_hub(number);
        Ok(())
    }

    fn ask_for_hub(&self, submission: u64) {
        let Some(waiting) = self.submissions.get(&submission) else { return };
        let spec = Box::new(waiting.plan.project.clone());
        let fresh = self.engine.project(&spec.name).is_none();
        if let Some(devops) = self.outbox.devops(&spec.name) {
            // If it failed just now, its successor is asked again.
            let _ = devops.cast(DevopsMessage::Do(Job::MakeHubReady { submission, fresh, spec }));
        }
    }

    pub(super) fn hub_ready(&mut self, ready: HubReady) {
        let Some(SubmitPlan { plan, request, reply }) = self.submissions.remove(&ready.submission) else { return };
        match ready.hub {
            Ok(ReadyHub { head, conflict }) => {
                let project = plan.project.name.clone();
                if self.engine.project(&project).is_some() {
                    // New commits from the source: new attempts start from them, and the sync merge is delivered.
                    self.tell(Command::HeadMoved { project: project.clone(), head });
                }
                let command = Command::SubmitPlan { plan, head: Some(head) };
                self.ask(Ask { command, request, reply: Some(reply) });
                if let Some(conflict) = conflict {
                    self.tell(Command::SourceConflicted { project, conflict });
                }
            }
            Err(refused) => answer(Some(reply), Err(refused.into())),
        }
    }

    /// Starts the project's DevOps actor unless it is alive.
    pub(super) async fn ensure_devops(
        &mut self,
        myself: &ActorRef<TaskmasterMessage>,
        spec: ProjectSpec,
    ) -> Result<(), ActorProcessingErr> {
        let project = spec.name.clone();
        if self.children.contains_key(&project) {
            return Ok(());
        }
        let address = Address::vacant("DevOps actor");
        let generations = self.outbox.generations(&project);
        let cell = self.spawn_devops(myself, spec, &address, &generations).await?;
        self.outbox.connect_devops(project.clone(), address.clone());
        self.children.insert(project, Child { cell, address, generations, restarts: Restarts::default() });
        Ok(())
    }

    async fn spawn_devops(
        &self,
        myself: &ActorRef<TaskmasterMessage>,
        spec: ProjectSpec,
        address: &Address<DevopsMessage>,
        generations: &Generations,
    ) -> Result<ActorCell, ActorProcessingErr> {
        let actor = (self.start_devops)(spec, generations.next(), myself.get_cell()).await?;
        address.move_in(actor.clone());
        Ok(actor.get_cell())
    }

    /// The project's description: as accepted, or as in a plan that waits for its hub.
    fn spec_of(&self, project: &ProjectName) -> Option<ProjectSpec> {
        let accepted = self.engine.project(project).map(|project| project.spec.clone());
        let mut waiting = self.submissions.values().map(|waiting| &waiting.plan.project);
        accepted.or_else(|| waiting.find(|spec| spec.name == *project).cloned())
    }

    /// A DevOps actor failed: start it again and repeat all its open work, or fail with it.
    pub(super) async fn devops_failed(
        &mut self,
        myself: &ActorRef<TaskmasterMessage>,
        cell: ActorCell,
        reason: &ActorProcessingErr,
    ) -> Result<(), ActorProcessingErr> {
        let found = self.children.iter().find(|(_, child)| child.cell.get_id() == cell.get_id());
        let Some(project) = found.map(|(project, _)| project.clone()) else { return Ok(()) };
        let Some(mut child) = self.children.remove(&project) else { return Ok(()) };
        child.address.move_out();
        let verdict = child.restarts.failed(RestartPolicy::default(), self.started.elapsed());
        tracing::error!(%project, %reason, ?verdict, "DevOps failed");
        if verdict == RestartVerdict::GiveUp {
            return Err(format!("DevOps of {project} failed too often: {reason}").into());
        }
        let Some(spec) = self.spec_of(&project) else { return Ok(()) };
        child.cell = self.spawn_devops(myself, spec, &child.address, &child.generations).await?;
        self.children.insert(project.clone(), child);
        self.repeat_for(&project);
        Ok(())
    }

    /// Repeats the work that the failed actor lost: merges and deliveries come from the engine, imports from the hosts,
    /// plans that wait for their hub from the list of submissions.
    fn repeat_for(&mut self, project: &ProjectName) {
        let now = self.now();
        let effects = self.engine.resume(now);
        let outbox = self.outbox.clone();
        self.when_durable(move || {
            outbox.carry_out(effects);
            outbox.ask_hosts_to_report();
        });
        let waiting = self.submissions.iter().filter(|(_, waiting)| waiting.plan.project.name == *project);
        let waiting: Vec<u64> = waiting.map(|(&number, _)| number).collect();
        waiting.into_iter().for_each(|number| self.ask_for_hub(number));
    }
}
