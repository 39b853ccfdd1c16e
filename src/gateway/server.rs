//! The API on a unix socket: mode 0600, a stale one replaced, a path of any length, a graceful end.
//! Deliberately absent: TCP and TLS (later).

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
};

/// A client has this long to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// After the signal to stop, open requests have this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another node answers there: use it, or stop it.
    #[error("another node answers on {0}")]
    InUse(PathBuf),
    /// There is something at the path that is no socket: move it away.
    #[error("{0} exists and is not a socket; move it away")]
    NotASocket(PathBuf),
    /// The socket cannot be made: see the reason.
    #[error("cannot make the socket {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A bound socket, not yet served. Dropping it removes the socket's file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the socket's file when dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, that is what was wanted.
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs `use_path` with a path to the same file that fits into a socket address (108 bytes in Linux): the directory
/// is opened, and named through `/proc/self/fd`.
fn with_short_path<T>(path: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    /// `sun_path` without its closing zero.
    const SUN_PATH: usize = 107;
    if path.as_os_str().len() <= SUN_PATH {
        return use_path(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory"));
    };
    let dir = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY | nix::libc::O_PATH).open(dir)?;
    use_path(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

/// Connects to a node's socket, however long its path.
///
/// # Errors
/// As `connect(2)`: `NotFound` and `ConnectionRefused` mean that no node is there.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = with_short_path(path, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Server {
    /// Binds the socket with mode 0600. A socket that nobody answers on is replaced. Call within a tokio runtime.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Io { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(ServerError::NotASocket(path.to_owned())),
            Ok(_) => match with_short_path(path, |path| std::os::unix::net::UnixStream::connect(path)) {
                Ok(_) => return Err(ServerError::InUse(path.to_owned())),
                Err(_) => fs::remove_file(path).map_err(failed)?,
            },
            Err(_) => {}
        }
        // Made under another name and renamed when its mode is right: nobody can connect in between.
        let fresh = path.with_extension(format!("new{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = with_short_path(&fresh, |path| std::os::unix::net::UnixListener::bind(path)).map_err(failed)?;
        let made = SocketFile(fresh);
        fs::set_permissions(&made.0, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&made.0, path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }

    /// Serves until `stop` becomes true (or its sender is gone), then lets open requests end for 5 s.
    /// At most `connections` at once; more wait to be accepted.
    pub async fn serve(self, router: Router, connections: usize, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(connections));
        let (closing, closed) = watch::channel(false);
        loop {
            let accepted = tokio::select! {
                () = told(&mut stop) => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let connection = connection(stream, router.clone(), closed.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, for example: no busy loop while others end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.file);
        closing.send_replace(true);
        let all = u32::try_from(connections).unwrap_or(u32::MAX);
        // What is still open after this is cut off with the runtime.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, room.acquire_many(all)).await;
    }
}

/// Returns when the value is true, or will never change again.
async fn told(signal: &mut watch::Receiver<bool>) {
    let _ = signal.wait_for(|value| *value).await;
}

async fn accept(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// Serves one connection; when told to close, the request under way is finished and no other taken.
async fn connection(stream: UnixStream, router: Router, mut closing: watch::Receiver<bool>) {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let serving = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told(&mut closing) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // A client that went away in the middle is no fault of ours.
        tracing::debug!(%error, "a connection ended early");
    }
}
