//! Removes refs from a bundle file, or renames them, for readers that must not see a name or would not understand it.
//! The pack is unchanged. Deliberately absent: judging a bundle (`quarantine`).

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use super::bundle_header::{SIGNATURE, read_header};

/// Rewrites the bundle at `path` with the ref names that `name` returns (`None` removes the ref). `name` gets the ref's
/// index, counted from 0, and its full name.
///
/// # Errors
/// The file is not a bundle, or cannot be written; it is then unchanged.
pub fn rewrite(path: &Path, name: impl Fn(usize, &str) -> Option<String>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let header = read_header(&mut file).map_err(io::Error::other)?;
    let refs = header.refs.iter().enumerate();
    let kept: Vec<_> = refs.filter_map(|(number, (commit, old))| Some((*commit, name(number, old)?))).collect();
    if kept == header.refs {
        return Ok(());
    }
    let mut text = format!("{SIGNATURE}\n");
    header.prerequisites.iter().for_each(|commit| text.push_str(&format!("-{commit} \n")));
    kept.iter().for_each(|(commit, name)| text.push_str(&format!("{commit} {name}\n")));
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
        let same = |_: usize, name: &str| Some(name.to_owned());
        rewrite(&path, same).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        rewrite(&path, |_, name| Some(name.replace("fix/x", "other"))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text.replace("fix/x", "other").replacen("01\n01", "01 \n01", 1));
        rewrite(&path, |number, name| (number == 0).then(|| name.to_owned())).unwrap();
        let expected = format!("{SIGNATURE}\n-{one} \n{one} refs/devstack/result\n\nPACK\0\n\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        fs::write(&path, "no bundle").unwrap();
        assert!(rewrite(&path, same).is_err());
    }
}
