//! Sends logs to the Taskmaster: as a stream while somebody reads, and once completely when an attempt's other files
//! are removed. The logs also stay in this host's log archive. Deliberately absent: reading them (the runtime and the
//! log archive do).

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use devstack_dag::ids::AttemptId;
use futures::StreamExt;
use tokio::{fs::File, io::AsyncReadExt, task::AbortHandle};

use super::{Uplink, bulk};
use crate::wire::{LogOrder, ToTaskmaster};
use devstack_api::ByteStream;
use devstack_runtime::RuntimeError;

/// Streams in progress, by channel.
#[derive(Default)]
pub(super) struct Logs(Arc<Mutex<HashMap<u64, AbortHandle>>>);

impl Logs {
    /// Sends a requested log.
    pub(super) fn send(&self, uplink: &Uplink, order: LogOrder) {
        let (channel, streams, uplink) = (order.channel, self.0.clone(), uplink.clone());
        let tokio = uplink.tokio().clone();
        // Held until the stream is registered, so that its end finds it.
        let mut known = lock(&self.0);
        let task = tokio.spawn(async move {
            match open(&uplink, &order).await {
                Ok(Some(log)) => {
                    if let Err(error) = uplink.0.bulk.stream(&format!("/v1/nodes/logs/{channel}"), log).await {
                        tracing::debug!(attempt = %order.attempt, %error, "the reader of a log disconnected");
                    }
                }
                Ok(None) => uplink.send(ToTaskmaster::NoLog { channel, why: None }),
                Err(why) => uplink.send(ToTaskmaster::NoLog { channel, why: Some(why) }),
            }
            lock(&streams).remove(&channel);
        });
        known.insert(channel, task.abort_handle());
    }

    /// The reader is gone.
    pub(super) fn close(&self, channel: u64) {
        if let Some(stream) = lock(&self.0).remove(&channel) {
            stream.abort();
        }
    }

    /// All readers are gone.
    pub(super) fn close_all(&self) {
        lock(&self.0).drain().for_each(|(_, stream)| stream.abort());
    }

    /// Sends a finished log to the Taskmaster's log archive; of a long log only the end. If this fails, the log is
    /// requested when somebody wants to read it.
    pub(super) fn ship(&self, uplink: &Uplink, attempt: AttemptId) {
        let Some(welcome) = uplink.welcome() else { return };
        let uplink = uplink.clone();
        uplink.tokio().clone().spawn(async move {
            let Some(host) = uplink.host() else { return };
            if let Err(error) = uplink.0.bulk.ship_log(&attempt, &host.shelf.log_of(&attempt), welcome.log_size).await {
                tracing::debug!(%attempt, %error, "the log was not sent; it stays on this host");
            }
        });
    }
}

/// Reads from the runtime while its files exist, then from the log archive; `None` if the log is in neither.
async fn open(uplink: &Uplink, order: &LogOrder) -> Result<Option<ByteStream>, String> {
    let Some(host) = uplink.host() else { return Ok(None) };
    match host.runtime.log(&order.attempt, 0, order.follow).await {
        Ok(reader) => Ok(Some(
            futures::stream::unfold(reader, |mut reader| async move {
                let next = reader.next().await.transpose()?;
                Some((next.map(Bytes::from), reader))
            })
            .boxed(),
        )),
        Err(RuntimeError::Unknown(_)) => match File::open(host.shelf.log_of(&order.attempt)).await {
            Ok(file) => Ok(Some(bulk::chunks(file.take(u64::MAX)).boxed())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn lock(streams: &Mutex<HashMap<u64, AbortHandle>>) -> MutexGuard<'_, HashMap<u64, AbortHandle>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}
