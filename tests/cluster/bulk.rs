//! Much travels over a network that is slow and drops its connections: a repository to its host, a result back, a
//! prompt, a log that somebody follows. Or it does not travel at all, and nobody waits for it for ever.
//! Deliberately absent: networks that are cut for long (`partitions`).

use std::fs;

use crate::{
    cluster::{Cluster, NEVER},
    process::Process,
};

/// Random bytes that no compression makes less, each way.
const SIZE: u64 = 24 << 20;
/// Bytes in a second.
const SLOW: u64 = 12 << 20;
/// Where in the transfer connections are dropped, and where they are forgotten.
const DROPPED: u64 = 6 << 20;
const FORGOTTEN: u64 = 14 << 20;

const WORK: &str = r#"
cp "$DEVSTACK_PROMPT_FILE" "$meet/prompt"
cmp large "$root/shop/large" || exit 1
head -c SIZE /dev/urandom > result && cp result "$meet/result"
echo "the work is done"
"#;

#[test]
fn much_travels_over_a_bad_network_and_arrives_whole() {
    let mut cluster = Cluster::new(1, 1, NEVER);
    cluster.says_shell(&format!("head -c {SIZE} /dev/urandom > shop/large"));
    cluster.git(&["add", "large"], "shop");
    cluster.git(&["commit", "--quiet", "-m", "Grow"], "shop");
    cluster.meeting.script("a", &WORK.replace("SIZE", &SIZE.to_string()));
    // More than a record holds, so it is a blob.
    let prompt = "Sell more apples. ".repeat(1000);
    let plan = cluster.meeting.plan(&[("a", &[])]).replace("prompt = \"x\"", &format!("prompt = \"{prompt}\""));
    cluster.host("h1").network.slow(SLOW);
    cluster.submit_text(&plan);
    // The repository comes, and then the result goes.
    bad_weather(&mut cluster);
    cluster.begun("a", 1);
    let so_far = cluster.host("h1").network.passed();
    assert!(so_far < SIZE + FORGOTTEN, "it went on where it was: {so_far} bytes for {SIZE}");
    cluster.meeting.open("a");
    cluster.ended("a", 1);
    bad_weather(&mut cluster);
    cluster.completed();
    let both = cluster.host("h1").network.passed() - so_far;
    assert!(both < SIZE + FORGOTTEN, "it went on where it was: {both} bytes for {SIZE}");
    let got = fs::read_to_string(cluster.path("meet/prompt")).unwrap();
    assert!(got.contains(prompt.trim_end()), "{got}");
    let result = cluster.git(&["rev-parse", "dev:result"], "shop");
    assert_eq!(cluster.git(&["hash-object", "meet/result"], ""), result);
    assert_eq!(cluster.attempts("a"), 1);
    cluster.check();
}

/// Connections are dropped in the middle of the next transfer; later they are forgotten on the way: nobody is told.
fn bad_weather(cluster: &mut Cluster) {
    let before = cluster.host("h1").network.passed();
    for (at, storm) in [(DROPPED, true), (FORGOTTEN, false)] {
        let passed = cluster.host("h1").network.counter();
        cluster.until(&format!("{at} bytes pass"), |_| passed() - before > at);
        let network = &cluster.host("h1").network;
        if storm { network.drop_connections() } else { network.forget_connections() }
    }
}

#[test]
fn a_log_is_followed_live_to_its_end() {
    let mut cluster = Cluster::new(1, 1, NEVER);
    cluster.meeting.script("a", "echo \"work begins\"");
    cluster.submit(&[("a", &[])]);
    cluster.begun("a", 1);
    let follow = cluster.command(&Cluster::program(), &["task", "logs", "--follow", "a"]);
    let mut follow = Process::start(follow, &cluster.path("followed.log"));
    cluster.until("its first line is there", |cluster| cluster.log("followed").contains("work begins"));
    assert!(!follow.is_over());
    cluster.meeting.open("a");
    cluster.until("following ends", |_| follow.is_over());
    cluster.completed();
    cluster.check();
    // The attempt's files are gone from its host; the log has come to the Taskmaster and stays readable without it.
    cluster.kill("h1");
    cluster.until_up("h1", false);
    assert!(cluster.says(&["task", "logs", "a"]).contains("work begins"));
}

/// Its link works, so that it is present and its lease holds; its results do not come through.
#[test]
fn a_result_that_does_not_come_through_is_given_up() {
    let mut cluster = Cluster::new(2, 1, NEVER);
    cluster.submit(&[("a", &[])]);
    let blocked = cluster.begun("a", 1);
    cluster.says(&["host", "drain", &blocked]);
    cluster.kill(&blocked);
    fs::write(cluster.path(&format!("{blocked}/cluster/api-address")), "127.0.0.1:9").unwrap();
    let config = cluster.path(&format!("{blocked}/node.toml"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + "[limits]\ndelivery = \"2s\"\n").unwrap();
    cluster.start(&blocked);
    cluster.until_up(&blocked, true);
    cluster.meeting.open("a.1");
    cluster.ended("a", 1);
    assert_ne!(cluster.begun("a", 2), blocked);
    let first = cluster.ask(&["task", "show", "a"])["task"]["attempt_list"][0].clone();
    assert_eq!((&first["outcome"], &first["charged"]), (&"infrastructure".into(), &false.into()), "{first}");
    assert!(first["message"].as_str().unwrap().contains("was not delivered within 2s"), "{first}");
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!(cluster.attempts("a"), 2);
    cluster.check();
}
