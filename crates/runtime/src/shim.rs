//! The shim's binary, carried inside this binary and written to a place where it can be run.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Where the build put the binary; tests start it from there.
pub const BUILT: &str = env!("DEVSTACK_SHIM");

pub(super) static BINARY: &[u8] = include_bytes!(env!("DEVSTACK_SHIM"));

/// Returns the shim below `dir`, and creates it if it does not exist.
pub(super) fn install(dir: &Path) -> io::Result<PathBuf> {
    lay_down(dir, "devstack-shim", BINARY, 0o755)
}

/// Returns our file below `dir`, and creates it if it does not exist. The name contains the content's hash: a file of
/// another version, which may be in use, is never overwritten, and an existing file is correct.
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
    // After a power cut a file of the right length may contain zeros: its content must be durable before its name.
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, &path)?;
    Ok(path)
}
