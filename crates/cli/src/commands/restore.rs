//! `cluster restore`: restores a state directory from a backup. The directory is built beside its final place and
//! renamed when it is complete.
//! Deliberately absent: overwriting, and starting the node.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    Context,
    backup::{STANDARD, now, refused},
};
use crate::{CliError, Exit, StateLock, args::RestoreArgs, exit::code};
use devstack_api::dto::Time;
use devstack_backup as backup;
use devstack_backup::Restored;
use devstack_config::problem::Problem;

/// The mode of a state directory, as in `Workdir`: agents run as another user and must be able to traverse it.
const MODE: u32 = 0o711;
/// How many running attempts are named.
const NAMED: usize = 10;

pub(super) async fn run(context: &Context<'_>, args: RestoreArgs) -> Result<Exit, CliError> {
    let RestoreArgs { file, state_dir, copy } = args;
    let dir = std::path::absolute(&state_dir)?;
    let at = dir.clone();
    let restored = tokio::task::spawn_blocking(move || put_in_place(&file, &at, copy)).await;
    let restored = restored.map_err(|error| CliError::failure(error.to_string()))??;
    print(context, &dir, &restored, copy)?;
    Ok(Exit::Ok)
}

fn put_in_place(file: &Path, dir: &Path, copy: bool) -> Result<Restored, CliError> {
    let cannot = |what: &str, path: &Path, error: &io::Error| {
        CliError::failure(format!("cannot {what} {}: {error}", path.display()))
    };
    let input: Box<dyn Read> = if file.as_os_str() == STANDARD {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?)
    };
    refuse_taken(dir)?;
    let fresh = backup::beside(dir);
    let _lock = make(&fresh)?;
    let restored = backup::restore(input, &fresh, copy, now()).map_err(|error| refused(file, error)).and_then(|done| {
        fs::set_permissions(&fresh, Permissions::from_mode(MODE)).map_err(|e| cannot("open", &fresh, &e))?;
        hand_over(&fresh, dir).map_err(|e| cannot("hand over", &fresh, &e))?;
        // A rename replaces an empty directory at most.
        fs::rename(&fresh, dir).map_err(|e| cannot("make", dir, &e))?;
        let parent = dir.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| cannot("make durable", dir, &e))?;
        Ok(done)
    });
    if restored.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&fresh);
    }
    restored
}

/// Refuses anything but a missing or an empty directory: it may be the state of another node.
fn refuse_taken(dir: &Path) -> Result<(), CliError> {
    let taken = |what: &str| {
        let problem = Problem::new(code::PLACE_TAKEN, format!("{} {what}", dir.display()));
        let hint = "a restore overwrites nothing: name a new directory, or stop the node and move this directory away";
        Err(CliError::new(Exit::Refused, problem.hint(hint)))
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| taken("is not empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => taken("is not a readable directory"),
    }
}

/// Creates an empty private directory, and removes what a killed restore left in it.
fn make(fresh: &Path) -> Result<StateLock, CliError> {
    let cannot = |error: io::Error| CliError::failure(format!("cannot create {}: {error}", fresh.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(fresh).map_err(cannot)?;
    let lock = StateLock::try_acquire(fresh).map_err(cannot)?.ok_or_else(|| {
        let problem = Problem::new(code::PLACE_TAKEN, format!("another restore is running in {}", fresh.display()));
        CliError::new(Exit::Refused, problem.hint("wait until it ends"))
    })?;
    for entry in fs::read_dir(fresh).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = entry.path();
        match entry.file_type().map_err(cannot)?.is_dir() {
            true => fs::remove_dir_all(path).map_err(cannot)?,
            false if entry.file_name() == "lock" => {}
            false => fs::remove_file(path).map_err(cannot)?,
        }
    }
    Ok(lock)
}

/// If root restores, gives the files to the owner of the existing directory.
fn hand_over(fresh: &Path, dir: &Path) -> io::Result<()> {
    let Ok(owner) = fs::metadata(dir) else { return Ok(()) };
    if !nix::unistd::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let mut left: Vec<PathBuf> = vec![fresh.to_owned()];
    while let Some(path) = left.pop() {
        lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn print(context: &Context<'_>, dir: &Path, restored: &Restored, copy: bool) -> Result<(), CliError> {
    let Restored { head, contents, mark, tasks, running, hosts } = restored;
    let (made_at, projects): (_, Vec<&str>) = (Time(head.made_at), contents.projects().collect());
    let named: Vec<String> = running.iter().map(ToString::to_string).collect();
    let body = json!({
        "apiVersion": "v1", "state_dir": dir, "made_at": made_at, "seq": head.seq, "tasks": tasks,
        "projects": projects, "running": named, "hosts": hosts, "attempts_behind": mark.attempts_behind,
        "has_keys": head.has_keys && !copy,
    });
    context.print(&body.to_string().into(), |_| {
        let mut lines = vec![
            format!("{} has {tasks} tasks as of {made_at}, fact {}", dir.display(), head.seq),
            format!("  attempts     are numbered from {}", mark.attempts_behind.saturating_add(1)),
        ];
        if !named.is_empty() {
            let more = if named.len() > NAMED { ", …" } else { "" };
            lines.push(format!("  running then {}{more}", named[..named.len().min(NAMED)].join(", ")));
        }
        if copy {
            lines.push("  copy         with its own installation label, without the cluster's keys".to_owned());
        }
        lines.push("make sure that the original node is stopped for good, then start the new node".to_owned());
        Ok(lines.join("\n"))
    })
}
