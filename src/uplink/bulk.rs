//! Everything large between an agent host and its Taskmaster, over HTTPS with the node's certificate: downloads and
//! uploads that go on where they broke off, checked by digest, and streams.
//! Deliberately absent: what the bytes are.

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

use crate::{
    gateway::{
        ApiError, ByteStream,
        dto::{self, DIGEST, SIZE},
        https::{Https, HttpsError},
    },
    wire::Uploaded,
};

/// How long one thing is tried over broken connections while it does not get on: longer than a Taskmaster's restart.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection on which no byte moves for so long is given up: TCP has sent a lost packet again three times by then, and
/// longer than the other end waits for ours.
const STALL: Duration = Duration::from_secs(10);
/// Between tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// The longest small answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum BulkError {
    /// The Taskmaster does not answer, or went away in the middle: try again when it is back.
    #[error("the Taskmaster cannot be reached: {0}")]
    Unreachable(String),
    /// It refuses, and says why.
    #[error("{0}")]
    Refused(String),
    /// It takes nothing so large.
    #[error("{0}")]
    TooLarge(String),
    /// This host's disk fails, or a file is not what it should be.
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

/// The way to one Taskmaster's API. Cloning is cheap.
#[derive(Clone)]
pub struct Bulk {
    address: Arc<str>,
    credentials: Arc<Credentials>,
    limits: BulkLimits,
}

/// What is borne of the other end.
#[derive(Debug, Clone, Copy)]
pub struct BulkLimits {
    /// The largest download, in bytes.
    pub size: u64,
    /// The longest wait for an answer to begin, once all of the request was sent: the Taskmaster may be packing.
    pub answer: Duration,
}

impl Bulk {
    /// To the API at `HOST:PORT`.
    pub fn new(address: &str, credentials: Arc<Credentials>, limits: BulkLimits) -> Self {
        Self { address: address.into(), credentials, limits }
    }

    /// A small answer, read. Tried again while nobody answers.
    pub(super) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, BulkError> {
        let bytes = self.patiently(|| self.bytes(path)).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| BulkError::Refused(format!("its answer is not understood: {error}")))
    }

    /// The bytes of an answer, at most `ANSWER_MAX` or what a text may have.
    pub(super) async fn text(&self, path: &str, max: u64) -> Result<Vec<u8>, BulkError> {
        self.patiently(|| async {
            let response = self.ask(path).await?;
            collect(response, usize::try_from(max).unwrap_or(usize::MAX)).await.map(Vec::from)
        })
        .await
    }

    /// Downloads into a new file, going on where a broken connection ended, and checks the digest.
    pub(super) async fn download(&self, path: &str, to: &Path) -> Result<(), BulkError> {
        // Of an earlier try that was given up.
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
                    tracing::debug!(%why, bytes = state.bytes, "a download goes on in a moment");
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
            return Err(BulkError::Refused("its answer does not say what it holds".into()));
        };
        let max = self.limits.size;
        if size > max {
            return Err(BulkError::TooLarge(format!("{size} bytes are more than the {max} that are allowed")));
        }
        if state.digest.as_ref().is_some_and(|known| *known != digest) {
            // It was made anew meanwhile: begin again.
            *state = Download { digest: Some(digest), hasher: blake3::Hasher::new(), bytes: 0 };
            fs::remove_file(to).await?;
            return Err(BulkError::Unreachable("the file is another than before".into()));
        }
        state.digest = Some(digest.clone());
        let mut file = File::options().create(true).append(true).open(to).await?;
        let mut body = response.into_body().into_data_stream();
        while let Some(chunk) = in_time(body.next()).await? {
            let chunk = chunk.map_err(|error| BulkError::Unreachable(error.to_string()))?;
            state.bytes += chunk.len() as u64;
            if state.bytes > size {
                return Err(BulkError::Refused("it sends more than it says".into()));
            }
            state.hasher.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        if state.bytes < size {
            return Err(BulkError::Unreachable("the connection ended early".into()));
        }
        if state.hasher.finalize().to_hex().as_str() != digest {
            return Err(BulkError::Refused("what arrived is damaged: its digest is another".into()));
        }
        Ok(())
    }

    /// Uploads the result of an attempt, going on where a broken connection ended.
    pub(super) async fn upload(&self, attempt: &AttemptId, file: &Path) -> Result<Uploaded, BulkError> {
        let file = open_plain(file)?;
        let mut file = File::from_std(file);
        let (digest, size) = digest(&mut file).await?;
        let uploaded = Uploaded { size, digest: *digest.as_bytes() };
        let path = format!("{}/result?size={size}&digest={}", of_attempt(attempt), digest.to_hex());
        let (mut got_on, mut furthest, mut offset) = (Instant::now(), 0, 0);
        // Of what is large some may be there from an earlier try: the other side is asked before anything is sent twice.
        let mut ask = size > CHUNK as u64;
        loop {
            let said = self.send_part(&path, &mut file, offset, if ask { offset } else { size }).await;
            match said {
                Ok(said) if said.complete => return Ok(uploaded),
                // Where the other side stands.
                Ok(said) => (offset, ask) = (said.bytes, false),
                Err(BulkError::Unreachable(why)) if got_on.elapsed() < PATIENCE => {
                    tracing::debug!(%attempt, %why, "an upload goes on in a moment");
                    ask = true;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
            if offset > furthest {
                (got_on, furthest) = (Instant::now(), offset);
            } else if got_on.elapsed() > PATIENCE {
                return Err(BulkError::Unreachable("the upload does not get on".into()));
            }
        }
    }

    /// Sends the bytes from `offset` to `end`; none only ask.
    async fn send_part(&self, path: &str, file: &mut File, offset: u64, end: u64) -> Result<dto::Received, BulkError> {
        let mut file = file.try_clone().await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        let body = chunks(file.take(end.saturating_sub(offset))).boxed();
        let response = self.post(&format!("{path}&offset={offset}"), body, Stalling::GivenUp).await?;
        let bytes = collect(response, ANSWER_MAX).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| BulkError::Refused(format!("its answer is not understood: {error}")))
    }

    /// The end of a finished log, at most `max` bytes.
    pub(super) async fn ship_log(&self, attempt: &AttemptId, file: &Path, max: u64) -> Result<(), BulkError> {
        let mut file = match File::open(file).await {
            // It said nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let size = file.metadata().await?.len();
        file.seek(io::SeekFrom::Start(size.saturating_sub(max))).await?;
        let path = format!("{}/log", of_attempt(attempt));
        let response = self.post(&path, chunks(file.take(max)).boxed(), Stalling::GivenUp).await?;
        collect(response, ANSWER_MAX).await.map(drop)
    }

    /// Sends a stream to its end, however long nothing comes of it.
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

    /// Sends this body; the time for an answer begins with the end of it.
    async fn post(&self, path: &str, body: ByteStream, stalling: Stalling) -> Result<Response<Body>, BulkError> {
        // With the last part goes the sender.
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

    /// Nothing comes back. A machine that is gone is noticed sooner, by the connection.
    async fn silence(&self) -> BulkError {
        tokio::time::sleep(self.limits.answer).await;
        BulkError::Unreachable(format!("no answer began within {} s", self.limits.answer.as_secs()))
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response<Body>, BulkError> {
        let https = Https::new(&self.address, self.credentials.client_config())?;
        let request = Request::builder().method(method).uri(path).body(body);
        let request = request.map_err(|error| BulkError::Refused(format!("`{path}` cannot be asked for: {error}")))?;
        let response = https.send(request).await?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = collect(response, ANSWER_MAX).await?;
        Err(ApiError::from_answer(status, &body).into())
    }

    /// Again while nobody answers.
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

/// What it means that no more of a body goes out.
#[derive(Debug, Clone, Copy)]
enum Stalling {
    /// The other end takes nothing: the connection is given up.
    GivenUp,
    /// There is no more yet: what is said live.
    Waited,
}

/// How far a download is.
struct Download {
    digest: Option<String>,
    hasher: blake3::Hasher,
    bytes: u64,
}

fn of_attempt(attempt: &AttemptId) -> String {
    format!("/v1/nodes/attempts/{}/{}/{}", attempt.task.project, attempt.task.id, attempt.number)
}

/// A plain file; a link, pipe or device that an agent put in its place is refused unopened.
fn open_plain(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = std::fs::File::options().read(true).custom_flags(flags.bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("the result is not a plain file")),
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

/// The next thing to happen on a connection.
async fn in_time<T>(next: impl Future<Output = T>) -> Result<T, BulkError> {
    let stalled = |_| BulkError::Unreachable(format!("nothing moved for {} s", STALL.as_secs()));
    tokio::time::timeout(STALL, next).await.map_err(stalled)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::{Router, routing::any};
    use devstack_cluster::{ClusterCa, NodeKey, NodeName, Purpose, SigningRequest, tls};
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;
    use crate::{gateway::server::TlsServer, node::unix_seconds};

    /// Of a test that must see the limit reached, and of one that must not.
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(120);

    struct Server {
        bulk: Bulk,
        dir: tempfile::TempDir,
        _stop: watch::Sender<bool>,
    }

    /// A Taskmaster that has this to say.
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
        tokio::spawn(listening.serve(router, boss, crate::config::node::Limits::default(), stopped));
        Server { bulk: Bulk::new(&address, host, BulkLimits { size: 1 << 20, answer }), dir, _stop: stop }
    }

    fn silent() -> Router {
        Router::new().fallback(any(|body: Body| async move {
            // Everything is taken, and nothing said.
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

    /// What an agent says live may pause for longer than an answer may take: that counts from the end.
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

    /// Longer than connections may be silent in the middle of something: the Taskmaster packs.
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
