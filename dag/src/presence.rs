//! Whether a host is there. In memory only: after a restart nobody is present until they report.
//! Deliberately absent: leases. The shell's clock decides when a host is silent and when it is lost.

use crate::ids::Timestamp;

/// Whether a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Known from before the start, and has not reported since. Its attempts are UNKNOWN.
    Awaited,
    /// It reports, and takes attempts.
    Present {
        /// Since when.
        since: Timestamp,
    },
    /// It is silent. Its attempts are UNKNOWN, and kept.
    Suspect {
        /// Since when.
        since: Timestamp,
    },
    /// It was silent for too long, and its attempts were given to others.
    Lost {
        /// Since when.
        since: Timestamp,
    },
}

impl Presence {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Present { .. } => "present",
            Self::Suspect { .. } => "suspect",
            Self::Lost { .. } => "lost",
        }
    }

    /// Since when it is so; `None`: since before the start.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Awaited => None,
            Self::Present { since } | Self::Suspect { since } | Self::Lost { since } => Some(since),
        }
    }

    /// It reports.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Present { .. })
    }
}
