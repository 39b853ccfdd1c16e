//! Serves a node's API on its listeners: the unix socket, and TCP if configured. Deliberately absent: the API itself
//! (the gateway).

use tokio::{sync::watch, task::JoinHandle};

use super::{Identity, Node, wall_clock};
use devstack_config::node::NodeConfig;
use devstack_gateway::server::{Server, ServerError, TlsServer};

/// The running API.
pub struct Serving {
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Serving {
    /// Binds the configured listeners, serves them, and keeps the certificate fresh.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing is served then.
    pub async fn start(config: &NodeConfig, node: &Node, identity: Option<&Identity>) -> Result<Self, ServerError> {
        let cluster = identity.and_then(|identity| identity.cluster(config, wall_clock));
        let router = node.router(cluster, config.limits);
        let (stop, stopped) = watch::channel(false);
        if config.api_listen.is_some() && !config.roles.taskmaster {
            tracing::warn!(
                "an agent host's certificate is for clients only: TLS clients will refuse \
                 the API that `listen` of [api] opens"
            );
        }
        let tls = match (config.api_listen, identity) {
            (Some(address), Some(identity)) => Some((TlsServer::bind(address).await?, identity.credentials.clone())),
            _ => None,
        };
        let mut listeners = Vec::new();
        let socket = Server::bind(&config.socket)?;
        listeners.push(tokio::spawn(socket.serve(router.clone(), config.limits, stopped.clone())));
        if let Some((server, credentials)) = tls {
            tracing::info!(address = %server.address(), "the API listens on TCP");
            listeners.push(tokio::spawn(server.serve(router, credentials, config.limits, stopped)));
        }
        Ok(Self { stop, listeners, renewal: identity.map(Identity::keep_fresh) })
    }

    /// Accepts no more requests from now on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until open requests have ended, at most some seconds.
    pub async fn ended(self) {
        if let Some(renewal) = self.renewal {
            renewal.abort();
        }
        for listener in self.listeners {
            if let Err(error) = listener.await {
                tracing::error!(%error, "a listener of the API failed");
            }
        }
    }
}
