//! The Debian package under a real systemd, in a container whose first process that is: installed, started, upgraded
//! while an attempt runs, removed and purged; the units of a cluster; the image of a Taskmaster.
//! Deliberately absent: containers of agents in that container (`deploy/local-cluster` has hosts with engines).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use crate::site::GENEROUS;

const SOCKET: &str = "unix:///run/devstack/api.sock";

/// One task, whose agent says that it is up and waits to be let go.
const PLAN: &str = r#"
[project]
name = "shop"
[agents.dev]
command = ["sh", "-c", "touch /var/tmp/up; while ! test -e /var/tmp/go; do sleep 0.05; done"]
[defaults]
role = "dev"
attempts = 1
[[task]]
id = "A"
title = "A"
"#;

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a command that succeeds says on stdout.
fn said(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn source(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// The image with systemd. `None`, loudly: it cannot be made here.
fn image() -> Option<String> {
    let reason = if run("sh", &["-c", "docker info"]).status.success() {
        if run("cargo", &["deb", "--version"]).status.success() {
            let made = run(&source("tests/harness/systemd-image"), &[]);
            if made.status.success() {
                return Some(String::from_utf8_lossy(&made.stdout).trim().to_owned());
            }
            String::from_utf8_lossy(&made.stderr).trim().to_owned()
        } else {
            "cargo-deb is not installed".to_owned()
        }
    } else {
        "no container engine answers".to_owned()
    };
    eprintln!("SKIPPED: the package is not tried: {reason}");
    None
}

/// Makes the package of the programs under test; `deploy/debian/build` names it.
fn package(dir: &Path, version: &str) -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_devstack")).parent().unwrap().display().to_string();
    let into = dir.display().to_string();
    let args = ["--binaries", &programs, "--output", &into, "--version", version];
    said(&source("deploy/debian/build"), &args);
    dir.join(format!("devstack_{version}_amd64.deb"))
}

/// A container, removed at the end.
struct Machine(String);

impl Drop for Machine {
    fn drop(&mut self) {
        run("docker", &["rm", "--force", "--volumes", &self.0]);
    }
}

impl Machine {
    /// A machine that systemd has started, without a network but its own loopback.
    fn booted(image: &str) -> Self {
        let args = "run --detach --network none --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_PTRACE \
                    --security-opt seccomp=unconfined --tmpfs /run --tmpfs /run/lock \
                    --volume /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd";
        let cgroup_v2 = "--cgroupns private --volume /sys/fs/cgroup:/sys/fs/cgroup";
        let args = match Path::new("/sys/fs/cgroup/systemd").exists() {
            true => args.to_owned(),
            false => args.replace("--volume /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd", cgroup_v2),
        };
        let args: Vec<&str> = args.split_whitespace().chain([image, "/sbin/init"]).collect();
        let machine = Self(said("docker", &args));
        machine.until("systemd is up", |machine| {
            let state = machine.output("systemctl is-system-running");
            ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim())
        });
        machine
    }

    fn output(&self, script: &str) -> Output {
        run("docker", &["exec", &self.0, "sh", "-c", script])
    }

    /// What a script there says, that succeeds.
    fn sh(&self, script: &str) -> String {
        let output = self.output(script);
        assert!(output.status.success(), "{script}: {output:?}\n{}", self.journal());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn journal(&self) -> String {
        String::from_utf8_lossy(&self.output("journalctl --no-pager --lines 30 --unit 'devstack*'").stdout).into_owned()
    }

    fn devstack(&self, words: &str) -> String {
        self.sh(&format!("devstack --address {SOCKET} {words}"))
    }

    fn put(&self, file: &Path, at: &str) {
        said("docker", &["cp", &file.display().to_string(), &format!("{}:{at}", self.0)]);
    }

    fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value --property {name} {unit}"))
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < GENEROUS, "it never came to this: {what}\n{}", self.journal());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[test]
fn a_package_is_installed_upgraded_while_an_attempt_runs_and_removed() {
    let Some(image) = image() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (package(dir.path(), "0.1.0"), package(dir.path(), "0.1.1"));
    let machine = Machine::booted(&image);
    machine.put(&old, "/old.deb");
    machine.put(&new, "/new.deb");

    // A first installation makes users and directories and starts nothing.
    machine.sh("dpkg --install /old.deb");
    assert_eq!(machine.sh("stat --format '%a %U %G' /etc/devstack"), "750 root devstack");
    assert_eq!(machine.sh("id --user devstack-agent"), "10001");
    assert_eq!(machine.property("devstack-node", "ActiveState"), "inactive");
    assert_eq!(machine.output("systemctl is-enabled devstack-node").stdout, b"disabled\n");
    for file in ["man/man1/devstack.1.gz", "man/man1/devstack-task.1.gz", "bash-completion/completions/devstack"] {
        machine.sh(&format!("dpkg --listfiles devstack | grep --fixed-strings /usr/share/{file}"));
    }

    machine.sh("sed 's/^runtime = .*/runtime = \"process\"/; /^docker =/d; s/^sandbox = .*/sandbox = \"off\"/' \
         /usr/share/doc/devstack/examples/node.single.toml >/etc/devstack/node.toml && devstack-node check");
    machine.sh("systemctl enable --now devstack-node");
    machine.sh("echo '# mine' >>/etc/default/devstack");
    let plan = dir.path().join("plan.toml");
    fs::write(&plan, PLAN).unwrap();
    machine.put(&plan, "/plan.toml");
    machine.devstack("plan submit /plan.toml");
    machine.until("the agent runs", |machine| machine.output("test -e /var/tmp/up").status.success());
    let attempt = machine.sh("pgrep --full '[d]evstack-shim.* run '");
    let node = machine.property("devstack-node", "MainPID");

    // An upgrade starts the node anew; the attempt goes on, and is that node's.
    machine.sh("dpkg --install /new.deb");
    assert_eq!(machine.property("devstack-node", "ActiveState"), "active");
    assert_ne!(machine.property("devstack-node", "MainPID"), node);
    assert_eq!(machine.sh("pgrep --full '[d]evstack-shim.* run '"), attempt);
    assert_eq!(machine.sh("tail --lines 1 /etc/default/devstack"), "# mine");
    machine.sh("touch /var/tmp/go");
    machine.devstack("--timeout 60s task wait shop/A");
    assert!(machine.devstack("-o json task list").contains(r#""attempts":1"#));

    // A node that is killed is started anew by systemd.
    let node = machine.property("devstack-node", "MainPID");
    machine.sh(&format!("kill -KILL {node}"));
    machine.until("the node is back", |machine| {
        let now = machine.property("devstack-node", "MainPID");
        now != node && now != "0" && machine.property("devstack-node", "ActiveState") == "active"
    });

    // A removal stops it and leaves what people made; a purge leaves their work.
    machine.sh("dpkg --remove devstack");
    assert_eq!(machine.property("devstack-node", "ActiveState"), "inactive");
    machine.sh("test ! -e /usr/bin/devstack && test -e /etc/devstack/node.toml && test -e /etc/default/devstack");
    let kept = machine.sh("dpkg --purge devstack");
    assert!(kept.contains("/var/lib/devstack is kept"), "{kept}");
    machine.sh("test ! -e /etc/devstack && test ! -e /etc/default/devstack && test -d /var/lib/devstack/store");
    assert_eq!(machine.sh("find /etc/systemd -name '*devstack*'"), "");
}

#[test]
fn the_units_of_a_cluster_run_under_systemd() {
    let Some(image) = image() else { return };
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), "0.1.0");
    let boss = Machine::booted(&image);
    boss.put(&package, "/devstack.deb");
    boss.sh("dpkg --install /devstack.deb");

    // The Taskmaster runs as a user of its own, without any capability, and serves what root founded.
    boss.sh("devstack cluster init --no-agents --advertise localhost && systemd-tmpfiles --create");
    // What systemd cannot do in this container: give credentials to another user (they stay empty), make user name
    // spaces.
    boss.sh(
        "mkdir /etc/systemd/system/devstack-taskmaster.service.d && cd /etc/systemd/system/devstack-taskmaster.service.d && \
         printf '[Service]\\nPrivateUsers=no\\nLoadCredential=\\n' >container.conf && systemctl daemon-reload",
    );
    boss.sh("systemctl enable --now devstack-taskmaster");
    let pid = boss.property("devstack-taskmaster", "MainPID");
    assert_eq!(boss.sh(&format!("ps -o user= -p {pid}")), "devstack");
    assert_eq!(boss.sh(&format!("grep CapEff /proc/{pid}/status")).split_whitespace().last(), Some("0000000000000000"));
    let token = boss.devstack("token create --role agent-host");
    let token = token.split_whitespace().find(|word| word.starts_with("dsj1/")).unwrap_or(&token).to_owned();

    // An agent host of the same loopback: its engine is not there, which it says; the link stands.
    let args = format!(
        "run --detach --network container:{} --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined \
         --tmpfs /run --tmpfs /run/lock --volume /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd {image} /sbin/init",
        boss.0
    );
    let host = Machine(said("docker", &args.split_whitespace().collect::<Vec<_>>()));
    host.until("systemd is up", |host| host.output("systemctl is-active multi-user.target").status.success());
    host.put(&package, "/devstack.deb");
    host.sh("dpkg --install /devstack.deb");
    host.sh(&format!("devstack-node join --name box1 {token}"));
    host.sh("systemctl enable --now devstack-agent-host");
    boss.until("the host is present", |boss| {
        let hosts = boss.devstack("-o json host list");
        hosts.contains("box1") && hosts.contains(r#""up":true"#)
    });
    boss.sh("systemctl restart devstack-taskmaster");
    boss.until("the host is back", |boss| {
        let hosts = boss.output(&format!("devstack --address {SOCKET} -o json host list"));
        String::from_utf8_lossy(&hosts.stdout).contains(r#""up":true"#)
    });
}

#[test]
fn a_taskmaster_runs_in_an_image_of_its_own() {
    let Some(base) = image() else { return };
    let dir = tempfile::tempdir().unwrap();
    package(dir.path(), "0.1.0");
    fs::copy(source("deploy/image/Dockerfile"), dir.path().join("Dockerfile")).unwrap();
    let tag = format!("devstack-test/taskmaster:{}", std::process::id());
    let context = dir.path().display().to_string();
    let base = format!("BASE={base}");
    said("docker", &["build", "--quiet", "--network", "none", "--tag", &tag, "--build-arg", &base, &context]);

    // As the operations page has it: found, then serve.
    let name = format!("devstack-test-taskmaster-{}", std::process::id());
    let (etc, state) = (format!("{name}-etc:/etc/devstack"), format!("{name}-state:/var/lib/devstack"));
    let volumes = ["--volume", etc.as_str(), "--volume", state.as_str()];
    let init = ["run", "--rm", "--network", "none", "--hostname", "boss", "--entrypoint", "devstack"];
    let words = [tag.as_str(), "cluster", "init", "--no-agents", "--advertise", "boss.example"];
    said("docker", &[init.as_slice(), &volumes, &words].concat());
    let serve = ["run", "--detach", "--network", "none", "--read-only", "--tmpfs", "/run/devstack:uid=997,gid=997"];
    let machine = Machine(said("docker", &[serve.as_slice(), &volumes, &[&tag]].concat()));
    machine.until("it answers", |machine| machine.output("devstack status").status.success());
    assert_eq!(machine.sh("id --user --name"), "devstack");
    assert!(machine.sh("devstack -o json cluster status").contains("boss.example"));
    drop(machine);
    run("docker", &["volume", "rm", &format!("{name}-etc"), &format!("{name}-state")]);
    run("docker", &["image", "rm", &tag]);
}
