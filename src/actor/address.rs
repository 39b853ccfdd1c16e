//! A stable address of an actor that may be restarted behind it.
//! Deliberately absent: queueing. A message to an actor that is down is refused, and reconcile makes up for it; only
//! who asks waits for its successor.

use std::{sync::Arc, time::Duration};

use ractor::{ActorRef, Message};
use tokio::sync::{oneshot, watch};

/// The actor is not there now (it is being restarted, or the node stops), or it did not answer in time: whether
/// the request was carried out is unknown. Ask again with the same request key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} did not answer: it is being restarted or the node stops")]
pub struct Gone(pub &'static str);

/// Where to reach the present incarnation of an actor. Cloning is cheap; all clones follow a restart.
pub struct Address<M> {
    name: &'static str,
    home: Arc<watch::Sender<Home<M>>>,
}

enum Home<M> {
    /// Nobody lives here now; a successor may come.
    Vacant,
    Present(ActorRef<M>),
    /// Nobody will come.
    Closed,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { name: self.name, home: self.home.clone() }
    }
}

impl<M: Message> Address<M> {
    /// An address nobody lives at yet; `name` is for people.
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

    /// From now on messages are refused, and nobody waits for a successor.
    pub fn close(&self) {
        self.home.send_replace(Home::Closed);
    }

    /// The present incarnation.
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

    /// Ask and wait for the answer, at most `limit`. An actor that is being restarted is waited for; one that fails
    /// with the request in its hands has [`Gone`].
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

    /// The present incarnation, or the next.
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
