//! A model of git: a commit is the set of its ancestors. With a model of DevOps: the only writer of the head.

use std::collections::BTreeSet;

use devstack_dag::{
    attempt::Conflict,
    command::{Command, Job},
    effect::{Effect, MergeRequest},
    ids::{CommitId, ProjectName, Text},
};

use super::random::Random;
use crate::common::commit;

/// All commits of all projects; a commit is its index.
#[derive(Default)]
pub struct Git {
    ancestors: Vec<BTreeSet<usize>>,
}

impl Git {
    /// A new commit with these parents.
    pub fn commit(&mut self, parents: &[CommitId]) -> CommitId {
        let new = self.ancestors.len();
        let mut ancestors: BTreeSet<usize> = parents.iter().flat_map(|&p| self.ancestors[index(p)].clone()).collect();
        ancestors.insert(new);
        self.ancestors.push(ancestors);
        commit(new as u64)
    }

    pub fn contains(&self, tip: CommitId, ancestor: CommitId) -> bool {
        self.ancestors[index(tip)].contains(&index(ancestor))
    }
}

fn index(commit: CommitId) -> usize {
    u64::from_be_bytes(commit.0[12..].try_into().unwrap()) as usize
}

/// One project's hub.
pub struct Hub {
    pub head: CommitId,
    /// The integration branch of the user's repository.
    pub source: CommitId,
    /// Its commits conflict with ours until somebody merges both sides, or the source withdraws them.
    pub clashes: bool,
    /// Merge commits that became the head by a swap, in order.
    pub swaps: Vec<CommitId>,
    pub conflicts: u32,
}

impl Hub {
    /// Does a job and returns the answer.
    pub fn run(&mut self, git: &mut Git, random: &mut Random, job: Effect, faults: bool) -> Option<Command> {
        if faults && random.percent(10) {
            let job = match job {
                Effect::PrepareMerge(request) => Job::Prepare(request.attempt),
                Effect::PublishMerge { project, merge, .. } => Job::Publish(project, merge),
                Effect::Deliver(project) => Job::Deliver(project),
                _ => return None,
            };
            return Some(Command::JobFailed { job, reason: "disk full".into() });
        }
        match job {
            Effect::PrepareMerge(request) => Some(self.prepare(git, random, request)),
            Effect::PublishMerge { project, merge, onto, candidate } => {
                let landed = git.contains(self.head, candidate);
                if !landed && self.head != onto {
                    return Some(Command::MergeLost { merge, project, head: self.head });
                }
                if !landed {
                    self.head = candidate;
                    self.swaps.push(candidate);
                }
                Some(Command::MergeLanded { merge, project, head: self.head })
            }
            Effect::Deliver(project) if faults && random.percent(20) => {
                Some(Command::DeliveryBlocked { project, reason: "checked out".into() })
            }
            Effect::Deliver(project) => Some(self.deliver(git, project)),
            _ => None,
        }
    }

    /// Fast-forward only; a source that moved on is merged in first, or conflicts.
    fn deliver(&mut self, git: &mut Git, project: ProjectName) -> Command {
        if let Some(report) = self.sync(git, project.clone()) {
            return report;
        }
        self.source = self.head;
        Command::Delivered { project, head: self.head }
    }

    /// Merges the source's new commits; `None`: nothing new.
    pub fn sync(&mut self, git: &mut Git, project: ProjectName) -> Option<Command> {
        let (ours, theirs) = (self.head, self.source);
        if git.contains(ours, theirs) {
            return None;
        }
        let forward = git.contains(theirs, ours);
        if !forward && self.clashes {
            let text = Text::Inline("<<<".into());
            let conflict = Conflict { ours, theirs, base: ours, paths: vec!["b.txt".into()], text };
            return Some(Command::SourceConflicted { project, conflict });
        }
        self.head = if forward { theirs } else { git.commit(&[ours, theirs]) };
        Some(Command::HeadMoved { project, head: self.head })
    }

    fn prepare(&mut self, git: &mut Git, random: &mut Random, request: MergeRequest) -> Command {
        let MergeRequest { attempt, commit, must_contain, .. } = request;
        if must_contain.iter().any(|&side| !git.contains(commit, side)) {
            return Command::MergeRefused { attempt, reason: "a side of the conflict is missing".into() };
        }
        if !git.contains(commit, self.head) && random.percent(self.conflicts) {
            let (ours, theirs) = (self.head, commit);
            let conflict =
                Conflict { ours, theirs, base: ours, paths: vec!["a.txt".into()], text: Text::Inline("<<<".into()) };
            return Command::MergeConflicted { attempt, conflict };
        }
        let candidate = git.commit(&[self.head, commit]);
        Command::MergePrepared { attempt, onto: self.head, candidate }
    }
}
