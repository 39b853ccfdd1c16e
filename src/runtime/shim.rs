//! The shim's binary, carried inside this one and laid down where it can be run.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub(super) static BINARY: &[u8] = include_bytes!(env!("DEVSTACK_SHIM"));

/// The shim below `dir`, made if it is not there. The name carries the content's hash: a running shim of another
/// version is never overwritten, and one that is there is right.
pub(super) fn install(dir: &Path) -> io::Result<PathBuf> {
    let hash = blake3::hash(BINARY).to_hex();
    let path = dir.join(format!("devstack-shim-{}", &hash[..16]));
    if path.metadata().is_ok_and(|file| file.len() == BINARY.len() as u64) {
        return Ok(path);
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    let partial = dir.join(format!(".devstack-shim-{}", std::process::id()));
    let mut file = File::create(&partial)?;
    file.write_all(BINARY)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    // Across a power cut a file of the right length may hold zeros: it must be there before its name is.
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, &path)?;
    Ok(path)
}
