//! The git hub as a writer: mirrors a source, then imports, pins and merges one attempt after the other.

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;

use devstack::repository::git::Git;
use devstack::repository::held::Guard;
use devstack::repository::policy::Limits;
use devstack::repository::quarantine::{Expectation, Imported};
use devstack::repository::source::Source;
use devstack::repository::{Durability, Error, Hub, HubOptions, Prepared, Published};
use devstack_dag::effect::MergeRequest;
use devstack_dag::ids::{AttemptId, CommitId, Timestamp};

use crate::power::Acks;
use crate::results::{Results, attempt};
use crate::store::tell;

/// Changing calls of a creation, and of a round. An opening takes about 300, an import with its merge about 60.
pub(crate) const SPANS: (u64, u64) = (1000, 1800);
/// One moment for every merge: after the commits' own.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Below the disk's root, so that the way to the hub must become durable too.
const PLACE: &str = "hubs/shop.git";

/// Imports and merges for ever, acknowledging the first head, each pin and each merge.
pub(crate) fn write(disk: &Path, fixture: &Path, durable: bool, mut acks: Acks) -> Result<Infallible, String> {
    let results = Results::open(fixture);
    let hub = open(disk, durable)?;
    let head = mirror(&hub, &results)?;
    tell(&mut acks, &format!("head {head}"))?;
    for (attempt, commit, bundle) in results.attempts() {
        if pin(&hub, &results, &attempt, commit, &bundle)? {
            tell(&mut acks, &format!("pinned {} {commit}", attempt.task.id))?;
        }
        if let Prepared::Candidate { onto, commit } = prepare(&hub, &attempt, commit)? {
            land(&hub, onto, commit)?;
            tell(&mut acks, &format!("landed {commit}"))?;
        }
    }
    Err("there were more rounds than attempts".into())
}

/// Opens what is left as the next start would, and checks it with git's own eyes.
pub(crate) fn verify(copy: &Path, fixture: &Path, acknowledged: &[String]) -> Result<(), String> {
    let hub = open(copy, true)?;
    fsck(&hub)?;
    let head = hub.head().map_err(said)?;
    for line in acknowledged {
        let kept = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["head" | "landed", commit] => head.is_some_and(|head| contains(&hub, head, commit)),
            ["pinned", task, commit] => {
                let attempt = AttemptId { number: 1, ..named(task) };
                hub.pinned(&attempt).map_err(said)?.map(|pin| pin.to_string()).as_deref() == Some(commit)
            }
            _ => true,
        };
        if !kept {
            return Err(format!("acknowledged and not in the hub, whose head is {head:?}: {line}"));
        }
    }
    // And it still works.
    mirror(&hub, &Results::open(fixture)).map(drop)
}

/// The hub, created if there is none.
pub(crate) fn open(disk: &Path, durable: bool) -> Result<Hub, String> {
    let durability = if durable { Durability::Full } else { Durability::Off };
    let options = HubOptions { durability, ..HubOptions::new("dev").map_err(said)? };
    Hub::create(&disk.join(PLACE), Git::probe().map_err(said)?, options).map_err(said)
}

/// The head of a hub that follows the source.
pub(crate) fn mirror(hub: &Hub, results: &Results) -> Result<CommitId, String> {
    let source = Source::locate(&results.source()).map_err(said)?;
    let (head, _) = hub.mirror_source(&source, Some("dev")).map_err(said)?;
    Ok(head)
}

/// Imports and pins an attempt's result, unless it is; whether it did.
pub(crate) fn pin(
    hub: &Hub,
    results: &Results,
    attempt: &AttemptId,
    commit: CommitId,
    bundle: &Path,
) -> Result<bool, String> {
    if hub.pinned(attempt).map_err(said)? == Some(commit) {
        return Ok(false);
    }
    let limits = Limits::default();
    let expected = Expectation {
        attempt,
        base: results.base,
        must_contain: &[],
        secrets: &[],
        guard: &Guard::NONE,
        limits,
        now: NOW,
    };
    match hub.import_result(bundle, &expected).map_err(said)? {
        Imported::Accepted(accepted) if accepted.tip == commit => Ok(true),
        other => Err(format!("the result of {attempt} was not taken: {other:?}")),
    }
}

/// Prepares the merge of an attempt; refuses anything but a candidate or what is merged already.
pub(crate) fn prepare(hub: &Hub, attempt: &AttemptId, commit: CommitId) -> Result<Prepared, String> {
    let (attempt, title) = (attempt.clone(), "A change".into());
    let request = MergeRequest { attempt, commit, branch: "feat/dev1".into(), title, must_contain: Vec::new() };
    match hub.prepare(&request, NOW).map_err(said)? {
        prepared @ (Prepared::Candidate { .. } | Prepared::AlreadyContained { .. }) => Ok(prepared),
        other => Err(format!("the merge of {} was not prepared: {other:?}", request.attempt)),
    }
}

/// Publishes a candidate and sees it land.
pub(crate) fn land(hub: &Hub, onto: CommitId, candidate: CommitId) -> Result<(), String> {
    let lock = hub.lock().map_err(said)?;
    match hub.publish(&lock, onto, candidate).map_err(said)? {
        Published::Landed { .. } => Ok(()),
        Published::Lost { head } => Err(format!("{candidate} was lost to {head}, but nobody else merges")),
    }
}

/// Everything reachable is there and whole, and nothing that is there is damaged.
pub(crate) fn fsck(hub: &Hub) -> Result<(), String> {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(hub.dir()).args(["fsck", "--full", "--strict", "--no-dangling"]);
    let checked = git.output().map_err(|error| format!("cannot run git fsck: {error}"))?;
    if checked.status.success() {
        return Ok(());
    }
    Err(format!("git fsck of the hub: {}{}", text(&checked.stdout), text(&checked.stderr)))
}

pub(crate) fn said(error: Error) -> String {
    format!("the hub: {error}")
}

fn contains(hub: &Hub, head: CommitId, commit: &str) -> bool {
    commit.parse().is_ok_and(|commit| hub.is_ancestor(commit, head).unwrap_or(false))
}

fn named(task: &str) -> AttemptId {
    attempt(task.trim_start_matches("T-").parse().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
