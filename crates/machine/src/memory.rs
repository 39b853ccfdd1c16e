//! Protects this process's memory, which holds secrets, tokens and the key of the cluster's CA. No core dump is
//! written, wherever the machine would send it, and no debugger of the same user can attach.
//!
//! Deliberately absent: locked pages (encrypt the swap, or use none), and child processes: exec undoes the protection
//! for them.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// If set to `1`, the process can be dumped and traced like any other, to debug devstack itself.
pub const OVERRULE: &str = "DEVSTACK_DUMPABLE";

/// Protects the process. Call this first in `main`. If the kernel refuses, the process starts anyway and prints a
/// message.
pub fn keep_private() {
    if std::env::var_os(OVERRULE).is_some_and(|value| value == "1") {
        eprintln!("devstack: {OVERRULE}=1: core dumps of this process will contain secrets");
        return;
    }
    // For child processes. A service's system call filter may refuse this call; its unit then sets the same limit.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if let Err(error) = prctl::set_dumpable(false) {
        eprintln!("devstack: cannot disable core dumps of this process: {error}");
    }
}
