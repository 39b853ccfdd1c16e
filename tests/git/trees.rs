//! Trees that are small to write and hard to read: refused in words, at once, and without taking this process's memory.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use devstack::repository::{
    policy::Limits,
    quarantine::{Expectation, Imported, Refusal},
};

use super::fixture::{Project, attempt, expectation, git, write};

/// The longest time for a refusal. A debug build on a busy machine gets more than the second that it takes on an idle
/// one.
const SOON: Duration = Duration::from_secs(20);
/// What a refusal may add to this process's memory, in KiB.
const GROWTH_MAX: u64 = 50 << 10;

/// A bundle of a tree of this shape.
fn evil(project: &Project, shape: &str, number: u32) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/evil_trees.py");
    let bundle = project.root.path().join(format!("{shape}-{number}.bundle"));
    let mut python = Command::new("python3");
    python.current_dir(project.hub.dir()).args([script, shape, &number.to_string(), "dev", "--bundle"]).arg(&bundle);
    assert!(python.output().expect("python3 starts").status.success());
    bundle
}

/// The most memory that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Import; how it went.
fn import(project: &Project, shape: &str, number: u32, limits: Limits) -> Imported {
    let bundle = evil(project, shape, number);
    let one = attempt(shape, number);
    let (before, started) = (peak(), Instant::now());
    let expected = Expectation { limits, ..expectation(&one, project.head()) };
    let imported = project.hub.import_result(&bundle, &expected).expect("the machine is fine");
    let (took, grown) = (started.elapsed(), peak() - before);
    println!("{shape} {number}: {took:?}, {grown} KiB more");
    assert!(took < SOON && grown < GROWTH_MAX, "{shape} {number}: {took:?}, {grown} KiB more");
    imported
}

/// Refused as the task's fault, with these words.
#[track_caller]
fn refused(project: &Project, shape: &str, number: u32, word: &str) {
    let imported = import(project, shape, number, Limits::default());
    let says = |why: &String| why.contains(word);
    assert!(
        matches!(&imported, Imported::Refused(Refusal::Policy(why)) if says(why)),
        "{shape} {number}: {imported:?}"
    );
}

#[test]
fn a_tree_is_at_most_so_deep() {
    let project = Project::new();
    for fine in [1, 100, 128] {
        let imported = import(&project, "deep", fine, Limits::default());
        assert!(matches!(imported, Imported::Accepted(_)), "{fine}: {imported:?}");
    }
    for depth in [129, 2_049, 22_000, 60_000] {
        refused(&project, "deep", depth, "levels deep");
    }
    refused(&project, "deep", 100_000, "objects");
    let more = Limits { objects: 1_000_000, ..Limits::default() };
    let imported = import(&project, "deep", 100_000, more);
    assert!(
        matches!(&imported, Imported::Refused(Refusal::Policy(why)) if why.contains("levels deep")),
        "{imported:?}"
    );
    project.work("T-002", "b.txt", "other work goes on\n");
    git(project.hub.dir(), &["fsck", "--strict"]);
}

#[test]
fn a_tree_stands_for_at_most_so_many_paths() {
    let project = Project::new();
    for shape in ["bomb", "wide"] {
        for fine in [3, 4] {
            let imported = import(&project, shape, fine, Limits::default());
            assert!(matches!(imported, Imported::Accepted(_)), "{shape} {fine}: {imported:?}");
        }
        for digits in 5..=12 {
            refused(&project, shape, digits, "paths");
        }
    }
    project.work("T-002", "b.txt", "other work goes on\n");
}

#[test]
fn what_was_accepted_is_not_put_deeper_and_deeper() {
    let project = Project::new();
    let workspace = project.workspace("ws");
    let deep: String = (0..100).map(|_| "a/").collect();
    write(&workspace, &format!("{deep}f"), "x\n");
    let commit = project.commit(&workspace, "deep");
    let one = attempt("T-001", 1);
    project.harvest(&workspace, &one, project.head());
    let base = project.merge(&one, commit);
    // One new tree for each level; what is below is in the hub.
    git(&workspace, &["checkout", "-q", "--detach", &commit.to_string()]);
    write(&workspace, &format!("{deep}f"), "x\n");
    let mut tree = git(&workspace, &["rev-parse", "HEAD^{tree}"]);
    for _ in 0..40 {
        git(&workspace, &["read-tree", "--empty"]);
        git(&workspace, &["read-tree", "--prefix=b/", &tree]);
        tree = git(&workspace, &["write-tree"]);
    }
    let hub = project.hub.dir().to_str().expect("utf-8").to_owned();
    git(&workspace, &["fetch", "-q", &hub, "dev"]);
    let planted = git(&workspace, &["commit-tree", "-p", &base.to_string(), "-m", "deeper", &tree]);
    git(&workspace, &["update-ref", "--no-deref", "HEAD", &planted]);
    let imported = project.import(&project.bundle(&workspace, base), &attempt("T-002", 1), base);
    let words = |why: &String| why.contains("levels deep");
    assert!(matches!(&imported, Imported::Refused(Refusal::Policy(why)) if words(why)), "{imported:?}");
}

#[test]
fn names_are_bounded() {
    let project = Project::new();
    let base = project.head();
    let workspace = project.workspace("ws");
    let id = git(&workspace, &["rev-parse", "HEAD:a.txt"]);
    let long = "n".repeat(256);
    let far = format!("{}x", "directory/".repeat(120).replace("directory", &"d".repeat(40)));
    let cases =
        [(long.as_str(), "a name of 256 bytes"), ("a\tb", "control character"), ("a\u{7f}", "control character")];
    for (name, word) in cases.into_iter().chain([(far.as_str(), "a path of")]) {
        git(&workspace, &["read-tree", &base.to_string()]);
        git(&workspace, &["update-index", "--add", "--cacheinfo", &format!("100644,{id},{name}")]);
        let tree = git(&workspace, &["write-tree"]);
        let planted = git(&workspace, &["commit-tree", "-p", &base.to_string(), "-m", "a name", &tree]);
        git(&workspace, &["update-ref", "--no-deref", "HEAD", &planted]);
        let imported = project.import(&project.bundle(&workspace, base), &attempt("T-001", 1), base);
        assert!(matches!(&imported, Imported::Refused(Refusal::Policy(why)) if why.contains(word)), "{imported:?}");
    }
    git(&workspace, &["read-tree", &base.to_string()]);
    git(&workspace, &["update-index", "--add", "--cacheinfo", &format!("100644,{id},A.TXT")]);
    let tree = git(&workspace, &["write-tree"]);
    let planted = git(&workspace, &["commit-tree", "-p", &base.to_string(), "-m", "a twin", &tree]);
    git(&workspace, &["update-ref", "--no-deref", "HEAD", &planted]);
    let bundle = project.bundle(&workspace, base);
    let one = attempt("T-001", 2);
    let limits = Limits { case_twins: true, ..Limits::default() };
    let imported =
        project.hub.import_result(&bundle, &Expectation { limits, ..expectation(&one, base) }).expect("works");
    let words = |why: &String| why.contains("differ only in case");
    assert!(matches!(&imported, Imported::Refused(Refusal::Policy(why)) if words(why)), "{imported:?}");
    let imported = project.import(&bundle, &one, base);
    assert!(matches!(imported, Imported::Accepted(_)), "twins are taken unless refused: {imported:?}");
}

#[test]
fn diffs_of_such_trees_are_bounded() {
    let project = Project::new();
    let base = project.head();
    for (shape, number, word) in [("bomb", 9, "changed paths"), ("deep", 22_000, "levels deep")] {
        let bundle = evil(&project, shape, number);
        // As in a hub from before there were bounds.
        let header = std::fs::read(&bundle).expect("readable");
        let at = header.windows(4).position(|window| window == b"PACK").expect("a pack");
        let pack = project.root.path().join("evil.pack");
        std::fs::write(&pack, &header[at..]).expect("written");
        let hub = project.hub.dir();
        let mut index = Command::new("git");
        index.current_dir(hub).args(["index-pack", "--stdin"]).stdout(std::process::Stdio::null());
        index.stdin(std::fs::File::open(&pack).expect("readable"));
        assert!(index.status().expect("git starts").success());
        let text = String::from_utf8_lossy(&header[..at]).into_owned();
        let tip = text.lines().find_map(|line| line.strip_suffix(" refs/devstack/result")).expect("named");
        let (before, started) = (peak(), Instant::now());
        let diff = project.hub.diff(base, tip.parse().expect("id"), (&[], &[]), 1 << 20, None).expect("works");
        assert!(diff.truncated && diff.text.contains(word), "{diff:?}");
        assert!(started.elapsed() < SOON && peak() - before < GROWTH_MAX);
    }
}
