//! Limits of messages between nodes. A field that crosses a link is read through [`within`], which refuses an oversized
//! field and names it. The sender cuts with [`Limit::cut`] and [`Limit::thin`] first. The bytes are those of the plain
//! type.
//!
//! Only messages have such limits. Facts and records do not: everything that an older version stored must stay
//! readable.
//! Deliberately absent: what the engine keeps of a message, which is less (`Config`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    attempt::{Branch, Conflict, Dependency, Feedback, Left, Outcome, Skipped, Usage},
    command::Quarantine,
    ids::{AttemptId, RoleName, Text},
    profile::Profile,
};

/// A limit of one field.
pub trait Limit {
    /// The name of the field for humans: `names of secrets`.
    const WHAT: &'static str;
    /// The most entries.
    const ITEMS: usize;
    /// The most bytes of any single text.
    const BYTES: usize;

    /// The beginning of a text, as much as fits.
    fn cut(text: &mut String) {
        text.truncate(text.floor_char_boundary(Self::BYTES));
    }

    /// A list that fits: without texts that are too long (a part of a name is another name), then its beginning.
    fn thin<T: Measured>(list: &mut Vec<T>) {
        list.retain(|one| one.longest() <= Self::BYTES);
        list.truncate(Self::ITEMS);
    }

    /// Checks the limit.
    ///
    /// # Errors
    /// The field has too many entries or too long texts.
    fn check(value: &(impl Measured + ?Sized)) -> Result<(), OverLimit> {
        let (items, bytes) = (value.items(), value.longest());
        if items > Self::ITEMS {
            return Err(OverLimit { what: Self::WHAT, found: items, unit: "entries", max: Self::ITEMS });
        }
        if bytes > Self::BYTES {
            return Err(OverLimit { what: Self::WHAT, found: bytes, unit: "bytes", max: Self::BYTES });
        }
        Ok(())
    }
}

/// A field exceeds its limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found} {unit}; {max} are allowed")]
pub struct OverLimit {
    what: &'static str,
    found: usize,
    unit: &'static str,
    max: usize,
}

/// Reads a field that has a limit: `#[serde(deserialize_with = "bounds::within::<SecretNames, _, _>")]`.
///
/// # Errors
/// The field cannot be read, or exceeds its limit.
pub fn within<'de, L: Limit, T: Deserialize<'de> + Measured, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let value = T::deserialize(from)?;
    L::check(&value).map_err(D::Error::custom)?;
    Ok(value)
}

/// A value with a size.
pub trait Measured {
    /// The number of entries.
    fn items(&self) -> usize {
        1
    }
    /// The bytes of the longest text.
    fn longest(&self) -> usize;
}

/// Types of limits, one per line: `Name: "what it limits", entries, bytes;`.
#[macro_export]
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $items:expr, $bytes:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl $crate::bounds::Limit for $name {
            const WHAT: &'static str = $what;
            const ITEMS: usize = $items;
            const BYTES: usize = $bytes;
        }
    )*};
}

limits! {
    /// A host's secrets: a `.env` of some hundred lines. The names are those of variables.
    SecretNames: "names of secrets", 256, 128;
    /// Attempts that a host holds: four times the most slots that it can be configured with.
    HeldAttempts: "attempts held", 4096, 256;
    /// A host's labels; both words of each.
    HostLabels: "labels", 64, 256;
    /// The roles that a host accepts.
    HostRoles: "roles", 256, 64;
    /// A host's images: more than the engine keeps.
    HostImages: "images", 1024, 512;
    /// A host's networks.
    HostShards: "shards", 256, 128;
    /// Sentences for humans: the engine keeps the first 512 bytes.
    Reason: "a reason", 1, 4096;
    /// Texts that are not in a blob.
    InlineText: "a text", 1, Text::INLINE_MAX;
    /// An agent's own name for a conversation.
    SessionName: "usage.session", 1, 128;
    /// What an attempt left besides its result.
    LeftBehind: "what an attempt left", 100, 512;
    /// One line for humans: the most that a description of a task may have.
    Title: "a title", 1, 8 * 1024;
    /// A command line: the most that a description of a project may have.
    CommandLine: "a command", 2048, 16 * 1024;
    /// Feedback of earlier attempts for an attempt.
    FeedbackList: "feedback", 64, Text::INLINE_MAX;
    /// Dependencies of a task; [`crate::attempt::Order::DEPENDENCIES_MAX`] of them.
    DependencyList: "dependencies", 128, 8 * 1024;
    /// Paths in conflict, and the text about them.
    ConflictPaths: "a conflict", 1000, 4096;
    /// Names of secrets in an order: a role's and its profile's.
    OrderedSecrets: "names of secrets", 1024, 4096;
    /// A name of an image, of a model.
    LongName: "a name", 1, 8 * 1024;
    /// A profile, all of its texts together: the most that a description of a project may have.
    ProfileTexts: "a profile", 1, 16 * 1024;
}

impl Measured for Dependency {
    fn longest(&self) -> usize {
        let summary = self.summary.as_ref().map_or(0, Measured::longest);
        self.title.len().max(self.id.as_str().len()).max(summary)
    }
}

impl Measured for String {
    fn longest(&self) -> usize {
        self.len()
    }
}

impl Measured for str {
    fn longest(&self) -> usize {
        self.len()
    }
}

impl<T: Measured + ?Sized> Measured for Box<T> {
    fn items(&self) -> usize {
        (**self).items()
    }
    fn longest(&self) -> usize {
        (**self).longest()
    }
}

impl<T: Measured + ?Sized> Measured for std::sync::Arc<T> {
    fn items(&self) -> usize {
        (**self).items()
    }
    fn longest(&self) -> usize {
        (**self).longest()
    }
}

impl<T: Measured> Measured for Option<T> {
    fn items(&self) -> usize {
        self.as_ref().map_or(0, T::items)
    }
    fn longest(&self) -> usize {
        self.as_ref().map_or(0, T::longest)
    }
}

impl<T: Measured> Measured for Vec<T> {
    fn items(&self) -> usize {
        self.len()
    }
    fn longest(&self) -> usize {
        self.iter().map(T::longest).max().unwrap_or(0)
    }
}

impl Measured for BTreeMap<String, String> {
    fn items(&self) -> usize {
        self.len()
    }
    fn longest(&self) -> usize {
        self.iter().map(|(key, value)| key.len().max(value.len())).max().unwrap_or(0)
    }
}

/// The name of a type as its limit.
impl Measured for RoleName {
    fn longest(&self) -> usize {
        self.as_str().len()
    }
}

/// Names by their types.
impl Measured for AttemptId {
    fn longest(&self) -> usize {
        self.task.project.as_str().len() + self.task.id.as_str().len()
    }
}

impl Measured for crate::command::ShardReport {
    fn longest(&self) -> usize {
        self.name.len().max(self.subnet.len())
    }
}

impl Measured for Quarantine {
    fn longest(&self) -> usize {
        self.why.len()
    }
}

impl Measured for Outcome {
    fn longest(&self) -> usize {
        match self {
            Self::Infrastructure(why) | Self::Policy(why) => why.len(),
            _ => 0,
        }
    }
}

impl Measured for Left {
    fn items(&self) -> usize {
        self.skipped.len() + self.branches.len()
    }
    fn longest(&self) -> usize {
        self.skipped.longest().max(self.branches.longest())
    }
}

impl Measured for Skipped {
    fn longest(&self) -> usize {
        self.path.len().max(self.why.len())
    }
}

impl Measured for Branch {
    fn longest(&self) -> usize {
        self.name.len()
    }
}

impl Measured for Usage {
    fn longest(&self) -> usize {
        self.session.longest()
    }
}

/// A blob counts as a name.
impl Measured for Text {
    fn longest(&self) -> usize {
        match self {
            Self::Inline(text) => text.len(),
            Self::Blob(..) => 0,
        }
    }
}

impl Measured for Feedback {
    fn longest(&self) -> usize {
        self.text.longest()
    }
}

impl Measured for Conflict {
    fn items(&self) -> usize {
        self.paths.len()
    }
    fn longest(&self) -> usize {
        self.paths.longest().max(self.text.longest())
    }
}

impl Measured for Profile {
    fn longest(&self) -> usize {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_is_refused_by_name_and_what_is_cut_fits() {
        let mut names: Vec<String> = (0..300).map(|n| format!("NAME_{n}")).collect();
        let why = SecretNames::check(&names).unwrap_err().to_string();
        assert_eq!(why, "names of secrets: 300 entries; 256 are allowed");
        names[0] = "N".repeat(129);
        SecretNames::thin(&mut names);
        assert_eq!((names.len(), names[0].as_str()), (256, "NAME_1"), "a name is never cut");
        assert!(SecretNames::check(&names).is_ok());
        let mut why = "ä".repeat(3000);
        assert_eq!(Reason::check(&why).unwrap_err().to_string(), "a reason: 6000 bytes; 4096 are allowed");
        Reason::cut(&mut why);
        assert_eq!(why.len(), 4096);
    }
}
