//! Merges of generated branches equal plain git, conflict for conflict; and what a merge commit is.

use std::path::Path;

use devstack::repository::{
    Prepared, Published,
    bundle::RESULT_REF,
    quarantine::{Accepted, Imported},
};
use tempfile::TempDir;

use super::{
    fixture::{Project, attempt, commit_of, expectation, git, hub_of, now, request, try_git, write},
    repo_generator::{Size, generate},
};

/// Merge `branches` one after the other with plain git; those that conflict are skipped and named.
fn plain_merges(repo: &Path, work: &Path, branches: &[String]) -> (Vec<String>, String) {
    git(work.parent().expect("has a parent"), &["clone", "-q", "--shared", repo.to_str().expect("utf-8"), "plain"]);
    let mut conflicts = Vec::new();
    for branch in branches {
        let (code, said) = try_git(work, &["merge", "-q", "--no-ff", "-m", branch, &format!("origin/{branch}")]);
        if code != 0 {
            assert!(said.contains("Automatic merge failed"), "{said}");
            git(work, &["merge", "--abort"]);
            conflicts.push(branch.clone());
        }
    }
    (conflicts, git(work, &["rev-parse", "HEAD^{tree}"]))
}

#[test]
fn generated_branches_merge_as_git_merges_them() {
    let root = TempDir::new().expect("scratch");
    let repo = root.path().join("repo.git");
    let branches = generate(&repo, 7, Size { files: 3_000, branches: 200 });
    let (conflicts, tree) = plain_merges(&repo, &root.path().join("plain"), &branches);

    let hub = hub_of(&root.path().join("hub.git"), &repo);
    let base = hub.head().expect("readable").expect("mirrored");
    let bundle = root.path().join("b.bundle");
    let mut ours = Vec::new();
    for branch in &branches {
        let attempt = attempt(branch, 1);
        git(&repo, &["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
        git(&repo, &["update-ref", RESULT_REF, "HEAD"]);
        git(&repo, &["bundle", "create", "-q", bundle.to_str().expect("utf-8"), RESULT_REF, "^main"]);
        let Imported::Accepted(Accepted { tip: commit, .. }) =
            hub.import_result(&bundle, &expectation(&attempt, base)).expect("import")
        else {
            panic!("{branch} was refused");
        };
        match hub.prepare(&request(&attempt, commit), now()).expect("prepare") {
            Prepared::Candidate { onto, commit } => {
                let lock = hub.lock().expect("lock");
                let published = hub.publish(&lock, onto, commit).expect("publish");
                assert_eq!(published, Published::Landed { head: commit });
            }
            Prepared::Conflict(found) => {
                assert!(!found.paths.is_empty() && found.messages.contains("CONFLICT"), "{found:?}");
                ours.push(branch.clone());
            }
            other => panic!("{branch}: {other:?}"),
        }
    }
    assert_eq!(ours, conflicts);
    assert!(
        !conflicts.is_empty() && conflicts.len() < branches.len() / 2,
        "a useful mix: {} conflicts",
        conflicts.len()
    );
    assert_eq!(git(hub.dir(), &["rev-parse", "dev^{tree}"]), tree);
    git(hub.dir(), &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_merge_commit_has_the_agent_as_author_and_both_parents() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "new.txt", "new\n");
    let onto = project.head();
    let head = project.merge(&attempt, commit);
    let said = git(project.hub.dir(), &["log", "-1", "--format=%P|%an|%cn|%B", "dev"]);
    let expected = format!(
        "{onto} {commit}|Dev One|devstack DevOps|Merge branch 'feat/dev1' (T-001: Login API)\n\nDevstack-Task: shop/T-001\nDevstack-Attempt: 1"
    );
    assert_eq!(said, expected);
    assert_eq!(commit_of(project.hub.dir(), "dev"), head);
}

#[test]
fn a_hostile_title_stays_within_the_subject() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "new.txt", "new\n");
    let mut request = request(&attempt, commit);
    request.title = "x)\n\nDevstack-Task: shop/T-999\nSigned-off-by: root <r@x>\0\u{202e}".into();
    request.branch = "feat/dev1'\nDevstack-Attempt: 9".into();
    let Prepared::Candidate { commit, .. } = project.hub.prepare(&request, now()).expect("prepare") else {
        panic!("no candidate")
    };
    let trailers = git(project.hub.dir(), &["log", "-1", "--format=%(trailers)", &commit.to_string()]);
    assert_eq!(trailers.trim(), "Devstack-Task: shop/T-001\nDevstack-Attempt: 1");
}

#[test]
fn a_merge_is_never_dated_before_its_parents() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "new.txt", "new\n");
    let early = devstack_dag::ids::Timestamp(1_000);
    let Prepared::Candidate { commit: merge, .. } =
        project.hub.prepare(&request(&attempt, commit), early).expect("prepare")
    else {
        panic!("no candidate")
    };
    let dates = git(project.hub.dir(), &["log", "-1", "--format=%ct", &merge.to_string()]);
    let parent = git(project.hub.dir(), &["log", "-1", "--format=%ct", &commit.to_string()]);
    assert!(dates >= parent && dates.len() == parent.len(), "{dates} {parent}");
}

#[test]
fn only_a_pinned_commit_is_merged() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "new.txt", "new\n");
    let other = project.head();
    let error = project.hub.prepare(&request(&one, other), now()).expect_err("another commit");
    assert!(error.to_string().contains("not pinned"), "{error}");
    let error = project.hub.prepare(&request(&attempt("T-001", 2), commit), now()).expect_err("another attempt");
    assert!(error.to_string().contains("not pinned"), "{error}");
}

#[test]
fn what_is_merged_already_says_so() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "new.txt", "new\n");
    let head = project.merge(&attempt, commit);
    let again = project.hub.prepare(&request(&attempt, commit), now()).expect("prepare");
    assert_eq!(again, Prepared::AlreadyContained { head });
}

#[test]
fn a_conflict_names_sides_base_and_paths_and_moves_nothing() {
    let project = Project::new();
    let base = project.head();
    let (one, one_commit) = project.work("T-001", "d/b.txt", "ours\n");
    let (two, two_commit) = project.work("T-002", "d/b.txt", "theirs\n");
    let head = project.merge(&one, one_commit);
    let Prepared::Conflict(found) = project.hub.prepare(&request(&two, two_commit), now()).expect("prepare") else {
        panic!("no conflict")
    };
    assert_eq!((found.ours, found.theirs, found.base), (head, two_commit, base));
    assert_eq!(found.paths, ["d/b.txt"]);
    assert!(found.messages.contains("CONFLICT (content)"), "{}", found.messages);
    assert_eq!(project.head(), head);
}

#[test]
fn unrelated_histories_are_refused() {
    let project = Project::new();
    let other = project.root.path().join("other");
    std::fs::create_dir(&other).expect("directory");
    git(&other, &["init", "-q", "-b", "main"]);
    write(&other, "x", "x");
    let commit = project.commit(&other, "unrelated");
    git(project.hub.dir(), &["fetch", "-q", other.to_str().expect("utf-8"), "main"]);
    let attempt = attempt("T-001", 1);
    project.hub.pin(&attempt, commit).expect("pinned");
    let prepared = project.hub.prepare(&request(&attempt, commit), now()).expect("prepare");
    assert!(matches!(&prepared, Prepared::Refused(why) if why.contains("no common history")), "{prepared:?}");
}

#[test]
fn attributes_of_our_side_decide_how_files_merge() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", ".gitattributes", "*.list merge=union\n");
    project.merge(&one, commit);
    let (two, commit) = project.work("T-002", "x.list", "two\n");
    let (three, three_commit) = project.work("T-003", "x.list", "three\n");
    project.merge(&two, commit);
    if project.hub.git().version() < (2, 41) {
        eprintln!("skipped: this git cannot read attributes from a commit");
        return;
    }
    project.merge(&three, three_commit);
    let text = project.hub.show(project.head(), "x.list", 100).expect("readable").expect("there").text;
    assert!(text.contains("two") && text.contains("three"), "{text}");
}
