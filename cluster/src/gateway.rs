//! The ONE remotable actor of a process. ractor does not tell a receiving actor who the sender is. Each frame therefore
//! carries the key that this process issued for its session, and the gateway finds the session by that key. All links
//! of a process share the gateway. Deliberately absent: answers of its own, and frames of the link itself (see `gate`).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus,
    message::{BoxedDowncastErr, SerializedMessage},
};

use crate::{
    error::LinkError,
    frame::{self, HEADER, Key},
    session::Peer,
    sync::lock,
};

/// Crosses hosts: a complete frame.
#[derive(Debug)]
pub(crate) struct GatewayMessage(pub(crate) Vec<u8>);

impl ractor::Message for GatewayMessage {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        Ok(SerializedMessage::Cast { variant: String::new(), args: self.0, metadata: None })
    }

    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Cast { args, .. } => Ok(Self(args)),
            SerializedMessage::Call { .. } | SerializedMessage::CallReply(..) => Err(BoxedDowncastErr),
        }
    }
}

/// The sessions by their keys.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    sessions: Mutex<HashMap<Key, Arc<Peer>>>,
    unknown: AtomicU64,
}

impl Routes {
    pub(crate) fn add(&self, peer: &Arc<Peer>) {
        lock(&self.sessions).insert(peer.key, peer.clone());
    }

    pub(crate) fn remove(&self, key: Key) {
        lock(&self.sessions).remove(&key);
    }

    /// Frames dropped because their session had ended.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

struct Door;

impl Actor for Door {
    type Msg = GatewayMessage;
    type State = Arc<Routes>;
    type Arguments = Arc<Routes>;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, routes: Arc<Routes>) -> Result<Self::State, ActorProcessingErr> {
        Ok(routes)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        GatewayMessage(mut bytes): Self::Msg,
        routes: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // The gate passes only complete frames.
        let Ok((header, _)) = frame::decode(&bytes) else { return Ok(()) };
        let peer = lock(&routes.sessions).get(&header.key).cloned();
        match peer {
            Some(peer) => peer.received(header, bytes.split_off(HEADER)),
            None => {
                routes.unknown.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// An actor that was told to stop stops within this time: it waits for nothing, but a handler may be running.
const LET_GO: Duration = Duration::from_secs(5);

/// The running gateway; it stops with the last link of the process.
#[derive(Debug)]
pub(crate) struct Gateway {
    actor: ActorCell,
    pub(crate) routes: Arc<Routes>,
}

/// The gateway and its actor, which lives a moment longer.
type Running = Option<(Weak<Gateway>, ActorCell)>;

static RUNNING: tokio::sync::Mutex<Running> = tokio::sync::Mutex::const_new(None);

impl Gateway {
    /// The gateway of this process; starts it if needed.
    pub(crate) async fn of_process() -> Result<Arc<Self>, LinkError> {
        let mut running = RUNNING.lock().await;
        if let Some((gateway, actor)) = &*running {
            // It may have ended with the runtime on which it was started.
            if let Some(gateway) = gateway.upgrade()
                && actor.get_status() < ActorStatus::Draining
            {
                return Ok(gateway);
            }
            // If two ran at once, both would be advertised, and every peer would refuse this node.
            let gone = actor.wait(Some(LET_GO)).await;
            gone.map_err(|_| LinkError::Actors("the previous gateway does not stop".to_owned()))?;
        }
        let routes = Arc::new(Routes::default());
        let (actor, _) =
            Actor::spawn(None, Door, routes.clone()).await.map_err(|error| LinkError::Actors(error.to_string()))?;
        let actor = actor.get_cell();
        let gateway = Arc::new(Self { actor: actor.clone(), routes });
        *running = Some((Arc::downgrade(&gateway), actor));
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.actor.stop(None);
    }
}
