//! Which records a step changed. Collected as small indices, converted to keys once at the end.

use super::{
    Engine,
    state::{ProjectIx, TaskIx},
};
use crate::{
    ids::{AttemptId, HostName, MergeId},
    record::RecordKey,
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    Project(ProjectIx),
    Plan(ProjectIx, u32),
    Task(TaskIx),
    Attempt(TaskIx, u32),
    Merge(ProjectIx, MergeId),
    Host(HostName),
    Provider(Box<str>),
    HostIntent(HostName),
}

#[derive(Debug, Default)]
pub(crate) struct Touched(Vec<Touch>);

impl Touched {
    pub(crate) fn project(&mut self, ix: ProjectIx) {
        self.0.push(Touch::Project(ix));
    }

    pub(crate) fn plan(&mut self, ix: ProjectIx, number: u32) {
        self.0.push(Touch::Plan(ix, number));
    }

    pub(crate) fn task(&mut self, ix: TaskIx) {
        self.0.push(Touch::Task(ix));
    }

    pub(crate) fn attempt(&mut self, ix: TaskIx, number: u32) {
        self.0.push(Touch::Attempt(ix, number));
    }

    pub(crate) fn merge(&mut self, ix: ProjectIx, merge: MergeId) {
        self.0.push(Touch::Merge(ix, merge));
    }

    pub(crate) fn host(&mut self, host: HostName) {
        self.0.push(Touch::Host(host));
    }

    pub(crate) fn host_intent(&mut self, host: HostName) {
        self.0.push(Touch::HostIntent(host));
    }

    pub(crate) fn provider(&mut self, provider: Box<str>) {
        self.0.push(Touch::Provider(provider));
    }

    pub(crate) fn keys(mut self, engine: &Engine) -> Vec<RecordKey> {
        self.0.sort_unstable();
        self.0.dedup();
        let project = |ix: ProjectIx| engine.projects[ix as usize].name().clone();
        let task = |ix: TaskIx| engine.task_ref(engine.at(ix));
        let key = |touch| match touch {
            Touch::Project(ix) => RecordKey::Project(project(ix)),
            Touch::Plan(ix, number) => RecordKey::Plan(project(ix), number),
            Touch::Task(ix) => RecordKey::Task(task(ix)),
            Touch::Attempt(ix, number) => RecordKey::Attempt(AttemptId { task: task(ix), number }),
            Touch::Merge(ix, merge) => RecordKey::Merge(project(ix), merge),
            Touch::Host(host) => RecordKey::Host(host),
            Touch::HostIntent(host) => RecordKey::HostIntent(host),
            Touch::Provider(provider) => RecordKey::Provider(provider),
        };
        self.0.into_iter().map(key).collect()
    }
}
