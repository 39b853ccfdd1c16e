//! Command line of `plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::named;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check a plan file and report all mistakes at once
    Check {
        /// The plan file
        plan: PathBuf,
    },
    /// Submit a plan; submit it again to update it
    Submit {
        /// The plan file
        plan: PathBuf,
        /// Wait until all tasks are COMPLETED or need a person
        #[arg(long)]
        wait: bool,
        /// Keep waiting while tasks need a person
        #[arg(long)]
        wait_human: bool,
    },
    /// Show a project's tasks as a plan
    Show {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
    /// Cancel every unfinished task of a project, or of one of its plans
    Cancel {
        /// The project
        #[arg(value_parser = named)]
        project: String,
        /// Only this plan
        #[arg(long)]
        plan: Option<u32>,
    },
    /// Turn a task list into a plan: Dev_Stack's or Task Master's tasks.json, or beads' JSON lines
    Import(ImportArgs),
    /// Write a project's tasks as a plan file, or as Dev_Stack's tasks.json
    Export(ExportArgs),
    /// Keep a Dev_Stack tasks.json and a project synchronized
    Watch(WatchArgs),
}

/// The format of a task list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Detect the format
    Auto,
    /// Dev_Stack's tasks.json
    DevStack,
    /// Task Master's tasks.json, with or without tags
    TaskMaster,
    /// beads' issues, one on each line
    #[value(alias = "jsonl")]
    Beads,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The task list; `-`: stdin
    pub(crate) file: PathBuf,
    /// The format of the list
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) format: ListFormat,
    /// The tag to import, if a Task Master list has several
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// The project's name. Default: the name in the list, else the name of the directory
    #[arg(long, conflicts_with = "into")]
    pub(crate) project: Option<String>,
    /// The project's repository: a path or a URL. Default: the repository that contains the plan file
    #[arg(long, value_name = "PATH", conflicts_with = "into")]
    pub(crate) repo: Option<String>,
    /// The role of tasks that name no role of the plan. Default: the plan's default role, or `dev` in a new plan
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// The profile of the agents of a new plan
    #[arg(long, default_value = "claude-code", conflicts_with_all = ["into", "command"])]
    pub(crate) profile: String,
    /// A shell command for the agents of a new plan, instead of a profile
    #[arg(long, conflicts_with = "into")]
    pub(crate) command: Option<String>,
    /// Add the tasks to this plan file; the rest of the file stays as it is
    #[arg(long, value_name = "PLAN", conflicts_with = "to")]
    pub(crate) into: Option<PathBuf>,
    /// Where to write the plan; `-`: stdout
    #[arg(long, value_name = "PLAN", default_value = "devstack.toml")]
    pub(crate) to: PathBuf,
    /// Submit the plan instead of writing a file
    #[arg(long, conflicts_with_all = ["to", "force"])]
    pub(crate) submit: bool,
    /// Overwrite an existing file
    #[arg(long, conflicts_with = "into")]
    pub(crate) force: bool,
    /// Also import tasks that are done, cancelled or deferred; they run again
    #[arg(long)]
    pub(crate) include_done: bool,
    /// Also import the backlog, with low priority
    #[arg(long)]
    pub(crate) backlog: bool,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A plan file
    Toml,
    /// A plan file as JSON
    Json,
    /// Dev_Stack's tasks.json, with statuses
    TasksJson,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The project
    #[arg(value_parser = named)]
    pub(crate) project: String,
    /// The format to write
    #[arg(long, value_enum, default_value = "toml")]
    pub(crate) format: ExportFormat,
    /// The file to write. Default: stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long, requires = "to")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The tasks.json
    pub(crate) file: PathBuf,
    /// The project. Default: the one in the file's `metadata`, else the node's only project
    #[arg(long, value_parser = named)]
    pub(crate) project: Option<String>,
    /// The role of new tasks that name no role of the project. Default: the project's only role
    #[arg(long)]
    pub(crate) role: Option<String>,
}
