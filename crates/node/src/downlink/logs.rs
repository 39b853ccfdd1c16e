//! Logs that readers request from hosts: each reader waits on its own channel, into which its host sends.
//! Deliberately absent: storing logs.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::Bytes;
use devstack_cluster::NodeName;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::Downlink;
use devstack_api::ByteStream;

/// Number of buffered chunks for a reader that is slower than its host: at most 64 KiB each.
const CHUNKS: usize = 8;

type Chunk = io::Result<Bytes>;

#[derive(Default)]
pub(super) struct Logs {
    next: AtomicU64,
    channels: Arc<Mutex<HashMap<u64, Channel>>>,
}

struct Channel {
    host: NodeName,
    reader: mpsc::Sender<Chunk>,
}

/// Held by the reader: dropping it closes the channel and notifies the host.
struct Open {
    channel: u64,
    host: NodeName,
    channels: Arc<Mutex<HashMap<u64, Channel>>>,
    downlink: Downlink,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.channels).remove(&self.channel);
        self.downlink.close_log(&self.host, self.channel);
    }
}

impl Logs {
    /// Opens a channel, and returns the stream for its reader.
    pub(super) fn open(&self, host: NodeName, downlink: Downlink) -> (u64, ByteStream) {
        let channel = self.next.fetch_add(1, Ordering::Relaxed);
        let (reader, chunks) = mpsc::channel(CHUNKS);
        lock(&self.channels).insert(channel, Channel { host: host.clone(), reader });
        let open = Open { channel, host, channels: self.channels.clone(), downlink };
        let stream = futures::stream::unfold((chunks, open), |(mut chunks, open)| async move {
            let chunk = chunks.recv().await?;
            Some((chunk, (chunks, open)))
        });
        (channel, stream.boxed())
    }

    /// Forwards a host's data at the speed of the reader. A channel of another host accepts nothing.
    pub(super) async fn feed(&self, host: &NodeName, channel: u64, mut body: ByteStream) {
        let Some(reader) = self.take(host, channel) else { return };
        while let Some(chunk) = body.next().await {
            if reader.send(chunk).await.is_err() {
                return;
            }
        }
    }

    /// The host has nothing to send.
    pub(super) fn none(&self, host: &NodeName, channel: u64, why: Option<String>) {
        if let (Some(reader), Some(why)) = (self.take(host, channel), why) {
            // The channel has room, because nothing was sent before.
            let _ = reader.try_send(Err(io::Error::other(why)));
        }
    }

    /// Nothing more comes from this host: its readers end.
    pub(super) fn host_gone(&self, host: &NodeName) {
        lock(&self.channels).retain(|_, channel| channel.host != *host);
    }

    fn take(&self, host: &NodeName, channel: u64) -> Option<mpsc::Sender<Chunk>> {
        let mut channels = lock(&self.channels);
        if channels.get(&channel)?.host != *host {
            return None;
        }
        channels.remove(&channel).map(|channel| channel.reader)
    }
}

fn lock(channels: &Mutex<HashMap<u64, Channel>>) -> MutexGuard<'_, HashMap<u64, Channel>> {
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}
