//! The person's repository: what is refused at submission, what is taken, how the hub follows it.

use devstack::repository::{
    Error, Hub, HubOptions,
    git::Git,
    source::{Source, SourceError},
    sync::Synced,
};
use tempfile::TempDir;

use super::fixture::{Project, commit_of, git, now, write};

fn git_door() -> Git {
    Git::probe().expect("git")
}

#[track_caller]
fn refusal<T>(result: Result<T, Error>) -> SourceError {
    match result {
        Err(Error::Source(refusal)) => refusal,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

fn branches(dir: &std::path::Path, base: Option<&str>) -> Result<devstack::repository::source::Branches, Error> {
    Source::locate(dir.to_str().expect("utf-8"))?.branches(&git_door(), base, "dev")
}

#[test]
fn unusable_places_are_refused_with_the_mend() {
    let root = TempDir::new().expect("scratch");
    let dir = root.path().join("x");
    let text = dir.to_str().expect("utf-8");
    assert!(matches!(refusal(Source::locate(text)), SourceError::Missing(_)));
    std::fs::create_dir(&dir).expect("directory");
    let refused = refusal(Source::locate(text));
    assert!(matches!(refused, SourceError::NotARepository(_)) && refused.to_string().contains("git init"), "{refused}");
    git(&dir, &["init", "-q", "-b", "main"]);
    let refused = refusal(branches(&dir, None));
    assert!(matches!(refused, SourceError::Empty(_)) && refused.to_string().contains("git commit"), "{refused}");
    for address in ["ext::sh -c evil", "-upload-pack=evil", "fd::3", "ftp://x/y", "a\nb"] {
        assert!(matches!(refusal(Source::locate(address)), SourceError::BadAddress(_)), "{address}");
    }
}

#[test]
fn a_shallow_or_sha256_repository_is_refused() {
    let project = Project::new();
    let source = project.source_dir();
    write(&source, "more", "more");
    project.commit(&source, "second");
    let url = format!("file://{}", source.display());
    git(project.root.path(), &["clone", "-q", "--depth=1", &url, "shallow"]);
    let shallow = project.root.path().join("shallow");
    let refused = refusal(Source::locate(shallow.to_str().expect("utf-8")));
    assert!(matches!(refused, SourceError::Shallow(_)) && refused.to_string().contains("--unshallow"), "{refused}");

    git(project.root.path(), &["init", "-q", "--object-format=sha256", "sha256"]);
    let refused = refusal(Source::locate(project.root.path().join("sha256").to_str().expect("utf-8")));
    assert!(matches!(refused, SourceError::Sha256(_)), "{refused}");
}

#[test]
fn a_missing_base_is_refused_and_a_detached_head_needs_one() {
    let project = Project::new();
    let refused = refusal(branches(&project.source_dir(), Some("release")));
    assert!(matches!(&refused, SourceError::BranchMissing { branch, .. } if branch == "release"), "{refused}");
    git(&project.source_dir(), &["checkout", "-q", "--detach"]);
    assert!(matches!(refusal(branches(&project.source_dir(), None)), SourceError::BaseUnknown(_)));
    assert_eq!(branches(&project.source_dir(), Some("main")).expect("usable").base, "main");
}

#[test]
fn a_checked_out_integration_branch_is_refused_in_every_worktree() {
    let project = Project::new();
    let source = project.source_dir();
    git(&source, &["checkout", "-q", "-b", "dev"]);
    let refused = refusal(branches(&source, Some("main")));
    assert!(refused.to_string().contains("switch main"), "{refused}");
    git(&source, &["checkout", "-q", "main"]);
    branches(&source, Some("main")).expect("usable");
    git(&source, &["worktree", "add", "-q", "../tree", "dev"]);
    let refused = refusal(branches(&source, Some("main")));
    assert!(matches!(&refused, SourceError::CheckedOut { place, .. } if place.ends_with("tree")), "{refused}");
}

#[test]
fn only_committed_state_counts_and_the_rest_is_a_warning() {
    let project = Project::new();
    assert_eq!(project.source().dirty().expect("readable"), None);
    write(&project.source_dir(), "a.txt", "changed");
    write(&project.source_dir(), "new.txt", "new");
    let dirty = project.source().dirty().expect("readable").expect("dirty");
    assert_eq!((dirty.files, dirty.examples), (2, vec!["a.txt".to_owned(), "new.txt".to_owned()]));
}

#[test]
fn the_integration_branch_starts_at_the_base_or_is_the_sources() {
    let project = Project::new();
    assert_eq!(project.head(), commit_of(&project.source_dir(), "main"));
    let source = project.source_dir();
    git(&source, &["checkout", "-q", "-b", "dev"]);
    write(&source, "dev.txt", "dev");
    let dev = project.commit(&source, "on dev");
    git(&source, &["checkout", "-q", "main"]);
    let hub = super::fixture::hub_of(&project.root.path().join("second.git"), &source);
    assert_eq!(hub.head().expect("readable"), Some(dev));
    let (head, found) = hub.mirror_source(&project.source(), None).expect("again is fine");
    assert_eq!((head, found.base.as_str(), found.integration_tip), (dev, "main", Some(dev)));
}

#[test]
fn a_source_that_moved_on_is_followed() {
    let project = Project::new();
    let source = project.source_dir();
    assert!(matches!(project.hub.sync(&project.source(), now()).expect("works"), Synced::Unchanged { .. }));

    git(&source, &["branch", "dev"]);
    let tip = on_dev(&project, "theirs.txt", "1\n");
    assert_eq!(project.hub.sync(&project.source(), now()).expect("works"), Synced::Moved { head: tip });
    assert_eq!(project.head(), tip, "a fast-forward");

    let (one, commit) = project.work("T-001", "ours.txt", "ours\n");
    let ours = project.merge(&one, commit);
    let tip = on_dev(&project, "theirs.txt", "2\n");
    let Synced::Moved { head } = project.hub.sync(&project.source(), now()).expect("works") else {
        panic!("not moved")
    };
    let said = git(project.hub.dir(), &["log", "-1", "--format=%P|%B", "dev"]);
    assert_eq!(said, format!("{ours} {tip}|Merge source 'dev'\n\nDevstack-Sync: {tip}"));
    assert_eq!(project.hub.sync(&project.source(), now()).expect("works"), Synced::Unchanged { head });
}

#[test]
fn a_sync_that_conflicts_moves_nothing() {
    let project = Project::new();
    git(&project.source_dir(), &["branch", "dev"]);
    let (one, commit) = project.work("T-001", "d/b.txt", "ours\n");
    let ours = project.merge(&one, commit);
    let tip = on_dev(&project, "d/b.txt", "theirs\n");
    let Synced::Conflict(found) = project.hub.sync(&project.source(), now()).expect("works") else {
        panic!("no conflict")
    };
    assert_eq!((found.ours, found.theirs, found.paths), (ours, tip, vec!["d/b.txt".to_owned()]));
    assert_eq!(project.head(), ours);
}

#[test]
fn a_url_is_listed_and_fetched() {
    // No server here: what a URL source is given must at least fail clearly and in bounded time.
    let root = TempDir::new().expect("scratch");
    let options = HubOptions::new("dev").expect("valid");
    let hub = Hub::create(&root.path().join("hub.git"), git_door(), options).expect("made");
    let source = Source::locate("git://user:hidden@127.0.0.1:1/none.git").expect("an address");
    assert!(!source.shown().contains("hidden"));
    let error = hub.mirror_source(&source, None).map(|_| ()).expect_err("nobody listens");
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    // Git's own words name the user and the password.
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("hidden"), "{error}");
}

/// Commit on the source's `dev`, in a worktree that is gone afterwards.
fn on_dev(project: &Project, file: &str, content: &str) -> devstack_dag::ids::CommitId {
    let source = project.source_dir();
    git(&source, &["worktree", "add", "-q", "../on-dev", "dev"]);
    let tree = project.root.path().join("on-dev");
    write(&tree, file, content);
    let tip = project.commit(&tree, "on dev");
    git(&source, &["worktree", "remove", "--force", "../on-dev"]);
    tip
}
