//! Tells a receiver outside when something begins to wait for a person: one POST for each, at least once, with a key that
//! is the same for every try and an HMAC of the body.
//!
//! What is to be told is written down before it is sent, and what was sent before the next: after any end of the process
//! it goes on where it was, and tells nothing twice but what it was telling. Between two looks there is a pause, and none
//! happens without a new fact.
//! Deliberately absent: other events (readers of facts have them all), and a way to answer.

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
    config::secrets::Secret,
    gateway::dto::Time,
    outgoing::{Bytes, Receiver, signature},
    taskmaster::message::{Look, TaskmasterMessage, View},
    telemetry::metrics::meters,
};

/// Between two looks: what waits for a person has a second, and a busy Taskmaster is not asked at every fact.
const PAUSE: Duration = Duration::from_secs(1);
/// The first pause between two tries; each is twice as long as the one before.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// The longest wait for the Taskmaster.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is made of.
pub struct Webhook {
    /// Who is told.
    pub receiver: Receiver,
    /// Signs bodies; `None`: nothing does.
    pub secret: Option<Secret>,
    /// Tries for each notice.
    pub attempts: u64,
    /// Where is kept what was told.
    pub file: PathBuf,
    /// The installation's label, for keys.
    pub installation: String,
    /// Who knows what waits.
    pub taskmaster: Address<TaskmasterMessage>,
    /// Says which fact is durable.
    pub news: watch::Receiver<u64>,
}

struct Seen {
    waiting: Vec<(Waiting, Mark)>,
    now: Timestamp,
    seq: u64,
}

impl Webhook {
    /// Tells until the task is aborted. What waits now is told to nobody if this is the first start: the look at it is over
    /// when this returns.
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
                // Telling on would tell it all again after every restart.
                tracing::error!(%error, file = %self.file.display(), "the webhook tells nothing more: it cannot write down what it told");
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

    /// What waits, each with what makes this wait another than an earlier one of the same.
    async fn look(&self) -> Option<Seen> {
        let look = |answer: oneshot::Sender<Seen>| {
            TaskmasterMessage::Look(Look(Box::new(move |seen| {
                let found = Seen { waiting: waiting(seen), now: seen.now, seq: seen.seq };
                // Whoever asked has gone.
                Box::new(move || drop(answer.send(found)))
            })))
        };
        self.taskmaster.ask(PATIENCE, look).await.ok()
    }

    /// Was it taken?
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
                Err(error) => tracing::warn!(%error, %key, tries, "a notice was not taken"),
            }
            if tries < self.attempts {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
        tracing::error!(%key, receiver = %self.receiver, tries = self.attempts, "a notice is given up; `devstack status` lists what waits");
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
        format!("{} is damaged ({error}); remove it to be told from now on", file.display()),
    )
}
