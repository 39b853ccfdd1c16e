//! A machine beyond the host, for one test: a network namespace behind a pair of virtual interfaces, with the stub in
//! it. The private bridge keeps containers from the host's own addresses, so the stub cannot be on one.
//!
//! Deliberately absent: the world. Nothing else is reachable there, and only what the host forwards reaches it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{bench::until, stub};

/// Where such machines are.
pub(crate) const NETWORK: &str = "10.232.0.0/16";

const ADDRESS: &str = "DEVSTACK_TEST_ADDRESS";
const GATES: &str = "DEVSTACK_TEST_GATES";

/// The machine; it goes with the value.
pub(crate) struct Beyond {
    name: String,
    address: String,
    child: Option<Child>,
    gates: tempfile::TempDir,
}

/// The stub: this test program once more, inside the namespace. Not a test of its own.
#[tokio::test]
#[ignore = "run by the other tests inside a network namespace"]
async fn the_stub() {
    let listener = tokio::net::TcpListener::bind(std::env::var(ADDRESS).unwrap()).await.unwrap();
    let gates = PathBuf::from(std::env::var(GATES).unwrap());
    std::fs::write(gates.join("ready"), "").unwrap();
    stub::serve(listener, gates).await;
}

impl Beyond {
    /// Sets it up and waits for the stub to answer.
    ///
    /// # Errors
    /// What this machine does not let one do.
    pub(crate) fn new() -> Result<Self, String> {
        let pid = std::process::id();
        // One of the 16,384 networks of four addresses in 10.232.0.0/16: tests run beside each other.
        let (third, fourth) = ((pid % 16_384) / 64, (pid % 64) * 4);
        let (host, guest) = (format!("10.232.{third}.{}", fourth + 1), format!("10.232.{third}.{}", fourth + 2));
        let name = format!("dvt{pid}");
        let gates = tempfile::tempdir().unwrap();
        let mut beyond = Self { name: name.clone(), address: format!("{guest}:80"), child: None, gates };
        let inside = format!("{name}i");
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip link add {name} type veth peer name {inside} netns {name}"))?;
        run(&format!("ip addr add {host}/30 dev {name}"))?;
        run(&format!("ip link set {name} up"))?;
        run(&format!("ip -n {name} addr add {guest}/30 dev {inside}"))?;
        run(&format!("ip -n {name} link set {inside} up"))?;
        for way in ["-i", "-o"] {
            run(&format!("iptables -w 5 -I DOCKER-USER {way} {name} -j ACCEPT"))?;
        }
        let mut stub = Command::new("ip");
        stub.args(["netns", "exec", &name]).arg(std::env::current_exe().unwrap());
        stub.args(["--ignored", "--exact", "net::the_stub"]).stdin(Stdio::null()).stdout(Stdio::null());
        stub.env(ADDRESS, &beyond.address).env(GATES, beyond.gates.path());
        beyond.child = Some(stub.spawn().map_err(|error| format!("ip cannot be run: {error}"))?);
        until("the stub listens", || beyond.gate("ready").exists());
        Ok(beyond)
    }

    /// Where the stub plays a scenario.
    pub(crate) fn url(&self, scenario: &str) -> String {
        format!("http://{}/{scenario}", self.address)
    }

    /// A file where a scenario meets the test.
    pub(crate) fn gate(&self, name: &str) -> PathBuf {
        self.gates.path().join(name)
    }

    /// How many requests it got whose line has this in it.
    pub(crate) fn requests(&self, what: &str) -> usize {
        let lines = read(&self.gate("requests"));
        lines.lines().filter(|line| line.contains(what)).count()
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let name = &self.name;
        for way in ["-i", "-o"] {
            let _ = run(&format!("iptables -w 5 -D DOCKER-USER {way} {name} -j ACCEPT"));
        }
        // The namespace may live on for what was in it: the pair goes by itself.
        let _ = run(&format!("ip link del {name}"));
        let _ = run(&format!("ip netns del {name}"));
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{line}: {error}")),
    }
}
