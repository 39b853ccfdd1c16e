//! What `devstack` and each of its commands say of themselves, in one page: the snapshot of the public command line,
//! too, so that a change of it shows in review.

use std::{fmt::Write, process::Command};

fn help(words: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
    let output = command.args(words).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A longer description goes on in lines that are indented further.
    let named = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn describe(words: &[String], text: &mut String) {
    let full = help(words);
    // What every command takes is said once.
    let own = if words.is_empty() { full.as_str() } else { full.split("\nGlobal options:").next().unwrap_or_default() };
    let own: Vec<&str> = own.trim_end().lines().map(str::trim_end).collect();
    let name = [&["devstack".to_owned()], words].concat().join(" ");
    writeln!(text, "## `{name}`\n\n```text\n{}\n```\n", own.join("\n")).unwrap();
    for command in commands(&full) {
        describe(&[words, &[command]].concat(), text);
    }
}

pub(crate) fn page() -> String {
    let mut text = String::from(
        "# Commands\n\nMade from the code by `DEVSTACK_WRITE_DOCS=1 cargo test --test docs`; a test holds it current. `devstack man DIR` \
         writes the same as man pages. Options that every command takes stand once, with `devstack` itself.\n\n",
    );
    describe(&[], &mut text);
    text
}
