//! Room on the Taskmaster's disk: with less than half of the reserve free, plans and uploads are refused in words, so that
//! what hosts report, what people stop and what was acknowledged can be written down.
//! Deliberately absent: the attempts of this node (its AgentHost looks for itself).

use super::{Core, errors};
use crate::{
    config::problem::Problem,
    disk::{Level, Room},
    gateway::{ApiError, error::code},
};

/// Half of the reserve stays free whatever people send.
const FOR_PEOPLE: u64 = 2;
/// A quarter stays free whatever hosts bring: what they bring was paid for, and they try again.
const FOR_HOSTS: u64 = 4;

impl Core {
    /// Refuses what people send while it would not leave enough room. `bytes` are those that are announced, twice where
    /// they are unpacked.
    pub(super) async fn room_for_people(&self, what: &str, bytes: u64) -> Result<(), ApiError> {
        let refused = |why| {
            let problem = Problem::new(code::DISK_FULL, format!("{what} is taken now: {why}"));
            ApiError::new(409, problem.hint(
                "make room on the Taskmaster's disk, or lower [limits] disk_reserve; what runs, stop and cancel go on meanwhile",
            ))
        };
        self.room(bytes, FOR_PEOPLE).await?.map_err(refused)
    }

    /// Puts off what a host brings while it would not leave enough room: it tries again.
    pub(super) async fn room_for_hosts(&self, bytes: u64) -> Result<(), ApiError> {
        self.room(bytes, FOR_HOSTS).await?.map_err(ApiError::unavailable)
    }

    async fn room(&self, bytes: u64, part: u64) -> Result<Result<(), String>, ApiError> {
        let disk = self.disk.clone();
        errors::blocking(move || disk.room_for(bytes, part)).await
    }

    /// How the disk is now, for metrics.
    pub(super) async fn disk_standing(&self) -> Result<Option<(Room, Level)>, ApiError> {
        let disk = self.disk.clone();
        errors::blocking(move || disk.standing()).await
    }
}
