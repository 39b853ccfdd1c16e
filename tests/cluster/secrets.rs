//! Secrets of a host stay on it: what holds one is refused there, and what shows one is redacted there.
//! Deliberately absent: the ways to hide a value that are found (tests/hostile).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use crate::{
    cluster::{Cluster, NEVER},
    history::files,
};

const VALUE: &str = "remote-Jw72xR9mQ4-never-to-be-sent";

#[test]
fn a_secret_does_not_leave_its_host() {
    let mut cluster = Cluster::found(NEVER);
    // Only one of them has it.
    cluster.add_host("h1", "slots = 2\n");
    cluster.prepare_host("h2", "slots = 2\n");
    let env = cluster.path("h2/.env");
    fs::write(&env, format!("TOKEN={VALUE}\n")).unwrap();
    fs::set_permissions(&env, Permissions::from_mode(0o600)).unwrap();
    cluster.start("h2");
    for host in ["h1", "h2"] {
        cluster.until_up(host, true);
    }
    for task in ["leak", "keep"] {
        let last = if task == "leak" { "echo \"$TOKEN\" > found" } else { "test -n \"$TOKEN\"" };
        cluster.meeting.script(task, &format!("echo \"the token is $TOKEN\"\n{last}"));
    }
    cluster.meeting.open_all();
    let plan = cluster.meeting.plan(&[("leak", &[]), ("keep", &[])]);
    cluster.submit_text(&plan.replace("count = 9\n", "count = 9\nsecrets = [\"TOKEN\"]\n"));
    cluster.until("one is refused and one is done", |cluster| {
        let of = |task: &str| cluster.ask(&["task", "show", task])["task"].clone();
        let (leak, keep) = (of("leak"), of("keep"));
        leak["blocked_reason"] == "policy" && keep["delivered_at"].is_string()
    });
    let leak = cluster.ask(&["task", "show", "leak"])["task"].clone();
    assert_eq!(leak["attempt_list"][0]["outcome"], "policy", "{leak}");
    assert_eq!(
        (leak["attempt_list"][0]["host"].as_str(), leak["attempt_list"][0]["commit"].as_str()),
        (Some("h2"), None)
    );
    for task in ["leak", "keep"] {
        cluster.until("its log has come", |cluster| cluster.says(&["task", "logs", task]).contains("the token is"));
    }

    for file in files(&cluster.path("taskmaster")).into_iter().chain(files(&cluster.path("h2/logs"))) {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!has(&bytes), "{}", file.display());
    }
    // Packed, it would not be seen in a file.
    let hub = cluster.path(Cluster::HUB);
    let mut all = cluster.command("git", &["cat-file", "--batch", "--batch-all-objects"]);
    let all = all.current_dir(hub).output().unwrap();
    assert!(all.status.success() && !has(&all.stdout));
    assert!(!cluster.is_pinned("leak", 1));
    assert!(!has(cluster.logs().as_bytes()));
}

fn has(bytes: &[u8]) -> bool {
    bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes())
}
