//! Delivery: fast-forward only, never onto a checked-out branch, never with a hook of theirs.

use devstack::repository::deliver::Delivery;

use super::fixture::{Project, commit_of, git, write};

#[test]
fn a_merge_is_delivered_and_the_branch_made_if_missing() {
    let project = Project::new();
    let proof = project.root.path().join("ran");
    for hook in ["update", "pre-receive", "post-receive", "reference-transaction", "post-update"] {
        let file = format!(".git/hooks/{hook}");
        write(&project.source_dir(), &file, format!("#!/bin/sh\ntouch {}\n", proof.display()));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(project.source_dir().join(file), mode).expect("mode");
    }
    for task in ["T-001", "T-002"] {
        let (one, commit) = project.work(task, task, "x\n");
        let head = project.merge(&one, commit);
        for _ in 0..2 {
            let delivered = project.hub.deliver(&project.source()).expect("works");
            assert_eq!(delivered, Delivery::Delivered { head });
        }
        assert_eq!(commit_of(&project.source_dir(), "dev"), head);
    }
    assert!(!proof.exists(), "a hook of the source ran");
    git(&project.source_dir(), &["fsck", "--strict"]);
    assert_eq!(git(&project.source_dir(), &["status", "--porcelain"]), "", "their worktree is as it was");
}

#[test]
fn a_checked_out_branch_blocks_until_it_is_switched() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    let first = project.head();
    let head = project.merge(&one, commit);
    git(&project.source_dir(), &["branch", "dev", &first.to_string()]);
    git(&project.source_dir(), &["worktree", "add", "-q", "../tree", "dev"]);
    let blocked = project.hub.deliver(&project.source()).expect("works");
    assert!(matches!(&blocked, Delivery::Blocked { reason } if reason.contains("switch --detach")), "{blocked:?}");
    assert_eq!(commit_of(&project.source_dir(), "dev"), first);
    git(&project.root.path().join("tree"), &["switch", "-q", "--detach"]);
    assert_eq!(project.hub.deliver(&project.source()).expect("works"), Delivery::Delivered { head });
}

#[test]
fn a_source_with_commits_of_its_own_is_never_overwritten() {
    let project = Project::new();
    let source = project.source_dir();
    let (one, commit) = project.work("T-001", "x", "x\n");
    project.merge(&one, commit);
    git(&source, &["checkout", "-q", "-b", "dev"]);
    write(&source, "theirs", "theirs");
    let tip = project.commit(&source, "theirs");
    git(&source, &["checkout", "-q", "main"]);
    assert_eq!(project.hub.deliver(&project.source()).expect("works"), Delivery::Diverged);
    assert_eq!(commit_of(&source, "dev"), tip);
    project.hub.sync(&project.source(), super::fixture::now()).expect("works");
    let head = project.head();
    assert_eq!(project.hub.deliver(&project.source()).expect("works"), Delivery::Delivered { head });
    git(&source, &["merge-base", "--is-ancestor", &tip.to_string(), "dev"]);
}

#[test]
fn a_branch_name_in_the_way_blocks() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    project.merge(&one, commit);
    git(&project.source_dir(), &["branch", "dev/old"]);
    let blocked = project.hub.deliver(&project.source()).expect("works");
    assert!(matches!(&blocked, Delivery::Blocked { reason } if reason.contains("rename")), "{blocked:?}");
}

#[test]
fn a_lock_left_in_the_source_is_named_and_its_removal_lets_the_delivery_go_on() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    let head = project.merge(&one, commit);
    let lock = project.source_dir().join(".git/refs/heads/dev.lock");
    write(&project.source_dir(), ".git/refs/heads/dev.lock", "");
    let blocked = project.hub.deliver(&project.source()).expect("works");
    assert!(matches!(&blocked, Delivery::Blocked { reason } if reason.contains("dev.lock")), "{blocked:?}");
    std::fs::remove_file(lock).expect("was there");
    assert_eq!(project.hub.deliver(&project.source()).expect("works"), Delivery::Delivered { head });
}
