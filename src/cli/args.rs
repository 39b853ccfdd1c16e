//! The command line. Flag beats `DEVSTACK_*` beats context beats default.
//! Deliberately absent: doing anything.

mod cluster;
mod config;
mod dashboard;
mod host;
mod pins;
mod plan;

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(super) use cluster::{AuditArgs, BackupArgs, ClusterCommand, InitArgs, RestoreArgs, TokenCommand};
pub(super) use config::{ConfigCommand, ConfigFile};
pub(super) use dashboard::DashboardCommand;
pub(super) use host::HostCommand;
pub(super) use pins::PinArgs;
pub(super) use plan::{ExportArgs, ExportFormat, ImportArgs, ListFormat, PlanCommand, WatchArgs};

use crate::config::{
    node::{Sandbox, is_network},
    units,
};

/// Turn a plan into merged commits with teams of coding agents.
#[derive(Debug, Parser)]
#[command(name = "devstack", version, disable_help_subcommand = true, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// How to print data
    #[arg(short, long, global = true, value_enum, default_value = "table", env = "DEVSTACK_OUTPUT")]
    pub(super) output: Format,
    /// The node to ask: unix:///path/to/api.sock or https://HOST:PORT. Default: the context, else the nearest .devstack
    /// upwards
    #[arg(long, global = true, value_name = "URL", env = "DEVSTACK_ADDRESS")]
    pub(super) address: Option<String>,
    /// A cluster of your config.toml; `local`: the nearest .devstack. Default: the one named there
    #[arg(long, global = true, value_name = "NAME", env = "DEVSTACK_CONTEXT")]
    pub(super) context: Option<String>,
    /// The file with your token, for https
    #[arg(long, global = true, value_name = "FILE", env = "DEVSTACK_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The file with the cluster's CA, for https
    #[arg(long, global = true, value_name = "FILE", env = "DEVSTACK_CA_FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value = "auto", env = "DEVSTACK_COLOR")]
    pub(super) color: Color,
    /// On a terminal, print text from outside as it was written, escape sequences and all. What is no terminal gets it
    /// so anyway
    #[arg(long, global = true)]
    pub(super) raw: bool,
    /// No progress on stderr
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// More on stderr: once for log lines, twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Never ask; commands that would ask are refused
    #[arg(long, global = true, env = "DEVSTACK_NO_INPUT")]
    pub(super) no_input: bool,
    /// Give up after this long, for example 30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "DEVSTACK_TIMEOUT")]
    pub(super) timeout: Option<Duration>,
}

/// A name, or two with a slash between: whether there is such a thing, the node knows.
fn named(text: &str) -> Result<String, String> {
    if text.split('/').any(str::is_empty) { Err("a name is missing".to_owned()) } else { Ok(text.to_owned()) }
}

/// Was JSON asked for, on a command line that cannot be read?
pub(super) fn wants_json(words: &[String], variable: Option<&str>) -> bool {
    let is_json = |word: &str| ["json", "jsonl"].contains(&word.trim_start_matches('='));
    let pairs = words.windows(2).any(|pair| ["-o", "--output"].contains(&pair[0].as_str()) && is_json(&pair[1]));
    let joined = |word: &String| ["-o", "--output="].iter().any(|flag| word.strip_prefix(flag).is_some_and(is_json));
    pairs || words.iter().any(joined) || variable.is_some_and(is_json)
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map(Duration::from_millis)
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// One JSON object per line
    Jsonl,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Where attempts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Docker, if an engine answers
    Auto,
    /// Containers
    Docker,
    /// Processes of this machine
    Process,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the whole story on an example repository
    Quickstart {
        /// Where; an existing one is continued
        #[arg(long, default_value = "devstack-quickstart")]
        dir: PathBuf,
        /// Where attempts run
        #[arg(long, value_enum, default_value = "auto", env = "DEVSTACK_RUNTIME")]
        runtime: Runtime,
    },
    /// Run a plan to its end
    Run {
        /// The plan file
        plan: PathBuf,
        /// Wait for the end; `run` always does
        #[arg(long)]
        wait: bool,
        /// Keep waiting while a person must act
        #[arg(long)]
        wait_human: bool,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Run a node in the foreground
    Up {
        #[command(flatten)]
        host: HostArgs,
    },
    /// Check, submit, show, cancel, import and export plans
    #[command(subcommand)]
    Plan(PlanCommand),
    /// List, show, pause and resume projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Look at tasks and move them
    #[command(subcommand)]
    Task(TaskCommand),
    /// List agents
    #[command(subcommand)]
    Agent(ListCommand),
    /// List hosts, empty them, use them again, remove them
    #[command(subcommand)]
    Host(HostCommand),
    /// List merges
    #[command(subcommand)]
    Merge(MergeCommand),
    /// See it in a browser, or in a file
    #[command(subcommand)]
    Dashboard(DashboardCommand),
    /// The whole at a glance
    Status,
    /// Make a cluster of this machine and others, and look at it
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check and show a node's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Follow what happens
    #[command(subcommand)]
    Event(EventCommand),
    /// Make container images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Watch a node: what runs, what waits, and why
    Top,
    /// Check this machine, and say what to mend
    Doctor(DoctorArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of `devstack`, or write those of all commands into a directory
    Man {
        /// Where to; made if it is not there
        dir: Option<PathBuf>,
    },
    /// Print the version
    Version,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DoctorArgs {
    /// The node's configuration. Default: /etc/devstack/node.toml, where no .devstack is around
    #[arg(long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Make an image in this machine's engine; no registry is asked
    Build {
        /// A static busybox and nothing else: what runs where a role names no image
        #[arg(long, required = true)]
        minimal: bool,
        /// Also if it is there
        #[arg(long)]
        force: bool,
    },
}

/// How an embedded node runs attempts.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct HostArgs {
    /// Where attempts run
    #[arg(long, value_enum, default_value = "auto", env = "DEVSTACK_RUNTIME")]
    pub(super) runtime: Runtime,
    /// Put attempts into a sandbox (bwrap) where it works
    #[arg(long, value_parser = sandbox, default_value = "auto", env = "DEVSTACK_SANDBOX")]
    pub(super) sandbox: Sandbox,
    /// Attempts at once. Default: one per processor
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000), env = "DEVSTACK_SLOTS")]
    pub(super) slots: Option<u32>,
    /// Private IPv4 networks that agents with network = "bridge" may reach
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = network, env = "DEVSTACK_BRIDGE_REACH")]
    pub(super) bridge_reach: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// List projects
    List,
    /// Show a project
    Show {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
    /// Start no more attempts
    Pause {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
    /// Start attempts again
    Resume {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ListCommand {
    /// List them
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum MergeCommand {
    /// Show how a task was merged
    Show {
        /// `ID` or `PROJECT/ID`, or the first digits of the merge commit
        #[arg(value_parser = named)]
        merge: String,
    },
    /// List merges, oldest first
    List {
        /// Only of this project
        #[arg(long, value_parser = named)]
        project: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// Print facts as they happen; over connections that break, without a gap
    Tail {
        /// Start after this number; 0: everything kept. Default: what happens from now on
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        of: FactsOf,
    },
    /// Print the facts that are kept, a line of JSON each, and end
    Export {
        /// Only from then on: a time (2026-11-26T08:00:00Z), or how long ago (2h)
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<u64>,
        #[command(flatten)]
        of: FactsOf,
    },
}

/// Which facts.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct FactsOf {
    /// Only of this project
    #[arg(long, value_parser = named)]
    pub(super) project: Option<String>,
    /// Only of this task: `ID` or `PROJECT/ID`
    #[arg(long, value_parser = named)]
    pub(super) task: Option<String>,
    /// Only of these kinds, comma-separated: `task-moved`, `attempt-started`, …
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(super) kind: Vec<String>,
}

/// A time, or a duration before now; in milliseconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    if let Ok(ago) = units::parse_duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    serde_json::from_value::<crate::gateway::dto::Time>(text.into())
        .map(|time| time.0)
        .map_err(|_| "it must be a time as 2026-11-26T08:00:00Z, or a duration as 2h".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// List tasks
    List {
        /// Only of this project
        #[arg(long, value_parser = named)]
        project: Option<String>,
        /// Only in these statuses, comma-separated
        #[arg(long)]
        status: Option<String>,
    },
    /// Everything about a task
    Show {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// What the agent of a task's next attempt reads, to the byte
    Prompt {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// The output of an attempt
    Logs {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// Follow it to its end
        #[arg(short, long)]
        follow: bool,
        /// Which attempt. Default: the newest
        #[arg(long)]
        attempt: Option<u32>,
    },
    /// What the newest commit changes
    Diff {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// End the running attempt, uncharged
    Stop {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Try a BLOCKED task again, or one in a backoff at once
    Retry {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// A hint for the agent
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Give a task up
    Reject {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// Why
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Accept a task in REVIEW
    Approve {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Send a task in REVIEW back
    RequestChanges {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// What to change
        #[arg(short, long)]
        message: String,
    },
    /// Do a conflict or a person's task by hand
    Resolve {
        /// `ID` or `PROJECT/ID`; the blocked or the resolution task
        #[arg(value_parser = named)]
        task: String,
        #[command(flatten)]
        way: ResolveWay,
    },
    /// Wait until tasks are COMPLETED, or a person must act
    Wait {
        /// `ID` or `PROJECT/ID`; none: all of the project
        #[arg(value_parser = named)]
        tasks: Vec<String>,
        /// The project
        #[arg(long, value_parser = named)]
        project: Option<String>,
        /// Keep waiting while a person must act
        #[arg(long)]
        wait_human: bool,
    },
    /// Why a task is where it is
    Explain {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(super) struct ResolveWay {
    /// Lay it out in this new directory
    #[arg(long, value_name = "DIR")]
    pub(super) checkout: Option<PathBuf>,
    /// Hand in the commit that is checked out in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) from: Option<PathBuf>,
}

impl Command {
    /// Does it run a node, whatever runs already?
    pub(super) fn embeds(&self) -> bool {
        matches!(self, Self::Quickstart { .. } | Self::Run { .. } | Self::Up { .. })
    }

    /// Does it say itself what an interrupt means?
    pub(super) fn handles_interrupts(&self) -> bool {
        self.embeds() || matches!(self, Self::Dashboard(DashboardCommand::Open { .. }))
    }
}

/// `auto` or `off`.
fn network(text: &str) -> Result<String, String> {
    match is_network(text) {
        true => Ok(text.to_owned()),
        false => Err("it must be an IPv4 network, for example 10.1.2.0/24".to_owned()),
    }
}

fn sandbox(text: &str) -> Result<Sandbox, String> {
    match text {
        "auto" => Ok(Sandbox::Auto),
        "off" => Ok(Sandbox::Off),
        _ => Err("it must be `auto` or `off`".to_owned()),
    }
}
