//! A host's configuration of its containers: where they run, as which user, and their limits where a plan sets none.

use std::{path::PathBuf, time::Duration};

use devstack_shim::spec::User;
use nix::sys::resource::{Resource, getrlimit};

use crate::ProcessConfig;
use devstack_config::node::{AgentHostConfig, ContainerLog, Shard};

/// Configuration of attempts as containers.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Absolute; the engine must see the same files at the same paths.
    pub state_dir: PathBuf,
    /// The random label of this installation. Nothing without it is ever touched.
    pub installation: String,
    /// The node's name, on every shipped line of output.
    pub host: String,
    /// Where the output of containers goes, in addition to the log of each attempt.
    pub log: ContainerLog,
    /// The engine's unix socket.
    pub socket: PathBuf,
    /// The private bridges, in the order in which they are filled; at least one.
    pub shards: Vec<Shard>,
    /// Private networks that agents on a bridge may reach, `10.1.2.0/24`; none: only outside addresses.
    pub bridge_reach: Vec<String>,
    /// Whether a bridge is used although its guard is not in force.
    pub unguarded_bridge: bool,
    /// The program that sets the guard of bridges; searched in PATH if it is a plain name.
    pub nft: PathBuf,
    /// The user of agents where the node is root; otherwise agents run as the node's own user.
    pub user: User,
    /// The maximum size of a log, in bytes.
    pub log_max: u64,
    /// The largest result, in bytes.
    pub bundle_max: u64,
    /// Memory of an attempt where the plan sets none, in bytes.
    pub memory: u64,
    /// Processes and threads of an attempt where the plan sets none.
    pub pids: u32,
    /// Thousandths of a processor for an attempt where the plan sets none; `None`: all processors, by share. This
    /// limit, the processors divided by the slots, protects attempts from each other's busy loops.
    pub cpu_millis: Option<u32>,
    /// Whether an attempt gets its own processor where the plan sets none. Right where there are as many processors as
    /// slots.
    pub pin: bool,
    /// Open files of a process.
    pub files: u64,
    /// Maximum disk use of an attempt, and of its largest file, in bytes.
    pub disk_max: u64,
    /// Size of `/tmp` and of HOME in bytes, each; they count as memory.
    pub tmpfs: u64,
    /// The time that a shim may need beyond timeout and grace (preparing the workspace, the harvest) before the host
    /// ends the attempt itself.
    pub margin: Duration,
    /// Number of containers that start at once: a start costs the engine processor time.
    pub starts: usize,
    /// Deadline for calls that the engine answers from memory; after it the engine counts as lost.
    pub answer: Duration,
    /// Deadline for a start, a kill or a removal, which a process in an uninterruptible system call can delay.
    pub act: Duration,
}

impl DockerConfig {
    /// The default limits.
    pub fn new(state_dir: PathBuf, installation: String, socket: PathBuf) -> Self {
        let process = ProcessConfig::new(state_dir, installation);
        Self {
            state_dir: process.state_dir,
            installation: process.installation,
            socket,
            host: "localhost".to_owned(),
            log: ContainerLog::default(),
            shards: AgentHostConfig::default().shards,
            bridge_reach: Vec::new(),
            unguarded_bridge: false,
            nft: NFT.into(),
            user: process.user,
            log_max: process.log_max,
            bundle_max: process.bundle_max,
            // As in the contract's example: a build of a large project with its tests.
            memory: 4 << 30,
            pids: 1024,
            cpu_millis: None,
            pin: false,
            // Compilers and bundlers open thousands of files. Never more than the limit of this process: an engine with
            // the same limit could not grant more.
            files: getrlimit(Resource::RLIMIT_NOFILE).map_or(FILES, |(_, hard)| hard.min(FILES)),
            // Dependencies and build output of a large project.
            disk_max: 20 << 30,
            // A package manager's cache; within the memory limit.
            tmpfs: 1 << 30,
            margin: process.margin,
            starts: std::thread::available_parallelism().map_or(2, usize::from),
            // Generous: an overloaded host answers late.
            answer: Duration::from_secs(20),
            act: Duration::from_secs(30),
        }
    }
}

/// The program of nftables.
pub(super) const NFT: &str = "nft";
/// Open files of a process: today's soft limit in most container engines.
const FILES: u64 = 65_536;
