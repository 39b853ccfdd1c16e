//! The process table: the ancestry of processes, read from `/proc`. Deliberately absent: signals. The caller decides
//! about them.

use std::{collections::HashMap, fs, io};

/// One process as `/proc/<pid>/stat` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// Its parent's process id.
    pub parent: i32,
    /// Its session id.
    pub session: i32,
    /// `Z`: zombie, only its exit status remains; `T`: stopped.
    pub state: char,
    /// User plus system time, its own and that of its reaped children, in clock ticks (10 ms).
    pub cpu_ticks: u64,
    /// When it started, in clock ticks since boot: together with the pid it identifies a process within one boot.
    pub started: u64,
}

impl Process {
    /// Whether it can still do anything.
    pub fn is_alive(&self) -> bool {
        self.state != 'Z' && self.state != 'X'
    }
}

/// The process with this id, if it exists.
pub fn get(pid: i32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The calling process.
pub fn this() -> Option<Process> {
    parse(&fs::read("/proc/self/stat").ok()?)
}

/// All processes.
pub fn all() -> io::Result<Vec<Process>> {
    let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(get).collect())
}

/// The processes of `all` that descend from one of `roots`, without the roots themselves.
pub fn descendants(all: &[Process], roots: &[i32]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut open = roots.to_vec();
    while let Some(pid) = open.pop() {
        // Removed, so that an inconsistent table cannot cause an endless loop.
        for child in children.remove(&pid).unwrap_or_default() {
            open.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// The name in parentheses may contain anything, also a parenthesis: the fields start after the last one.
fn parse(stat: &[u8]) -> Option<Process> {
    let open = stat.iter().position(|&byte| byte == b'(')?;
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let pid = std::str::from_utf8(stat.get(..open)?).ok()?.trim().parse().ok()?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        cpu_ticks: fields.get(11..15)?.iter().map(|text| number(text)).sum::<Option<u64>>()?,
        started: number(fields.get(19)?)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = b"42 (a) R 1 (x) S 7 42 42 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 9876 1 2";
        let expected = Process { pid: 42, parent: 7, session: 42, state: 'S', cpu_ticks: 42, started: 9876 };
        assert_eq!(parse(stat), Some(expected));
    }

    #[test]
    fn descendants_reach_every_depth_and_survive_circles() {
        let process = |pid, parent| Process { pid, parent, session: 1, state: 'S', cpu_ticks: 0, started: 0 };
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 9), process(7, 8), process(8, 7)];
        let mut pids: Vec<i32> = descendants(&all, &[1]).iter().map(|p| p.pid).collect();
        pids.sort();
        assert_eq!(pids, [2, 3, 4]);
        assert_eq!(descendants(&all, &[7]).len(), 2);
    }
}
