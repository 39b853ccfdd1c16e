//! Reads the files that a shim and an agent left behind. Where the node is not root both run as the agent's user, so
//! every file may be a link, a pipe without a writer, or endless. Each file is opened without following links or
//! blocking, must be a regular file, and is read up to a bound.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use devstack_dag::{attempt::Outcome, ids::CommitId};
use devstack_shim::{
    layout,
    spec::{
        BRANCH_NAME_MAX, BRANCHES_MAX, Branch, Ending, ExitRecord, Harvested, SKIPPED_MAX, SKIPPED_PATH_MAX,
        SKIPPED_WHY_MAX, Skipped, Spec, VERSION,
    },
};
use nix::libc;

use super::{Commits, Ended, Harvest, RESULT_MAX, TAIL_MAX};

/// The longest order, in bytes: prompt and task are separate files, so this is argv, names and paths.
const SPEC_MAX: u64 = 4 << 20;
/// The longest exit record, in bytes: its longest part is an error message.
const RECORD_MAX: u64 = 128 << 10;

/// The exit code of a shell whose command was ended for a file larger than the limit.
const FILE_TOO_LARGE: i32 = 128 + libc::SIGXFSZ;

/// Opens a file of an attempt for reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The whole file, refused if it is longer than `max`.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

/// Cuts a regular file to `max` bytes; anything else is left.
pub(super) fn cut(path: &Path, max: u64) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(path) else { return Ok(()) };
    let found = file.metadata()?;
    if found.is_file() && found.len() > max { file.set_len(max) } else { Ok(()) }
}

/// A record of the shim (`layout::EXIT` or `HARVEST`), if the shim wrote it.
pub(super) fn record(dir: &Path, name: &str) -> Option<ExitRecord> {
    let record: ExitRecord = serde_json::from_slice(&read(&dir.join(name), RECORD_MAX).ok()?).ok()?;
    (record.version == VERSION).then_some(record)
}

/// The shim's observation as an outcome. An end from outside that the node did not request is no fault of the task.
fn outcome(dir: &Path, record: &ExitRecord) -> Option<Outcome> {
    let refused = record.processes_refused > 0;
    Some(match record.ending.clone()? {
        // A shell passes on the signal that ended its command.
        Ending::Signalled(libc::SIGXFSZ) | Ending::Exited(FILE_TOO_LARGE) | Ending::OutOfDisk => Outcome::OutOfDisk,
        Ending::Exited(code) if code != 0 && refused => Outcome::OutOfProcesses,
        Ending::Exited(code) => Outcome::Exited(code),
        Ending::Signalled(signal) => Outcome::Signalled(signal),
        Ending::TimedOut | Ending::Stalled if refused => Outcome::OutOfProcesses,
        Ending::TimedOut => Outcome::TimedOut,
        Ending::Stalled => Outcome::Stalled,
        Ending::Stopped if dir.join(layout::STOP).exists() => Outcome::Stopped,
        Ending::Stopped => {
            Outcome::Infrastructure("it was ended from outside: by the container engine, or by a user's signal".into())
        }
        Ending::NotStarted(why) => Outcome::Infrastructure(why),
    })
}

/// Reads the order of a shim. It is the node's own file, but read like the others.
pub(super) fn order(dir: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&read(&dir.join(layout::SPEC), SPEC_MAX)?)?)
}

/// The end of the log.
pub(super) fn tail(dir: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = open(&dir.join(layout::LOG))?;
        let length = file.metadata()?.len();
        if length > TAIL_MAX {
            file.seek(SeekFrom::Start(length - TAIL_MAX))?;
        }
        let mut bytes = Vec::new();
        file.take(TAIL_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // A replacement character takes three bytes: cut again, from the front.
    while text.len() as u64 > TAIL_MAX {
        text.remove(0);
    }
    text
}

/// The agent's own summary.
pub(super) fn result_json(dir: &Path) -> Option<Vec<u8>> {
    read(&dir.join(layout::RESULT), RESULT_MAX).ok()
}

/// The harvest in a record, as far as it is plausible. Without an agent nothing was made, whatever files exist.
pub(super) fn harvest(dir: &Path, record: &ExitRecord, bundle_max: u64) -> Harvest {
    if !record.started || matches!(record.ending, Some(Ending::NotStarted(_))) {
        return Harvest::default();
    }
    let Harvested { tip, error, skipped, more, branches, failed } = &record.harvest;
    let short = |text: &String| text.chars().take(1000).collect::<String>();
    let mut harvest = Harvest {
        error: error.as_ref().map(short),
        failed: failed.as_ref().map(short),
        skipped: skipped.iter().take(SKIPPED_MAX).map(bounded).collect(),
        more: more.saturating_add(u32::try_from(skipped.len().saturating_sub(SKIPPED_MAX)).unwrap_or(u32::MAX)),
        branches: branches.iter().filter(|branch| is_plain(branch)).take(BRANCHES_MAX).cloned().collect(),
        again: failed.is_some() && record.ending.is_some(),
        ..Harvest::default()
    };
    let Some(tip) = tip else { return harvest };
    let bundle = dir.join(layout::BUNDLE);
    let file = open(&bundle).and_then(|file| file.metadata());
    let wrong = match (tip.parse(), file) {
        (Err(_), _) => "the shim's record has a tip that is not a commit id".to_owned(),
        (_, Ok(file)) if file.len() > bundle_max => format!("the result is larger than {bundle_max} bytes"),
        (_, Err(error)) => format!("cannot read the result: {error}"),
        (Ok(tip), Ok(_)) => {
            harvest.commits = Some(Commits { tip, bundle });
            return harvest;
        }
    };
    harvest.error = Some(wrong);
    harvest
}

/// Applies the shim's bounds again, because another process may have written the file.
fn bounded(one: &Skipped) -> Skipped {
    let cut = |text: &str, max: usize| text[..text.floor_char_boundary(max)].to_owned();
    Skipped { path: cut(&one.path, SKIPPED_PATH_MAX), why: cut(&one.why, SKIPPED_WHY_MAX) }
}

fn is_plain(branch: &Branch) -> bool {
    let Branch { name, commit } = branch;
    !name.is_empty()
        && name.len() <= BRANCH_NAME_MAX
        && !name.contains(|c: char| c.is_control() || c.is_whitespace())
        && commit.parse::<CommitId>().is_ok()
}

/// The end of an attempt from its files; `record`: the shim's record, if trusted; `died`: the outcome where the shim
/// could not report one.
pub(super) fn ended(dir: &Path, record: Option<ExitRecord>, bundle_max: u64, died: impl FnOnce() -> Outcome) -> Ended {
    let harvest = match &record {
        Some(record) => harvest(dir, record, bundle_max),
        None => Harvest {
            error: Some("the supervisor of the attempt was killed before it could harvest".into()),
            again: true,
            ..Harvest::default()
        },
    };
    let elapsed_ms = record.as_ref().map(|record| record.elapsed_ms);
    let outcome = record.and_then(|record| outcome(dir, &record)).unwrap_or_else(died);
    Ended { outcome, harvest, tail: tail(dir), result_json: result_json(dir), elapsed_ms }
}
