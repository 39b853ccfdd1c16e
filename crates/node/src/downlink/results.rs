//! Results that hosts upload: one file per attempt, and a limit in bytes per host. A host can use its own allowance and
//! no more of the disk. Deliberately absent: the parts of a file ([`Uploads`]), the owner of an attempt (the engine is
//! asked), and the content.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use devstack_dag::ids::{AttemptId, HostName};

use super::uploads::{Part, Received, UploadError, Uploads, of_attempt};
use crate::wire::Uploaded;
use devstack_api::ByteStream;

/// Maximum number of concurrent requests for one file: the current one, and a repeated one after the first lost its
/// connection.
const AT_ONCE: u32 = 2;

/// Results being uploaded.
pub struct Results {
    files: Uploads,
    quota: u64,
    ledger: Arc<Mutex<Ledger>>,
}

/// The existing and announced files. The directory is empty when a process starts, and so is this.
#[derive(Debug, Default)]
struct Ledger {
    of: HashMap<AttemptId, Entry>,
}

/// The one file of an attempt.
#[derive(Debug)]
struct Entry {
    host: HostName,
    digest: [u8; 32],
    /// Size of the whole file in bytes, counted from the first part on.
    size: u64,
    /// Whether it is complete.
    is_whole: bool,
    /// Its host reported the attempt with it: it is being imported, and no other file may replace it.
    is_reported: bool,
    /// Number of requests that are sending it now.
    users: u32,
}

/// What to do before a part is accepted.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    /// Nothing.
    Goes,
    /// Remove the file of this digest, which the new one replaces.
    Replaces([u8; 32]),
}

impl Ledger {
    /// Decides whether a part of this file may be accepted now. The file is in use from then on, until
    /// [`Self::release`].
    fn admit(
        &mut self,
        host: &HostName,
        attempt: &AttemptId,
        part: &Part,
        quota: u64,
    ) -> Result<Admitted, UploadError> {
        let known = self.of.get_mut(attempt).filter(|known| known.host == *host);
        let replaced = match known {
            Some(known) if known.digest == part.digest && known.size == part.size => {
                if known.users >= AT_ONCE {
                    return Err(UploadError::Busy);
                }
                known.users += 1;
                return Ok(Admitted::Goes);
            }
            Some(known) if known.is_reported => return Err(UploadError::Other),
            Some(known) if known.users > 0 => return Err(UploadError::Busy),
            Some(known) => Some((known.digest, known.size)),
            None => None,
        };
        let others = self.bytes(host).saturating_sub(replaced.map_or(0, |(_, size)| size));
        if others.saturating_add(part.size) > quota {
            return Err(UploadError::Full(quota));
        }
        let entry = Entry {
            host: host.clone(),
            digest: part.digest,
            size: part.size,
            is_whole: false,
            is_reported: false,
            users: 1,
        };
        self.of.insert(attempt.clone(), entry);
        Ok(replaced.map_or(Admitted::Goes, |(digest, _)| Admitted::Replaces(digest)))
    }

    /// Ends the use of a file. Returns false if the file is no longer needed.
    fn release(&mut self, attempt: &AttemptId, digest: &[u8; 32], is_whole: bool) -> bool {
        let Some(known) = self.of.get_mut(attempt).filter(|known| known.digest == *digest) else { return false };
        known.users = known.users.saturating_sub(1);
        known.is_whole |= is_whole;
        true
    }

    /// Its host reports the attempt with this file. Returns false if the file does not exist.
    fn report(&mut self, host: &HostName, attempt: &AttemptId, result: &Uploaded) -> bool {
        let same = |known: &&mut Entry| {
            known.host == *host && known.digest == result.digest && known.size == result.size && known.is_whole
        };
        let known = self.of.get_mut(attempt).filter(same);
        known.map(|known| known.is_reported = true).is_some()
    }

    /// The bytes used by a host.
    fn bytes(&self, host: &HostName) -> u64 {
        let of_host = self.of.values().filter(|known| known.host == *host);
        of_host.fold(0, |sum: u64, known| sum.saturating_add(known.size))
    }
}

/// A request that sends a file.
struct Use<'a> {
    results: &'a Results,
    attempt: &'a AttemptId,
    digest: [u8; 32],
    is_whole: bool,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        if !self.results.ledger().release(self.attempt, &self.digest, self.is_whole) {
            // Its attempt was forgotten meanwhile.
            self.results.files.forget(&of_attempt(self.attempt));
        }
    }
}

impl Results {
    /// Uses an empty directory; each host gets a quota of bytes in it.
    pub fn new(files: Uploads, quota: u64) -> Self {
        Self { files, quota, ledger: Arc::default() }
    }

    /// Takes a part of the result of an attempt that belongs to this host.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn take(
        &self,
        host: &HostName,
        attempt: &AttemptId,
        part: Part,
        body: ByteStream,
    ) -> Result<Received, UploadError> {
        if part.size > self.files.max() {
            return Err(UploadError::TooLarge(self.files.max()));
        }
        let admitted = self.ledger().admit(host, attempt, &part, self.quota)?;
        let mut usage = Use { results: self, attempt, digest: part.digest, is_whole: false };
        let of = of_attempt(attempt);
        if let Admitted::Replaces(digest) = admitted {
            self.files.discard(&of, &digest).await?;
        }
        let received = self.files.take(&of, part, body).await?;
        usage.is_whole = received.complete;
        Ok(received)
    }

    /// The path of the result with which a host reports an attempt; `None` if it is missing or incomplete.
    pub fn reported(&self, host: &HostName, attempt: &AttemptId, result: &Uploaded) -> Option<PathBuf> {
        let there = self.ledger().report(host, attempt, result);
        there.then(|| self.files.path(&of_attempt(attempt), &result.digest))
    }

    /// Nothing of this attempt is needed any more. Does not wait for the disk.
    pub fn forget(&self, attempt: &AttemptId) {
        if self.ledger().of.remove(attempt).is_some() {
            self.files.forget(&of_attempt(attempt));
        }
    }

    /// The same for all attempts of a host.
    pub fn forget_host(&self, host: &HostName) {
        let ledger = self.ledger();
        let of_host = ledger.of.iter().filter(|(_, known)| known.host == *host);
        let attempts: Vec<AttemptId> = of_host.map(|(attempt, _)| attempt.clone()).collect();
        drop(ledger);
        attempts.iter().for_each(|attempt| self.forget(attempt));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;

    const QUOTA: u64 = 100;

    fn attempt(number: u32) -> AttemptId {
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new("t").unwrap() };
        AttemptId { task, number }
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn part(digest: u8, size: u64) -> Part {
        Part { digest: [digest; 32], size, offset: 0 }
    }

    #[test]
    fn an_attempt_has_one_file_and_a_host_so_many_bytes() {
        let (mut ledger, a, b) = (Ledger::default(), host("a"), host("b"));
        let mut admit = |host: &HostName, number, part: Part| {
            let admitted = ledger.admit(host, &attempt(number), &part, QUOTA);
            if admitted.is_ok() {
                assert!(ledger.release(&attempt(number), &part.digest, false));
            }
            admitted
        };
        assert!(matches!(admit(&a, 1, part(1, 60)), Ok(Admitted::Goes)));
        // Another file of the same attempt replaces it, and its bytes.
        assert!(matches!(admit(&a, 1, part(2, 90)), Ok(Admitted::Replaces([1, ..]))));
        assert!(matches!(admit(&a, 2, part(3, 11)), Err(UploadError::Full(QUOTA))));
        assert!(matches!(admit(&a, 2, part(3, 10)), Ok(Admitted::Goes)));
        assert!(matches!(admit(&a, 3, part(4, u64::MAX)), Err(UploadError::Full(QUOTA))), "no sum wraps");
        assert!(matches!(admit(&b, 4, part(1, 100)), Ok(Admitted::Goes)), "somebody else's quota");
    }

    #[test]
    fn what_was_reported_is_not_replaced_and_what_is_not_there_is_not_reported() {
        let (mut ledger, a) = (Ledger::default(), host("a"));
        let uploaded = |digest: u8| Uploaded { size: 10, digest: [digest; 32] };
        assert!(!ledger.report(&a, &attempt(1), &uploaded(1)));
        ledger.admit(&a, &attempt(1), &part(1, 10), QUOTA).unwrap();
        assert!(!ledger.report(&a, &attempt(1), &uploaded(1)), "a half");
        assert!(ledger.release(&attempt(1), &[1; 32], true));
        assert!(!ledger.report(&a, &attempt(1), &uploaded(2)) && !ledger.report(&host("b"), &attempt(1), &uploaded(1)));
        assert!(ledger.report(&a, &attempt(1), &uploaded(1)));
        assert!(matches!(ledger.admit(&a, &attempt(1), &part(2, 10), QUOTA), Err(UploadError::Other)));
        // The same file again: its report was lost.
        assert!(matches!(ledger.admit(&a, &attempt(1), &part(1, 10), QUOTA), Ok(Admitted::Goes)));
    }

    #[test]
    fn one_sends_and_one_waits_and_no_more() {
        let (mut ledger, a) = (Ledger::default(), host("a"));
        for _ in 0..AT_ONCE {
            ledger.admit(&a, &attempt(1), &part(1, 10), QUOTA).unwrap();
        }
        for digest in [1, 2] {
            let more = ledger.admit(&a, &attempt(1), &part(digest, 10), QUOTA);
            assert!(matches!(more, Err(UploadError::Busy)));
        }
        assert!(ledger.release(&attempt(1), &[1; 32], false));
        ledger.admit(&a, &attempt(1), &part(1, 10), QUOTA).unwrap();
        ledger.of.clear();
        assert!(!ledger.release(&attempt(1), &[1; 32], true), "forgotten while it came");
    }

    #[tokio::test]
    async fn a_file_goes_with_its_attempt_or_its_host() {
        use axum::body::Bytes;
        use futures::StreamExt;

        let dir = tempfile::tempdir().unwrap();
        let results = Results::new(Uploads::open(dir.path().join("u"), 100).unwrap(), QUOTA);
        let body =
            |text: &'static str| futures::stream::once(async { Ok(Bytes::from_static(text.as_bytes())) }).boxed();
        let a = host("a");
        let (old, new) = ("old result", "new result");
        let uploaded = |text: &str| Uploaded { size: 10, digest: *blake3::hash(text.as_bytes()).as_bytes() };
        let part = |text: &str| Part { digest: uploaded(text).digest, size: 10, offset: 0 };
        let take = async |number, text: &'static str| {
            results.take(&a, &attempt(number), part(text), body(text)).await.unwrap();
        };
        take(1, old).await;
        take(1, new).await;
        take(2, old).await;
        let paths: Vec<PathBuf> =
            [(1, new), (2, old)].map(|(n, text)| results.reported(&a, &attempt(n), &uploaded(text)).unwrap()).into();
        assert!(paths.iter().all(|path| path.exists()));
        let old_one = results.files.path(&of_attempt(&attempt(1)), &uploaded(old).digest);
        assert!(!old_one.exists(), "one file of an attempt");
        results.forget(&attempt(1));
        results.forget_host(&a);
        while paths.iter().any(|path| path.exists()) {
            tokio::task::yield_now().await;
        }
        assert!(results.ledger().of.is_empty());
    }
}
