//! A process that a test started: killed, frozen, continued by its id, and ended with the test.
//! Deliberately absent: what it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Killed at the latest when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Its output goes to the end of this file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL, which a frozen one obeys, too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that have to do with a directory: named in environment or command line, or the working directory below it.
pub(crate) fn below(dir: &Path) -> Vec<(Pid, String)> {
    let name = dir.to_str().unwrap().as_bytes();
    let has = |file: PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(name.len()).any(|window| window == name)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let (proc, pid) = (entry.path(), entry.file_name().to_string_lossy().parse::<i32>());
        let Some(pid) = pid.ok().filter(|pid| u32::try_from(*pid) != Ok(std::process::id())) else { continue };
        let works_there = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        if works_there || has(proc.join("environ")) || has(proc.join("cmdline")) {
            let line = fs::read(proc.join("cmdline")).unwrap_or_default();
            found.push((Pid::from_raw(pid), String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Ends them all; agents outlive their node, and that is what is tested.
pub(crate) fn end_all_below(dir: &Path) {
    // What one of them forked meanwhile is found the next time.
    for _ in 0..100 {
        let left = below(dir);
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            // It ended just now.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
