//! bwrap: an attempt that sees the system's programs, its own files, and no other process or file of the machine.
//!
//! It is entered by the shim, which becomes bwrap (`wrapper` in the spec) and is run again inside as process 1 of its
//! own: there it cannot be killed or stopped by the agent, and nothing of the attempt survives it. It does not end
//! with the node. Inside, system calls are filtered by the same profile as in a container (`runtime::seccomp`).

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

/// The program; looked for in PATH.
const PROGRAM: &str = "bwrap";
/// What of the system an agent may read. Links (`/bin` on a merged system) are made again by bwrap's bind.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];
/// What of `/etc` programs need: loader, alternatives, certificates, users, time zone, hosts and names.
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

/// A bwrap that was tried and holds.
pub(super) struct Bwrap {
    program: String,
    version: String,
    root: bool,
    /// This version can forbid further user name spaces.
    forbids_userns: bool,
    /// The program that filters system calls.
    filter: PathBuf,
}

impl Bwrap {
    /// Runs a program in the very sandbox that attempts get. `filter`: the program that filters system calls, or why there is
    /// none. The error is why not, for people.
    pub(super) fn probe(filter: std::io::Result<PathBuf>) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join(PROGRAM))
            .find(|path| path.is_file())
            .ok_or("bwrap is not installed (apt install bubblewrap)")?;
        let program = program.to_string_lossy().into_owned();
        let version = Command::new(&program).arg("--version").output();
        let version = version.map_err(|error| format!("{program} cannot be run: {error}"))?;
        let version = String::from_utf8_lossy(&version.stdout).trim().replace("bubblewrap", "bwrap");
        let filter = filter.map_err(|error| format!("its filter of system calls cannot be laid down: {error}"))?;
        let rules = File::open(&filter).map_err(|error| format!("{} cannot be read: {error}", filter.display()))?;
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
                Err(format!("bwrap does not work here: {}", why.lines().next().unwrap_or("it failed without a word")))
            }
            Err(error) => Err(format!("bwrap cannot be run: {error}")),
        }
    }

    /// `bwrap 0.8.0`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What the shim opens for it ([`Spec::wrapper_files`]).
    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.filter.clone()]
    }

    /// What must be in force inside before the agent starts.
    pub(super) fn demand(&self) -> Demand {
        Demand { filter: true, bounding: Some(0) }
    }

    /// What the shim becomes, up to its own path: argv of bwrap for one attempt.
    pub(super) fn command(&self, spec: &Spec, shim: &Path, network: Network) -> Vec<String> {
        let mut args = vec![self.program.clone()];
        args.extend(self.isolation(network, &wrapper_file(0)));
        let mut bind = |how: &str, path: &Path| {
            // Parents that bwrap makes by itself can be passed by root only.
            let parents: Vec<&Path> = path.ancestors().skip(1).filter(|parent| parent.parent().is_some()).collect();
            for parent in parents.iter().rev() {
                args.extend(["--perms".into(), "0755".into(), "--dir".into(), parent.to_string_lossy().into_owned()]);
            }
            let path = path.to_string_lossy().into_owned();
            args.extend([how.to_owned(), path.clone(), path]);
        };
        // Read-only first, then what is writable within it.
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

    /// Everything but the attempt's own files; `filter`: the descriptor with the filter of system calls.
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
            // What the shim needs to become the agent's user and to put all capabilities out of its reach, which bwrap does not do
            // for root; the rest goes, and these go with that step.
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
            // Root makes none, so there the filter alone forbids it.
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
        // The shared memory of bwrap's own /dev is for the user that started it only.
        add(&["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--chdir", "/"]);
        args
    }
}
