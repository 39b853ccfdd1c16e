//! Builds a state directory from a backup. It is unpacked next to its final place and compared with the list of
//! contents; the store is filled; the repositories are checked for everything that the store names; all of it is made
//! durable. Only then is it renamed to its final name.
//!
//! Attempts that ran when the backup was made are assumed to run still: a host that still has one is adopted with its
//! work intact, any other host starts it again. Attempts that started later are unknown and may still be on hosts.
//! Attempt numbers therefore continue far beyond any number that can have been used, so that nothing from the lost time
//! is ever mistaken for something new. Deliberately absent: a running node, and overwriting.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use devstack_dag::{
    ids::{AttemptId, CommitId, ProjectName},
    record::{MergeState, Record},
};

use super::{
    BackupError, CLUSTER, Contents, Head, MARK, Mark, PROJECTS, STORE,
    archive::{self, Found},
};
use devstack_repository::{Hubs, git::Git};
use devstack_store::{InstallationLabel, Loaded, Meta, SledOptions, SledStore, Store, import_as};

/// Assumed attempts of one task per minute between the backup and its restore. No task is tried that often.
const ATTEMPTS_A_MINUTE: u32 = 1000;

/// Report of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The description in the backup.
    pub head: Head,
    /// The contents of the backup.
    pub contents: Contents,
    /// The mark that was left in the directory.
    pub mark: Mark,
    /// Number of tasks.
    pub tasks: u64,
    /// Attempts that ran when the backup was made.
    pub running: Vec<AttemptId>,
    /// Hosts that the store knows. They need no message.
    pub hosts: Vec<String>,
}

/// Restores into `fresh`, which must be an empty directory: everything except its final name. `now` is in milliseconds
/// since 1970. A `copy` will exist beside the original: it gets its own installation label and none of the cluster's
/// keys. Blocks.
///
/// # Errors
/// The file is not a backup or is damaged, git is missing, or the disk fails. The content of `fresh` is then useless.
pub fn restore(input: impl Read, fresh: &Path, copy: bool, now: u64) -> Result<Restored, BackupError> {
    let staged = fresh.join(STORE);
    let (head, contents) = archive::read(BufReader::with_capacity(1 << 20, input), &mut |_, found| match found {
        Found::Directory(path) => directory(fresh, &path),
        Found::File(path, _) if copy && path.starts_with(CLUSTER) => Ok(()),
        Found::File(path, content) => file(fresh, &path, content),
    })?;
    if copy {
        let dir = fresh.join(CLUSTER);
        remove_dir(&dir).map_err(BackupError::io("remove", dir))?;
    }
    let loaded = fill_store(fresh, &staged, &head, copy)?;
    fs::remove_file(&staged).map_err(BackupError::io("remove", &staged))?;
    let running: Vec<AttemptId> = running(&loaded).cloned().collect();
    repositories(fresh, &loaded, &running)?;
    let mark = mark(&head, &loaded, now);
    let text = serde_json::to_vec(&mark).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let path = fresh.join(MARK);
    devstack_cluster::files::replace(&path, &text).map_err(BackupError::io("write", path))?;
    let tasks = loaded.records.iter().filter(|record| matches!(record, Record::Task(_))).count() as u64;
    let hosts = loaded.records.iter().filter_map(|record| match record {
        Record::Host(host) => Some(host.host.to_string()),
        _ => None,
    });
    let hosts = hosts.collect();
    // One call syncs any number of objects.
    let synced = File::open(fresh).and_then(|dir| Ok(nix::unistd::syncfs(dir)?));
    synced.map_err(BackupError::io("make durable", fresh))?;
    Ok(Restored { head, contents, mark, tasks, running, hosts })
}

fn directory(fresh: &Path, path: &Path) -> Result<(), BackupError> {
    let path = fresh.join(path);
    DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(BackupError::io("make", path))
}

fn file(fresh: &Path, path: &Path, content: &mut dyn Read) -> Result<(), BackupError> {
    if let Some(parent) = path.parent() {
        directory(fresh, parent)?;
    }
    let path = fresh.join(path);
    let mut write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::copy(content, &mut file).map(drop)
    };
    write().map_err(BackupError::io("write", &path))
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn fill_store(fresh: &Path, lines: &Path, head: &Head, copy: bool) -> Result<Loaded, BackupError> {
    let dir = fresh.join("store");
    directory(fresh, Path::new("store"))?;
    let mut store = SledStore::open(&dir, SledOptions::default())?;
    let own: InstallationLabel = store.meta().label;
    let input = File::open(lines).map_err(BackupError::io("read", lines))?;
    let as_copy = |meta: Meta| if copy { Meta { label: own, ..meta } } else { meta };
    import_as(&mut store, &mut BufReader::new(input), as_copy)?;
    let loaded = store.load()?;
    if loaded.meta.seq.0 != head.seq {
        let why = format!("its store ends at fact {}, not at {}", loaded.meta.seq, head.seq);
        return Err(BackupError::Damaged(why));
    }
    Ok(loaded)
}

fn running(loaded: &Loaded) -> impl Iterator<Item = &AttemptId> {
    loaded.records.iter().filter_map(|record| match record {
        Record::Attempt(attempt) if attempt.outcome.is_none() => Some(&attempt.attempt),
        _ => None,
    })
}

/// Checks that everything that the store names exists. Pins of attempts that may run again are moved aside.
fn repositories(fresh: &Path, loaded: &Loaded, running: &[AttemptId]) -> Result<(), BackupError> {
    let with_repository = |record: &Record| matches!(record, Record::Project(p) if p.spec.source.is_some());
    if !loaded.records.iter().any(with_repository) {
        return Ok(());
    }
    let hubs = Hubs::new(fresh.join(PROJECTS), Git::probe()?);
    for (project, commit) in loaded.records.iter().flat_map(commits) {
        let hub = hubs.get(&project)?;
        if !hub.contains(commit)? {
            return Err(BackupError::Incomplete { project: project.to_string(), commit: commit.to_string() });
        }
    }
    for attempt in running.iter().filter(|attempt| hubs.dir_of(&attempt.task.project).exists()) {
        hubs.get(&attempt.task.project)?.put_pin_aside(attempt)?;
    }
    Ok(())
}

/// Commits that the state still needs: heads, results that wait for a merge, and merges that may have landed.
fn commits(record: &Record) -> Vec<(ProjectName, CommitId)> {
    match record {
        Record::Project(project) => project.head.map(|head| (project.spec.name.clone(), head)).into_iter().collect(),
        Record::Task(task) if !task.status.is_terminal() => {
            task.harvested.map(|(_, commit)| (task.project.clone(), commit)).into_iter().collect()
        }
        Record::Merge(merge) if merge.state != MergeState::Lost => {
            [merge.commit, merge.candidate].map(|commit| (merge.project.clone(), commit)).into()
        }
        _ => Vec::new(),
    }
}

/// Attempts continue beyond every number that can have been used since the backup, also by another restore of the same
/// backup.
fn mark(head: &Head, loaded: &Loaded, now: u64) -> Mark {
    let known = loaded.records.iter().filter_map(|record| match record {
        Record::Task(task) => Some(task.attempts),
        _ => None,
    });
    let known = known.max().unwrap_or(0).max(head.attempts_behind);
    let minutes = u32::try_from(now.saturating_sub(head.made_at) / 60_000).unwrap_or(u32::MAX);
    let behind = known.saturating_add(minutes.saturating_add(2).saturating_mul(ATTEMPTS_A_MINUTE));
    Mark {
        restored_at: now,
        made_at: head.made_at,
        seq: head.seq,
        // A round number is easier to recognise.
        attempts_behind: behind - behind % ATTEMPTS_A_MINUTE,
    }
}

/// The directory in which a restore into `dir` works: next to `dir`, on the same file system.
pub fn beside(dir: &Path) -> PathBuf {
    dir.with_added_extension("restoring")
}

#[cfg(test)]
mod tests {
    use devstack_dag::ids::Timestamp;

    use super::*;
    use devstack_store::{Seq, Term};

    #[test]
    fn numbers_go_on_behind_all_that_can_have_been_given() {
        let meta = Meta {
            seq: Seq(1),
            first: Seq(1),
            term: Term(1),
            last_time: Timestamp(0),
            label: InstallationLabel([0; 16]),
        };
        let loaded = Loaded { meta, records: Vec::new() };
        let head = |attempts_behind| Head {
            format: 1,
            version: String::new(),
            made_at: 600_000,
            seq: 1,
            installation: String::new(),
            has_keys: false,
            attempts_behind,
        };
        let behind = |was, now| mark(&head(was), &loaded, now).attempts_behind;
        // The same minute, an hour later, a clock that runs behind, a second restore, and a restore without an end.
        assert_eq!(behind(0, 600_000), 2000);
        assert_eq!(behind(0, 600_000 + 3_600_000), 62_000);
        assert_eq!(behind(0, 0), 2000);
        assert_eq!(behind(62_000, 600_000), 64_000);
        assert!(behind(u32::MAX, u64::MAX) > 4_294_000_000);
    }
}
