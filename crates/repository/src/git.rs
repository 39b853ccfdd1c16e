//! Runs the host's `git`. The environment is cleared: no system or user configuration, no hooks, no fsmonitor, no
//! prompts, and no protocol that can run an arbitrary command. Every run has a deadline and bounded output; at the
//! deadline its whole process group is killed.
//!
//! A user's URL may need the user's credential helper or agent: `Run::with_credentials` passes `HOME`,
//! `SSH_AUTH_SOCK` and proxy settings through, only in a user's own process. A node's runs get the proxy settings
//! (`Run::with_network`) and whatever the configuration gives them ([`super::reach`]). Deliberately absent: any
//! opinion on what the output means.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{Error, worker::Workers};

/// The oldest git with `merge-tree --write-tree`.
const OLDEST: (u32, u32) = (2, 38);
/// The oldest git with `--attr-source`.
const ATTR_SOURCE: (u32, u32) = (2, 41);
/// Deadline of a local command. A command that runs longer is stuck: the largest measured merge takes well under a
/// second.
pub(crate) const LOCAL_DEADLINE: Duration = Duration::from_secs(120);
/// Deadline of a transfer: a whole history may come over a slow line.
pub(crate) const TRANSFER_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Maximum output kept of one stream, in bytes: 100,000 conflicting paths fit.
const OUTPUT_MAX: usize = 16 << 20;
/// How much of the end of an error is shown, in bytes.
const DETAIL_MAX: usize = 2_000;
/// Git's warning about a replaced setting; libgit2 reads only this one.
const NOISE: &str = "warning: core.fsyncObjectFiles is deprecated; use core.fsync instead\n";
/// The variables that a user's git needs for the user's URLs.
const CREDENTIAL_VARIABLES: [&str; 4] = ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"];
/// The variables with which this machine reaches others.
const NETWORK_VARIABLES: [&str; 8] =
    ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE"];

/// The host's git, of a known version.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    version: (u32, u32),
    workers: Arc<Workers>,
    /// Helpers that work for users who view something: they run with lower priority.
    viewers: Arc<Workers>,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code; -1 for a signal.
    pub(crate) code: i32,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// All of its standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error, lossy.
    pub(crate) stderr: String,
}

impl Git {
    /// Find git on `PATH`; refuses a git older than 2.38.
    pub fn probe() -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join("git"))
            .find(|file| file.is_file())
            .ok_or_else(|| Error::NoGit("git is not installed".into()))?;
        let git = Self { program, version: OLDEST, workers: Arc::default(), viewers: Arc::default() };
        let said = git.run("version").ok()?.stdout;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let version = parse_version(&said).ok_or_else(|| Error::NoGit(format!("`{said}` is not a version of git")))?;
        if version < OLDEST {
            return Err(Error::NoGit(format!("{said} is too old")));
        }
        Ok(Self { version, ..git })
    }

    /// Major and minor version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Helper processes for untrusted data, kept warm and shared by all clones.
    pub(super) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Helper processes for users who view something.
    pub(super) fn viewers(&self) -> &Workers {
        &self.viewers
    }

    /// The same git, with another program as its helper.
    #[must_use]
    pub fn with_worker(self, program: crate::helper::Program) -> Self {
        let workers = || Arc::new(Workers::new(program.clone()));
        Self { workers: workers(), viewers: workers(), ..self }
    }

    /// Whether attributes can be read from a commit in a bare repository.
    pub(crate) fn has_attr_source(&self) -> bool {
        self.version >= ATTR_SOURCE
    }

    /// A run of a subcommand; complete it with the methods of [`Run`].
    pub(crate) fn run(&self, subcommand: &str) -> Run {
        Run::new(&self.program, subcommand)
    }
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// One run of git, before it starts.
pub(crate) struct Run {
    program: PathBuf,
    name: String,
    global: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    stdin: Option<File>,
    stdout: Option<File>,
    deadline: Duration,
    memory_kib: Option<u64>,
    credentials: bool,
    network: bool,
}

impl Run {
    fn new(program: &Path, subcommand: &str) -> Self {
        Self {
            program: program.to_owned(),
            name: subcommand.to_owned(),
            global: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: "/".into(),
            stdin: None,
            stdout: None,
            deadline: LOCAL_DEADLINE,
            memory_kib: None,
            credentials: false,
            network: false,
        }
    }

    /// An option before the subcommand.
    pub(crate) fn global(mut self, option: impl AsRef<OsStr>) -> Self {
        self.global.push(option.as_ref().to_owned());
        self
    }

    /// A configuration value, `key=value`.
    pub(crate) fn config(self, setting: &str) -> Self {
        self.global("-c").global(setting)
    }

    /// The repository it works on.
    pub(crate) fn git_dir(mut self, dir: &Path) -> Self {
        let mut option = OsString::from("--git-dir=");
        option.push(dir);
        self.global.push(option);
        self
    }

    /// Adds arguments after the subcommand.
    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Adds a variable.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.into(), value.as_ref().to_owned()));
        self
    }

    /// The working directory; `/` by default.
    pub(crate) fn directory(mut self, dir: &Path) -> Self {
        self.directory = dir.to_owned();
        self
    }

    /// Standard input; nothing by default.
    pub(crate) fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Standard output; by default the output is collected.
    pub(crate) fn stdout(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// The deadline.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The maximum address space in KiB, for untrusted input.
    pub(crate) fn memory_kib(mut self, kib: u64) -> Self {
        self.memory_kib = Some(kib);
        self
    }

    /// Pass the user's credential helper and agent through (only for source URLs, and only in the user's own process).
    pub(crate) fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self.with_network()
    }

    /// Pass proxy settings through (only for source URLs).
    pub(crate) fn with_network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Run to the end; any exit code is a result.
    pub(crate) fn output(self) -> Result<Output, Error> {
        let name = self.name.clone();
        let deadline = self.deadline;
        let mut child = self.command().spawn().map_err(|e| Error::NoGit(format!("cannot start git: {e}")))?;
        let result = collect(&mut child, Instant::now() + deadline);
        if result.is_err() {
            end(&mut child);
        }
        let (status, stdout, stderr) = result.map_err(|detail| Error::GitBounded { command: name, detail })?;
        let stderr = String::from_utf8_lossy(&stderr).replace(NOISE, "");
        Ok(Output { code: status.code().unwrap_or(-1), signal: status.signal(), stdout, stderr })
    }

    /// Run to the end; any exit code other than 0 is an error.
    pub(crate) fn ok(self) -> Result<Output, Error> {
        let command = self.name.clone();
        let output = self.output()?;
        if output.code == 0 { Ok(output) } else { Err(output.failed(&command)) }
    }

    fn command(self) -> Command {
        let mut command = match self.memory_kib {
            None => Command::new(&self.program),
            Some(kib) => {
                let mut shell = Command::new("/bin/sh"); // the only way to set a limit before exec without unsafe code
                shell.arg("-c").arg(format!("ulimit -v {kib} && exec \"$@\"")).arg("sh").arg(&self.program);
                shell
            }
        };
        command.env_clear().current_dir(&self.directory).process_group(0);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
        command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")]);
        command.envs([("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh"), ("GIT_OPTIONAL_LOCKS", "0")]);
        if self.credentials {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
            command.envs(CREDENTIAL_VARIABLES.iter().filter_map(|v| Some((v, std::env::var_os(v)?))));
        } else {
            command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("HOME", "/nonexistent")]);
        }
        if self.network {
            command.envs(NETWORK_VARIABLES.iter().filter_map(|v| Some((v, std::env::var_os(v)?))));
        }
        command.envs(self.environment);
        for setting in
            ["core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "core.fsync=all"]
        {
            command.arg("-c").arg(setting);
        }
        command.args(self.global).arg(&self.name).args(self.arguments);
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(self.stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
        command
    }
}

impl Output {
    /// Converts this outcome to an error.
    pub(crate) fn failed(&self, command: &str) -> Error {
        let said = self.stderr.trim();
        let mut start = said.len().saturating_sub(DETAIL_MAX);
        while !said.is_char_boundary(start) {
            start += 1;
        }
        let detail = if said.is_empty() { format!("exit code {}", self.code) } else { said[start..].to_owned() };
        Error::Git { command: command.to_owned(), detail }
    }
}

/// Read both streams to their ends, then the exit status; `Err` names the limit that was reached.
fn collect(child: &mut Child, deadline: Instant) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
    let late = || "it exceeded its deadline".to_owned();
    let (mut out, Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its output is not a pipe".into());
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (out.is_some(), true);
    while out_open || err_open {
        let left = deadline.checked_duration_since(Instant::now()).ok_or_else(late)?;
        let (mut out_ready, mut err_ready) = (false, false);
        let mut fds = Vec::with_capacity(2);
        if let Some(out) = out.as_ref().filter(|_| out_open) {
            fds.push(PollFd::new(out.as_fd(), PollFlags::POLLIN));
        }
        if err_open {
            fds.push(PollFd::new(err.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for its output: {e}")),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        if out_open {
            out_ready = ready.next().unwrap_or(false);
        }
        if err_open {
            err_ready = ready.next().unwrap_or(false);
        }
        drop(fds);
        if let Some(out) = out.as_mut().filter(|_| out_ready) {
            out_open = read_some(out, &mut stdout)?;
        }
        if err_ready {
            err_open = read_some(&mut err, &mut stderr)?;
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok((status, stdout, stderr)),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(100)),
            Ok(None) => return Err(late()),
            Err(e) => return Err(format!("cannot wait for it: {e}")),
        }
    }
}

/// Read the available bytes; returns `false` at the end of the stream.
fn read_some(from: &mut impl Read, into: &mut Vec<u8>) -> Result<bool, String> {
    let mut buffer = [0; 64 << 10];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(_) if into.len() > OUTPUT_MAX => Err(format!("it wrote more than {} MiB", OUTPUT_MAX >> 20)),
        Ok(n) => {
            into.extend_from_slice(&buffer[..n]);
            Ok(true)
        }
        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(true),
        Err(e) => Err(format!("cannot read its output: {e}")),
    }
}

/// Kill the child's whole process group and reap it.
fn end(child: &mut Child) {
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL); // if it is already gone, nothing is left to do
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(parse_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(parse_version("nonsense"), None);
    }

    #[test]
    fn the_environment_of_a_run_is_ours() {
        let git = Git::probe().expect("git");
        let said = git.run("var").args(["-l"]).output().expect("runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("core.hookspath=/dev/null"), "{said}");
        assert!(!said.contains("user.name"), "no configuration of a person: {said}");
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let git = Git::probe().expect("git");
        let run = git.run("stuck").config("alias.stuck=!sleep 1000 & sleep 1000");
        let error = run.deadline(Duration::from_millis(200)).output().expect_err("ended");
        assert!(matches!(error, Error::GitBounded { .. }), "{error}");
    }
}
