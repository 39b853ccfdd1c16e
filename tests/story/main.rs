//! What users do, end to end, with the real program in a directory of their own, looked at from outside.
//!
//! Guarantees of architecture.md that are held here: 2 (dependencies), 3 (newest attempt only), 4 (COMPLETED means
//! merged), 5 (attempts stay reachable), 10 (refusals name the mend and change nothing), 11 (stop and cancel at once).
//! Deliberately absent: crashes and failing disks (tests/faults), hostile agents (tests/hostile).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod backup;
mod bench;
mod checks;
mod conflict;
mod containers;
mod delivery;
mod dependencies;
mod ending;
mod interrupt;
mod looking;
mod moving;
mod places;
mod profiles;
mod quickstart;
mod retention;
mod source;
mod upsert;
mod url;
mod watching;
