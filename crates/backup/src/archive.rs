//! The backup file itself: tar with a digest over every part. Memory use is bounded by the number of projects, whatever
//! their size. Deliberately absent: any knowledge of what the files are.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use tar::{EntryType, Header};

use super::{BLOBS, BackupError, CLUSTER, CONTENTS, Contents, FORMAT, HEAD, Head, PROJECTS, STORE, Section};

/// The largest `backup.json` and `contents.json` that are read, in bytes: some hundred bytes a project.
const JSON_MAX: u64 = 64 << 20;

/// A part that is being written.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, path: &str, size: u64, digest: &blake3::Hash) {
        self.files += 1;
        self.bytes += size;
        self.hasher.update(&(path.len() as u64).to_le_bytes()).update(path.as_bytes());
        self.hasher.update(&size.to_le_bytes()).update(digest.as_bytes());
    }
}

/// Parts by name.
#[derive(Default)]
struct Tallies(BTreeMap<String, Tally>);

impl Tallies {
    fn add(&mut self, path: &str, size: u64, digest: &blake3::Hash) {
        self.0.entry(section_of(path)).or_default().add(path, size, digest);
    }

    fn contents(&self) -> Contents {
        let section = |tally: &Tally| Section {
            files: tally.files,
            bytes: tally.bytes,
            digest: tally.hasher.finalize().to_hex().to_string(),
        };
        Contents { sections: self.0.iter().map(|(name, tally)| (name.clone(), section(tally))).collect() }
    }
}

/// The section of a path: `projects/shop/hub.git/HEAD` → `projects/shop`; otherwise the first part of the path.
fn section_of(path: &str) -> String {
    let parts = if path.starts_with("projects/") { 2 } else { 1 };
    path.split('/').take(parts).collect::<Vec<_>>().join("/").trim_end_matches(".jsonl").to_owned()
}

/// Writes a backup.
pub struct Archive<W: Write> {
    tar: tar::Builder<W>,
    tallies: Tallies,
    mtime: u64,
}

impl<W: Write> Archive<W> {
    /// Begins a backup.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn begin(out: W, head: &Head) -> io::Result<Self> {
        let mut archive = Self { tar: tar::Builder::new(out), tallies: Tallies::default(), mtime: head.made_at / 1000 };
        archive.json(HEAD, head)?;
        Ok(archive)
    }

    fn header(&self, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory { 0o700 } else { 0o600 });
        header.set_mtime(self.mtime);
        header
    }

    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        let mut header = self.header(EntryType::Regular, text.len() as u64);
        self.tar.append_data(&mut header, name, &text[..])
    }

    /// Adds a directory that must exist even if it is empty.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, 0);
        self.tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// Adds a file of exactly this size.
    ///
    /// # Errors
    /// Errors of the reader or the writer; a reader that ends early or has more bytes.
    pub fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, size);
        let mut reader = Counted { inner: content, left: size, hasher: blake3::Hasher::new() };
        self.tar.append_data(&mut header, path, &mut reader)?;
        if reader.left > 0 {
            return Err(io::Error::other(format!("{path} became shorter while it was read")));
        }
        self.tallies.add(path, size, &reader.hasher.finalize());
        Ok(())
    }

    /// Ends the backup and writes its list of contents.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn end(mut self) -> io::Result<(W, Contents)> {
        let contents = self.tallies.contents();
        self.json(CONTENTS, &contents)?;
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok((out, contents))
    }
}

/// Reads a fixed number of bytes and computes their digest.
struct Counted<'a> {
    inner: &'a mut dyn Read,
    left: u64,
    hasher: blake3::Hasher,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..room])?;
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

/// An entry that is found while a backup is read.
pub(super) enum Found<'a> {
    Directory(PathBuf),
    /// A path that cannot lead elsewhere, and the content.
    File(PathBuf, &'a mut dyn Read),
}

/// Reads a backup to its end, hands over every entry, and compares the entries with the list of contents. The caller
/// must not use any content before this returns.
pub(super) fn read(
    input: impl Read,
    each: &mut dyn FnMut(&Head, Found<'_>) -> Result<(), BackupError>,
) -> Result<(Head, Contents), BackupError> {
    let not_ours = |error: io::Error| BackupError::NotABackup(error.to_string());
    let mut tar = tar::Archive::new(input);
    let mut entries = tar.entries().map_err(not_ours)?;
    let head = match entries.next() {
        Some(Ok(mut entry)) if entry.path_bytes() == HEAD.as_bytes() => {
            let head: serde_json::Value = json(&mut entry).map_err(BackupError::NotABackup)?;
            let format = head["format"].as_u64().and_then(|format| u32::try_from(format).ok());
            match format {
                Some(FORMAT) => {
                    serde_json::from_value::<Head>(head).map_err(|e| BackupError::NotABackup(e.to_string()))
                }
                Some(found) => Err(BackupError::Format { found }),
                None => Err(BackupError::NotABackup(format!("{HEAD} names no format"))),
            }?
        }
        Some(Ok(_)) => return Err(BackupError::NotABackup(format!("it does not begin with {HEAD}"))),
        Some(Err(error)) => return Err(not_ours(error)),
        None => return Err(BackupError::NotABackup("it is empty".into())),
    };
    let cut = |error: io::Error| BackupError::Damaged(error.to_string());
    let mut tallies = Tallies::default();
    let mut expected: Option<Contents> = None;
    for entry in entries {
        let mut entry = entry.map_err(cut)?;
        if expected.is_some() {
            return Err(BackupError::Damaged(format!("something follows {CONTENTS}")));
        }
        let name = entry.path().map_err(cut)?.into_owned();
        let path =
            plain(&name).ok_or_else(|| BackupError::Damaged(format!("`{}` is an unexpected path", name.display())))?;
        let size = entry.size();
        match entry.header().entry_type() {
            EntryType::Directory => each(&head, Found::Directory(path))?,
            EntryType::Regular if path == Path::new(CONTENTS) => {
                expected = Some(json(&mut entry).map_err(BackupError::Damaged)?);
            }
            EntryType::Regular => {
                let mut reader = Counted { inner: &mut entry, left: size, hasher: blake3::Hasher::new() };
                each(&head, Found::File(path.clone(), &mut reader))?;
                io::copy(&mut reader, &mut io::sink()).map_err(cut)?;
                if reader.left > 0 {
                    return Err(BackupError::Damaged(format!("it ends within {}", path.display())));
                }
                tallies.add(&path.to_string_lossy(), size, &reader.hasher.finalize());
            }
            other => return Err(BackupError::Damaged(format!("`{}` is not a file ({other:?})", path.display()))),
        }
    }
    let expected = expected.ok_or_else(|| BackupError::Damaged(format!("it ends before {CONTENTS}")))?;
    let found = tallies.contents();
    if found == expected {
        return Ok((head, found));
    }
    let names = expected.sections.keys().chain(found.sections.keys());
    let wrong = names.into_iter().find(|name| expected.sections.get(*name) != found.sections.get(*name));
    Err(BackupError::Damaged(format!("{} differs from what was written", wrong.map_or("it", |name| name.as_str()))))
}

fn json<T: serde::de::DeserializeOwned>(entry: &mut impl Read) -> Result<T, String> {
    let mut text = Vec::new();
    entry.take(JSON_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// A relative path of plain names that begins with a known directory of a backup.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    let first = parts.clone().next()?.as_os_str().to_str()?;
    let known = [STORE, BLOBS, CLUSTER, PROJECTS, CONTENTS].contains(&first);
    (known && path.to_str().is_some() && parts.all(|part| matches!(part, Component::Normal(_))))
        .then(|| path.components().collect())
}

/// Reads a whole backup and describes it; nothing is kept.
///
/// # Errors
/// The file is not a backup, or is damaged.
pub fn check(input: impl Read) -> Result<(Head, Contents), BackupError> {
    read(input, &mut |_, _| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            format: FORMAT,
            version: "1".into(),
            made_at: 1_000,
            seq: 7,
            installation: "00".into(),
            has_keys: false,
            attempts_behind: 0,
        }
    }

    fn archive() -> Vec<u8> {
        let mut archive = Archive::begin(Vec::new(), &head()).unwrap();
        archive.file("store.jsonl", 5, &mut &b"hello"[..]).unwrap();
        archive.directory("projects/shop/hub.git/objects/00").unwrap();
        archive.file("projects/shop/hub.git/HEAD", 3, &mut &b"abc"[..]).unwrap();
        archive.end().unwrap().0
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut found = Vec::new();
        let read = read(&archive()[..], &mut |_, entry| {
            match entry {
                Found::Directory(path) => found.push((path, String::new())),
                Found::File(path, content) => found.push((path, io::read_to_string(content).unwrap())),
            }
            Ok(())
        });
        let (said, contents) = read.unwrap();
        assert_eq!(said, head());
        assert_eq!(contents.projects().collect::<Vec<_>>(), ["shop"]);
        assert_eq!(contents.bytes(), 8);
        let names: Vec<(&str, &str)> = found.iter().map(|(path, text)| (path.to_str().unwrap(), &**text)).collect();
        assert_eq!(
            names,
            [("store.jsonl", "hello"), ("projects/shop/hub.git/objects/00", ""), ("projects/shop/hub.git/HEAD", "abc")]
        );
    }

    #[test]
    fn every_flipped_byte_of_content_and_every_cut_is_found() {
        let whole = archive();
        let place = |what: &[u8]| whole.windows(what.len()).position(|window| window == what).unwrap();
        for (what, section) in [(&b"hello"[..], "store"), (b"abc", "projects/shop")] {
            let mut damaged = whole.clone();
            damaged[place(what)] ^= 1;
            let error = check(&damaged[..]).unwrap_err().to_string();
            assert!(error.contains(&format!("{section} differs from what was written")), "{error}");
        }
        // The last two blocks of a tar file are empty.
        for end in (0..whole.len() - 1024).step_by(7) {
            assert!(check(&whole[..end]).is_err(), "cut at {end} of {}", whole.len());
        }
    }

    #[test]
    fn what_is_no_backup_or_leads_elsewhere_is_refused() {
        assert!(matches!(check(&b"hello"[..]), Err(BackupError::NotABackup(_))));
        assert!(matches!(check(&[0u8; 4096][..]), Err(BackupError::NotABackup(_))));
        let newer = Archive::begin(Vec::new(), &Head { format: 2, ..head() }).unwrap().end().unwrap().0;
        assert!(matches!(check(&newer[..]), Err(BackupError::Format { found: 2 })));
        for bad in ["../x", "/etc/passwd", "projects/../../x", "other/x", "blobs/./../../x"] {
            assert_eq!(plain(Path::new(bad)), None, "{bad}");
        }
        let mut link = tar::Builder::new(Vec::new());
        let text = serde_json::to_vec(&head()).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        link.append_data(&mut header, HEAD, &text[..]).unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "blobs/x", "/etc/passwd").unwrap();
        let error = check(&link.into_inner().unwrap()[..]).unwrap_err().to_string();
        assert!(error.contains("is not a file"), "{error}");
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let mut archive = Archive::begin(Vec::new(), &head()).unwrap();
        assert!(archive.file("blobs/x", 9, &mut &b"short"[..]).is_err());
    }
}
