//! A repository on one machine, its Taskmaster behind https: what is pushed, what comes back, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cluster::Founder, node::Ran};

/// Bytes of the first commit that do not compress: a push that has them is told from one that has not.
const BULK: usize = 200 << 10;

/// A Taskmaster that runs, and a person's repository in another directory.
struct Remote {
    founder: Founder,
    repo: PathBuf,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Person").env(format!("GIT_{who}_EMAIL"), "person@example.invalid");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Bytes without a pattern.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..BULK).map(next).collect()
}

impl Remote {
    fn start(limits: &str) -> Self {
        let mut founder = Founder::new();
        assert_eq!(founder.init("30d").code, Some(0));
        let config = founder.path("node.toml");
        fs::write(&config, format!("{}\n{limits}", fs::read_to_string(&config).unwrap())).unwrap();
        founder.start();
        let repo = founder.path("desk/shop");
        fs::create_dir_all(&repo).unwrap();
        git(&repo, &["init", "-q", "-b", "main"]);
        let remote = Self { founder, repo };
        fs::write(remote.repo.join("noise"), noise()).unwrap();
        remote.commit("README.md");
        remote
    }

    fn commit(&self, file: &str) {
        fs::write(self.repo.join(file), file).unwrap();
        git(&self.repo, &["add", "-A"]);
        git(&self.repo, &["commit", "-qm", file]);
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.repo, args)
    }

    /// A plan beside the repository, with these tasks.
    fn plan(&self, tasks: &str) -> PathBuf {
        let path = self.founder.path("desk/plan.toml");
        let head = "[project]\nname = \"shop\"\nrepo = \"shop\"\n[agents.dev]\ncommand = [\"sh\", \"-c\", \"echo $DEVSTACK_TASK_ID > $DEVSTACK_TASK_ID.txt\"]\n";
        fs::write(&path, format!("{head}{tasks}")).unwrap();
        path
    }

    fn run(&self, plan: &Path) -> Ran {
        self.founder.devstack(&["run", plan.to_str().unwrap()])
    }

    fn refused(&self, args: &[&str], plan: &Path) -> (Option<i32>, String) {
        self.founder.refused(&[&["plan", "submit", plan.to_str().unwrap()], args].concat())
    }

    fn tip(&self, name: &str) -> String {
        self.git(&["rev-parse", name])
    }
}

/// How much was pushed, as it was told.
fn pushed(ran: &Ran) -> String {
    let line = ran.err.lines().find(|line| line.starts_with("pushing ")).unwrap_or_else(|| panic!("{ran:?}"));
    line.rsplit(": ").next().unwrap().to_owned()
}

const FIRST: &str = "[[task]]\nid = \"A\"\nprompt = \"x\"\n";
const SECOND: &str =
    "[[task]]\nid = \"B\"\nprompt = \"x\"\ncommand = [\"sh\", \"-c\", \"test -f own.md && echo b > B.txt\"]\n";
const HUMAN: &str =
    "[[task]]\nid = \"C\"\nprompt = \"x\"\n[[task]]\nid = \"D\"\nexecutor = \"human\"\nprompt = \"x\"\n";

#[test]
fn a_repository_is_pushed_and_its_branch_comes_back() {
    let remote = Remote::start("");
    let ran = remote.run(&remote.plan(FIRST));
    assert!(ran.code == Some(0) && ran.err.contains("fetched"), "{ran:?}");
    assert!(pushed(&ran).ends_with(" KiB"), "{ran:?}");
    assert_eq!(remote.git(&["show", "dev:A.txt"]), "A");
    assert_eq!(remote.tip("dev"), remote.tip("devstack/dev"));
    assert_eq!(remote.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "main");
    let left = fs::read_dir(remote.repo.join(".git")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().contains("bundle")).count(), 0);

    // A commit of one's own on the branch: only that travels, and attempts start from it.
    remote.git(&["switch", "-q", "dev"]);
    remote.commit("own.md");
    remote.git(&["switch", "-q", "main"]);
    fs::write(remote.repo.join("draft"), "x").unwrap();
    let ran = remote.run(&remote.plan(&format!("{FIRST}{SECOND}")));
    assert!(ran.code == Some(0) && ran.err.contains("1 uncommitted file in"), "{ran:?}");
    assert!(pushed(&ran).ends_with(" B"), "less than 1 KiB: {ran:?}");
    assert_eq!(remote.git(&["show", "dev:B.txt"]), "b");

    // On the branch: nothing moves there, and what to do is said. A person is waited for, and the work is here all the
    // same.
    remote.git(&["switch", "-q", "dev"]);
    let before = remote.tip("dev");
    let ran = remote.run(&remote.plan(&format!("{FIRST}{SECOND}{HUMAN}")));
    assert!(ran.code == Some(7) && ran.err.contains("merge --ff-only devstack/dev"), "{ran:?}");
    assert_eq!(remote.tip("dev"), before);
    remote.git(&["merge", "-q", "--ff-only", "devstack/dev"]);
    assert_eq!(remote.git(&["show", "HEAD:C.txt"]), "C");

    // The plan as the Taskmaster shows it needs nothing of this machine.
    let shown = remote.founder.devstack(&["plan", "show", "shop"]);
    let file = remote.founder.path("shown.json");
    fs::write(&file, &shown.out).unwrap();
    let ran = remote.founder.devstack(&["plan", "submit", file.to_str().unwrap()]);
    assert!(ran.code == Some(0) && !ran.err.contains("pushing"), "{ran:?}");

    // Another history in place of what was delivered is refused, with the mend.
    let plan = remote.plan(&format!("{FIRST}{SECOND}{HUMAN}"));
    remote.git(&["reset", "-q", "--hard", "main"]);
    remote.commit("other.md");
    assert_eq!(remote.refused(&[], &plan), (Some(5), "DS0318".to_owned()));
    remote.git(&["merge", "-q", "--no-edit", "devstack/dev"]);
    let ran = remote.founder.devstack(&["plan", "submit", plan.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(remote.founder.devstack(&["status"]).code == Some(0));
}

#[test]
fn what_cannot_be_pushed_is_refused_and_changes_nothing() {
    let remote = Remote::start("[limits]\nrepository_size = \"100KiB\"\n");
    let plan = remote.plan(FIRST);
    assert_eq!(remote.refused(&[], &plan), (Some(2), "DS0303".to_owned()), "too large");
    let viewer = remote.founder.path("viewer.token");
    fs::write(&viewer, remote.founder.token("viewer")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&viewer, mode).unwrap();
    let viewer = viewer.to_str().unwrap();
    assert_eq!(remote.refused(&["--token-file", viewer], &plan), (Some(4), "DS0313".to_owned()));
    // What is not on this machine may be the Taskmaster's own, where it is listed.
    for (repo, refusal) in [("nowhere", (4, "DS0313")), ("desk", (2, "DS0250"))] {
        let text = fs::read_to_string(&plan).unwrap().replace("repo = \"shop\"", &format!("repo = \"../{repo}\""));
        let other = remote.founder.path("desk/other.toml");
        fs::write(&other, text).unwrap();
        assert_eq!(remote.refused(&[], &other), (Some(refusal.0), refusal.1.to_owned()), "{repo}");
    }
    let empty = remote.founder.path("desk/empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, &["init", "-q"]);
    let text = fs::read_to_string(&plan).unwrap().replace("repo = \"shop\"", "repo = \"empty\"");
    fs::write(&plan, text).unwrap();
    assert_eq!(remote.refused(&[], &plan), (Some(2), "DS0250".to_owned()));
    let projects = remote.founder.devstack(&["project", "list", "-o", "json"]).json();
    assert_eq!(projects["projects"].as_array().unwrap().len(), 0);
}
