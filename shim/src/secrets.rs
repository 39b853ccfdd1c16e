//! Secret values, passed from stdin or a tmpfs to the agent's environment. They live only in this process's memory,
//! which the agent cannot read (the shim is not dumpable).

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::Path,
};

use devstack_shim::spec::Secrets;

/// Reads names and values; empty without secrets.
pub(crate) fn read(from: Option<&Secrets>) -> io::Result<Vec<(String, String)>> {
    match from {
        None => Ok(Vec::new()),
        Some(Secrets::Stdin) => from_stdin(),
        Some(Secrets::Directory(dir)) => from_files(dir),
    }
}

/// Reads one file per secret, as the node wrote them.
fn from_files(dir: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a secret's name is not UTF-8"))?;
        found.push((name, fs::read_to_string(entry.path())?));
    }
    found.sort();
    Ok(found)
}

/// Reads one JSON object `{name: value}`, then end of file. At most [`MAX`] bytes.
fn from_stdin() -> io::Result<Vec<(String, String)>> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX).read_to_end(&mut text)?;
    let object: BTreeMap<String, String> = serde_json::from_slice(&text)?;
    Ok(object.into_iter().collect())
}

/// Linux gives a program at most 2 MiB of arguments and environment together.
const MAX: u64 = 2 << 20;
