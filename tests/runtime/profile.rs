//! Agents that a profile describes: how they are fed, which secrets are files, and how one ends that hangs.

use std::{fs, sync::Arc};

use devstack::{
    config::profile::parse,
    runtime::{Job, Runtime, Sandbox},
};
use devstack_dag::{attempt::Outcome, profile::Profile};

use crate::harness::*;

fn profile(rest: &str) -> Option<Arc<Profile>> {
    let text = format!("provider = \"me\"\ncommand = [\"x\", \"{{prompt}}\", \"{{prompt_file}}\"]\n{rest}");
    Some(parse("me", "me.toml", &text).unwrap().profile)
}

fn both() -> Vec<Scratch> {
    let mut both = vec![Scratch::new(Sandbox::Off)];
    both.extend(sandboxed());
    both
}

const LAST: &str = "[output]\nresult = { type = \"result\" }\nerror = { is_error = true }\ngrace = \"50ms\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_after_its_last_line_is_done_and_ended() {
    let hang = |line: &str| format!("echo '{line}'; trap '' TERM; while :; do sleep 1000; done");
    for scratch in both() {
        for (number, line, status) in
            [(1, r#"{"type":"result","is_error":false}"#, 0), (2, r#"{"type":"result","is_error":true}"#, 1)]
        {
            let job = Job { profile: profile(LAST), grace_ms: 50, ..shell(number, &hang(line)) };
            assert_eq!(run(&scratch.runtime, &job).await.outcome, Outcome::Exited(status), "{line}");
        }
        // One that exits by itself says how.
        let job = Job { profile: profile(LAST), ..shell(3, "echo '{\"type\":\"result\"}'; exit 7") };
        assert_eq!(run(&scratch.runtime, &job).await.outcome, Outcome::Exited(7));
        // Without its last line it runs to its deadline.
        let job =
            Job { profile: profile(LAST), timeout_ms: 300, ..shell(4, "echo '{\"type\":\"other\"}'; sleep 1000") };
        assert_eq!(run(&scratch.runtime, &job).await.outcome, Outcome::TimedOut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_comes_as_the_profile_says() {
    let words = |script: &str| ["sh", "-c", script, "{prompt}", "{prompt_file}"].map(str::to_owned).to_vec();
    for scratch in both() {
        let script = "printf %s \"$0\"; cat; cat \"$1\"; printf %s \"$WHERE\" | sed \"s:$HOME:HOME:\"";
        let rest = "prompt = \"argument\"\n[env]\nWHERE = \"{home}/.me\"\n";
        let job = Job { command: words(script), profile: profile(rest), ..shell(1, "") };
        run(&scratch.runtime, &job).await;
        assert_eq!(log(&scratch.runtime, &attempt(1)).await, "do the thing\ndo the thing\nHOME/.me");
        // A plain command is taken as it is written.
        let job = Job { command: words("printf %s \"$0\"; cat"), ..shell(2, "") };
        run(&scratch.runtime, &job).await;
        assert_eq!(log(&scratch.runtime, &attempt(2)).await, "{prompt}do the thing\n");
        // Longer than the kernel takes as one word: its file is named.
        let long = "x".repeat(200 << 10);
        let job = Job { command: words("printf %s \"$0\""), prompt: long, profile: profile(rest), ..shell(3, "") };
        run(&scratch.runtime, &job).await;
        let text = log(&scratch.runtime, &attempt(3)).await;
        assert!(text.starts_with("Read the file /") && text.ends_with("/in/prompt.md and do what it says."), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_a_file_is_in_memory_and_gone_after() {
    let value = r#"{"token":"a-token-of-some-length"}"#;
    let rest = "[[secret_file]]\nsecret = \"AUTH\"\npath = \".me/auth.json\"\n";
    for scratch in both() {
        let script = "cat ~/.me/auth.json; stat -L -c %a ~/.me/auth.json; env | grep -c ^AUTH=; \
                      readlink ~/.me/auth.json > \"$DEVSTACK_OUT/where\"; \
                      printf a-token-of-; sleep 0.01; echo some-length; env | grep ^PLAIN | cut -d= -f1";
        let secrets = vec![secret("AUTH", value), secret("PLAIN", "plain-secret-value")];
        let job = Job { profile: profile(rest), secrets, ..shell(1, script) };
        run(&scratch.runtime, &job).await;
        // The file, and the token within it, are masked in the log.
        assert_eq!(log(&scratch.runtime, &attempt(1)).await, "***600\n0\n***\nPLAIN\n");
        let place = fs::read_to_string(scratch.attempt_dir(&attempt(1)).join("out/where")).unwrap();
        assert!(place.starts_with("/dev/shm/devstack."), "{place}");
        assert!(!std::path::Path::new(place.trim()).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_shim_leaves_of_secret_files_goes_with_the_attempt() {
    let scratch = Scratch::new(Sandbox::Off);
    let rest = "[[secret_file]]\nsecret = \"AUTH\"\npath = \".auth\"\n";
    let secrets = vec![secret("AUTH", "a-secret-in-a-file")];
    let job =
        Job { profile: profile(rest), secrets, ..shell(1, "readlink ~/.auth > \"$DEVSTACK_OUT/where\"; sleep 1000") };
    scratch.runtime.start(&job).await.unwrap();
    let dir = scratch.attempt_dir(&attempt(1));
    let place = || fs::read_to_string(dir.join("out/where")).unwrap_or_default();
    until("the agent says where its secret is", || place().ends_with('\n')).await;
    let place = place().trim().to_owned();
    assert!(fs::exists(&place).unwrap());
    let pid = fs::read_link(dir.join("shim/pid")).unwrap();
    let pid = pid.to_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait(&scratch.runtime, &attempt(1)).await;
    scratch.runtime.remove(&attempt(1)).await.unwrap();
    assert!(!fs::exists(&place).unwrap(), "{place}");
}
