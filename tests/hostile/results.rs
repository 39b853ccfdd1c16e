//! What an attempt leaves behind beside commits: pipes, links, huge and unreadable things.

use crate::{
    as_it_is,
    bench::{World, task},
    beside_honest,
};

/// All of these do honest work too, which must land: a broken summary is no reason to lose it.
fn with_summary(script: &'static str) {
    let evil = move |_: &World| task("EVIL", &format!("echo work > work; cd \"$DEVSTACK_OUT\"; {script}"));
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.status("EVIL"), "COMPLETED");
        assert_eq!(world.git(&["show", "dev:work"]), "work");
        assert!(!world.has_attempt("shop.EVIL."));
        assert!(!world.task("EVIL").to_string().contains("root:"), "a file of the host was read");
    });
}

#[test]
fn a_summary_that_is_a_pipe_holds_nobody_up() {
    with_summary("mkfifo result.json");
}

#[test]
fn a_summary_that_is_a_link_is_not_followed() {
    with_summary("ln -s /etc/passwd result.json");
}

#[test]
fn a_huge_summary_is_not_read() {
    with_summary("truncate -s 3G result.json");
}

#[test]
fn a_summary_of_nonsense_is_no_harm() {
    with_summary("printf '[[[[[[{\"usage\":{\"input_tokens\":-1e999}}\\000' > result.json");
}

#[test]
fn a_deep_and_unreadable_tree_is_removed() {
    let script = "echo work > work; cd \"$HOME\"; i=0
        while [ $i -lt 300 ]; do mkdir d-$i-a-long-name-so-that-paths-get-long; cd d-*; i=$((i+1)); done
        touch x; cd \"$TMPDIR\"; mkdir -p closed/in; touch closed/in/f; ln -s / closed/in/root; chmod 000 closed/in closed";
    let evil = move |_: &World| task("EVIL", script);
    beside_honest(evil, as_it_is, |world| {
        assert_eq!(world.status("EVIL"), "COMPLETED");
        assert!(!world.has_attempt("shop.EVIL."));
        assert!(std::path::Path::new("/etc/passwd").exists());
    });
}

#[test]
fn an_unreadable_file_in_the_workspace_ends_in_words() {
    let evil = |_: &World| task("EVIL", "echo work > work; mkdir closed; echo x > closed/x; chmod 000 closed");
    beside_honest(evil, as_it_is, |world| {
        assert!(["COMPLETED", "BLOCKED"].contains(&&*world.status("EVIL")));
        assert!(!world.has_attempt("shop.EVIL."));
    });
}
