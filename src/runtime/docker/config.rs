//! What a host decides about its containers: where, who, and how much where a plan says nothing.

use std::{path::PathBuf, time::Duration};

use devstack_shim::spec::User;
use nix::sys::resource::{Resource, getrlimit};

use crate::{
    config::node::{AgentHostConfig, ContainerLog, Shard},
    runtime::ProcessConfig,
};

/// How to run attempts as containers.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Absolute; the engine must see the same files at the same paths.
    pub state_dir: PathBuf,
    /// The random label of this installation: nothing without it is ever touched.
    pub installation: String,
    /// The name of the node, on every line of output that is shipped.
    pub host: String,
    /// Who takes the output of containers, beside the log of each attempt.
    pub log: ContainerLog,
    /// The engine's unix socket.
    pub socket: PathBuf,
    /// The private bridges, in the order in which they are filled; at least one.
    pub shards: Vec<Shard>,
    /// Private networks that agents on a bridge may reach, `10.1.2.0/24`; none: only what lies outside.
    pub bridge_reach: Vec<String>,
    /// Is a bridge used whose guard is not in force?
    pub unguarded_bridge: bool,
    /// The program that sets the guard of bridges; looked for in PATH if it is a name.
    pub nft: PathBuf,
    /// Who agents are where the node is root; elsewhere they are the node's own user.
    pub user: User,
    /// A log is never longer, in bytes.
    pub log_max: u64,
    /// The largest result, in bytes.
    pub bundle_max: u64,
    /// Memory of an attempt where a plan says nothing, in bytes.
    pub memory: u64,
    /// Processes and threads of an attempt where a plan says nothing.
    pub pids: u32,
    /// Thousandths of a processor for an attempt where a plan says nothing; `None`: all of them, by share. What keeps one
    /// attempt's busy loops from the others is a limit: the processors divided by the slots.
    pub cpu_millis: Option<u32>,
    /// Does an attempt get a processor of its own where a plan says nothing? Right where there are as many as slots.
    pub pin: bool,
    /// Open files of a process.
    pub files: u64,
    /// What an attempt may have on disk, and the largest file of it, in bytes.
    pub disk_max: u64,
    /// Bytes of `/tmp` and of HOME, each; they count as memory.
    pub tmpfs: u64,
    /// What a shim may need beyond timeout and grace (making the workspace, the harvest) before the host ends the attempt itself.
    pub margin: Duration,
    /// Containers that are started at once: a start is processor time of the engine's.
    pub starts: usize,
    /// For what the engine answers from memory; after it the engine is taken for lost.
    pub answer: Duration,
    /// For a start, a kill or a removal: a process in an uninterruptible call of the kernel holds them up.
    pub act: Duration,
}

impl DockerConfig {
    /// The shipped limits.
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
            // Compilers and bundlers open thousands. Never more than this process may have itself: an engine that is confined
            // likewise could not grant it.
            files: getrlimit(Resource::RLIMIT_NOFILE).map_or(FILES, |(_, hard)| hard.min(FILES)),
            // Dependencies and build output of a large project.
            disk_max: 20 << 30,
            // A package manager's cache; within the memory limit.
            tmpfs: 1 << 30,
            margin: process.margin,
            starts: std::thread::available_parallelism().map_or(2, usize::from),
            // Generous: a host at its limit answers late.
            answer: Duration::from_secs(20),
            act: Duration::from_secs(30),
        }
    }
}

/// The program of nftables.
pub(super) const NFT: &str = "nft";
/// Open files of a process: the soft limit of most container engines today.
const FILES: u64 = 65_536;
