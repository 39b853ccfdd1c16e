//! Ends the orphaned processes of a container that its engine forgot, because the engine died in the middle of the
//! start. They are found by their control group, which carries the container's id. Only root can do this; elsewhere the
//! shim ends them at the deadline.

use std::{fs, thread, time::Duration};

use devstack_shim::procs;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Number of checks, each after a pause: a killed process disappears within milliseconds, and the next check finds
/// processes forked meanwhile.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Ends the processes; returns the number of signals.
pub(super) fn end(container: &str) -> usize {
    if container.len() < 12 {
        return 0;
    }
    let mut sent = 0;
    for _ in 0..LOOKS {
        let living = procs::all().unwrap_or_default().into_iter().filter(|process| process.is_alive());
        let of_it = living.filter(|process| {
            fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).is_ok_and(|groups| groups.contains(container))
        });
        let found: Vec<i32> = of_it.map(|process| process.pid).collect();
        if found.is_empty() {
            break;
        }
        for pid in &found {
            sent += usize::from(kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok());
        }
        thread::sleep(PAUSE);
    }
    sent
}
