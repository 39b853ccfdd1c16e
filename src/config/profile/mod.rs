//! Profiles: how command line agents are run and read, as data. A name means the first of: a table `[profiles.NAME]` of
//! the plan, `NAME.toml` in `.devstack/profiles` beside the plan, `NAME.toml` in `/etc/devstack/profiles`, the shipped
//! one. What is found stands alone; with `extends = "NAME"` it has the keys of that shipped profile that it does not give
//! itself (variables one by one).
//! Deliberately absent: running agents and reading their output; which CLI is which is known to the data only.

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

/// Shipped with devstack, by name.
const SHIPPED: [(&str, &str); 6] = [
    ("aider", include_str!("../profiles/aider.toml")),
    ("claude-code", include_str!("../profiles/claude-code.toml")),
    ("codex", include_str!("../profiles/codex.toml")),
    ("gemini", include_str!("../profiles/gemini.toml")),
    ("mini-swe-agent", include_str!("../profiles/mini-swe-agent.toml")),
    ("opencode", include_str!("../profiles/opencode.toml")),
];

/// Where a plan file's node keeps its state, and people their profiles.
const STATE_DIR: &str = ".devstack";
/// Profiles of a machine.
const SYSTEM: &str = "/etc/devstack/profiles";
/// The largest profile file, in bytes: most of a shipped one is comments.
const FILE_MAX: u64 = 64 << 10;

/// A profile with what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Was the real agent run with it by devstack's own tests?
    pub tested: bool,
    /// Where it is from: a file, or `shipped`.
    pub origin: String,
}

/// Where profiles are looked for, the first first.
#[derive(Debug, Clone)]
pub struct Catalog(Vec<PathBuf>);

impl Catalog {
    /// Of a plan file in this directory.
    pub fn beside(dir: &Path) -> Self {
        Self(vec![dir.join(STATE_DIR).join("profiles"), SYSTEM.into()])
    }

    /// Of a plan without a directory.
    pub fn system() -> Self {
        Self(vec![SYSTEM.into()])
    }

    /// Only the shipped ones.
    pub fn shipped() -> Self {
        Self(Vec::new())
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// Everything that is wrong with its file; there is none.
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

    /// All names there are, sorted.
    pub fn names(&self) -> Vec<String> {
        let files = self.0.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
        let own = files.filter_map(name).filter(|name| is_name(name));
        let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What to say about a name that nothing has.
    pub(crate) fn hint(&self, name: &str, more: impl Iterator<Item = String>) -> String {
        let known: Vec<String> = self.names().into_iter().chain(more).collect();
        match nearest(name, known.iter().map(String::as_str)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known profiles: {}; another is a file .devstack/profiles/{name}.toml", known.join(", ")),
        }
    }
}

/// A name is a file's name too.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= devstack_dag::ids::MAX_NAME && name.bytes().all(plain)
}

fn content(path: &Path) -> io::Result<String> {
    if path.metadata()?.len() > FILE_MAX {
        return Err(io::Error::other("it is larger than 64KiB"));
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
/// Everything that is wrong with it, in the order of its lines.
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
