//! A processor for each attempt, where there are as many as slots. A limit in time alone does not keep a neighbour's speed:
//! many busy threads spread over all processors, and a neighbour of one thread shares its own with them.
//! Deliberately absent: attempts whose plan says how many processors they get; those may run anywhere.

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, PoisonError},
};

use devstack_dag::ids::AttemptId;

/// Which attempt has which processor, of those this process may use.
pub(super) struct Processors {
    all: Vec<u32>,
    taken: Mutex<HashMap<AttemptId, u32>>,
}

impl Processors {
    /// None is taken. What an earlier process gave out, [`Processors::note`] tells.
    pub(super) fn new() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self { all: parse(list.unwrap_or_default()), taken: Mutex::default() }
    }

    /// The one with the fewest attempts; the same again for the same attempt. `None`: this machine does not tell.
    pub(super) fn take(&self, attempt: &AttemptId) -> Option<String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |cpu: &&u32| taken.values().filter(|other| other == cpu).count();
        let cpu = taken.get(attempt).copied().or_else(|| self.all.iter().min_by_key(free).copied())?;
        taken.insert(attempt.clone(), cpu);
        Some(cpu.to_string())
    }

    /// An attempt of an earlier process has this one.
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

/// `0-2,5` as the kernel writes it.
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
