//! A node's API on its listeners: the unix socket, and TCP if the configuration says so.
//! Deliberately absent: what the API does (the gateway).

use tokio::{sync::watch, task::JoinHandle};

use super::{Identity, Node, wall_clock};
use crate::{
    config::node::NodeConfig,
    gateway::server::{Server, ServerError, TlsServer},
};

/// The API, being served.
pub struct Serving {
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Serving {
    /// Binds what the configuration names, serves it, and keeps the certificate fresh.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing is served then.
    pub async fn start(config: &NodeConfig, node: &Node, identity: Option<&Identity>) -> Result<Self, ServerError> {
        let cluster = identity.and_then(|identity| identity.cluster(config, wall_clock));
        let router = node.router(cluster, config.limits);
        let (stop, stopped) = watch::channel(false);
        if config.api_listen.is_some() && !config.roles.taskmaster {
            tracing::warn!(
                "an agent host's certificate is a client's: whoever checks it refuses the API that `listen` of [api] opens"
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

    /// Takes no more requests from now on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until open requests have ended, some seconds at most.
    pub async fn ended(self) {
        if let Some(renewal) = self.renewal {
            renewal.abort();
        }
        for listener in self.listeners {
            if let Err(error) = listener.await {
                tracing::error!(%error, "a listener of the API ended badly");
            }
        }
    }
}
