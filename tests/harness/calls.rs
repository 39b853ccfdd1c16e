//! A program that makes the system calls which an agent must not make, and what is to come of them.
//! Include with `#[path = "../harness/calls.rs"]`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The program, made in `dir`, in need of no library. `None`, loudly: there is no C compiler.
pub(crate) fn program(dir: &Path) -> Option<PathBuf> {
    let (source, made) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/calls.c"), dir.join("calls"));
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&made).arg(source).status();
    if built.is_ok_and(|status| status.success()) {
        return Some(made);
    }
    eprintln!("SKIPPED: what becomes of forbidden system calls: no C compiler with a static C library");
    None
}

/// Everything above the line was refused as on a system that forbids it or has it not, everything below it succeeded.
pub(crate) fn judge(said: &str) {
    let (refused, allowed) = said.split_once("--\n").unwrap_or_else(|| panic!("{said}"));
    let errno = |line: &str| line.split_once(' ').and_then(|(_, errno)| errno.parse::<i32>().ok());
    assert!(refused.lines().count() == 16 && allowed.lines().count() == 6, "{said}");
    for line in refused.lines() {
        assert!(matches!(errno(line), Some(nix::libc::EPERM | nix::libc::ENOSYS)), "{line}\n{said}");
    }
    for line in allowed.lines() {
        assert_eq!(errno(line), Some(0), "{line}\n{said}");
    }
}
