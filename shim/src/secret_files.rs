//! Secrets that an agent reads from files: written below its HOME, readable by the owner only, and removed after the
//! agent. Where HOME is on a disk, the files are kept in memory and HOME has links to them. Deliberately absent:
//! secrets in variables (`spawn`).

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use devstack_shim::{spec::Spec, tool};

type Pair = (String, String);

/// Files that are removed when this is dropped.
pub(crate) struct Laid(Option<PathBuf>);

impl Drop for Laid {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            // The host checks for it again when it removes the attempt.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// Splits the secrets into files and variables.
pub(crate) fn split(spec: &Spec, secrets: &[Pair]) -> (Vec<Pair>, Vec<Pair>) {
    let files = spec.tool.iter().flat_map(|tool| &tool.secret_files);
    let named: Vec<&str> = files.map(|file| file.secret.as_str()).collect();
    secrets.iter().cloned().partition(|(name, _)| named.contains(&name.as_str()))
}

/// Everything that must not appear in the output: the secrets, and the tokens inside secret files.
pub(crate) fn hidden(spec: &Spec, secrets: &[Pair]) -> Vec<Pair> {
    let (files, _) = split(spec, secrets);
    let parts =
        files.iter().flat_map(|(name, value)| tool::parts_of(value).into_iter().map(move |part| (name.clone(), part)));
    secrets.iter().cloned().chain(parts).collect()
}

/// Writes the files. The error is a sentence for users.
pub(crate) fn lay(spec: &Spec, secrets: &[Pair]) -> Result<Laid, String> {
    let Some(tool) = spec.tool.as_ref().filter(|tool| !tool.secret_files.is_empty()) else { return Ok(Laid(None)) };
    let home = spec.env.iter().find(|(name, _)| name == "HOME").ok_or("secret files need HOME, which is not set")?;
    let known = |secret: &str| secrets.iter().find(|(name, _)| name == secret).map(|(_, value)| value);
    let cannot = |what: &Path| {
        let what = what.display().to_string();
        move |error: io::Error| format!("cannot write a secret file: {what}: {error}")
    };
    let given = tool.secret_files.iter().filter_map(|file| Some((file, known(&file.secret)?)));
    let mut laid = Laid(None);
    for (number, (file, value)) in given.enumerate() {
        let place = below(Path::new(&home.1), &file.path).ok_or_else(|| format!("`{}` is outside HOME", file.path))?;
        let parent = place.parent().unwrap_or(Path::new(&home.1));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(cannot(parent))?;
        let Some(dir) = &tool.secret_dir else {
            write(&place, value).map_err(cannot(&place))?;
            continue;
        };
        if laid.0.is_none() {
            // An existing directory belongs to somebody else.
            DirBuilder::new().mode(0o700).create(dir).map_err(cannot(dir))?;
            laid.0 = Some(dir.clone());
        }
        let kept = dir.join(number.to_string());
        write(&kept, value).map_err(cannot(&kept))?;
        symlink(&kept, &place).map_err(cannot(&place))?;
    }
    Ok(laid)
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(value.as_bytes())
}

fn below(home: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then(|| home.join(path))
}
