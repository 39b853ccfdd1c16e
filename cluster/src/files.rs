//! Files that hold keys and registries. Each file is written completely or not at all, is durable, and only its owner
//! can read it. Deliberately absent: locks; each directory has one writer.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Makes a directory and its missing parents; it has mode 0700 whatever the umask and the creator.
///
/// # Errors
/// Errors of the file system.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Writes a file of mode 0600 under another name, makes it durable, and renames it over the old one: a crash or a power
/// cut leaves either the old content or the new.
///
/// # Errors
/// Errors of the file system. The old content is then in place, or the new content may not be durable yet.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_as(path, content, 0o600)
}

/// Like [`replace`], with this mode whatever the umask: for a file that others may read.
///
/// # Errors
/// Errors of the file system.
pub fn replace_as(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    // A file left by a crash may have any mode.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, mode) = (dir.path().join("a/b"), |path: &Path| fs::metadata(path).unwrap().permissions().mode());
        private_dir(&inner).unwrap();
        private_dir(&inner).unwrap();
        assert_eq!(mode(&inner) & 0o777, 0o700);
        let file = inner.join("members.json");
        fs::write(inner.join("members.json.new"), "left by a crash").unwrap();
        for content in ["one", "two"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!(mode(&file) & 0o777, 0o600);
        replace_as(&file, b"three", 0o644).unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file) & 0o777), ("three", 0o644));
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }
}
