//! Secrets: who gets them, and where they are never found. Guarantee 8.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::bench::{Plan, World, files_with, task};

const VALUE: &str = "correct-horse-battery-staple-42";
/// The same in base64.
const CODED: &str = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZS00Mg";

fn with_env(mode: u32) -> World {
    let world = World::with_repository();
    world.write(".env", &format!("API_KEY={VALUE}\n"));
    fs::set_permissions(world.path(".env"), fs::Permissions::from_mode(mode)).unwrap();
    world
}

#[test]
fn one_that_others_may_read_is_refused_with_the_mend() {
    let world = with_env(0o644);
    world.plan(&Plan::new([task("A", "echo a > a")]));
    let ended = world.run();
    assert_ne!(ended.code, 0);
    let ended = ended.says("chmod 600").says(".env");
    assert!(!ended.stderr.contains(VALUE));
    fs::set_permissions(world.path(".env"), fs::Permissions::from_mode(0o600)).unwrap();
    world.run().expect(0);
}

#[test]
fn it_reaches_only_those_that_name_it_and_no_file() {
    let world = with_env(0o600);
    let say = "echo \"got:${API_KEY:-nothing}:\"; printf %s \"$API_KEY\" | base64; printf %s \"x$API_KEY\" | base64; env | sort > \"$DEVSTACK_OUT/env\"; echo $API_KEY > /dev/null";
    let named = "[agents.keeper]\ncommand = [\"true\"]\nsecrets = [\"API_KEY\"]\n";
    let plan = Plan::new([
        task("KEEPS", &format!("{say}; echo k > k")).with("role = \"keeper\""),
        task("LEAKS", "echo \"$API_KEY\" > leak; echo x > x").with("role = \"keeper\""),
        task(
            "HIDES",
            "printf '{\"summary\":\"%s\"}' \"$API_KEY\" > \"$DEVSTACK_OUT/result.json\"; echo \"$API_KEY\"; exit 3",
        )
        .with("role = \"keeper\""),
        task("NAMES", "echo x > \"file-$API_KEY\"").with("role = \"keeper\""),
        task("NONE", &format!("{say}; echo n > n")),
    ]);
    world.plan(&plan.tables(named).project("checks = [\"test -z \\\"$API_KEY\\\"\"]"));
    world.run().expect(7);
    assert_eq!(world.status("KEEPS"), "COMPLETED", "and a check gets no secret");
    assert_eq!(world.status("NONE"), "COMPLETED");
    assert_eq!(world.blocked_reason("LEAKS"), "policy");

    let log = world.log("KEEPS", 1);
    assert!(log.starts_with("got:***:\n"), "{log}");
    assert!(!log.contains(VALUE) && !log.contains(CODED), "{log}");
    assert!(world.log("NONE", 1).starts_with("got:nothing:"));
    let hosts = world.devstack(&["host", "list", "-o", "json"]).expect(0).stdout;
    assert!(!hosts.contains(VALUE), "{hosts}");
    let shown: String = ["KEEPS", "LEAKS", "HIDES", "NAMES"].map(|id| world.task(id).to_string()).concat();
    assert!(!shown.contains(VALUE) && !shown.contains(CODED), "{shown}");
    for needle in [VALUE, CODED] {
        assert_eq!(files_with(&world.path(".devstack"), needle.as_bytes()), [] as [std::path::PathBuf; 0]);
    }
    let objects = world.in_hub(&["cat-file", "--batch-all-objects", "--batch"]);
    assert!(!objects.contains(VALUE));
}

#[test]
fn a_secret_that_nobody_knows_waits_for_a_person() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "true")]).dev("secrets = [\"NOWHERE\"]"));
    world.run().expect(7).says("NOWHERE");
    assert_eq!(world.task("A")["attempts"], 0);
}
