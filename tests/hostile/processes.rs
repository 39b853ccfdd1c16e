//! Agents that will not end, multiply, or flood. Guarantees 6 and 7.

use crate::{
    as_it_is,
    bench::{World, files_below, processes_with, task},
    beside_honest,
};

/// A log is never longer, in bytes, but for the line that says what was left out (see the process runtime).
const LOG_MAX: u64 = (16 << 20) + 4096;

/// A text that only processes of one test have in their command line.
fn mark(world: &World, name: &str) -> String {
    format!("{}.{name}", world.root().file_name().unwrap().to_string_lossy().replace('.', ""))
}

/// Ten gigabytes, to their end, are in `runtime`.
#[test]
fn a_flood_is_bounded_and_read_to_its_deadline() {
    let evil = |_: &World| task("EVIL", "echo first; yes 'a flood of output'").with("timeout = \"4s\"");
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.outcomes("EVIL"), ["timed-out"]);
        let log = world.log("EVIL", 1);
        assert!(log.starts_with("first\n") && log.contains("bytes left out]"));
        assert!((log.len() as u64) < LOG_MAX, "{}", log.len());
        let largest = files_below(&world.path(".devstack")).iter().map(|f| f.metadata().map_or(0, |m| m.len())).max();
        assert!(largest < Some(LOG_MAX), "{largest:?}");
        assert!(world.task("EVIL")["feedback"].to_string().len() < 32 << 10);
    });
}

#[test]
fn one_that_forks_without_end_is_held_by_its_limit() {
    let evil = |world: &World| {
        let script = format!("f() {{ : {}; f & f & wait; }}; f", mark(world, "bomb"));
        task("EVIL", &script).with("timeout = \"3s\"")
    };
    beside_honest(
        evil,
        |plan| plan.dev("pids = 40"),
        |world| {
            assert_ne!(world.status("EVIL"), "COMPLETED");
            assert_eq!(processes_with(&mark(world, "bomb")), [] as [i32; 0]);
        },
    );
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_grace() {
    let evil = |world: &World| {
        let script = format!("trap '' TERM INT HUP; : {}; while :; do sleep 1; done", mark(world, "deaf"));
        task("EVIL", &script).with("timeout = \"1s\"")
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.outcomes("EVIL"), ["timed-out"]);
        assert_eq!(processes_with(&mark(world, "deaf")), [] as [i32; 0]);
    });
}

#[test]
fn children_left_behind_are_gone_with_the_attempt() {
    let evil = |world: &World| {
        let sleep = |name: &str| format!("sh -c 'sleep 1000; : {}'", mark(world, name));
        let script = format!(
            "{} & setsid {} & (setsid sh -c \"{} &\" &) ; (cd /; env -i setsid nohup {} &) ; echo x > x; exit 0",
            sleep("child"),
            sleep("session"),
            sleep("twice").replace('\'', "\\\""),
            sleep("clean"),
        );
        task("EVIL", &script)
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.status("EVIL"), "COMPLETED");
        for name in ["child", "session", "twice", "clean"] {
            assert_eq!(processes_with(&mark(world, name)), [] as [i32; 0], "{name}");
        }
        assert!(!world.has_attempt("shop.EVIL."), "its files are removed");
    });
}

#[test]
fn killing_the_shim_gains_nothing() {
    let evil = |world: &World| {
        let script = format!(
            "echo x > x; setsid sh -c 'sleep 1000; : {}' & kill -9 $PPID; kill -STOP $PPID; sleep 2; exit 0",
            mark(world, "orphan")
        );
        task("EVIL", &script).with("timeout = \"20s\"")
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(processes_with(&mark(world, "orphan")), [] as [i32; 0]);
        let outcomes = world.outcomes("EVIL");
        assert!(outcomes.len() <= 6, "{outcomes:?}");
    });
}

#[test]
fn forging_the_end_changes_nothing() {
    let forged = r#"{"version":1,"ending":{"Exited":0},"elapsed_ms":1,"output_bytes":0,"left_out_bytes":0,"harvest":{"tip":null,"error":null}}"#;
    let evil = |_: &World| {
        let script = format!(
            "dir=$(dirname \"$DEVSTACK_WORKSPACE\")
            for file in shim/exit.json shim/harvest.json shim/result.bundle shim/pid exit.json stop settled spec.json; do
                rm -f \"$dir/$file\" 2>/dev/null; echo '{forged}' > \"$dir/$file\" 2>/dev/null; ln -sf /etc/passwd \"$dir/$file\" 2>/dev/null
            done
            mv \"$dir/shim\" \"$dir/shim.old\" 2>/dev/null; echo x > x; exit 3"
        );
        task("EVIL", &script)
    };
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.outcomes("EVIL"), ["failed"]);
        assert_eq!(world.blocked_reason("EVIL"), "attempts-exhausted");
        assert_eq!(world.task("EVIL")["attempt_list"][0]["exit_code"], 3);
    });
}
