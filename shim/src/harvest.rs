//! Harvests in a child process, because the agent's repository is hostile input for a large C library. The child has a
//! limit on time and memory. Whatever happens to the child, this process writes the exit record.

use std::{
    fs::File,
    io::{self, Read},
    process::{Command, Stdio},
    time::Duration,
};

use devstack_shim::{
    layout,
    spec::{Harvested, Spec},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::resource::{Resource, getrlimit, setrlimit},
};

use crate::{clock, confine, ending, left::Left, trouble};

/// The child that collects everything.
pub(crate) const ALL: &str = "collect";
/// The child that collects only commits, after the other one failed: commits do not depend on uncommitted files.
pub(crate) const COMMITS: &str = "collect-commits";

/// Wall-clock time for a harvest: a repository of 50,000 files takes 10 s on a slow disk.
const PATIENCE: Duration = Duration::from_secs(90);
/// Wall-clock time for commits alone.
const PATIENCE_COMMITS: Duration = Duration::from_secs(30);
/// Processor time for either child.
const CPU_SECONDS: u64 = 80;
/// Address space for a child: libgit2 maps whole packs.
const ADDRESS_SPACE: u64 = 8 << 30;
/// The child's answer is one JSON object: an error message and bounded lists, with every byte escaped in the worst
/// case.
const ANSWER_MAX: u64 = 128 << 10;

/// The bundle's file, opened while the shim still has the permission.
pub(crate) fn output(spec: &Spec) -> io::Result<Option<File>> {
    let wanted = spec.git.as_ref().is_some_and(|git| git.harvest);
    wanted.then(|| confine::create(&spec.dir.join(layout::BUNDLE))).transpose()
}

/// Harvests into `bundle`. `quiet`: no process of the agent runs any more.
pub(crate) fn harvest(spec: &Spec, bundle: Option<File>, quiet: bool) -> Harvested {
    let Some(bundle) = bundle else { return Harvested::default() };
    if !quiet {
        return failed("processes of the agent could not be ended");
    }
    let bundle = match confine::still(&spec.dir.join(layout::BUNDLE), bundle) {
        Ok(bundle) => bundle,
        Err(error) => return failed(&format!("the result cannot be written: {error}")),
    };
    match take(spec, &bundle) {
        Ok(harvested) => harvested,
        Err(error) => failed(&format!("the harvest could not be run: {error}")),
    }
}

/// A failure of the machine, or caused by what the agent left running.
fn failed(why: &str) -> Harvested {
    Harvested { error: Some(why.to_owned()), failed: Some(why.to_owned()), ..Harvested::default() }
}

fn take(spec: &Spec, bundle: &File) -> io::Result<Harvested> {
    if let Some(harvested) = collect(spec, bundle, ALL, PATIENCE)? {
        return Ok(harvested);
    }
    const CRASHED: &str = "reading the workspace crashed, or exceeded the time or memory limit of a harvest";
    trouble::empty(bundle)?;
    let mut harvested = collect(spec, bundle, COMMITS, PATIENCE_COMMITS)?.unwrap_or_default();
    let what = if harvested.tip.is_some() { "only commits were taken" } else { "nothing was taken" };
    harvested.error = Some(format!("{CRASHED}: {what}"));
    let mut left = Left::default();
    left.skip(if harvested.tip.is_some() { "." } else { ".git" }, CRASHED);
    left.add_to(&mut harvested);
    Ok(harvested)
}

/// Runs one child; `None` if it gave no answer.
fn collect(spec: &Spec, bundle: &File, mode: &str, patience: Duration) -> io::Result<Option<Harvested>> {
    let mut child = Command::new("/proc/self/exe");
    child.arg(mode).arg(spec.dir.join(layout::SPEC)).env_clear();
    child.env(layout::KEY_VARIABLE, &spec.key).current_dir("/");
    child.stdin(Stdio::null()).stdout(bundle.try_clone()?).stderr(Stdio::piped());
    let mut child = child.spawn()?;
    let mut answer = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        let deadline = clock::now_ms() + patience.as_millis() as u64;
        while readable(&pipe, deadline)? && answer.len() < ANSWER_MAX as usize {
            let mut chunk = [0; 4096];
            match pipe.read(&mut chunk)? {
                0 => break,
                count => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
    ending::end_all(ending::PATIENCE);
    Ok(serde_json::from_slice(&answer).ok())
}

/// Waits for output or its end. Returns false if the time is up.
fn readable(pipe: &impl std::os::fd::AsFd, deadline: u64) -> io::Result<bool> {
    let left = deadline.saturating_sub(clock::now_ms());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The child's own limits: never above those of the agent, if it has any.
pub(crate) fn limit() -> io::Result<()> {
    for (resource, value) in [(Resource::RLIMIT_CPU, CPU_SECONDS), (Resource::RLIMIT_AS, ADDRESS_SPACE)] {
        let (_, hard) = getrlimit(resource)?;
        let value = value.min(hard);
        setrlimit(resource, value, value)?;
    }
    Ok(())
}
