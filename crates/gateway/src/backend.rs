//! The API's interface to the core: one object-safe trait, which the node implements over its actors, and tests in
//! memory. An answer is given only after its content is durable.
//! Deliberately absent: HTTP (the routes) and actors (the implementation).

use crate::pages;
use std::{any::Any, path::PathBuf, pin::Pin, sync::Arc};

use async_trait::async_trait;
use devstack_cluster::NodeName;
use devstack_dag::{
    command::Command,
    ids::{AttemptId, BlobId, CommitId, HostName, ProjectName, TaskId, TaskRef},
    plan::PlanSpec,
};
use futures::Stream;

use super::{ApiError, ByteStream, NumberedQuery, Origin, Standing, TaskQuery, dto};

/// Facts, each once it is durable. An error ends the stream.
pub type FactStream = Pin<Box<dyn Stream<Item = Result<dto::Fact, ApiError>> + Send>>;

/// A range of facts.
#[derive(Debug, Clone)]
pub struct FactPage {
    /// The facts in order, without a gap.
    pub facts: Vec<dto::Fact>,
    /// The number up to which this range and earlier ranges cover all facts.
    pub through: u64,
    /// The number of the newest fact.
    pub last: u64,
}

/// Makes a repetition harmless: the same key and body get the same answer; the same key with another body gets 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// The `Idempotency-Key`, combined with its caller: 64 hexadecimal digits.
    pub key: String,
    /// BLAKE3 of method, path and body. For a streamed body, BLAKE3 of method and path; the reader of the body adds the
    /// rest with [`RequestId::with_body`].
    pub body_hash: [u8; 32],
}

impl RequestId {
    /// Adds the BLAKE3 of a streamed body.
    pub fn with_body(self, digest: [u8; 32]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.body_hash).update(&digest);
        Self { body_hash: *hash.finalize().as_bytes(), ..self }
    }
}

/// Selects the tasks of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQuery {
    /// The project; `None`: the first project.
    pub project: Option<ProjectName>,
    /// Only this task with its dependencies and dependents.
    pub way_of: Option<TaskId>,
    /// The maximum number of tasks.
    pub most: usize,
}

/// Selects facts, from the newest backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactSearch {
    /// Only facts with lower numbers.
    pub before: Option<u64>,
    /// Only facts of this project.
    pub project: Option<ProjectName>,
    /// Only facts of tasks with this id.
    pub task: Option<TaskId>,
    /// Only facts whose kind contains this text.
    pub kind: Option<String>,
    /// Only facts whose sentence or a name contains this text, in any case.
    pub text: Option<String>,
    /// The maximum number of results.
    pub limit: usize,
    /// The maximum number of facts to search.
    pub depth: u64,
}

impl FactSearch {
    /// Selects the newest facts.
    pub fn all(limit: usize, depth: u64) -> Self {
        Self { before: None, project: None, task: None, kind: None, text: None, limit, depth }
    }

    /// Whether a fact matches this search.
    pub fn wants(&self, fact: &dto::Fact) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let named = || [&fact.project, &fact.task].into_iter().flatten();
        self.project.as_ref().is_none_or(|project| fact.project.as_deref() == Some(project.as_str()))
            && self.task.as_ref().is_none_or(|task| fact.task.as_deref() == Some(task.as_str()))
            && self.kind.as_ref().is_none_or(|kind| holds(&fact.kind, kind))
            && self.text.as_ref().is_none_or(|text| holds(&fact.message, text) || named().any(|name| holds(name, text)))
    }
}

/// Selects what to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitQuery {
    /// The project.
    pub project: ProjectName,
    /// Only these tasks (and their dependencies); `None`: all tasks of the project.
    pub tasks: Option<Vec<TaskId>>,
    /// Whether to keep waiting while a person must act.
    pub through_humans: bool,
}

/// The core, as the API sees it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Adds or updates a plan. Prompts are `Text::Inline` of any length: prompts over `Text::INLINE_MAX` are moved into
    /// blobs here, before the command. 403: the plan's repository is not allowed for this origin.
    async fn submit(
        &self,
        plan: PlanSpec,
        origin: Origin,
        request: Option<RequestId>,
    ) -> Result<dto::PlanAnswer, ApiError>;

    /// Runs any other command of a user. Messages are `Text::Inline` as in [`Backend::submit`].
    async fn ask(&self, command: Command, request: Option<RequestId>) -> Result<dto::Answer, ApiError>;

    /// Checks whether a command would be refused now. Changes nothing.
    async fn judge(&self, command: Command) -> Result<(), ApiError>;

    /// The tasks of a project as a plan, with inline prompts.
    async fn plan(&self, project: ProjectName) -> Result<PlanSpec, ApiError>;

    /// A page of submissions, oldest first.
    async fn plans(&self, query: NumberedQuery) -> Result<dto::PlanList, ApiError>;

    /// Projects by name.
    async fn projects(&self) -> Result<Vec<dto::Project>, ApiError>;

    /// A page of tasks. A page can be shorter than requested although more follow, because each search is bounded.
    async fn tasks(&self, query: TaskQuery) -> Result<dto::TaskList, ApiError>;

    /// Everything about one task.
    async fn task(&self, task: TaskRef) -> Result<dto::TaskDetail, ApiError>;

    /// Explains the state of a task in a paragraph.
    async fn explain(&self, task: TaskRef) -> Result<String, ApiError>;

    /// The prompt of a task's next attempt.
    async fn prompt(&self, task: TaskRef) -> Result<String, ApiError>;

    /// The newest commit of a task as a patch.
    async fn diff(&self, task: TaskRef) -> Result<ByteStream, ApiError>;

    /// The output of an attempt (`None`: the newest). With `follow` it ends when the attempt ends.
    async fn logs(&self, task: TaskRef, attempt: Option<u32>, follow: bool) -> Result<ByteStream, ApiError>;

    /// What a person needs to complete a blocked task, a resolution or a manual task by hand.
    async fn conflict(&self, task: TaskRef) -> Result<dto::Conflict, ApiError>;

    /// What both sides of a conflict changed since their merge base, each at most `limit` bytes. 409: the task has no
    /// two sides.
    async fn sides(&self, task: TaskRef, limit: usize) -> Result<pages::Sides, ApiError>;

    /// Takes the result of a person as a bundle, through quarantine into the hub. A bundle that is too large ends with
    /// an error.
    async fn resolve(
        &self,
        task: TaskRef,
        bundle: ByteStream,
        request: Option<RequestId>,
    ) -> Result<dto::Answer, ApiError>;

    /// Agents that hold or have held a slot.
    async fn agents(&self) -> Result<Vec<dto::Agent>, ApiError>;

    /// Hosts by name.
    async fn hosts(&self) -> Result<Vec<dto::Host>, ApiError>;

    /// Everything about one host.
    async fn host(&self, host: HostName) -> Result<dto::HostDetail, ApiError>;

    /// Everything about every host.
    async fn host_details(&self) -> Result<Vec<dto::HostDetail>, ApiError>;

    /// A page of completed merges, oldest first.
    async fn merges(&self, query: NumberedQuery) -> Result<dto::MergeList, ApiError>;

    /// An overview of everything.
    async fn status(&self) -> Result<dto::Overview, ApiError>;

    /// The overview of the dashboard's first page.
    async fn glance(&self) -> Result<pages::Glance, ApiError>;

    /// Tasks by status, of one project or all: for each status at most `shown`, the most recently changed.
    async fn board(&self, project: Option<ProjectName>, shown: usize) -> Result<pages::Board, ApiError>;

    /// The overview in numbers, for metrics: cheap for any number of tasks.
    async fn standing(&self) -> Result<Standing, ApiError>;

    /// The tasks of a graph.
    async fn graph(&self, query: GraphQuery) -> Result<pages::Graph, ApiError>;

    /// Attempts that are running or ended within the last `window` milliseconds, of one project or all; at most
    /// `most`.
    async fn timeline(
        &self,
        project: Option<ProjectName>,
        window: u64,
        most: usize,
    ) -> Result<pages::Timeline, ApiError>;

    /// The merge queues, each with at most so many entries and completed merges.
    async fn merge_queues(
        &self,
        project: Option<ProjectName>,
        entries: usize,
        landed: usize,
    ) -> Result<Vec<pages::MergeQueue>, ApiError>;

    /// Facts, newest first.
    async fn history(&self, search: FactSearch) -> Result<pages::History, ApiError>;

    /// Returns when everything in the query is settled.
    async fn wait(&self, query: WaitQuery) -> Result<dto::Settled, ApiError>;

    /// Facts after this number, then new ones as they come; `None`: only new ones. 410 behind the horizon.
    async fn facts(&self, after: Option<u64>) -> Result<FactStream, ApiError>;

    /// The kept facts after this number, at most so many; `None`: from the oldest kept fact. 410 behind the horizon.
    async fn fact_page(&self, after: Option<u64>, limit: usize) -> Result<FactPage, ApiError>;

    /// A version that changes with every change of the engine's state. Data read under a version is current while the
    /// version stays. Versions of different processes differ.
    async fn version(&self) -> Result<u64, ApiError>;

    /// Everything of this Taskmaster that cannot be recreated, including keys, as a tar file. A stream that ends early
    /// has no end marker and is not a backup.
    async fn backup(&self) -> Result<ByteStream, ApiError> {
        Err(ApiError::unavailable("this node has nothing to back up"))
    }

    /// The interface for nodes of a cluster; `None`: this node serves no cluster.
    fn nodes(&self) -> Option<&dyn Nodes> {
        None
    }

    /// The interface for uploaded repositories; `None`: this host has no usable git.
    fn repos(&self) -> Option<&dyn Repos> {
        None
    }

    /// Whether the core accepts commands.
    async fn ready(&self) -> Result<(), ApiError>;
}

/// What agent hosts on other machines download and upload. `peer` is the node's name from its certificate; requests
/// beyond its rights are refused with 403.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// The integration branch of a project and its head.
    async fn repository(&self, peer: &NodeName, project: ProjectName) -> Result<dto::NodeRepository, ApiError>;
    /// Commits as a bundle, made for this request or cached.
    async fn bundle(&self, peer: &NodeName, project: ProjectName, wanted: Wanted) -> Result<Download, ApiError>;
    /// A long text.
    async fn blob(&self, peer: &NodeName, id: BlobId) -> Result<Vec<u8>, ApiError>;
    /// Takes a part of an attempt's result.
    async fn result(
        &self,
        peer: &NodeName,
        attempt: AttemptId,
        part: dto::Part,
        body: ByteStream,
    ) -> Result<dto::Received, ApiError>;
    /// Takes the log of an attempt that has ended.
    async fn shipped_log(&self, peer: &NodeName, attempt: AttemptId, body: ByteStream) -> Result<(), ApiError>;
    /// Takes a log that a user is reading.
    async fn live_log(&self, peer: &NodeName, channel: u64, body: ByteStream) -> Result<(), ApiError>;
}

/// What users upload from a repository on their own machine, and download from the repository of a project.
#[async_trait]
pub trait Repos: Send + Sync {
    /// The inbox of a project, which does not have to exist.
    async fn inbox(&self, project: ProjectName) -> Result<dto::Repo, ApiError>;
    /// Takes a part of a push; the last part returns the outcome of the whole push.
    async fn push(&self, project: ProjectName, push: dto::Push, body: ByteStream) -> Result<dto::Pushed, ApiError>;
    /// The integration branch as a bundle, without the history of the first commit of `have` that the branch contains.
    /// 403: it contains none of them and the client may not have the whole history.
    async fn branch(
        &self,
        project: ProjectName,
        branch: String,
        have: Vec<CommitId>,
        may_have_all: bool,
    ) -> Result<Download, ApiError>;
}

/// Selects commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The integration branch up to this head, without what the client has.
    History {
        /// The head.
        head: CommitId,
        /// A commit of that branch.
        have: Option<CommitId>,
    },
    /// The history of this commit, without the history of the other, which is in the branch.
    Tip {
        /// A harvested commit, the blocked side of a conflict, or a prepared merge.
        tip: CommitId,
        /// The commit that the client has.
        have: CommitId,
    },
}

/// A file to download, in parts if necessary.
#[derive(Debug, Clone)]
pub struct Download {
    /// The path.
    pub path: PathBuf,
    /// The size in bytes.
    pub size: u64,
    /// BLAKE3 of the whole file.
    pub digest: [u8; 32],
    /// Keeps the file until it is dropped.
    pub kept: Arc<dyn Any + Send + Sync>,
}
