//! The pages that are made from the code: `docs/reference.md` (settings, error codes, exit codes) and
//! `docs/commands.md`. They are as the code is now, or the test says so; `DEVSTACK_WRITE_DOCS=1 cargo test --test docs`
//! writes them.
//! Deliberately absent: the HTTP API (docs/api.md has a test of its own).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod codes;
mod commands;
mod settings;

use std::{fs, path::Path};

/// Compares a page with what the code says, or writes it.
fn page(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("DEVSTACK_WRITE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differs = there.lines().zip(made.lines()).find(|(there, made)| there != made);
    assert!(
        there == made,
        "docs/{name} is not what the code says, first at {differs:?}; write it: DEVSTACK_WRITE_DOCS=1 cargo test --test docs"
    );
}

#[test]
fn the_reference_is_current() {
    let made = format!(
        "# Reference\n\nMade from the code by `DEVSTACK_WRITE_DOCS=1 cargo test --test docs`; a test holds it current. Commands: \
         [commands.md](commands.md). The HTTP API: [api.md](api.md). Plan files: [getting started](getting-started.md) and \
         `devstack plan check`.\n\n{}\n{}\n{}",
        settings::section(),
        codes::exits(),
        codes::section(),
    );
    page("reference.md", &made);
}

#[test]
fn the_commands_are_current() {
    page("commands.md", &commands::page());
}
