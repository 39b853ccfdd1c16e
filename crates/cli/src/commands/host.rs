//! A node in this process, for `run` and `up`: it runs attempts and answers on the directory's socket.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use super::image::socket;
use crate::{
    CliError, Exit, Node, Seams, StateLock, Workdir,
    args::{HostArgs, Runtime},
    client::Client,
    exit::code,
};
use devstack_config::{
    node::{self, NodeConfig},
    problem::Problem,
};
use devstack_gateway::server::Server;
use devstack_runtime::docker;

/// A node that refuses requests because it is failing reports the failure within this time; a busy node does not.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running node, its socket and its lock.
pub(super) struct Hosted {
    /// The node.
    pub(super) node: Box<dyn Node>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    lock: StateLock,
}

impl Hosted {
    /// Starts the node of a directory; the caller holds the directory's lock.
    pub(super) async fn start(dir: &Workdir, lock: StateLock, host: &HostArgs, seams: Seams) -> Result<Self, CliError> {
        let mut config = NodeConfig::embedded(dir.path());
        config.agent_host.runtime = admit(host.runtime).await?;
        config.agent_host.docker = socket();
        config.agent_host.sandbox = host.sandbox;
        config.agent_host.slots = host.slots.unwrap_or(config.agent_host.slots);
        config.agent_host.bridge_reach = host.bridge_reach.clone();
        let limits = config.limits;
        let failed = |problem: Problem| {
            let exit = if problem.code == code::REFUSED_HERE { Exit::Refused } else { Exit::Failure };
            CliError::new(exit, problem)
        };
        let node = seams.node.start(config, true).await.map_err(failed)?;
        let server = match Server::bind(&dir.socket()) {
            Ok(server) => server,
            Err(error) => {
                node.shutdown(false).await.map_err(failed)?;
                return Err(CliError::failure(error.to_string()));
            }
        };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server.serve(node.router(), limits, stopped));
        Ok(Self { node, stop, serving, lock })
    }

    /// The shortest connection to the node.
    pub(super) fn client(&self) -> Client {
        Client::Router(self.node.router())
    }

    /// Runs `work` with the node. If the node fails meanwhile, its failure is the error: requests that were refused in
    /// between are only a symptom.
    pub(super) async fn with<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        let failed = self.node.failed();
        tokio::pin!(failed);
        let refused = tokio::select! {
            biased;
            problem = &mut failed => return Err(CliError::new(Exit::Failure, problem)),
            done = work => match done {
                Err(error) if error.exit == Exit::Unreachable => error,
                done => return done,
            },
        };
        match tokio::time::timeout(LAST_WORDS, failed).await {
            Ok(problem) => Err(CliError::new(Exit::Failure, problem)),
            Err(_) => Err(refused),
        }
    }

    /// Shuts the node down. Attempts keep running for the next node, or are stopped. Streams of readers end with the
    /// node.
    pub(super) async fn end(self, stop_attempts: bool) -> Result<(), CliError> {
        self.stop.send_replace(true);
        let ended = self.node.shutdown(stop_attempts).await;
        // The task panics or is cancelled only together with the runtime.
        let _ = self.serving.await;
        drop(self.lock);
        ended.map_err(|problem| CliError::new(Exit::Failure, problem))
    }
}

/// Chooses the runtime. `auto` means containers: only the user may choose to run agents directly on the machine.
async fn admit(runtime: Runtime) -> Result<node::Runtime, CliError> {
    if runtime == Runtime::Process {
        return Ok(node::Runtime::Process);
    }
    match docker::answers(&socket()).await {
        Ok(()) => Ok(node::Runtime::Docker),
        Err(why) => {
            let problem = Problem::new(code::NO_ENGINE, format!("no container engine can be used: {why}"));
            let hint = "start Docker, or run attempts as processes of this machine with `--runtime process`";
            Err(CliError::new(Exit::Refused, problem.hint(hint)))
        }
    }
}
