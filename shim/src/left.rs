//! The names of what could not be taken; a bounded list.

use devstack_shim::spec::{Harvested, SKIPPED_MAX, SKIPPED_PATH_MAX, SKIPPED_WHY_MAX, Skipped};

/// The list of skipped paths.
#[derive(Default)]
pub(crate) struct Left {
    skipped: Vec<Skipped>,
    more: u32,
}

impl Left {
    /// Adds a path that could not be taken, with the reason.
    pub(crate) fn skip(&mut self, path: &str, why: &str) {
        if self.skipped.len() < SKIPPED_MAX {
            let (path, why) = (plain(path, SKIPPED_PATH_MAX), plain(why, SKIPPED_WHY_MAX));
            self.skipped.push(Skipped { path, why });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Appends the list to a harvest.
    pub(crate) fn add_to(self, harvested: &mut Harvested) {
        let mut all = Self { skipped: std::mem::take(&mut harvested.skipped), more: harvested.more };
        self.skipped.iter().for_each(|one| all.skip(&one.path, &one.why));
        (harvested.skipped, harvested.more) = (all.skipped, all.more.saturating_add(self.more));
    }
}

/// For display: without control characters, and cut.
fn plain(text: &str, max: usize) -> String {
    let mut plain: String =
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    let mut end = plain.len().min(max);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    plain.truncate(end);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_in_every_way_and_counts_the_rest() {
        let mut left = Left::default();
        (0..70).for_each(|n| left.skip(&format!("{n}\u{1b}{}", "ä".repeat(300)), &"w".repeat(500)));
        let mut harvested = Harvested::default();
        left.add_to(&mut harvested);
        assert_eq!((harvested.skipped.len(), harvested.more), (SKIPPED_MAX, 20));
        for one in &harvested.skipped {
            assert!(one.path.len() <= SKIPPED_PATH_MAX && one.why.len() <= SKIPPED_WHY_MAX);
            assert!(!one.path.contains('\u{1b}'));
        }
        let mut second = Left::default();
        second.skip(".", "later");
        second.add_to(&mut harvested);
        assert_eq!((harvested.skipped.len(), harvested.more), (SKIPPED_MAX, 21));
    }
}
