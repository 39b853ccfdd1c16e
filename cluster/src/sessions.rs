//! The session of each node: at most one. A newer session replaces the older one at once. A process that was replaced
//! by a newer incarnation of its node is fenced. When two nodes dial each other at the same time, one of the two dials
//! wins. Deliberately absent: streams, and how a session ends.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use crate::{
    NodeName,
    session::{Incarnation, Peer, Session},
    sync::lock,
};

/// Number of replaced incarnations of a node that are remembered. Each was a live process with the node's certificate;
/// a restart leaves far fewer than eight.
const FENCED: usize = 8;

/// Why a session cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("it has this node's own name")]
    Myself,
    #[error("a newer process of node {0} is connected; only one may run")]
    Fenced(NodeName),
    #[error("a session with {0} exists or is being set up")]
    Busy(NodeName),
}

#[derive(Default)]
struct State {
    current: HashMap<NodeName, Arc<Peer>>,
    dialing: HashSet<NodeName>,
    fenced: HashMap<NodeName, VecDeque<Incarnation>>,
}

/// The sessions of a link.
pub(crate) struct Sessions {
    me: NodeName,
    state: Mutex<State>,
    /// Changes whenever a session is gone.
    gone: watch::Sender<u64>,
}

/// A dial in progress; dropping it ends it.
pub(crate) struct Dialing<'a> {
    sessions: &'a Sessions,
    name: NodeName,
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        lock(&self.sessions.state).dialing.remove(&self.name);
        self.sessions.gone.send_modify(|times| *times += 1);
    }
}

impl Sessions {
    pub(crate) fn new(me: NodeName) -> Self {
        Self { me, state: Mutex::new(State::default()), gone: watch::Sender::new(0) }
    }

    /// The session with a node.
    pub(crate) fn with(&self, name: &NodeName) -> Option<Arc<Peer>> {
        lock(&self.state).current.get(name).cloned()
    }

    /// All sessions.
    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        lock(&self.state).current.values().cloned().collect()
    }

    /// Begins to dial a node, unless a session or a dial with it exists.
    pub(crate) fn dial(&self, name: &NodeName) -> Result<Dialing<'_>, ClaimError> {
        if *name == self.me {
            return Err(ClaimError::Myself);
        }
        let mut state = lock(&self.state);
        if state.current.contains_key(name) || !state.dialing.insert(name.clone()) {
            return Err(ClaimError::Busy(name.clone()));
        }
        Ok(Dialing { sessions: self, name: name.clone() })
    }

    /// Registers a dialed session.
    pub(crate) fn dialed(&self, peer: &Arc<Peer>) -> Result<(), ClaimError> {
        let Session { peer: name, incarnation, .. } = &peer.session;
        let mut state = lock(&self.state);
        state.check(name, *incarnation)?;
        if state.current.contains_key(name) {
            return Err(ClaimError::Busy(name.clone()));
        }
        state.current.insert(name.clone(), peer.clone());
        Ok(())
    }

    /// Decides whether an accepted session of this node may continue. Ends the session that it replaces and waits until
    /// that is gone.
    pub(crate) async fn admit(&self, name: &NodeName, incarnation: Incarnation) -> Result<(), ClaimError> {
        let mut gone = self.gone.subscribe();
        loop {
            gone.mark_unchanged();
            if !self.replace(name, incarnation)? {
                return Ok(());
            }
            // The sender lives as long as `self`.
            let _ = gone.changed().await;
        }
    }

    /// Returns true while an older session exists.
    fn replace(&self, name: &NodeName, incarnation: Incarnation) -> Result<bool, ClaimError> {
        if *name == self.me {
            return Err(ClaimError::Myself);
        }
        let mut state = lock(&self.state);
        state.check(name, incarnation)?;
        // Both nodes dial: the dial of the node whose name sorts last wins.
        if state.dialing.contains(name) && self.me > *name {
            return Err(ClaimError::Busy(name.clone()));
        }
        let Some(older) = state.current.get(name).cloned() else { return Ok(false) };
        if older.session.incarnation != incarnation {
            let fenced = state.fenced.entry(name.clone()).or_default();
            fenced.push_back(older.session.incarnation);
            if fenced.len() > FENCED {
                fenced.pop_front();
            }
        }
        older.end.ask("a newer session of that node replaces it");
        Ok(true)
    }

    /// Registers an accepted session, after [`Self::admit`].
    pub(crate) fn accepted(&self, peer: &Arc<Peer>) -> Result<(), ClaimError> {
        let name = &peer.session.peer;
        let mut state = lock(&self.state);
        if state.current.contains_key(name) {
            return Err(ClaimError::Busy(name.clone()));
        }
        state.current.insert(name.clone(), peer.clone());
        Ok(())
    }

    /// The session is gone, also from ractor.
    pub(crate) fn remove(&self, peer: &Peer) {
        let mut state = lock(&self.state);
        if state.current.get(&peer.session.peer).is_some_and(|current| current.session.id == peer.session.id) {
            state.current.remove(&peer.session.peer);
        }
        drop(state);
        self.gone.send_modify(|times| *times += 1);
    }

    /// Waits until there is neither a session with this node nor a dial of it.
    pub(crate) async fn wait_gone(&self, name: &NodeName) {
        let mut gone = self.gone.subscribe();
        loop {
            gone.mark_unchanged();
            {
                let state = lock(&self.state);
                if !state.current.contains_key(name) && !state.dialing.contains(name) {
                    return;
                }
            }
            // The sender lives as long as `self`.
            let _ = gone.changed().await;
        }
    }
}

impl State {
    fn check(&self, name: &NodeName, incarnation: Incarnation) -> Result<(), ClaimError> {
        let fenced = self.fenced.get(name).is_some_and(|fenced| fenced.contains(&incarnation));
        if fenced { Err(ClaimError::Fenced(name.clone())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Message, Receiver, Reply, SessionId, frame::Key, hello::Hello};

    struct Deaf;

    impl Receiver for Deaf {
        fn connected(&self, _: &Session) {}
        fn disconnected(&self, _: &Session, _: &str) {}
        fn received(&self, _: &Session, _: Message) {}
        fn called(&self, _: &Session, _: Message, _: Reply) {}
    }

    fn node(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn peer(name: &str, incarnation: u64, id: u64) -> Arc<Peer> {
        let (key, incarnation) = (Key([0; 16]), Incarnation(incarnation));
        let (address, about): (std::net::SocketAddr, Arc<[u8]>) = (([127, 0, 0, 1], 1).into(), [].into());
        let session = Session { peer: node(name), incarnation, id: SessionId(id), address, about: about.clone() };
        let hello = Hello { incarnation, key, frames: 1, bytes: 1, about };
        Arc::new(Peer::new(session, key, &hello, &Limits::default(), Arc::new(Deaf)))
    }

    #[tokio::test]
    async fn a_newer_run_replaces_and_fences_the_older() {
        let sessions = Sessions::new(node("a"));
        let (old, new) = (peer("b", 1, 1), peer("b", 2, 2));
        sessions.admit(&node("b"), Incarnation(1)).await.unwrap();
        sessions.accepted(&old).unwrap();
        let (name, again) = (node("b"), Incarnation(1));
        let ((), admitted) = tokio::join!(
            async {
                old.end.wait().await;
                sessions.remove(&old);
            },
            sessions.admit(&name, Incarnation(2)),
        );
        admitted.unwrap();
        sessions.accepted(&new).unwrap();
        assert_eq!(sessions.admit(&name, again).await, Err(ClaimError::Fenced(name.clone())));
        assert!(new.end.asked().is_none());
        sessions.remove(&old);
        assert!(sessions.with(&name).is_some(), "what is gone already takes nothing with it");
    }

    #[tokio::test]
    async fn one_of_two_crossing_dials_goes_on() {
        let (a, b) = (Sessions::new(node("a")), Sessions::new(node("b")));
        let dials = (a.dial(&node("b")).unwrap(), b.dial(&node("a")).unwrap());
        assert_eq!(a.admit(&node("b"), Incarnation(1)).await, Ok(()));
        assert_eq!(b.admit(&node("a"), Incarnation(1)).await, Err(ClaimError::Busy(node("a"))));
        drop(dials);
        assert_eq!(b.admit(&node("a"), Incarnation(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn nobody_is_dialed_twice_nor_oneself() {
        let sessions = Sessions::new(node("a"));
        assert_eq!(sessions.dial(&node("a")).err(), Some(ClaimError::Myself));
        let dial = sessions.dial(&node("b")).unwrap();
        assert_eq!(sessions.dial(&node("b")).err(), Some(ClaimError::Busy(node("b"))));
        sessions.dialed(&peer("b", 1, 1)).unwrap();
        drop(dial);
        assert_eq!(sessions.dial(&node("b")).err(), Some(ClaimError::Busy(node("b"))));
    }
}
