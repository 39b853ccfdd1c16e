//! A node with nothing to do does nothing.

use std::{collections::BTreeMap, ffi::OsString, fs, thread::sleep, time::Duration};

use crate::node::{CAFE, CAFE_TASKS, Running, Site};

const WINDOW: Duration = Duration::from_secs(20);
/// Processor time in the window, in clock ticks: 0.1 s at the 100 Hz that Linux shows to everybody.
const TICKS: u64 = 10;
/// Times that threads of ours may wake in the window. Nothing does; a poll every two seconds would ten times.
const WAKES: u64 = 4;

#[test]
fn an_idle_node_uses_no_processor_time_and_starts_nothing() {
    let site = Site::new();
    let story = site.quickstart(None).finish();
    assert!(story.status.success(), "{story:?}");
    site.check(CAFE, &CAFE_TASKS).unwrap();
    let mut node = Running::start(site.devstack(&["up", "--runtime", "process"]), None);
    node.wait_until("it answers", |node| node.said().contains("a node answers on"));
    // The start is over when a whole second went by without work.
    let mut last = Usage::of(node.pid());
    node.wait_until("it comes to rest", |node| {
        let before = std::mem::replace(&mut last, Usage::of(node.pid()));
        sleep(Duration::from_secs(1));
        before == Usage::of(node.pid())
    });
    let before = Usage::of(node.pid());
    sleep(WINDOW);
    let after = Usage::of(node.pid());
    assert!(after.ticks - before.ticks <= TICKS, "{} ticks in {WINDOW:?}", after.ticks - before.ticks);
    let woken = after.woken_since(&before);
    assert!(woken <= WAKES, "its threads woke {woken} times in {WINDOW:?}: something polls");
    assert_eq!((after.children_faults, after.children), (before.children_faults, 0), "it started something");
    node.terminate();
    node.finish();
}

/// How the threads of sled are called.
const STORE_THREADS: [&str; 2] = ["sled-", "log flusher"];

#[derive(PartialEq, Eq)]
struct Usage {
    /// User and system time.
    ticks: u64,
    /// How often each of its threads woke from waiting, by thread; without those of the store's library, which have
    /// timers of their own.
    wakes: BTreeMap<OsString, u64>,
    /// Page faults of children that were waited for: no process lives without one.
    children_faults: u64,
    /// Children that are alive.
    children: usize,
}

impl Usage {
    fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name before may have spaces; after it the fields are numbered from 3 (proc(5)).
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let field = |number: usize| fields.split(' ').nth(number - 3).unwrap().parse::<u64>().unwrap();
        let threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().collect();
        // A thread that ends meanwhile has nothing to say.
        let read = |thread: &fs::DirEntry, file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let children = threads.iter().map(|thread| read(thread, "children").split_whitespace().count()).sum();
        let ours = |thread: &&fs::DirEntry| !STORE_THREADS.iter().any(|name| read(thread, "comm").starts_with(name));
        let wakes = |thread: &fs::DirEntry| {
            let status = read(thread, "status");
            let (_, rest) = status.split_once("\nvoluntary_ctxt_switches:")?;
            Some((thread.file_name(), rest.split_whitespace().next()?.parse().ok()?))
        };
        let wakes = threads.iter().filter(ours).filter_map(wakes).collect();
        Self { ticks: field(14) + field(15), wakes, children_faults: field(11), children }
    }

    /// How often its threads woke since then. Threads that ended meanwhile do not hide what others did.
    fn woken_since(&self, before: &Self) -> u64 {
        let since = |(thread, now): (&OsString, &u64)| now - before.wakes.get(thread).copied().unwrap_or(0).min(*now);
        self.wakes.iter().map(since).sum()
    }
}
