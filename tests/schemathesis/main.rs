//! The API's description against a real node: schemathesis reads `/v1/openapi.json`, makes requests of it, right and
//! wrong ones, over TLS with a token, and compares every answer with what the description says.
//! Deliberately absent: `GET /v1/wait`, which may rightly wait for ever; revoking tokens, since it would find its own
//! in the list; and the stream form of facts (their page is asked for).

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

#[path = "../harness/loopback.rs"]
mod loopback;

use loopback::own_address;

/// Pinned: another version finds other things.
const VERSION: &str = "4.32.5";
/// Everything that a described answer can have wrong, and a route that lets in who shows nothing.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,ignored_auth,unsupported_method,allow_header_conformance";
/// Requests of each kind and route; with the seed the same ones every time.
const EXAMPLES: &str = "20";
/// No new requests after so many seconds.
const MAX_TIME: &str = "55";
/// The name of its token.
const TOKEN: &str = "conformance";
const GENEROUS: Duration = Duration::from_secs(120);

/// The program, installed below `target/tools` the first time.
fn schemathesis() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(format!("schemathesis-{VERSION}"));
    let (program, ready) = (dir.join("bin/schemathesis"), dir.join("ready"));
    if ready.exists() {
        return Ok(program);
    }
    let run = |what: &mut Command| match what.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", &format!("schemathesis=={VERSION}")]))?;
    fs::write(ready, "").map_err(|error| error.to_string())?;
    Ok(program)
}

/// A Taskmaster that runs attempts as processes, with a plan that came to rest.
struct Site {
    dir: tempfile::TempDir,
    address: String,
    node: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
        if std::thread::panicking() {
            eprintln!("the node said:\n{}", fs::read_to_string(self.path("node.log")).unwrap_or_default());
        }
    }
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        command
    }

    fn says(&self, args: &[&str]) -> String {
        done(self.command(env!("CARGO_BIN_EXE_devstack"), args).output().unwrap())
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let api = own_address();
        let (ip, address) = (api.ip().to_string(), api.to_string());
        let site = Self { dir, address, node: None };
        let (state, socket) = (site.path("state"), site.path("api.sock"));
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o711)).unwrap();
        let config = format!(
            "[node]\nname = \"box1\"\nstate_dir = {state:?}\n[link]\nlisten = \"{}\"\nadvertise = \"{ip}\"\n[api]\n\
             listen = \"{}\"\nsocket = {socket:?}\n[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\nslots = 2\n",
            own_address(),
            site.address
        );
        fs::write(site.path("node.toml"), config).unwrap();
        site.says(&["cluster", "init", "--name", "test", "--advertise", &ip, "--config", "node.toml"]);
        site
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path("node.log")).unwrap();
        let mut node = self.command(env!("CARGO_BIN_EXE_devstack-node"), &["--config", "node.toml"]);
        self.node = Some(node.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + GENEROUS;
        let answers = || self.command(env!("CARGO_BIN_EXE_devstack"), &["status"]).output().unwrap().status.success();
        while !answers() {
            assert!(Instant::now() < deadline, "the node does not answer");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// A task that is merged, one that failed, one that waits for a person. The names are those of the examples in the
    /// description, so that they are asked for.
    fn work(&self) {
        let git = |args: &[&str]| {
            let name = ["-C", "shop", "-c", "user.name=A Person", "-c", "user.email=person@example.org"];
            done(self.command("git", &[&name, args].concat()).output().unwrap())
        };
        done(self.command("git", &["init", "--quiet", "--initial-branch=main", "shop"]).output().unwrap());
        fs::write(self.path("shop/README"), "a shop\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", "Open the shop"]);
        let plan = "[project]\nname = \"shop\"\nrepo = \"shop\"\n[defaults]\nattempts = 1\nrole = \"dev\"\n\
                    [agents.dev]\ncommand = [\"sh\", \"-c\", \"echo hello; echo done > $DEVSTACK_TASK_ID\"]\n\
                    [[task]]\nid = \"T-001\"\ntitle = \"Login API\"\nprompt = \"Write it.\"\n\
                    [[task]]\nid = \"T-002\"\ncommand = [\"false\"]\n\
                    [[task]]\nid = \"T-003\"\nexecutor = \"human\"\nprompt = \"Look at it.\"\n";
        fs::write(self.path("devstack.toml"), plan).unwrap();
        // 7: it waits for a person.
        let submitted = self.command(env!("CARGO_BIN_EXE_devstack"), &["plan", "submit", "devstack.toml", "--wait"]);
        let submitted = { submitted }.output().unwrap();
        assert_eq!(submitted.status.code(), Some(7), "{}", String::from_utf8_lossy(&submitted.stderr));
    }

    /// What was asked for is in the log of changes: each change of tasks, of one that is there, by a good token.
    fn check_that_it_was_asked(&self) {
        let log = self.says(&["cluster", "audit", "--all", "--who", TOKEN, "-o", "json"]);
        let log: serde_json::Value = serde_json::from_str(&log).unwrap();
        for what in ["stop", "retry", "reject", "approve", "request-changes", "resolve"] {
            let of_task = |change: &&serde_json::Value| {
                let target = change["target"].as_str().unwrap();
                target.starts_with("/v1/tasks/shop/T-00") && target.ends_with(what)
            };
            let asked: Vec<_> = log["changes"].as_array().unwrap().iter().filter(of_task).collect();
            let reached =
                asked.iter().filter(|change| [200, 409].contains(&change["status"].as_u64().unwrap())).count();
            assert!(reached > 0, "{what} reached no task: {asked:?}");
        }
    }
}

#[test]
fn the_server_does_what_its_description_says() {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(why) => return println!("SKIPPED: the API's description against the server: no schemathesis: {why}"),
    };
    let mut site = Site::new();
    site.start();
    site.work();
    let token = site.says(&["token", "create", "--role", "admin", "--name", TOKEN]);
    let ca = site.path("state/cluster/ca.pem");
    let mut run = Command::new(program);
    run.current_dir(site.dir.path()).env_remove("PYTHONPATH");
    run.env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis/hooks.py"));
    run.arg("run").arg(format!("https://{}/v1/openapi.json", site.address));
    run.arg("--tls-verify").arg(ca).args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    run.args(["--header", "Accept: application/json"]);
    run.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    run.args(["--max-time", MAX_TIME, "--seed", "1", "--workers", "2", "--continue-on-failure", "--no-color"]);
    run.args(["--exclude-path", "/v1/wait", "--exclude-path", "/v1/tokens/{id}/revoke", "--request-timeout", "30"]);
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site.check_that_it_was_asked();
}
