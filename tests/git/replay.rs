//! Real history: every two-parent merge below HEAD of this project's own repository (or of the one that
//! `DEVSTACK_REPLAY` names) is made again by `prepare` and by plain `git merge`; trees and conflicts agree.

use std::path::{Path, PathBuf};

use devstack::repository::Prepared;
use tempfile::TempDir;

use super::fixture::{attempt, git, hub_of, now, request, try_git};

/// More merges than this take minutes; the newest are taken.
const MERGES_MAX: usize = 50;

fn repository() -> Option<PathBuf> {
    let named = std::env::var_os("DEVSTACK_REPLAY").map(PathBuf::from);
    let start = named.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let (code, dir) = try_git(&start, &["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    let shallow = code == 0 && git(&start, &["rev-parse", "--is-shallow-repository"]) == "true";
    if code != 0 || shallow {
        eprintln!("SKIPPED: {} is {}", start.display(), if shallow { "shallow" } else { "no git repository" });
        return None;
    }
    Some(dir.into())
}

/// A bare copy that is a usable source whatever is checked out in the original.
fn copy(repo: &Path, root: &Path) -> PathBuf {
    git(root, &["clone", "-q", "--mirror", "--no-local", repo.to_str().expect("utf-8"), "copy.git"]);
    root.join("copy.git")
}

#[test]
fn real_merges_are_made_again_with_the_same_trees() {
    let Some(repo) = repository() else { return };
    let root = TempDir::new().expect("scratch");
    let copy = copy(&repo, root.path());
    let merges = git(&copy, &["log", "HEAD", "--min-parents=2", "--max-parents=2", "--format=%P"]);
    let merges: Vec<(&str, &str)> = merges.lines().filter_map(|l| l.split_once(' ')).take(MERGES_MAX).collect();
    if merges.is_empty() {
        eprintln!("SKIPPED: {} has no merges yet", repo.display());
        return;
    }
    // Whatever branches the copy has: its history stays reachable while `main` is moved about.
    git(&copy, &["update-ref", "refs/tags/replayed", "HEAD"]);
    let plain = root.path().join("plain");
    git(root.path(), &["clone", "-q", "--no-checkout", "copy.git", "plain"]);
    let mut clean = 0;
    for (n, (ours, theirs)) in merges.iter().enumerate() {
        git(&plain, &["checkout", "-q", "-f", "--detach", ours]);
        let (code, _) = try_git(&plain, &["merge", "-q", "--no-ff", "-m", "again", theirs]);
        let expected = (code == 0).then(|| git(&plain, &["rev-parse", "HEAD^{tree}"]));
        if code != 0 {
            git(&plain, &["reset", "-q", "--hard"]);
        }
        git(&copy, &["update-ref", "refs/heads/main", ours]);
        git(&copy, &["update-ref", "-d", "refs/heads/dev"]); // the hub's own starts at main
        let hub = hub_of(&root.path().join(format!("hub{n}.git")), &copy);
        git(
            hub.dir(),
            &["fetch", "-q", copy.to_str().expect("utf-8"), "refs/heads/*:refs/all/*", "refs/tags/*:refs/all/tags/*"],
        );
        let (attempt, commit) = (attempt("T", 1), theirs.parse().expect("an id"));
        hub.pin(&attempt, commit).expect("pinned");
        match hub.prepare(&request(&attempt, commit), now()).expect("works") {
            Prepared::Candidate { commit, .. } => {
                let tree = git(hub.dir(), &["rev-parse", &format!("{commit}^{{tree}}")]);
                assert_eq!(Some(tree), expected, "{ours} {theirs}");
                clean += 1;
            }
            Prepared::Conflict(_) => assert_eq!(expected, None, "{ours} {theirs}"),
            Prepared::AlreadyContained { .. } => {
                assert_eq!(expected, Some(git(&plain, &["rev-parse", &format!("{ours}^{{tree}}")])))
            }
            Prepared::Refused(why) => panic!("{ours} {theirs}: {why}"),
        }
    }
    eprintln!("{} merges made again, {clean} of them clean", merges.len());
}
