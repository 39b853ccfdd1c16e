//! Files to a node and from it, in parts: a connection that breaks costs the rest and not the beginning.
//! Deliberately absent: what is in them.

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
use crate::gateway::{
    dto::{self, DIGEST, SIZE},
    error::code,
};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// So many times in a row a connection may break without having brought a byte.
const TRIES: u32 = 5;
/// Between two tries: a node that restarts is back in about a second.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts tries that bring nothing.
#[derive(Default)]
struct Patience {
    furthest: u64,
    idle: u32,
}

impl Patience {
    /// Is it worth another try?
    fn goes_on(&mut self, at: u64) -> bool {
        self.idle = if at > self.furthest { 0 } else { self.idle + 1 };
        self.furthest = self.furthest.max(at);
        self.idle < TRIES
    }

    /// Waits for the next try; an error that another try does not mend, or one too many, is returned.
    async fn after(&mut self, error: CliError, at: u64) -> Result<(), CliError> {
        // The upload whose connection broke may be there for a moment.
        let again = error.exit == Exit::Unreachable || &*error.error.problem.code == code::TOO_MANY;
        if !again || !self.goes_on(at) {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Pushes a bundle; `path` has a query that lacks the offset.
pub(super) async fn push(client: &Client, path: &str, bundle: &Path, bar: &ProgressBar) -> Result<String, CliError> {
    // Nothing is sent before the node has said that it takes it, and where it stands.
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
                    return Err(CliError::failure("the upload does not get on: what arrives is not what was sent")
                        .hint("try again; if it stays so, look for what changes data between here and the node"));
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

/// A file from a byte on.
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

/// How far a download is.
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
    let broken = |why: &str| CliError::unreachable(format!("the download broke off: {why}"));
    let answer = client.answer(&format!("{path}&from={}", state.bytes)).await?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(digest), Some(size)) = (header(DIGEST), header(SIZE).and_then(|size| size.parse::<u64>().ok())) else {
        return Err(CliError::failure("the node's answer does not say what it holds"));
    };
    if state.digest.as_ref().is_some_and(|known| *known != digest) {
        *state = Download::default();
        file.set_len(0).await?;
        file.rewind().await?;
        return Err(broken("the branch moved on meanwhile"));
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
        return Err(CliError::failure("what arrived is damaged: its digest is another").hint("run it again"));
    }
    Ok(())
}
