//! Named points at which a test can kill the process, or make an actor panic or hang:
//! `DEVSTACK_FAULT=<point>:<kill|panic|freeze>[:<nth>|:always]`. Without the variable a point costs one load.
//! Deliberately absent: any effect that a test does not ask for.

use std::{
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The points at which a fault can be injected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[$doc])* $variant,)* }

        impl Point {
            /// Every point, for tests that hit each of them.
            pub const ALL: &'static [Point] = &[$(Point::$variant,)*];

            /// The name used in `DEVSTACK_FAULT`.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// Before a group commit is written.
    JournalBeforeCommit = "journal-before-commit",
    /// After a group commit is durable, before any completion runs.
    JournalAfterCommit = "journal-after-commit",
    /// An effect is about to be carried out.
    TaskmasterBeforeEffect = "taskmaster-before-effect",
    /// The Taskmaster handles a report.
    TaskmasterReport = "taskmaster-report",
    /// The AgentHost got an order.
    AgentHostOrder = "agent-host-order",
    /// The workspace's material is ready, nothing runs yet.
    AttemptBeforeStart = "attempt-before-start",
    /// The shim runs, but nothing was reported.
    AttemptAfterStart = "attempt-after-start",
    /// The attempt ended, its report is not sent.
    AttemptBeforeReport = "attempt-before-report",
    /// The report is acknowledged, nothing is removed yet.
    AttemptBeforeForget = "attempt-before-forget",
    /// A result is about to be imported into the hub.
    DevopsBeforeImport = "devops-before-import",
    /// A result is pinned in the hub, but the Taskmaster does not know it.
    DevopsAfterPin = "devops-after-pin",
    /// A merge is prepared, but the Taskmaster does not know it.
    DevopsAfterPrepare = "devops-after-prepare",
    /// The intent is durable, the ref has not moved.
    DevopsBeforeSwap = "devops-before-swap",
    /// The ref has moved, but the Taskmaster does not know it.
    DevopsAfterSwap = "devops-after-swap",
    /// The source is about to be updated.
    DevopsBeforeDeliver = "devops-before-deliver",
    /// The source has the head, but the Taskmaster does not know it.
    DevopsAfterDeliver = "devops-after-deliver",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Panic,
    Freeze,
}

#[derive(Debug)]
struct Fault {
    name: String,
    action: Action,
    /// The occurrence at which it acts; `None` for every occurrence.
    nth: Option<u64>,
    hits: AtomicU64,
}

impl FromStr for Fault {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let name = parts.next().ok_or(())?.to_owned();
        let action = match parts.next() {
            Some("kill") => Action::Kill,
            Some("panic") => Action::Panic,
            Some("freeze") => Action::Freeze,
            _ => return Err(()),
        };
        let nth = match parts.next() {
            Some("always") => None,
            Some(nth) => Some(nth.parse().map_err(drop)?),
            None => Some(1),
        };
        Ok(Self { name, action, nth, hits: AtomicU64::new(0) })
    }
}

/// Injects the fault that the test requested for this point, if any.
///
/// # Panics
/// If `DEVSTACK_FAULT` requests it, to test an actor's supervisor.
pub fn point(point: Point) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| std::env::var("DEVSTACK_FAULT").ok()?.parse().ok());
    let Some(fault) = fault else { return };
    if fault.name != point.name() {
        return;
    }
    let hit = fault.hits.fetch_add(1, Ordering::SeqCst) + 1;
    if fault.nth.is_some_and(|nth| nth != hit) {
        return;
    }
    match fault.action {
        Action::Kill => {
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        }
        Action::Panic => panic!("injected fault at {}", point.name()),
        Action::Freeze => loop {
            std::thread::park();
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique_and_parses() {
        for (i, a) in Point::ALL.iter().enumerate() {
            assert!(Point::ALL[i + 1..].iter().all(|b| b.name() != a.name()));
            let fault: Fault = format!("{}:kill:3", a.name()).parse().expect("parses");
            assert_eq!((fault.action, fault.nth), (Action::Kill, Some(3)));
        }
        let always: Fault = "x:panic:always".parse().expect("parses");
        assert_eq!((always.action, always.nth), (Action::Panic, None));
        assert!("x:explode".parse::<Fault>().is_err());
    }
}
