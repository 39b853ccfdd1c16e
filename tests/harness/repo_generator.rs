//! A seeded repository with many files and branches: edits, renames, directory renames, deletions, modes, symlinks,
//! binaries, CRLF, case collisions, files added under directories that others rename. The same seed gives the same
//! commits. Written through one `git fast-import`, so that 3,000 files and 200 branches take a second.
//! Deliberately absent: anything of devstack; used through `#[path]` by tests and benches.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// A stream of numbers from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// How large a generated repository is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Files in the base.
    pub(crate) files: usize,
    /// Branches off it.
    pub(crate) branches: usize,
}

/// Make a repository at `dir` (bare): `main` with the base, `b000`, `b001`, … off it. Returns the branch names.
pub(crate) fn generate(dir: &Path, seed: u64, size: Size) -> Vec<String> {
    run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(dir));
    let mut random = Random::new(seed);
    let mut stream = Stream { bytes: Vec::new(), mark: 0 };
    let base = base_files(&mut random, size.files);
    stream.commit("main", None, "base");
    for (path, (mode, content)) in &base {
        stream.modify(path, *mode, content);
    }
    let main = stream.mark;
    let names: Vec<String> = (0..size.branches).map(|n| format!("b{n:03}")).collect();
    for name in &names {
        let mut files = base.clone();
        let mut parent = main;
        for step in 0..1 + random.below(3) {
            stream.commit(name, Some(parent), &format!("{name}: step {step}"));
            parent = stream.mark;
            for _ in 0..1 + random.below(5) {
                change(&mut random, &mut files, &mut stream, name);
            }
        }
    }
    stream.import(dir);
    run(Command::new("git").arg("-C").arg(dir).args(["gc", "-q"]));
    names
}

fn base_files(random: &mut Random, count: usize) -> Files {
    let mut files = Files::new();
    files.insert(".gitattributes".into(), (0o100644, b"*.list merge=union\n*.raw -merge\n".to_vec()));
    while files.len() < count {
        let n = files.len();
        let dir = format!("area{:02}/part{}", n % 40, n % 7);
        let lines = |end: &str, random: &mut Random| -> Vec<u8> {
            (0..20 + random.below(40))
                .flat_map(|i| format!("{n} line {i} {}{end}", random.next() % 1000).into_bytes())
                .collect()
        };
        let (name, mode, content) = match n % 25 {
            0 => (format!("{dir}/data{n}.bin"), 0o100644, (0..400).map(|_| random.next() as u8).chain([0]).collect()),
            1 => (format!("{dir}/dos{n}.txt"), 0o100644, lines("\r\n", random)),
            2 => (format!("{dir}/link{n}"), 0o120000, format!("../part{}/file", n % 5).into_bytes()),
            3 => (format!("{dir}/run{n}.sh"), 0o100755, lines("\n", random)),
            4 => (format!("{dir}/all{n}.list"), 0o100644, lines("\n", random)),
            5 => (format!("{dir}/one{n}.raw"), 0o100644, lines("\n", random)),
            6 => (format!("{dir}/Read{n}.md"), 0o100644, lines("\n", random)),
            _ => (format!("{dir}/file{n}.txt"), 0o100644, lines("\n", random)),
        };
        files.insert(name, (mode, content));
    }
    files
}

/// One change of one branch.
fn change(random: &mut Random, files: &mut Files, stream: &mut Stream, branch: &str) {
    let pick = random.below(files.len());
    let Some((path, (mode, content))) = files.iter().nth(pick).map(|(p, f)| (p.clone(), f.clone())) else { return };
    let dir = path.rsplit_once('/').map_or(String::new(), |(d, _)| format!("{d}/"));
    match random.below(100) {
        0..46 if mode != 0o120000 => put(files, stream, &path, mode, edited(random, &content, branch)),
        46..58 => {
            let to = format!("{dir}renamed-{branch}-{pick}");
            remove(files, stream, &path);
            let content =
                if random.below(2) == 0 && mode != 0o120000 { edited(random, &content, branch) } else { content };
            put(files, stream, &to, mode, content);
        }
        58..61 if path.contains('/') => {
            let from = dir.clone();
            let to = format!("moved-{branch}/{from}");
            let inside: Vec<String> = files.keys().filter(|p| p.starts_with(&from)).cloned().collect();
            for old in inside {
                if let Some((mode, content)) = files.get(&old).cloned() {
                    remove(files, stream, &old);
                    put(files, stream, &format!("{to}{}", &old[from.len()..]), mode, content);
                }
            }
        }
        61..68 => remove(files, stream, &path),
        68..74 if mode != 0o120000 => put(files, stream, &path, mode ^ 0o111, content),
        74..79 => {
            put(files, stream, &format!("{dir}new-link-{pick}"), 0o120000, format!("target-{branch}").into_bytes())
        }
        79..82 => put(files, stream, &path, 0o100644, [&content[..], b"\0", branch.as_bytes()].concat()),
        82..86 if mode != 0o120000 => put(files, stream, &path, mode, crlf(&content)),
        86..90 => put(files, stream, &swap_case(&path), mode, edited(random, &content, branch)),
        _ => put(
            files,
            stream,
            &format!("{dir}added-{branch}-{pick}.txt"),
            0o100644,
            format!("{branch} {pick}\n").into_bytes(),
        ),
    }
}

fn put(files: &mut Files, stream: &mut Stream, path: &str, mode: u32, content: Vec<u8>) {
    stream.modify(path, mode, &content);
    files.insert(path.to_owned(), (mode, content));
}

fn remove(files: &mut Files, stream: &mut Stream, path: &str) {
    stream.bytes.extend_from_slice(format!("D {path}\n").as_bytes());
    files.remove(path);
}

fn edited(random: &mut Random, content: &[u8], branch: &str) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = content.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = random.below(lines.len().max(1));
    let line = format!("{branch} was here {}\n", random.next() % 100).into_bytes();
    match random.below(3) {
        0 if !lines.is_empty() => lines[at] = line,
        1 if lines.len() > 2 => drop(lines.remove(at)),
        _ => lines.insert(at.min(lines.len()), line),
    }
    lines.concat()
}

fn crlf(content: &[u8]) -> Vec<u8> {
    content
        .iter()
        .filter(|b| **b != b'\r')
        .flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] })
        .collect()
}

fn swap_case(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').map_or(("", path), |(d, n)| (d, n));
    let name: String =
        name.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
    if dir.is_empty() { name } else { format!("{dir}/{name}") }
}

struct Stream {
    bytes: Vec<u8>,
    mark: usize,
}

impl Stream {
    fn commit(&mut self, branch: &str, from: Option<usize>, message: &str) {
        self.mark += 1;
        let who = format!("Author {branch} <{branch}@example.invalid> {} +0000", 1_700_000_000 + self.mark);
        let head = format!(
            "commit refs/heads/{branch}\nmark :{}\nauthor {who}\ncommitter {who}\ndata {}\n{message}\n",
            self.mark,
            message.len()
        );
        self.bytes.extend_from_slice(head.as_bytes());
        if let Some(from) = from {
            self.bytes.extend_from_slice(format!("from :{from}\n").as_bytes());
        }
    }

    fn modify(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.bytes.extend_from_slice(format!("M {mode:o} inline {path}\ndata {}\n", content.len()).as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.push(b'\n');
    }

    fn import(&self, dir: &Path) {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("git fast-import starts");
        child.stdin.take().expect("piped").write_all(&self.bytes).expect("the stream is taken");
        assert!(child.wait().expect("ends").success(), "git fast-import failed");
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("git starts");
    assert!(status.success(), "{command:?} failed");
}
