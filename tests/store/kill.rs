//! kill -9 of a real process at random moments, some hundred times on one store: everything it acknowledged is there,
//! and what is there is a whole number of commits. And a disk that runs full under it, once.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use devstack::store::{Commit, Entry, Journal, JournalConfig, Seq, Store};
use devstack_dag::record::{Record, RecordKey};

use crate::sample::*;

const ROUNDS: usize = 120;
/// Says to a re-executed test that it is the child, and on which store.
const STORE: &str = "DEVSTACK_TEST_STORE";
/// Limits the size of the child's files, in bytes.
const FILE_LIMIT: &str = "DEVSTACK_TEST_FILE_LIMIT";
/// Records of a large commit: enough for chunks.
const LARGE: usize = 1_100;

/// The nth commit (counted from 1): one fact each, so that the store's sequence says how many there were.
fn nth(n: u64) -> Commit {
    let number = n as usize * 31 % LARGE;
    let mut commit = Commit { records: vec![updated(number, n as u32)], ..step(n - 1, number) };
    match n % 40 {
        0 => commit.records = (0..LARGE).map(|number| updated(number, n as u32)).collect(),
        7 | 14 | 21 => commit.removed = vec![task_key((number + 1) % LARGE)],
        _ => {}
    }
    commit
}

/// What the store holds after each commit: who was updated last by which.
#[derive(Default)]
struct Model {
    seq: u64,
    records: HashMap<RecordKey, Record>,
}

impl Model {
    fn advance(&mut self, seq: u64) {
        while self.seq < seq {
            self.seq += 1;
            let commit = nth(self.seq);
            self.records.extend(commit.records.into_iter().map(|record| (record.key(), record)));
            commit.removed.iter().for_each(|key| drop(self.records.remove(key)));
        }
    }

    fn check(&mut self, dir: &Path, acknowledged: u64, when: &str) {
        let store = open(dir);
        let loaded = store.load().unwrap();
        let seq = loaded.meta.seq.0;
        assert!(seq >= acknowledged, "{when}: {acknowledged} was acknowledged, the store is at {seq}");
        self.advance(seq);
        let found = loaded.records.len();
        let torn = loaded.records.into_iter().find(|record| self.records.get(&record.key()) != Some(record));
        assert!(torn.is_none(), "{when}: at {seq} the store has {torn:?}");
        assert_eq!(found, self.records.len(), "{when}: records at {seq}");
        let page = store.reader().facts(Seq(seq.saturating_sub(20)), 99).unwrap();
        for (seq, fact) in page.facts {
            assert_eq!(fact, nth(seq.0).facts[0], "{when}: fact {seq}");
        }
    }
}

/// Commits for ever, saying `ack n` when commit n is durable.
#[test]
fn the_child() {
    let Some(dir) = std::env::var_os(STORE) else { return };
    if let Ok(limit) = std::env::var(FILE_LIMIT) {
        let limit = limit.parse().unwrap();
        // Without SIGXFSZ, which would end the process, the write fails with EFBIG. sled's threads inherit the mask.
        let blocked = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGXFSZ);
        blocked.thread_block().unwrap();
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE, limit, limit).unwrap();
    }
    let store = open(Path::new(&dir));
    let first = store.meta().seq.0 + 1;
    let on_fatal = |error| {
        say(&format!("fatal {error}"));
        std::process::exit(7);
    };
    let journal = Journal::spawn(Box::new(store), JournalConfig { queue: 32, ..Default::default() }, on_fatal).unwrap();
    say("open");
    for n in first.. {
        let then = Box::new(move |seq: Seq| {
            assert_eq!(seq, Seq(n));
            say(&format!("ack {n}"));
        });
        if journal.submit(Entry { commit: nth(n), then }).is_err() {
            // The fatal callback ends the process.
            std::thread::park();
        }
    }
}

/// One line in one write, past the capture of the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn spawn(dir: &Path, limit: Option<u64>) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kill::the_child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(STORE, dir).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(limit) = limit {
        command.env(FILE_LIMIT, limit.to_string());
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("ack ").and_then(|number| number.parse().ok())
}

/// A small generator (xorshift): the seed is in every message, so that a run can be repeated about.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn kill_9_loses_nothing_and_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let seed = getrandom::u64().unwrap() | 1;
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut last = 0;
    for round in 0..ROUNDS {
        let (mut child, mut lines) = spawn(dir.path(), None);
        let acks = if round % 4 == 0 {
            // Somewhere in the opening.
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            0
        } else {
            random.below(50) as usize
        };
        let seen: Vec<u64> = lines.by_ref().filter_map(|line| acknowledged(&line)).take(acks).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        let rest = lines.filter_map(|line| acknowledged(&line));
        last = seen.into_iter().chain(rest).fold(last, u64::max);
        model.check(dir.path(), last, &format!("round {round} of seed {seed}"));
    }
    assert!(last > ROUNDS as u64, "only {last} commits were acknowledged: the child did not work");
}

#[test]
fn a_disk_that_runs_full_ends_the_process_and_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, lines) = spawn(dir.path(), Some(6 << 20));
    let lines: Vec<String> = lines.collect();
    let fatal = lines.iter().position(|line| line.starts_with("fatal ")).expect("it ended without a reason");
    assert_eq!(child.wait().unwrap().code(), Some(7), "{}", lines[fatal]);
    assert!(lines[fatal].contains("File too large"), "{}", lines[fatal]);
    assert!(!lines[fatal..].iter().any(|line| acknowledged(line).is_some()), "acknowledged after the end");
    let last = lines.iter().filter_map(|line| acknowledged(line)).max().unwrap();
    Model::default().check(dir.path(), last, "after the full disk");
}
