//! Chains of cuts: what is left of one round is the disk of the next, and every acknowledgement of the chain must hold
//! to its end.

use crate::cut::{Cut, Data, Dice, Metadata};
use crate::image::Image;
use crate::power::Bench;
use crate::writer::Writer;

/// Rounds of a chain. Long enough that recoveries of recoveries happen, short enough that many first openings do.
pub(crate) const LENGTH: u64 = 12;

/// Changing calls of a store's recovery: sled clears the rest of a segment page by page, in its rehearsal too.
const RECOVERY: u64 = 2500;

/// What a run of cuts came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cuts: u64,
    /// Kills without a power loss in between.
    pub(crate) kills: u64,
    /// Rounds that ended before the writer had acknowledged anything in them: at the opening or soon after.
    pub(crate) early: u64,
    pub(crate) acknowledged: u64,
    /// The first loss, told in full.
    pub(crate) loss: Option<String>,
}

/// The cut of each round of a chain, counted from 1.
pub(crate) type Plan = fn(Writer, u64, &mut Dice) -> Cut;

/// Cuts anywhere.
pub(crate) fn anywhere(writer: Writer, _: u64, dice: &mut Dice) -> Cut {
    let (opening, span) = writer.spans();
    Cut::draw(dice, opening, span)
}

/// Work once; after that every round ends while it opens what the one before left, by a kill or by a cut.
pub(crate) fn recovering(writer: Writer, number: u64, dice: &mut Dice) -> Cut {
    let cut = Cut::draw(dice, 40, RECOVERY);
    if number == 1 { Cut { at: writer.spans().1, ..cut } } else { Cut { power: dice.coin(), ..cut } }
}

/// Cuts as planned until `cuts` are done or something acknowledged is lost. Chain `n` is drawn from `seed + n`.
///
/// # Errors
/// When the stage cannot be set: no scratch space, no git.
pub(crate) fn run(writer: Writer, plan: Plan, seed: u64, cuts: u64) -> Result<Tally, String> {
    let mut bench = Bench::new().map_err(|error| format!("no scratch space: {error}"))?;
    writer.prepare(&bench.fixture())?;
    let mut tally = Tally::default();
    let mut seed = seed;
    while tally.cuts < cuts && tally.loss.is_none() {
        let length = LENGTH.min(cuts - tally.cuts);
        if let Err(loss) = chain(&mut bench, writer, plan, seed, length, &mut tally) {
            tally.loss = Some(format!("{writer}, seed {seed}, {loss}\nreplay with DEVSTACK_SEED={seed}"));
        }
        seed += 1;
    }
    Ok(tally)
}

/// A kill at every `stride`th call of a first opening, each on a disk of its own; the writer then starts again and
/// works until a power cut that takes all it may. What the killed one left unsynced must not be relied upon.
///
/// # Errors
/// As [`run`].
pub(crate) fn sweep(writer: Writer, stride: u64) -> Result<Tally, String> {
    let mut bench = Bench::new().map_err(|error| format!("no scratch space: {error}"))?;
    writer.prepare(&bench.fixture())?;
    let mut tally = Tally::default();
    let (opening, _) = writer.spans();
    for at in (1..opening).step_by(stride as usize) {
        let kill = Cut { at, power: false, data: Data::Dropped, metadata: Metadata::Dropped };
        // Enough calls for a second opening, which finds less to do, and some work.
        let cut = Cut { at: opening + 100, power: true, ..kill };
        let mut dice = Dice::new(at);
        bench.forget()?;
        let mut two = || {
            let image = round(&mut bench, Image::new(), writer, kill, &mut dice, &mut tally)?;
            round(&mut bench, image, writer, cut, &mut dice, &mut tally)
        };
        if let Err(loss) = two() {
            tally.loss = Some(format!("{writer}, killed at call {at} of its first opening, then cut: {loss}"));
            break;
        }
    }
    Ok(tally)
}

fn chain(
    bench: &mut Bench,
    writer: Writer,
    plan: Plan,
    seed: u64,
    rounds: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut image = Image::new();
    bench.forget()?;
    for number in 1..=rounds {
        let cut = plan(writer, number, &mut dice);
        image = round(bench, image, writer, cut, &mut dice, tally)
            .map_err(|error| format!("round {number} of the chain: {error}"))?;
    }
    Ok(())
}

/// One round, verified; what is left of it.
fn round(
    bench: &mut Bench,
    image: Image,
    writer: Writer,
    cut: Cut,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<Image, String> {
    let told = bench.acknowledged().len();
    if cut.power {
        tally.cuts += 1;
    } else {
        tally.kills += 1;
    }
    let (left, report) = bench.round(image, writer, cut, dice)?;
    let acknowledged = bench.acknowledged();
    tally.early += u64::from(acknowledged.len() == told);
    tally.acknowledged += (acknowledged.len() - told) as u64;
    let copy = bench.copy(&left)?;
    let verified = writer.verify(copy.path(), &bench.fixture(), &acknowledged);
    verified.map_err(|error| format!("{error}\n{report}"))?;
    Ok(left)
}
