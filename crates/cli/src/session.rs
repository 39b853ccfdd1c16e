//! A command's connection to a node: the running node, else a node started in this process under the directory's lock.

use std::time::Duration;

use super::{CliError, Node, Seams, StateLock, Workdir, address::Target, client::Client};
use devstack_config::node::NodeConfig;
use devstack_gateway::server;

/// The polling interval for a lock that another command holds; commands take milliseconds.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// A node that accepts connections but does not answer within this time counts as running: it is busy.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// An open connection to a node.
pub(super) struct Session {
    /// Where requests go.
    pub(super) client: Client,
    node: Option<(Box<dyn Node>, StateLock)>,
}

/// The result of looking for a node in a state directory.
pub(super) enum Found {
    /// A node answers on its socket.
    Running(Client),
    /// No node is running, and none can start: we hold the lock.
    Free(StateLock),
}

/// Looks for the node of a directory. Waits for commands that hold the lock for a moment.
pub(super) async fn find(dir: &Workdir) -> Result<Found, CliError> {
    loop {
        let socket = dir.socket();
        if server::connect(&socket).await.is_ok() {
            // A child process of a killed node may hold its socket for a moment, so only an answer counts.
            let client = Client::Socket(socket);
            let answer = tokio::time::timeout(ANSWER_PATIENCE, client.get("/healthz")).await;
            if !matches!(answer, Ok(Err(_))) {
                return Ok(Found::Running(client));
            }
        }
        let cannot = |e: std::io::Error| CliError::failure(format!("cannot lock {}: {e}", dir.path().display()));
        if let Some(lock) = StateLock::try_acquire(dir.path()).map_err(cannot)? {
            return Ok(Found::Free(lock));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

impl Session {
    /// Opens a session with the target's node. A node started here dispatches nothing.
    pub(super) async fn open(target: &Target, seams: Seams) -> Result<Self, CliError> {
        match target {
            Target::Node(client) => Ok(Self { client: client.clone(), node: None }),
            Target::Dir(dir) => match find(dir).await? {
                Found::Running(client) => Ok(Self { client, node: None }),
                Found::Free(lock) => {
                    let started = seams.node.start(NodeConfig::embedded(dir.path()), false).await;
                    let node = started.map_err(|problem| CliError::new(super::Exit::Failure, problem))?;
                    Ok(Self { client: Client::Router(node.router()), node: Some((node, lock)) })
                }
            },
        }
    }

    /// Whether the node is in this process and only answers: no task progresses meanwhile.
    pub(super) fn is_idle(&self) -> bool {
        self.node.is_some()
    }

    /// Shuts down a node started here, then releases the lock.
    pub(super) async fn close(self) -> Result<(), CliError> {
        match self.node {
            None => Ok(()),
            Some((node, lock)) => {
                let ended = node.shutdown(false).await;
                drop(lock);
                ended.map_err(|problem| CliError::new(super::Exit::Failure, problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };

    use async_trait::async_trait;
    use axum::{Router, routing::get};

    use super::*;
    use crate::{ByHand, Embed};
    use devstack_api::dto;
    use devstack_config::{node::Limits, problem::Problem};

    /// Counts nodes; two at the same time would be a defect.
    #[derive(Default)]
    struct Nodes {
        started: AtomicUsize,
        running: Arc<AtomicBool>,
        dispatching: AtomicBool,
    }

    struct OneNode(Arc<AtomicBool>);

    #[async_trait]
    impl Embed for Nodes {
        async fn start(&self, _: NodeConfig, dispatch: bool) -> Result<Box<dyn Node>, Problem> {
            assert!(!self.running.swap(true, Ordering::SeqCst), "two nodes on one directory");
            self.started.fetch_add(1, Ordering::SeqCst);
            self.dispatching.store(dispatch, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Box::new(OneNode(self.running.clone())))
        }
    }

    #[async_trait]
    impl Node for OneNode {
        fn router(&self) -> Router {
            Router::new().route("/healthz", get(|| async { "ok" }))
        }
        async fn failed(&self) -> Problem {
            std::future::pending().await
        }
        async fn shutdown(self: Box<Self>, _: bool) -> Result<(), Problem> {
            self.0.store(false, Ordering::SeqCst);
            Ok(())
        }
    }

    struct NotByHand;

    impl ByHand for NotByHand {
        fn checkout(&self, _: &dto::Conflict, _: &Path) -> Result<bool, Problem> {
            Err(Problem::new("DS0404", "not in this test"))
        }
        fn bundle(&self, _: &dto::Conflict, _: &Path, _: &Path) -> Result<String, Problem> {
            Err(Problem::new("DS0404", "not in this test"))
        }
    }

    fn seams() -> (&'static Nodes, Seams) {
        let nodes: &'static Nodes = Box::leak(Box::default());
        (nodes, Seams { node: nodes, by_hand: &NotByHand })
    }

    #[tokio::test]
    async fn concurrent_commands_queue_on_the_lock_and_dispatch_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let workdir = Workdir::create(dir.path()).unwrap();
        let (nodes, seams) = seams();
        let command = || {
            let target = Target::Dir(workdir.clone());
            async move {
                let session = Session::open(&target, seams).await?;
                assert!(session.is_idle());
                let body = session.client.get("/healthz").await?;
                session.close().await?;
                Ok::<_, CliError>(body)
            }
        };
        let (a, b, c) = tokio::join!(command(), command(), command());
        for body in [a, b, c] {
            assert_eq!(&body.unwrap()[..], b"ok");
        }
        assert_eq!(nodes.started.load(Ordering::SeqCst), 3);
        assert!(!nodes.running.load(Ordering::SeqCst) && !nodes.dispatching.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_node_that_takes_the_lock_meanwhile_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let workdir = Workdir::create(dir.path()).unwrap();
        let (nodes, seams) = seams();
        let held = StateLock::try_acquire(workdir.path()).unwrap();
        let target = Target::Dir(workdir.clone());
        let opening = Session::open(&target, seams);
        tokio::pin!(opening);
        assert!(futures::poll!(&mut opening).is_pending());
        let server = server::Server::bind(&workdir.socket()).unwrap();
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(server.serve(
            Router::new().route("/healthz", get(|| async { "other" })),
            Limits::default(),
            stopped,
        ));
        let session = opening.await.unwrap();
        assert!(!session.is_idle());
        assert_eq!(&session.client.get("/healthz").await.unwrap()[..], b"other");
        assert_eq!(nodes.started.load(Ordering::SeqCst), 0);
        drop(held);
    }
}
