//! What a host must give up after it reported everything that it holds. Pure: two lists in, one out.
//! Deliberately absent: which of these attempts have work to save first (`hosts`), leases, and silent hosts
//! (`presence`).

use std::collections::HashSet;

use crate::ids::AttemptId;

/// The attempts that the host holds and that the engine does not expect there: fenced or ended. In the given order.
pub(crate) fn stale(believed: &[AttemptId], held: &[AttemptId]) -> Vec<AttemptId> {
    let believed: HashSet<&AttemptId> = believed.iter().collect();
    held.iter().filter(|attempt| !believed.contains(attempt)).cloned().collect()
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
    fn what_is_fenced_or_over_is_given_up() {
        let held = [attempt("a/1"), attempt("b/1"), attempt("c/1")];
        assert_eq!(stale(&[attempt("a/2"), attempt("b/1")], &held), [attempt("a/1"), attempt("c/1")]);
    }
}
