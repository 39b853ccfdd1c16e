//! Workspaces and harvests: what git finds in them, and what a hostile repository does not get done.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use devstack::runtime::{Commits, Ended, Harvest, Job, Runtime, Sandbox, Workspace};
use devstack_dag::{
    attempt::{Outcome, Start},
    ids::{AttemptId, CommitId},
};
use devstack_shim::{
    layout::{BRANCH_REFS, BUNDLE_REF},
    spec::Branch,
};

use crate::{
    containers::{Containers, tools},
    harness::*,
};

/// A hub, and a mirror of its integration history to borrow from.
pub(crate) struct Hub {
    pub(crate) dir: PathBuf,
    /// Of the agents that work for it.
    image: Option<String>,
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=dev"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Hub {
    pub(crate) fn new(s: &Place) -> Self {
        let dir = s.dir().join("hub");
        fs::create_dir(&dir).unwrap();
        git(&dir, &["init", "-q"]);
        let hub = Self { dir, image: s.image() };
        hub.write("file", "one\ntwo\nthree\n");
        hub.write("dir/run.sh", "#!/bin/sh\necho ran\n");
        fs::set_permissions(hub.dir.join("dir/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("file", hub.dir.join("link")).unwrap();
        hub.commit("base");
        hub
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) -> CommitId {
        git(&self.dir, &["add", "-A"]);
        git(&self.dir, &["commit", "-q", "--allow-empty", "-m", message]);
        git(&self.dir, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub(crate) fn head(&self) -> CommitId {
        git(&self.dir, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub(crate) fn job(&self, number: u32, start: Start, script: &str) -> Job {
        let mut job = shell(number, script);
        job.image = self.image.clone().map(Into::into);
        job.workspace = Some(Workspace {
            mirror_objects: self.dir.join(".git/objects"),
            bundles: Vec::new(),
            integration: "dev".into(),
            start,
            harvest: true,
        });
        job
    }

    pub(crate) fn at_head(&self, number: u32, script: &str) -> Job {
        let base = self.head();
        self.job(number, Start::Commit { base, tip: base }, script)
    }

    /// Takes a result over as a quarantine would: git itself checks the bundle.
    pub(crate) fn take(&self, ended: &Ended) -> CommitId {
        let Commits { tip, bundle } = ended.harvest.commits.clone().unwrap_or_else(|| panic!("{ended:?}"));
        git(&self.dir, &["bundle", "verify", "-q", bundle.to_str().unwrap()]);
        let heads = git(&self.dir, &["bundle", "list-heads", bundle.to_str().unwrap()]);
        let branches =
            ended.harvest.branches.iter().map(|Branch { name, commit }| format!("{commit} {BRANCH_REFS}{name}"));
        let expected: Vec<_> = std::iter::once(format!("{tip} {BUNDLE_REF}")).chain(branches).collect();
        assert_eq!(heads, expected.join("\n"), "the result comes first, and what is named is there");
        let all = format!("+{BRANCH_REFS}*:refs/seen/*");
        let fetch = ["-c", "transfer.fsckObjects=true", "fetch", "-q", bundle.to_str().unwrap(), BUNDLE_REF, &all];
        git(&self.dir, &fetch);
        tip
    }
}

/// A runtime with a place for a hub beside its state.
pub(crate) enum Place {
    Process(Scratch),
    /// With the image that has git.
    Docker(Containers, String),
}

impl Place {
    pub(crate) fn plain() -> Self {
        Self::Process(Scratch::new(Sandbox::Off))
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        match self {
            Self::Process(scratch) => &scratch.runtime,
            Self::Docker(containers, _) => &containers.runtime,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Process(scratch) => scratch.dir.path(),
            Self::Docker(containers, _) => containers.dir.path(),
        }
    }

    pub(crate) fn attempt_dir(&self, attempt: &AttemptId) -> PathBuf {
        attempt_dir(self.dir(), attempt)
    }

    fn image(&self) -> Option<String> {
        match self {
            Self::Process(_) => None,
            Self::Docker(_, image) => Some(image.clone()),
        }
    }
}

pub(crate) async fn places() -> Vec<Place> {
    let mut places = vec![Place::plain()];
    places.extend(sandboxed().map(Place::Process));
    places.extend(docker().await);
    places
}

async fn docker() -> Option<Place> {
    let containers = Containers::new(|_| {}).await?;
    let image = tools(&containers.socket);
    Some(Place::Docker(containers, image))
}

#[tokio::test(flavor = "multi_thread")]
async fn git_finds_a_clean_clone_on_the_agents_branch() {
    for s in places().await {
        let hub = Hub::new(&s);
        let script = "set -e; git status --porcelain=v2 --branch; git rev-parse --abbrev-ref HEAD; git log --format=%s; \
                      git rev-parse origin/dev HEAD | uniq | wc -l; ./dir/run.sh; readlink link; git config user.email; \
                      git fsck --strict 2>&1 | grep -v dangling || true";
        let ended = run(s.runtime(), &hub.at_head(1, script)).await;
        let text = log(s.runtime(), &attempt(1)).await;
        assert_eq!(ended.outcome, Outcome::Exited(0), "{text}");
        assert!(ended.harvest.commits.is_none() && ended.harvest.error.is_none(), "{ended:?}");
        let head = hub.head();
        let expected = format!(
            "# branch.oid {head}\n# branch.head feat/dev1\nfeat/dev1\nbase\n1\nran\nfile\ndev1@devstack.invalid\n"
        );
        assert!(text.starts_with(&expected), "{text}\n---\n{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_and_leftovers_come_back_as_one_bundle() {
    for s in places().await {
        let hub = Hub::new(&s);
        let script = "set -e; echo four >> file; git commit -qam mine; echo ignored > x.log; echo '*.log' > .gitignore; \
                      rm link; mkfifo pipe; mkdir new; echo n > new/file; chmod +x new/file";
        let ended = run(s.runtime(), &hub.at_head(1, script)).await;
        assert_eq!(ended.outcome, Outcome::Exited(0), "{ended:?}");
        let tip = hub.take(&ended).to_string();
        assert_eq!(
            git(&hub.dir, &["log", "--format=%an <%ae> %s", &format!("HEAD..{tip}")]),
            "dev1 <dev1@devstack.invalid> Uncommitted work of shop/T-001 attempt 1\ndev1 <dev1@devstack.invalid> mine"
        );
        assert_eq!(
            git(&hub.dir, &["diff", "--summary", "HEAD", &tip]),
            "create mode 100644 .gitignore\n delete mode 120000 link\n create mode 100755 new/file"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_continues_from_a_harvested_commit_in_a_bundle() {
    for s in places().await {
        let hub = Hub::new(&s);
        let first = run(s.runtime(), &hub.at_head(1, "echo a > a")).await;
        let Commits { tip, bundle } = first.harvest.commits.unwrap();
        let mut job = hub.job(2, Start::Commit { base: hub.head(), tip }, "test -e a && echo b > b");
        job.workspace.as_mut().unwrap().bundles = vec![bundle];
        let second = run(s.runtime(), &job).await;
        assert_eq!(second.outcome, Outcome::Exited(0), "{second:?}");
        let tip = hub.take(&second).to_string();
        assert_eq!(git(&hub.dir, &["diff", "--name-only", "HEAD", &tip]), "a\nb");
    }
}

/// A hub with a conflict: the head has one text, `theirs` another.
fn conflict(s: &Place) -> (Hub, Start) {
    let hub = Hub::new(s);
    git(&hub.dir, &["checkout", "-q", "-b", "side"]);
    hub.write("file", "one\nTHEIRS\nthree\n");
    hub.write("theirs", "t\n");
    let theirs = hub.commit("theirs");
    git(&hub.dir, &["checkout", "-q", "dev"]);
    hub.write("file", "one\nOURS\nthree\n");
    let base = hub.commit("ours");
    (hub, Start::Merging { base, theirs })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_finds_the_merge_in_progress_and_its_result_has_both_parents() {
    for s in places().await {
        let (hub, start) = conflict(&s);
        let Start::Merging { base, theirs } = start.clone() else { unreachable!() };
        let look = "git status --porcelain; cat file; git rev-parse MERGE_HEAD; printf 'one\\nBOTH\\nthree\\n' > file";
        let ended = run(s.runtime(), &hub.job(1, start.clone(), look)).await;
        let text = log(s.runtime(), &attempt(1)).await;
        assert!(text.starts_with("UU file\nA  theirs\n"), "{text}");
        assert!(text.contains("<<<<<<< HEAD\nOURS\n=======\nTHEIRS\n>>>>>>> "), "{text}");
        assert!(text.ends_with(&format!("{theirs}\n")), "{text}");
        let tip = hub.take(&ended).to_string();
        assert_eq!(git(&hub.dir, &["log", "-1", "--format=%P", &tip]), format!("{base} {theirs}"));
        assert_eq!(git(&hub.dir, &["show", &format!("{tip}:file")]), "one\nBOTH\nthree");

        let untouched = run(s.runtime(), &hub.job(2, start.clone(), "true")).await;
        assert_eq!(untouched.harvest.commits, None);
        assert!(untouched.harvest.error.unwrap().contains("file still has a conflict"));

        let itself = run(s.runtime(), &hub.job(3, start, "git checkout --theirs file; git commit -qam done")).await;
        assert_eq!(itself.outcome, Outcome::Exited(0), "{itself:?}");
        let tip = hub.take(&itself).to_string();
        assert_eq!(git(&hub.dir, &["log", "-1", "--format=%P %s", &tip]), format!("{base} {theirs} done"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_shim_was_killed_is_harvested_again() {
    let s = Place::plain();
    let hub = Hub::new(&s);
    let ended = run(s.runtime(), &hub.at_head(1, "echo work > work; kill -9 $PPID; sleep 1000")).await;
    assert!(matches!(ended.outcome, Outcome::Infrastructure(_)) && ended.harvest.again, "{ended:?}");
    let harvest = s.runtime().harvest(&attempt(1)).await.unwrap();
    let tip = hub.take(&Ended { harvest, ..ended }).to_string();
    assert_eq!(git(&hub.dir, &["diff", "--name-only", "HEAD", &tip]), "work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_killed_is_harvested_in_another() {
    let Some(s) = docker().await else { return };
    let Place::Docker(containers, _) = &s else { unreachable!() };
    let hub = Hub::new(&s);
    // It even forges the end and the harvest: what the killed supervisor did not write is not believed.
    let forge =
        "echo work > work; for f in exit harvest; do echo '{}' > /devstack/shim/$f.json; done; touch up; sleep 1001";
    s.runtime().start(&hub.at_head(1, forge)).await.unwrap();
    let up = s.attempt_dir(&attempt(1)).join("workspace/up");
    until("it works", || up.exists()).await;
    containers.docker(&["kill", &containers.name(&attempt(1))]);
    let ended = wait(s.runtime(), &attempt(1)).await;
    assert!(matches!(ended.outcome, Outcome::Infrastructure(_)) && ended.harvest.again, "{ended:?}");
    let harvest = s.runtime().harvest(&attempt(1)).await.unwrap();
    let tip = hub.take(&Ended { harvest, ..ended }).to_string();
    assert_eq!(git(&hub.dir, &["diff", "--name-only", "HEAD", &tip]), "up\nwork");
    assert_eq!(containers.names().len(), 1, "the second container is gone");
    s.runtime().remove(&attempt(1)).await.unwrap();
    assert_eq!(containers.names().len(), 0);
}

/// What an agent can do to its repository, and whether work of it can be taken all the same.
const RUINS: [(&str, bool); 14] = [
    ("rm -rf .git", false),
    ("rm -rf .git; mkfifo .git", false),
    ("echo 'gitdir: /nonexistent' > x; rm -rf .git; mv x .git", false),
    ("rm .git/HEAD; mkfifo .git/HEAD", false),
    ("head -c 5000 /dev/urandom > .git/config", false),
    ("rm -rf .git/objects; echo x > y", false),
    ("echo x > f; git add f; head -c 5000 /dev/urandom > .git/index", true),
    ("rm .git/index; mkfifo .git/index; echo x > y", true),
    ("rm -f .gitignore; mkfifo .gitignore; echo x > y", true),
    ("rm .git/index; ln -s \"$PWD/pipe\" .git/index; mkfifo pipe; echo x > y", true),
    ("echo junk > .git/refs/heads/feat/dev1; echo x > y", true),
    ("git checkout -q --orphan other; echo x > y", true),
    ("ln -s . loop; ln -sf /etc/passwd .git/HEAD", true),
    ("git config core.bare true; echo x > y", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn of_a_ruined_repository_what_can_be_taken_is_and_the_rest_is_named() {
    for s in places().await {
        let hub = Hub::new(&s);
        for (number, (ruin, taken)) in RUINS.iter().enumerate() {
            let job = hub.at_head(number as u32 + 1, ruin);
            let ended = run(s.runtime(), &job).await;
            assert_eq!(ended.outcome, Outcome::Exited(0), "{ruin}");
            let Harvest { commits, error, skipped, failed, .. } = &ended.harvest;
            assert_eq!((commits.is_some(), failed), (*taken, &None), "{ruin}: {ended:?}");
            if *taken {
                let tip = hub.take(&ended).to_string();
                let changed = git(&hub.dir, &["diff", "--name-status", "HEAD", &tip]);
                assert!(changed.starts_with("A\t") && !changed.contains('\n'), "{ruin}: {changed}");
            } else {
                assert!(error.as_ref().is_some_and(|text| text.contains("destroyed")), "{ruin}: {ended:?}");
                assert_eq!(skipped.first().map(|one| one.path.as_str()), Some(".git"), "{ruin}: {ended:?}");
            }
            s.runtime().remove(&job.attempt).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_repository_configures_is_run() {
    for s in places().await {
        let hub = Hub::new(&s);
        // Everything git would run for a status, an add or a commit; each leaves a file where the agent may write.
        let script = r#"
            cat > tool <<EOF
#!/bin/sh
touch "$DEVSTACK_OUT/ran-\$1"
cat
EOF
            chmod +x tool; t=$PWD/tool
            git config core.fsmonitor "$t fsmonitor"; git config core.hooksPath hooks
            git config filter.evil.clean "$t clean"; git config filter.evil.smudge "$t smudge"
            git config filter.evil.process "$t process"; git config filter.evil.required true
            git config diff.evil.textconv "$t textconv"; git config merge.evil.driver "$t driver"
            git config core.editor "$t editor"; git config gpg.program "$t gpg"; git config commit.gpgsign true
            git config core.sshCommand "$t ssh"; git config credential.helper "!$t credential"
            echo '* filter=evil diff=evil merge=evil' > .gitattributes
            mkdir hooks; for h in pre-commit post-commit prepare-commit-msg commit-msg post-index-change reference-transaction; do
              printf '#!/bin/sh\n%s hook-%s\n' "$t" $h > hooks/$h; cp hooks/$h .git/hooks/ 2>/dev/null || { mkdir -p .git/hooks; cp hooks/$h .git/hooks/; }
              chmod +x hooks/$h .git/hooks/$h
            done
            echo changed >> file
        "#;
        let ended = run(s.runtime(), &hub.at_head(1, script)).await;
        assert_eq!(ended.outcome, Outcome::Exited(0), "{ended:?}");
        let ran: Vec<_> = fs::read_dir(s.attempt_dir(&attempt(1)).join("out")).unwrap().collect();
        assert!(ran.is_empty(), "{ran:?}");
        let tip = hub.take(&ended).to_string();
        assert_eq!(git(&hub.dir, &["show", &format!("{tip}:file")]), "one\ntwo\nthree\nchanged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_cannot_lead_the_harvest_elsewhere() {
    let s = Place::plain();
    let hub = Hub::new(&s);
    let victim = s.dir().join("victim");
    fs::create_dir(&victim).unwrap();
    git(&victim, &["init", "-q"]);
    fs::write(victim.join("private"), "x").unwrap();
    git(&victim, &["add", "-A"]);
    git(&victim, &["commit", "-qm", "private"]);
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
    for (number, script) in [
        format!("rm -rf .git; echo 'gitdir: {}/.git' > .git", victim.display()),
        format!("git config core.worktree {}; echo x > x", victim.display()),
        format!("rm -rf .git; ln -s {}/.git .git", victim.display()),
    ]
    .iter()
    .enumerate()
    {
        let ended = run(s.runtime(), &hub.at_head(number as u32 + 1, script)).await;
        let private = git(&victim, &["rev-parse", "HEAD"]);
        assert_ne!(ended.harvest.commits.as_ref().map(|c| c.tip.to_string()), Some(private), "{script}");
        let led = !script.contains("core.worktree");
        assert_eq!(ended.harvest.error.is_some(), led, "{script}: {ended:?}");
        if !led {
            // The working directory is the workspace, whatever the repository says.
            let tip = hub.take(&ended).to_string();
            assert_eq!(git(&hub.dir, &["diff", "--name-status", "HEAD", &tip]), "A\tx");
        }
        assert_eq!(git(&victim, &["status", "--porcelain"]), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_beyond_the_limit_is_refused() {
    let s = Place::Process(Scratch::with(Sandbox::Off, |config| config.bundle_max = 100_000));
    let hub = Hub::new(&s);
    let one = run(s.runtime(), &hub.at_head(1, "head -c 200000 /dev/urandom > big")).await;
    assert_eq!((&one.harvest.commits, &one.harvest.error), (&None, &None), "{one:?}");
    let [big] = one.harvest.skipped.as_slice() else { panic!("{one:?}") };
    assert!(big.path == "big" && big.why.contains("100000 bytes"), "{big:?}");
    let many = "for i in 1 2 3; do head -c 60000 /dev/urandom > f$i; done";
    let many = run(s.runtime(), &hub.at_head(2, many)).await;
    assert!(many.harvest.commits.is_none());
    assert!(many.harvest.error.unwrap().contains("larger than 100000 bytes"));
}
