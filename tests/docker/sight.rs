//! What an agent sees and may change of the world: its own files and nothing else.

use std::fs;

use devstack::runtime::Runtime;
use devstack_dag::{attempt::Outcome, ids::TaskId};

use crate::{harness::*, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn another_attempts_work_and_secrets_are_out_of_sight() {
    let Some(w) = world().await else { return };
    let mut victim = shell(1, "echo work-of-the-victim > mine; touch up; sleep 1001");
    victim.secrets = vec![secret("TOKEN", "victims-own-secret")];
    w.runtime.start(&victim).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let dir = w.attempt_dir(&attempt(1));
    let vault = w.inspect(
        &attempt(1),
        "{{range .HostConfig.Mounts}}{{if eq .Target \"/run/devstack-secrets\"}}{{.Source}}{{end}}{{end}}",
    );
    assert!(fs::exists(&vault).unwrap());
    let script = format!(
        "ls -A {dir} {vault} && echo SAW; \
         grep -rs work-of-the-victim / --include=mine && echo WORK; \
         cat /proc/[0-9]*/environ | grep -a victims && echo SECRET; \
         ls /run/devstack-secrets && echo MINE; \
         test $(ls -d /proc/[0-9]* | wc -l) -lt 8 || echo PROCESSES; \
         grep -v Num /proc/net/unix | grep . && echo SOCKETS; \
         ls -A /dev/shm | grep . && echo SHM; echo done",
        dir = dir.display()
    );
    let mut thief = shell(1, &script);
    thief.attempt.task.id = TaskId::new("T-002").unwrap();
    assert_eq!(run(&w.runtime, &thief).await.outcome, Outcome::Exited(0));
    let text = log(&w.runtime, &thief.attempt).await;
    for word in ["SAW", "WORK", "SECRET", "MINE", "PROCESSES", "SOCKETS", "SHM"] {
        assert!(!text.lines().any(|line| line == word), "{word}: {text}");
    }
    assert!(text.ends_with("done\n") && !text.contains("victims-own"), "{text}");
    assert_eq!(said_of(&thief.attempt).len(), 1);
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_where_the_contract_says_and_nowhere_else() {
    let Some(w) = world().await else { return };
    let script = "{ find / -path /proc -prune -o -path /sys -prune -o -type d -print 2>/dev/null; \
                  for d in in out shim home tmp workspace; do echo /devstack/$d; done; } | while read d; do \
                  (: > $d/.w) 2>/dev/null && { echo \"$d\"; rm -f $d/.w; }; done | sort; echo --; \
                  find / -xdev -type f -print 2>/dev/null | while read f; do [ -w $f ] && echo FILE $f; done; \
                  for f in /devstack/spec.json /devstack/in/prompt.md /devstack/in/task.json /run/devstack-shim; do \
                  (echo x >> $f) 2>/dev/null && echo WROTE $f; mv $f $f.x 2>/dev/null && echo MOVED $f; done; \
                  for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/overcommit_memory /sys/fs/cgroup/*/release_agent \
                  /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/memory.max; do (echo x > $f) 2>/dev/null && echo WROTE $f; done; \
                  mount -t tmpfs x /mnt 2>/dev/null && echo MOUNTED; mount -o remount,rw / 2>/dev/null && echo REMOUNTED; \
                  umount /devstack/in 2>/dev/null && echo UNMOUNTED; mknod /tmp/d b 1 1 2>/dev/null && echo DEVICE; \
                  unshare -r true 2>/dev/null && echo UNSHARED; chroot / true 2>/dev/null && echo CHROOTED; \
                  ls /dev; ls /var/run/docker.sock /run/docker.sock /run/containerd 2>/dev/null; true";
    assert_eq!(run(&w.runtime, &shell(1, script)).await.outcome, Outcome::Exited(0));
    let text = log(&w.runtime, &attempt(1)).await;
    let (writable, rest) = text.split_once("--\n").unwrap();
    let mut lines: Vec<_> = writable.lines().collect();
    lines.sort();
    let own = ["/dev/mqueue", "/dev/shm", "/devstack/out", "/devstack/shim", "/home/devstack", "/tmp", "/workspace"];
    assert_eq!(lines, own, "{text}");
    // What a container needs, and no disk, no memory, no kernel log.
    let devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    // `core` is a link that some kernels add.
    let seen = rest.split_ascii_whitespace().filter(|name| *name != "core");
    assert_eq!(seen.collect::<Vec<_>>().join(" "), devices);
    w.remove(&attempt(1)).await;
}
