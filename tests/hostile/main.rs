//! Hostile agents, repositories, plans and secrets, against the real program, looked at from outside: what of the
//! host was run, read or written; is the hub whole; does the other task of the same plan still get done.
//!
//! Guarantees of architecture.md that are held here: 3 (forged ends), 6 (deadlines), 7 (no leftovers), 8 (secrets),
//! 10 (refusals), and of Git that nothing of an agent's repository acts on the host.
//! Deliberately absent: crashes of the node (tests/faults).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../story/bench.rs"]
mod bench;
mod bundles;
mod commits;
mod dumps;
mod git_dir;
mod harvest;
mod many_secrets;
mod plans;
mod processes;
mod prompts;
mod protected;
mod repositories;
mod results;
mod secrets;
mod sight;
mod sources;
mod spellings;
mod taskmaster;
mod terminal;
mod trees;
mod uploads;
mod words;

use bench::{Plan, Task, World, agent_image, task};

/// Runs a hostile task beside an honest one, whose work must land whatever the other does: in the sandbox, without it,
/// and in a container. `judge` looks at what became of the hostile one, `EVIL`.
fn beside_honest(evil: impl Fn(&World) -> Task, plan: impl Fn(Plan) -> Plan, judge: impl Fn(&World)) {
    everywhere(|world| {
        world.plan(&plan(Plan::new([evil(&world), task("HONEST", "echo honest > honest")])));
        let ended = world.run();
        assert!([0, 7].contains(&ended.code), "{ended:?}");
        assert_eq!(world.status("HONEST"), "COMPLETED");
        assert_eq!(world.git(&["show", "dev:honest"]), "honest");
        world.hub_is_whole();
        judge(&world);
        // The node serves and takes work afterwards.
        assert!(world.tasks().len() >= 2);
    });
}

/// The same with each kind of surroundings that agents have.
fn everywhere(check: impl Fn(World)) {
    check(World::with_repository().unsandboxed());
    in_both_runtimes(check);
}

/// The same in the sandbox and in a container.
fn in_both_runtimes(check: impl Fn(World)) {
    check(World::with_repository());
    match agent_image() {
        Ok(image) => check(World::with_repository().in_containers(&image)),
        Err(why) => println!("SKIPPED: hostile agents in containers: {why}"),
    }
}

fn as_it_is(plan: Plan) -> Plan {
    plan
}
