//! The writers: what runs in the child process until the power is cut, and what must hold of the disk afterwards.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;

use crate::power::Acks;
use crate::results::Results;
use crate::store::{self, Shape};
use crate::{both, hub};

/// Who writes, and whether its own syncs are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) kind: Kind,
    /// Off only to prove that the harness sees what it must see.
    pub(crate) durable: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The store, in small groups.
    Store,
    /// The store, in large commits.
    Wide,
    /// The store, in larger ones.
    Bulk,
    /// A git hub.
    Hub,
    /// Both, as a merge does: intent, ref, outcome.
    Both,
}

impl Writer {
    /// Names the writer to the child process.
    pub(crate) const VAR: &str = "POWER_LOSS_WRITER";

    pub(crate) const fn new(kind: Kind, durable: bool) -> Self {
        Self { kind, durable }
    }

    /// Changing calls of a recovery, and of a round: where cuts fall.
    pub(crate) fn spans(self) -> (u64, u64) {
        match self.kind {
            Kind::Store => store::SPANS,
            Kind::Wide | Kind::Bulk => store::BULK_SPANS,
            Kind::Hub => hub::SPANS,
            Kind::Both => both::SPANS,
        }
    }

    /// Makes what the writer reads, once.
    pub(crate) fn prepare(self, fixture: &Path) -> Result<(), String> {
        match self.kind {
            Kind::Store | Kind::Wide | Kind::Bulk => Ok(()),
            Kind::Hub | Kind::Both => {
                Results::make(fixture).map_err(|error| format!("cannot make what agents harvest: {error}"))
            }
        }
    }

    /// Writes and acknowledges for ever.
    pub(crate) fn write(self, disk: &Path, fixture: &Path, acks: Acks) -> Result<Infallible, String> {
        match self.kind {
            Kind::Store => store::write(disk, Shape::Small, self.durable, acks),
            Kind::Wide => store::write(disk, Shape::Wide, self.durable, acks),
            Kind::Bulk => store::write(disk, Shape::Bulk, self.durable, acks),
            Kind::Hub => hub::write(disk, fixture, self.durable, acks),
            Kind::Both => both::write(disk, fixture, self.durable, acks),
        }
    }

    /// Checks a plain copy of what is left against everything that was acknowledged.
    pub(crate) fn verify(self, copy: &Path, fixture: &Path, acknowledged: &[String]) -> Result<(), String> {
        match self.kind {
            Kind::Store => store::verify(copy, Shape::Small, acknowledged),
            Kind::Wide => store::verify(copy, Shape::Wide, acknowledged),
            Kind::Bulk => store::verify(copy, Shape::Bulk, acknowledged),
            Kind::Hub => hub::verify(copy, fixture, acknowledged),
            Kind::Both => both::verify(copy, fixture, acknowledged),
        }
    }

    /// The child's side of [`fmt::Display`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [Kind::Store, Kind::Wide, Kind::Bulk, Kind::Hub, Kind::Both];
        all.into_iter()
            .flat_map(|kind| [true, false].map(|durable| Self { kind, durable }))
            .find(|it| it.to_string() == text)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with its syncs {}", self.kind, if self.durable { "on" } else { "off" })
    }
}
