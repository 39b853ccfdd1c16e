//! bwrap: an attempt sees the system's programs and its own files, and no other process or file of the machine.
//!
//! The shim enters the sandbox: it becomes bwrap (`wrapper` in the spec) and is run again inside as process 1. There
//! the agent cannot kill or stop it, and no process of the attempt survives it. The sandbox does not end with the node.
//! Inside, system calls are filtered by the same profile as in a container (`runtime::seccomp`).

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use devstack_dag::plan::Network;
use devstack_shim::{
    confinement::Demand,
    layout,
    spec::{Spec, wrapper_file},
};
use nix::unistd::geteuid;

/// The program; searched in PATH.
const PROGRAM: &str = "bwrap";
/// System directories that an agent may read. Links (`/bin` on a merged system) are recreated by bwrap's bind.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];
/// Files of `/etc` that programs need: loader, alternatives, certificates, users, time zone, hosts and names.
const ETC: [&str; 14] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/ssl",
    "/etc/mime.types",
    "/etc/host.conf",
];

/// A bwrap that was tested and works.
pub(super) struct Bwrap {
    program: String,
    version: String,
    root: bool,
    /// Whether this version can forbid further user namespaces.
    forbids_userns: bool,
    /// The system call filter.
    filter: PathBuf,
}

impl Bwrap {
    /// Runs a program in exactly the sandbox that attempts get. `filter`: the system call filter, or why there is none.
    /// The error is for users.
    pub(super) fn probe(filter: std::io::Result<PathBuf>) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join(PROGRAM))
            .find(|path| path.is_file())
            .ok_or("bwrap is not installed (apt install bubblewrap)")?;
        let program = program.to_string_lossy().into_owned();
        let version = Command::new(&program).arg("--version").output();
        let version = version.map_err(|error| format!("cannot run {program}: {error}"))?;
        let version = String::from_utf8_lossy(&version.stdout).trim().replace("bubblewrap", "bwrap");
        let filter = filter.map_err(|error| format!("cannot write its system call filter: {error}"))?;
        let rules = File::open(&filter).map_err(|error| format!("cannot read {}: {error}", filter.display()))?;
        // Since 0.8.
        let help = Command::new(&program).arg("--help").stdin(Stdio::null()).output();
        let forbids_userns = help.is_ok_and(|help| {
            let text = [help.stdout, help.stderr].concat();
            String::from_utf8_lossy(&text).contains("--disable-userns")
        });
        let bwrap = Self { program, version, root: geteuid().is_root(), forbids_userns, filter };
        let mut args = bwrap.isolation(Network::None, "0");
        args.extend(["--".into(), "/bin/true".into()]);
        let tried = Command::new(&bwrap.program).args(args).stdin(rules).output();
        match tried {
            Ok(output) if output.status.success() => Ok(bwrap),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(format!(
                    "bwrap does not work here: {}",
                    why.lines().next().unwrap_or("it failed without a message")
                ))
            }
            Err(error) => Err(format!("cannot run bwrap: {error}")),
        }
    }

    /// `bwrap 0.8.0`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The files that the shim opens for it ([`Spec::wrapper_files`]).
    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.filter.clone()]
    }

    /// What must be in force inside before the agent starts.
    pub(super) fn demand(&self) -> Demand {
        Demand { filter: true, bounding: Some(0) }
    }

    /// The command that the shim becomes, up to its own path: argv of bwrap for one attempt.
    pub(super) fn command(&self, spec: &Spec, shim: &Path, network: Network) -> Vec<String> {
        let mut args = vec![self.program.clone()];
        args.extend(self.isolation(network, &wrapper_file(0)));
        let mut bind = |how: &str, path: &Path| {
            // Only root can traverse parents that bwrap creates by itself.
            let parents: Vec<&Path> = path.ancestors().skip(1).filter(|parent| parent.parent().is_some()).collect();
            for parent in parents.iter().rev() {
                args.extend(["--perms".into(), "0755".into(), "--dir".into(), parent.to_string_lossy().into_owned()]);
            }
            let path = path.to_string_lossy().into_owned();
            args.extend([how.to_owned(), path.clone(), path]);
        };
        // Read-only first, then the writable parts inside it.
        bind("--ro-bind", &spec.dir);
        bind("--ro-bind", shim);
        for name in [layout::SHIM, layout::OUT, layout::WORKSPACE, layout::HOME, layout::TMP] {
            bind("--bind", &spec.dir.join(name));
        }
        if let Some(git) = &spec.git {
            bind("--ro-bind", &git.mirror_objects);
        }
        args.push("--".into());
        args
    }

    /// Everything except the attempt's own files; `filter`: the descriptor of the system call filter.
    fn isolation(&self, network: Network, filter: &str) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        add(&[
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--as-pid-1",
            "--new-session",
            "--hostname",
            "devstack",
            "--seccomp",
            filter,
        ]);
        if self.root {
            // The capabilities that the shim needs to become the agent's user and to empty its bounding set, which
            // bwrap does not do for root. All others are dropped here, and these by that step.
            add(&[
                "--cap-drop",
                "ALL",
                "--cap-add",
                "CAP_SETUID",
                "--cap-add",
                "CAP_SETGID",
                "--cap-add",
                "CAP_SETPCAP",
            ]);
        } else {
            // Root creates no user namespace, so there only the filter forbids it.
            add(&["--unshare-user"]);
            if self.forbids_userns {
                add(&["--disable-userns"]);
            }
        }
        if network == Network::None {
            add(&["--unshare-net"]);
        }
        add(&["--perms", "1777", "--tmpfs", "/tmp", "--perms", "0755", "--dir", "/etc"]);
        add(&["--perms", "0755", "--dir", "/var", "--perms", "0755", "--dir", "/run", "--symlink", "/tmp", "/var/tmp"]);
        for path in SYSTEM.iter().chain(&ETC) {
            match std::fs::read_link(path) {
                Ok(target) if SYSTEM.contains(path) => add(&["--symlink", &target.to_string_lossy(), path]),
                _ => add(&["--ro-bind-try", path, path]),
            }
        }
        if network == Network::Bridge {
            add(&["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]);
        }
        // The shared memory in bwrap's own /dev is only for the user that started it.
        add(&["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--chdir", "/"]);
        args
    }
}
