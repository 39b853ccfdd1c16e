//! What the API needs of the core: one object-safe trait, implemented over the actors by the node, and in memory by tests.
//! An answer is given only when what it says is durable.
//! Deliberately absent: HTTP (the routes) and actors (the implementation).

use std::{any::Any, io, path::PathBuf, pin::Pin, sync::Arc};

use async_trait::async_trait;
use axum::body::Bytes;
use devstack_cluster::NodeName;
use devstack_dag::{
    command::Command,
    ids::{AttemptId, BlobId, CommitId, HostName, ProjectName, TaskId, TaskRef},
    plan::PlanSpec,
};
use futures::Stream;

use super::{ApiError, NumberedQuery, Origin, Standing, TaskQuery, dto};

/// Bytes as they come: logs, bundles.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
/// Facts as they become durable. An error ends the stream.
pub type FactStream = Pin<Box<dyn Stream<Item = Result<dto::Fact, ApiError>> + Send>>;

/// A stretch of the facts.
#[derive(Debug, Clone)]
pub struct FactPage {
    /// In their order, without a gap.
    pub facts: Vec<dto::Fact>,
    /// Everything up to this number is in it, or before it.
    pub through: u64,
    /// The number of the newest fact there is.
    pub last: u64,
}

/// Makes a repetition harmless: the same key with the same body gets the same answer, with another body 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// The `Idempotency-Key` with whose it is: 64 hexadecimal digits.
    pub key: String,
    /// BLAKE3 of method, path and body. Where the body is a stream, of method and path: [`RequestId::with_body`] is for
    /// whoever takes it in.
    pub body_hash: [u8; 32],
}

impl RequestId {
    /// The same request, with a body that came as a stream: its BLAKE3.
    pub fn with_body(self, digest: [u8; 32]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.body_hash).update(&digest);
        Self { body_hash: *hash.finalize().as_bytes(), ..self }
    }
}

/// Which tasks of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQuery {
    /// Of this project; `None`: of the first.
    pub project: Option<ProjectName>,
    /// Only this task, with those before and behind it.
    pub way_of: Option<TaskId>,
    /// At most so many.
    pub most: usize,
}

/// Which facts, going back from the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactSearch {
    /// Only with lower numbers.
    pub before: Option<u64>,
    /// Only of this project.
    pub project: Option<ProjectName>,
    /// Only of tasks of this id.
    pub task: Option<TaskId>,
    /// Only of kinds that contain this.
    pub kind: Option<String>,
    /// Only with this in their sentence or a name, in any case.
    pub text: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Look at no more than so many.
    pub depth: u64,
}

impl FactSearch {
    /// The newest of all.
    pub fn all(limit: usize, depth: u64) -> Self {
        Self { before: None, project: None, task: None, kind: None, text: None, limit, depth }
    }

    /// Is this one looked for?
    pub fn wants(&self, fact: &dto::Fact) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let named = || [&fact.project, &fact.task].into_iter().flatten();
        self.project.as_ref().is_none_or(|project| fact.project.as_deref() == Some(project.as_str()))
            && self.task.as_ref().is_none_or(|task| fact.task.as_deref() == Some(task.as_str()))
            && self.kind.as_ref().is_none_or(|kind| holds(&fact.kind, kind))
            && self.text.as_ref().is_none_or(|text| holds(&fact.message, text) || named().any(|name| holds(name, text)))
    }
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitQuery {
    /// The project.
    pub project: ProjectName,
    /// Only these tasks (their dependencies count as what they wait for); `None`: all of the project.
    pub tasks: Option<Vec<TaskId>>,
    /// Keep waiting while a person must act.
    pub through_humans: bool,
}

/// The core, as the API sees it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Adds a plan or brings it up to date. Prompts are `Text::Inline` whatever their length: those over
    /// `Text::INLINE_MAX` are moved into blobs here, before the command. 403: its repository is not for this origin.
    async fn submit(
        &self,
        plan: PlanSpec,
        origin: Origin,
        request: Option<RequestId>,
    ) -> Result<dto::PlanAnswer, ApiError>;

    /// Any other command of a person. Messages are `Text::Inline` as in [`Backend::submit`].
    async fn ask(&self, command: Command, request: Option<RequestId>) -> Result<dto::Answer, ApiError>;

    /// Would this command be refused now? Nothing changes.
    async fn judge(&self, command: Command) -> Result<(), ApiError>;

    /// The project's tasks as they stand, as a plan; prompts inline.
    async fn plan(&self, project: ProjectName) -> Result<PlanSpec, ApiError>;

    /// A page of submissions, oldest first.
    async fn plans(&self, query: NumberedQuery) -> Result<dto::PlanList, ApiError>;

    /// Projects by name.
    async fn projects(&self) -> Result<Vec<dto::Project>, ApiError>;

    /// A page of tasks. It may be shorter than asked for and still not be the last: a look is bounded.
    async fn tasks(&self, query: TaskQuery) -> Result<dto::TaskList, ApiError>;

    /// Everything about one task.
    async fn task(&self, task: TaskRef) -> Result<dto::TaskDetail, ApiError>;

    /// Why a task is where it is, in a paragraph.
    async fn explain(&self, task: TaskRef) -> Result<String, ApiError>;

    /// What the agent of a task's next attempt reads.
    async fn prompt(&self, task: TaskRef) -> Result<String, ApiError>;

    /// What the task's newest commit changes, as a patch.
    async fn diff(&self, task: TaskRef) -> Result<ByteStream, ApiError>;

    /// The output of an attempt (`None`: the newest). With `follow` it ends when the attempt does.
    async fn logs(&self, task: TaskRef, attempt: Option<u32>, follow: bool) -> Result<ByteStream, ApiError>;

    /// What a person needs to do a blocked, a resolution or a human's task by hand.
    async fn conflict(&self, task: TaskRef) -> Result<dto::Conflict, ApiError>;

    /// What both sides of a conflict changed since they parted, each at most `limit` bytes. 409: it has no two sides.
    async fn sides(&self, task: TaskRef, limit: usize) -> Result<dto::Sides, ApiError>;

    /// A person's result as a bundle, through quarantine and into the hub. A bundle that is too large ends with an error.
    async fn resolve(
        &self,
        task: TaskRef,
        bundle: ByteStream,
        request: Option<RequestId>,
    ) -> Result<dto::Answer, ApiError>;

    /// Agents that hold a slot, or have held one.
    async fn agents(&self) -> Result<Vec<dto::Agent>, ApiError>;

    /// Hosts by name.
    async fn hosts(&self) -> Result<Vec<dto::Host>, ApiError>;

    /// Everything about one host.
    async fn host(&self, host: HostName) -> Result<dto::HostDetail, ApiError>;

    /// Every host with everything about it.
    async fn host_details(&self) -> Result<Vec<dto::HostDetail>, ApiError>;

    /// A page of landed merges, oldest first.
    async fn merges(&self, query: NumberedQuery) -> Result<dto::MergeList, ApiError>;

    /// The whole at a glance.
    async fn status(&self) -> Result<dto::Overview, ApiError>;

    /// The whole, as the dashboard's first page shows it.
    async fn glance(&self) -> Result<dto::Glance, ApiError>;

    /// Tasks by status, of one project or all: of each status those that changed last, at most `shown`.
    async fn board(&self, project: Option<ProjectName>, shown: usize) -> Result<dto::Board, ApiError>;

    /// The same in numbers, for a scrape: cheap, however much there is.
    async fn standing(&self) -> Result<Standing, ApiError>;

    /// Tasks for a graph.
    async fn graph(&self, query: GraphQuery) -> Result<dto::Graph, ApiError>;

    /// Attempts that run or ended within so many milliseconds, of one project or all; at most so many.
    async fn timeline(&self, project: Option<ProjectName>, window: u64, most: usize)
    -> Result<dto::Timeline, ApiError>;

    /// The merge queues; of each at most so many entries and landed merges.
    async fn merge_queues(
        &self,
        project: Option<ProjectName>,
        entries: usize,
        landed: usize,
    ) -> Result<Vec<dto::MergeQueue>, ApiError>;

    /// Facts, the newest first.
    async fn history(&self, search: FactSearch) -> Result<dto::History, ApiError>;

    /// Returns when everything asked about is settled.
    async fn wait(&self, query: WaitQuery) -> Result<dto::Settled, ApiError>;

    /// Facts after this number, then new ones as they come; `None`: only new ones. 410 behind the horizon.
    async fn facts(&self, after: Option<u64>) -> Result<FactStream, ApiError>;

    /// The kept facts after this number, at most so many; `None`: from the oldest kept on. 410 behind the horizon.
    async fn fact_page(&self, after: Option<u64>, limit: usize) -> Result<FactPage, ApiError>;

    /// Changes whenever anything changes that the engine knows: what was read under one version is right as long as
    /// this is the version. Another process has other versions.
    async fn version(&self) -> Result<u64, ApiError>;

    /// Everything of this Taskmaster that cannot be made again, keys included, as a tar file. A stream that ends early is
    /// no backup, and is told by that.
    async fn backup(&self) -> Result<ByteStream, ApiError> {
        Err(ApiError::unavailable("this node keeps nothing that could be backed up"))
    }

    /// What nodes of a cluster ask for; `None`: this node serves none.
    fn nodes(&self) -> Option<&dyn Nodes> {
        None
    }

    /// Repositories that people upload and fetch; `None`: there is no usable git on this host.
    fn repos(&self) -> Option<&dyn Repos> {
        None
    }

    /// Can it take commands?
    async fn ready(&self) -> Result<(), ApiError>;
}

/// What agent hosts on other machines fetch and bring. `peer` is the node's name, as its certificate says; what it may not
/// have is refused with 403.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// A project's integration branch and head.
    async fn repository(&self, peer: &NodeName, project: ProjectName) -> Result<dto::NodeRepository, ApiError>;
    /// Commits as a bundle, made for this request or kept from an earlier one.
    async fn bundle(&self, peer: &NodeName, project: ProjectName, wanted: Wanted) -> Result<Download, ApiError>;
    /// A long text.
    async fn blob(&self, peer: &NodeName, id: BlobId) -> Result<Vec<u8>, ApiError>;
    /// A part of an attempt's result.
    async fn result(
        &self,
        peer: &NodeName,
        attempt: AttemptId,
        part: dto::Part,
        body: ByteStream,
    ) -> Result<dto::Received, ApiError>;
    /// The log of an attempt that is over.
    async fn shipped_log(&self, peer: &NodeName, attempt: AttemptId, body: ByteStream) -> Result<(), ApiError>;
    /// A log that somebody reads.
    async fn live_log(&self, peer: &NodeName, channel: u64, body: ByteStream) -> Result<(), ApiError>;
}

/// What people send of a repository on their own machine, and fetch of its project's.
#[async_trait]
pub trait Repos: Send + Sync {
    /// The inbox of a project, which need not exist.
    async fn inbox(&self, project: ProjectName) -> Result<dto::Repo, ApiError>;
    /// A part of a push; with the last one, what came of the whole.
    async fn push(&self, project: ProjectName, push: dto::Push, body: ByteStream) -> Result<dto::Pushed, ApiError>;
    /// The integration branch as a bundle, without what the first commit of `have` contains that the branch has. Where it has
    /// none of them and the asker may not have the whole: 403.
    async fn branch(
        &self,
        project: ProjectName,
        branch: String,
        have: Vec<CommitId>,
        may_have_all: bool,
    ) -> Result<Download, ApiError>;
}

/// Which commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The integration branch up to this head, without what the asker has.
    History {
        /// The head.
        head: CommitId,
        /// A commit of that branch.
        have: Option<CommitId>,
    },
    /// What this commit has, and the other, which is in the branch, has not.
    Tip {
        /// A harvested commit, the blocked side of a conflict, a prepared merge.
        tip: CommitId,
        /// What the asker has.
        have: CommitId,
    },
}

/// A file to be downloaded, in parts if need be.
#[derive(Debug, Clone)]
pub struct Download {
    /// Where it is.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of all of it.
    pub digest: [u8; 32],
    /// The file is there as long as this is.
    pub kept: Arc<dyn Any + Send + Sync>,
}
