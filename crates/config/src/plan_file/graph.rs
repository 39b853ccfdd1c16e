//! Checks the relations between tasks: duplicate ids, missing dependencies, cycles.
//! Deliberately absent: the engine's own check of the same rules (it trusts nobody). This one reports line numbers.

use std::collections::HashMap;

use super::{plan_code, tasks::Placed};
use crate::{section::Reader, suggest::nearest};

/// The most members of a cycle that are named; more would fill the screen.
const NAMED_MAX: usize = 20;
/// The most ids that are compared for "did you mean": enough for most plans.
const COMPARED_MAX: usize = 5_000;

/// Records all mistakes between tasks.
pub(super) fn check(reader: &mut Reader<'_>, tasks: &[Placed]) {
    let mut index: HashMap<&str, usize> = HashMap::with_capacity(tasks.len());
    for (number, task) in tasks.iter().enumerate() {
        let id = task.spec.id.as_str();
        if index.insert(id, number).is_some() {
            let hint = "rename one of them: ids must be unique in a project".to_owned();
            reader.add(task.at, plan_code::DUPLICATE_TASK, format!("two tasks have the id `{id}`"), Some(hint));
        }
    }
    let mut edges: Vec<Vec<u32>> = vec![Vec::new(); tasks.len()];
    for (number, task) in tasks.iter().enumerate() {
        for dependency in &task.spec.dependencies {
            match index.get(dependency.as_str()) {
                Some(&other) => edges[number].push(u32::try_from(other).unwrap_or(u32::MAX)),
                None => {
                    let known = tasks.iter().take(COMPARED_MAX).map(|task| task.spec.id.as_str());
                    let hint = match nearest(dependency.as_str(), known) {
                        Some(word) => format!("did you mean `{word}`?"),
                        None => "add the task to the plan, or remove the dependency".to_owned(),
                    };
                    let message = format!("task {} depends on `{dependency}`, which is not in the plan", task.spec.id);
                    reader.add(task.dependencies_at, plan_code::MISSING_DEPENDENCY, message, Some(hint));
                }
            }
        }
    }
    for cycle in cycles(&edges) {
        let mut names: Vec<&str> = cycle.iter().take(NAMED_MAX).map(|&task| tasks[task].spec.id.as_str()).collect();
        if cycle.len() > NAMED_MAX {
            names.push("…");
        }
        names.push(tasks[cycle[0]].spec.id.as_str());
        let message = format!("these tasks wait for each other: {}", names.join(" → "));
        let hint = "remove one of these dependencies".to_owned();
        reader.add(tasks[cycle[0]].dependencies_at, plan_code::CYCLE, message, Some(hint));
    }
}

/// Finds cycles that share no task. Each starts with the task that is first in the plan, in the direction "depends on".
fn cycles(edges: &[Vec<u32>]) -> Vec<Vec<usize>> {
    /// The state of a task in the walk.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut found = Vec::new();
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // The path from the root; each entry has the index of the next dependency to follow. A loop instead of
        // recursion, since chains can be long.
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        marks[root] = Mark::Open;
        while let Some((task, next)) = path.last_mut() {
            let Some(&dependency) = edges[*task].get(*next) else {
                marks[*task] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let dependency = dependency as usize;
            match marks[dependency] {
                Mark::Done => {}
                Mark::New => {
                    marks[dependency] = Mark::Open;
                    path.push((dependency, 0));
                }
                Mark::Open => {
                    let start = path.iter().position(|(task, _)| *task == dependency).unwrap_or(0);
                    let mut cycle: Vec<usize> = path.drain(start..).map(|(task, _)| task).collect();
                    cycle.iter().for_each(|&task| marks[task] = Mark::Done);
                    let first = (0..cycle.len()).min_by_key(|&at| cycle[at]).unwrap_or(0);
                    cycle.rotate_left(first);
                    found.push(cycle);
                }
            }
        }
    }
    found
}
