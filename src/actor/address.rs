//! A stable address of an actor that may be restarted behind it.
//! Deliberately absent: queueing. A message to an actor that is down is refused, and reconcile makes up for it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ractor::{ActorRef, Message};
use tokio::sync::oneshot;

/// The actor is not there now (it is being restarted, or the node stops), or it did not answer in time: whether
/// the request was carried out is unknown. Ask again with the same request key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} did not answer: it is being restarted or the node stops")]
pub struct Gone(pub &'static str);

/// Where to reach the present incarnation of an actor. Cloning is cheap; all clones follow a restart.
pub struct Address<M> {
    name: &'static str,
    present: Arc<RwLock<Option<ActorRef<M>>>>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { name: self.name, present: self.present.clone() }
    }
}

impl<M: Message> Address<M> {
    /// An address nobody lives at yet; `name` is for people.
    pub fn vacant(name: &'static str) -> Self {
        Self { name, present: Arc::default() }
    }

    /// From now on messages go to this incarnation.
    pub fn move_in(&self, actor: ActorRef<M>) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    /// From now on messages are refused.
    pub fn move_out(&self) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The present incarnation.
    pub fn present(&self) -> Option<ActorRef<M>> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queue a message. `Ok` means queued, not handled.
    pub fn cast(&self, message: M) -> Result<(), Gone> {
        let actor = self.present().ok_or(Gone(self.name))?;
        actor.cast(message).map_err(|_| Gone(self.name))
    }

    /// Ask and wait for the answer, at most `limit`.
    pub async fn ask<T: Send>(
        &self,
        limit: Duration,
        message: impl FnOnce(oneshot::Sender<T>) -> M,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.cast(message(reply))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Gone(self.name)),
        }
    }
}
