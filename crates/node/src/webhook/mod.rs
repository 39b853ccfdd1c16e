//! Notifies an outside receiver when something begins to wait for a user: one POST for each notice, at least once, with
//! a key that is the same for every try and an HMAC of the body.
//!
//! A notice is stored before it is sent, and its success is stored before the next notice is sent. After any end of the
//! process, sending continues where it was, and only the notice that was in progress may be sent twice. There is a
//! pause between two checks, and no check happens without a new fact. Deliberately absent: other events (readers of
//! facts get all of them), and a way to answer.

mod notices;

use std::{io, path::PathBuf, time::Duration};

use devstack_cluster::files;
use devstack_dag::{Waiting, ids::Timestamp};
use notices::{Mark, Told};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    actor::Address,
    taskmaster::message::{Look, TaskmasterMessage, View},
};
use devstack_api::{
    dto::Time,
    outgoing::{Bytes, Receiver, signature},
};
use devstack_config::secrets::Secret;
use devstack_telemetry::metrics::meters;

/// The pause between two checks: a waiting user can afford a second, and a busy Taskmaster is not asked at every fact.
const PAUSE: Duration = Duration::from_secs(1);
/// The first pause between two tries; each pause is twice as long as the one before.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// The longest wait for the Taskmaster.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parts of a webhook.
pub struct Webhook {
    /// The receiver of notices.
    pub receiver: Receiver,
    /// The key that signs bodies; `None`: bodies are unsigned.
    pub secret: Option<Secret>,
    /// Number of tries for each notice.
    pub attempts: u64,
    /// The file that records the sent notices.
    pub file: PathBuf,
    /// The installation's label, for keys.
    pub installation: String,
    /// Knows what waits for a user.
    pub taskmaster: Address<TaskmasterMessage>,
    /// Publishes the number of the last durable fact.
    pub news: watch::Receiver<u64>,
}

struct Seen {
    waiting: Vec<(Waiting, Mark)>,
    now: Timestamp,
    seq: u64,
}

impl Webhook {
    /// Sends notices until the task is aborted. At the first start, no notice is sent for what already waits; that
    /// check is complete when this returns.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub async fn start(mut self) -> io::Result<JoinHandle<()>> {
        let told = match std::fs::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| damaged(&self.file, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seen = self.look().await.ok_or_else(|| io::Error::other("the Taskmaster does not answer"))?;
                let told = Told::from_now_on(&seen.waiting);
                self.keep(&told).await?;
                told
            }
            Err(error) => return Err(error),
        };
        Ok(tokio::spawn(async move {
            if let Err(error) = self.tell(told).await {
                // Otherwise every restart would send everything again.
                tracing::error!(%error, file = %self.file.display(), "the webhook stops: cannot store its progress");
            }
        }))
    }

    async fn tell(&mut self, mut told: Told) -> io::Result<()> {
        loop {
            while let Some(notice) = told.due.first() {
                let delivered = self.deliver(notice).await;
                meters().notified(delivered);
                told.due.remove(0);
                self.keep(&told).await?;
            }
            self.news.mark_unchanged();
            let more = match self.look().await {
                Some(seen) if told.look(&seen.waiting, &Time::from(seen.now).to_string(), seen.seq) => {
                    self.keep(&told).await?;
                    !told.due.is_empty()
                }
                // The Taskmaster is being restarted: its first fact wakes us again.
                _ => false,
            };
            if !more && self.news.changed().await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Everything that waits, each with a mark that distinguishes this wait from an earlier one.
    async fn look(&self) -> Option<Seen> {
        let look = |answer: oneshot::Sender<Seen>| {
            TaskmasterMessage::Look(Look(Box::new(move |seen| {
                let found = Seen { waiting: waiting(seen), now: seen.now, seq: seen.seq };
                // The caller may be gone.
                Box::new(move || drop(answer.send(found)))
            })))
        };
        self.taskmaster.ask(PATIENCE, look).await.ok()
    }

    /// Sends a notice; returns whether the receiver accepted it.
    async fn deliver(&self, notice: &notices::Notice) -> bool {
        #[expect(clippy::expect_used, reason = "texts and a number: nothing that JSON cannot say")]
        let body = serde_json::to_vec(notice).expect("a notice is JSON");
        let key = notice.key(&self.installation);
        let signed =
            self.secret.as_ref().map(|secret| format!("sha256={}", signature(secret.expose().as_bytes(), &body)));
        let mut headers =
            vec![("idempotency-key", key.as_str()), ("user-agent", concat!("devstack/", env!("CARGO_PKG_VERSION")))];
        headers.extend(signed.as_deref().map(|signed| ("devstack-signature", signed)));
        let (body, mut pause) = (Bytes::from(body), BACKOFF);
        for tries in 1..=self.attempts {
            match self.receiver.post(&headers, body.clone()).await {
                Ok(()) => return true,
                Err(error) => tracing::warn!(%error, %key, tries, "the receiver did not accept a notice"),
            }
            if tries < self.attempts {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
        tracing::error!(%key, receiver = %self.receiver, tries = self.attempts, "giving up a notice; see `devstack status`");
        false
    }

    async fn keep(&self, told: &Told) -> io::Result<()> {
        let (file, text) = (self.file.clone(), serde_json::to_vec(told)?);
        tokio::task::spawn_blocking(move || files::replace(&file, &text)).await.map_err(io::Error::other)?
    }
}

fn waiting(seen: &View<'_>) -> Vec<(Waiting, Mark)> {
    let mark = |waiting: &Waiting| {
        let Some(id) = &waiting.task else { return Mark::new() };
        let task = devstack_dag::ids::TaskRef { project: waiting.project.clone(), id: id.clone() };
        let record = seen.engine.task(&task);
        record.map_or_else(Mark::new, |task| format!("{} {} {}", task.status, task.attempts, task.plan))
    };
    seen.engine
        .waiting(None)
        .into_iter()
        .map(|waiting| (mark(&waiting), waiting))
        .map(|(mark, waiting)| (waiting, mark))
        .collect()
}

fn damaged(file: &std::path::Path, error: &serde_json::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is damaged ({error}); remove it to restart notices from now", file.display()),
    )
}
