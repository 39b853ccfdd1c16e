//! Decides the disk level: takes numbers, returns a level. Deliberately absent: reading a file system.

use std::fmt;

use devstack_config::units::{self, SHARE};

/// A reserve that is a share of the disk is never larger than this, in bytes. 2 GiB suffices for a store of a million
/// tasks with its logs of commits, and hours of harvests; no disk needs more.
const BYTES_MAX: u64 = 2 << 30;
/// A reserve that is a share of the inodes is never larger than this: the files of a large repository.
const FILES_MAX: u64 = 65_536;
/// The share of the inodes that is kept free where `disk_reserve` is a size.
const FILES_SHARE: u64 = 5;

/// How much room there is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The reserve is free.
    Enough,
    /// Less than the reserve is free: no new attempts.
    Low,
    /// Less than half of the reserve is free: no new plans and no uploads either.
    Scarce,
}

/// The state of a file system, as it reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Size in bytes, used or free.
    pub size: u64,
    /// Bytes that this user can still write.
    pub free: u64,
    /// Number of inodes, used or free; 0 if the file system does not count them.
    pub files: u64,
    /// Files that this user can still create.
    pub free_files: u64,
}

/// The reserve to keep free, from `disk_reserve`: `5%` or `2GiB`; see [`units::parse_reserve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve(u64);

impl Reserve {
    /// Makes a reserve from the setting's number.
    pub fn new(setting: u64) -> Self {
        Self(setting)
    }

    /// Bytes to keep free on a disk of this size.
    pub fn bytes(self, size: u64) -> u64 {
        match self.share() {
            Some(percent) => share(size, percent).min(BYTES_MAX),
            None => self.0,
        }
    }

    /// Inodes to keep free out of `files`.
    pub fn files(self, files: u64) -> u64 {
        match self.share() {
            None if self.0 == 0 => 0,
            percent => share(files, percent.unwrap_or(FILES_SHARE)).min(FILES_MAX),
        }
    }

    fn share(self) -> Option<u64> {
        (self.0 & SHARE != 0).then_some((self.0 & !SHARE).min(100))
    }

    /// The level of a disk whose level was `before`. A level is left again only when a quarter more than its mark is
    /// free. Small writes and deletions near a mark therefore do not switch the node back and forth.
    pub fn level(self, room: &Room, before: Level) -> Level {
        let of = |free: u64, kept: u64| {
            let mark = |kept: u64, below: bool| if below { kept.saturating_add(kept / 4) } else { kept };
            match free {
                _ if free < mark(kept / 2, before == Level::Scarce) => Level::Scarce,
                _ if free < mark(kept, before >= Level::Low) => Level::Low,
                _ => Level::Enough,
            }
        };
        of(room.free, self.bytes(room.size)).max(of(room.free_files, self.files(room.files)))
    }

    /// Whether less than 1/`part` of the reserve (2: half of it) would be free after `bytes` more bytes were written.
    pub fn lacks(self, room: &Room, bytes: u64, part: u64) -> bool {
        let left = room.free.saturating_sub(bytes);
        left < self.bytes(room.size) / part || room.free_files < self.files(room.files) / part
    }

    /// The free and the reserved amount, as text: of the bytes, or of the inodes when those are short.
    pub fn describe(self, room: &Room) -> String {
        let (bytes, files) = (self.bytes(room.size), self.files(room.files));
        let by_files = u128::from(room.free_files) * u128::from(bytes) < u128::from(room.free) * u128::from(files);
        if files > 0 && (bytes == 0 || by_files) {
            return format!("{} inodes are free, and {files} must stay free (disk_reserve)", room.free_files);
        }
        format!("{} are free, and {} must stay free (disk_reserve)", Bytes(room.free), Bytes(bytes))
    }
}

fn share(of: u64, percent: u64) -> u64 {
    // At most a hundredth of `u64::MAX` times 100.
    of / 100 * percent + of % 100 * percent / 100
}

/// A number of bytes, displayed to a tenth of its unit.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)] {
            if self.0 >= size {
                return write!(f, "{}.{} {unit}", self.0 / size, self.0 % size * 10 / size);
            }
        }
        f.write_str(&units::format_size(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(free: u64, free_files: u64) -> Room {
        Room { size: 100 * GIB, free, files: 10_000, free_files }
    }

    fn reserve(text: &str) -> Reserve {
        Reserve::new(units::parse_reserve(text).unwrap())
    }

    #[test]
    fn a_share_is_of_the_disk_and_bounded_and_a_size_is_as_it_stands() {
        let default = reserve("5%");
        assert_eq!([default.bytes(20 * GIB), default.bytes(u64::MAX), default.bytes(0)], [GIB, 2 * GIB, 0]);
        assert_eq!([default.files(1000), default.files(u64::MAX), default.files(0)], [50, 65_536, 0]);
        assert_eq!((reserve("3GiB").bytes(GIB), reserve("3GiB").files(1000)), (3 * GIB, 50));
        assert_eq!((reserve("0%").bytes(GIB), reserve("0B").bytes(GIB), reserve("0B").files(1000)), (0, 0, 0));
    }

    #[test]
    fn levels_come_at_their_marks_and_go_a_quarter_above() {
        use Level::{Enough, Low, Scarce};
        let of = |free, before| reserve("2GiB").level(&room(free, 9_000), before);
        assert_eq!([of(2 * GIB, Enough), of(2 * GIB - 1, Enough), of(GIB - 1, Enough)], [Enough, Low, Scarce]);
        assert_eq!([of(GIB, Enough), of(GIB, Low), of(GIB, Scarce)], [Low, Low, Scarce]);
        assert_eq!([of(GIB * 5 / 4, Scarce), of(GIB * 5 / 2 - 1, Low), of(GIB * 5 / 2, Low)], [Low, Low, Enough]);
        assert_eq!(of(GIB * 5 / 2, Scarce), Enough, "all at once");
    }

    #[test]
    fn inodes_count_like_bytes_where_there_are_any() {
        use Level::{Enough, Low, Scarce};
        let of = |free_files| reserve("2GiB").level(&room(50 * GIB, free_files), Enough);
        assert_eq!([of(500), of(499), of(249)], [Enough, Low, Scarce]);
        let uncounted = Room { files: 0, free_files: 0, ..room(50 * GIB, 0) };
        assert_eq!(reserve("5%").level(&uncounted, Enough), Enough);
        assert!(reserve("5%").describe(&room(50 * GIB, 7)).contains("7 inodes are free, and 500 must stay free"));
        let said = reserve("5%").describe(&room(GIB + GIB / 4, 9_000));
        assert!(said.contains("1.2 GiB are free, and 2.0 GiB must stay free"), "{said}");
    }

    #[test]
    fn what_is_announced_counts_as_written() {
        let lacks = |free, bytes, part| reserve("2GiB").lacks(&room(free, 9_000), bytes, part);
        assert_eq!([lacks(3 * GIB, 2 * GIB, 2), lacks(3 * GIB, 2 * GIB + 1, 2)], [false, true]);
        assert_eq!([lacks(GIB / 2, 0, 4), lacks(GIB / 2, 1, 4), lacks(0, 0, 4)], [false, true, true]);
        assert!(reserve("2GiB").lacks(&room(50 * GIB, 249), 0, 2));
        assert!(!reserve("0B").lacks(&room(0, 0), u64::MAX, 2), "nothing is kept free");
    }

    proptest! {
        #[test]
        fn more_room_is_never_a_worse_level(free: u64, more: u64, size: u64, setting: u64, before in 0..3usize) {
            let before = [Level::Enough, Level::Low, Level::Scarce][before];
            let of = |free| {
                let room = Room { size, free, files: size, free_files: free };
                Reserve::new(setting).level(&room, before)
            };
            prop_assert!(of(free) >= of(free.saturating_add(more)));
        }
    }
}
