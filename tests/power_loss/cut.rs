//! When a cut comes and what it takes: policies drawn from a seed.
//!
//! The same seed draws the same policies. The writers have threads of their own, so the calls that reach the disk in
//! between may differ a little from run to run.

/// What becomes of data that no fsync has covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// All of it is lost.
    Dropped,
    /// Each page is kept or lost by itself, and so is the length of each file.
    Partial,
}

/// What becomes of directory entries that no fsync has covered, and how far an fsync reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// All are lost. An fsync covers the entries of its own directory only.
    Dropped,
    /// A journal: any fsync covers every earlier change, and the changes after it survive up to some point.
    Prefix,
    /// Each change survives or not, whatever came before it. An fsync covers its own directory only.
    Subset,
}

/// One cut: after how many changing calls, and what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The changing call that does not happen any more, counted from 1.
    pub(crate) at: u64,
    /// Whether the power fails. If not, the writer is killed and the disk loses nothing: the next cut may then take
    /// what two generations left unsynced.
    pub(crate) power: bool,
    pub(crate) data: Data,
    pub(crate) metadata: Metadata,
}

impl Cut {
    /// Draws a cut; one in six is a kill without a power loss. One in three falls into the first `opening` changing
    /// calls, so that recoveries are cut too; the rest fall anywhere in the first `span`.
    pub(crate) fn draw(dice: &mut Dice, opening: u64, span: u64) -> Self {
        let at = 1 + if dice.below(3) == 0 { dice.below(opening) } else { dice.below(span) };
        let data = if dice.coin() { Data::Dropped } else { Data::Partial };
        let metadata = match dice.below(3) {
            0 => Metadata::Dropped,
            1 => Metadata::Prefix,
            _ => Metadata::Subset,
        };
        Self { at, power: dice.below(6) != 0, data, metadata }
    }
}

/// A small seeded generator (splitmix64): test policies need no better one, and a replay must never change with a
/// crate.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_every_policy_is_drawn() {
        let draw = |seed| format!("{:?}", Cut::draw(&mut Dice::new(seed), 10, 1000));
        assert_eq!(draw(7), draw(7));
        let all: Vec<String> = (0..200).map(draw).collect();
        for word in [
            "power: true",
            "power: false",
            "data: Dropped",
            "data: Partial",
            "metadata: Dropped",
            "metadata: Prefix",
            "metadata: Subset",
        ] {
            assert!(all.iter().any(|cut| cut.contains(word)), "{word} was never drawn");
        }
    }
}
