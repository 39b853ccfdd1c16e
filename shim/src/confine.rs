//! Confines the shim itself: its claim on the attempt, the sandbox that it enters, the privileges that it drops.
//! Deliberately absent: any decision about these. The spec contains them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::fd::RawFd,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use devstack_shim::{
    confinement::Measured,
    layout, procs,
    spec::{Rlimits, Spec, wrapper_file},
};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
    },
    unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid, setsid},
};
use rustix::thread::{CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities};

/// Claims the attempt: the pid link is created exclusively, so an attempt runs at most once, whenever a node dies. The
/// link identifies the process across restarts: `pid start-time boot-id`. Returns false if the attempt is already
/// claimed.
pub(crate) fn claim(spec: &Spec) -> io::Result<bool> {
    let this = procs::this().ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    // A link is created together with its content: nobody can read half a claim.
    match symlink(format!("{} {} {}", this.pid, this.started, spec.boot_id), spec.dir.join(layout::PID)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    }
    // A separate session: no terminal, and no signal that is meant for the node's group. This fails only for a group
    // leader.
    let _ = setsid();
    Ok(true)
}

/// Enters the spec's control groups, before any process exists that must be limited.
pub(crate) fn enter_groups(spec: &Spec) -> io::Result<()> {
    spec.cgroups.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
}

/// Becomes the sandbox, which runs this program again as `mode`. Returns only on failure.
pub(crate) fn wrap(spec: &Spec, mode: &str, path: &Path) -> io::Error {
    let [program, args @ ..] = spec.wrapper.as_slice() else {
        return io::Error::other("the wrapper is empty");
    };
    let (files, this) = match (open_wrapper_files(spec), std::env::current_exe()) {
        (Ok(files), Ok(this)) => (files, this),
        (Err(error), _) | (_, Err(error)) => return error,
    };
    let place = |arg: &String| {
        let file = files.iter().find(|(word, _)| word == arg);
        file.map_or_else(|| arg.clone(), |(_, descriptor)| descriptor.to_string())
    };
    Command::new(program).args(args.iter().map(place)).arg(this).arg(mode).arg(path).exec()
}

/// Opens the files that the wrapper inherits: the placeholder of each, and its descriptor.
fn open_wrapper_files(spec: &Spec) -> io::Result<Vec<(String, RawFd)>> {
    let open = |(index, path): (usize, &PathBuf)| {
        let file =
            File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        // Unlike the first descriptor, this one is not closed at exec: nothing here closes it. Its number is above
        // those that a program has at its start.
        Ok((wrapper_file(index), fcntl(&file, FcntlArg::F_DUPFD(3))?))
    };
    spec.wrapper_files.iter().enumerate().map(open).collect()
}

/// Measures the confinement of this process, and so of everything that it starts.
pub(crate) fn measure() -> io::Result<Measured> {
    // Two pages hold all lines of it; this avoids an allocation in every attempt.
    let mut text = [0; 8192];
    let mut file = File::open("/proc/self/status")?;
    let mut length = 0;
    loop {
        match file.read(text.get_mut(length..).unwrap_or_default())? {
            0 => break,
            count => length += count,
        }
    }
    let text = text.get(..length).unwrap_or_default();
    Measured::read(text).ok_or_else(|| io::Error::other("/proc/self/status lacks expected fields"))
}

/// Creates a file of the shim, emptied; never follows a link.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Returns the file that was created at `path`, or creates it again: where the shim always runs as the agent's user,
/// the agent could have replaced it. Called when no process of the agent runs any more.
pub(crate) fn still(path: &Path, file: File) -> io::Result<File> {
    let made = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == (made.dev(), made.ino()) => {
            file.set_len(0)?;
            return Ok(file);
        }
        // If this user cannot read it, the agent could not change it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(file),
        Ok(there) if there.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    create(path)
}

/// How often the control group's limit refused a process; 0 if this is not visible. In a container its own group is at
/// the root, in version 1 below the controller's name.
pub(crate) fn processes_refused() -> u64 {
    let read = |path| fs::read_to_string(path).ok()?.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok());
    ["/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"].into_iter().find_map(read).unwrap_or(0)
}

/// Becomes the agent's user, unreadable to the agent, and the subreaper of every orphan below. After this the shim can
/// do only what the agent could do, except for the files it holds open.
pub(crate) fn drop_rights(spec: &Spec) -> io::Result<()> {
    prctl::set_child_subreaper(true)?;
    prctl::set_no_new_privs()?;
    if let Some(user) = spec.user
        && geteuid().is_root()
    {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        // Where only the user separates the agent, no order demands this, and it would slow down every start.
        if spec.demand.is_some_and(|demand| demand.bounding.is_some()) {
            drop_bounding_set();
        }
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    if geteuid().is_root() {
        return Err(io::Error::other("an agent never runs as root: give the spec a user"));
    }
    // Drops what remains after the change of user, and what a service manager may have given to a node that is not
    // root.
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    // After the change of user, which resets it: the agent cannot trace this process or read its memory or descriptors.
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Drops every capability from the bounding set. Where this is not permitted, the measurement shows what remains.
fn drop_bounding_set() {
    for bit in 0..u64::BITS {
        // The first unknown capability ends the loop.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)).is_err() {
            return;
        }
    }
}

/// Sets limits for the agent, and for the harvest that reads its work.
pub(crate) fn limit(limits: &Rlimits) -> io::Result<()> {
    let set = |resource, value: Option<u64>| value.map_or(Ok(()), |value| setrlimit(resource, value, value));
    set(Resource::RLIMIT_CORE, Some(0))?;
    set(Resource::RLIMIT_DATA, limits.data)?;
    set(Resource::RLIMIT_NPROC, limits.processes)?;
    set(Resource::RLIMIT_NOFILE, limits.open_files)?;
    set(Resource::RLIMIT_FSIZE, limits.file_size)?;
    Ok(())
}
