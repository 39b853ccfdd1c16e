//! One round: mount the image, start a writer on it, cut the power, and take what is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cut::{Cut, Dice};
use crate::disk::Disk;
use crate::fs::PowerFs;
use crate::image::Image;
use crate::writer::Writer;

/// A writer that was not cut by then hangs. A round takes a fraction of a second on an idle machine.
const ROUND: Duration = Duration::from_secs(120);
/// How long killed writers may keep the mount busy.
const UNMOUNT: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const TICK: Duration = Duration::from_millis(1);

/// Scratch space outside the disk that is cut.
pub(crate) struct Bench {
    scratch: tempfile::TempDir,
    rounds: u32,
}

impl Bench {
    pub(crate) fn new() -> io::Result<Self> {
        // Verification reads and syncs plain copies: memory is the place for them, where there is such a place.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        Ok(Self { scratch: tempfile::Builder::new().prefix("power-loss-").tempdir_in(place)?, rounds: 0 })
    }

    /// What writers may read: the same in every round.
    pub(crate) fn fixture(&self) -> PathBuf {
        self.scratch.path().join("fixture")
    }

    fn acks(&self) -> PathBuf {
        self.scratch.path().join("acks")
    }

    /// Every acknowledgement since [`Bench::forget`], in the order given.
    pub(crate) fn acknowledged(&self) -> Vec<String> {
        fs::read_to_string(self.acks()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Starts over with no acknowledgements, for an empty disk.
    pub(crate) fn forget(&self) -> Result<(), String> {
        File::create(self.acks()).map(drop).map_err(|error| format!("cannot start a list of acknowledgements: {error}"))
    }

    /// A fresh directory with the tree of the image.
    pub(crate) fn copy(&self, image: &Image) -> Result<tempfile::TempDir, String> {
        let copy = || {
            let copy = tempfile::tempdir_in(self.scratch.path())?;
            image.materialise(copy.path())?;
            Ok(copy)
        };
        copy().map_err(|error: io::Error| format!("cannot copy the image: {error}"))
    }

    /// Runs the writer until the cut; what is left and the report of it.
    ///
    /// # Errors
    /// When the writer ended before the cut or hung, or the mount failed: with what the writer said.
    pub(crate) fn round(
        &mut self,
        image: Image,
        writer: Writer,
        cut: Cut,
        dice: &mut Dice,
    ) -> Result<(Image, String), String> {
        self.rounds += 1;
        let mount = self.scratch.path().join(format!("mount-{}", self.rounds));
        let words = self.scratch.path().join("stderr");
        let disk = Arc::new(Mutex::new(Disk::new(image, cut)));
        fs::create_dir(&mount).map_err(|error| format!("cannot create the mount point: {error}"))?;
        let session = attach(&mount, &disk).map_err(|error| format!("cannot mount: {error}"))?;
        let ended = self.start(&mount, &words, writer, &disk).and_then(|child| watch(child, &disk));
        detach(&mount, session).map_err(|error| format!("cannot unmount: {error}"))?;
        fs::remove_dir(&mount).map_err(|error| format!("the mount point is not empty: {error}"))?;
        let (left, report) = lock(&disk).survivor(dice);
        match ended {
            Ok(()) => Ok((left, report)),
            Err(error) => Err(format!("{error}\n{}\n{report}", fs::read_to_string(&words).unwrap_or_default())),
        }
    }

    fn start(&self, mount: &Path, words: &Path, writer: Writer, disk: &Mutex<Disk>) -> Result<Child, String> {
        let said = |error: io::Error| format!("cannot start the writer: {error}");
        let mut command = Command::new(std::env::current_exe().map_err(said)?);
        command
            .args(["--exact", "writer_process", "--ignored", "--nocapture", "--test-threads=1"])
            .env(Writer::VAR, writer.to_string())
            .env("POWER_LOSS_MOUNT", mount)
            .env("POWER_LOSS_ACKS", self.acks())
            .env("POWER_LOSS_FIXTURE", self.fixture())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(words).map_err(said)?)
            .process_group(0);
        // Under the lock: no call of the writer can be counted before the disk knows whom to kill.
        let mut disk = lock(disk);
        let child = command.spawn().map_err(said)?;
        disk.power(Pid::from_raw(child.id() as i32));
        Ok(child)
    }
}

/// The writer's side of the acknowledgements: a file outside the disk that is cut. What a killed process wrote stays.
pub(crate) struct Acks(File);

impl Acks {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).open(path).map(Self)
    }

    /// Acknowledges: from here on the thing named must be there.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes())
    }
}

pub(crate) fn lock(disk: &Mutex<Disk>) -> std::sync::MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mounts the disk.
pub(crate) fn attach(mount: &Path, disk: &Arc<Mutex<Disk>>) -> io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("power-loss".into()), MountOption::RW];
    Session::new(PowerFs::new(disk.clone(), SystemTime::now()), mount, &config)?.spawn()
}

/// Unmounts it; killed writers may still hold it for a moment.
pub(crate) fn detach(mount: &Path, session: BackgroundSession) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match nix::mount::umount(mount) {
            Err(Errno::EBUSY) if begun.elapsed() < UNMOUNT => std::thread::sleep(TICK),
            Err(error) => return Err(error.into()),
            Ok(()) => return session.join(),
        }
    }
}

fn watch(mut child: Child, disk: &Mutex<Disk>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let ended = child.try_wait().map_err(|error| format!("cannot wait for the writer: {error}"))?;
        let off = lock(disk).is_off();
        match ended {
            Some(_) if off => return Ok(()),
            Some(status) => return Err(format!("the writer ended before the cut: {status}")),
            None if begun.elapsed() > ROUND => {
                let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
                let _ = child.wait();
                return Err(format!("the writer was not cut within {ROUND:?}"));
            }
            None => std::thread::sleep(TICK),
        }
    }
}
