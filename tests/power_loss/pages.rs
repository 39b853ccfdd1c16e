//! One file of the image: its bytes now, and enough of its past to say what a cut leaves of it.
//!
//! The unit of loss is a 4 KiB page: a page written since the last sync is either there or as it was at that sync. Torn
//! pages are not modelled.

use std::collections::BTreeMap;

use crate::cut::{Data, Dice};

/// Unit of loss in bytes: the page size of the kernels we run on.
pub(crate) const PAGE: usize = 4096;

/// Bytes of a file, with the pages that no fsync has covered yet.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    bytes: Vec<u8>,
    /// Length at the last sync.
    synced_len: usize,
    /// Pages changed since the last sync, as they were then (shorter than a page at the end of the file).
    shadow: BTreeMap<usize, Vec<u8>>,
}

impl Pages {
    /// A file that is wholly durable.
    pub(crate) fn durable(bytes: Vec<u8>) -> Self {
        Self { synced_len: bytes.len(), bytes, shadow: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn read(&self, offset: usize, size: usize) -> &[u8] {
        let start = offset.min(self.bytes.len());
        let end = offset.saturating_add(size).min(self.bytes.len());
        &self.bytes[start..end]
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.remember(offset, end);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.remember(len, self.bytes.len());
        self.bytes.resize(len, 0);
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        self.synced_len = self.bytes.len();
        self.shadow.clear();
    }

    /// Pages that a cut may take, and whether the length is among what it may take.
    pub(crate) fn unsynced(&self) -> (usize, bool) {
        (self.shadow.len(), self.synced_len != self.bytes.len())
    }

    /// What a cut leaves, and how many unsynced pages it took.
    pub(crate) fn survivor(&self, data: Data, dice: &mut Dice) -> (Vec<u8>, usize) {
        let now = self.bytes.len();
        let keeps_len = data == Data::Partial && dice.coin();
        let len = if keeps_len { now } else { self.synced_len };
        let mut left = self.bytes.clone();
        left.resize(len, 0);
        let mut lost = 0;
        for (&page, before) in &self.shadow {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(len));
            // A truncation that is lost brings the old bytes back.
            let past_the_end = (page + 1) * PAGE > now && len > now;
            if data == Data::Partial && !past_the_end && dice.coin() {
                continue;
            }
            lost += 1;
            if start >= len {
                continue;
            }
            let old = before.len().min(end - start);
            left[start..start + old].copy_from_slice(&before[..old]);
            left[start + old..end].fill(0);
        }
        (left, lost)
    }

    /// Keeps the synced contents of the pages that `start..end` touches.
    fn remember(&mut self, start: usize, end: usize) {
        for page in start / PAGE..end.div_ceil(PAGE) {
            let bytes = &self.bytes;
            self.shadow.entry(page).or_insert_with(|| {
                let from = (page * PAGE).min(bytes.len());
                let to = ((page + 1) * PAGE).min(bytes.len());
                bytes[from..to].to_vec()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(pages: &Pages) -> Vec<u8> {
        pages.survivor(Data::Dropped, &mut Dice::new(1)).0
    }

    #[test]
    fn unsynced_bytes_are_dropped_and_synced_bytes_stay() {
        let mut pages = Pages::default();
        pages.write(0, b"old");
        pages.sync();
        pages.write(1, b"ew and longer");
        assert_eq!(dropped(&pages), b"old");
        pages.sync();
        assert_eq!(dropped(&pages), b"oew and longer");
    }

    #[test]
    fn a_lost_truncation_brings_the_old_bytes_back() {
        let mut pages = Pages::durable(vec![7; 3 * PAGE]);
        pages.truncate(10);
        pages.write(0, b"x");
        assert_eq!(dropped(&pages), vec![7; 3 * PAGE]);
        for seed in 0..64 {
            let (left, _) = pages.survivor(Data::Partial, &mut Dice::new(seed));
            assert!(left.len() == 10 || left.len() == 3 * PAGE, "{} bytes", left.len());
            assert_eq!(left[left.len() - 1], 7, "neither end was ever anything but 7");
        }
    }

    #[test]
    fn partial_loss_mixes_old_and_new_pages_and_nothing_else() {
        let mut pages = Pages::durable(vec![1; 8 * PAGE]);
        pages.write(0, &vec![2; 8 * PAGE]);
        let (mut some_old, mut some_new) = (false, false);
        for seed in 0..16 {
            let (left, lost) = pages.survivor(Data::Partial, &mut Dice::new(seed));
            let old = left.chunks(PAGE).filter(|page| page.iter().all(|&byte| byte == 1)).count();
            let new = left.chunks(PAGE).filter(|page| page.iter().all(|&byte| byte == 2)).count();
            assert_eq!((old + new, old), (8, lost));
            (some_old, some_new) = (some_old || old > 0, some_new || new > 0);
        }
        assert!(some_old && some_new);
    }

    #[test]
    fn a_length_that_survives_without_its_pages_reads_as_zeros() {
        let mut pages = Pages::default();
        pages.write(0, &[9; PAGE]);
        let zeros = (0..64).any(|seed| pages.survivor(Data::Partial, &mut Dice::new(seed)).0 == vec![0; PAGE]);
        assert!(zeros);
    }
}
