//! Browser sessions and their tokens. They live in memory: after a restart of the node every user logs in again. A
//! session holds no secret: the node keeps a hash of the cookie, and each request checks whether the token is still
//! valid.
//! Deliberately absent: clocks (time is an argument, in seconds since 1970, as for tokens), randomness, and roles.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use devstack_cluster::TokenId;

use devstack_config::node::Limits;

/// The lifetime and the number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Seconds after the last request until a session ends.
    pub idle: i64,
    /// Seconds after the login until a session ends, even if it is active.
    pub absolute: i64,
    /// The maximum number of sessions of one token. At most 1,000 tokens are live, so the total is bounded.
    pub per_token: usize,
}

impl Life {
    /// Reads the limits from the configuration.
    pub fn of(limits: &Limits) -> Self {
        let seconds = |ms: u64| i64::try_from(ms.div_ceil(1000)).unwrap_or(i64::MAX);
        Self {
            idle: seconds(limits.session_idle),
            absolute: seconds(limits.session_life),
            per_token: usize::try_from(limits.sessions).unwrap_or(usize::MAX),
        }
    }
}

/// All sessions of this node.
#[derive(Debug)]
pub struct Sessions {
    life: Life,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: HashMap<Key, Session>,
    /// The number of uses so far: seconds are too coarse to order them.
    uses: u64,
}

/// Sessions by the hash of the cookie. The time of a lookup reveals nothing about the secret.
type Key = [u8; 32];

#[derive(Debug, Clone, Copy)]
struct Session {
    token: TokenId,
    begun: i64,
    seen: i64,
    /// The number of the session's last use.
    last_use: u64,
}

impl Sessions {
    /// Creates an empty table.
    pub fn new(life: Life) -> Self {
        Self { life, held: Mutex::default() }
    }

    /// Starts a session with `secret` after a login. If the token has the maximum number of sessions, its least
    /// recently used session ends.
    pub fn begin(&self, secret: &str, token: TokenId, now: i64) {
        let mut held = self.held();
        let last_use = held.next_use();
        held.all.retain(|_, session| self.life.lasts(session, now));
        let others = held.all.iter().filter(|(_, session)| session.token == token);
        let mut others: Vec<(u64, Key)> = others.map(|(key, session)| (session.last_use, *key)).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        for (_, oldest) in others.into_iter().skip(self.life.per_token.saturating_sub(1)) {
            held.all.remove(&oldest);
        }
        held.all.insert(key(secret), Session { token, begun: now, seen: now, last_use });
    }

    /// Uses a session and returns its token; `None`: there is no such session, or it has ended.
    pub fn find(&self, secret: &str, now: i64) -> Option<TokenId> {
        let (mut held, key) = (self.held(), key(secret));
        let last_use = held.next_use();
        let session = held.all.get_mut(&key)?;
        if !self.life.lasts(session, now) {
            held.all.remove(&key);
            return None;
        }
        session.seen = session.seen.max(now);
        session.last_use = last_use;
        Some(session.token)
    }

    /// Ends a session, if it exists.
    pub fn end(&self, secret: &str) {
        self.held().all.remove(&key(secret));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl Life {
    fn lasts(&self, session: &Session, now: i64) -> bool {
        now.saturating_sub(session.seen) < self.idle && now.saturating_sub(session.begun) < self.absolute
    }
}

fn key(secret: &str) -> Key {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = Life { idle: 10, absolute: 100, per_token: 2 };
    const A: TokenId = TokenId([1; 8]);
    const B: TokenId = TokenId([2; 8]);

    #[test]
    fn a_session_is_its_tokens_until_it_is_ended() {
        let sessions = Sessions::new(LIFE);
        sessions.begin("a", A, 0);
        sessions.begin("b", B, 0);
        assert_eq!((sessions.find("a", 1), sessions.find("b", 1), sessions.find("c", 1)), (Some(A), Some(B), None));
        sessions.end("a");
        sessions.end("a");
        assert_eq!((sessions.find("a", 1), sessions.find("b", 1)), (None, Some(B)));
    }

    #[test]
    fn it_ends_when_it_is_not_used_and_however_much_it_is_used() {
        let sessions = Sessions::new(LIFE);
        sessions.begin("idle", A, 0);
        assert_eq!(sessions.find("idle", 9), Some(A));
        assert_eq!(sessions.find("idle", 18), Some(A));
        assert_eq!(sessions.find("idle", 28), None);
        assert_eq!(sessions.find("idle", 18), None, "what ended does not come back with the clock");
        sessions.begin("busy", A, 0);
        assert!((1..100).all(|now| sessions.find("busy", now) == Some(A)));
        assert_eq!(sessions.find("busy", 100), None);
    }

    #[test]
    fn too_many_of_one_token_end_the_one_that_was_not_used_longest_and_nobody_elses() {
        let sessions = Sessions::new(LIFE);
        sessions.begin("b", B, 0);
        sessions.begin("a1", A, 0);
        sessions.begin("a2", A, 0);
        assert_eq!(sessions.find("a1", 0), Some(A));
        sessions.begin("a3", A, 0);
        let alive = ["b", "a1", "a2", "a3"].map(|secret| sessions.find(secret, 0).is_some());
        assert_eq!(alive, [true, true, false, true]);
        assert_eq!(sessions.held().all.len(), 3);
    }

    #[test]
    fn what_ended_is_forgotten() {
        let sessions = Sessions::new(LIFE);
        for round in 0..50 {
            sessions.begin(&format!("{round}"), TokenId([round; 8]), i64::from(round) * 10);
        }
        assert_eq!(sessions.held().all.len(), 1);
    }

    #[test]
    fn nothing_that_is_shown_is_kept() {
        let sessions = Sessions::new(LIFE);
        sessions.begin("a secret", A, 0);
        assert!(!format!("{sessions:?}").contains("a secret"));
    }
}
