//! Takes refs out of a bundle file: branches that somebody else must not see, or would not understand. The pack stays as
//! it is.
//! Deliberately absent: judging a bundle (`quarantine`).

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use super::bundle_header::{SIGNATURE, read_header};

/// Keeps the refs of the bundle at `path` for which `keep` holds: their number, counted from 0, and their full name.
///
/// # Errors
/// The file is no bundle, or cannot be written; then it is as it was.
pub fn keep(path: &Path, keep: impl Fn(usize, &str) -> bool) -> io::Result<()> {
    let mut file = File::open(path)?;
    let header = read_header(&mut file).map_err(io::Error::other)?;
    let kept: Vec<_> = header.refs.iter().enumerate().filter(|(number, (_, name))| keep(*number, name)).collect();
    if kept.len() == header.refs.len() {
        return Ok(());
    }
    let mut text = format!("{SIGNATURE}\n");
    header.prerequisites.iter().for_each(|commit| text.push_str(&format!("-{commit} \n")));
    kept.iter().for_each(|(_, (commit, name))| text.push_str(&format!("{commit} {name}\n")));
    text.push('\n');
    let reduced = path.with_extension("reduced");
    let mut out = BufWriter::new(File::create(&reduced)?);
    out.write_all(text.as_bytes())?;
    file.seek(SeekFrom::Start(header.length))?;
    io::copy(&mut file, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(&reduced, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ref_and_the_pack_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.bundle");
        let (one, two) = ("01".repeat(20), "02".repeat(20));
        let text = format!(
            "{SIGNATURE}\n-{one}\n{one} refs/devstack/result\n{two} refs/devstack/branches/fix/x\n\nPACK\0\n\n"
        );
        fs::write(&path, &text).unwrap();
        keep(&path, |_, _| true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        keep(&path, |number, _| number == 0).unwrap();
        let expected = format!("{SIGNATURE}\n-{one} \n{one} refs/devstack/result\n\nPACK\0\n\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        fs::write(&path, "no bundle").unwrap();
        assert!(keep(&path, |_, _| true).is_err());
    }
}
