//! Power loss, proven on a disk that forgets: a FUSE layer keeps what was written apart from what was synced, cuts the
//! power at a drawn call, and leaves only what a real disk may leave. Whatever was acknowledged before must be there.
//!
//! A writer is this test binary, started again: it commits, merges, and notes each acknowledgement outside that disk.
//! `DEVSTACK_CUTS=1000` runs that many cuts of each writer; `DEVSTACK_SEED=7` starts at that seed, to replay a loss.
//! Needs root and `/dev/fuse` to mount; without them each test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage may stop")]

mod both;
mod chain;
mod cut;
mod disk;
mod fs;
mod hub;
mod image;
mod pages;
mod power;
mod results;
mod store;
mod writer;

use std::env;
use std::path::{Path, PathBuf};

use crate::chain::Tally;
use crate::power::Acks;
use crate::writer::{Kind, Writer};

/// Cuts within which a writer without its syncs must be caught. Measured: nearly always the first or second.
const CAUGHT_WITHIN: u64 = 60;

/// Why nothing can be mounted here, if so.
fn unable() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        Some("mounting needs root")
    } else if !Path::new("/dev/fuse").exists() {
        Some("there is no /dev/fuse")
    } else {
        None
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn skipped() -> bool {
    let why = unable();
    if let Some(why) = why {
        eprintln!("SKIPPED, NOTHING WAS PROVEN: {why}");
    }
    why.is_some()
}

/// Cuts a writer's power again and again: nothing acknowledged may be lost.
fn endure(kind: Kind, plan: chain::Plan, cuts: u64) {
    if skipped() {
        return;
    }
    let seed = number("DEVSTACK_SEED", 1);
    judge(kind, chain::run(Writer::new(kind, true), plan, seed, number("DEVSTACK_CUTS", cuts)).unwrap());
}

/// Kills a writer at every `stride`th call of its first opening; nothing acknowledged by the next one may be lost.
fn endure_killed_openings(kind: Kind, stride: u64) {
    if skipped() {
        return;
    }
    judge(kind, chain::sweep(Writer::new(kind, true), stride).unwrap());
}

fn judge(kind: Kind, tally: Tally) {
    let Tally { cuts, kills, early, acknowledged, loss } = tally;
    println!(
        "{kind:?}: {cuts} cuts and {kills} kills, {early} before any acknowledgement, {acknowledged} acknowledged"
    );
    if let Some(loss) = loss {
        panic!("{loss}");
    }
    assert!(acknowledged > cuts / 2, "hardly anything was acknowledged, so hardly anything was proven");
}

/// The same with the writer's own syncs taken out: the loss must be seen.
fn be_caught(kind: Kind) {
    if skipped() {
        return;
    }
    let tally =
        chain::run(Writer::new(kind, false), chain::anywhere, number("DEVSTACK_SEED", 1), CAUGHT_WITHIN).unwrap();
    let loss = tally.loss.expect("without its syncs the writer must lose something");
    println!("caught at cut {}: {}", tally.cuts, loss.lines().next().unwrap_or_default());
}

#[test]
fn the_store_keeps_what_it_acknowledged() {
    endure(Kind::Store, chain::anywhere, 100);
}

#[test]
fn recoveries_of_recoveries_keep_what_was_acknowledged() {
    endure(Kind::Store, chain::recovering, 60);
}

#[test]
fn a_store_killed_while_it_is_created_leaves_nothing_unsynced_behind() {
    endure_killed_openings(Kind::Store, 1);
}

#[test]
fn large_commits_keep_what_was_acknowledged() {
    endure(Kind::Bulk, chain::anywhere, 16);
}

#[test]
fn the_hub_keeps_what_it_acknowledged() {
    endure(Kind::Hub, chain::anywhere, 60);
}

#[test]
fn completed_tasks_stay_merged() {
    endure(Kind::Both, chain::anywhere, 60);
}

#[test]
fn commits_of_many_rows_keep_what_was_acknowledged() {
    endure(Kind::Wide, chain::anywhere, 20);
}

#[test]
fn a_hub_killed_while_it_is_created_leaves_nothing_unsynced_behind() {
    endure_killed_openings(Kind::Hub, 90);
}

#[test]
fn a_store_without_its_syncs_is_caught() {
    be_caught(Kind::Store);
}

#[test]
fn a_hub_without_its_syncs_is_caught() {
    be_caught(Kind::Hub);
}

/// The child's side. Started by the other tests only.
#[test]
#[ignore = "runs inside the other tests, as a process that is killed"]
fn writer_process() {
    let Some(writer) = env::var(Writer::VAR).ok().and_then(|text| Writer::parse(&text)) else { return };
    let path = |name| PathBuf::from(env::var_os(name).unwrap());
    let acks = Acks::open(&path("POWER_LOSS_ACKS")).unwrap();
    let Err(error) = writer.write(&path("POWER_LOSS_MOUNT"), &path("POWER_LOSS_FIXTURE"), acks);
    panic!("{error}");
}
