//! The name of a machine in the cluster, as in its certificate; unique among members. Deliberately absent:
//! incarnations; a name survives restarts.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: a label of a DNS name, because certificates contain it as one.
pub const NAME_MAX: usize = 63;

/// A node's name: 1 to 63 of `A-Z a-z 0-9 _ -`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// The text is not a node's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a node name: use 1 to 63 letters, digits, `_` and `-`, starting with a letter or digit")]
pub struct InvalidNodeName(String);

impl NodeName {
    /// Checks a name.
    ///
    /// # Errors
    /// The text is not a valid name.
    pub fn new(text: &str) -> Result<Self, InvalidNodeName> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts && text.len() <= NAME_MAX && text.chars().all(part) {
            return Ok(Self(text.into()));
        }
        Err(InvalidNodeName(text.chars().take(NAME_MAX + 1).collect()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for NodeName {
    type Error = InvalidNodeName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for good in ["a", "node-1", "build_eu-1", &"x".repeat(63)] {
            assert_eq!(NodeName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a.b", "a b", "ä", "a/b", "a\n", &"x".repeat(64)] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
        }
    }
}
