//! What an agent can do to its `.git`: programs that git would run, directories that it would read or write. The host
//! opens none of it, so the marks that those programs would leave stay absent.

use crate::{
    as_it_is,
    bench::{World, task},
    beside_honest,
};

/// Would be made by whatever the host is tricked into running. The agent itself may not make it: it is its own
/// directory that is left open for the host's user alone.
fn canary(world: &World) -> std::path::PathBuf {
    let dir = world.root().join("home");
    dir.join("canary")
}

/// Runs the script; the host must not have run anything, and honest work lands or the task says why not.
fn planted(script: &str) {
    let evil = |world: &World| {
        let script = script.replace("CANARY", &canary(world).display().to_string());
        task("EVIL", &format!("echo work > work\n{script}\ntrue"))
    };
    beside_honest(evil, as_it_is, |world| {
        assert!(!canary(world).exists(), "the host ran something of the agent's");
        assert_eq!(world.read("README"), "a shop\n");
        let status = world.status("EVIL");
        // What sets merge drivers for those who come later waits for a person.
        assert!(["COMPLETED", "BLOCKED", "REVIEW"].contains(&&*status), "{status}");
        let (_, config) = world.try_git(&world.hub(), &["config", "--list", "--local"]);
        assert!(!config.contains("canary"), "{config}");
    });
}

#[test]
fn hooks_do_not_run() {
    planted(
        "for hook in pre-commit commit-msg post-commit pre-merge-commit post-checkout post-merge pre-push update post-update \
         pre-receive post-receive reference-transaction post-index-change fsmonitor-watchman pre-auto-gc; do
            printf '#!/bin/sh\\ntouch CANARY\\n' > .git/hooks/$hook; chmod +x .git/hooks/$hook
        done; git config core.hooksPath .git/hooks",
    );
}

#[test]
fn filters_fsmonitor_and_textconv_do_not_run() {
    planted(
        "printf '* filter=evil diff=evil merge=evil\\n' > .gitattributes; cp .gitattributes .git/info/attributes 2>/dev/null || { mkdir -p .git/info; cp .gitattributes .git/info/attributes; }
        for key in filter.evil.clean filter.evil.smudge filter.evil.process diff.evil.textconv diff.evil.command merge.evil.driver \
            core.fsmonitor core.sshCommand core.editor core.pager core.askPass uploadpack.packObjectsHook credential.helper gpg.program alias.status; do
            git config $key 'touch CANARY; cat'
        done; git config filter.evil.required true; git config commit.gpgSign true",
    );
}

#[test]
fn alternates_and_a_gitdir_file_lead_nowhere() {
    planted(
        "git add work; git -c core.hooksPath=/dev/null commit -qm work; echo /root/.git/objects >> .git/objects/info/alternates; echo /etc >> .git/objects/info/alternates",
    );
    planted("mv .git elsewhere; echo \"gitdir: $PWD/elsewhere\" > .git");
    planted("rm -rf .git; echo 'gitdir: ../../../../../../../.git' > .git");
    planted("rm -rf .git; ln -s /work .git");
}

#[test]
fn the_persons_repository_is_not_reached_through_gitdir() {
    // The agent points its repository at the person's, to have the host act on it.
    let evil = |world: &World| {
        let git = world.path(".git");
        let hub = world.hub();
        task(
            "EVIL",
            &format!(
                "rm -rf .git; if [ -e {0} ]; then echo 'gitdir: {0}' > .git; else echo 'gitdir: {1}' > .git; fi; echo work > work",
                git.display(),
                hub.display()
            ),
        )
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.git(&["log", "--format=%s", "main"]), "Open the shop");
        assert_eq!(world.git(&["status", "--porcelain"]), "?? devstack.toml");
        assert!(["BLOCKED", "COMPLETED"].contains(&&*world.status("EVIL")));
    });
}

#[test]
fn core_worktree_does_not_overwrite_the_host() {
    let evil = |world: &World| {
        let dir = world.dir();
        task(
            "EVIL",
            &format!(
                "git config core.worktree {0}; git config core.bare false; git config include.path {0}/.git/config; echo work > work",
                dir.display()
            ),
        )
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.read("README"), "a shop\n");
        assert!(!world.path("work").exists());
        assert_eq!(world.git(&["status", "--porcelain"]), "?? devstack.toml");
    });
}

#[test]
fn a_corrupt_repository_loses_only_its_own_work() {
    for script in [
        "for o in .git/objects/*/*; do chmod u+w $o; echo junk > $o; done",
        "echo junk > .git/HEAD",
        "echo junk > .git/index; git add . 2>/dev/null",
        "rm -rf .git",
        "rm -rf .git; git init -q .; git -c user.name=x -c user.email=x commit -q --allow-empty -m unrelated",
        "git checkout -q --orphan alone; git -c user.name=x -c user.email=x commit -qm alone",
        "rm .git/HEAD; mkfifo .git/HEAD",
        "rm .git/config; mkfifo .git/config",
    ] {
        let world = World::with_repository();
        let plan = [task("EVIL", &format!("echo work > work; {script}; true")), task("HONEST", "echo honest > honest")];
        world.plan(&crate::bench::Plan::new(plan));
        let ended = world.run();
        assert!([0, 7].contains(&ended.code), "{script}: {ended:?}");
        assert_eq!(world.status("HONEST"), "COMPLETED", "{script}");
        world.hub_is_whole();
        let names = world.git(&["ls-tree", "--name-only", "dev"]);
        assert!(names.contains("README") && names.contains("numbers"), "{script}: {names}");
    }
}
