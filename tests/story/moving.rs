//! What a person does with tasks that are on their way: retry, reject, stop, cancel, pause. Guarantee 11: at once.

use crate::bench::{Plan, World, human, processes_with, task, until};

#[test]
fn a_hint_reaches_the_next_prompt() {
    let world = World::with_repository();
    let script = "cat > prompt; if grep -q 'look under the sofa' prompt; then mv prompt found; else echo where is it; exit 1; fi";
    world.plan(&Plan::new([task("A", script).with("prompt = \"find the key\"")]));
    world.run().expect(7);
    world.devstack(&["task", "retry", "A", "-m", "look under the sofa"]).expect(0);
    let feedback = world.task("A")["feedback"].clone();
    assert!(feedback.as_array().unwrap().iter().any(|entry| entry["attempt"] == 0), "{feedback}");
    world.run().expect(0);
    let prompt = world.git(&["show", "dev:found"]);
    for text in ["find the key", "where is it", "look under the sofa"] {
        assert!(prompt.contains(text), "`{text}` is not in:\n{prompt}");
    }
}

#[test]
fn rejecting_blocks_what_depends_on_it() {
    let world = World::with_repository();
    world.plan(&Plan::new([human("A"), task("B", "true").after(&["A"]), task("C", "true").after(&["B"])]));
    world.run().expect(7);
    world.devstack(&["task", "reject", "A", "-m", "not worth it"]).expect(0);
    assert_eq!(world.status("A"), "REJECTED");
    assert_eq!(world.blocked_reason("B"), "dependency-rejected");
    world.devstack(&["task", "explain", "A"]).expect(0).says("not worth it");
    // Neither can be moved by retrying; what can is said.
    world.devstack(&["task", "retry", "A"]).expect(5).says("hint: ");
    world.devstack(&["task", "retry", "B"]).expect(5).says("hint: ");
    world.run().expect(7).says("shop/B");
}

#[test]
fn stopping_ends_the_attempt_at_once_and_charges_nothing() {
    let world = World::with_repository().unsandboxed();
    let mark = world.gate("go").display().to_string();
    world.plan(&Plan::new([task("A", &format!("{}echo x > x", world.wait_at("go")))]));
    let run = world.start();
    world.until_there("go");
    world.devstack(&["task", "stop", "A"]).expect(0);
    until("its end is known", || world.outcomes("A").first().is_some_and(|outcome| outcome == "stopped"));
    let attempts = world.task("A")["attempt_list"].clone();
    assert_eq!(attempts[0]["charged"], false);
    // The one attempt it has is still there: after a backoff it runs again.
    world.open_gate("go");
    run.wait().expect(0);
    assert_eq!(world.outcomes("A"), ["stopped", "done"]);
    assert_eq!(processes_with(&mark), [] as [i32; 0]);
    world.devstack(&["task", "stop", "A"]).expect(5).says("hint: ");
}

#[test]
fn cancelling_ends_the_plan_and_its_attempts() {
    let world = World::with_repository().unsandboxed();
    let mark = world.gate("go").display().to_string();
    world.plan(&Plan::new([task("A", &world.wait_at("go")), task("B", "true").after(&["A"])]));
    let run = world.start();
    world.until_there("go");
    world.devstack(&["plan", "cancel", "shop"]).expect(0);
    let ended = run.wait();
    assert!([5, 7].contains(&ended.code) || ended.code == 1, "{ended:?}");
    for id in ["A", "B"] {
        assert_eq!(world.status(id), "REJECTED");
    }
    until("nothing runs", || processes_with(&mark).is_empty());
}

#[test]
fn a_paused_project_starts_nothing() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "echo a > a")]));
    world.devstack(&["plan", "check", "devstack.toml"]).expect(0);
    // `.devstack` comes with the first run; a person's task makes one that ends at once.
    world.plan(&Plan::new([human("H")]));
    world.run().expect(7);
    world.devstack(&["project", "pause", "shop"]).expect(0);
    world.plan(&Plan::new([human("H"), task("A", "echo a > a")]));
    world.run().expect(7).says("devstack project resume shop");
    assert_eq!(world.task("A")["attempts"], 0);
    world.devstack(&["task", "explain", "A"]).expect(0).says("paused");
    world.devstack(&["project", "resume", "shop"]).expect(0);
    world.run().expect(7);
    assert_eq!(world.status("A"), "COMPLETED");
}
