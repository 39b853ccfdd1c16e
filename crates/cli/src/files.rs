//! Files of users: read completely up to a limit, and replaced atomically in a way that survives a power cut.
//! Deliberately absent: files with several concurrent writers (`shared_file`).

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{CliError, Exit, exit::code};
use devstack_config::problem::Problem;

/// Reads a file of at most `max` bytes; `-` is stdin.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, CliError> {
    let cannot = |why: &dyn std::fmt::Display| {
        let problem = Problem::new(code::TASK_LIST, format!("cannot read the file: {why}"));
        let hint = format!("name a readable file of at most {} MiB", max >> 20);
        CliError::new(Exit::Usage, problem.hint(hint).at(path.display().to_string(), None))
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(max + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| cannot(&e))?;
    if bytes.len() as u64 > max { Err(cannot(&format!("it has more than {max} bytes"))) } else { Ok(bytes) }
}

/// Writes a file. An existing file is refused without `force`, and replaced atomically with it.
pub(super) fn write(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let cannot = |e: io::Error| CliError::failure(format!("cannot write {}: {e}", path.display()));
    let new = beside(path, "new");
    let written = durable(&new, text.as_bytes()).and_then(|()| {
        // A hard link fails if the file exists, a rename replaces it. Both are atomic: nobody can interfere.
        if force { fs::rename(&new, path) } else { fs::hard_link(&new, path).and_then(|()| fs::remove_file(&new)) }
    });
    match written.and_then(|()| sync_directory(path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The file may not exist.
            let _ = fs::remove_file(&new);
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(cannot(error));
            }
            let problem = Problem::new(code::FILE_EXISTS, format!("{} already exists", path.display()));
            let hint = "overwrite the file with --force, or name another file with --to";
            Err(CliError::new(Exit::Refused, problem.hint(hint)))
        }
    }
}

/// Writes and syncs a temporary file of ours; an existing one is overwritten.
pub(super) fn durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a change of file names durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(directory(path))?.sync_all()
}

/// The directory that contains a file.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hidden file name of ours in the directory of `path`.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    directory(path).join(format!(".{name}.devstack-{what}-{}", std::process::id()))
}
