//! Whether a host is present. In memory only: after a restart no host is present until it reports.
//! Deliberately absent: leases. The shell's clock decides when a host is silent and when it is lost.

use crate::ids::Timestamp;

/// Whether a host is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Known from before the start, and has not reported since. Its attempts are UNKNOWN.
    Awaited,
    /// It reports, and accepts attempts.
    Present {
        /// Since when.
        since: Timestamp,
    },
    /// It is silent. Its attempts are UNKNOWN, and kept.
    Suspect {
        /// Since when.
        since: Timestamp,
    },
    /// It was silent for too long, and its attempts were started on other hosts.
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

    /// The time of the last change; `None`: before the start.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Awaited => None,
            Self::Present { since } | Self::Suspect { since } | Self::Lost { since } => Some(since),
        }
    }

    /// Whether it reports.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Present { .. })
    }
}
