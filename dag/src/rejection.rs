//! Why a command was refused: stable codes, what failed, and what to do next. A refused command changed nothing.
//! Deliberately absent: exit codes and HTTP statuses (the shells map [`Class`]) and lines of a plan file (the CLI
//! finds them by [`Problem::task`]).

use std::fmt;

use crate::{
    ids::{HostName, ProjectName, RoleName, TaskId, TaskRef},
    record::Status,
};

/// The family of a refusal: the CLI exits with 3, 2 or 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The named object does not exist.
    NotFound,
    /// The input is wrong in every state.
    Invalid,
    /// The input is valid, but the present state refuses it.
    State,
}

/// A refused command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such project.
    #[error("there is no project `{0}`")]
    UnknownProject(ProjectName),
    /// No such task.
    #[error("there is no task `{0}`")]
    UnknownTask(TaskRef),
    /// No such plan.
    #[error("project `{0}` has no plan {1}")]
    UnknownPlan(ProjectName, u32),
    /// A plan with at least one problem, all of them listed.
    #[error("the plan is refused: {}", Listed(.0))]
    Plan(Vec<Problem>),
    /// The merge is between intent and outcome.
    #[error("the merge of `{0}` is in flight, so it cannot be retried, changed or rejected")]
    Merging(TaskRef),
    /// `task stop` of a task without a running attempt.
    #[error("`{task}` has no running attempt: it is {status}")]
    NotRunning {
        /// The task.
        task: TaskRef,
        /// Its status.
        status: Status,
    },
    /// `task retry` of a task that is neither BLOCKED nor in a back-off.
    #[error("`{task}` cannot be retried: it is {status}, neither BLOCKED nor in a back-off")]
    NotRetryable {
        /// The task.
        task: TaskRef,
        /// Its status.
        status: Status,
    },
    /// `task retry` of a manual task.
    #[error("`{0}` cannot be retried: it is a manual task, which no agent can do")]
    NeedsPerson(TaskRef),
    /// `task retry` of a task below a rejected one.
    #[error("`{task}` cannot be retried: it depends on `{root}`, which is REJECTED")]
    DependencyRejected {
        /// The task.
        task: TaskRef,
        /// The rejected task.
        root: TaskId,
    },
    /// `task reject` of a finished task.
    #[error("`{task}` cannot be rejected: it is {status} already")]
    Finished {
        /// The task.
        task: TaskRef,
        /// Its status.
        status: Status,
    },
    /// `task approve` or `task request-changes` of a task that is not in review.
    #[error("`{task}` is not in review: it is {status}")]
    NotInReview {
        /// The task.
        task: TaskRef,
        /// Its status.
        status: Status,
    },
    /// `task resolve` of a task that needs no manual result.
    #[error("`{task}` cannot be resolved by hand: it is {status}, and neither a conflict nor a manual task")]
    NotResolvable {
        /// The task.
        task: TaskRef,
        /// Its status.
        status: Status,
    },
    /// A manual task whose dependencies are not done.
    #[error("`{task}` cannot be done yet: {missing} of its dependencies are not COMPLETED")]
    DependenciesOpen {
        /// The task.
        task: TaskRef,
        /// The number of dependencies that are not done.
        missing: u32,
    },
    /// The task moved on between the pin of a result and its submission.
    #[error("the result for `{task}` was pinned as attempt {given}, but the next attempt is {next}")]
    AttemptMoved {
        /// The task.
        task: TaskRef,
        /// The number given.
        given: u32,
        /// The number expected.
        next: u32,
    },
    /// `task resolve` without a repository.
    #[error("`{0}` takes no commit: its project has no repository")]
    NoRepository(TaskRef),
    /// No such host.
    #[error("there is no host `{0}`")]
    UnknownHost(HostName),
    /// The store cannot store the result of the command.
    #[error("{what} would take {bytes} bytes; the store takes {max}")]
    TooLarge {
        /// What would be stored.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// `host remove` of a host that is present and in use.
    #[error("host `{host}` cannot be removed: it is present and not drained and empty ({running} attempts run)")]
    HostInUse {
        /// The host.
        host: HostName,
        /// Attempts that run on the host.
        running: u32,
    },
    /// `host set` of a host that has not reported and has no pins yet.
    #[error("host `{0}` has not reported yet, so its claims are unknown")]
    HostUnheard(HostName),
    /// `host set` with more names than a record holds.
    #[error("the pins of host `{host}` would take {bytes} bytes; {limit} are allowed")]
    PinsTooLarge {
        /// The host.
        host: HostName,
        /// The size in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl Rejection {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownProject(_) => "DS0201",
            Self::UnknownTask(_) => "DS0202",
            Self::UnknownPlan(..) => "DS0203",
            Self::Plan(problems) => problems.first().map_or("DS0204", Problem::code),
            Self::Merging(_) => "DS0210",
            Self::NotRunning { .. } => "DS0211",
            Self::NotRetryable { .. } => "DS0212",
            Self::NeedsPerson(_) => "DS0213",
            Self::DependencyRejected { .. } => "DS0214",
            Self::Finished { .. } => "DS0215",
            Self::NotInReview { .. } => "DS0216",
            Self::NotResolvable { .. } => "DS0217",
            Self::DependenciesOpen { .. } => "DS0218",
            Self::AttemptMoved { .. } => "DS0219",
            Self::NoRepository(_) => "DS0220",
            Self::UnknownHost(_) => "DS0221",
            Self::HostInUse { .. } => "DS0222",
            Self::HostUnheard(_) => "DS0223",
            Self::PinsTooLarge { .. } => "DS0224",
            Self::TooLarge { .. } => "DS0225",
        }
    }

    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownProject(_) => "`devstack project list` shows the projects".into(),
            Self::UnknownTask(task) => format!("`devstack task list --project {}` shows its tasks", task.project),
            Self::UnknownPlan(project, _) => format!("`devstack project show {project}` shows its plans"),
            Self::Plan(problems) => problems.first().map_or_else(String::new, Problem::hint),
            Self::Merging(_) => "wait until the merge has landed or was lost, a few seconds".into(),
            Self::NotRunning { task, .. } => format!("`devstack task explain {task}` says what it waits for"),
            Self::NotRetryable { task, status } => match status {
                Status::Completed | Status::Rejected => "the task has ended: submit a new task with another id".into(),
                Status::Wip | Status::Testing => format!("`devstack task stop {task}` ends the attempt"),
                Status::Review => format!("`devstack task request-changes {task}` sends it back"),
                _ => format!("`devstack task explain {task}` says what it waits for"),
            },
            Self::NeedsPerson(task) => format!("`devstack task resolve {task} --checkout DIR` checks it out for you"),
            Self::DependencyRejected { task, .. } => {
                format!("submit the plan with other dependencies for `{}`, or reject it", task.id)
            }
            Self::Finished { .. } => "nothing needs to be done".into(),
            Self::NotInReview { task, .. } => format!("`devstack task explain {task}` says what moves it"),
            Self::NotResolvable { task, .. } => format!("`devstack task explain {task}` says what moves it"),
            Self::DependenciesOpen { task, .. } => format!("`devstack task explain {task}` names them"),
            Self::AttemptMoved { .. } => "submit the result again".into(),
            Self::TooLarge { .. } => "use fewer or shorter texts, names and lists".into(),
            Self::UnknownHost(_) => "`devstack host list` shows the hosts".into(),
            Self::HostInUse { host, .. } => {
                format!("`devstack host drain {host}` first, or `--force` to end its attempts")
            }
            Self::HostUnheard(_) => "start the host's node, then repeat the command".into(),
            Self::PinsTooLarge { .. } => "name fewer labels, roles, projects and secrets, or shorter ones".into(),
            Self::NoRepository(task) => format!("`devstack task approve {task}` completes a manual task"),
        }
    }

    /// The family of the refusal.
    pub fn class(&self) -> Class {
        match self {
            Self::UnknownProject(_) | Self::UnknownTask(_) | Self::UnknownPlan(..) | Self::UnknownHost(_) => {
                Class::NotFound
            }
            Self::Plan(problems) => problems.iter().map(Problem::class).min().unwrap_or(Class::Invalid),
            _ => Class::State,
        }
    }
}

/// Problems shown in one message; the rest are counted.
const PROBLEMS_SHOWN: usize = 20;

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().take(PROBLEMS_SHOWN).enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(PROBLEMS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// One reason to refuse a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A task id is used twice.
    #[error("task `{0}` is defined twice")]
    DuplicateTask(TaskId),
    /// A task depends on itself.
    #[error("task `{0}` depends on itself")]
    SelfDependency(TaskId),
    /// A dependency is named twice in one task.
    #[error("task `{task}` names the dependency `{dependency}` twice")]
    DuplicateDependency {
        /// The task.
        task: TaskId,
        /// The dependency.
        dependency: TaskId,
    },
    /// A dependency that does not exist.
    #[error("task `{task}` depends on `{dependency}`, which is neither in the plan nor in the project")]
    MissingDependency {
        /// The task.
        task: TaskId,
        /// The dependency.
        dependency: TaskId,
    },
    /// A dependency that was rejected.
    #[error("task `{task}` depends on `{dependency}`, which is REJECTED")]
    RejectedDependency {
        /// The task.
        task: TaskId,
        /// The dependency.
        dependency: TaskId,
    },
    /// A cycle, its members in order, with the first one again at the end.
    #[error("dependencies form a cycle: {}", .0.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<TaskId>),
    /// A role that the plan does not define.
    #[error("task `{task}` needs the role `{role}`, which the plan does not define")]
    UnknownRole {
        /// The task.
        task: TaskId,
        /// The role.
        role: RoleName,
    },
    /// Neither the task nor its role has a command.
    #[error("neither task `{task}` nor its role `{role}` has a command")]
    NoCommand {
        /// The task.
        task: TaskId,
        /// Its role.
        role: RoleName,
    },
    /// Zero attempts.
    #[error("task `{0}` allows no attempt")]
    NoAttempts(TaskId),
    /// A description over the limit.
    #[error("the description of task `{task}` takes {bytes} bytes; {max} are allowed")]
    TaskTooLarge {
        /// The task.
        task: TaskId,
        /// Estimated size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The id of a task that devstack made for a conflict.
    #[error("task `{0}` has the id of a resolution task that devstack made")]
    ResolutionId(TaskId),
    /// A change to a task that has started or ended.
    #[error("task `{task}` has changed in the plan, but it is {status}")]
    Changed {
        /// The task.
        task: TaskId,
        /// Its status.
        status: Status,
    },
    /// A change to a task whose resolution is being merged.
    #[error("task `{0}` has changed in the plan, but the merge of its resolution is in flight")]
    ChangedMerging(TaskId),
    /// A task of an earlier submission that is missing.
    #[error("task `{0}` of an earlier submission is missing")]
    Removed(TaskId),
    /// A role is defined twice.
    #[error("role `{0}` is defined twice")]
    DuplicateRole(RoleName),
    /// A role without slots.
    #[error("role `{0}` has a count of 0, so its tasks could never run")]
    EmptyRole(RoleName),
    /// The agents' names would be too long.
    #[error("role `{role}` is too long: its agents' names would be {bytes} bytes; {max} are allowed")]
    RoleNameTooLong {
        /// The role.
        role: RoleName,
        /// The length in bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A role that unfinished tasks need is missing.
    #[error("role `{role}` is missing, but the unfinished task `{task}` needs it")]
    RoleInUse {
        /// The role.
        role: RoleName,
        /// One of its tasks.
        task: TaskId,
    },
    /// The resolver is not a role.
    #[error("the resolver `{0}` is not a role of the plan")]
    UnknownResolver(RoleName),
    /// The resolver has no command of its own, and a resolution task has none.
    #[error("the resolver `{0}` has no command")]
    ResolverWithoutCommand(RoleName),
    /// Checks need a role to run in.
    #[error("the project has checks but the plan has no role to run them in")]
    ChecksWithoutRole,
    /// A name that ends up in facts and records of its own.
    #[error("{what} has {bytes} bytes; {max} are allowed")]
    NameTooLong {
        /// The name.
        what: String,
        /// The length in bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A description over the limit.
    #[error("the project's description takes {bytes} bytes; {max} are allowed")]
    ProjectTooLarge {
        /// Estimated size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More tasks than the engine holds.
    #[error("the plan brings the number of tasks to {tasks}; {max} are allowed")]
    TooManyTasks {
        /// The number of tasks with this plan.
        tasks: usize,
        /// The limit.
        max: usize,
    },
    /// The hub is missing.
    #[error("the project has a repository but no integration head is known")]
    NoHead,
    /// A setting that was fixed at creation has changed.
    #[error("project `{project}` already has another `{what}`, which cannot be changed")]
    ProjectFixed {
        /// The project.
        project: ProjectName,
        /// The key of `[project]`.
        what: &'static str,
    },
}

impl Problem {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateTask(_) => "DS0230",
            Self::SelfDependency(_) => "DS0231",
            Self::DuplicateDependency { .. } => "DS0232",
            Self::MissingDependency { .. } => "DS0233",
            Self::RejectedDependency { .. } => "DS0234",
            Self::Cycle(_) => "DS0235",
            Self::UnknownRole { .. } => "DS0236",
            Self::NoCommand { .. } => "DS0237",
            Self::NoAttempts(_) => "DS0238",
            Self::TaskTooLarge { .. } => "DS0239",
            Self::ResolutionId(_) => "DS0240",
            Self::Changed { .. } => "DS0241",
            Self::ChangedMerging(_) => "DS0242",
            Self::Removed(_) => "DS0243",
            Self::DuplicateRole(_) => "DS0244",
            Self::EmptyRole(_) => "DS0245",
            Self::RoleNameTooLong { .. } => "DS0246",
            Self::RoleInUse { .. } => "DS0247",
            Self::UnknownResolver(_) => "DS0248",
            Self::ChecksWithoutRole => "DS0249",
            Self::ProjectTooLarge { .. } => "DS0255",
            Self::TooManyTasks { .. } => "DS0256",
            Self::NoHead => "DS0252",
            Self::NameTooLong { .. } => "DS0257",
            Self::ProjectFixed { .. } => "DS0253",
            Self::ResolverWithoutCommand(_) => "DS0254",
        }
    }

    /// The task that the problem is about, to find its line in the plan file.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::DuplicateTask(task)
            | Self::SelfDependency(task)
            | Self::DuplicateDependency { task, .. }
            | Self::MissingDependency { task, .. }
            | Self::RejectedDependency { task, .. }
            | Self::UnknownRole { task, .. }
            | Self::NoCommand { task, .. }
            | Self::NoAttempts(task)
            | Self::TaskTooLarge { task, .. }
            | Self::ResolutionId(task)
            | Self::Changed { task, .. }
            | Self::ChangedMerging(task)
            | Self::Removed(task) => Some(task),
            Self::Cycle(members) => members.first(),
            _ => None,
        }
    }

    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            Self::DuplicateTask(_) | Self::DuplicateRole(_) => "give one of them another name".into(),
            Self::SelfDependency(_) | Self::DuplicateDependency { .. } => "remove the dependency".into(),
            Self::MissingDependency { .. } => "add the task or remove the dependency".into(),
            Self::RejectedDependency { .. } => "depend on another task, or add the work again under a new id".into(),
            Self::Cycle(_) => "remove one of these dependencies".into(),
            Self::UnknownRole { role, .. } => format!("add `[agents.{role}]` or use another role"),
            Self::NoCommand { role, .. } => format!("add `command` to the task or to `[agents.{role}]`"),
            Self::NoAttempts(_) => "set `attempts` to 1 or more".into(),
            Self::TaskTooLarge { .. } => {
                "shorten title and command, or group dependencies in intermediate tasks with `allow_empty`".into()
            }
            Self::ResolutionId(_) => "give the task another id".into(),
            Self::Changed { status, .. } => match status {
                Status::Completed | Status::Rejected => "add the change as a new task with another id".into(),
                _ => "undo the change, or reject the task and add a new one".into(),
            },
            Self::ChangedMerging(_) => "wait until the merge has landed or was lost".into(),
            Self::Removed(task) => format!("restore the task, or reject it first with `devstack task reject {task}`"),
            Self::EmptyRole(_) => "set `count` to 1 or more".into(),
            Self::RoleNameTooLong { .. } => "give the role a shorter name".into(),
            Self::NameTooLong { .. } => "use a shorter one".into(),
            Self::RoleInUse { role, .. } => format!("keep `[agents.{role}]` until its tasks have ended"),
            Self::UnknownResolver(role) => format!("add `[agents.{role}]` or remove `resolver`"),
            Self::ResolverWithoutCommand(role) => format!("add `command` to `[agents.{role}]` or remove `resolver`"),
            Self::ChecksWithoutRole => "add a role, or remove `checks`".into(),
            Self::ProjectTooLarge { .. } => "shorten checks and commands: put them into scripts".into(),
            Self::TooManyTasks { .. } => "submit fewer tasks".into(),
            Self::NoHead => "create the project's hub before its plan is submitted".into(),
            Self::ProjectFixed { what, .. } => format!("restore `{what}`, or use another project name"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::RejectedDependency { .. }
            | Self::ResolutionId(_)
            | Self::Changed { .. }
            | Self::ChangedMerging(_)
            | Self::Removed(_)
            | Self::RoleInUse { .. }
            | Self::ProjectFixed { .. } => Class::State,
            _ => Class::Invalid,
        }
    }
}
