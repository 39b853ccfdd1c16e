//! The thread that writes the audit log. Lines that cannot be written are kept and retried every second. Until they are
//! written, no new line is accepted, so the number of kept lines is bounded. Deliberately absent: giving up, and
//! writing less.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::mpsc::Receiver;

use super::{
    Job, State,
    files::{self, Current, FILES},
};

/// The pause between two attempts to write; only while writing fails.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of lines written and synced together.
const GROUP: usize = 256;

pub(super) struct Writer {
    dir: PathBuf,
    size: u64,
    state: Arc<Mutex<State>>,
    /// The file, and the number of the next line; `None` if the file must be opened (again).
    open: Option<(Current, u64)>,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, size: u64, state: Arc<Mutex<State>>) -> Self {
        Self { dir, size, state, open: None }
    }

    /// Runs until all senders are gone.
    pub(super) fn run(mut self, mut queue: Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            while let Err(error) = self.write(&group) {
                self.failed(&error);
                // Callers do not wait any longer: their change is already done.
                group.iter_mut().for_each(Job::release);
                if queue.is_closed() {
                    return tracing::error!(lines = group.len(), "the audit log ends without its last lines");
                }
                thread::sleep(PAUSE);
            }
            self.works();
            group.iter_mut().for_each(Job::release);
            group.clear();
            if let Some((current, _)) = &self.open
                && let Err(error) = current.sync()
            {
                // It is unknown how much of the group is on the disk, so the file is read again.
                self.failed(&error);
                self.open = None;
            }
        }
    }

    fn write(&mut self, group: &[Job]) -> io::Result<()> {
        let (mut current, mut number) = match self.open.take() {
            Some(open) => open,
            None => files::open(&self.dir)?,
        };
        if current.length >= self.size / FILES && current.length > 0 {
            current = files::create(&self.dir, number)?;
            files::prune(&self.dir, self.size - self.size / FILES)?;
        }
        let mut lines = Vec::new();
        for job in group {
            let entry = super::Entry { number, ..job.entry.clone() };
            serde_json::to_writer(&mut lines, &entry)?;
            lines.push(b'\n');
            number += 1;
        }
        current.append(&lines)?;
        self.open = Some((current, number));
        Ok(())
    }

    fn failed(&self, error: &io::Error) {
        let why = format!("{}: {error}", self.dir.display());
        let before = self.state.lock().unwrap_or_else(PoisonError::into_inner).failing.replace(why.clone());
        if before.is_none() {
            tracing::error!("cannot write the audit log, so changes are refused until it is writable: {why}");
        }
    }

    fn works(&self) {
        if self.state.lock().unwrap_or_else(PoisonError::into_inner).failing.take().is_some() {
            tracing::info!("the audit log is writable again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::super::{Audit, AuditQuery, Entry};

    async fn write(audit: &Audit, lines: u64) {
        for _ in 0..lines {
            audit.room().unwrap().write(Entry { at: "now".into(), method: "POST".into(), ..Entry::default() }).await;
        }
    }

    fn numbers(audit: &Audit, limit: usize) -> Vec<u64> {
        let page = audit.read(&AuditQuery { limit, ..AuditQuery::default() }).unwrap();
        page.entries.iter().map(|entry| entry.number).collect()
    }

    fn files(dir: &Path) -> Vec<std::path::PathBuf> {
        super::files::list(&dir.join("audit")).unwrap().into_iter().map(|(_, path)| path).collect()
    }

    #[tokio::test]
    async fn nothing_is_made_before_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(dir.path(), 1 << 20);
        assert_eq!(numbers(&audit, 10), Vec::<u64>::new());
        assert!(!dir.path().join("audit").exists());
        write(&audit, 2).await;
        assert_eq!(numbers(&audit, 10), [2, 1]);
    }

    #[tokio::test]
    async fn a_restart_goes_on_and_a_torn_line_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        write(&Audit::new(dir.path(), 1 << 20), 3).await;
        let file = files(dir.path()).pop().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend_from_slice(b"{\"number\":4,\"at\":\"no");
        fs::write(&file, bytes).unwrap();
        let audit = Audit::new(dir.path(), 1 << 20);
        write(&audit, 1).await;
        assert_eq!(numbers(&audit, 10), [4, 3, 2, 1]);
        assert!(fs::read_to_string(&file).unwrap().lines().all(|line| serde_json::from_str::<Entry>(line).is_ok()));
    }

    #[tokio::test]
    async fn the_log_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let (size, audit) = (8 << 10, Audit::new(dir.path(), 8 << 10));
        write(&audit, 200).await;
        let bytes: u64 = files(dir.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(bytes <= size + 512, "{bytes}");
        assert!((2..=9).contains(&files(dir.path()).len()), "{:?}", files(dir.path()));
        let kept = numbers(&audit, 1000);
        assert_eq!(kept[0], 200);
        assert!(kept.windows(2).all(|pair| pair[0] == pair[1] + 1), "without a gap: {kept:?}");
        // Joined pages give the whole log.
        let (mut joined, mut after) = (Vec::new(), None);
        loop {
            let page = audit.read(&AuditQuery { limit: 7, after, ..AuditQuery::default() }).unwrap();
            joined.extend(page.entries.iter().map(|entry| entry.number));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(joined, kept);
    }

    #[tokio::test]
    async fn what_cannot_be_written_stops_changes_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        // A file in place of the directory: acts like a full disk, also for root.
        let obstacle = dir.path().join("audit");
        fs::write(&obstacle, "").unwrap();
        let audit = Audit::new(dir.path(), 1 << 20);
        write(&audit, 1).await;
        let why = audit.room().unwrap_err();
        assert!(why.contains("audit"), "{why}");
        fs::remove_file(&obstacle).unwrap();
        while audit.room().is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        write(&audit, 1).await;
        assert_eq!(numbers(&audit, 10), [2, 1], "the line that had to wait is there");
    }
}
