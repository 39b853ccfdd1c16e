//! Control groups, one per attempt that has limits, where the node is root and the machine has them: version 2 in one
//! tree, or version 1 with a tree per controller. An attempt without limits gets none: entering one costs 0.6 ms.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use devstack_dag::{ids::AttemptId, plan::Limits};

use super::files;

/// Where every distribution mounts control groups.
const MOUNT: &str = "/sys/fs/cgroup";
/// Processor time is assigned in slices of this many microseconds (the kernel's default).
const CPU_PERIOD_US: u64 = 100_000;
/// A group is busy until the kernel has released its last process.
const REMOVE_TRIES: u32 = 50;

/// The groups of this installation.
pub(super) struct Cgroups {
    /// Directories that contain a group per attempt, with the controllers of each.
    trees: Vec<Tree>,
}

struct Tree {
    version: Version,
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Two,
    OneMemory,
    OneCpu,
    OnePids,
}

impl Cgroups {
    /// Finds writable trees; `None` if there is none, and only process limits apply.
    pub(super) fn find(installation: &str) -> Option<Self> {
        let name = format!("devstack-{installation}");
        let mount = Path::new(MOUNT);
        let trees: Vec<Tree> = match two(mount, &name) {
            Some(tree) => vec![tree],
            None => [("memory", Version::OneMemory), ("cpu", Version::OneCpu), ("pids", Version::OnePids)]
                .into_iter()
                .filter(|(controller, _)| mount.join(controller).join("cgroup.procs").exists())
                .map(|(controller, version)| Tree { version, root: mount.join(controller).join(&name) })
                .collect(),
        };
        (!trees.is_empty()).then_some(Self { trees })
    }

    /// Makes the groups of an attempt with its limits, for its shim to enter; none if it has no limits.
    pub(super) fn make(&self, attempt: &AttemptId, limits: &Limits) -> io::Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        for tree in &self.trees {
            let files = tree.version.files(limits);
            if files.is_empty() {
                continue;
            }
            let group = tree.root.join(files::name(attempt));
            fs::create_dir_all(&group)?;
            for (file, value) in files {
                fs::write(group.join(file), value)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}/{file}: {error}", group.display())))?;
            }
            made.push(group);
        }
        Ok(made)
    }

    /// Whether the kernel ended a process of this attempt because it ran out of memory.
    pub(super) fn ran_out_of_memory(&self, attempt: &AttemptId) -> bool {
        let counts = self.trees.iter().filter_map(|tree| {
            let file = match tree.version {
                Version::Two => "memory.events",
                Version::OneMemory => "memory.oom_control",
                Version::OneCpu | Version::OnePids => return None,
            };
            let text = fs::read_to_string(tree.root.join(files::name(attempt)).join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        });
        counts.sum::<u64>() > 0
    }

    /// Removes the groups of an attempt whose processes have ended.
    pub(super) fn remove(&self, attempt: &AttemptId) {
        for tree in &self.trees {
            // Exists while any attempt has a group in it. Most attempts have none, and deleting a missing group costs
            // more.
            if !tree.root.exists() {
                continue;
            }
            let group = tree.root.join(files::name(attempt));
            for _ in 0..REMOVE_TRIES {
                match fs::remove_dir(&group) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        thread::sleep(Duration::from_millis(2))
                    }
                    // Gone, or never created.
                    _ => break,
                }
            }
            let _ = fs::remove_dir(&tree.root);
        }
    }
}

impl Version {
    fn files(self, limits: &Limits) -> Vec<(&'static str, String)> {
        let cpu = limits.cpu_millis.map(|millis| (u64::from(millis) * CPU_PERIOD_US / 1000).max(1000));
        let mut files = Vec::new();
        if matches!(self, Self::Two | Self::OneMemory)
            && let Some(bytes) = limits.memory
        {
            let file = if self == Self::Two { "memory.max" } else { "memory.limit_in_bytes" };
            files.push((file, bytes.to_string()));
        }
        if matches!(self, Self::Two | Self::OnePids)
            && let Some(pids) = limits.pids
        {
            // The shim, its harvest and a sandbox's own process are in the group too.
            files.push(("pids.max", (pids + 3).to_string()));
        }
        match (self, cpu) {
            (Self::Two, Some(quota)) => files.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}"))),
            (Self::OneCpu, Some(quota)) => {
                files.push(("cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
                files.push(("cpu.cfs_quota_us", quota.to_string()));
            }
            _ => {}
        }
        files
    }
}

/// A version 2 tree with all three controllers, delegated to our groups.
fn two(mount: &Path, name: &str) -> Option<Tree> {
    const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
    let has = |dir: &Path| {
        let text = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        CONTROLLERS.iter().all(|controller| text.split_whitespace().any(|word| word == *controller))
    };
    if !has(mount) {
        return None;
    }
    let root = mount.join(name);
    fs::create_dir_all(&root).ok()?;
    for dir in [mount, &root] {
        fs::write(dir.join("cgroup.subtree_control"), "+memory +cpu +pids").ok()?;
    }
    Some(Tree { version: Version::Two, root })
}
