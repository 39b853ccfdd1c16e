//! A cluster of real processes on loopback: founded, joined, used over https, and refused to those who may not.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    loopback::own_address,
    node::{Ran, plan},
};

/// A wait that is longer than this is a failure, on however busy a machine.
const GENEROUS: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A machine with a person's home, where a cluster is founded.
pub struct Founder {
    dir: tempfile::TempDir,
    api: String,
    node: Option<Child>,
}

impl Drop for Founder {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Founder {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        Self { dir, api: own_address().to_string(), node: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path("elsewhere")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.path("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn devstack(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(env!("CARGO_BIN_EXE_devstack"), args).output().unwrap())
    }

    pub fn init(&self, life: &str) -> Ran {
        let (config, state, link) = (self.path("node.toml"), self.path("state"), own_address().to_string());
        let ip = self.api.parse::<SocketAddr>().unwrap().ip().to_string();
        self.devstack(&[
            "cluster",
            "init",
            "--name",
            "test",
            "--advertise",
            &ip,
            "--api-listen",
            &self.api,
            "--link-listen",
            &link,
            "--certificate-life",
            life,
            "--config",
            config.to_str().unwrap(),
            "--state-dir",
            state.to_str().unwrap(),
        ])
    }

    /// Starts the node of the configuration that `init` wrote, and waits until it answers.
    pub fn start(&mut self) {
        let config = self.path("node.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}\n[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\n")).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_devstack-node"), &["--config", config.to_str().unwrap()]);
        let log = fs::File::create(self.path("node.log")).unwrap();
        self.node = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        self.wait_until("the node answers", |founder| founder.devstack(&["status"]).code == Some(0));
    }

    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + GENEROUS;
        while !holds(self) {
            let ended = self.node.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(self.path("node.log")).unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "never: {what}\n{}", log());
            std::thread::sleep(PAUSE);
        }
    }

    pub fn token(&self, role: &str) -> String {
        let ran = self.devstack(&["token", "create", "--role", role]);
        assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "{ran:?}");
        ran.out.trim().to_owned()
    }

    pub fn join(&self, token: &str, name: &str, place: &str) -> Ran {
        let (config, state) = (self.path(&format!("{place}.toml")), self.path(place));
        let args = ["join", token, "--name", name, "--config", config.to_str().unwrap()];
        let mut command = self.command(env!("CARGO_BIN_EXE_devstack-node"), &args);
        Ran::from(command.args(["--state-dir", state.to_str().unwrap()]).output().unwrap())
    }

    /// The exit code and the stable code of a command that is refused.
    pub fn refused(&self, args: &[&str]) -> (Option<i32>, String) {
        let ran = self.devstack(&[args, &["-o", "json"]].concat());
        let error = ran.error();
        assert!(error["hint"].is_string(), "{error}");
        (ran.code, error["code"].as_str().unwrap().to_owned())
    }

    pub fn members(&self) -> Vec<Value> {
        self.devstack(&["cluster", "status", "-o", "json"]).json()["members"].as_array().unwrap().clone()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[test]
fn a_cluster_is_founded_joined_and_used() {
    let mut founder = Founder::new();
    let made = founder.init("30d");
    assert_eq!(made.code, Some(0), "{made:?}");
    let contexts = founder.path("home/.config/devstack");
    for secret in ["home/.config/devstack/test.token", "state/cluster/ca-key.pem", "state/cluster/node.pem"] {
        assert_eq!(mode(&founder.path(secret)), 0o600, "{secret}");
    }
    let token = fs::read_to_string(contexts.join("test.token")).unwrap();
    assert!(!made.out.contains(token.trim()) && !made.err.contains(token.trim()));
    // Again changes nothing, and says so.
    let before = fs::read(founder.path("state/cluster/members.json")).unwrap();
    let again = founder.init("30d");
    assert!(again.code == Some(0) && again.out.contains("already exists"), "{again:?}");
    assert_eq!(fs::read(founder.path("state/cluster/members.json")).unwrap(), before);

    founder.start();
    let page = founder.devstack(&["cluster", "status", "-o", "json"]).json();
    assert_eq!(page["api_address"].as_str(), Some(founder.api.as_str()));
    let file = founder.path("plan.toml");
    fs::write(&file, plan("shop", "[[task]]\nid = \"a\"\ntitle = \"By hand\"\nexecutor = \"human\"\nprompt = \"x\"\n"))
        .unwrap();
    assert_eq!(founder.devstack(&["plan", "submit", file.to_str().unwrap()]).code, Some(0));
    assert_eq!(founder.devstack(&["task", "list", "-o", "json"]).json()["tasks"][0]["id"], "a");

    let token = founder.token("agent-host");
    let joined = founder.join(&token, "node-2", "second");
    assert_eq!(joined.code, Some(0), "{joined:?}");
    assert_eq!((mode(&founder.path("second/cluster")), mode(&founder.path("second/cluster/node.pem"))), (0o700, 0o600));
    let config = founder.path("second.toml");
    let mut check = founder.command(env!("CARGO_BIN_EXE_devstack-node"), &["check"]);
    assert!(check.arg("--config").arg(config).output().unwrap().status.success());
    assert!(founder.members().iter().any(|member| member["name"] == "node-2"));

    for (token, name, place, code, says) in [
        (token.as_str(), "node-3", "third", 4, "already used, by node-2"),
        (&founder.token("agent-host"), "node-2", "third", 5, "already a member of the cluster"),
        (&founder.token("agent-host"), "NODE-2", "third", 5, "already a member of the cluster"),
        (&founder.token("agent-host"), "localhost", "third", 5, "the name of the Taskmaster"),
        (&founder.token("agent-host"), "a b", "third", 2, "--name"),
        (&founder.token("agent-host"), "node-3", "second", 5, "already exists"),
        ("hello", "node-3", "third", 2, "not a join token"),
        (&wrong_ca(&token), "node-3", "third", 6, "the secret was not sent"),
        (&token.replace(&founder.api, &own_address().to_string()), "node-3", "third", 6, "does not answer"),
    ] {
        let ran = founder.join(token, name, place);
        assert!(ran.code == Some(code) && ran.err.contains(says), "{name}: {ran:?}");
        assert!(ran.err.contains("hint: "), "{ran:?}");
        assert!(!ran.err.contains(token.rsplit('/').next().unwrap()) || token == "hello", "{ran:?}");
        assert!(!founder.path("third.toml").exists() && !founder.path("third/cluster").exists());
    }
    // A token on stdin stands in no list of processes.
    let token = founder.path("join-token");
    fs::write(&token, format!("{}\n", founder.token("agent-host"))).unwrap();
    let (config, state) = (founder.path("fourth.toml"), founder.path("fourth"));
    let mut join = founder.command(env!("CARGO_BIN_EXE_devstack-node"), &["join", "-", "--name", "node-4"]);
    join.arg("--config").arg(&config).arg("--state-dir").arg(&state).stdin(fs::File::open(&token).unwrap());
    assert!(join.output().unwrap().status.success() && config.exists());

    let revoked = founder.devstack(&["token", "create", "--role", "agent-host", "--name", "lost", "--expires", "1h"]);
    assert_eq!(founder.devstack(&["token", "revoke", "lost"]).code, Some(0));
    let ran = founder.join(revoked.out.trim(), "node-3", "third");
    assert!(ran.code == Some(4) && ran.err.contains("revoked"), "{ran:?}");
}

#[test]
fn hosts_of_a_cluster_are_drained_and_removed() {
    let mut founder = Founder::new();
    founder.init("30d");
    founder.start();
    let own = founder.members()[0]["name"].as_str().unwrap().to_owned();
    let host = |founder: &Founder| founder.devstack(&["host", "show", &own, "-o", "json"]).json()["host"].clone();
    founder.wait_until("the host is there", |founder| {
        founder.devstack(&["host", "show", &own]).code == Some(0) && host(founder)["presence"] == "present"
    });
    assert_eq!((&host(&founder)["runtime"], &host(&founder)["roles"]), (&"process".into(), &serde_json::json!([])));
    let free = host(&founder)["free"].clone();
    assert_eq!(founder.devstack(&["host", "drain", &own, "--deadline", "1h"]).code, Some(0));
    assert_eq!(host(&founder)["free"], 0);
    assert!(host(&founder)["drain"]["until"].is_string());
    assert_eq!(founder.devstack(&["host", "undrain", &own]).code, Some(0));
    assert_eq!(host(&founder)["free"], free);
    assert_eq!(founder.refused(&["host", "remove", &own]), (Some(5), "DS0222".to_owned()), "it is in use");
    assert_eq!(founder.refused(&["host", "remove", &own, "--force"]), (Some(5), "DS0313".to_owned()));

    // A machine that joined and never came.
    assert_eq!(founder.join(&founder.token("agent-host"), "node-2", "second").code, Some(0));
    let removed = founder.devstack(&["host", "remove", "node-2"]);
    assert!(removed.code == Some(0) && removed.out.contains("join again with a new token"), "{removed:?}");
    assert_eq!(founder.devstack(&["host", "remove", "node-2"]).out, "nothing to change\n");
    let node = founder.members().into_iter().find(|member| member["name"] == "node-2").unwrap();
    assert!(node["removed_at"].is_string(), "{node}");
    assert_eq!(founder.refused(&["host", "remove", "node-3"]), (Some(3), "DS0221".to_owned()));
    assert_eq!(founder.join(&founder.token("agent-host"), "node-2", "third").code, Some(0), "its name is free");
}

/// The token with another fingerprint.
fn wrong_ca(token: &str) -> String {
    let parts: Vec<&str> = token.split('/').collect();
    let other = if parts[2].starts_with('0') { "1" } else { "0" };
    format!("{}/{}/{other}{}/{}/{}", parts[0], parts[1], &parts[2][1..], parts[3], parts[4])
}

#[test]
fn refusals_have_their_exit_codes() {
    let mut founder = Founder::new();
    founder.init("30d");
    let unreachable = founder.refused(&["status"]);
    assert_eq!(unreachable, (Some(6), "DS0402".to_owned()), "no node runs yet");
    founder.start();
    let address = format!("https://{}", founder.api);
    let viewer = founder.path("viewer.token");
    fs::write(&viewer, founder.token("viewer")).unwrap();
    fs::set_permissions(&viewer, fs::Permissions::from_mode(0o600)).unwrap();
    let viewer = viewer.to_str().unwrap();
    let with = |args: &[&str]| founder.refused(&[args, &["--token-file", viewer]].concat());
    assert_eq!(founder.devstack(&["task", "list", "--token-file", viewer]).code, Some(0));
    assert_eq!(with(&["project", "pause", "shop"]), (Some(4), "DS0313".to_owned()));
    assert_eq!(with(&["token", "create", "--role", "admin"]), (Some(4), "DS0313".to_owned()));
    assert_eq!(founder.devstack(&["token", "revoke", &token_of(&founder, "viewer")]).code, Some(0));
    assert_eq!(with(&["task", "list"]), (Some(4), "DS0312".to_owned()), "revoked");

    let other = Founder::new();
    other.init("30d");
    let ca = other.path("home/.config/devstack/test-ca.pem");
    let wrong_ca = founder.refused(&["status", "--ca-file", ca.to_str().unwrap()]);
    assert_eq!(wrong_ca, (Some(6), "DS0411".to_owned()));
    let no_token = founder.refused(&["status", "--address", &format!("{address}0")]);
    assert_eq!(no_token, (Some(2), "DS0401".to_owned()), "a token goes to its own cluster only");
    let plain = founder.refused(&["status", "--address", &address.replace("https", "http")]);
    assert_eq!(plain, (Some(2), "DS0401".to_owned()));
    assert_eq!(founder.refused(&["status", "--context", "nowhere"]), (Some(2), "DS0401".to_owned()));
    assert_eq!(founder.refused(&["status", "--context", "local"]), (Some(6), "DS0402".to_owned()));
}

/// The id of the live token with this role.
fn token_of(founder: &Founder, role: &str) -> String {
    let tokens = founder.devstack(&["token", "list", "-o", "json"]).json()["tokens"].clone();
    let found = tokens.as_array().unwrap().iter().find(|token| token["role"] == role && token["state"] == "live");
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_taskmaster_renews_its_certificate_while_it_runs() {
    let mut founder = Founder::new();
    founder.init("6s");
    founder.start();
    let until = |founder: &Founder| founder.members()[0]["certificate_expires_at"].as_str().unwrap().to_owned();
    let first = until(&founder);
    founder.wait_until("a second certificate", |founder| until(founder) > first);
    let second = until(&founder);
    founder.wait_until("a third certificate", |founder| until(founder) > second);
}

#[test]
fn what_cannot_be_founded_leaves_nothing_behind() {
    let founder = Founder::new();
    let (state, config) = (founder.path("state"), founder.path("node.toml"));
    fs::write(founder.path("file"), "").unwrap();
    let init = |args: &[&str]| {
        let state = state.to_str().unwrap();
        founder.devstack(&[&["cluster", "init", "--state-dir", state], args].concat())
    };
    let below_a_file = founder.path("file/node.toml");
    for (args, code) in [
        (&["--config", below_a_file.to_str().unwrap()][..], 1),
        (&["--config", config.to_str().unwrap(), "--advertise", "host:7421"], 2),
        (&["--config", config.to_str().unwrap(), "--name", " "], 2),
        (&["--config", config.to_str().unwrap(), "--name", "local"], 2),
        (&["--config", config.to_str().unwrap(), "--certificate-life", "10ms"], 2),
    ] {
        let ran = init(args);
        assert!(ran.code == Some(code) && ran.err.starts_with("error: "), "{args:?}: {ran:?}");
        assert!(!state.exists() && !config.exists(), "{args:?}");
    }
    // A context of that name is somebody's way to another cluster.
    let contexts = founder.path("home/.config/devstack");
    fs::create_dir_all(&contexts).unwrap();
    let mine = "default = \"devstack\"\n[context.devstack]\naddress = \"unix:///x\"\n";
    fs::write(contexts.join("config.toml"), mine).unwrap();
    let ran = init(&["--config", config.to_str().unwrap()]);
    assert!(ran.code == Some(2) && ran.err.contains("--name") && !state.exists(), "{ran:?}");
    assert_eq!(fs::read_to_string(contexts.join("config.toml")).unwrap(), mine);
}

#[test]
fn a_configuration_that_is_there_is_used_and_kept() {
    let founder = Founder::new();
    let (state, config) = (founder.path("state"), founder.path("node.toml"));
    let text = format!("[node]\nname = \"boss\"\nstate_dir = \"{}\"\n", state.display());
    fs::write(&config, &text).unwrap();
    let config = config.to_str().unwrap();
    let ran = founder.devstack(&["cluster", "init", "--config", config, "--state-dir", "/elsewhere"]);
    assert!(ran.code == Some(2) && !state.exists(), "{ran:?}");
    let ran = founder.devstack(&["cluster", "init", "--config", config]);
    assert!(ran.code == Some(0) && ran.out.contains("write `listen` into [api] and [link]"), "{ran:?}");
    assert_eq!(fs::read_to_string(config).unwrap(), text);
    let again = founder.devstack(&["cluster", "init", "--config", config, "-o", "json"]).json();
    assert_eq!((&again["taskmaster"], &again["created"]), (&"boss".into(), &false.into()));
    assert!(!founder.path("home/.config/devstack/config.toml").exists(), "there is no address to write down");
}

#[test]
fn a_node_without_a_cluster_listens_to_nobody_but_its_socket() {
    let founder = Founder::new();
    let config = founder.path("node.toml");
    let state = founder.path("state");
    fs::write(&config, format!("[node]\nstate_dir = \"{}\"\n[api]\nlisten = \"{}\"\n", state.display(), founder.api))
        .unwrap();
    let ran = founder.command(env!("CARGO_BIN_EXE_devstack-node"), &["--config", config.to_str().unwrap()]).output();
    let ran = Ran::from(ran.unwrap());
    assert!(ran.code == Some(1) && ran.err.contains("devstack cluster init"), "{ran:?}");
}
