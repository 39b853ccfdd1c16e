//! Finds the commits that an agent left, by the names it gave them: its HEAD, its assigned branch, and other branches.
//!
//! Deliberately absent: uncommitted files (`leftovers`), tags and stashes.

use devstack_shim::{
    layout,
    spec::{BRANCH_NAME_MAX, BRANCHES_MAX, Git},
};
use git2::{BranchType, Oid, Reference, Repository};

use crate::{left::Left, trouble::Failure};

/// Maximum number of branches that are examined: an honest agent makes a few.
const LOOKED_AT: usize = 256;

/// A branch of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) name: String,
    pub(crate) tip: Oid,
}

/// The commits of a workspace.
pub(crate) struct Commits<'r> {
    repository: &'r Repository,
    /// The integration head that the attempt started from.
    pub(crate) base: Oid,
    /// The commit of HEAD; `None` if HEAD points to no commit.
    pub(crate) head: Option<Oid>,
    /// The commit of the branch that the agent was assigned.
    pub(crate) given: Option<Oid>,
    /// All other branches with commits on top of the base, by name.
    others: Vec<Branch>,
}

impl<'r> Commits<'r> {
    /// Reads the commits. The error says what is destroyed.
    pub(crate) fn read(repository: &'r Repository, git: &Git, left: &mut Left) -> Result<Self, Failure> {
        let base = repository.find_commit(Oid::from_str(git.start.base())?)?.id();
        let head = repository.head().and_then(|head| head.peel_to_commit()).ok().map(|commit| commit.id());
        let mut commits = Self { repository, base, head, given: None, others: Vec::new() };
        for branch in commits.all(left)? {
            if branch.name == git.branch {
                commits.given = Some(branch.tip);
            } else if commits.is_new(branch.tip) && commits.is_on(branch.tip, base) {
                commits.others.push(branch);
            }
        }
        Ok(commits)
    }

    fn all(&self, left: &mut Left) -> Result<Vec<Branch>, Failure> {
        let mut all = Vec::new();
        for branch in self.repository.branches(Some(BranchType::Local))? {
            let Ok((branch, _)) = branch else { continue };
            let reference = branch.into_reference();
            let full = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            let Ok(tip) = reference.peel_to_commit().map(|commit| commit.id()) else {
                left.skip(&full, "the branch does not point to a commit");
                continue;
            };
            let name = full.trim_start_matches("refs/heads/").to_owned();
            let carried = format!("{}{name}", layout::BRANCH_REFS);
            let plain = name.len() <= BRANCH_NAME_MAX
                && Reference::is_valid_name(&carried)
                && git2::Branch::name_is_valid(&name).unwrap_or(false)
                && !name.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
            if plain {
                all.push(Branch { name, tip });
            } else if self.is_new(tip) {
                left.skip(&full, "the branch's name is not allowed");
            }
            if all.len() > LOOKED_AT {
                left.skip("refs/heads", "too many branches to examine");
                break;
            }
        }
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        // A name cannot be both a file and a directory: git makes no such names.
        let mut before: Option<String> = None;
        all.retain(|branch| {
            let below =
                |name: &String| branch.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'));
            let clashes = before.as_ref().is_some_and(below);
            if clashes {
                left.skip(&format!("refs/heads/{}", branch.name), "the branch's name conflicts with another branch");
            } else {
                before = Some(branch.name.clone());
            }
            !clashes
        });
        Ok(all)
    }

    /// Whether the commit contains anything beyond what the agent started with. If this is unknown, it counts as new.
    pub(crate) fn is_new(&self, tip: Oid) -> bool {
        tip != self.base && !self.repository.graph_descendant_of(self.base, tip).unwrap_or(false)
    }

    fn is_on(&self, tip: Oid, base: Oid) -> bool {
        tip == base || self.repository.graph_descendant_of(tip, base).unwrap_or(false)
    }

    /// The committed result: HEAD, else the assigned branch, else the only other branch with commits.
    pub(crate) fn result(&self) -> Option<Oid> {
        let new = |tip: Option<Oid>| tip.filter(|tip| self.is_new(*tip));
        new(self.head).or(new(self.given)).or(match self.others.as_slice() {
            [only] => Some(only.tip),
            _ => None,
        })
    }

    /// The branches to include besides `result`: the branches that it does not contain, and the branch from which it
    /// was taken.
    pub(crate) fn beside(&self, result: Option<Oid>, given: &str, left: &mut Left) -> Vec<Branch> {
        let own = self.given.map(|tip| Branch { name: given.to_owned(), tip });
        let own = own.filter(|own| self.is_new(own.tip) && self.is_on(own.tip, self.base));
        let wanted = |branch: &Branch| match result {
            Some(result) if result == branch.tip => self.head != Some(result) && branch.name != given,
            Some(result) => !self.is_on(result, branch.tip),
            None => true,
        };
        let mut beside: Vec<Branch> = own.into_iter().chain(self.others.iter().cloned()).filter(wanted).collect();
        beside.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for branch in beside.iter().skip(BRANCHES_MAX) {
            left.skip(&format!("refs/heads/{}", branch.name), "too many branches with commits");
        }
        beside.truncate(BRANCHES_MAX);
        beside
    }
}
