//! The system calls that agents may make: one profile, as data (`profile.json`), for containers and for bwrap. It
//! allows what Docker allows without capabilities, minus the starting points of kernel exploits of recent years:
//! io_uring, userfaultfd, keys, namespaces, 32-bit programs, and every socket except unix, IPv4, IPv6 and netlink's
//! routes.
//!
//! Architecture invariants: system calls that the profile does not name are refused; Docker and bwrap get the same
//! rules, Docker as JSON for libseccomp, bwrap as a program for the kernel that is made once and not per attempt.
//! Deliberately absent: checking that a filter is in force. The shim measures that (`devstack_shim::confinement`).

mod compile;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::{Value, json};

use self::compile::{Arch, compile};
use super::shim::lay_down;

/// The profile and the system call numbers, as shipped.
const PROFILE: &str = include_str!("profile.json");
const NUMBERS: &str = include_str!("numbers.txt");

/// The rules. A call that is in none of them fails with EPERM, or with ENOSYS if this version does not know the call:
/// programs then do without it, as on an older kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    /// Allowed with any arguments.
    allow: Vec<String>,
    /// Fail with ENOSYS, so that programs use an older call. `clone3` hides its flags from a filter.
    absent: Vec<String>,
    /// Allowed if all argument conditions of one rule for that name hold.
    only: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    args: Vec<Arg>,
}

/// A condition: an argument, after masking, equals this value. All 64 bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arg {
    /// The index of the argument: 0 to 5.
    index: u32,
    /// The mask; by default all bits.
    #[serde(default = "all_bits")]
    mask: u64,
    value: u64,
}

fn all_bits() -> u64 {
    u64::MAX
}

static SHIPPED: LazyLock<Profile> =
    LazyLock::new(|| serde_json::from_str(PROFILE).expect("it is part of this program, and a test reads it"));

/// The profile for `security_opt` of a container, `seccomp=<JSON>`; the engine compiles it.
pub(super) fn for_docker() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("seccomp={}", docker(&SHIPPED)));
    &TEXT
}

fn docker(profile: &Profile) -> Value {
    let arg = |arg: &Arg| match arg.mask {
        u64::MAX => json!({ "index": arg.index, "value": arg.value, "op": "SCMP_CMP_EQ" }),
        mask => json!({ "index": arg.index, "value": mask, "valueTwo": arg.value, "op": "SCMP_CMP_MASKED_EQ" }),
    };
    let only = profile.only.iter().map(|rule| {
        let args: Vec<Value> = rule.args.iter().map(arg).collect();
        json!({ "names": [rule.name], "action": "SCMP_ACT_ALLOW", "args": args })
    });
    let mut rules = vec![
        json!({ "names": profile.allow, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": profile.absent, "action": "SCMP_ACT_ERRNO", "errnoRet": nix::libc::ENOSYS }),
    ];
    rules.extend(only);
    // No sub-architectures: 32-bit programs have their own system calls, half of which hide their arguments.
    let arch = |name: &str| json!({ "architecture": name, "subArchitectures": [] });
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": nix::libc::EPERM,
        "archMap": [arch("SCMP_ARCH_X86_64"), arch("SCMP_ARCH_AARCH64")],
        "syscalls": rules,
    })
}

/// Writes the program for bwrap into `dir` and returns its path.
///
/// # Errors
/// There is no list of system calls for this processor, or the file cannot be written.
pub(super) fn install(dir: &Path) -> io::Result<PathBuf> {
    let arch = Arch::of_this_machine()
        .ok_or_else(|| io::Error::other(format!("no system call filter for {}", std::env::consts::ARCH)))?;
    let program = compile(&SHIPPED, NUMBERS, arch);
    let path = lay_down(dir, "devstack-seccomp", &program, 0o644)?;
    // The right length is not enough for a file of rules: the content must equal the compiled program.
    if fs::read(&path)? != program {
        fs::remove_file(&path)?;
        return lay_down(dir, "devstack-seccomp", &program, 0o644);
    }
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn profile() -> Profile {
        serde_json::from_str(PROFILE).unwrap()
    }

    #[test]
    fn the_profile_and_the_numbers_name_the_same_calls_each_once() {
        let profile = profile();
        let only: BTreeSet<&str> = profile.only.iter().map(|rule| rule.name.as_str()).collect();
        let listed: Vec<&str> =
            profile.allow.iter().chain(&profile.absent).map(String::as_str).chain(only.iter().copied()).collect();
        let named: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(named.len(), listed.len(), "one is named twice");
        let numbered: Vec<&str> = NUMBERS.lines().filter(|line| !line.starts_with('#')).collect();
        let names: BTreeSet<&str> = numbered.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!((names.len(), &names), (numbered.len(), &named));
    }

    #[test]
    fn what_exploits_begin_with_is_not_allowed() {
        let profile = profile();
        let refused = "io_uring_setup io_uring_enter io_uring_register userfaultfd perf_event_open bpf keyctl add_key \
                       request_key unshare setns clone3 mount umount2 pivot_root open_tree move_mount fsopen fsmount \
                       kexec_load init_module finit_module delete_module open_by_handle_at pidfd_getfd chroot acct \
                       quotactl reboot swapon iopl ioperm syslog clone socket socketpair personality";
        for name in refused.split_whitespace() {
            assert!(!profile.allow.iter().any(|allowed| allowed == name), "{name}");
        }
        let families: Vec<u64> =
            profile.only.iter().filter(|rule| rule.name == "socket").map(|rule| rule.args[0].value).collect();
        assert_eq!(
            families,
            [nix::libc::AF_UNIX, nix::libc::AF_INET, nix::libc::AF_INET6, nix::libc::AF_NETLINK]
                .map(|family| u64::try_from(family).unwrap())
        );
    }

    #[test]
    fn docker_gets_the_rules_in_its_own_words() {
        let text = for_docker().strip_prefix("seccomp=").unwrap();
        let made: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&made["defaultAction"], &made["defaultErrnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(1)));
        assert!(made["archMap"].as_array().unwrap().iter().all(|arch| arch["subArchitectures"] == json!([])));
        let rules = made["syscalls"].as_array().unwrap();
        let clone = rules.iter().find(|rule| rule["names"] == json!(["clone"])).unwrap();
        let spaces = json!([{ "index": 0, "value": 0x7E02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
        assert_eq!(clone["args"], spaces);
        let absent = rules.iter().find(|rule| rule["names"].as_array().unwrap().contains(&json!("clone3"))).unwrap();
        assert_eq!((&absent["action"], &absent["errnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(38)));
    }
}
