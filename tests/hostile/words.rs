//! Text that would take a person's terminal over: in titles, logs, feedback, file names.

use crate::bench::{Plan, World, task};

fn assert_clean(text: &str) {
    let bad =
        text.chars().find(|c| (c.is_control() && !"\n\t".contains(*c)) || "\u{202e}\u{2066}\u{200b}".contains(*c));
    assert_eq!(bad, None, "{text:?}");
}

#[test]
fn escapes_in_titles_and_feedback_never_reach_the_terminal() {
    let world = World::with_repository();
    let script = r"printf '\033]0;owned\007\033[2J\033[1;1Hall is fine\r\n\302\233\n'; exit 3";
    let title = r#"title = "Innocent\u001b]0;owned\u0007\u001b[2J \u202eevil\r""#;
    world.plan(&Plan::new([task("A", script).with(title).with(r#"prompt = "do\u001b[31m it""#)]));
    let run = world.run();
    if run.code == 2 {
        // Refusing such a title is as good.
        return assert_clean(&run.stderr);
    }
    let run = run.expect(7);
    assert_clean(&run.stdout);
    assert_clean(&run.stderr);
    for args in [
        &["task", "list"][..],
        &["task", "show", "A"],
        &["task", "explain", "A"],
        &["status"],
        &["event", "tail", "--after", "0"],
    ] {
        assert_clean(&world.devstack(args).expect(0).stdout);
    }
}

#[test]
fn escapes_in_names_of_files_never_reach_the_terminal() {
    let world = World::with_repository();
    let script = r"n=$(printf 'a\033[2Jb'); ln -s /etc/passwd $n; echo x > x";
    world.plan(&Plan::new([task("A", script)]));
    let run = world.run().expect(7);
    assert_clean(&run.stdout);
    assert_clean(&run.stderr);
    for args in [["task", "show", "A"], ["task", "explain", "A"]] {
        assert_clean(&world.devstack(&args).expect(0).stdout);
    }
}
