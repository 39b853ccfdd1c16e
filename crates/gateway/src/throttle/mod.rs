//! Limits per caller: requests, changes, streams. The limits are far above normal use; they stop one faulty caller from
//! blocking the node for the others. Agent hosts have a limit of their own, counted by their name.
//! Deliberately absent: connections (`server::seats`), sizes of bodies, and the load of agent hosts' work (the engine,
//! and `downlink`).

mod bucket;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bucket::{Bucket, Buckets, Rate};

use devstack_config::node::Limits;

/// The maximum number of callers counted separately: all tokens, and strangers besides. About a megabyte.
const CALLERS: usize = 4096;
/// The burst, in seconds of the average rate.
const BURST_SECONDS: u64 = 10;
/// The limit on refusals of strangers in the audit log: a flood of them must not displace important lines.
const REFUSALS: Rate = Rate { per_second: 1, burst: 100 };

/// The key of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// This process, or a user of the socket.
    Local(Option<u32>),
    /// A token, by name.
    Token(Arc<str>),
    /// A member of the cluster, by the name in its certificate.
    Node(Arc<str>),
    /// An unauthenticated client, by address.
    Stranger(Option<std::net::IpAddr>),
}

/// The counters of a node.
#[derive(Debug)]
pub(super) struct Throttle {
    start: Instant,
    streams: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    requests: Buckets<Who>,
    changes: Buckets<Who>,
    /// Of agent hosts, by name.
    members: Buckets<Box<str>>,
    /// The number of open streams; callers without streams are absent.
    streams: HashMap<Who, u64>,
    /// Callers with an upload that is being spooled to a file.
    spools: HashSet<Who>,
    refusals: Bucket,
    /// The number of refusals left out of the log since the last logged refusal.
    left_out: u64,
}

impl Throttle {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let rate = |per_second: u64| Rate { per_second, burst: per_second.saturating_mul(BURST_SECONDS) };
        let counts = Counts {
            requests: Buckets::new(rate(limits.requests), CALLERS),
            changes: Buckets::new(rate(limits.changes), CALLERS),
            members: Buckets::new(rate(limits.member_requests), CALLERS),
            streams: HashMap::new(),
            spools: HashSet::new(),
            refusals: Bucket::full(REFUSALS, 0),
            left_out: 0,
        };
        Arc::new(Self { start: Instant::now(), streams: limits.streams, counts: Mutex::new(counts) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a caller is within its limits. `Err`: when to try again.
    pub(super) fn admit(&self, who: &Who, is_change: bool) -> Result<(), Duration> {
        let now = self.now();
        let mut counts = self.counts();
        let taken = counts.requests.take(who, now);
        let taken = taken.and_then(|()| if is_change { counts.changes.take(who, now) } else { Ok(()) });
        taken.map_err(Duration::from_millis)
    }

    /// Whether an agent host is within its limit. `Err`: when to try again.
    pub(super) fn admit_member(&self, name: &str) -> Result<(), Duration> {
        let now = self.now();
        self.counts().members.take(&name.into(), now).map_err(Duration::from_millis)
    }

    /// Opens a stream, if the caller is within its limit.
    pub(super) fn stream(self: &Arc<Self>, who: &Who) -> Option<OpenStream> {
        let mut counts = self.counts();
        let open = counts.streams.entry(who.clone()).or_default();
        if *open >= self.streams {
            return None;
        }
        *open += 1;
        Some(OpenStream { throttle: self.clone(), who: who.clone() })
    }

    /// Starts the one upload to a file that a caller can have at a time.
    pub(super) fn spool(self: &Arc<Self>, who: &Who) -> Option<OpenSpool> {
        let is_first = self.counts().spools.insert(who.clone());
        is_first.then(|| OpenSpool { throttle: self.clone(), who: who.clone() })
    }

    /// Whether the refusal of a stranger is logged. `Some`: the number of refusals left out since the last logged one.
    pub(super) fn refusal(&self) -> Option<u64> {
        let now = self.now();
        let mut counts = self.counts();
        if counts.refusals.take(REFUSALS, now).is_err() {
            counts.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut counts.left_out))
    }
}

/// An open stream, counted until it is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    throttle: Arc<Throttle>,
    who: Who,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.throttle.counts();
        if let Some(open) = counts.streams.get_mut(&self.who) {
            *open -= 1;
            if *open == 0 {
                counts.streams.remove(&self.who);
            }
        }
    }
}

/// An upload; the caller can have no other until it is dropped.
#[derive(Debug)]
pub(super) struct OpenSpool {
    throttle: Arc<Throttle>,
    who: Who,
}

impl Drop for OpenSpool {
    fn drop(&mut self) {
        self.throttle.counts().spools.remove(&self.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_by_caller_and_given_back() {
        let throttle = Throttle::new(&Limits { streams: 2, ..Limits::default() });
        let (one, other) = (Who::Local(Some(1)), Who::Token("ci".into()));
        let open = [throttle.stream(&one), throttle.stream(&one)];
        assert!(open.iter().all(Option::is_some));
        assert!(throttle.stream(&one).is_none());
        assert!(throttle.stream(&other).is_some());
        drop(open);
        assert!(throttle.stream(&one).is_some());
        assert!(throttle.counts().streams.is_empty());
    }

    #[test]
    fn a_caller_has_one_upload_at_once() {
        let throttle = Throttle::new(&Limits::default());
        let (one, other) = (Who::Token("a".into()), Who::Token("b".into()));
        let open = throttle.spool(&one);
        assert!(open.is_some() && throttle.spool(&one).is_none() && throttle.spool(&other).is_some());
        drop(open);
        assert!(throttle.spool(&one).is_some());
    }

    #[test]
    fn changes_are_requests_too() {
        let throttle = Throttle::new(&Limits { requests: 1, changes: 1, ..Limits::default() });
        let who = Who::Stranger(None);
        let admitted = (0..100).filter(|_| throttle.admit(&who, true).is_ok()).count();
        assert!((10..=11).contains(&admitted), "{admitted}");
        let wait = throttle.admit(&who, false).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && !wait.is_zero());
        assert!(throttle.admit(&Who::Token("ci".into()), true).is_ok());
    }

    #[test]
    fn one_agent_host_does_not_use_up_what_another_may_ask() {
        let throttle = Throttle::new(&Limits { member_requests: 2, ..Limits::default() });
        let admitted = (0..100).filter(|_| throttle.admit_member("evil").is_ok()).count();
        assert!((20..=21).contains(&admitted), "{admitted}");
        assert!(throttle.admit_member("honest").is_ok());
    }

    #[test]
    fn a_flood_of_strangers_gets_few_lines() {
        let throttle = Throttle::new(&Limits::default());
        let written = (0..1000).filter(|_| throttle.refusal().is_some()).count();
        assert!((100..=110).contains(&written), "{written}");
        assert!(throttle.counts().left_out >= 890);
    }
}
