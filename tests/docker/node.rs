//! A whole node whose engine dies under it: what it says meanwhile, and that nothing is charged when it is back.

use std::{fs, path::PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    engine::OwnEngine,
    site::{Running, Site},
};

const PLAN: &str = r#"
[project]
name = "shop"
[agents.dev]
command = ["sh", "-c", "[ $DEVSTACK_TASK_ID$DEVSTACK_ATTEMPT != A1 ] || { touch up; sleep 1001; }"]
count = 2
[defaults]
role = "dev"
attempts = 1
[[task]]
id = "A"
priority = "high"
title = "A"
[[task]]
id = "B"
title = "B"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_out_of_use_while_the_engine_is_gone_and_come_back_by_themselves() {
    let Some(mut engine) = OwnEngine::new(false) else { return };
    // Only for the image.
    drop(engine.world(|_| {}).await);
    let site = Site::new().lay_down();
    fs::write(site.dir().join("devstack.toml"), PLAN).unwrap();
    let mut run = site.devstack(&["-vv", "run", "devstack.toml", "--slots", "1"]);
    run.env("DOCKER_HOST", format!("unix://{}", engine.socket()));
    let mut run = Running::start(run, None);
    let up: PathBuf = site.state().join("attempts/shop.A.1/workspace/up");
    run.wait_until("the first attempt runs", |_| up.exists());
    engine.end(Signal::SIGKILL);
    let why = |site: &Site| site.ask(&["task", "explain", "B"]).to_string();
    run.wait_until("it is said why nothing starts", |_| {
        let said = why(&site);
        said.contains("cannot be used for now") && said.contains("does not answer")
    });
    engine.start();
    let ended = run.finish();
    assert!(ended.status.success(), "{}", ended.stderr);
    let attempts = site.ask(&["task", "show", "A"])["task"]["attempt_list"].clone();
    let told: Vec<(&str, bool)> = attempts
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["outcome"].as_str().unwrap(), attempt["charged"] == Value::Bool(true)))
        .collect();
    assert_eq!(
        told,
        [("infrastructure", false), ("done", false)],
        "with one attempt only, a charge would have ended it"
    );
}
