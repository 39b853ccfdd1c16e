//! A stable address for an actor that may be restarted behind it. Deliberately absent: queueing. A message to an actor
//! that is down is refused, and reconciling repeats it later; only a call waits for the actor's successor.

use std::{sync::Arc, time::Duration};

use ractor::{ActorRef, Message};
use tokio::sync::{oneshot, watch};

/// The actor is absent now (it is being restarted, or the node stops), or it did not answer in time: the outcome of the
/// request is unknown. Ask again with the same request key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} did not answer: it is being restarted or the node stops")]
pub struct Gone(pub &'static str);

/// The address of an actor's current incarnation. Cloning is cheap; all clones follow a restart.
pub struct Address<M> {
    name: &'static str,
    home: Arc<watch::Sender<Home<M>>>,
}

enum Home<M> {
    /// No actor now; a successor may come.
    Vacant,
    Present(ActorRef<M>),
    /// No actor will come.
    Closed,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { name: self.name, home: self.home.clone() }
    }
}

impl<M: Message> Address<M> {
    /// An address without an actor; `name` is for display.
    pub fn vacant(name: &'static str) -> Self {
        Self { name, home: Arc::new(watch::Sender::new(Home::Vacant)) }
    }

    /// From now on messages go to this incarnation.
    pub fn move_in(&self, actor: ActorRef<M>) {
        self.home.send_replace(Home::Present(actor));
    }

    /// From now on messages are refused; a successor may come.
    pub fn move_out(&self) {
        self.home.send_replace(Home::Vacant);
    }

    /// From now on messages are refused, and callers do not wait for a successor.
    pub fn close(&self) {
        self.home.send_replace(Home::Closed);
    }

    /// The current incarnation.
    pub fn present(&self) -> Option<ActorRef<M>> {
        match &*self.home.borrow() {
            Home::Present(actor) => Some(actor.clone()),
            Home::Vacant | Home::Closed => None,
        }
    }

    /// Queue a message. `Ok` means queued, not handled.
    pub fn cast(&self, message: M) -> Result<(), Gone> {
        let actor = self.present().ok_or(Gone(self.name))?;
        actor.cast(message).map_err(|_| Gone(self.name))
    }

    /// Sends a request and waits for the answer, at most `limit`. If the actor is being restarted, waits for it; if the
    /// actor fails while it handles the request, returns [`Gone`].
    pub async fn ask<T: Send>(
        &self,
        limit: Duration,
        message: impl FnOnce(oneshot::Sender<T>) -> M,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.tenant().await?.cast(message(reply)).map_err(|_| Gone(self.name))?;
            answer.await.map_err(|_| Gone(self.name))
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(Gone(self.name)))
    }

    /// The current incarnation, or the next.
    async fn tenant(&self) -> Result<ActorRef<M>, Gone> {
        let mut home = self.home.subscribe();
        // The sender lives as long as `self`.
        let found = home.wait_for(|home| !matches!(home, Home::Vacant)).await;
        match found.as_deref() {
            Ok(Home::Present(actor)) => Ok(actor.clone()),
            Ok(Home::Vacant | Home::Closed) | Err(_) => Err(Gone(self.name)),
        }
    }
}
