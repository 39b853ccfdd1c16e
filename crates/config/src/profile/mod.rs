//! Profiles: data that describes how to run command line agents and how to read their output. The first match of a name
//! is used: a table `[profiles.NAME]` in the plan, `NAME.toml` in `.devstack/profiles` beside the plan, `NAME.toml` in
//! `/etc/devstack/profiles`, or the shipped profile. A profile is self-contained; with `extends = "NAME"` it inherits
//! the keys that it lacks from that shipped profile (variables one by one).
//! Deliberately absent: running agents, reading their output, and any code for one particular agent.

mod file;
mod render;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use devstack_dag::profile::Profile;

pub(super) use self::{
    file::{RESERVED, read},
    render::Rendered,
};
use super::{
    problem::{Problem, Problems},
    section::{Reader, code},
    suggest::nearest,
};

/// The profiles that are shipped with devstack, by name.
const SHIPPED: [(&str, &str); 6] = [
    ("aider", include_str!("../profiles/aider.toml")),
    ("claude-code", include_str!("../profiles/claude-code.toml")),
    ("codex", include_str!("../profiles/codex.toml")),
    ("gemini", include_str!("../profiles/gemini.toml")),
    ("mini-swe-agent", include_str!("../profiles/mini-swe-agent.toml")),
    ("opencode", include_str!("../profiles/opencode.toml")),
];

/// The directory beside a plan file for the node's state and the user's profiles.
const STATE_DIR: &str = ".devstack";
/// The directory for profiles of the machine.
const SYSTEM: &str = "/etc/devstack/profiles";
/// The largest profile file, in bytes: most of a shipped one is comments.
const FILE_MAX: u64 = 64 << 10;

/// A profile with its origin.
#[derive(Debug, Clone)]
pub struct Described {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Whether devstack's own tests run the real agent with this profile.
    pub tested: bool,
    /// Its origin: a file, or `shipped`.
    pub origin: String,
}

/// The directories to search for profiles, in order.
#[derive(Debug, Clone)]
pub struct Catalog(Vec<PathBuf>);

impl Catalog {
    /// The catalog for a plan file in this directory.
    pub fn beside(dir: &Path) -> Self {
        Self(vec![dir.join(STATE_DIR).join("profiles"), SYSTEM.into()])
    }

    /// The catalog for a plan without a directory.
    pub fn system() -> Self {
        Self(vec![SYSTEM.into()])
    }

    /// The catalog with only the shipped profiles.
    pub fn shipped() -> Self {
        Self(Vec::new())
    }

    /// The profile with this name; `None` if there is none.
    ///
    /// # Errors
    /// All mistakes in its file.
    pub fn find(&self, name: &str) -> Result<Option<Described>, Problems> {
        if !is_name(name) {
            return Ok(None);
        }
        for dir in &self.0 {
            let path = dir.join(format!("{name}.toml"));
            let origin = path.display().to_string();
            match content(&path) {
                Ok(text) => return parse(name, &origin, &text).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let problem = Problem::new(code::UNREADABLE, format!("cannot read the profile: {error}"));
                    return Err(problem.at(origin, None).into());
                }
            }
        }
        shipped(name).transpose()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let files = self.0.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
        let own = files.filter_map(name).filter(|name| is_name(name));
        let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The hint for an unknown name.
    pub(crate) fn hint(&self, name: &str, more: impl Iterator<Item = String>) -> String {
        let known: Vec<String> = self.names().into_iter().chain(more).collect();
        match nearest(name, known.iter().map(String::as_str)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known profiles: {}; or create .devstack/profiles/{name}.toml", known.join(", ")),
        }
    }
}

/// Whether a text is a valid name; a name is also a file name.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= devstack_dag::ids::MAX_NAME && name.bytes().all(plain)
}

fn content(path: &Path) -> io::Result<String> {
    if path.metadata()?.len() > FILE_MAX {
        return Err(io::Error::other("the file is larger than 64KiB"));
    }
    std::fs::read_to_string(path)
}

fn shipped(name: &str) -> Option<Result<Described, Problems>> {
    let (name, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
    Some(parse(name, "shipped", text))
}

/// Checks a profile file. `origin` is its name in messages.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn parse(name: &str, origin: &str, text: &str) -> Result<Described, Problems> {
    let mut reader = Reader::new(origin, text);
    let found = reader.document().and_then(|table| read(&mut reader, table, name));
    reader.finish()?;
    let (profile, tested) =
        found.ok_or_else(|| Problems::from(Problem::new(code::SYNTAX, "the profile is empty").at(origin, None)))?;
    Ok(Described { profile: Arc::new(profile), tested, origin: origin.to_owned() })
}

#[cfg(test)]
mod tests;
