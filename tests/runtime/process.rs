//! What an agent as a process may do, and what becomes of it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use devstack::runtime::{Ended, Job, ProcessConfig, Runtime, Sandbox, TAIL_MAX};
use devstack_dag::{attempt::Outcome, plan::Limits};
use devstack_shim::{layout, procs};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::harness::*;

/// Without a sandbox, and inside one where it holds.
fn both() -> Vec<Scratch> {
    let mut both = vec![Scratch::new(Sandbox::Off)];
    both.extend(sandboxed());
    both
}

async fn run_both(job: Job, check: impl Fn(&Scratch, Ended, String)) {
    for scratch in both() {
        let ended = run(&scratch.runtime, &job).await;
        let text = log(&scratch.runtime, &job.attempt).await;
        check(&scratch, ended, text);
    }
}

/// Processes that hold this installation's mark.
pub(crate) fn marked(scratch: &Scratch) -> Vec<i32> {
    let label = scratch.dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    let needle = format!("DEVSTACK_ATTEMPT_KEY={label}/").into_bytes();
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(needle.len()).any(|window| window == needle)
    };
    procs::all().unwrap().into_iter().filter(|p| p.is_alive()).map(|p| p.pid).filter(has).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_told_from_an_exit() {
    run_both(shell(1, "kill -SEGV $$"), |_, ended, _| assert_eq!(ended.outcome, Outcome::Signalled(11))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_named() {
    run_both(job(1, &["no-such-agent", "--fast"]), |_, ended, _| {
        let Outcome::Infrastructure(why) = ended.outcome else { panic!("{:?}", ended.outcome) };
        assert!(why.contains("`no-such-agent` was not found in the agent's PATH"), "{why}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_the_contracts_and_nothing_of_the_host() {
    // The test's own environment is full of things that must not be there (CARGO_*, HOME, USER).
    run_both(shell(1, "env | cut -d= -f1 | sort"), |_, _, text| {
        let mut expected = vec![
            "DEVSTACK_AGENT",
            "DEVSTACK_ATTEMPT",
            "DEVSTACK_ATTEMPT_KEY",
            "DEVSTACK_OUT",
            "DEVSTACK_PROJECT",
            "DEVSTACK_PROMPT_FILE",
            "DEVSTACK_ROLE",
            "DEVSTACK_TASK_FILE",
            "DEVSTACK_TASK_ID",
            "DEVSTACK_WORKSPACE",
            "HOME",
            "LANG",
            "PATH",
            "TMPDIR",
            "PWD",
        ];
        expected.sort();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_is_on_stdin_and_in_files() {
    let mut job = shell(
        1,
        "cat; cat $DEVSTACK_PROMPT_FILE $DEVSTACK_TASK_FILE; echo '{\"summary\":\"s\"}' > $DEVSTACK_OUT/result.json",
    );
    job.prompt = "do it\n".into();
    run_both(job, |_, ended, text| {
        assert_eq!(text, "do it\ndo it\n{\"id\":\"T-001\"}");
        assert_eq!(ended.result_json.as_deref(), Some(b"{\"summary\":\"s\"}\n".as_slice()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_read_a_large_prompt_is_not_waited_for() {
    let mut job = shell(1, "exit 0");
    job.prompt = "x".repeat(4 << 20);
    run_both(job, |_, ended, _| assert_eq!(ended.outcome, Outcome::Exited(0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_never_root_and_cannot_become_it() {
    run_both(shell(1, "id -u; grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status"), |_, _, text| {
        let uid = if geteuid().is_root() { 10_001 } else { geteuid().as_raw() };
        assert_eq!(text.lines().next().unwrap(), uid.to_string());
        assert!(text.contains("NoNewPrivs:\t1"), "{text}");
        assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shims_files_and_memory_are_closed_to_the_agent() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: without root the agent is the shim's user");
    }
    let script = "for f in shim/exit.json shim/log shim/pid spec.json; do echo forged > ../$f && echo WROTE $f; done; \
                  cat /proc/$PPID/environ && echo READ; ls /proc/$PPID/fd && echo LISTED; mv ../shim ../x && echo MOVED; true";
    run_both(shell(1, script), |_, ended, text| {
        assert_eq!(ended.outcome, Outcome::Exited(0));
        for word in ["WROTE", "READ", "LISTED", "MOVED"] {
            assert!(!text.lines().any(|line| line.starts_with(word)), "{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_asks_first_and_then_kills() {
    let mut polite = shell(1, "trap 'echo asked; exit 0' TERM; echo ready; for i in $(seq 4000); do sleep 0.05; done");
    polite.timeout_ms = 300;
    run_both(polite, |_, ended, text| {
        assert_eq!(ended.outcome, Outcome::TimedOut);
        assert!(text.contains("asked"), "{text}");
    })
    .await;
    let mut deaf = shell(2, "trap '' TERM; for i in $(seq 4000); do sleep 0.05; done");
    (deaf.timeout_ms, deaf.grace_ms) = (100, 100);
    run_both(deaf, |_, ended, _| assert_eq!(ended.outcome, Outcome::TimedOut)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idleness_is_neither_output_nor_processor_time() {
    let mut idle = shell(1, "sleep 1000");
    idle.idle_timeout_ms = 300;
    run_both(idle, |_, ended, _| assert_eq!(ended.outcome, Outcome::Stalled)).await;
    // Longer than the limit each, by a clock of their own that idleness cannot hurry.
    let mut busy = shell(2, "timeout 2 sh -c 'while :; do :; done'; exit 7");
    busy.idle_timeout_ms = 1000;
    run_both(busy, |_, ended, _| assert_eq!(ended.outcome, Outcome::Exited(7))).await;
    let mut talking = shell(3, "for i in $(seq 15); do echo $i; sleep 0.1; done; exit 8");
    talking.idle_timeout_ms = 1000;
    run_both(talking, |_, ended, _| assert_eq!(ended.outcome, Outcome::Exited(8))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_agent_and_no_disk() {
    let mut job = shell(
        1,
        "echo plain $TOKEN; printf '%s' \"$TOKEN\" | base64; printf hunter; sleep 0.3; echo 2-secret/99; [ ${#TOKEN} = 17 ]",
    );
    job.secrets = vec![secret("TOKEN", "hunter2-secret/99")];
    assert!(!format!("{job:?}").contains("hunter2"));
    for scratch in both() {
        let ended = run(&scratch.runtime, &job).await;
        assert_eq!(ended.outcome, Outcome::Exited(0));
        let text = log(&scratch.runtime, &job.attempt).await;
        assert!(text.starts_with("plain ***\n***"), "{text}");
        assert!(!text.contains("hunter2") && !ended.tail.contains("hunter2"), "{text}");
        let grep =
            std::process::Command::new("grep").args(["-rl", "hunter2"]).arg(scratch.dir.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
    }
    run_both(shell(2, "echo [$TOKEN]"), |_, _, text| assert_eq!(text, "[]\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gigabytes_of_output_are_bounded_on_disk_and_in_memory() {
    let scratch = Scratch::new(Sandbox::Off);
    let log_max = ProcessConfig::new("/".into(), String::new()).log_max;
    // Its parent is the shim, which holds what it has not written: the most it ever held is its last word but one.
    let job = shell(
        1,
        "echo first; dd if=/dev/zero bs=1M count=10240 status=none; echo; grep VmHWM /proc/$PPID/status; echo last",
    );
    let ended = run(&scratch.runtime, &job).await;
    assert_eq!(ended.outcome, Outcome::Exited(0));
    let text = log(&scratch.runtime, &job.attempt).await;
    assert!((text.len() as u64) < log_max + 100, "{}", text.len());
    assert!(text.starts_with("first\n\0") && text.ends_with("kB\nlast\n"), "{}", &text[text.len() - 100..]);
    assert!(text.contains("bytes left out]"));
    assert!(ended.tail.ends_with("last\n") && ended.tail.len() as u64 <= TAIL_MAX);
    let (_, held) = text.split_once("VmHWM:").unwrap();
    let held: u64 = held.split_whitespace().next().unwrap().parse().unwrap();
    assert!(held << 10 < log_max * 2, "the shim held {held} kB");
    scratch.runtime.remove(&job.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_leaves_running_is_ended() {
    let script = "sleep 1001 & setsid sleep 1002 & (setsid sh -c 'trap \"\" TERM HUP; sleep 1003 & wait' &) ; \
                  (setsid env -i /bin/sleep 1004 &) ; echo started";
    run_both(shell(1, script), |scratch, ended, _| {
        assert_eq!(ended.outcome, Outcome::Exited(0));
        assert!(marked(scratch).is_empty());
        assert!(!running("sleep 1004", scratch), "a process without our mark is left");
    })
    .await;
}

/// Is there a process of the agents with this command line, below this scratch's attempts?
fn running(command: &str, scratch: &Scratch) -> bool {
    procs::all().unwrap().into_iter().filter(|process| process.is_alive()).any(|process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let cwd = fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(command) && cwd.starts_with(scratch.dir.path())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_bounded_and_ended() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: a limit of processes needs root");
    }
    let mut job = shell(1, "bomb() { bomb | bomb & }; bomb; sleep 1000");
    job.limits = Limits { pids: Some(60), ..Limits::default() };
    job.timeout_ms = 1500;
    job.grace_ms = 100;
    run_both(job, |scratch, ended, _| {
        assert!(matches!(ended.outcome, Outcome::TimedOut | Outcome::Exited(_)), "{:?}", ended.outcome);
        assert!(marked(scratch).is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_told_from_other_ends() {
    let mut job = shell(1, "sh -c 'x=$(head -c 400000000 /dev/zero | tr \\\\0 x)'; exit 9");
    job.limits = Limits { memory: Some(60 << 20), ..Limits::default() };
    if !geteuid().is_root() || !Path::new("/sys/fs/cgroup/memory").exists() {
        return eprintln!("SKIPPED: memory is limited by groups, which need root");
    }
    run_both(job, |_, ended, _| assert_eq!(ended.outcome, Outcome::OutOfMemory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_is_an_infrastructure_failure_and_leaves_nothing() {
    let s = Scratch::new(Sandbox::Off);
    let script =
        "setsid sleep 1001 & (cd /; setsid env -i /bin/sleep 1002 &); sleep 0.2; echo ready; kill -9 $PPID; sleep 1003";
    let ended = run(&s.runtime, &shell(1, script)).await;
    assert!(matches!(ended.outcome, Outcome::Infrastructure(_)), "{ended:?}");
    assert!(ended.harvest.again);
    assert!(marked(&s).is_empty());
    s.runtime.remove(&attempt(1)).await.unwrap();
    assert!(!s.attempt_dir(&attempt(1)).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_sandbox_the_shim_cannot_be_killed() {
    let Some(s) = sandboxed() else { return };
    let ended = run(&s.runtime, &shell(1, "kill -9 $PPID; kill -STOP $PPID; kill -9 -1; exit 3")).await;
    assert!(matches!(ended.outcome, Outcome::Exited(_) | Outcome::Signalled(9)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shim_does_not_outlast_the_hosts_own_deadline() {
    let s = Scratch::with(Sandbox::Off, |config| config.margin = std::time::Duration::from_millis(500));
    let mut job = shell(1, "kill -STOP $PPID; sleep 1000");
    (job.timeout_ms, job.grace_ms) = (300, 100);
    assert_eq!(run(&s.runtime, &job).await.outcome, Outcome::TimedOut);
    assert!(marked(&s).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_records_of_every_kind_are_harmless() {
    // As the node finds them when the agent is the shim's user: planted after the end, before it is asked for.
    let s = Scratch::new(Sandbox::Off);
    run(&s.runtime, &shell(1, "exit 0")).await;
    let exit = s.attempt_dir(&attempt(1)).join("shim/exit.json");
    let plant: [&dyn Fn(); 5] = [
        &|| fs::write(&exit, "{\"version\":1,").unwrap(),
        &|| fs::write(&exit, vec![b'['; 1 << 20]).unwrap(),
        &|| std::os::unix::fs::symlink("/etc/passwd", &exit).unwrap(),
        &|| nix::unistd::mkfifo(&exit, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        &|| fs::create_dir(&exit).unwrap(),
    ];
    for plant in plant {
        let _ = fs::remove_file(&exit);
        plant();
        assert!(matches!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::Infrastructure(_)));
    }
    let out = s.attempt_dir(&attempt(1)).join("out/result.json");
    nix::unistd::mkfifo(&out, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(wait(&s.runtime, &attempt(1)).await.result_json, None);
    s.runtime.remove(&attempt(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_directories_are_removed() {
    run_both(shell(1, "mkdir -p a/b/c; touch a/b/c/f; chmod 0 a/b/c a/b a ../home ../tmp"), |_, _, _| {}).await;
    let s = Scratch::new(Sandbox::Off);
    run(&s.runtime, &shell(1, "mkdir -p a/b; touch a/b/f; chmod 0 a/b a; chmod 0 .")).await;
    s.runtime.remove(&attempt(1)).await.unwrap();
    assert!(!s.attempt_dir(&attempt(1)).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandboxed_agent_sees_its_own_files_only() {
    let Some(s) = sandboxed() else { return };
    let private = tempfile::tempdir().unwrap();
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(private.path().join("secret"), "x").unwrap();
    let other = run(&s.runtime, &shell(1, "echo mine > file; chmod -R 777 . ..")).await;
    assert_eq!(other.outcome, Outcome::Exited(1));
    let script = format!(
        "ls {} {} && echo SAW; ls /home /root /work 2>/dev/null | grep . && echo HOME; \
         test $(ls -d /proc/[0-9]* | wc -l) -lt 6 || echo PROCESSES; touch /usr/x /etc/x ../x 2>/dev/null && echo WROTE; \
         cat /proc/net/dev | grep -c : ; true",
        private.path().display(),
        s.attempt_dir(&attempt(1)).display()
    );
    run(&s.runtime, &shell(2, &script)).await;
    let text = log(&s.runtime, &attempt(2)).await;
    for word in ["SAW", "HOME", "PROCESSES", "WROTE"] {
        assert!(!text.contains(word), "{text}");
    }
    assert!(text.ends_with("1\n"), "only the loopback device: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_followed_while_it_grows() {
    let s = Scratch::new(Sandbox::Off);
    let go = s.dir.path().join("go");
    let script = format!("echo one; while ! test -e {}; do sleep 0.02; done; echo two", go.display());
    s.runtime.start(&shell(1, &script)).await.unwrap();
    let mut reader = s.runtime.log(&attempt(1), 0, true).await.unwrap();
    let first = tokio::time::timeout(GENEROUS, reader.next()).await.unwrap().unwrap();
    assert_eq!(first.as_deref(), Some(b"one\n".as_slice()));
    fs::write(&go, "").unwrap();
    let second = tokio::time::timeout(GENEROUS, reader.next()).await.unwrap().unwrap();
    assert_eq!(second.as_deref(), Some(b"two\n".as_slice()));
    assert_eq!(tokio::time::timeout(GENEROUS, reader.next()).await.unwrap().unwrap(), None);
    let mut rest = s.runtime.log(&attempt(1), 4, false).await.unwrap();
    assert_eq!(rest.next().await.unwrap().as_deref(), Some(b"two\n".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_ends_what_still_runs_and_touches_nothing_else() {
    for s in both() {
        let mut bystander = std::process::Command::new("sleep").arg("1009").spawn().unwrap();
        s.runtime.start(&shell(1, "sleep 1001")).await.unwrap();
        s.runtime.start(&shell(2, "sleep 1001")).await.unwrap();
        let both_run = || marked(&s).len() >= 2;
        until("both run", both_run).await;
        s.runtime.remove(&attempt(1)).await.unwrap();
        assert!(!s.attempt_dir(&attempt(1)).exists());
        let left = s.runtime.list().await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].state, devstack::runtime::State::Running);
        s.runtime.remove(&attempt(2)).await.unwrap();
        assert!(marked(&s).is_empty());
        kill(Pid::from_raw(bystander.id() as i32), Signal::SIGKILL).expect("the bystander lives");
        bystander.wait().unwrap();
    }
}

/// Where node and agent are one user, the agent may write the record of which process it is. Whom it names there is not
/// touched: neither a person's program nor what the node runs beside.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_names_somebody_else_touches_nobody() {
    // No child of this node, as a person's program is none: started before this process takes orphans in.
    let innocent =
        std::process::Command::new("sh").args(["-c", "setsid sleep 1002 >/dev/null 2>&1 & echo $!"]).output();
    let pid: i32 = String::from_utf8(innocent.unwrap().stdout).unwrap().trim().parse().unwrap();
    let s = Scratch::new(Sandbox::Off);
    let node = crate::adopt::node(&s, Sandbox::Off, "sleep 1001");
    let dir = s.attempt_dir(&attempt(1));
    until("the shim claims it", || dir.join(layout::PID).is_symlink()).await;
    crate::adopt::kill(node);
    let process = procs::get(pid).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::remove_file(dir.join(layout::PID)).unwrap();
    std::os::unix::fs::symlink(format!("{pid} {} {boot}", process.started), dir.join(layout::PID)).unwrap();
    // A node that finds it, is asked to end it, and cleans up.
    let next = runtime(s.dir.path(), Sandbox::Off, |_| {});
    assert_eq!(next.list().await.unwrap().len(), 1);
    next.stop(&attempt(1)).await.unwrap();
    wait(&next, &attempt(1)).await;
    next.remove(&attempt(1)).await.unwrap();
    assert!(marked(&s).is_empty(), "what is the attempt's is ended all the same");
    assert_eq!(procs::get(pid).map(|now| now.started), Some(process.started), "the process that it named was ended");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}
