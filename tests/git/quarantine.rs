//! Attacks on the quarantine: each is refused with its reason, and nothing of it stays in the hub.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use devstack::repository::{
    bundle::RESULT_REF,
    policy::Limits,
    quarantine::{Expectation, Imported, Refusal},
};
use devstack_dag::ids::CommitId;

use super::fixture::{Project, attempt, commit_of, expectation, git, now, write};

/// Write an object as it is, without git's own checks.
fn raw_object(dir: &Path, kind: &str, content: &[u8]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["hash-object", "-t", kind, "--literally", "-w", "--stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git starts");
    child.stdin.take().expect("piped").write_all(content).expect("taken");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("hex").trim().to_owned()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.parse::<CommitId>().expect("an id").0.to_vec()
}

/// A commit on the workspace's HEAD whose tree has one more entry, whatever its name or mode; HEAD is moved there.
fn plant(dir: &Path, mode: &str, name: &str, object: &str) {
    let mut entries = Vec::new();
    for line in git(dir, &["ls-tree", "HEAD"]).lines() {
        let (head, path) = line.split_once('\t').expect("a tab");
        let fields: Vec<&str> = head.split(' ').collect();
        entries.push((path.to_owned(), fields[0].trim_start_matches('0').to_owned(), fields[2].to_owned()));
    }
    entries.push((name.to_owned(), mode.to_owned(), object.to_owned()));
    entries.sort_by_key(|(path, mode, _)| if mode == "40000" { format!("{path}/") } else { path.clone() });
    let tree: Vec<u8> = entries
        .iter()
        .flat_map(|(path, mode, id)| [format!("{mode} {path}\0").into_bytes(), bytes_of(id)].concat())
        .collect();
    let tree = raw_object(dir, "tree", &tree);
    commit_tree(dir, &tree);
}

fn commit_tree(dir: &Path, tree: &str) {
    let commit = git(dir, &["commit-tree", "-p", "HEAD", "-m", "planted", tree]);
    fs::write(dir.join(".git/HEAD"), format!("{commit}\n")).expect("HEAD");
}

/// The objects in a hub: nothing may be added by a refusal.
fn objects(hub: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("readable") {
            let path = entry.expect("entry").path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&hub.join("objects"), &mut found);
    walk(&hub.join("refs"), &mut found);
    walk(&hub.join("scratch"), &mut found);
    found.sort();
    found
}

/// Import, expect a refusal, prove that the hub is as before.
fn refused_with(project: &Project, bundle: &Path, expected: &Expectation<'_>) -> Refusal {
    let before = objects(project.hub.dir());
    let imported = project.hub.import_result(bundle, expected).expect("import works");
    assert_eq!(objects(project.hub.dir()), before, "something stayed in the hub");
    match imported {
        Imported::Refused(refusal) => refusal,
        Imported::Accepted(accepted) => panic!("{accepted:?} was accepted"),
    }
}

fn refused(project: &Project, bundle: &Path, base: CommitId) -> Refusal {
    refused_with(project, bundle, &expectation(&attempt("T-001", 1), base))
}

#[track_caller]
fn is_policy(refusal: &Refusal, word: &str) {
    assert!(matches!(refusal, Refusal::Policy(why) if why.contains(word)), "{refusal:?} has no `{word}`");
}

#[track_caller]
fn is_damaged(refusal: &Refusal, word: &str) {
    assert!(matches!(refusal, Refusal::Damaged(why) if why.contains(word)), "{refusal:?} has no `{word}`");
}

/// A project, a workspace of it, and the base.
fn scene() -> (Project, PathBuf, CommitId) {
    let project = Project::new();
    let workspace = project.workspace("ws");
    let base = project.head();
    (project, workspace, base)
}

#[test]
fn honest_work_is_accepted_and_pinned() {
    let (project, workspace, base) = scene();
    write(&workspace, "src/new.rs", "fn main() {}\n");
    std::os::unix::fs::symlink("../a.txt", workspace.join("d/link")).expect("link");
    let commit = project.commit(&workspace, "work");
    let one = attempt("T-001", 1);
    assert_eq!(project.harvest(&workspace, &one, base), commit);
    assert_eq!(project.hub.pinned(&one).expect("readable"), Some(commit));
    assert_eq!(project.harvest(&workspace, &one, base), commit, "again changes nothing");
    git(project.hub.dir(), &["fsck", "--strict"]);
}

#[test]
fn many_objects_come_as_a_pack() {
    let (project, workspace, base) = scene();
    for n in 0..300 {
        write(&workspace, &format!("many/{n}"), format!("{n}\n"));
    }
    let commit = project.commit(&workspace, "many");
    project.harvest(&workspace, &attempt("T-001", 1), base);
    let packs = fs::read_dir(project.hub.dir().join("objects/pack")).expect("readable");
    assert!(packs.flatten().any(|e| e.path().extension().is_some_and(|x| x == "idx")));
    assert!(project.hub.contains(commit).expect("readable"));
    git(project.hub.dir(), &["fsck", "--strict"]);
}

#[test]
fn a_tree_with_git_config_is_refused() {
    let (project, workspace, base) = scene();
    let blob = raw_object(&workspace, "blob", b"[core]\n\tfsmonitor = touch /tmp/owned\n");
    let tree = raw_object(&workspace, "tree", &[b"100644 config\0".to_vec(), bytes_of(&blob)].concat());
    for name in [".git", ".GIT", "git~1", ".g\u{200c}it", ".git "] {
        fs::write(workspace.join(".git/HEAD"), format!("{base}\n")).expect("HEAD");
        plant(&workspace, "40000", name, &tree);
        let bundle = project.bundle(&workspace, base);
        let refusal = refused(&project, &bundle, base);
        assert!(matches!(refusal, Refusal::Policy(_)), "{name}: {refusal:?}");
    }
}

#[test]
fn a_path_out_of_the_tree_is_refused() {
    let (project, workspace, base) = scene();
    let blob = raw_object(&workspace, "blob", b"x");
    let tree = raw_object(&workspace, "tree", &[b"100644 evil\0".to_vec(), bytes_of(&blob)].concat());
    plant(&workspace, "40000", "..", &tree);
    let refusal = refused(&project, &project.bundle(&workspace, base), base);
    assert!(matches!(refusal, Refusal::Policy(_)), "{refusal:?}");
}

#[test]
fn a_symlink_out_of_the_tree_is_refused() {
    let (project, workspace, base) = scene();
    for target in ["/etc/passwd", "../../outside", ".git/config"] {
        git(&workspace, &["checkout", "-q", "-f", "--detach", &base.to_string()]);
        let _ = fs::remove_file(workspace.join("d/link"));
        std::os::unix::fs::symlink(target, workspace.join("d/link")).expect("link");
        project.commit(&workspace, "link");
        is_policy(&refused(&project, &project.bundle(&workspace, base), base), "symlink");
    }
}

#[test]
fn a_gitlink_is_refused() {
    let (project, workspace, base) = scene();
    plant(&workspace, "160000", "sub", &base.to_string());
    is_policy(&refused(&project, &project.bundle(&workspace, base), base), "submodules");
}

#[test]
fn gitmodules_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, ".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = https://example.invalid/x\n");
    project.commit(&workspace, "modules");
    is_policy(&refused(&project, &project.bundle(&workspace, base), base), ".gitmodules");
}

#[test]
fn a_secret_in_a_commit_that_a_later_one_removes_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "key.pem", ["-----BEGIN PRIV", "ATE KEY-----\nabc\n"].concat());
    project.commit(&workspace, "add");
    fs::remove_file(workspace.join("key.pem")).expect("removed");
    project.commit(&workspace, "remove");
    is_policy(&refused(&project, &project.bundle(&workspace, base), base), "private key");
}

#[test]
fn the_attempts_own_secrets_are_refused_wherever_they_are() {
    let (project, workspace, base) = scene();
    let secrets = vec![b"correct-horse-battery".to_vec()];
    let one = attempt("T-001", 1);
    let expected = Expectation { secrets: &secrets, ..expectation(&one, base) };
    let cases: [(&str, &[u8], &str); 3] = [
        ("notes.txt", b"it is correct-horse-battery\n", "text"),
        ("x.bin", b"\0\0correct-horse-battery\0", "binary"),
        ("y.txt", b"fine\n", "message correct-horse-battery"),
    ];
    for (file, content, message) in cases {
        git(&workspace, &["checkout", "-q", "-f", "--detach", &base.to_string()]);
        write(&workspace, file, content);
        project.commit(&workspace, message);
        let refusal = refused_with(&project, &project.bundle(&workspace, base), &expected);
        is_policy(&refusal, "a secret of this attempt");
        assert!(!format!("{refusal:?}").contains("battery"), "the value is never shown");
    }
}

#[test]
fn a_secret_that_was_there_before_is_no_reason() {
    let (project, workspace, base) = scene();
    let text = fs::read_to_string(workspace.join("a.txt")).expect("readable");
    write(&workspace, "a.txt", format!("{text}more\n"));
    project.commit(&workspace, "append");
    let secrets = vec![b"line 7\nline 8".to_vec(), b"line 12".to_vec()];
    let one = attempt("T-001", 1);
    let expected = Expectation { secrets: &secrets, ..expectation(&one, base) };
    let imported = project.hub.import_result(&project.bundle(&workspace, base), &expected).expect("works");
    assert!(matches!(imported, Imported::Accepted(_)), "only added lines count: {imported:?}");
}

#[test]
fn a_second_ref_in_the_bundle_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x");
    project.commit(&workspace, "x");
    let path = project.root.path().join("two.bundle");
    let not = format!("^{base}");
    git(&workspace, &["update-ref", RESULT_REF, "HEAD"]);
    git(&workspace, &["bundle", "create", "-q", path.to_str().expect("utf-8"), RESULT_REF, "feat/dev1", &not]);
    is_damaged(&refused(&project, &path, base), "neither the result nor a branch");
    git(&workspace, &["bundle", "create", "-q", path.to_str().expect("utf-8"), "feat/dev1", &not]);
    is_damaged(&refused(&project, &path, base), "ref is not the result ref");
}

#[test]
fn work_on_another_base_is_refused() {
    let (project, workspace, base) = scene();
    let first = commit_of(&workspace, "HEAD");
    git(&workspace, &["checkout", "-q", "--orphan", "other"]);
    project.commit(&workspace, "no parents");
    let refusal = refused(&project, &project.bundle(&workspace, first), base);
    is_policy(&refusal, "does not contain commit");
}

#[test]
fn an_unknown_prerequisite_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x");
    let hidden = project.commit(&workspace, "kept back");
    write(&workspace, "y", "y");
    project.commit(&workspace, "sent");
    is_damaged(&refused(&project, &project.bundle(&workspace, hidden), base), "does not have");
}

#[test]
fn a_pack_without_an_object_it_needs_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x");
    let hidden = project.commit(&workspace, "kept back");
    write(&workspace, "y", "y");
    project.commit(&workspace, "sent");
    let bundle = project.bundle(&workspace, hidden);
    let lied = fs::read(&bundle).expect("readable");
    let at = lied.windows(40).position(|w| w == hidden.to_string().as_bytes()).expect("named");
    let lied = [&lied[..at], base.to_string().as_bytes(), &lied[at + 40..]].concat();
    fs::write(&bundle, lied).expect("written");
    let refusal = refused(&project, &bundle, base);
    assert!(matches!(refusal, Refusal::Damaged(_)), "{refusal:?}");
}

#[test]
fn a_truncated_or_altered_pack_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", (0..2_000).map(|n| format!("{n}\n")).collect::<String>());
    project.commit(&workspace, "x");
    let bundle = project.bundle(&workspace, base);
    let whole = fs::read(&bundle).expect("readable");
    for cut in [whole.len() - 1, whole.len() / 2, 200, 60, 10, 0] {
        fs::write(&bundle, &whole[..cut]).expect("written");
        let refusal = refused(&project, &bundle, base);
        assert!(matches!(refusal, Refusal::Damaged(_)), "cut at {cut}: {refusal:?}");
    }
    let mut altered = whole.clone();
    let middle = whole.len() - 300;
    altered[middle] ^= 1;
    fs::write(&bundle, altered).expect("written");
    let refusal = refused(&project, &bundle, base);
    assert!(matches!(refusal, Refusal::Damaged(_)), "{refusal:?}");
}

#[test]
fn sizes_are_bounded() {
    let (project, workspace, base) = scene();
    write(&workspace, "big", vec![0; 3 << 20]);
    project.commit(&workspace, "a large file that packs well");
    write(&workspace, "small", "x");
    project.commit(&workspace, "and a small one");
    let bundle = project.bundle(&workspace, base);
    let one = attempt("T-001", 1);
    let with = |limits: Limits| refused_with(&project, &bundle, &Expectation { limits, ..expectation(&one, base) });
    let default = Limits::default();
    is_policy(&with(Limits { blob_bytes: 1 << 20, ..default }), "a file of 3 MiB");
    is_policy(&with(Limits { unpacked_bytes: 2 << 20, ..default }), "unpacks to more");
    is_policy(&with(Limits { bundle_bytes: 100, ..default }), "more than");
    is_policy(&with(Limits { objects: 3, ..default }), "objects");
    is_policy(&with(Limits { commits: 1, ..default }), "new commits");
    is_policy(&with(Limits { paths: 1, ..default }), "changed paths");
}

#[test]
fn a_pack_that_claims_a_huge_object_is_refused_without_unpacking_it() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x");
    project.commit(&workspace, "x");
    let bundle = project.bundle(&workspace, base);
    let whole = fs::read(&bundle).expect("readable");
    let pack = whole.windows(4).position(|w| w == b"PACK").expect("a pack");
    // One tree object whose header claims 2^50 bytes.
    let claim = [0x80 | (2 << 4), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x78, 0x9c];
    let bomb = [&whole[..pack], b"PACK\0\0\0\x02\0\0\0\x01", &claim[..], &[0; 64]].concat();
    fs::write(&bundle, bomb).expect("written");
    let refusal = refused(&project, &bundle, base);
    assert!(matches!(refusal, Refusal::Damaged(_)), "{refusal:?}");
}

#[test]
fn dates_in_the_future_are_refused() {
    let (project, workspace, base) = scene();
    let tree = git(&workspace, &["rev-parse", "HEAD^{tree}"]);
    let soon = now().0 / 1000 + 10 * 86_400;
    let who = format!("x <x@example.invalid> {soon} +0000");
    let commit = format!("tree {tree}\nparent {base}\nauthor {who}\ncommitter {who}\n\nlater\n");
    let commit = raw_object(&workspace, "commit", commit.as_bytes());
    fs::write(workspace.join(".git/HEAD"), format!("{commit}\n")).expect("HEAD");
    is_policy(&refused(&project, &project.bundle(&workspace, base), base), "future");
}

#[test]
fn only_a_plain_bundle_file_is_read() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x");
    project.commit(&workspace, "x");
    let bundle = project.bundle(&workspace, base);
    let link = project.root.path().join("link.bundle");
    std::os::unix::fs::symlink(&bundle, &link).expect("link");
    is_damaged(&refused(&project, &link, base), "cannot open the bundle");
    let pipe = project.root.path().join("pipe.bundle");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    is_damaged(&refused(&project, &pipe, base), "not a plain file");
    is_damaged(&refused(&project, &project.root.path().join("none"), base), "no bundle");
}

#[test]
fn what_an_agent_planted_in_its_repository_is_never_consulted() {
    let (project, workspace, base) = scene();
    let proof = project.root.path().join("owned");
    let run = format!("touch {}", proof.display());
    for key in
        ["core.fsmonitor", "core.sshCommand", "filter.x.clean", "filter.x.smudge", "diff.x.textconv", "merge.x.driver"]
    {
        git(&workspace, &["config", key, &run]);
    }
    write(&workspace, "x.txt", "x\n");
    let commit = project.commit_without_filters(&workspace, "*.txt filter=x diff=x merge=x\n");
    let bundle = project.bundle(&workspace, base);
    let _ = fs::remove_file(&proof); // its own git may have run it; ours must not
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "pre-merge-commit", "post-merge"] {
        write(&workspace, &format!(".git/hooks/{hook}"), format!("#!/bin/sh\n{run}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(workspace.join(".git/hooks").join(hook), mode).expect("mode");
    }
    fs::write(workspace.join(".git/objects/info/alternates"), "/nonexistent\n").expect("alternates");
    let one = attempt("T-001", 1);
    let imported = project.import(&bundle, &one, base);
    assert!(matches!(&imported, Imported::Accepted(accepted) if accepted.tip == commit), "{imported:?}");
    project.merge(&one, commit);
    assert!(!proof.exists(), "something of the agent's ran on the host");
}

impl Project {
    fn commit_without_filters(&self, workspace: &Path, attributes: &str) -> CommitId {
        self.commit(workspace, "work");
        write(workspace, ".gitattributes", attributes);
        git(workspace, &["-c", "core.fsmonitor=false", "add", ".gitattributes"]);
        git(workspace, &["-c", "core.fsmonitor=false", "commit", "-qm", "attributes"]);
        commit_of(workspace, "HEAD")
    }
}

#[test]
fn a_resolution_contains_both_sides_and_no_marker() {
    let project = Project::new();
    let (one, ours) = project.work("T-001", "d/b.txt", "ours\n");
    let (_, theirs) = project.work("T-002", "d/b.txt", "theirs\n");
    let base = project.merge(&one, ours);
    let workspace = project.workspace("resolve");
    let pins = "refs/devstack/attempts/T-002/1:refs/heads/theirs";
    let hub = project.hub.dir().to_str().expect("utf-8").to_owned();
    git(&workspace, &["fetch", "-q", &hub, pins]);
    let sides = [base, theirs];
    let three = attempt("T-001-resolve-1", 1);
    let expected = Expectation { must_contain: &sides, ..expectation(&three, base) };

    write(&workspace, "d/b.txt", "both\n");
    project.commit(&workspace, "without their side");
    is_policy(&refused_with(&project, &project.bundle(&workspace, base), &expected), "merge both sides");

    git(&workspace, &["reset", "-q", "--hard", &base.to_string()]);
    let (code, _) = super::fixture::try_git(&workspace, &["merge", "--no-ff", "theirs"]);
    assert_eq!(code, 1, "they conflict");
    project.commit(&workspace, "markers left");
    is_policy(
        &refused_with(&project, &project.bundle(&workspace, base), &expected),
        "conflict markers are left in d/b.txt",
    );

    write(&workspace, "d/b.txt", "both\n");
    git(&workspace, &["add", "-A"]);
    git(&workspace, &["commit", "-q", "--amend", "-m", "resolved"]);
    let bundle = project.bundle(&workspace, base);
    let imported = project.hub.import_result(&bundle, &expected).expect("works");
    let tip = commit_of(&workspace, "HEAD");
    assert!(matches!(&imported, Imported::Accepted(accepted) if accepted.tip == tip), "{imported:?}");
}

/// A bundle of the workspace's HEAD and of these branches of it, since `base`.
fn bundle_with(project: &Project, workspace: &Path, branches: &[(&str, &str)], base: CommitId) -> PathBuf {
    let path = project.root.path().join("branches.bundle");
    git(workspace, &["update-ref", RESULT_REF, "HEAD"]);
    let mut refs = vec![RESULT_REF.to_owned()];
    for (name, commit) in branches {
        refs.push(format!("refs/devstack/branches/{name}"));
        git(workspace, &["update-ref", refs.last().expect("pushed"), commit]);
    }
    let not = format!("^{base}");
    let mut arguments = vec!["bundle", "create", "-q", path.to_str().expect("utf-8")];
    arguments.extend(refs.iter().map(String::as_str).chain([not.as_str()]));
    git(workspace, &arguments);
    path
}

#[test]
fn branches_come_along_and_one_that_fails_is_left_out() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x\n");
    let tip = project.commit(&workspace, "the result");
    let mut commits = Vec::new();
    for (branch, file, content) in
        [("fix/x", "y", "y\n".to_owned()), ("bad", "key", ["-----BEGIN PRIV", "ATE KEY-----\n"].concat())]
    {
        git(&workspace, &["checkout", "-q", "-b", branch, &base.to_string()]);
        write(&workspace, file, content);
        commits.push(project.commit(&workspace, branch).to_string());
    }
    git(&workspace, &["checkout", "-q", "--orphan", "other"]);
    commits.push(project.commit(&workspace, "on no base").to_string());
    git(&workspace, &["checkout", "-q", "feat/dev1"]);
    let branches = [("fix/x", commits[0].as_str()), ("bad", &commits[1]), ("other", &commits[2])];
    let one = attempt("T-001", 1);
    let Imported::Accepted(accepted) = project.import(&bundle_with(&project, &workspace, &branches, base), &one, base)
    else {
        panic!("refused")
    };
    let pinned = vec![("fix/x".to_owned(), commits[0].parse().expect("id"))];
    assert_eq!((accepted.tip, &accepted.branches), (tip, &pinned));
    assert_eq!(project.hub.branches(&one).expect("readable"), pinned);
    let said: Vec<_> = accepted.left_out.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert!(
        matches!(said[..], [("bad", why), ("other", base)]
        if why.contains("private key") && base.contains("does not contain commit")),
        "{said:?}"
    );
    let objects = git(project.hub.dir(), &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    assert!(objects.contains(&commits[0]) && !objects.contains(&commits[1]) && !objects.contains(&commits[2]));
    git(project.hub.dir(), &["fsck", "--strict"]);
    let due = [(one.task.id.clone(), 1)].into();
    assert_eq!(project.hub.drop_pins(&due).expect("works"), 2, "the result's and the branch's");
    assert!(project.hub.branches(&one).expect("readable").is_empty());
}

#[test]
fn names_of_branches_are_bounded_and_many_are_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x\n");
    let tip = project.commit(&workspace, "x").to_string();
    let bundle = bundle_with(&project, &workspace, &[("a", &tip)], base);
    let whole = fs::read(&bundle).expect("readable");
    let line = format!("{tip} refs/devstack/branches/a\n");
    let at = whole.windows(line.len()).position(|w| w == line.as_bytes()).expect("named");
    let with = |lines: &str| {
        fs::write(&bundle, [&whole[..at], lines.as_bytes(), &whole[at + line.len()..]].concat()).expect("written");
        refused(&project, &bundle, base)
    };
    let named = |name: &str| format!("{tip} refs/devstack/branches/{name}\n");
    for name in ["../x", "a..b", "a.lock", "", "-x", "a b", "a/", &"n".repeat(201), "a\u{1}"] {
        is_damaged(&with(&named(name)), "neither the result nor a branch");
    }
    is_damaged(&with(&[named("a"), named("a")].concat()), "names conflict");
    is_damaged(&with(&[named("a/b"), named("a")].concat()), "names conflict");
    is_damaged(&with(&(0..17).map(|n| named(&n.to_string())).collect::<String>()), "more than 16");
}

#[test]
fn an_object_that_nothing_needs_is_refused() {
    let (project, workspace, base) = scene();
    write(&workspace, "x", "x\n");
    let tip = project.commit(&workspace, "x").to_string();
    let stray = raw_object(&workspace, "blob", b"what nobody would have looked at\n");
    let listed = git(&workspace, &["rev-list", "--objects", "--no-object-names", &format!("{base}..{tip}")]);
    for (more, fine) in [("", true), (stray.as_str(), false)] {
        let mut child = Command::new("git")
            .current_dir(&workspace)
            .args(["pack-objects", "-q", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git starts");
        let list = format!("{listed}\n{more}{}", if fine { "" } else { "\n" });
        child.stdin.take().expect("piped").write_all(list.as_bytes()).expect("taken");
        let pack = child.wait_with_output().expect("ends").stdout;
        let path = project.root.path().join("stray.bundle");
        let header = format!("# v2 git bundle\n-{base} \n{tip} {RESULT_REF}\n\n");
        fs::write(&path, [header.as_bytes(), &pack].concat()).expect("written");
        if fine {
            project.import(&path, &attempt("T-002", 1), base);
        } else {
            let one = attempt("T-001", 1);
            is_damaged(&refused_with(&project, &path, &expectation(&one, base)), &stray);
        }
    }
}

/// How long the chains of deltas in a repository's packs are, at most.
fn longest_chain(repository: &Path) -> usize {
    let packs = repository.join("objects/pack");
    let packs = fs::read_dir(&packs).expect("readable").flatten().map(|entry| entry.path());
    let indexes = packs.filter(|path| path.extension().is_some_and(|extension| extension == "idx"));
    let said = indexes.map(|index| git(repository, &["verify-pack", "-v", index.to_str().expect("utf-8")]));
    let depth = |line: &str| line.strip_prefix("chain length = ")?.split(':').next()?.parse::<usize>().ok();
    said.flat_map(|said| said.lines().filter_map(depth).collect::<Vec<_>>()).max().unwrap_or_default()
}

#[test]
fn long_chains_of_deltas_do_not_enter_the_hub() {
    let (project, workspace, base) = scene();
    // This way of writing makes each file a delta to the one before.
    let same: String = (0..200).map(|line| format!("line {line}\n")).collect();
    let file = |n: usize| format!("{same}{}", (0..n).map(|line| format!("more {line}\n")).collect::<String>());
    let files = (0..300).map(|n| (n, file(n)));
    let files: String =
        files.map(|(n, text)| format!("M 644 inline many/{n:03}\ndata {}\n{text}\n", text.len())).collect();
    let head = "commit refs/heads/chains\ncommitter A <a@example.invalid> 1700000000 +0000\ndata 5\nalike\n";
    let mut import = Command::new("git");
    import.current_dir(&workspace).args(["fast-import", "--quiet", "--depth=300"]).stdin(Stdio::piped());
    let mut import = import.spawn().expect("git starts");
    let stream = format!("{head}from {base}\n{files}");
    import.stdin.take().expect("piped").write_all(stream.as_bytes()).expect("taken");
    assert!(import.wait().expect("ends").success());
    git(&workspace, &["config", "pack.depth", "300"]);
    git(&workspace, &["checkout", "-q", "chains"]);
    assert!(longest_chain(&workspace.join(".git")) > 50, "the test has what it is about");
    project.harvest(&workspace, &attempt("T-001", 1), base);
    let chain = longest_chain(project.hub.dir());
    assert!((1..=50).contains(&chain), "{chain}");
    git(project.hub.dir(), &["fsck", "--strict"]);
}
