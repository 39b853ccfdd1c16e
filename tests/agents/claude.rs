//! What goes wrong with a real agent: its window is used up, it does not end, its node is killed.

use nix::sys::signal::Signal;

use crate::{
    bench::until,
    work::{Agent, Work},
};

pub(crate) const CLAUDE: Agent<'_> = Agent {
    profile: "claude-code",
    profile_lines: "[profiles.real.env]\nANTHROPIC_BASE_URL = \"{url}\"",
    key: "ANTHROPIC_API_KEY",
    model: Some("sonnet"),
};

#[test]
fn a_limit_parks_the_provider_until_the_reset_and_is_not_charged() {
    let Some(work) = Work::new() else { return };
    work.plan(&CLAUDE, "limit");
    let running = work.start();
    let world = &work.world;
    until("the limit is told", || work.beyond.gate("limited").exists());
    until("the provider is parked", || {
        let status = world.devstack(&["status", "-o", "json"]).expect(0).json();
        status["providers"][0]["parked_until"].is_string()
    });
    world.devstack(&["task", "explain", "A"]).expect(0).says("the provider `anthropic` is parked until");
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
}
