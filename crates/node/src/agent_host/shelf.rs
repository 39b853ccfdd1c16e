//! The log archive: keeps the logs of attempts whose other files are removed, for the retention period.
//! Deliberately absent: logs of running attempts (the runtime has them).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use devstack_dag::ids::AttemptId;

/// A directory of logs, `<project>/<task>/<n>.log`.
#[derive(Debug, Clone)]
pub struct Shelf(PathBuf);

impl Shelf {
    /// The log archive in this directory, which is created with the first log.
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// The path of an attempt's log; the file exists only if there was output.
    pub fn log_of(&self, attempt: &AttemptId) -> PathBuf {
        let task = &attempt.task;
        self.0.join(task.project.as_str()).join(task.id.as_str()).join(format!("{}.log", attempt.number))
    }

    /// Removes logs older than the retention period, and then empty directories. Blocks.
    pub fn sweep(&self, retention: Duration, now: SystemTime) -> io::Result<usize> {
        sweep(&self.0, retention, now)
    }
}

fn sweep(dir: &Path, retention: Duration, now: SystemTime) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            removed += sweep(&entry.path(), retention, now)?;
            // A directory that is not empty stays.
            let _ = fs::remove_dir(entry.path());
        } else if now.duration_since(found.modified()?).is_ok_and(|age| age >= retention) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_past_its_retention_goes() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path().join("logs"));
        assert_eq!(shelf.sweep(Duration::ZERO, SystemTime::now()).unwrap(), 0);
        fs::create_dir_all(dir.path().join("logs/p/t")).unwrap();
        fs::write(dir.path().join("logs/p/t/1.log"), "x").unwrap();
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        assert_eq!(shelf.sweep(day, now).unwrap(), 0);
        assert_eq!(shelf.sweep(day, now + 2 * day).unwrap(), 1);
        assert!(!dir.path().join("logs/p").exists());
    }
}
