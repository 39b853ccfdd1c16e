//! The profiles that a plan in this directory can name.

use std::path::Path;

use serde::Serialize;

use super::{Check, Health, check};
use devstack_config::profile::Catalog;

/// A profile that a plan here can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Whether devstack's own tests run the real agent with this profile.
    pub tested: bool,
    /// Its file, or `shipped`.
    pub origin: String,
}

/// The usable profiles for a plan in this directory, and the problems of the unusable ones.
pub fn known_profiles(dir: &Path) -> (Vec<Known>, Vec<String>) {
    let catalog = Catalog::beside(dir);
    let (mut known, mut wrong) = (Vec::new(), Vec::new());
    for name in catalog.names() {
        match catalog.find(&name) {
            Ok(Some(found)) => known.push(Known { name, tested: found.tested, origin: found.origin }),
            Ok(None) => {}
            Err(problems) => wrong.extend(problems.as_slice().first().map(ToString::to_string)),
        }
    }
    (known, wrong)
}

pub(super) fn examine(dir: &Path) -> Check {
    let (known, wrong) = known_profiles(dir);
    if let Some(wrong) = wrong.into_iter().next() {
        return check("profiles", Health::Warning, wrong, Some("fix the file, or remove it"));
    }
    let shown = |known: &Known| {
        let from = if known.origin == "shipped" { String::new() } else { format!(", {}", known.origin) };
        format!("{} ({}{from})", known.name, if known.tested { "tested" } else { "untested" })
    };
    check("profiles", Health::Ok, known.iter().map(shown).collect::<Vec<_>>().join(", "), None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn profiles_are_listed_with_what_was_proven() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join(".devstack/profiles");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("mine.toml"), "extends = \"claude-code\"\n").unwrap();
        let found = examine(dir.path());
        assert_eq!(found.status, Health::Ok);
        for wanted in ["claude-code (tested)", "gemini (tested)", "aider (untested)", "mine (untested, "] {
            assert!(found.message.contains(wanted), "{}", found.message);
        }
        fs::write(own.join("mine.toml"), "comand = []\n").unwrap();
        let found = examine(dir.path());
        assert!(found.status == Health::Warning && found.message.contains("mine.toml:1"), "{}", found.message);
    }
}
