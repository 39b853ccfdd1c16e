//! Agents by profile, end to end: a shell that reads its prompt as a script plays the agent, and prints what command
//! line agents print.

use crate::bench::{Plan, Task, World, toml_text, until};

/// Agents that read their prompt as a script get it bare.
const PLAIN: &str = "prompt_template = \"{{prompt}}\"";

/// The profile, and a role of so many agents that uses it.
fn tables(count: u32) -> String {
    format!(
        r#"
[agents.ai]
count = {count}
profile = "script"

[profiles.script]
provider = "acme"
command = ["sh"]

[profiles.script.output]
result = {{ type = "result" }}
error = {{ is_error = true }}
session = "session"
grace = "100ms"
usage = {{ input = "in", output = "out", cost = "cost" }}

[[profiles.script.limit]]
line = {{ type = "limit" }}
reset = "reset"
"#
    )
}

/// A task whose agent gets this script as its prompt.
fn told(id: &str, script: &str) -> Task {
    crate::bench::human(id).replaced(&format!("role = \"ai\"\nprompt = {}\n", toml_text(script)))
}

fn result(cost: &str) -> String {
    format!(r#"echo '{{"type":"result","in":1200,"out":42,"cost":{cost},"session":"s-1"}}'"#)
}

#[test]
fn a_hang_is_ended_and_what_it_used_is_shown() {
    let world = World::with_repository();
    let script = format!("echo work > work; {}; sleep 1000", result("0.25"));
    world.plan(&Plan::new([told("A", &script)]).project(PLAIN).tables(&tables(1)));
    world.run().expect(0);
    assert_eq!(world.git(&["show", "dev:work"]), "work");
    let page = world.devstack(&["task", "show", "A", "-o", "json"]).expect(0).json();
    let attempt = &page["task"]["attempt_list"][0];
    assert_eq!((attempt["outcome"].as_str(), attempt["exit_code"].as_i64()), (Some("done"), Some(0)));
    let usage = &attempt["usage"];
    assert_eq!((usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64()), (Some(1200), Some(42)));
    assert_eq!((usage["cost_usd"].as_f64(), usage["session"].as_str()), (Some(0.25), Some("s-1")));
    assert!(usage["cache_read_tokens"].is_null() && usage["turns"].is_null(), "{usage}");
    world.devstack(&["task", "show", "A"]).expect(0).says("$0.25");
    world.devstack(&["project", "show", "shop"]).expect(0).says("$0.25");
    world.devstack(&["status"]).expect(0).says("Used: $0.25");
    let status = world.devstack(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["usage"]["cost_usd"].as_f64(), Some(0.25), "{status}");
}

#[test]
fn a_limit_is_not_charged_and_waits_for_the_reset_it_names() {
    let world = World::bare();
    // One attempt is all that the plan allows.
    let script =
        r#"test $DEVSTACK_ATTEMPT = 2 || { echo "{\"type\":\"limit\",\"reset\":$(($(date +%s) + 2))}"; exit 1; }"#;
    world.plan(&Plan::new([told("A", script)]).without_repository().project(PLAIN).tables(&tables(1)));
    world.run().expect(0);
    assert_eq!(world.outcomes("A"), ["rate-limited", "done"]);
}

#[test]
fn a_parked_provider_is_told_survives_a_restart_and_a_person_ends_it() {
    let world = World::bare();
    let script =
        r#"test $DEVSTACK_ATTEMPT = 2 || { echo "{\"type\":\"limit\",\"reset\":$(($(date +%s) + 3600))}"; exit 1; }"#;
    let plan = Plan::new([told("A", script), told("B", "true")]).without_repository().project(PLAIN).tables(&tables(1));
    world.plan(&plan);
    let running = world.start();
    let status = || world.devstack(&["status", "-o", "json"]).expect(0).json();
    until("the plan is submitted", || world.devstack(&["task", "show", "A"]).code == 0);
    until("the provider is parked", || status()["providers"][0]["parked_until"].is_string());
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.wait();
    assert_eq!(status()["providers"][0]["provider"].as_str(), Some("acme"));
    world.devstack(&["status"]).expect(0).says("The provider acme is parked until");
    for id in ["A", "B"] {
        world.devstack(&["task", "explain", id]).expect(0).says("the provider `acme` is parked until");
    }
    world.devstack(&["task", "show", "B"]).expect(0).says("is parked until");
    assert_eq!(world.task("B")["attempts"].as_u64(), Some(0));
    world.devstack(&["project", "resume", "shop"]).expect(0);
    world.run().expect(0);
    assert_eq!(world.outcomes("A"), ["rate-limited", "done"]);
}

#[test]
fn a_budget_stops_before_it_is_passed_and_goes_on_when_it_is_raised() {
    let world = World::bare();
    let plan = |budget: &str| {
        let tasks = ["A", "B", "C", "D"].map(|id| told(id, &result("0.4")));
        Plan::new(tasks).project(&format!("budget = {budget}")).without_repository().project(PLAIN).tables(&tables(2))
    };
    world.plan(&plan("1.0"));
    let ended = world.run().expect(7);
    assert!(ended.stdout.contains("the project's `budget` of $1.00 would be exceeded"), "{}", ended.stdout);
    let done = || world.tasks().iter().filter(|task| task["status"] == "COMPLETED").count();
    assert_eq!(done(), 2);
    let project = world.devstack(&["project", "show", "shop", "-o", "json"]).expect(0).json();
    assert_eq!(project["project"]["budget_usd"].as_f64(), Some(1.0));
    assert_eq!(project["project"]["roles"][0]["usage"]["cost_usd"].as_f64(), Some(0.8), "{project}");
    world.plan(&plan("2.0"));
    world.run().expect(0);
    assert_eq!(done(), 4);
}
