//! A runtime that plays attempts from a script, in this process: for tests of actors, where real processes would only
//! be slow. It keeps the promises of the trait (a conformance suite also runs on it), and stores nothing on disk.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use devstack_dag::{attempt::Outcome, ids::AttemptId};
use tokio::sync::watch;

use super::{Ended, Harvest, Isolation, Job, LogReader, Observed, Runtime, RuntimeError, RuntimeInfo, Shard, State};

/// The behaviour of an attempt in the fake.
#[derive(Debug, Clone)]
pub enum Act {
    /// It ends at once.
    End(Ended),
    /// It runs until it is stopped or ended by [`FakeRuntime::end`].
    Run,
    /// It cannot be started.
    Refuse(String),
}

/// Capacity of its one bridge; nothing is ever refused for it.
const SHARD: u32 = 200;

/// Decides the behaviour of a job.
type Script = Box<dyn Fn(&Job) -> Act + Send + Sync>;

/// The fake. Cheap to clone; clones are the same runtime.
#[derive(Clone)]
pub struct FakeRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    script: Script,
    attempts: Mutex<HashMap<AttemptId, watch::Sender<Option<Ended>>>>,
    started: Mutex<Vec<AttemptId>>,
}

impl FakeRuntime {
    /// Every job behaves as `script` says.
    pub fn new(script: impl Fn(&Job) -> Act + Send + Sync + 'static) -> Self {
        let inner = Inner { script: Box::new(script), attempts: Mutex::default(), started: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// An end with this outcome and no other data.
    pub fn ended(outcome: Outcome) -> Ended {
        Ended { outcome, harvest: Harvest::default(), tail: String::new(), result_json: None, elapsed_ms: Some(0) }
    }

    /// Ends a running attempt.
    pub fn end(&self, attempt: &AttemptId, ended: Ended) {
        if let Some(sender) = self.attempts().get(attempt) {
            sender.send_if_modified(|now| now.is_none() && now.replace(ended).is_none());
        }
    }

    /// Attempts in the order in which they were really started; an attempt that was started twice appears once.
    pub fn started(&self) -> Vec<AttemptId> {
        lock(&self.inner.started).clone()
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<AttemptId, watch::Sender<Option<Ended>>>> {
        lock(&self.inner.attempts)
    }

    fn known(&self, attempt: &AttemptId) -> Result<watch::Receiver<Option<Ended>>, RuntimeError> {
        let receiver = self.attempts().get(attempt).map(watch::Sender::subscribe);
        receiver.ok_or_else(|| RuntimeError::Unknown(attempt.clone()))
    }
}

/// A test that panicked while holding it is failing already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn describe(&self) -> RuntimeInfo {
        RuntimeInfo { name: "fake", isolation: Isolation::Unsandboxed { why: "nothing runs".into() } }
    }

    fn shards(&self) -> Vec<Shard> {
        let running = self.attempts().values().filter(|ended| ended.borrow().is_none()).count();
        let ports = u32::try_from(running).unwrap_or(u32::MAX);
        vec![Shard { name: "fake".to_owned(), subnet: None, ports, capacity: ports.max(SHARD) }]
    }

    fn images(&self) -> Vec<String> {
        vec!["fake:latest@sha256:fake".to_owned()]
    }

    async fn start(&self, job: &Job) -> Result<(), RuntimeError> {
        if self.attempts().contains_key(&job.attempt) {
            return Ok(());
        }
        let first = match (self.inner.script)(job) {
            Act::End(ended) => Some(ended),
            Act::Run => None,
            Act::Refuse(why) => return Err(RuntimeError::failed("starting")(io::Error::other(why))),
        };
        lock(&self.inner.started).push(job.attempt.clone());
        self.attempts().insert(job.attempt.clone(), watch::Sender::new(first));
        Ok(())
    }

    async fn wait(&self, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
        let mut receiver = self.known(attempt)?;
        let ended = receiver.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.ok_or_else(|| RuntimeError::Unknown(attempt.clone()))
    }

    async fn stop(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        self.known(attempt)?;
        self.end(attempt, Self::ended(Outcome::Stopped));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        let observe = |(attempt, sender): (&AttemptId, &watch::Sender<Option<Ended>>)| Observed {
            attempt: attempt.clone(),
            state: if sender.borrow().is_some() { State::Ended } else { State::Running },
        };
        Ok(self.attempts().iter().map(observe).collect())
    }

    async fn harvest(&self, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
        let ended = self.known(attempt)?.borrow().clone();
        ended.map(|ended| ended.harvest).ok_or_else(|| RuntimeError::Refused(format!("attempt {attempt} still runs")))
    }

    async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        self.attempts().remove(attempt);
        Ok(())
    }

    async fn keep_log(&self, _: &AttemptId, _: &std::path::Path) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn log(&self, attempt: &AttemptId, _from: u64, _follow: bool) -> Result<LogReader, RuntimeError> {
        self.known(attempt)?;
        Ok(LogReader::open("/nonexistent".into(), 0, false, Box::new(|| true)))
    }
}
