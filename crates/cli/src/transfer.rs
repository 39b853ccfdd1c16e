//! Resumable uploads to a node and downloads from it: after a broken connection the transfer continues where it
//! stopped.
//! Deliberately absent: the content of the files.

use std::{io::SeekFrom, path::Path, time::Duration};

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt};
use indicatif::ProgressBar;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use super::{
    CliError, Exit,
    client::{Client, parse},
};
use devstack_api::{
    dto::{self, DIGEST, SIZE},
    error::code,
};

/// Bytes per read.
const CHUNK: usize = 256 << 10;
/// How often in a row a connection may break without any progress.
const TRIES: u32 = 5;
/// The pause between two tries: a restarting node is back in about a second.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts tries without progress.
#[derive(Default)]
struct Patience {
    furthest: u64,
    idle: u32,
}

impl Patience {
    /// Records the position; returns whether another try is worthwhile.
    fn goes_on(&mut self, at: u64) -> bool {
        self.idle = if at > self.furthest { 0 } else { self.idle + 1 };
        self.furthest = self.furthest.max(at);
        self.idle < TRIES
    }

    /// Waits for the next try. Returns the error if a retry cannot help, or after too many tries.
    async fn after(&mut self, error: CliError, at: u64) -> Result<(), CliError> {
        // The node may still count the upload whose connection broke.
        let again = error.exit == Exit::Unreachable || &*error.error.problem.code == code::TOO_MANY;
        if !again || !self.goes_on(at) {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Uploads a bundle; `path` has a query without the offset.
pub(super) async fn push(client: &Client, path: &str, bundle: &Path, bar: &ProgressBar) -> Result<String, CliError> {
    // Send no data before the node has accepted the upload and reported its offset.
    let (mut at, mut asked) = (0, false);
    let mut patience = Patience::default();
    loop {
        let body = if asked { Body::from_stream(chunks(bundle, at, bar.clone()).await?) } else { Body::empty() };
        let sent = client.post(&format!("{path}&offset={at}"), body, "application/octet-stream").await;
        match sent.and_then(|answer| parse::<dto::Pushed>(&answer)) {
            Ok(dto::Pushed { source: Some(source), .. }) => return Ok(source),
            Ok(said) => {
                at = said.bytes;
                if asked && !patience.goes_on(at) {
                    return Err(CliError::failure(
                        "the upload makes no progress: the node receives other data than was sent",
                    )
                    .hint("try again; if it fails again, find what changes data between this machine and the node"));
                }
                asked = true;
            }
            Err(error) => {
                patience.after(error, at).await?;
                asked = false;
            }
        }
    }
}

/// Streams a file from an offset.
async fn chunks(
    file: &Path,
    from: u64,
    bar: ProgressBar,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>, CliError> {
    let mut file = File::open(file).await?;
    file.seek(SeekFrom::Start(from)).await?;
    bar.set_position(from);
    Ok(futures::stream::try_unfold(file, move |mut file| {
        let bar = bar.clone();
        async move {
            let mut buffer = vec![0; CHUNK];
            let read = file.read(&mut buffer).await?;
            buffer.truncate(read);
            bar.inc(read as u64);
            Ok((read > 0).then(|| (Bytes::from(buffer), file)))
        }
    }))
}

/// The state of a download.
#[derive(Default)]
struct Download {
    digest: Option<String>,
    hasher: blake3::Hasher,
    bytes: u64,
}

/// Downloads into a new file and checks the digest; `path` has a query. Returns its size in bytes.
pub(super) async fn download(client: &Client, path: &str, to: &Path) -> Result<u64, CliError> {
    let mut file = File::create(to).await?;
    let (mut state, mut patience) = (Download::default(), Patience::default());
    loop {
        match part(client, path, &mut file, &mut state).await {
            Ok(()) => return Ok(state.bytes),
            Err(error) => patience.after(error, state.bytes).await?,
        }
    }
}

async fn part(client: &Client, path: &str, file: &mut File, state: &mut Download) -> Result<(), CliError> {
    let broken = |why: &str| CliError::unreachable(format!("the download was interrupted: {why}"));
    let answer = client.answer(&format!("{path}&from={}", state.bytes)).await?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(digest), Some(size)) = (header(DIGEST), header(SIZE).and_then(|size| size.parse::<u64>().ok())) else {
        return Err(CliError::failure("the node's answer lacks its digest or its size"));
    };
    if state.digest.as_ref().is_some_and(|known| *known != digest) {
        *state = Download::default();
        file.set_len(0).await?;
        file.rewind().await?;
        return Err(broken("the branch has changed meanwhile"));
    }
    let mut body = answer.into_body().into_data_stream();
    state.digest = Some(digest.clone());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| broken(&error.to_string()))?;
        state.bytes += chunk.len() as u64;
        state.hasher.update(&chunk);
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    if state.bytes < size {
        return Err(broken("the connection ended early"));
    }
    if state.bytes > size || state.hasher.finalize().to_hex().as_str() != digest {
        return Err(
            CliError::failure("the downloaded data is damaged: its digest differs").hint("run the command again")
        );
    }
    Ok(())
}
