//! Who the shim is and what it may do: its claim on the attempt, the sandbox it enters, the rights it gives up.
//! Deliberately absent: deciding any of it. The spec says.

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

/// Takes the attempt: exclusively making the pid link is what makes an attempt run at most once, whenever a
/// node died. Says which process it is in words that outlive it: `pid start-time boot-id`. False: taken already.
pub(crate) fn claim(spec: &Spec) -> io::Result<bool> {
    let this = procs::this().ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    // A link, since it is made with its content or not at all: nobody reads half a claim.
    match symlink(format!("{} {} {}", this.pid, this.started, spec.boot_id), spec.dir.join(layout::PID)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    }
    // A session of its own: no terminal, and no signal meant for the node's group. Fails only for a group leader.
    let _ = setsid();
    Ok(true)
}

/// Enters the spec's control groups, before anything that is to be limited exists.
pub(crate) fn enter_groups(spec: &Spec) -> io::Result<()> {
    spec.cgroups.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
}

/// Becomes the sandbox, which runs this program again as `mode`. Returns only if that fails.
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

/// Opens what the wrapper inherits: the word for each, and its descriptor.
fn open_wrapper_files(spec: &Spec) -> io::Result<Vec<(String, RawFd)>> {
    let open = |(index, path): (usize, &PathBuf)| {
        let file =
            File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        // Not closed at exec, unlike the first: nobody here closes it. Above those that a program has at its start.
        Ok((wrapper_file(index), fcntl(&file, FcntlArg::F_DUPFD(3))?))
    };
    spec.wrapper_files.iter().enumerate().map(open).collect()
}

/// What is in force around this process, and so around everything that it starts.
pub(crate) fn measure() -> io::Result<Measured> {
    // Two pages hold it with all its lines; no allocation in what every attempt does.
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
    Measured::read(text).ok_or_else(|| io::Error::other("/proc/self/status lacks what is looked for"))
}

/// A file of the shim's own, emptied; never through a link.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// The file that was made at `path`, or a new one there: where the shim is the agent's user from the start, the agent could
/// put another in its place. Called when nothing of the agent runs any more.
pub(crate) fn still(path: &Path, file: File) -> io::Result<File> {
    let made = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == (made.dev(), made.ino()) => {
            file.set_len(0)?;
            return Ok(file);
        }
        // What this user cannot look at, the agent could not change.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(file),
        Ok(there) if there.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    create(path)
}

/// How often the control group's limit refused a process; 0 where it cannot be seen. In a container its own group is at
/// the root, in version 1 below the controller's name.
pub(crate) fn processes_refused() -> u64 {
    let read = |path| fs::read_to_string(path).ok()?.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok());
    ["/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"].into_iter().find_map(read).unwrap_or(0)
}

/// Becomes the agent's user, unreadable to it, and the parent of every orphan below. After this the shim can do
/// nothing that the agent could not, but for the files it holds open.
pub(crate) fn drop_rights(spec: &Spec) -> io::Result<()> {
    prctl::set_child_subreaper(true)?;
    prctl::set_no_new_privs()?;
    if let Some(user) = spec.user
        && geteuid().is_root()
    {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        // Where nothing but the user stands around the agent nothing demands it, and it would be a part of every start.
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
    // What a change of user leaves, and what a service manager may have given to a node that is not root.
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    // After the change of user, which resets it: no tracing, no reading of memory or descriptors by the agent.
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Takes every capability out of reach for good. Where this may not be done, what is left shows when it is measured.
fn drop_bounding_set() {
    for bit in 0..u64::BITS {
        // The first that the kernel does not know is the end of them.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)).is_err() {
            return;
        }
    }
}

/// Limits for the agent, and for the harvest that reads what it made.
pub(crate) fn limit(limits: &Rlimits) -> io::Result<()> {
    let set = |resource, value: Option<u64>| value.map_or(Ok(()), |value| setrlimit(resource, value, value));
    set(Resource::RLIMIT_CORE, Some(0))?;
    set(Resource::RLIMIT_DATA, limits.data)?;
    set(Resource::RLIMIT_NPROC, limits.processes)?;
    set(Resource::RLIMIT_NOFILE, limits.open_files)?;
    set(Resource::RLIMIT_FSIZE, limits.file_size)?;
    Ok(())
}
