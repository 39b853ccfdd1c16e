//! What an agent commits: paths out of the tree and into `.git`, links, secrets. Refused as policy, and nothing of it
//! is ever in the hub.

use crate::{
    as_it_is,
    bench::{World, task},
    beside_honest,
};

/// A commit of a tree with one crafted entry: `kind` its mode, `name` its raw name. Written by hand, for git itself
/// refuses.
const CRAFT: &str = r#"
craft() { # MODE NAME OBJECT [parent-entry]
    python3 - "$@" <<'PY' || exit 41
import hashlib, os, subprocess, sys, zlib
mode, name, oid = sys.argv[1:4]
tree = subprocess.run(['git', 'cat-file', 'tree', 'HEAD^{tree}'], capture_output=True, check=True).stdout
entries, rest = [], tree
while rest:
    head, rest = rest.split(b'\0', 1)
    entries.append((head, rest[:20])); rest = rest[20:]
entries.append((f'{mode} {name}'.encode(), bytes.fromhex(oid)))
entries.sort(key=lambda e: e[0].split(b' ', 1)[1] + (b'/' if e[0].startswith(b'40000') else b''))
body = b''.join(h + b'\0' + o for h, o in entries)
raw = b'tree %d\0' % len(body) + body
tree = hashlib.sha1(raw).hexdigest()
os.makedirs(f'.git/objects/{tree[:2]}', exist_ok=True)
open(f'.git/objects/{tree[:2]}/{tree[2:]}', 'wb').write(zlib.compress(raw))
print(tree)
PY
}
blob=$(echo 'planted' | git hash-object -w --stdin)
commit() { c=$(git commit-tree "$1" -p HEAD -m crafted) && git update-ref refs/heads/"$(git symbolic-ref --short HEAD)" "$c" && git read-tree HEAD 2>/dev/null; git update-index --refresh >/dev/null 2>&1; true; }
"#;

fn refused(craft: &str) {
    let script = format!("{CRAFT}\n{craft}\necho crafted");
    let evil = |_: &World| task("EVIL", &script);
    beside_honest(evil, as_it_is, |world| {
        assert!(world.log("EVIL", 1).contains("crafted\n"), "it did what it is here for: {}", world.log("EVIL", 1));
        let task = world.task("EVIL");
        assert_eq!(task["status"], "BLOCKED", "{task}");
        let tip = world.try_git(&world.hub(), &["log", "--all", "--format=%s"]).1;
        assert!(!tip.contains("crafted"), "{tip}");
        assert!(!world.git(&["ls-tree", "-r", "--name-only", "dev"]).contains("git/"));
        assert!(!world.root().join("planted").exists() && !world.path("planted").exists());
    });
}

#[test]
fn a_file_of_dot_git_is_refused() {
    refused("t=$(craft 100644 .git $blob); commit $t");
}

#[test]
fn a_directory_dot_git_with_a_config_is_refused() {
    refused("sub=$(printf '100644 blob %s\\tconfig\\n' $blob | git mktree); t=$(craft 40000 .git $sub); commit $t");
}

#[test]
fn dot_dot_is_refused() {
    refused("sub=$(printf '100644 blob %s\\tplanted\\n' $blob | git mktree); t=$(craft 40000 .. $sub); commit $t");
}

#[test]
fn a_name_with_a_slash_is_refused() {
    refused("t=$(craft 100644 ../planted $blob); commit $t");
}

#[test]
fn a_submodule_is_refused() {
    refused(
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub; git -c user.name=x -c user.email=x commit -qm crafted",
    );
}

#[test]
fn a_symlink_out_of_the_tree_is_refused() {
    let evil = |_: &World| task("EVIL", "ln -s ../../../../etc/passwd link; ln -s /etc/shadow link2");
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.blocked_reason("EVIL"), "policy");
        world.devstack(&["task", "explain", "EVIL"]).expect(0).says("symlink");
        assert!(!world.try_git(&world.hub(), &["rev-parse", "refs/devstack/attempts/EVIL/1"]).0);
    });
}

#[test]
fn a_secret_never_enters_the_hub() {
    // In one commit, and taken out again in the next: it is in the history all the same.
    let key = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let script = format!(
        "echo 'token: {}''{}' > notes; git add notes; git commit -qm add; git rm -q notes; git commit -qm remove; echo work > work",
        &key[..10],
        &key[10..]
    );
    let evil = |_: &World| task("EVIL", &script);
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.blocked_reason("EVIL"), "policy");
        let said = world.devstack(&["task", "show", "EVIL"]).expect(0);
        assert!(said.stdout.contains("GitHub token") && !said.stdout.contains(&key), "{said:?}");
        let objects = world.in_hub(&["cat-file", "--batch-all-objects", "--batch"]);
        assert!(!objects.contains(&key));
    });
}
