//! The mirror holds integration history, all of it, and nothing else; bundles carry the rest.

use devstack::repository::{HubOptions, bundle::RESULT_REF, git::Git, mirror::Mirror};

use super::fixture::{Project, git, write};

fn mirror(project: &Project) -> Mirror {
    let options = HubOptions::new("dev").expect("valid");
    Mirror::open(&project.root.path().join("mirror.git"), Git::probe().expect("git"), &options).expect("opens")
}

#[test]
fn it_follows_the_integration_branch_and_holds_no_other_attempt() {
    let project = Project::new();
    let first = mirror(&project).update(&project.hub).expect("works");
    assert_eq!(first, project.head());
    let (_, unmerged) = project.work("T-009", "secret-work", "x\n");
    for task in ["T-001", "T-002"] {
        let (one, commit) = project.work(task, &format!("deep/er/{task}"), "x\n");
        let head = project.merge(&one, commit);
        let mirror = mirror(&project);
        assert_eq!(mirror.update(&project.hub).expect("works"), head);
        assert!(mirror.contains(commit) && !mirror.contains(unmerged));
        git(mirror.dir(), &["fsck", "--strict", "--connectivity-only"]);
    }
    let workspace = project.root.path().join("workspace");
    let text = mirror(&project).dir().display().to_string();
    git(project.root.path(), &["clone", "-q", "--shared", "-b", "dev", &text, workspace.to_str().expect("utf-8")]);
    assert!(workspace.join("deep/er/T-002").exists());
}

/// As a process leaves it that is killed in the middle of an update: objects are copied in no order.
#[test]
fn a_commit_without_its_tree_is_not_contained_and_is_made_whole() {
    let project = Project::new();
    let mirror = mirror(&project);
    mirror.update(&project.hub).expect("works");
    let (one, commit) = project.work("T-001", "deep/er/x", "x\n");
    let head = project.merge(&one, commit);
    let text = git(project.hub.dir(), &["cat-file", "commit", &head.to_string()]);
    let file = project.root.path().join("commit");
    std::fs::write(&file, text + "\n").expect("written");
    let made = git(mirror.dir(), &["hash-object", "-t", "commit", "-w", file.to_str().expect("utf-8")]);
    assert_eq!(made.trim(), head.to_string());
    assert!(!mirror.contains(head));
    assert_eq!(mirror.update(&project.hub).expect("works"), head);
    assert!(mirror.contains(head));
    git(mirror.dir(), &["fsck", "--strict", "--connectivity-only"]);
}

#[test]
fn a_large_step_is_fetched_as_a_pack() {
    let project = Project::new();
    mirror(&project).update(&project.hub).expect("works");
    let base = project.head();
    let workspace = project.workspace("ws");
    for n in 0..1_200 {
        write(&workspace, &format!("many/{n}"), format!("{n}\n"));
    }
    project.commit(&workspace, "many");
    let one = super::fixture::attempt("T-001", 1);
    let commit = project.harvest(&workspace, &one, base);
    let head = project.merge(&one, commit);
    let mirror = mirror(&project);
    assert_eq!(mirror.update(&project.hub).expect("works"), head);
    git(mirror.dir(), &["fsck", "--strict", "--connectivity-only"]);
}

#[test]
fn a_bundle_brings_what_the_mirror_lacks() {
    let project = Project::new();
    let mirror = mirror(&project);
    let base = mirror.update(&project.hub).expect("works");
    let (_, commit) = project.work("T-001", "x", "x\n");
    let bundle = project.root.path().join("tip.bundle");
    project.hub.bundle_for(commit, base, &bundle).expect("written");
    git(project.root.path(), &["clone", "-q", "--shared", "-b", "dev", "mirror.git", "workspace"]);
    let workspace = project.root.path().join("workspace");
    git(&workspace, &["fetch", "-q", bundle.to_str().expect("utf-8"), RESULT_REF]);
    git(&workspace, &["checkout", "-q", &commit.to_string()]);
    git(&workspace, &["fsck", "--strict", "--connectivity-only"]);
}
