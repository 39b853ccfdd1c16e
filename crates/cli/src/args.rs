//! The command line. A flag beats a `DEVSTACK_*` variable, which beats the context, which beats the default.
//! Deliberately absent: any behaviour of the commands.

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

use devstack_config::{
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

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value = "table", env = "DEVSTACK_OUTPUT")]
    pub(super) output: Format,
    /// The node's address: unix:///path/to/api.sock or https://HOST:PORT. Default: the context, else the nearest
    /// .devstack in this directory or above
    #[arg(long, global = true, value_name = "URL", env = "DEVSTACK_ADDRESS")]
    pub(super) address: Option<String>,
    /// A context of your config.toml; `local` means the nearest .devstack. Default: the one that config.toml names
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
    /// On a terminal, print text from agents unfiltered, with its escape sequences. Pipes and files always get it
    /// unfiltered
    #[arg(long, global = true)]
    pub(super) raw: bool,
    /// Print no progress on stderr
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Print more on stderr: once for log lines, twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Never ask for input; commands that would ask are refused
    #[arg(long, global = true, env = "DEVSTACK_NO_INPUT")]
    pub(super) no_input: bool,
    /// Give up after this long, for example 30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "DEVSTACK_TIMEOUT")]
    pub(super) timeout: Option<Duration>,
}

/// A name, or two names joined by a slash. Only the node can check whether the thing exists.
fn named(text: &str) -> Result<String, String> {
    if text.split('/').any(str::is_empty) { Err("a name is missing".to_owned()) } else { Ok(text.to_owned()) }
}

/// Whether a command line that cannot be parsed asks for JSON.
pub(super) fn wants_json(words: &[String], variable: Option<&str>) -> bool {
    let is_json = |word: &str| ["json", "jsonl"].contains(&word.trim_start_matches('='));
    let pairs = words.windows(2).any(|pair| ["-o", "--output"].contains(&pair[0].as_str()) && is_json(&pair[1]));
    let joined = |word: &String| ["-o", "--output="].iter().any(|flag| word.strip_prefix(flag).is_some_and(is_json));
    pairs || words.iter().any(joined) || variable.is_some_and(is_json)
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map(Duration::from_millis)
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables, for people
    Table,
    /// One JSON object
    Json,
    /// One JSON object per line
    Jsonl,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What runs attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Docker, if an engine answers
    Auto,
    /// Containers
    Docker,
    /// Processes on this machine
    Process,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Try devstack on an example repository
    Quickstart {
        /// The directory of the example; an existing example is continued
        #[arg(long, default_value = "devstack-quickstart")]
        dir: PathBuf,
        /// What runs attempts
        #[arg(long, value_enum, default_value = "auto", env = "DEVSTACK_RUNTIME")]
        runtime: Runtime,
    },
    /// Run a plan until everything is merged
    Run {
        /// The plan file
        plan: PathBuf,
        /// Accepted for symmetry with `plan submit`; `run` always waits
        #[arg(long, hide = true)]
        wait: bool,
        /// Keep waiting while tasks need a person
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
    /// List, inspect and act on tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// List agents
    #[command(subcommand)]
    Agent(ListCommand),
    /// List, drain, undrain and remove hosts
    #[command(subcommand)]
    Host(HostCommand),
    /// List merges
    #[command(subcommand)]
    Merge(MergeCommand),
    /// Open the dashboard, or export it as HTML
    #[command(subcommand)]
    Dashboard(DashboardCommand),
    /// Show tasks, hosts and what needs your attention
    Status,
    /// Create and inspect a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check and show a node's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Follow or export facts: the record of what happened
    #[command(subcommand)]
    Event(EventCommand),
    /// Build container images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Watch a node in the terminal: what runs, what waits, and why
    Top,
    /// Check this machine and suggest fixes
    Doctor(DoctorArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of `devstack`, or write the manual pages of all commands into a directory
    Man {
        /// The directory for the manual pages; created if missing
        dir: Option<PathBuf>,
    },
    /// Print the version
    Version,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DoctorArgs {
    /// The node's configuration. Default: /etc/devstack/node.toml, unless there is a .devstack in this directory or
    /// above
    #[arg(long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Build an image in this machine's engine, without a registry
    Build {
        /// A static busybox and nothing else: the image of roles that name none
        #[arg(long, required = true)]
        minimal: bool,
        /// Rebuild even if it exists
        #[arg(long)]
        force: bool,
    },
}

/// How an embedded node runs attempts.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct HostArgs {
    /// What runs attempts
    #[arg(long, value_enum, default_value = "auto", env = "DEVSTACK_RUNTIME")]
    pub(super) runtime: Runtime,
    /// Run attempts in a bubblewrap sandbox where it works (bwrap)
    #[arg(long, value_parser = sandbox, default_value = "auto", env = "DEVSTACK_SANDBOX")]
    pub(super) sandbox: Sandbox,
    /// How many attempts run at once. Default: one per processor
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
    /// Start no more attempts of a project
    Pause {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
    /// Start attempts of a project again
    Resume {
        /// The project
        #[arg(value_parser = named)]
        project: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ListCommand {
    /// List all of them
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
        /// Only merges of this project
        #[arg(long, value_parser = named)]
        project: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// Print facts as they happen, without a gap when the connection breaks
    Tail {
        /// Start after the fact with this number; 0: print all kept facts first. Default: only new facts
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        of: FactsOf,
    },
    /// Print all kept facts, each as a line of JSON, and exit
    Export {
        /// Only facts since then: a time (2026-11-26T08:00:00Z), or how long ago (2h)
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<u64>,
        #[command(flatten)]
        of: FactsOf,
    },
}

/// A filter for facts.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct FactsOf {
    /// Only facts of this project
    #[arg(long, value_parser = named)]
    pub(super) project: Option<String>,
    /// Only facts of this task: `ID` or `PROJECT/ID`
    #[arg(long, value_parser = named)]
    pub(super) task: Option<String>,
    /// Only facts of these kinds, comma-separated: `task-moved`, `attempt-started`, …
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(super) kind: Vec<String>,
}

/// Parses a time, or a duration before now, into milliseconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    if let Ok(ago) = units::parse_duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    serde_json::from_value::<devstack_api::dto::Time>(text.into())
        .map(|time| time.0)
        .map_err(|_| "it must be a time such as 2026-11-26T08:00:00Z, or a duration such as 2h".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// List tasks
    List {
        /// Only tasks of this project
        #[arg(long, value_parser = named)]
        project: Option<String>,
        /// Only tasks with these statuses, comma-separated
        #[arg(long)]
        status: Option<String>,
    },
    /// Show everything about a task
    Show {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Print the exact prompt of a task's next attempt
    Prompt {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Print the output of an attempt
    Logs {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// Follow the output until the attempt ends
        #[arg(short, long)]
        follow: bool,
        /// The number of the attempt. Default: the newest
        #[arg(long)]
        attempt: Option<u32>,
    },
    /// Show the changes of a task's newest commit
    Diff {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Stop the running attempt; it does not count against the task's attempts
    Stop {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Retry a blocked task, or skip its back-off
    Retry {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// A hint for the agent
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Reject a task permanently
    Reject {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// The reason
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Accept a task in REVIEW
    Approve {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
    /// Send a task in REVIEW back to its agent
    RequestChanges {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
        /// What to change
        #[arg(short, long)]
        message: String,
    },
    /// Resolve a conflict or complete a manual task
    Resolve {
        /// `ID` or `PROJECT/ID` of the blocked task or of its resolution task
        #[arg(value_parser = named)]
        task: String,
        #[command(flatten)]
        way: ResolveWay,
    },
    /// Wait until tasks are COMPLETED or need a person
    Wait {
        /// `ID` or `PROJECT/ID`. Default: all tasks of the project
        #[arg(value_parser = named)]
        tasks: Vec<String>,
        /// The project
        #[arg(long, value_parser = named)]
        project: Option<String>,
        /// Keep waiting while tasks need a person
        #[arg(long)]
        wait_human: bool,
    },
    /// Explain why a task has its status, and what comes next
    Explain {
        /// `ID` or `PROJECT/ID`
        #[arg(value_parser = named)]
        task: String,
    },
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(super) struct ResolveWay {
    /// Check it out into this new directory
    #[arg(long, value_name = "DIR")]
    pub(super) checkout: Option<PathBuf>,
    /// Submit the commit that is checked out in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) from: Option<PathBuf>,
}

impl Command {
    /// Whether the command can run a node in its own process.
    pub(super) fn embeds(&self) -> bool {
        matches!(self, Self::Quickstart { .. } | Self::Run { .. } | Self::Up { .. })
    }

    /// Whether the command handles interrupts itself.
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
