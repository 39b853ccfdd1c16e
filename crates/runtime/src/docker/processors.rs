//! Assigns a processor to each attempt, where there are as many processors as slots. A limit on processor time alone
//! does not protect the speed of a neighbour: many busy threads spread over all processors, and a neighbour with one
//! thread shares its processor with them. Deliberately absent: attempts whose plan sets their number of processors;
//! those may run anywhere.

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, PoisonError},
};

use devstack_dag::ids::AttemptId;

/// The processors of the attempts, out of those that this process may use.
pub(super) struct Processors {
    all: Vec<u32>,
    taken: Mutex<HashMap<AttemptId, u32>>,
}

impl Processors {
    /// None is assigned. [`Processors::note`] adds the assignments of an earlier process.
    pub(super) fn new() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self { all: parse(list.unwrap_or_default()), taken: Mutex::default() }
    }

    /// Assigns the processor with the fewest attempts; the same attempt gets the same one again. `None` if this machine
    /// does not list its processors.
    pub(super) fn take(&self, attempt: &AttemptId) -> Option<String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |cpu: &&u32| taken.values().filter(|other| other == cpu).count();
        let cpu = taken.get(attempt).copied().or_else(|| self.all.iter().min_by_key(free).copied())?;
        taken.insert(attempt.clone(), cpu);
        Some(cpu.to_string())
    }

    /// Records that an attempt of an earlier process has this processor.
    pub(super) fn note(&self, attempt: &AttemptId, cpuset: Option<&str>) {
        if let Some(cpu) = cpuset.and_then(|cpuset| cpuset.parse().ok()) {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.clone(), cpu);
        }
    }

    /// The attempt is gone.
    pub(super) fn give_back(&self, attempt: &AttemptId) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
    }
}

/// Parses `0-2,5`, the kernel's format.
fn parse(list: &str) -> Vec<u32> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some(number(from)?..=number(to)?),
        None => number(part).map(|one| one..=one),
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;

    #[test]
    fn each_gets_the_least_used_and_keeps_it() {
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new("t").unwrap() };
        let attempt = |number| AttemptId { task: task.clone(), number };
        let processors = Processors { all: parse(" 0-1,7\n"), taken: Mutex::default() };
        processors.note(&attempt(9), Some("0"));
        processors.note(&attempt(8), Some(""));
        let given = [1, 2, 1, 3].map(|number| processors.take(&attempt(number)).unwrap());
        assert_eq!(given, ["1", "7", "1", "0"]);
        processors.give_back(&attempt(2));
        assert_eq!(processors.take(&attempt(4)).unwrap(), "7");
    }
}
