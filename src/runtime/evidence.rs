//! Reads what a shim and an agent left behind. Where the node is not root both are the agent's user, so every file
//! may be a link, a pipe without a writer, or endless: each is opened without following or waiting, must be a regular
//! file, and is read up to a bound.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use devstack_dag::attempt::Outcome;
use devstack_shim::{
    layout,
    spec::{Ending, ExitRecord, VERSION},
};
use nix::libc;

use super::{Commits, Ended, Harvest, RESULT_MAX, TAIL_MAX};

/// The longest exit record, in bytes: its longest part is an error message.
const RECORD_MAX: u64 = 128 << 10;

/// What a shell exits with when its command was ended for a file larger than the limit.
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

/// A record of the shim (`layout::EXIT` or `HARVEST`), if it got to write it.
pub(super) fn record(dir: &Path, name: &str) -> Option<ExitRecord> {
    let record: ExitRecord = serde_json::from_slice(&read(&dir.join(name), RECORD_MAX).ok()?).ok()?;
    (record.version == VERSION).then_some(record)
}

/// What the shim saw, in the engine's words. Whoever ended it without the node's asking is no fault of the task.
fn outcome(dir: &Path, record: &ExitRecord) -> Option<Outcome> {
    let refused = record.processes_refused > 0;
    Some(match record.ending.clone()? {
        // A shell passes the signal on that ended its command.
        Ending::Signalled(libc::SIGXFSZ) | Ending::Exited(FILE_TOO_LARGE) | Ending::OutOfDisk => Outcome::OutOfDisk,
        Ending::Exited(code) if code != 0 && refused => Outcome::OutOfProcesses,
        Ending::Exited(code) => Outcome::Exited(code),
        Ending::Signalled(signal) => Outcome::Signalled(signal),
        Ending::TimedOut | Ending::Stalled if refused => Outcome::OutOfProcesses,
        Ending::TimedOut => Outcome::TimedOut,
        Ending::Stalled => Outcome::Stalled,
        Ending::Stopped if dir.join(layout::STOP).exists() => Outcome::Stopped,
        Ending::Stopped => Outcome::Infrastructure(
            "it was ended from outside: by the container engine, or by a person's signal".into(),
        ),
        Ending::NotStarted(why) => Outcome::Infrastructure(why),
    })
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
    // Replacement characters are three bytes for one: cut again, from the front.
    while text.len() as u64 > TAIL_MAX {
        text.remove(0);
    }
    text
}

/// The agent's own summary.
pub(super) fn result_json(dir: &Path) -> Option<Vec<u8>> {
    read(&dir.join(layout::RESULT), RESULT_MAX).ok()
}

/// What a record says was made, as far as it can be so.
pub(super) fn harvest(dir: &Path, record: &ExitRecord, bundle_max: u64) -> Harvest {
    let error = record.harvest.error.clone().map(|text| text.chars().take(1000).collect());
    let Some(tip) = &record.harvest.tip else { return Harvest { commits: None, error, again: false } };
    let bundle = dir.join(layout::BUNDLE);
    let wrong = |why: String| Harvest { commits: None, error: Some(why), again: false };
    let Ok(tip) = tip.parse() else { return wrong("the shim's record names a tip that is no commit id".into()) };
    match open(&bundle).and_then(|file| file.metadata()) {
        Ok(file) if file.len() > bundle_max => wrong(format!("the result is larger than {bundle_max} bytes")),
        Ok(_) => Harvest { commits: Some(Commits { tip, bundle }), error, again: false },
        Err(error) => wrong(format!("the result cannot be read: {error}")),
    }
}

/// An attempt that is over, from what it left; `record`: the shim's, if it can be believed; `died`: what became of it
/// where the shim could not say.
pub(super) fn ended(dir: &Path, record: Option<ExitRecord>, bundle_max: u64, died: impl FnOnce() -> Outcome) -> Ended {
    let harvest = match &record {
        Some(record) => harvest(dir, record, bundle_max),
        None => Harvest {
            commits: None,
            error: Some("the supervisor of the attempt was killed before it could harvest".into()),
            again: true,
        },
    };
    let elapsed_ms = record.as_ref().map(|record| record.elapsed_ms);
    let outcome = record.and_then(|record| outcome(dir, &record)).unwrap_or_else(died);
    Ended { outcome, harvest, tail: tail(dir), result_json: result_json(dir), elapsed_ms }
}
