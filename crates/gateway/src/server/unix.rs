//! The API on a unix socket: mode 0600, a stale socket is replaced, the path can have any length, and the end is
//! graceful.
//! Deliberately absent: authentication; the mode of the file decides.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};

use super::{Caller, Connections, HEADER_TIMEOUT, ServerError, WAITING_ROOM, WaitingRoom, not_accepted, told};
use crate::throttle::Who;
use devstack_config::node::Limits;

/// A bound socket, not served yet. Dropping it removes the file of the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the file of the socket when dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A missing file is as good as a removed one.
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs `use_path` with a path to the same file that fits into a socket address (108 bytes in Linux): the function
/// opens the directory, and names it through `/proc/self/fd`.
fn with_short_path<T>(path: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    /// The size of `sun_path` without its closing zero.
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

/// Connects to the socket of a node, with a path of any length.
///
/// # Errors
/// As `connect(2)`: `NotFound` and `ConnectionRefused` mean that no node is running.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = with_short_path(path, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Server {
    /// Binds the socket with mode 0600. A socket without a listener is replaced. Call within a tokio runtime.
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
        // The socket is created under another name and renamed once its mode is right: nobody can connect in between.
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

    /// Serves until `stop` becomes true (or its sender is gone), then lets open requests end for 5 s. `limits` bounds
    /// the connections of each user; beyond that, 128 connections of all users wait.
    pub async fn serve(self, router: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
        let room = WaitingRoom::new(WAITING_ROOM, &limits);
        let all = Connections::new(router);
        loop {
            let accepted = tokio::select! {
                () = told(&mut stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (connection, guest) = (all.one(), Arc::new(room.enter(None)));
                    // A peer that has disconnected already has no user and sends nothing.
                    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
                    tokio::spawn(async move {
                        let evicted = guest.clone();
                        let serve = async move {
                            guest.take_seat(&Who::Local(Some(uid))).await;
                            connection.serve(stream, Caller::Local { uid: Some(uid) }, guest, HEADER_TIMEOUT).await;
                        };
                        tokio::select! {
                            () = serve => {}
                            () = evicted.evicted() => tracing::debug!(uid, "closed an idle connection"),
                        }
                    });
                }
                Err(error) => not_accepted(&error).await,
            }
        }
        drop(self.file);
        all.end().await;
    }
}
