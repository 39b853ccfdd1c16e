//! Command lines of plans.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::named;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PlanCommand {
    /// Check a plan file; all its mistakes at once
    Check {
        /// The plan file
        plan: PathBuf,
    },
    /// Submit a plan; submitting again brings it up to date
    Submit {
        /// The plan file
        plan: PathBuf,
        /// Wait until all tasks are COMPLETED, or a person must act
        #[arg(long)]
        wait: bool,
        /// Keep waiting while a person must act
        #[arg(long)]
        wait_human: bool,
    },
    /// Show a project's tasks as a plan
    Show {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
    /// Give up every unfinished task of a project, or of one plan of it
    Cancel {
        /// The project
        #[arg(value_parser = named)]
        project: String,
        /// Only this plan
        #[arg(long)]
        plan: Option<u32>,
    },
    /// Make a plan of Dev_Stack's or Task Master's tasks.json, or of beads' JSON lines
    Import(ImportArgs),
    /// Write a project's tasks as a plan file, or as Dev_Stack's tasks.json
    Export(ExportArgs),
    /// Keep a Dev_Stack tasks.json and a project in step
    Watch(WatchArgs),
}

/// Whose task list it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ListFormat {
    /// As it looks
    Auto,
    /// Dev_Stack's tasks.json
    DevStack,
    /// Task Master's tasks.json, by tag or without
    TaskMaster,
    /// beads' issues, one on each line
    #[value(alias = "jsonl")]
    Beads,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The task list; `-`: from stdin
    pub(in crate::cli) file: PathBuf,
    /// Whose it is
    #[arg(long, value_enum, default_value = "auto")]
    pub(in crate::cli) format: ListFormat,
    /// The tag to take, of a Task Master list that has several
    #[arg(long)]
    pub(in crate::cli) tag: Option<String>,
    /// The project's name. Default: the list's, else the directory's
    #[arg(long, conflicts_with = "into")]
    pub(in crate::cli) project: Option<String>,
    /// The project's repository, path or URL. Default: the one around the plan file
    #[arg(long, value_name = "PATH", conflicts_with = "into")]
    pub(in crate::cli) repo: Option<String>,
    /// The role of tasks that name none of the plan's. Default: the plan's own default, of a new plan `dev`
    #[arg(long)]
    pub(in crate::cli) role: Option<String>,
    /// What agents of a new plan are
    #[arg(long, default_value = "claude-code", conflicts_with_all = ["into", "command"])]
    pub(in crate::cli) profile: String,
    /// What agents of a new plan run: a shell command, instead of a profile
    #[arg(long, conflicts_with = "into")]
    pub(in crate::cli) command: Option<String>,
    /// Add the tasks to this plan file; the rest of it stays
    #[arg(long, value_name = "PLAN", conflicts_with = "to")]
    pub(in crate::cli) into: Option<PathBuf>,
    /// Where to write the plan; `-`: to stdout
    #[arg(long, value_name = "PLAN", default_value = "devstack.toml")]
    pub(in crate::cli) to: PathBuf,
    /// Submit the plan, and write no file
    #[arg(long, conflicts_with_all = ["to", "force"])]
    pub(in crate::cli) submit: bool,
    /// Write over a file that is there
    #[arg(long, conflicts_with = "into")]
    pub(in crate::cli) force: bool,
    /// Take tasks too that are done, given up or put off: they run again
    #[arg(long)]
    pub(in crate::cli) include_done: bool,
    /// Take the backlog too, with low priority
    #[arg(long)]
    pub(in crate::cli) backlog: bool,
}

/// What a project is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExportFormat {
    /// A plan file
    Toml,
    /// A plan file as JSON
    Json,
    /// Dev_Stack's tasks.json, with statuses
    TasksJson,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The project
    #[arg(value_parser = named)]
    pub(in crate::cli) project: String,
    /// As what
    #[arg(long, value_enum, default_value = "toml")]
    pub(in crate::cli) format: ExportFormat,
    /// Where to write it. Default: to stdout
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) to: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "to")]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArgs {
    /// The tasks.json
    pub(in crate::cli) file: PathBuf,
    /// The project. Default: the one in the file's `metadata`, else the only one
    #[arg(long, value_parser = named)]
    pub(in crate::cli) project: Option<String>,
    /// The role of new tasks that name none of the project's. Default: its only role
    #[arg(long)]
    pub(in crate::cli) role: Option<String>,
}
