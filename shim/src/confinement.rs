//! The confinement that must be in force around an agent ([`Demand`]), and the confinement that is in force
//! ([`Measured`]), as the kernel reports it in `/proc/self/status`. Pure.
//!
//! Deliberately absent: putting anything in force, and reading the file.

use serde::{Deserialize, Serialize};

/// What an order demands in addition to what is always required: a user that is not root, no new privileges, no
/// capability in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// A system call filter.
    pub filter: bool,
    /// Capabilities that may remain in the bounding set, as bits; none may be inheritable then. `None`: any, where only
    /// the user separates the agent.
    pub bounding: Option<u64>,
}

/// The confinement of a process, as the kernel reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Real, effective, saved and file system user id.
    pub users: [u32; 4],
    /// No program can give it new privileges.
    pub no_new_privileges: bool,
    /// 0: no system call filter; 1: strict; 2: a filter.
    pub seccomp: u32,
    /// Capabilities as bits: inheritable.
    pub inheritable: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Effective capabilities.
    pub effective: u64,
    /// Capabilities in the bounding set.
    pub bounding: u64,
    /// Ambient capabilities.
    pub ambient: u64,
}

impl Measured {
    /// Reads `/proc/<pid>/status`; `None` if a line is missing, as on a kernel without system call filters.
    pub fn read(status: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(status).ok()?;
        let mut found = Self::default();
        let mut lines = 0;
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let bits = || u64::from_str_radix(value, 16).ok();
            match name {
                "Uid" => {
                    let mut users = value.split_ascii_whitespace();
                    for user in &mut found.users {
                        *user = users.next()?.parse().ok()?;
                    }
                }
                "NoNewPrivs" => found.no_new_privileges = value == "1",
                "Seccomp" => found.seccomp = value.parse().ok()?,
                "CapInh" => found.inheritable = bits()?,
                "CapPrm" => found.permitted = bits()?,
                "CapEff" => found.effective = bits()?,
                "CapBnd" => found.bounding = bits()?,
                "CapAmb" => found.ambient = bits()?,
                _ => continue,
            }
            lines += 1;
        }
        (lines == 8).then_some(found)
    }

    /// The demands that are not in force, as text; empty if all are.
    pub fn missing(&self, demand: &Demand) -> Vec<String> {
        let mut missing = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                missing.push(what.to_owned());
            }
        };
        must(!self.users.contains(&0), "a user that is not root");
        must(self.no_new_privileges, "no new privileges");
        must(self.effective == 0 && self.permitted == 0 && self.ambient == 0, "no capability");
        must(!demand.filter || self.seccomp == 2, "the filter of system calls");
        if let Some(bounding) = demand.bounding {
            must(self.inheritable == 0 && self.bounding & !bounding == 0, "no attainable capability");
        }
        missing
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tdevstack-shim\nUmask:\t0022\nState:\tR (running)\nPid:\t1\nUid:\t10001\t10001\t10001\t10001\n\
                          Gid:\t10001\t10001\t10001\t10001\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                          CapEff:\t0000000000000000\nCapBnd:\t00000000000000c0\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
                          Seccomp:\t2\nSeccomp_filters:\t1\nSpeculation_Store_Bypass:\tvulnerable\n";

    fn measured(from: &str, to: &str) -> Measured {
        assert!(STATUS.contains(from));
        Measured::read(STATUS.replacen(from, to, 1).as_bytes()).unwrap()
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let expected =
            Measured { users: [10_001; 4], no_new_privileges: true, seccomp: 2, bounding: 0xC0, ..Measured::default() };
        assert_eq!(Measured::read(STATUS.as_bytes()), Some(expected));
        for line in
            STATUS.lines().filter(|line| ["Uid", "Cap", "NoNew", "Seccomp:"].iter().any(|n| line.starts_with(n)))
        {
            assert_eq!(Measured::read(STATUS.replace(line, "").as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn everything_that_is_not_in_force_is_named() {
        let all = Demand { filter: true, bounding: Some(0xC0) };
        assert_eq!(measured("1", "1").missing(&all), Vec::<String>::new());
        for (from, to, what) in [
            ("Uid:\t10001\t10001\t10001", "Uid:\t10001\t10001\t0", "not root"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "no new privileges"),
            ("Seccomp:\t2", "Seccomp:\t0", "filter of system calls"),
            ("Seccomp:\t2", "Seccomp:\t1", "filter of system calls"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000001", "no capability"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000200000", "no capability"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000001000", "no capability"),
            ("CapInh:\t0000000000000000", "CapInh:\t0000000000200000", "attainable"),
            ("CapBnd:\t00000000000000c0", "CapBnd:\t000001ffffffffff", "attainable"),
        ] {
            let missing = measured(from, to).missing(&all);
            assert!(missing.len() == 1 && missing[0].contains(what), "{from} {to}: {missing:?}");
        }
    }

    /// Where only the user separates the agent.
    #[test]
    fn without_a_sandbox_only_the_user_and_its_rights_are_demanded() {
        let little = Demand { filter: false, bounding: None };
        assert!(measured("CapBnd:\t00000000000000c0", "CapBnd:\t000001ffffffffff").missing(&little).is_empty());
        assert!(measured("Seccomp:\t2", "Seccomp:\t0").missing(&little).is_empty());
        assert_eq!(measured("NoNewPrivs:\t1", "NoNewPrivs:\t0").missing(&little), ["no new privileges"]);
    }
}
