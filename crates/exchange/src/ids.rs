//! Maps ids of other tools to our ids: every character that our ids may not have becomes `-`.
//! A valid id stays unchanged. If two ids would be equal, the later one in the list gets `-2`, `-3`, ….

use std::collections::{HashMap, HashSet};

use devstack_dag::ids::{MAX_NAME, TaskId};

/// Our ids for foreign ids, in their order. Foreign ids must be distinct.
pub(super) fn assign<'a>(foreign: &[&'a str]) -> HashMap<&'a str, TaskId> {
    let mut ours = HashMap::with_capacity(foreign.len());
    let mut taken: HashSet<TaskId> = HashSet::with_capacity(foreign.len());
    for &id in foreign {
        if let Ok(same) = TaskId::new(id) {
            taken.insert(same.clone());
            ours.insert(id, same);
        }
    }
    for &id in foreign {
        if ours.contains_key(id) {
            continue;
        }
        let plain = plain(id);
        // There are more candidates than ids, so one of them is free.
        let free = (1..).find_map(|number| numbered(&plain, number).filter(|candidate| !taken.contains(candidate)));
        if let Some(free) = free {
            taken.insert(free.clone());
            ours.insert(id, free);
        }
    }
    ours
}

fn plain(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let text: String = id.chars().take(MAX_NAME).map(|c| if fits(c) { c } else { '-' }).collect();
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) { text } else { format!("T{text}") }
}

fn numbered(plain: &str, number: u64) -> Option<TaskId> {
    let suffix = if number == 1 { String::new() } else { format!("-{number}") };
    // ASCII only, so that every index is a boundary.
    let kept = &plain[..plain.len().min(MAX_NAME - suffix.len())];
    TaskId::new(&format!("{kept}{suffix}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_by_rule() {
        let long = "x".repeat(70);
        let longer = format!("{long}y");
        let ids = assign(&["5.2", "5-2", "5/2", "_a", "ü", "", &long, &longer]);
        let of = |id: &str| ids[id].as_str().to_owned();
        assert_eq!([of("5-2"), of("5.2"), of("5/2")], ["5-2", "5-2-2", "5-2-3"]);
        assert_eq!([of("_a"), of("ü"), of("")], ["T_a", "T-", "T"]);
        assert_eq!([of(&long), of(&longer)], ["x".repeat(64), format!("{}-2", "x".repeat(62))]);
    }
}
