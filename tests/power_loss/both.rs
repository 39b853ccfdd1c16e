//! Store and hub together, in the order of a real merge: objects durable, intent in the store, ref durable, outcome in
//! the store. A start first finds out what became of the intents it finds.

use std::convert::Infallible;
use std::path::Path;

use devstack::repository::{Hub, Prepared};
use devstack::store::{Commit, SledStore, Store, Term};
use devstack_dag::ids::{AttemptId, CommitId, MergeId, Timestamp};
use devstack_dag::record::{MergeRecord, MergeState, Record};

use crate::hub::{self, fsck, land, mirror, pin, prepare};
use crate::power::Acks;
use crate::results::Results;
use crate::store::{self, tell};

/// Changing calls of a first opening, and of a round. A later opening takes up to 2,000, a task about 70.
pub(crate) const SPANS: (u64, u64) = (1000, 5000);

/// Merges for ever, acknowledging each task whose completion is durable.
pub(crate) fn write(disk: &Path, fixture: &Path, durable: bool, mut acks: Acks) -> Result<Infallible, String> {
    let results = Results::open(fixture);
    let mut store = store::open(disk, durable)?;
    let term = store.new_term().map_err(store::said)?;
    let hub = hub::open(disk, durable)?;
    mirror(&hub, &results)?;
    let known = merges(&store)?;
    for merge in known.iter().filter(|merge| merge.state == MergeState::Intended) {
        complete(&hub, &mut store, term, merge.clone(), &mut acks)?;
    }
    for (id, (attempt, commit, bundle)) in (1..).map(MergeId).zip(results.attempts()) {
        if known.iter().any(|merge| merge.id == id) {
            continue;
        }
        pin(&hub, &results, &attempt, commit, &bundle)?;
        let Prepared::Candidate { onto, commit: candidate } = prepare(&hub, &attempt, commit)? else {
            return Err(format!("{attempt} is merged, and nobody intended it"));
        };
        let intent = intent(id, attempt, commit, onto, candidate);
        put(&mut store, term, intent.clone())?;
        complete(&hub, &mut store, term, intent, &mut acks)?;
    }
    Err("there were more rounds than attempts".into())
}

/// Everything acknowledged is completed, and whatever is completed is merged; what is intended can still be merged.
pub(crate) fn verify(copy: &Path, _fixture: &Path, acknowledged: &[String]) -> Result<(), String> {
    let store = store::open(copy, true)?;
    let hub = hub::open(copy, true)?;
    fsck(&hub)?;
    let merges = merges(&store)?;
    for line in acknowledged {
        let landed = |merge: &&MergeRecord| merge.state == MergeState::Landed && said_of(merge) == *line;
        if merges.iter().find(landed).is_none() {
            return Err(format!("acknowledged and not in the store: {line}"));
        }
    }
    let head = hub.head().map_err(hub::said)?;
    let merged = |commit: CommitId| head.is_some_and(|head| hub.is_ancestor(commit, head).unwrap_or(false));
    for merge in merges {
        if merge.state == MergeState::Landed && !(merged(merge.commit) && merged(merge.candidate)) {
            return Err(format!("completed and not merged into {head:?}: {merge:?}"));
        }
        if !hub.contains(merge.candidate).map_err(hub::said)? {
            return Err(format!("intended without its objects: {merge:?}"));
        }
        if hub.pinned(&merge.attempt).map_err(hub::said)? != Some(merge.commit) {
            return Err(format!("intended without its pin: {merge:?}"));
        }
    }
    Ok(())
}

fn complete(hub: &Hub, store: &mut SledStore, term: Term, merge: MergeRecord, acks: &mut Acks) -> Result<(), String> {
    land(hub, merge.onto, merge.candidate)?;
    let landed = MergeRecord { state: MergeState::Landed, ..merge };
    let line = said_of(&landed);
    put(store, term, landed)?;
    tell(acks, &line)
}

fn said_of(merge: &MergeRecord) -> String {
    format!("completed {} {}", merge.attempt.task.id, merge.candidate)
}

fn put(store: &mut SledStore, term: Term, merge: MergeRecord) -> Result<(), String> {
    let expected_seq = store.meta().seq;
    let records = vec![Record::Merge(Box::new(merge))];
    store.commit(&[Commit { term, expected_seq, records, ..Commit::default() }]).map(drop).map_err(store::said)
}

fn merges(store: &SledStore) -> Result<Vec<MergeRecord>, String> {
    let mut merges = Vec::new();
    let mut keep = |record| {
        if let Record::Merge(merge) = record {
            merges.push(*merge);
        }
    };
    store.records(&mut keep).map_err(store::said)?;
    merges.sort_by_key(|merge| merge.id);
    Ok(merges)
}

fn intent(id: MergeId, attempt: AttemptId, commit: CommitId, onto: CommitId, candidate: CommitId) -> MergeRecord {
    let project = attempt.task.project.clone();
    MergeRecord { project, id, attempt, commit, onto, candidate, state: MergeState::Intended, at: Timestamp(id.0) }
}
