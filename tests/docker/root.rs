//! Nobody becomes root.

use std::process::Command;

use devstack_dag::attempt::Outcome;

use crate::{containers::tools, harness::*, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_the_set_user_id_bit_gives_nothing() {
    let Some(w) = world().await else { return };
    let image = tools(&w.socket);
    // The bit works where nobody forbids it, so the image is what it claims to be.
    let plain = ["run", "--rm", "--network=none", "--user", "10001", &image, "/usr/bin/suid-id", "-u"];
    assert_eq!(w.docker(&plain).trim(), "0");
    let mut job = shell(
        1,
        "suid-id -u; suid-id -g; su -c id root </dev/null 2>/dev/null && echo SU; busybox su root -c id </dev/null 2>/dev/null && echo SU; true",
    );
    job.image = Some(image.into());
    assert_eq!(run(&w.runtime, &job).await.outcome, Outcome::Exited(0));
    assert_eq!(log(&w.runtime, &attempt(1)).await, "10001\n10001\n");
    w.remove(&attempt(1)).await;
}

/// What an agent makes is its user's on the host too: no root's file, no bit that works outside.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_roots_is_left_behind() {
    let Some(w) = world().await else { return };
    let script = "cp /bin/busybox sh; chmod 6777 sh; mkdir d; chmod 7777 d; chown 0:0 sh d 2>/dev/null; setcap cap_sys_admin+ep sh 2>/dev/null; true";
    run(&w.runtime, &shell(1, script)).await;
    let dir = w.attempt_dir(&attempt(1));
    let root =
        Command::new("find").arg(dir.join("workspace")).args(["-mindepth", "1", "-user", "root"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&root.stdout), "");
    w.remove(&attempt(1)).await;
}
