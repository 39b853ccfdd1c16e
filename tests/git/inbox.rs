//! A source that is uploaded: what travels, what the inbox takes and refuses, and the branch that comes back.

use std::path::{Path, PathBuf};

use devstack::repository::{
    Inbox,
    deliver::Delivery,
    exchange::{Exchange, Returned},
    git::Git,
    inbox::{Push, Taken},
    quarantine::Refusal,
    source::Source,
};
use devstack_dag::ids::CommitId;

use super::fixture::{Project, commit_of, git, hub_of, write};

/// The largest push of these tests, in bytes.
const MAX: u64 = 1 << 20;

/// A person's machine and an inbox.
struct Two {
    project: Project,
    inbox: Inbox,
}

impl Two {
    fn new() -> Self {
        let project = Project::new();
        let inbox = Inbox::open(&project.root.path().join("inbox.git"), Git::probe().expect("git")).expect("inbox");
        Self { project, inbox }
    }

    fn dir(&self) -> PathBuf {
        self.project.source_dir()
    }

    fn exchange(&self) -> Exchange {
        Exchange::of(self.project.source(), Git::probe().expect("git"), "dev").expect("a local one")
    }

    /// The bundle of what the inbox lacks, and its announcement.
    fn bundle(&self) -> (PathBuf, Push) {
        let (exchange, path) = (self.exchange(), self.project.root.path().join("push.bundle"));
        let branches = exchange.branches(None).expect("usable");
        let there: Vec<CommitId> = self.inbox.branches().expect("readable").into_iter().map(|(_, tip)| tip).collect();
        exchange.write(&branches, &there, &path).expect("bundle");
        (path, announcement(&branches.base, branches.base_tip, branches.integration_tip))
    }

    fn push(&self) -> Taken {
        let (path, push) = self.bundle();
        self.inbox.take(&path, &push, MAX).expect("works")
    }

    fn work(&self, file: &str, content: &str) -> CommitId {
        write(&self.dir(), file, content);
        git(&self.dir(), &["add", "-A"]);
        git(&self.dir(), &["commit", "-qm", file]);
        commit_of(&self.dir(), "HEAD")
    }

    fn tip(&self, branch: &str) -> Option<CommitId> {
        let branches = self.inbox.branches().expect("readable");
        branches.into_iter().find(|(name, _)| name == branch).map(|(_, tip)| tip)
    }
}

fn announcement(base: &str, base_tip: CommitId, integration_tip: Option<CommitId>) -> Push {
    Push { base: base.to_owned(), base_tip, integration: "dev".to_owned(), integration_tip }
}

fn objects(bundle: &Path) -> u32 {
    let bytes = std::fs::read(bundle).expect("bundle");
    let at = bytes.windows(8).position(|part| part == b"PACK\0\0\0\x02").expect("a pack") + 8;
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn a_push_travels_once_and_then_only_what_is_new() {
    let two = Two::new();
    assert!(two.inbox.branches().expect("readable").is_empty());
    let (bundle, _) = two.bundle();
    assert_eq!(objects(&bundle), 5, "a commit, two trees, two files");
    assert_eq!(two.push(), Taken::Accepted);
    assert_eq!(two.tip("main"), Some(commit_of(&two.dir(), "main")));

    two.work("c.txt", "c\n");
    let (bundle, _) = two.bundle();
    assert_eq!(objects(&bundle), 3, "a commit, a tree, a file");
    assert_eq!(two.push(), Taken::Accepted);
    let (bundle, _) = two.bundle();
    assert_eq!((objects(&bundle), two.push()), (0, Taken::Accepted), "nothing is new");

    // The base may be rewritten, and go back.
    git(&two.dir(), &["commit", "-q", "--amend", "-m", "other words"]);
    assert_eq!(two.push(), Taken::Accepted);
    git(&two.dir(), &["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(two.push(), Taken::Accepted);
    assert_eq!(two.tip("main"), Some(commit_of(&two.dir(), "main")));
}

#[test]
fn a_long_history_travels_whole() {
    let two = Two::new();
    for number in 0..210 {
        git(&two.dir(), &["commit", "-q", "--allow-empty", "-m", &number.to_string()]);
    }
    git(&two.dir(), &["branch", "dev", "HEAD~3"]);
    assert_eq!(two.push(), Taken::Accepted);
    assert_eq!(two.tip("main"), Some(commit_of(&two.dir(), "main")));
    assert_eq!(two.tip("dev"), Some(commit_of(&two.dir(), "dev")));
    assert!(git(two.inbox.dir(), &["fsck", "--full", "--strict"]).is_empty());
}

#[test]
fn an_inbox_is_a_source_like_any_other_and_its_branch_comes_back() {
    let two = Two::new();
    two.push();
    let hub = hub_of(&two.project.root.path().join("second.git"), two.inbox.dir());
    let source = Source::locate(two.inbox.dir().to_str().expect("utf-8")).expect("usable");
    // The base is the person's branch, though the plan names none.
    assert_eq!(source.branches(hub.git(), None, "dev").expect("usable").base, "main");
    let helper = two.project.root.path().join("helper");
    git(two.project.root.path(), &["clone", "-q", two.inbox.dir().to_str().expect("utf-8"), "helper"]);
    git(&helper, &["checkout", "-q", "-b", "dev"]);
    write(&helper, "new.txt", "new\n");
    git(&helper, &["add", "."]);
    git(&helper, &["commit", "-qm", "work"]);
    git(&helper, &["push", "-q", hub.dir().to_str().expect("utf-8"), "dev"]);
    let head = commit_of(&helper, "dev");
    assert_eq!(hub.deliver(&source).expect("works"), Delivery::Delivered { head });
    assert_eq!(two.tip("dev"), Some(head));

    let (exchange, bundle) = (two.exchange(), two.project.root.path().join("back.bundle"));
    let back = || {
        let have = exchange.have(&exchange.branches(None).expect("usable")).expect("readable");
        let known = have.into_iter().find(|commit| hub.is_ancestor(*commit, head).unwrap_or(false));
        hub.history_bundle(head, known, &bundle).expect("bundle");
        exchange.take_back(&bundle).expect("works")
    };
    assert_eq!(back(), Returned::Moved { commits: 1, head });
    assert_eq!(commit_of(&two.dir(), "dev"), head);
    assert_eq!(commit_of(&two.dir(), "devstack/dev"), head);
    assert_eq!(back(), Returned::Nothing);

    // Checked out: nothing moves under anybody's hands.
    git(&two.dir(), &["branch", "-f", "dev", "main"]);
    git(&two.dir(), &["switch", "-q", "dev"]);
    let Returned::CheckedOut { place, commits: 1 } = back() else { panic!("moved under a worktree") };
    assert_eq!(Path::new(&place).file_name(), two.dir().file_name());
    assert_eq!(commit_of(&two.dir(), "dev"), commit_of(&two.dir(), "main"));
    // Commits of their own: neither moved, nor taken in over what was delivered; merged by its name, it goes on.
    two.work("own.txt", "own\n");
    assert_eq!(back(), Returned::Diverged);
    assert_eq!(two.push(), Taken::Diverged(head));
    assert_eq!(two.tip("dev"), Some(head));
    git(&two.dir(), &["merge", "-q", "--no-edit", "devstack/dev"]);
    assert_eq!((two.push(), back()), (Taken::Accepted, Returned::Nothing));
    // A branch that is behind what was delivered does not take it back.
    git(&two.dir(), &["switch", "-q", "main"]);
    let ahead = two.tip("dev");
    git(&two.dir(), &["branch", "-f", "dev", "main"]);
    assert_eq!((two.push(), two.tip("dev")), (Taken::Accepted, ahead));
}

#[test]
fn what_is_not_a_whole_announced_bundle_is_refused_and_leaves_nothing() {
    let two = Two::new();
    let (bundle, push) = two.bundle();
    let damaged = |path: &Path, push: &Push| match two.inbox.take(path, push, MAX).expect("works") {
        Taken::Refused(Refusal::Damaged(why)) => why,
        other => panic!("{other:?}"),
    };
    let whole = std::fs::read(&bundle).expect("bundle");
    let garbage = two.project.root.path().join("garbage");
    for bytes in [&b"garbage"[..], b"", &whole[..whole.len() - 30], &[&whole[..], b"more"].concat()[..]] {
        std::fs::write(&garbage, bytes).expect("written");
        damaged(&garbage, &push);
    }
    let other = announcement("other", push.base_tip, None);
    assert!(damaged(&bundle, &other).contains("refs/heads/main"), "not announced");
    let elsewhere = announcement("main", CommitId([9; 20]), None);
    assert!(damaged(&bundle, &elsewhere).contains("not announced"));
    let more = Push { integration_tip: Some(CommitId([9; 20])), ..push.clone() };
    assert!(damaged(&bundle, &more).contains("neither"));
    let bad = Push { base: "..".into(), ..push.clone() };
    assert!(two.inbox.take(&bundle, &bad, MAX).is_err(), "not a branch");
    assert!(matches!(two.inbox.take(&bundle, &push, 10), Ok(Taken::Refused(Refusal::Policy(_)))), "too large");
    assert!(two.inbox.branches().expect("readable").is_empty());
    assert_eq!(two.inbox.take(&bundle, &push, MAX).expect("works"), Taken::Accepted);

    // Without what it builds upon.
    two.work("c.txt", "c\n");
    let (bundle, push) = two.bundle();
    let empty = Inbox::open(&two.project.root.path().join("empty.git"), Git::probe().expect("git")).expect("inbox");
    let taken = empty.take(&bundle, &push, MAX).expect("works");
    assert!(
        matches!(&taken, Taken::Refused(Refusal::Damaged(why)) if why.contains("the Taskmaster does not have")),
        "{taken:?}"
    );
}

#[test]
fn fsck_finds_what_must_not_come_in() {
    let two = Two::new();
    let dir = two.dir();
    // A tree with an entry `.git`, which would overwrite a repository's own files when it is checked out.
    let index = two.project.root.path().join("index");
    let inner = git(&dir, &["rev-parse", "HEAD^{tree}"]);
    let mut entry = b"40000 .git\0".to_vec();
    entry.extend(inner.parse::<CommitId>().expect("an id").0);
    std::fs::write(&index, entry).expect("written");
    let tree = git(&dir, &["hash-object", "-t", "tree", "--literally", "-w", index.to_str().expect("utf-8")]);
    let commit = git(&dir, &["commit-tree", "-p", "HEAD", "-m", "trap", &tree]);
    git(&dir, &["update-ref", "refs/heads/main", &commit]);
    let taken = two.push();
    assert!(matches!(&taken, Taken::Refused(Refusal::Policy(why)) if why.contains("hasDotgit")), "{taken:?}");
    assert!(two.inbox.branches().expect("readable").is_empty());
}
