//! Room on the Taskmaster's disk. With less than half of the reserve free, plans and uploads are refused with a
//! message, so that reports of hosts, requests to stop, and acknowledged work can still be written.
//! Deliberately absent: the attempts of this node (its AgentHost checks for itself).

use super::{Core, errors};
use devstack_api::{ApiError, error::code};
use devstack_config::problem::Problem;
use devstack_machine::disk::{Level, Room};

/// Half of the reserve stays free, whatever users send.
const FOR_PEOPLE: u64 = 2;
/// A quarter of the reserve stays free, whatever hosts send: their work was paid for, and they try again.
const FOR_HOSTS: u64 = 4;

impl Core {
    /// Refuses users' data if it would not leave enough room. `bytes` is the announced size, doubled where the data is
    /// unpacked.
    pub(super) async fn room_for_people(&self, what: &str, bytes: u64) -> Result<(), ApiError> {
        let refused = |why| {
            let problem = Problem::new(code::DISK_FULL, format!("{what} is accepted now: {why}"));
            ApiError::new(
                409,
                problem.hint(
                    "free space on the Taskmaster's disk, or lower [limits] disk_reserve; running attempts, stop \
                 and cancel still work",
                ),
            )
        };
        self.room(bytes, FOR_PEOPLE).await?.map_err(refused)
    }

    /// Postpones a host's upload if it would not leave enough room: the host tries again.
    pub(super) async fn room_for_hosts(&self, bytes: u64) -> Result<(), ApiError> {
        self.room(bytes, FOR_HOSTS).await?.map_err(ApiError::unavailable)
    }

    async fn room(&self, bytes: u64, part: u64) -> Result<Result<(), String>, ApiError> {
        let disk = self.disk.clone();
        errors::blocking(move || disk.room_for(bytes, part)).await
    }

    /// The current state of the disk, for metrics.
    pub(super) async fn disk_standing(&self) -> Result<Option<(Room, Level)>, ApiError> {
        let disk = self.disk.clone();
        errors::blocking(move || disk.standing()).await
    }
}
