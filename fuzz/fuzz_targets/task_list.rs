//! Any bytes are a task list or mistakes, whoever's list they are taken for; what is taken keeps the promises of its
//! type.
//! Deliberately absent: what a plan says to it (the plan file has property tests of its own).
#![no_main]

#[allow(dead_code, reason = "writing lists is not used")]
#[path = "../../crates/exchange/src/lib.rs"]
mod exchange;

use std::collections::HashSet;

use exchange::{Brief, Choice, Format, read};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for format in [None, Some(Format::DevStack), Some(Format::TaskMaster), Some(Format::Beads)] {
        for finished in [false, true] {
            let Ok(imported) = read(bytes, &Choice { format, tag: None, finished, backlog: finished }) else { continue };
            let ids: HashSet<&str> = imported.tasks.iter().map(|task| task.id.as_str()).collect();
            assert_eq!(ids.len(), imported.tasks.len());
            for task in &imported.tasks {
                assert!(task.dependencies.iter().all(|id| ids.contains(id.as_str()) && *id != task.id));
                assert!((1..=256).contains(&task.title.len()) && !task.title.contains(char::is_control));
                assert_eq!(Brief::of(&task.prompt).prompt(), task.prompt);
            }
        }
    }
});
