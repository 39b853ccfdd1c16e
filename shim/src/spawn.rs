//! Starts the agent with its own process group, the clean environment of the spec plus its secrets, the prompt as its
//! standard input (or none, where a profile passes the prompt in another way), and one pipe for both outputs (so that
//! their order is kept).
//!
//! It uses posix_spawn, not fork: posix_spawn costs the same however large the shim is, and it reports when a program
//! cannot be run.

use std::{
    ffi::{CString, NulError},
    fs::File,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use devstack_shim::{layout, spec::Spec};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::signal::{SigSet, Signal},
    unistd::{Pid, pipe2},
};

/// A running agent.
pub(crate) struct Agent {
    pub(crate) pid: Pid,
    /// Standard output and error.
    pub(crate) output: File,
}

/// Starts the agent in its workspace. The error is a sentence for users that names what is missing.
pub(crate) fn spawn(spec: &Spec, secrets: &[(String, String)]) -> Result<Agent, String> {
    let program = spec.command.first().ok_or("the command is empty")?;
    let workspace = &spec.workspace;
    std::env::set_current_dir(workspace)
        .map_err(|error| format!("cannot enter the working directory {}: {error}", workspace.display()))?;
    let path = find(program, &spec.env)?;

    let pairs = spec.env.iter().chain(secrets);
    let env: Vec<CString> = pairs
        .map(|(name, value)| CString::new(format!("{name}={value}")))
        .collect::<Result<_, NulError>>()
        .map_err(|_| "an environment variable contains a NUL byte")?;
    let args: Vec<CString> = spec
        .command
        .iter()
        .map(|arg| CString::new(arg.as_str()))
        .collect::<Result<_, NulError>>()
        .map_err(|_| "a command argument contains a NUL byte")?;

    let (read, write) =
        pipe2(OFlag::O_CLOEXEC).map_err(|error| format!("cannot make a pipe for the output: {error}"))?;
    let prompt = match &spec.tool {
        Some(tool) if !tool.prompt_on_stdin => PathBuf::from("/dev/null"),
        _ => spec.dir.join(layout::PROMPT),
    };
    let input = File::open(&prompt).map_err(|error| format!("{} cannot be read: {error}", prompt.display()))?;
    let pid = start(&path, &args, &env, &input, &write).map_err(|error| match error {
        Errno::ENOENT => format!("`{program}` cannot be run: its interpreter is missing"),
        Errno::EAGAIN => format!("`{program}` cannot be run: the limit of processes is reached"),
        other => format!("`{program}` cannot be run: {}", other.desc()),
    })?;
    Ok(Agent { pid, output: File::from(read) })
}

fn start(path: &Path, args: &[CString], env: &[CString], input: &File, output: &OwnedFd) -> Result<Pid, Errno> {
    let mut files = PosixSpawnFileActions::init()?;
    let standard: [(RawFd, RawFd); 3] = [(input.as_raw_fd(), 0), (output.as_raw_fd(), 1), (output.as_raw_fd(), 2)];
    for (from, to) in standard {
        files.add_dup2(from, to)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    // A separate group, so that `kill 0` in a script does not reach the shim; signal settings as a shell passes them
    // on.
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from_iter([Signal::SIGPIPE]))?;
    posix_spawn(path, &files, &attributes, args, env)
}

/// Finds a program like a shell does, in the agent's PATH; a name with a slash is relative to the workspace.
fn find(program: &str, env: &[(String, String)]) -> Result<PathBuf, String> {
    let usable =
        |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match path.metadata() {
            Ok(_) if usable(&path) => Ok(path),
            Ok(_) => Err(format!("`{program}` is not an executable file")),
            Err(error) => Err(format!("`{program}` cannot be run: {error}")),
        };
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let mut candidates = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(program));
    candidates
        .find(|path| usable(path))
        .ok_or_else(|| format!("`{program}` was not found in the agent's PATH ({path})"))
}
