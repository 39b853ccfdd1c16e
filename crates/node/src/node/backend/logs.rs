//! Reads the logs and diffs of one task: logs from this host's disk or over a link from another host, diffs from the
//! hub. Deliberately absent: storing anything.

use std::{io, pin::Pin, task};

use axum::body::Bytes;
use devstack_dag::ids::{AttemptId, HostName, TaskRef};
use futures::Stream;

use super::{Core, diffs::Wanted, errors};
use crate::taskmaster::message::View;
use devstack_api::{ApiError, ByteStream, error::code};
use devstack_gateway::view;
use devstack_repository::history::Bounded;
use devstack_runtime::RuntimeError;

/// The longest diff shown, in bytes.
const DIFF_MAX: usize = 8 << 20;

/// Bytes of a finished log read at once.
const CHUNK: usize = 64 << 10;

impl Core {
    /// The changes of the newest harvested commit, compared with the start of its attempt.
    pub(super) async fn diff_of(&self, task: TaskRef) -> Result<ByteStream, ApiError> {
        let known = task.clone();
        let look = move |seen: &View<'_>| {
            let project = seen.engine.project(&known.project);
            let protected = project.map(|project| project.spec.protected.clone()).unwrap_or_default();
            view::task(seen.engine, &known).map(|task| (task, protected))
        };
        let (view::Seen { record, attempts, .. }, first) = self.look(look).await??;
        let nothing = || ApiError::not_found(code::NOTHING_THERE, format!("{task} has no commit yet"));
        let (number, commit) = record.harvested.ok_or_else(nothing)?;
        let attempt = attempts.iter().find(|attempt| attempt.attempt.number == number).ok_or_else(nothing)?;
        let base = attempt.start.base().ok_or_else(nothing)?;
        let hub = self.hub(&task.project).await?;
        let wanted = Wanted { from: base, to: commit, paths: Vec::new(), first, limit: DIFF_MAX };
        Ok(once(shown(&*self.diffs.get(hub, wanted).await?)))
    }

    /// Reads from the runtime while its files exist, then from the log archive.
    pub(super) async fn log_of(
        &self,
        task: TaskRef,
        number: Option<u32>,
        follow: bool,
    ) -> Result<ByteStream, ApiError> {
        let known = task.clone();
        let view::Seen { record, attempts, .. } = self.look(move |seen| view::task(seen.engine, &known)).await??;
        let number = number.unwrap_or(record.attempts);
        if number == 0 || number > record.attempts {
            let hint = if record.attempts == 0 { "it has not started yet" } else { "see `devstack task show`" };
            return Err(ApiError::not_found(code::NOTHING_THERE, format!("{task} has no attempt {number}")).hint(hint));
        }
        let host = attempts.iter().find(|attempt| attempt.attempt.number == number).map(|attempt| attempt.host.clone());
        let attempt = AttemptId { task, number };
        if let Some(host) = &self.host {
            match host.runtime.log(&attempt, 0, follow).await {
                Ok(reader) => {
                    return Ok(Box::pin(futures::stream::unfold(reader, |mut reader| async move {
                        let next = reader.next().await.transpose()?;
                        Some((next.map(Bytes::from), reader))
                    })));
                }
                Err(RuntimeError::Unknown(_)) => {}
                Err(error) => return Err(errors::internal(error)),
            }
        }
        self.shelved(&attempt, host, follow).await
    }

    /// Reads from the log archive; if the log is not there, from the host on which it ran.
    async fn shelved(&self, attempt: &AttemptId, host: Option<HostName>, follow: bool) -> Result<ByteStream, ApiError> {
        match tokio::fs::File::open(self.shelf.log_of(attempt)).await {
            Ok(file) => return Ok(Box::pin(Chunks(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(errors::internal(error)),
        }
        let here = self.host.as_ref().map(|here| &here.name);
        let away = self.remote.as_ref().zip(host.filter(|host| Some(host) != here));
        // There was no output, or the log is past its retention.
        let Some((remote, host)) = away else { return Ok(once(String::new())) };
        remote.downlink.log(&host, attempt.clone(), follow).ok_or_else(|| {
            let hint =
                "the log is available when the host is back; `devstack host list` shows how long it has been silent";
            ApiError::unavailable(format!("host {host} is not connected")).hint(hint)
        })
    }
}

fn shown(patch: &Bounded) -> String {
    let cut = if patch.truncated { "\n(the diff is longer; the rest is left out)\n" } else { "" };
    [patch.text.as_str(), cut].concat()
}

fn once(text: String) -> ByteStream {
    Box::pin(futures::stream::once(async move { Ok(Bytes::from(text)) }))
}

/// Reads a file chunk by chunk.
struct Chunks(tokio::fs::File);

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Option<Self::Item>> {
        let mut buffer = vec![0; CHUNK];
        let mut read = tokio::io::ReadBuf::new(&mut buffer);
        std::task::ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), context, &mut read))?;
        let length = read.filled().len();
        buffer.truncate(length);
        task::Poll::Ready((length > 0).then(|| Ok(buffer.into())))
    }
}
