//! Large transfers between an agent host and its Taskmaster, over HTTPS with the node's certificate: resumable
//! downloads and uploads that are checked by digest, and streams. Deliberately absent: what the bytes are.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{Method, Request, Response, StatusCode},
};
use devstack_cluster::Credentials;
use devstack_dag::ids::AttemptId;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    sync::watch,
};

use crate::wire::Uploaded;
use devstack_api::{
    ApiError, ByteStream,
    dto::{self, DIGEST, SIZE},
    https::{Https, HttpsError},
};

/// How long a transfer is retried over broken connections without progress: longer than a restart of the Taskmaster.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection without any transferred byte for this long is given up: by then TCP has sent a lost packet again three
/// times, and the peer does not wait this long for us.
const STALL: Duration = Duration::from_secs(10);
/// The pause between tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// The longest small answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BulkError {
    /// The Taskmaster does not answer, or went away in the middle: try again when it is back.
    #[error("the Taskmaster cannot be reached: {0}")]
    Unreachable(String),
    /// The Taskmaster refuses, and says why.
    #[error("{0}")]
    Refused(String),
    /// The data is too large for the Taskmaster.
    #[error("{0}")]
    TooLarge(String),
    /// This host's disk fails, or a file is not as expected.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<HttpsError> for BulkError {
    fn from(error: HttpsError) -> Self {
        match error {
            HttpsError::Refused(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<ApiError> for BulkError {
    fn from(error: ApiError) -> Self {
        match error.status {
            413 => Self::TooLarge(error.to_string()),
            500..=599 => Self::Unreachable(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// A client of one Taskmaster's API. Cloning is cheap.
#[derive(Clone)]
pub struct Bulk {
    address: Arc<str>,
    credentials: Arc<Credentials>,
    limits: BulkLimits,
}

/// Limits on what we accept from the peer.
#[derive(Debug, Clone, Copy)]
pub struct BulkLimits {
    /// The largest download, in bytes.
    pub size: u64,
    /// The longest wait for the beginning of an answer, after the whole request was sent: the Taskmaster may be
    /// packing.
    pub answer: Duration,
}

impl Bulk {
    /// A client of the API at `HOST:PORT`.
    pub fn new(address: &str, credentials: Arc<Credentials>, limits: BulkLimits) -> Self {
        Self { address: address.into(), credentials, limits }
    }

    /// Requests a small answer and parses it. Retried while nobody answers.
    pub(super) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, BulkError> {
        let bytes = self.patiently(|| self.bytes(path)).await?;
        serde_json::from_slice(&bytes).map_err(|error| BulkError::Refused(format!("cannot parse its answer: {error}")))
    }

    /// The bytes of an answer, at most `ANSWER_MAX` or the limit of a text.
    pub(super) async fn text(&self, path: &str, max: u64) -> Result<Vec<u8>, BulkError> {
        self.patiently(|| async {
            let response = self.ask(path).await?;
            collect(response, usize::try_from(max).unwrap_or(usize::MAX)).await.map(Vec::from)
        })
        .await
    }

    /// Downloads into a new file, resumes after a broken connection, and checks the digest.
    pub(super) async fn download(&self, path: &str, to: &Path) -> Result<(), BulkError> {
        // Left by an earlier try that was given up.
        match fs::remove_file(to).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut state = Download { digest: None, hasher: blake3::Hasher::new(), bytes: 0 };
        let mut got_on = Instant::now();
        loop {
            let before = state.bytes;
            match self.part(path, to, &mut state).await {
                Ok(()) => return Ok(()),
                Err(BulkError::Unreachable(why)) if state.bytes > before || got_on.elapsed() < PATIENCE => {
                    if state.bytes > before {
                        got_on = Instant::now();
                    }
                    tracing::debug!(%why, bytes = state.bytes, "a download was interrupted; will resume");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn part(&self, path: &str, to: &Path, state: &mut Download) -> Result<(), BulkError> {
        let from = state.bytes;
        let joint = if path.contains('?') { '&' } else { '?' };
        let response = self.ask(&format!("{path}{joint}from={from}")).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (Some(digest), Some(size)) = (header(DIGEST), header(SIZE).and_then(|size| size.parse::<u64>().ok()))
        else {
            return Err(BulkError::Refused("its answer lacks its size or digest".into()));
        };
        let max = self.limits.size;
        if size > max {
            return Err(BulkError::TooLarge(format!("{size} bytes exceed the limit of {max}")));
        }
        if state.digest.as_ref().is_some_and(|known| *known != digest) {
            // The file was made anew meanwhile: start again.
            *state = Download { digest: Some(digest), hasher: blake3::Hasher::new(), bytes: 0 };
            fs::remove_file(to).await?;
            return Err(BulkError::Unreachable("the file changed since the last part".into()));
        }
        state.digest = Some(digest.clone());
        let mut file = File::options().create(true).append(true).open(to).await?;
        let mut body = response.into_body().into_data_stream();
        while let Some(chunk) = in_time(body.next()).await? {
            let chunk = chunk.map_err(|error| BulkError::Unreachable(error.to_string()))?;
            state.bytes += chunk.len() as u64;
            if state.bytes > size {
                return Err(BulkError::Refused("it sent more than it announced".into()));
            }
            state.hasher.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        if state.bytes < size {
            return Err(BulkError::Unreachable("the connection ended early".into()));
        }
        if state.hasher.finalize().to_hex().as_str() != digest {
            return Err(BulkError::Refused("the download is damaged: its digest does not match".into()));
        }
        Ok(())
    }

    /// Uploads the result of an attempt, and resumes after a broken connection.
    pub(super) async fn upload(&self, attempt: &AttemptId, file: &Path) -> Result<Uploaded, BulkError> {
        let file = open_plain(file)?;
        let mut file = File::from_std(file);
        let (digest, size) = digest(&mut file).await?;
        let uploaded = Uploaded { size, digest: *digest.as_bytes() };
        let path = format!("{}/result?size={size}&digest={}", of_attempt(attempt), digest.to_hex());
        let (mut got_on, mut furthest, mut offset) = (Instant::now(), 0, 0);
        // Parts of a large file may exist from an earlier try: the Taskmaster is asked first, so that nothing is sent
        // twice.
        let mut ask = size > CHUNK as u64;
        loop {
            let said = self.send_part(&path, &mut file, offset, if ask { offset } else { size }).await;
            match said {
                Ok(said) if said.complete => return Ok(uploaded),
                // The offset that the Taskmaster reports.
                Ok(said) => (offset, ask) = (said.bytes, false),
                Err(BulkError::Unreachable(why)) if got_on.elapsed() < PATIENCE => {
                    tracing::debug!(%attempt, %why, "an upload was interrupted; will resume");
                    ask = true;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
            if offset > furthest {
                (got_on, furthest) = (Instant::now(), offset);
            } else if got_on.elapsed() > PATIENCE {
                return Err(BulkError::Unreachable("the upload makes no progress".into()));
            }
        }
    }

    /// Sends the bytes from `offset` to `end`; an empty range only asks for the state.
    async fn send_part(&self, path: &str, file: &mut File, offset: u64, end: u64) -> Result<dto::Received, BulkError> {
        let mut file = file.try_clone().await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        let body = chunks(file.take(end.saturating_sub(offset))).boxed();
        let response = self.post(&format!("{path}&offset={offset}"), body, Stalling::GivenUp).await?;
        let bytes = collect(response, ANSWER_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| BulkError::Refused(format!("cannot parse its answer: {error}")))
    }

    /// Sends the end of a finished log, at most `max` bytes.
    pub(super) async fn ship_log(&self, attempt: &AttemptId, file: &Path, max: u64) -> Result<(), BulkError> {
        let mut file = match File::open(file).await {
            // There was no output.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let size = file.metadata().await?.len();
        file.seek(io::SeekFrom::Start(size.saturating_sub(max))).await?;
        let path = format!("{}/log", of_attempt(attempt));
        let response = self.post(&path, chunks(file.take(max)).boxed(), Stalling::GivenUp).await?;
        collect(response, ANSWER_MAX).await.map(drop)
    }

    /// Sends a stream to its end, however long it pauses.
    pub(super) async fn stream(&self, path: &str, body: ByteStream) -> Result<(), BulkError> {
        let response = self.post(path, body, Stalling::Waited).await?;
        collect(response, ANSWER_MAX).await.map(drop)
    }

    async fn bytes(&self, path: &str) -> Result<Bytes, BulkError> {
        collect(self.ask(path).await?, ANSWER_MAX).await
    }

    async fn ask(&self, path: &str) -> Result<Response<Body>, BulkError> {
        tokio::select! {
            response = self.send(Method::GET, path, Body::empty()) => response,
            silent = self.silence() => Err(silent),
        }
    }

    /// Sends this body; the time limit for the answer begins at its end.
    async fn post(&self, path: &str, body: ByteStream, stalling: Stalling) -> Result<Response<Body>, BulkError> {
        // The sender is dropped with the last part.
        let (moved, mut moves) = watch::channel(());
        let body = body.inspect(move |_| {
            moved.send_replace(());
        });
        let given_up = async {
            loop {
                let next = match stalling {
                    Stalling::GivenUp => in_time(moves.changed()).await,
                    Stalling::Waited => Ok(moves.changed().await),
                };
                match next {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return self.silence().await,
                    Err(stalled) => return stalled,
                }
            }
        };
        tokio::select! {
            response = self.send(Method::POST, path, Body::from_stream(body)) => response,
            given_up = given_up => Err(given_up),
        }
    }

    /// No answer arrives. If the machine is gone, the connection notices sooner.
    async fn silence(&self) -> BulkError {
        tokio::time::sleep(self.limits.answer).await;
        BulkError::Unreachable(format!("no answer began within {} s", self.limits.answer.as_secs()))
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response<Body>, BulkError> {
        let https = Https::new(&self.address, self.credentials.client_config())?;
        let request = Request::builder().method(method).uri(path).body(body);
        let request = request.map_err(|error| BulkError::Refused(format!("cannot request `{path}`: {error}")))?;
        let response = https.send(request).await?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = collect(response, ANSWER_MAX).await?;
        Err(ApiError::from_answer(status, &body).into())
    }

    /// Retries while nobody answers.
    async fn patiently<T>(&self, job: impl AsyncFn() -> Result<T, BulkError>) -> Result<T, BulkError> {
        let started = Instant::now();
        loop {
            match job().await {
                Err(BulkError::Unreachable(_)) if started.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                done => return done,
            }
        }
    }
}

/// The meaning of a pause while sending a body.
#[derive(Debug, Clone, Copy)]
enum Stalling {
    /// The peer accepts no data: the connection is given up.
    GivenUp,
    /// There is no data yet: a live stream.
    Waited,
}

/// The progress of a download.
struct Download {
    digest: Option<String>,
    hasher: blake3::Hasher,
    bytes: u64,
}

fn of_attempt(attempt: &AttemptId) -> String {
    format!("/v1/nodes/attempts/{}/{}/{}", attempt.task.project, attempt.task.id, attempt.number)
}

/// Opens a regular file; a link, pipe or device that an agent put in its place is refused unopened.
fn open_plain(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = std::fs::File::options().read(true).custom_flags(flags.bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("the result is not a regular file")),
    }
}

async fn digest(file: &mut File) -> io::Result<(blake3::Hash, u64)> {
    let (mut hasher, mut buffer, mut size) = (blake3::Hasher::new(), vec![0; CHUNK], 0);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok((hasher.finalize(), size)),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

pub(super) fn chunks(file: tokio::io::Take<File>) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold(file, |mut file| async move {
        let mut buffer = vec![0; CHUNK];
        let read = file.read(&mut buffer).await?;
        buffer.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(buffer), file)))
    })
    .into_stream()
}

async fn collect(response: Response<Body>, max: usize) -> Result<Bytes, BulkError> {
    let limited = http_body_util::Limited::new(response.into_body(), max);
    let body = in_time(limited.collect()).await?.map_err(|error| BulkError::Unreachable(error.to_string()))?;
    Ok(body.to_bytes())
}

/// The next event on a connection, within the time limit.
async fn in_time<T>(next: impl Future<Output = T>) -> Result<T, BulkError> {
    let stalled = |_| BulkError::Unreachable(format!("no data for {} s", STALL.as_secs()));
    tokio::time::timeout(STALL, next).await.map_err(stalled)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::{Router, routing::any};
    use devstack_cluster::{ClusterCa, NodeKey, NodeName, Purpose, SigningRequest, tls};
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;
    use crate::node::unix_seconds;
    use devstack_gateway::server::TlsServer;

    /// The limit in a test that must reach it, and in one that must not.
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(120);

    struct Server {
        bulk: Bulk,
        dir: tempfile::TempDir,
        _stop: watch::Sender<bool>,
    }

    /// A Taskmaster with these answers.
    async fn server(router: Router, answer: Duration) -> Server {
        tls::install_provider();
        let (dir, now) = (tempfile::tempdir().unwrap(), unix_seconds());
        let ca = ClusterCa::create("test", now).unwrap();
        let node = |name: &str| {
            let key = NodeKey::generate().unwrap();
            let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
            let (name, names) = (NodeName::new(name).unwrap(), ["127.0.0.1".to_owned()]);
            let issued = ca.issue(&request, &name, &names, Purpose::Server, LONG, now).unwrap();
            let place = dir.path().join(name.as_str());
            Arc::new(Credentials::create(&place, &key, &issued.certificate_pem, ca.certificate_pem(), now).unwrap())
        };
        let (boss, host) = (node("boss"), node("host"));
        let listening = TlsServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listening.address().to_string();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listening.serve(router, boss, devstack_config::node::Limits::default(), stopped));
        Server { bulk: Bulk::new(&address, host, BulkLimits { size: 1 << 20, answer }), dir, _stop: stop }
    }

    fn silent() -> Router {
        Router::new().fallback(any(|body: Body| async move {
            // Accepts everything, and sends nothing.
            let _ = body.collect().await;
            std::future::pending::<()>().await;
        }))
    }

    fn attempt() -> AttemptId {
        let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new("a").unwrap() };
        AttemptId { task, number: 1 }
    }

    #[track_caller]
    fn is_silence<T>(answer: Result<T, BulkError>) {
        let Err(BulkError::Unreachable(why)) = answer else { panic!("it is not given up as one that is not there") };
        assert!(why.starts_with("no answer began"), "{why}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let server = server(silent(), SHORT).await;
        is_silence(server.bulk.bytes("/v1/x").await);
        let to = server.dir.path().join("download");
        let mut state = Download { digest: None, hasher: blake3::Hasher::new(), bytes: 0 };
        is_silence(server.bulk.part("/v1/x", &to, &mut state).await);
        std::fs::write(&to, "result").unwrap();
        let mut file = File::open(&to).await.unwrap();
        is_silence(server.bulk.send_part("/v1/x?size=6", &mut file, 0, 6).await);
        is_silence(server.bulk.ship_log(&attempt(), &to, 6).await);
        is_silence(server.bulk.stream("/v1/x", futures::stream::empty().boxed()).await);
    }

    /// A live stream may pause for longer than the time limit of an answer, which counts from the end.
    #[tokio::test]
    async fn an_answer_is_awaited_from_the_end_of_the_request() {
        let took = Arc::new(AtomicU32::new(0));
        let (taken, heard) = (took.clone(), took.clone());
        let router = Router::new().fallback(any(move |body: Body| async move {
            let bytes = body.collect().await.unwrap().to_bytes();
            taken.store(u32::try_from(bytes.len()).unwrap(), Ordering::SeqCst);
        }));
        let server = server(router, SHORT).await;
        let slow = futures::stream::iter(0..3).then(|_| async {
            tokio::time::sleep(SHORT).await;
            Ok(Bytes::from_static(b"line\n"))
        });
        server.bulk.stream("/v1/x", slow.boxed()).await.unwrap();
        assert_eq!(heard.load(Ordering::SeqCst), 15);
    }

    /// Longer than the limit on silence during a transfer: the Taskmaster packs.
    #[tokio::test]
    async fn an_answer_may_take_its_time() {
        let router = Router::new().fallback(any(|| async {
            tokio::time::sleep(STALL + SHORT).await;
            "packed"
        }));
        let server = server(router, LONG).await;
        assert_eq!(server.bulk.bytes("/v1/x").await.unwrap(), "packed");
    }
}
