//! Tests which results are held, on trees that are made here.

use git2::{ObjectType, Repository};

use super::*;
use crate::trees::{Bounds, changes::changes};
use devstack_config::protected::DEFAULT;

/// A bare repository with trees.
struct Trees {
    _dir: tempfile::TempDir,
    repo: Repository,
}

type File<'a> = (&'a str, &'a str, i32);

impl Trees {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        Self { _dir: dir, repo }
    }

    fn tree(&self, files: &[File<'_>]) -> Oid {
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, content, mode) in files {
            let blob = self.repo.blob(content.as_bytes()).unwrap();
            let mode = match mode {
                0o120_000 => git2::FileMode::Link,
                0o100_755 => git2::FileMode::BlobExecutable,
                _ => git2::FileMode::Blob,
            };
            update.upsert(*path, blob, mode);
        }
        let empty = self.repo.odb().unwrap().write(ObjectType::Tree, b"").unwrap();
        update.create_updated(&self.repo, &self.repo.find_tree(empty).unwrap()).unwrap()
    }

    fn why(&self, guard: &Guard, base: &[File<'_>], tip: &[File<'_>]) -> Option<String> {
        let (base, tip) = (self.tree(base), self.tree(tip));
        let odb = self.repo.odb().unwrap();
        let changes = changes(&odb, Some(base), Some(tip), &Bounds::default()).unwrap();
        why(guard, &odb, (base, tip), &changes, |path| String::from_utf8_lossy(path).into_owned()).unwrap()
    }
}

fn guard() -> Guard {
    Guard { protected: vec![DEFAULT.into()], may_change: vec![], deletions: true }
}

const FILE: i32 = 0o100_644;

#[test]
fn every_kind_of_change_of_a_protected_path_holds_and_may_change_frees_it() {
    let trees = Trees::new();
    let readme = ("README", "r", FILE);
    for path in
        [".github/workflows/ci.yml", "sub/.claude/settings.json", "AGENTS.md", ".vscode/tasks.json", ".gitattributes"]
    {
        let there = [readme, (path, "a", FILE)];
        let cases: [(&str, &[File<'_>], &[File<'_>]); 7] = [
            ("added", &[readme], &there),
            ("changed", &there, &[readme, (path, "b", FILE)]),
            ("deleted", &there, &[readme]),
            ("mode", &there, &[readme, (path, "a", 0o100_755)]),
            ("link", &there, &[readme, (path, "README", 0o120_000)]),
            ("renamed from", &there, &[readme, ("other", "a", FILE)]),
            ("renamed to", &[readme, ("other", "a", FILE)], &there),
        ];
        for (kind, base, tip) in cases {
            let said = trees.why(&guard(), base, tip).unwrap_or_else(|| panic!("{kind} {path} is let pass"));
            assert_eq!(said, format!("it changes protected paths: {path}"), "{kind}");
            let free = Guard { may_change: vec![path.into()], ..guard() };
            assert_eq!(trees.why(&free, base, tip), None, "{kind} {path} is free");
        }
        assert_eq!(trees.why(&guard(), &there, &[("README", "s", FILE), (path, "a", FILE)]), None, "{path} as it was");
    }
}

#[test]
fn a_link_in_the_place_of_a_protected_directory_holds() {
    let trees = Trees::new();
    let base = [("README", "r", FILE)];
    let said = trees.why(&guard(), &base, &[("README", "r", FILE), (".github", "src", 0o120_000)]);
    assert_eq!(said.as_deref(), Some("it changes protected paths: .github"));
}

#[test]
fn a_glob_that_cannot_be_read_holds() {
    let wrong = Guard { protected: vec!["@newer".into()], ..guard() };
    let said = Trees::new().why(&wrong, &[], &[("a", "a", FILE)]).unwrap();
    assert!(said.starts_with("cannot check protected paths: the glob `@newer`"), "{said}");
}

#[test]
fn a_mass_deletion_holds_unless_the_task_may() {
    let trees = Trees::new();
    let names: Vec<(String, String)> =
        (0..200).map(|n| (format!("d{}/f{n:03}", n % 7), format!("content {n}"))).collect();
    let all: Vec<File<'_>> = names.iter().map(|(path, content)| (path.as_str(), content.as_str(), FILE)).collect();
    assert_eq!(trees.why(&guard(), &all, &all[..140]), None, "60 of 200 are 30 %");
    let said = trees.why(&guard(), &all, &all[..139]).unwrap();
    assert!(said.starts_with("it deletes 61 of 200 files: d") && said.ends_with(" and 56 more"), "{said}");
    assert_eq!(trees.why(&Guard { deletions: false, ..guard() }, &all, &[]), None);
    assert_eq!(trees.why(&guard(), &all[..50], &[]), None, "50 may always go");
    assert!(trees.why(&guard(), &all[..51], &[]).is_some());
}

#[test]
fn what_moved_or_has_a_copy_is_not_deleted() {
    let trees = Trees::new();
    let names: Vec<(String, String, String)> =
        (0..100).map(|n| (format!("a/{n}"), format!("b/{n}"), format!("content {n}"))).collect();
    let here: Vec<File<'_>> = names.iter().map(|(a, _, content)| (a.as_str(), content.as_str(), FILE)).collect();
    let there: Vec<File<'_>> = names.iter().map(|(_, b, content)| (b.as_str(), content.as_str(), FILE)).collect();
    assert_eq!(trees.why(&guard(), &here, &there), None, "moved");
    let both = [here.clone(), there.clone()].concat();
    assert_eq!(trees.why(&guard(), &both, &there), None, "a copy stays");
    assert!(trees.why(&guard(), &here, &there[..40]).is_some(), "60 of them are gone");
}
