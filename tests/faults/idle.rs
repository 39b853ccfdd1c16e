//! A node with nothing to do does nothing.

use std::{fs, thread::sleep, time::Duration};

use crate::node::{CAFE, CAFE_TASKS, Running, Site};

const WINDOW: Duration = Duration::from_secs(20);
/// Processor time in the window, in clock ticks: 0.1 s at the 100 Hz that Linux shows to everybody.
const TICKS: u64 = 10;

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
    assert_eq!((after.children_faults, after.children), (before.children_faults, 0), "it started something");
    node.terminate();
    node.finish();
}

#[derive(PartialEq, Eq)]
struct Usage {
    /// User and system time.
    ticks: u64,
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
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let children = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        let children = children.map(|children| children.split_whitespace().count()).sum();
        Self { ticks: field(14) + field(15), children_faults: field(11), children }
    }
}
