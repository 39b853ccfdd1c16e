//! What a sandboxed agent sees of the machine: its own files, and no others.

use crate::bench::{Plan, World, task};

#[test]
fn other_attempts_the_store_and_the_person_are_not_visible() {
    let world = World::with_repository();
    std::fs::write(world.root().join("home/diary"), "dear diary").unwrap();
    let base = world.root().display().to_string();
    let spy = format!(
        "attempts=$(dirname \"$(dirname \"$DEVSTACK_WORKSPACE\")\")
        ls \"$attempts\" | grep -v '^shop.SPY.1$' && echo SEEN other attempts
        test -d \"$attempts/shop.SPY.1\" || echo SEEN nothing of its own
        ls {base}/shop/.devstack/store {base}/shop/.devstack/projects {base}/shop/.devstack/logs 2>/dev/null && echo SEEN store
        cat {base}/home/diary {base}/shop/README /root/.bashrc /etc/shadow 2>/dev/null && echo SEEN person
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -e 'run [d]evstack.toml' -e 'OTHE[R]' && echo SEEN processes
        env | grep -e '^HOME=' | grep -v \"$HOME\" && echo SEEN env
        env | cut -d= -f1 | sort | tr '\\n' ' '; id -u; touch /usr/x /etc/x 2>/dev/null && echo SEEN writable
        echo spied"
    );
    world
        .plan(&Plan::new([task("SPY", &spy).with("allow_empty = true"), task("OTHER", "sleep 2; echo other > other")]));
    world.run().expect(0);
    let log = world.log("SPY", 1);
    assert!(log.contains("spied") && !log.contains("SEEN"), "{log}");
    assert!(!log.contains("\n0\n"), "an agent is never root: {log}");
    for foreign in ["GIT_", "CARGO", "SSH", "XDG"] {
        assert!(!log.contains(foreign), "{log}");
    }
}

#[test]
fn a_sandbox_has_no_network() {
    let world = World::with_repository();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 2)\" && echo REACHED; echo tried"
    );
    world.plan(&Plan::new([task("A", &script).with("allow_empty = true")]));
    world.run().expect(0);
    let log = world.log("A", 1);
    assert!(log.ends_with("tried\n") && !log.contains("REACHED"), "{log}");
}
