//! What goes wrong with a real agent: its window is used up, it does not end, its node is killed.

use nix::sys::signal::Signal;

use crate::{
    bench::until,
    work::{Agent, Work},
};

pub(crate) const CLAUDE: Agent<'_> = Agent {
    profile: "claude-code",
    lines: "[profiles.real.env]\nANTHROPIC_BASE_URL = \"{url}\"",
    secrets: &["ANTHROPIC_API_KEY=sk-ant-scripted-0123456789"],
    model: Some("sonnet"),
};

#[test]
fn a_limit_parks_the_provider_until_the_reset_and_is_not_charged() {
    let Some(work) = Work::new() else { return };
    // Windows that are used up are those of subscriptions.
    work.plan(&Agent { secrets: &["CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-scripted-0123456789"], ..CLAUDE }, "limit");
    let running = work.start();
    let world = &work.world;
    until("the limit is told", || work.beyond.gate("limited").exists());
    let mut parked = None;
    until("the provider is parked", || {
        let status = world.devstack(&["status", "-o", "json"]).expect(0).json();
        parked = status["providers"][0]["parked_until"].as_str().map(str::to_owned);
        parked.is_some()
    });
    world.devstack(&["task", "explain", "A"]).expect(0).says("the provider `anthropic` is parked until");
    let reset: i64 = std::fs::read_to_string(work.beyond.gate("limited")).unwrap().parse().unwrap();
    assert_eq!(parked.unwrap().parse::<jiff::Timestamp>().unwrap().as_second(), reset);
    running.wait().expect(0);
    work.is_merged();
    assert_eq!(world.outcomes("A"), ["rate-limited", "done"]);
}

#[test]
fn a_killed_node_adopts_the_agent_that_runs() {
    let Some(work) = Work::new() else { return };
    work.plan(&CLAUDE, "hold");
    let first = work.start();
    until("the agent waits for its model", || work.beyond.gate("held").exists());
    first.signal(Signal::SIGKILL);
    first.wait();
    let second = work.start();
    until("the attempt is adopted", || work.world.devstack(&["task", "show", "A"]).stdout.contains("WIP"));
    std::fs::write(work.beyond.gate("go"), "").unwrap();
    second.wait().expect(0);
    work.is_merged();
    assert_eq!(work.world.outcomes("A"), ["done"]);
    assert_eq!(work.world.task("A")["attempts"].as_u64(), Some(1));
    assert_eq!(work.beyond.requests("POST hold v1/messages"), 2, "it is the same agent");
}

/// A hook of the repository's own that does not end: it has said its result and stays.
const HANGS: &str = r#"{"hooks": {"SessionEnd": [{"hooks":
    [{"type": "command", "command": "touch hung; sleep 1000", "timeout": 1000}]}]}}"#;

#[test]
fn an_agent_that_stays_after_its_result_is_ended_and_is_done() {
    let Some(work) = Work::new() else { return };
    work.world.write(".claude/settings.json", HANGS);
    work.world.commit_all("Do something at the end of a session");
    let lines = format!("{}\nCLAUDE_CODE_SESSIONEND_HOOKS_TIMEOUT_MS = \"1000000\"", CLAUDE.lines);
    work.plan(&Agent { lines: &lines, ..CLAUDE }, "write");
    work.run(0);
    work.is_merged();
    assert_eq!(work.world.git(&["show", "dev:hung"]), "", "it hung");
    assert_eq!(work.world.outcomes("A"), ["done"]);
    let attempt = &work.world.task("A")["attempt_list"][0];
    assert_eq!(attempt["exit_code"].as_i64(), Some(0), "{attempt}");
    assert!(attempt["usage"]["cost_usd"].as_f64() > Some(0.0), "{attempt}");
}
