//! What happens is seen without loading anything again, and what a person does happens.

use serde_json::Value;

use crate::{
    bench::{Plan, World, task, until},
    chromium::Options,
    desk::Desk,
};

/// A page that was loaded again has forgotten it.
const MARK: &str = "window.mark = 7";
const MARKED: &str = "return window.mark";

#[tokio::test]
async fn a_board_changes_and_a_log_follows_while_a_plan_runs() {
    let plan = |world: &World| {
        let mine = format!(
            "echo first light; {}echo second light; {}echo done > done.txt",
            world.wait_at("one"),
            world.wait_at("two")
        );
        Plan::new([task("A", &mine), task("B", "echo b > b.txt").after(&["A"])])
    };
    let Some(desk) = Desk::open(Options::default(), plan).await else { return };
    let (world, page) = (&desk.world, &desk.chromium);
    world.until_there("one");

    page.visit("/tasks/shop/A").await;
    page.js(MARK).await;
    page.until_says("first light").await;
    assert!(!page.text().await.contains("second light"));
    world.open_gate("one");
    page.until_says("second light").await;
    assert_eq!(page.js(MARKED).await, 7, "the log came without loading the page");
    desk.assert_quiet().await;

    page.visit("/board").await;
    page.js(MARK).await;
    page.find("#c-WIP #t-shop-A").await;
    page.find("#c-TODO #t-shop-B").await;
    world.open_gate("two");
    page.find("#c-COMPLETED #t-shop-A").await;
    page.find("#c-COMPLETED #t-shop-B").await;
    assert_eq!(page.js(MARKED).await, 7, "the board changed without loading the page");
    assert_eq!(page.find("#live").await.text().await.unwrap(), "live");
    desk.assert_quiet().await;
}

#[tokio::test]
async fn a_person_stops_an_attempt_once_it_is_confirmed() {
    let plan = |world: &World| Plan::new([task("A", &format!("{}echo done > done.txt", world.wait_at("hold")))]);
    let Some(desk) = Desk::open(Options::default(), plan).await else { return };
    let (world, page) = (&desk.world, &desk.chromium);
    world.until_there("hold");

    page.visit("/tasks/shop/A").await;
    page.press("main a[href$='/act/stop']").await;
    page.find("dialog#ask[open] form").await;
    assert_eq!(world.outcomes("A"), ["running"], "nothing happens before it is confirmed");
    page.press("dialog#ask form button").await;
    until("the attempt is stopped", || world.outcomes("A")[0] != "running");
    // It costs nothing, and another one starts; the page shows both without being loaded.
    page.find("#a-2").await;
    world.open_gate("hold");
    page.until_says("COMPLETED").await;
    assert_eq!(world.outcomes("A").len(), 2);
    desk.assert_quiet().await;
}

#[tokio::test]
async fn a_person_tries_a_task_again_with_a_hint() {
    let plan = |world: &World| {
        let gate = world.gate("mended");
        let script =
            format!("[ -e {} ] || exit 3; cat \"$DEVSTACK_PROMPT_FILE\"; echo done > done.txt", gate.display());
        Plan::new([task("A", &script).with("prompt = \"Look around\"\n")])
    };
    let Some(desk) = Desk::open(Options::default(), plan).await else { return };
    let (world, page) = (&desk.world, &desk.chromium);
    desk.until("A", "BLOCKED");
    world.open_gate("mended");

    page.visit("/tasks/shop/A").await;
    page.press("main a[href$='/act/retry']").await;
    page.type_into("dialog#ask [name=text]", "Look at the left side first").await;
    page.press("dialog#ask form button").await;
    page.until_says("COMPLETED").await;
    // The agent was told, and prints it.
    page.until_says("Look at the left side first").await;
    assert!(world.log("A", 2).contains("Look at the left side first"));
    desk.assert_quiet().await;
}

#[tokio::test]
async fn a_conflict_shows_both_sides() {
    let plan = |world: &World| {
        let change = |word: &str, gate: &str| format!("sed -i 's/^5$/{word}/' numbers; {}", world.wait_at(gate));
        Plan::new([task("ONE", &change("five", "one")), task("TWO", &change("cinq", "two"))])
    };
    let Some(desk) = Desk::open(Options::default(), plan).await else { return };
    let (world, page) = (&desk.world, &desk.chromium);
    for gate in ["one", "two"] {
        world.until_there(gate);
    }
    world.open_gate("one");
    desk.until("ONE", "COMPLETED");
    world.open_gate("two");
    desk.until("TWO", "BLOCKED");

    page.visit("/tasks/shop/TWO").await;
    page.until_says("conflict").await;
    page.press("nav.tabs a[href$='/conflict']").await;
    let ours = page.find("section[aria-label=Ours]").await.text().await.unwrap();
    let theirs = page.find("section[aria-label=Theirs]").await.text().await.unwrap();
    for (side, its, others) in [(&ours, "five", "cinq"), (&theirs, "cinq", "five")] {
        assert!(side.contains("numbers") && side.contains(its) && !side.contains(others), "{side}");
    }
    page.until_says("devstack task resolve").await;
    let links: Value = page.js("return [...document.querySelectorAll('#how a')].map(a => a.pathname)").await;
    assert!(links.to_string().contains("/tasks/shop/TWO"), "{links}");
    desk.assert_quiet().await;
}
