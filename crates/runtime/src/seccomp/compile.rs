//! Compiles the profile to a program for the kernel's filter of system calls (classic BPF, as `seccomp(2)` takes it): a
//! binary search over ranges of numbers. The linear search that the libraries generate costs every start of a sandbox
//! 0.3 ms instead of 0.05 (docs/decisions). Pure.
//!
//! Deliberately absent: loading it. bwrap does it.

use std::collections::BTreeMap;

use nix::libc::{ENOSYS, EPERM};

use super::{Arg, Profile};

/// A processor whose system calls are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(super) fn of_this_machine() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// AUDIT_ARCH_* of linux/audit.h.
    fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
        }
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 2,
        }
    }
}

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// linux/seccomp.h: answers, and offsets in `struct seccomp_data`.
const ALLOW: u32 = 0x7FFF_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// One instruction: `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Allow,
    Fail(i32),
    /// Allowed if all conditions of one list hold.
    Only(Vec<Vec<Arg>>),
}

/// The program's bytes, in this machine's byte order.
pub(super) fn compile(profile: &Profile, numbers: &str, arch: Arch) -> Vec<u8> {
    let bytes = |one: &Instruction| {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&one.code.to_ne_bytes());
        bytes[2] = one.if_true;
        bytes[3] = one.if_false;
        bytes[4..].copy_from_slice(&one.k.to_ne_bytes());
        bytes
    };
    program(profile, numbers, arch).iter().flat_map(bytes).collect()
}

fn program(profile: &Profile, numbers: &str, arch: Arch) -> Vec<Instruction> {
    let mut program = vec![
        plain(LOAD, ARCH),
        Instruction { code: IF_EQUAL, if_true: 1, if_false: 0, k: arch.audit() },
        // A program of another architecture: its numbers mean other calls.
        plain(RETURN, KILL_PROCESS),
        plain(LOAD, NUMBER),
    ];
    program.extend(search(&ranges(&answers(profile, numbers, arch))));
    program
}

/// Answers by number. The highest number is that of the newest call known to this version.
fn answers(profile: &Profile, numbers: &str, arch: Arch) -> BTreeMap<u32, Answer> {
    let number = |name: &str| {
        let line = numbers.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(arch.column())?.parse::<u32>().ok()
    };
    let mut answers = BTreeMap::new();
    for (names, answer) in [(&profile.allow, Answer::Allow), (&profile.absent, Answer::Fail(ENOSYS))] {
        answers.extend(names.iter().filter_map(|name| number(name)).map(|number| (number, answer.clone())));
    }
    for rule in &profile.only {
        let Some(number) = number(&rule.name) else { continue };
        match answers.entry(number).or_insert_with(|| Answer::Only(Vec::new())) {
            Answer::Only(lists) => lists.push(rule.args.clone()),
            // Named twice: the stricter rule wins.
            other => *other = Answer::Only(vec![rule.args.clone()]),
        }
    }
    answers
}

/// The first number of each answer: covers the whole range of numbers, and merges neighbours with the same answer.
fn ranges(answers: &BTreeMap<u32, Answer>) -> Vec<(u32, Answer)> {
    let last = answers.last_key_value().map_or(0, |(number, _)| *number);
    let mut ranges: Vec<(u32, Answer)> = Vec::new();
    for number in 0..=last {
        let answer = answers.get(&number).cloned().unwrap_or(Answer::Fail(EPERM));
        if ranges.last().is_none_or(|(_, before)| *before != answer) {
            ranges.push((number, answer));
        }
    }
    // Newer than this version, or of the x32 ABI: answered like a kernel that lacks the call.
    ranges.push((last + 1, Answer::Fail(ENOSYS)));
    ranges
}

/// The number is already loaded.
fn search(ranges: &[(u32, Answer)]) -> Vec<Instruction> {
    let [(_, only)] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let from = high.first().map_or(0, |(number, _)| *number);
        let (low, high) = (search(low), search(high));
        let mut code = match u8::try_from(low.len()) {
            Ok(over) => vec![Instruction { code: IF_AT_LEAST, if_true: over, if_false: 0, k: from }],
            // A distance that does not fit into one byte.
            Err(_) => vec![
                Instruction { code: IF_AT_LEAST, if_true: 0, if_false: 1, k: from },
                plain(JUMP, u32::try_from(low.len()).unwrap_or(u32::MAX)),
            ],
        };
        code.extend(low);
        code.extend(high);
        return code;
    };
    answer(only)
}

fn answer(answer: &Answer) -> Vec<Instruction> {
    match answer {
        Answer::Allow => vec![plain(RETURN, ALLOW)],
        Answer::Fail(errno) => vec![plain(RETURN, fail(*errno))],
        Answer::Only(lists) => {
            let mut code: Vec<Instruction> = lists.iter().flat_map(|list| holds(list)).collect();
            code.push(plain(RETURN, fail(EPERM)));
            code
        }
    }
}

/// Allows the call if all conditions hold, otherwise continues after itself.
fn holds(list: &[Arg]) -> Vec<Instruction> {
    let mut code = Vec::new();
    for arg in list {
        let low = if cfg!(target_endian = "big") { 4 } else { 0 };
        for (half, shift) in [(low, 0), (4 - low, 32)] {
            // Each half is 32 bits of the 64.
            let word = |value: u64| (value >> shift & u64::from(u32::MAX)) as u32;
            let (mask, value) = (word(arg.mask), word(arg.value));
            if mask == 0 {
                continue;
            }
            code.push(plain(LOAD, ARGS + 8 * arg.index + half));
            if mask != u32::MAX {
                code.push(plain(AND, mask));
            }
            code.push(Instruction { code: IF_EQUAL, if_true: 0, if_false: 0, k: value });
        }
    }
    code.push(plain(RETURN, ALLOW));
    let length = code.len();
    for (at, one) in code.iter_mut().enumerate().filter(|(_, one)| one.code == IF_EQUAL) {
        // A list has few arguments, with three instructions per half.
        one.if_false = u8::try_from(length - at - 1).unwrap_or(u8::MAX);
    }
    code
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, k }
}

fn fail(errno: i32) -> u32 {
    ERRNO | errno.unsigned_abs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{super::*, *};

    /// The kernel's answer, and the number of steps.
    fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
        let load = |offset: u32| match offset {
            NUMBER => number,
            ARCH => arch,
            _ => (args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
        };
        let (mut at, mut accumulator, mut steps) = (0, 0, 0);
        loop {
            let one = program[at];
            (at, steps) = (at + 1, steps + 1);
            let branch = |holds: bool| usize::from(if holds { one.if_true } else { one.if_false });
            match one.code {
                LOAD => accumulator = load(one.k),
                AND => accumulator &= one.k,
                JUMP => at += one.k as usize,
                IF_EQUAL => at += branch(accumulator == one.k),
                IF_AT_LEAST => at += branch(accumulator >= one.k),
                RETURN => return (one.k, steps),
                other => panic!("{other}"),
            }
        }
    }

    const BOTH: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    fn shipped(arch: Arch) -> Vec<Instruction> {
        program(&SHIPPED, NUMBERS, arch)
    }

    fn number(name: &str, arch: Arch) -> Option<u32> {
        let line = NUMBERS.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(arch.column())?.parse().ok()
    }

    #[test]
    fn every_number_is_answered_as_the_profile_says() {
        for arch in BOTH {
            let program = shipped(arch);
            let answers = answers(&SHIPPED, NUMBERS, arch);
            for asked in (0..1024).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                let (answer, steps) = run(&program, arch.audit(), asked, [u64::MAX - 1; 6]);
                let expected = match answers.get(&asked) {
                    Some(Answer::Allow) => ALLOW,
                    Some(Answer::Fail(errno)) => fail(*errno),
                    // No rule allows these arguments.
                    Some(Answer::Only(_)) => fail(EPERM),
                    None if asked > *answers.last_key_value().unwrap().0 => fail(ENOSYS),
                    None => fail(EPERM),
                };
                assert_eq!(answer, expected, "{arch:?} {asked}");
                assert!(steps < 40, "{arch:?} {asked}: {steps} steps");
            }
            assert!(program.len() < 400, "{}", program.len());
            assert_eq!(compile(&SHIPPED, NUMBERS, arch).len(), 8 * program.len());
        }
    }

    #[test]
    fn arguments_are_compared_with_all_their_bits() {
        for arch in BOTH {
            let program = shipped(arch);
            let says = |name: &str, args: &[u64]| {
                let mut six = [0; 6];
                six[..args.len()].copy_from_slice(args);
                run(&program, arch.audit(), number(name, arch).unwrap(), six).0
            };
            for family in [1, 2, 10] {
                assert_eq!(says("socket", &[family, 1, 0]), ALLOW);
            }
            // Packet, algorithms, vsock; and numbers with bits that the kernel would cut off.
            for family in [0, 3, 17, 38, 40, 1 << 32 | 1, 2 | 1 << 63] {
                assert_eq!(says("socket", &[family, 1, 0]), fail(EPERM), "{family}");
            }
            // Netlink: only routes, neither the firewall nor any other.
            assert_eq!(says("socket", &[16, 3, 0]), ALLOW);
            assert!([4, 9, 12, 16].iter().all(|protocol| says("socket", &[16, 3, *protocol]) == fail(EPERM)));
            assert_eq!((says("socketpair", &[1]), says("socketpair", &[40])), (ALLOW, fail(EPERM)));
            // A thread, a process, and a process in a user namespace.
            assert_eq!((says("clone", &[0x003D_0F00]), says("clone", &[17])), (ALLOW, ALLOW));
            for space in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
                assert_eq!(says("clone", &[space | 17]), fail(EPERM), "{space:x}");
            }
            assert_eq!(says("personality", &[0xFFFF_FFFF]), ALLOW);
            assert_eq!(says("personality", &[0x0004_0000]), fail(EPERM));
            assert_eq!((says("clone3", &[]), says("io_uring_setup", &[])), (fail(ENOSYS), fail(ENOSYS)));
        }
    }

    #[test]
    fn a_program_of_another_architecture_is_ended() {
        assert_eq!(run(&shipped(Arch::X86_64), 0x4000_0003, 1, [0; 6]).0, KILL_PROCESS);
    }

    /// Numbers far apart make jumps that do not fit into one byte.
    #[test]
    fn long_jumps_reach() {
        let names: Vec<String> = (0..2000).map(|index| format!("call{index}")).collect();
        let numbers: String =
            names.iter().enumerate().map(|(index, name)| format!("{name} {} -\n", 2 * index)).collect();
        let profile = Profile { allow: names, absent: Vec::new(), only: Vec::new() };
        let program = program(&profile, &numbers, Arch::X86_64);
        for asked in 0..4000 {
            let expected = if asked % 2 == 0 { ALLOW } else { fail(if asked < 3999 { EPERM } else { ENOSYS }) };
            assert_eq!(run(&program, Arch::X86_64.audit(), asked, [0; 6]).0, expected, "{asked}");
        }
    }
}
