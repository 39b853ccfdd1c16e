//! What the engine and the kernel show of a running attempt.

use std::fs;

use devstack::{runtime::Runtime, telemetry::trace_id};
use devstack_dag::plan::Limits;
use devstack_shim::procs;

use crate::{harness::*, world::*};

/// Everything in a container runs as nobody in particular, may nothing, and stays within its limits: the supervisor
/// too.
#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_shows_a_container_without_any_right() {
    let Some(w) = world().await else { return };
    let mut job = shell(1, "touch up; sleep 1001");
    job.limits = Limits { memory: Some(64 << 20), pids: Some(50), cpu_millis: Some(500) };
    w.runtime.start(&job).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let shim = w.pid(&attempt(1));
    let agents = procs::descendants(&procs::all().unwrap(), &[shim]);
    assert!(!agents.is_empty());
    for pid in agents.iter().map(|process| process.pid).chain([shim]) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid"), ["10001"; 4]);
        assert_eq!(field("Gid"), ["10001"; 4]);
        assert!(field("Groups").iter().all(|group| group == "10001"), "{status}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), ["0000000000000000"], "{set}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(limit("Max core file size").split_ascii_whitespace().rev().take(3).skip(1).all(|v| v == "0"));
        assert!(limit("Max file size").contains(&(20u64 << 30).to_string()), "{limits}");
        for space in ["net", "pid", "mnt", "ipc", "uts"] {
            let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{space}")).unwrap();
            assert_ne!(of(&pid.to_string()), of("self"), "{space}");
        }
    }
    let mounts = fs::read_to_string(format!("/proc/{shim}/mountinfo")).unwrap();
    let options = |target: &str| {
        let line =
            mounts.lines().find(|line| line.split(' ').nth(4) == Some(target)).unwrap_or_else(|| panic!("{mounts}"));
        (line.split(' ').nth(5).unwrap().to_owned(), line.to_owned())
    };
    for read_only in ["/", "/devstack", "/run/devstack-shim", "/sys"] {
        assert!(options(read_only).0.starts_with("ro,"), "{read_only}: {}", options(read_only).1);
    }
    for tmpfs in ["/tmp", "/home/devstack"] {
        let (flags, line) = options(tmpfs);
        assert!(flags.contains("nosuid") && flags.contains("nodev") && line.contains(" - tmpfs "), "{line}");
        assert!(line.contains("size=32768k"), "half of its memory each: {line}");
    }
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_shows_what_was_asked_for_and_whose_it_is() {
    let Some(w) = world().await else { return };
    let mut job = shell(1, "sleep 1001");
    job.limits = Limits { memory: Some(64 << 20), pids: Some(50), cpu_millis: Some(500) };
    w.runtime.start(&job).await.unwrap();
    let show = |template: &str| w.inspect(&attempt(1), template);
    let label = |name: &str| show(&format!("{{{{index .Config.Labels \"devstack.{name}\"}}}}"));
    assert_eq!(show("{{.Name}}"), format!("/devstack.{}.shop.T-001.1", w.installation));
    assert_eq!(["installation", "project", "task", "attempt"].map(label), [&w.installation, "shop", "T-001", "1"]);
    assert_eq!(["host", "trace.id"].map(label), ["localhost", &trace_id("shop", "T-001")]);
    let deadline: jiff::Timestamp = label("deadline").parse().unwrap();
    let left = deadline.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((0..=600).contains(&left), "{left}");
    let host = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}} \
                {{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} \
                {{index .HostConfig.SecurityOpt 0}} {{.Config.User}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.IpcMode}} \
                {{.HostConfig.LogConfig.Config}}";
    assert_eq!(
        show(host),
        "67108864 67108864 50 500000000 none true false [ALL] no-new-privileges:true 10001:10001 no private \
         map[labels:devstack.project,devstack.task,devstack.attempt,devstack.host,devstack.trace.id max-file:3 max-size:10m]"
    );
    let profile = show("{{index .HostConfig.SecurityOpt 1}}");
    assert!(profile.starts_with("seccomp={") && profile.contains("io_uring_setup"), "{profile}");
    w.remove(&attempt(1)).await;
}
