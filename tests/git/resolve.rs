//! A conflict laid out for a person, and their result taken back through the quarantine and merged.

use std::path::Path;

use devstack::repository::{
    Error, Prepared, Published,
    checkout::{CheckoutError, bundle_from_dir, checkout_by_hand},
    quarantine::{Expectation, Imported},
};
use devstack_dag::ids::CommitId;

use super::fixture::{Project, attempt, expectation, git, now, request, write};

/// A project whose `d/b.txt` conflicts: the head, the blocked commit.
fn conflict() -> (Project, CommitId, CommitId) {
    let project = Project::new();
    let (one, ours) = project.work("T-001", "d/b.txt", "ours\n");
    let (_, theirs) = project.work("T-002", "d/b.txt", "theirs\n");
    let head = project.merge(&one, ours);
    (project, head, theirs)
}

fn lay_out(project: &Project, dir: &Path, head: CommitId, theirs: CommitId) -> bool {
    checkout_by_hand(project.hub.git(), project.hub.dir(), dir, head, Some(theirs), "resolve-T-002").expect("laid out")
}

#[test]
fn a_person_resolves_a_conflict() {
    let (project, head, theirs) = conflict();
    let dir = project.root.path().join("mine");
    assert!(lay_out(&project, &dir, head, theirs));
    let text = std::fs::read_to_string(dir.join("d/b.txt")).expect("readable");
    assert!(text.contains("<<<<<<<") && text.contains("ours") && text.contains("theirs"), "{text}");
    assert_eq!(git(&dir, &["rev-parse", "MERGE_HEAD"]), theirs.to_string());
    assert_eq!(git(&dir, &["branch", "--show-current"]), "resolve-T-002");

    let bundle = project.root.path().join("mine.bundle");
    let sides = [head, theirs];
    let refused = |bundle: &Path| match bundle_from_dir(project.hub.git(), &dir, head, &sides, bundle) {
        Err(Error::Checkout(refused)) => refused,
        other => panic!("not refused: {other:?}"),
    };
    assert!(matches!(refused(&bundle), CheckoutError::Unfinished(_)));
    write(&dir, "d/b.txt", "both\n");
    git(&dir, &["add", "-A"]);
    git(&dir, &["commit", "-qm", "resolved"]);
    write(&dir, "d/b.txt", "both, really\n");
    assert!(matches!(refused(&bundle), CheckoutError::Uncommitted { files: 1, .. }));
    git(&dir, &["commit", "-qam", "really"]);
    let commit = bundle_from_dir(project.hub.git(), &dir, head, &sides, &bundle).expect("taken");

    let three = attempt("T-002-resolve-1", 1);
    let expected = Expectation { must_contain: &sides, ..expectation(&three, head) };
    let imported = project.hub.import_result(&bundle, &expected).expect("works");
    assert!(matches!(imported, Imported::Accepted(accepted) if accepted.tip == commit));
    let mut request = request(&three, commit);
    request.must_contain = sides.to_vec();
    let Prepared::Candidate { onto, commit } = project.hub.prepare(&request, now()).expect("works") else {
        panic!("no candidate")
    };
    let lock = project.hub.lock().expect("lock");
    assert!(matches!(project.hub.publish(&lock, onto, commit).expect("works"), Published::Landed { .. }));
    assert!(project.hub.is_ancestor(theirs, commit).expect("readable"));
}

#[test]
fn a_directory_in_use_is_not_touched_and_a_side_that_is_missing_is_named() {
    let (project, head, theirs) = conflict();
    let used = project.source_dir();
    let error =
        checkout_by_hand(project.hub.git(), project.hub.dir(), &used, head, Some(theirs), "x").expect_err("in use");
    assert!(matches!(error, Error::Checkout(CheckoutError::NotEmpty(_))), "{error}");
    let workspace = project.workspace("ws");
    let bundle = project.root.path().join("x.bundle");
    let error = bundle_from_dir(project.hub.git(), &workspace, head, &[theirs], &bundle).expect_err("one side only");
    assert!(
        matches!(&error, Error::Checkout(CheckoutError::NotContained { missing, .. }) if *missing == theirs),
        "{error}"
    );
}

#[test]
fn a_merge_request_without_both_sides_or_with_markers_is_refused() {
    let (project, head, theirs) = conflict();
    let workspace = project.workspace("ws");
    write(&workspace, "other", "x");
    project.commit(&workspace, "one side only");
    let one = attempt("R", 1);
    let commit = project.harvest(&workspace, &one, head);
    let mut asked = request(&one, commit);
    asked.must_contain = vec![head, theirs];
    let prepared = project.hub.prepare(&asked, now()).expect("works");
    assert!(matches!(&prepared, Prepared::Refused(why) if why.contains("merge both sides")), "{prepared:?}");

    let dir = project.root.path().join("mine");
    lay_out(&project, &dir, head, theirs);
    git(&dir, &["add", "-A"]);
    git(&dir, &["commit", "-qm", "markers and all"]);
    let two = attempt("R", 2);
    let commit = project.harvest(&dir, &two, head); // as if the import had not known that it is a resolution
    let mut asked = request(&two, commit);
    asked.must_contain = vec![head, theirs];
    let prepared = project.hub.prepare(&asked, now()).expect("works");
    assert!(matches!(&prepared, Prepared::Refused(why) if why.contains("markers are left")), "{prepared:?}");
}
