//! Keeps this process's memory to itself: values of secrets, tokens and the key of the cluster's CA are in it. No core dump,
//! wherever the machine sends them, and no debugger of the same user.
//!
//! Deliberately absent: locked pages (encrypt swap, or have none), and processes that are started: exec undoes it for them.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// Set to `1`, the process may be dumped and traced as any other: to find a fault of ours.
pub const OVERRULE: &str = "DEVSTACK_DUMPABLE";

/// To be called first in `main`. A kernel that refuses is no reason not to start: it is said.
pub fn keep_private() {
    if std::env::var_os(OVERRULE).is_some_and(|value| value == "1") {
        eprintln!("devstack: {OVERRULE}=1: core dumps of this process hold secrets");
        return;
    }
    // For what is started from here; a service's filter of system calls may refuse it, and its unit says the same.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if let Err(error) = prctl::set_dumpable(false) {
        eprintln!("devstack: this process cannot be kept from core dumps: {error}");
    }
}
