//! Untrusted packs: opened, counted and indexed in a scratch, by a separate git process with bounded memory and time.
//! This process reads none of their objects. Deliberately absent: the content of the objects (`judge`), and landing
//! them.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use super::{
    Error,
    git::{Git, Output},
    quarantine::{Stop, damaged, policy},
    scratch::Scratch,
};

/// Address space of the indexer, in KiB: 4 GiB, twice what the largest allowed pack needs.
const INDEX_MEMORY_KIB: u64 = 4 << 20;

/// The limits of a pack.
pub(super) struct Bounds<'a> {
    /// Its size.
    pub(super) bytes: u64,
    /// Deadline for reading it.
    pub(super) deadline: Duration,
    /// Tolerated findings of fsck.
    pub(super) tolerated: &'a [&'a str],
}

/// Index a pack in the scratch of the repository at `dir`: checksums, deltas, fsck and links; thin packs get their
/// bases from the repository.
pub(super) fn index(git: &Git, dir: &Path, scratch: &Scratch, pack: File, bounds: &Bounds<'_>) -> Result<(), Stop> {
    let run = scratch.redirect(git.run("index-pack").git_dir(dir));
    let run = run.config("core.bigFileThreshold=8m").config("core.packedGitLimit=512m").config("pack.threads=2");
    let tolerated: Vec<String> = bounds.tolerated.iter().map(|flaw| format!("{flaw}=warn")).collect();
    let strict = if tolerated.is_empty() { "--strict".to_owned() } else { format!("--strict={}", tolerated.join(",")) };
    let limit = format!("--max-input-size={}", bounds.bytes);
    let run = run.args(["--stdin", "--fix-thin", strict.as_str(), limit.as_str()]);
    match run.stdin(pack).memory_kib(INDEX_MEMORY_KIB).deadline(bounds.deadline).output() {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) if is_ours(&output) => Err(output.failed("index-pack").into()),
        Ok(output) => Err(refused_pack(&output.stderr)),
        Err(Error::GitBounded { detail, .. }) => Err(damaged(format!("cannot read the pack: {detail}"))),
        Err(error) => Err(error.into()),
    }
}

/// Open a regular file; a link, pipe or device is refused unopened.
pub(super) fn open_plain(path: &Path) -> Result<File, Stop> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged("there is no bundle")),
        Err(e) => return Err(damaged(format!("cannot open the bundle: {e}"))),
    };
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(damaged("the bundle is not a plain file")),
    }
}

/// The number of objects that the pack claims. The indexer detects a false claim.
pub(super) fn pack_count(file: &mut File, at: u64) -> Result<u64, Stop> {
    let mut head = [0; 12];
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut head));
    let [b'P', b'A', b'C', b'K', 0, 0, 0, 2, a, b, c, d] = head else { return Err(damaged("the bundle has no pack")) };
    read.map_err(|_| damaged("the bundle has no pack"))?;
    Ok(u64::from(u32::from_be_bytes([a, b, c, d])))
}

/// Whether this machine ended the process, or ran out of room. Such an end says nothing about the pack.
fn is_ours(output: &Output) -> bool {
    const FULL: [&str; 5] = [
        "No space left on device",
        "Disk quota exceeded",
        "Input/output error",
        "Read-only file system",
        "Too many open files",
    ];
    output.signal == Some(nix::libc::SIGKILL) || FULL.iter().any(|full| output.stderr.contains(full))
}

/// Findings of fsck are the task's fault; anything else is damage.
fn refused_pack(said: &str) -> Stop {
    let fsck = said
        .lines()
        .find(|line| line.contains("fsck error") || line.contains("fsckObjects") || line.contains(": contains "));
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    match said.lines().find(|line| line.starts_with("error: object ")).or(fsck) {
        Some(finding) => policy(format!("git's checks found: {finding}")),
        None => damaged(format!("the pack was refused: {last}")),
    }
}
