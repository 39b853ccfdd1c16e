//! The shim's binary, carried inside this one and laid down where it can be run.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub(super) static BINARY: &[u8] = include_bytes!(env!("DEVSTACK_SHIM"));

/// The shim below `dir`, made if it is not there.
pub(super) fn install(dir: &Path) -> io::Result<PathBuf> {
    lay_down(dir, "devstack-shim", BINARY, 0o755)
}

/// A file of ours below `dir`, made if it is not there. The name carries the content's hash: one of another version, which may
/// be in use, is never overwritten, and one that is there is right.
pub(super) fn lay_down(dir: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let hash = blake3::hash(content).to_hex();
    let path = dir.join(format!("{name}-{}", &hash[..16]));
    if path.metadata().is_ok_and(|file| file.len() == content.len() as u64) {
        return Ok(path);
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    let partial = dir.join(format!(".{name}-{}", std::process::id()));
    let mut file = File::create(&partial)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    // Across a power cut a file of the right length may hold zeros: it must be there before its name is.
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, &path)?;
    Ok(path)
}
