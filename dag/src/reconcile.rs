//! What a host must be told after it reported everything it holds. Pure: two sets in, two lists out.
//! Deliberately absent: leases, and SUSPECT or UNKNOWN hosts.

use std::collections::HashSet;

use crate::ids::AttemptId;

/// The difference between what the engine believes and what the host holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Believed to run there. Each order is given again: a host that holds the attempt adopts it (a new AgentHost has
    /// no orders of its own), one that lacks it starts it.
    pub(crate) order: Vec<AttemptId>,
    /// Held there, but fenced or over: to be stopped and forgotten.
    pub(crate) forget: Vec<AttemptId>,
}

/// Compares in the order given.
pub(crate) fn compare(believed: Vec<AttemptId>, held: &[AttemptId]) -> Difference {
    let believed_set: HashSet<&AttemptId> = believed.iter().collect();
    let forget = held.iter().filter(|a| !believed_set.contains(a)).cloned().collect();
    Difference { order: believed, forget }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProjectName, TaskId, TaskRef};

    fn attempt(text: &str) -> AttemptId {
        let (id, number) = text.split_once('/').unwrap();
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new(id).unwrap() };
        AttemptId { task, number: number.parse().unwrap() }
    }

    #[test]
    fn what_is_valid_is_ordered_again_and_what_is_stale_forgotten() {
        let believed = vec![attempt("a/2"), attempt("b/1")];
        let held = [attempt("a/1"), attempt("b/1"), attempt("c/1")];
        let difference = compare(believed, &held);
        assert_eq!(difference.order, [attempt("a/2"), attempt("b/1")]);
        assert_eq!(difference.forget, [attempt("a/1"), attempt("c/1")]);
    }
}
