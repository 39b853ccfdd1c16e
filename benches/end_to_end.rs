//! The whole way, as a user has it: HTTP API → durable store → dispatch → process → durable result, with the shipped
//! configuration on a real disk and `--sandbox off`. Peers are measured in the same run if `DEVSTACK_PEERS` names a
//! python with the packages of `benches/peers/requirements.txt`. `DEVSTACK_BENCH_NODE` names another build of
//! `devstack` to measure in place of this one: before and after, in turns, in the same minutes.
//!
//!     cargo bench --bench end_to_end [chain|independent|submit|idle|list|dashboards|peers ...]
//!
//! Deliberately absent: assertions. It prints figures; `docs/benchmarks.md` says what was reached and where.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    ops::Range,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

const SLOTS: &str = "2";

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all: [(&str, fn()); 7] = [
        ("chain", chain),
        ("independent", independent),
        ("peers", peers),
        ("submit", submit),
        ("list", list),
        ("dashboards", dashboards),
        ("idle", idle),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}

/// The `devstack` to measure.
fn program() -> PathBuf {
    env::var_os("DEVSTACK_BENCH_NODE").map_or_else(|| env!("CARGO_BIN_EXE_devstack").into(), PathBuf::from)
}

/// A node in a fresh directory on the disk of the build.
struct Node {
    dir: PathBuf,
    child: Child,
}

impl Node {
    fn start(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        let child = Self::spawn(&dir);
        let node = Self { dir, child };
        node.wait_for_socket();
        node
    }

    fn spawn(dir: &Path) -> Child {
        Command::new(program())
            .args(["up", "--runtime", "process", "--sandbox", "off", "--slots", SLOTS])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the node starts")
    }

    /// kill -9 and start again.
    fn restart(&mut self) {
        self.child.kill().expect("the node is killed");
        self.child.wait().expect("the node is gone");
        self.child = Self::spawn(&self.dir);
    }

    fn socket(&self) -> PathBuf {
        self.dir.join(".devstack/api.sock")
    }

    fn wait_for_socket(&self) {
        while UnixStream::connect(self.socket()).is_err() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(self.socket()).expect("the node answers");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: devstack\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .expect("the request is sent");
        BufReader::new(stream)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut answer = String::new();
        self.request(method, path, body).read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {}", &answer[..answer.len().min(600)]);
        answer
    }

    /// Returns when everything of the project is settled.
    fn settle(&self, project: &str) {
        self.ask("GET", &format!("/v1/wait?project={project}"), "");
    }

    /// Moments at which the API streamed a fact of this kind, `count` of them, after `after` or from now on.
    fn moments(&self, after: Option<u64>, kind: &str, count: usize) -> Vec<Instant> {
        let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let mut reader = self.request("GET", &format!("/v1/facts{after}"), "");
        let needle = format!("\"kind\":\"{kind}\"");
        let mut moments = Vec::with_capacity(count);
        let mut line = String::new();
        while moments.len() < count && reader.read_line(&mut line).expect("a stream of facts") > 0 {
            if line.contains(&needle) {
                moments.push(Instant::now());
            }
            line.clear();
        }
        moments
    }

    fn cpu(&self) -> Duration {
        Duration::from_millis(self.stat(14..16).iter().sum::<u64>() * 10)
    }

    /// Of those that were waited for; no process lives without one.
    fn faults_of_children(&self) -> u64 {
        self.stat(11..12)[0]
    }

    /// Fields of `/proc/<pid>/stat`, numbered as in proc(5).
    fn stat(&self, fields: Range<usize>) -> Vec<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the node lives");
        let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
        let rest: Vec<&str> = rest.split_whitespace().collect();
        fields.map(|number| rest[number - 3].parse().expect("a number")).collect()
    }

    /// Processor time of one of its actors, in seconds. An older build does not say.
    fn cpu_of(&self, actor: &str) -> f64 {
        let metrics = self.ask("GET", "/metrics", "");
        let name = format!("devstack_{actor}_cpu_seconds_total ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        value.unwrap_or(f64::NAN)
    }

    /// Resident memory in MB: now, and at most so far.
    fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the node lives");
        let kib = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).expect("a field");
            line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `/bin/true` tasks without a repository.
fn plan(project: &str, count: usize, chained: bool) -> String {
    let mut text = format!(
        r#"{{"project":{{"name":"{project}"}},"agents":{{"dev":{{"count":{SLOTS},"command":["/bin/true"]}}}},"defaults":{{"role":"dev"}},"task":["#
    );
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(text, r#"{comma}{{"id":"T-{number:06}","title":"task""#);
        if chained && number > 0 {
            let _ = write!(text, r#","dependencies":["T-{:06}"]"#, number - 1);
        }
        text.push('}');
    }
    text + "]}"
}

fn chain() {
    const LENGTH: usize = 1_000;
    let node = Node::start("chain");
    let body = plan("chain", LENGTH, true);
    std::thread::scope(|scope| {
        let moments = scope.spawn(|| node.moments(Some(0), "attempt-started", LENGTH));
        let started = Instant::now();
        node.ask("POST", "/v1/plans", &body);
        node.settle("chain");
        let total = started.elapsed();
        let moments = moments.join().expect("the reader ends");
        let mut hops: Vec<Duration> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        hops.sort_unstable();
        println!(
            "chain of {LENGTH}: {:.3} s, {:.3} ms a hop; p50 {:.3} ms, p99 {:.3} ms",
            total.as_secs_f64(),
            total.as_secs_f64() * 1000.0 / LENGTH as f64,
            hops[hops.len() / 2].as_secs_f64() * 1000.0,
            hops[hops.len() * 99 / 100].as_secs_f64() * 1000.0,
        );
    });
}

fn independent() {
    const TASKS: usize = 10_000;
    let node = Node::start("independent");
    let body = plan("flat", TASKS, false);
    let started = Instant::now();
    node.ask("POST", "/v1/plans", &body);
    node.settle("flat");
    let total = started.elapsed();
    let cpu = node.cpu().as_secs_f64();
    let [taskmaster, journal] = ["taskmaster", "journal"].map(|actor| node.cpu_of(actor));
    let [cpu, taskmaster, journal] = [cpu, taskmaster, journal].map(|cpu| cpu * 1e6 / TASKS as f64);
    println!(
        "{TASKS} independent on {SLOTS} slots: {:.3} s, {:.0}/s; CPU a task: node {cpu:.0} µs, of it Taskmaster \
         {taskmaster:.0}, journal {journal:.0}; memory {:?} MB (now, peak)",
        total.as_secs_f64(),
        TASKS as f64 / total.as_secs_f64(),
        node.memory(),
    );
}

fn submit() {
    const TASKS: usize = 100_000;
    let mut node = Node::start("submit");
    let body = plan("large", TASKS, false);
    let started = Instant::now();
    node.ask("POST", "/v1/plans", &body);
    println!(
        "{TASKS} submitted durably: {:.3} s, memory {:?} MB (now, peak)",
        started.elapsed().as_secs_f64(),
        node.memory()
    );
    let started = Instant::now();
    node.restart();
    node.wait_for_socket();
    let ready = started.elapsed();
    // Only what happens from now on is streamed: the first start seen comes after the first dispatch.
    node.moments(None, "attempt-started", 1);
    println!(
        "restart on {TASKS}: API after {:.3} s, a dispatch seen after {:.3} s, memory {:?} MB (now, peak)",
        ready.as_secs_f64(),
        started.elapsed().as_secs_f64(),
        node.memory()
    );
}

fn list() {
    const RUNS: usize = 30;
    let node = Node::start("list");
    node.ask("POST", "/v1/plans", &plan("list", 100, false));
    node.settle("list");
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            let output = Command::new(program())
                .args(["task", "list"])
                .current_dir(&node.dir)
                .output()
                .expect("the command runs");
            assert!(output.status.success());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "`task list` of 100 tasks as a process: p50 {:.1} ms, best {:.1} ms",
        times[RUNS / 2].as_secs_f64() * 1000.0,
        times[0].as_secs_f64() * 1000.0
    );
}

/// A hundred open dashboards on 10,000 tasks, while 200 facts a second pass: the node's processor time, and what a
/// chain of tasks loses. With and without viewers in turns, so that neighbours on the machine disturb both.
fn dashboards() {
    const TASKS: usize = 10_000;
    const VIEWERS: usize = 100;
    const TURNS: usize = 4;
    const HOPS: usize = 400;
    const QUIET: Duration = Duration::from_secs(10);

    let node = Node::start("dashboards");
    // They wait for one that only a person can do.
    let waiting = |number| format!(r#",{{"id":"T-{number:06}","title":"task","dependencies":["T-000000"]}}"#);
    let waiting: String = (1..TASKS).map(waiting).collect();
    let many = format!(
        r#"{{"project":{{"name":"many"}},"agents":{{"dev":{{"command":["/bin/true"]}}}},"defaults":{{"role":"dev"}},"task":[{{"id":"T-000000","title":"decide","executor":"human"}}{waiting}]}}"#
    );
    node.ask("POST", "/v1/plans", &many);
    let mut pages: Vec<(Duration, usize)> = (0..20)
        .map(|_| {
            let started = Instant::now();
            let page = node.ask("GET", "/", "");
            (started.elapsed(), page.len())
        })
        .collect();
    pages.sort_unstable();
    // A drawing is shared for a second: the slowest drew it.
    let [slowest, p50] = [19, 10].map(|at| pages[at].0.as_secs_f64() * 1000.0);
    println!("overview of {TASKS} tasks: drawn in {slowest:.1} ms, shared in {p50:.1} ms (p50), {} bytes", pages[10].1);

    let (watching, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..VIEWERS {
            scope.spawn(|| view(&node, &watching, &over));
        }
        // Two changes of a project that has nothing to do, each 10 ms: 200 facts a second.
        scope.spawn(|| {
            let mut next = Instant::now();
            while !over.load(Relaxed) {
                node.ask("POST", "/v1/projects/many/pause", "");
                node.ask("POST", "/v1/projects/many/resume", "");
                next += Duration::from_millis(10);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let mut load = [Vec::new(), Vec::new()];
        let mut hops = [Vec::new(), Vec::new()];
        for turn in 0..TURNS * 2 {
            let with = turn % 2;
            watching.store(with == 1, Relaxed);
            // Viewers come and go within a tick of facts.
            std::thread::sleep(Duration::from_secs(2));
            let (before, started) = (node.cpu(), Instant::now());
            std::thread::sleep(QUIET);
            load[with].push((node.cpu() - before).as_secs_f64() / started.elapsed().as_secs_f64() * 100.0);
            let project = format!("chain-{turn}");
            let moments = scope.spawn(|| node.moments(None, "attempt-started", HOPS));
            std::thread::sleep(Duration::from_millis(200));
            node.ask("POST", "/v1/plans", &plan(&project, HOPS, true));
            let moments = moments.join().expect("the reader ends");
            hops[with].extend(moments.windows(2).map(|pair| pair[1] - pair[0]));
        }
        over.store(true, Relaxed);
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let [without, with] = hops.map(|mut hops| {
            hops.sort_unstable();
            hops[hops.len() / 2].as_secs_f64() * 1000.0
        });
        println!(
            "{VIEWERS} dashboards, 200 facts/s: {:.1} % of a core, {:.1} % without them; a hop p50 {with:.3} ms, {without:.3} ms without: {:+.1} %",
            mean(&load[1]),
            mean(&load[0]),
            (with / without - 1.0) * 100.0
        );
    });
}

/// An open overview: it listens for ticks, and fetches the page's middle at each that changed it.
fn view(node: &Node, watching: &AtomicBool, over: &AtomicBool) {
    let fetch = |tag: &mut String| {
        let mut stream = UnixStream::connect(node.socket()).expect("the node answers");
        let head = format!(
            "GET / HTTP/1.1\r\nhost: devstack\r\nconnection: close\r\ndevstack-fragment: 1\r\nif-none-match: {tag}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        if let Some(line) = answer.lines().find_map(|line| line.strip_prefix("etag: ")) {
            *tag = line.to_owned();
        }
    };
    while !over.load(Relaxed) {
        if !watching.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let mut ticks = node.request("GET", "/live", "");
        let (mut line, mut tag) = (String::new(), String::new());
        while watching.load(Relaxed) && !over.load(Relaxed) && ticks.read_line(&mut line).expect("ticks") > 0 {
            if line.starts_with("data:") {
                fetch(&mut tag);
            }
            line.clear();
        }
    }
}

fn idle() {
    const MINUTE: Duration = Duration::from_secs(60);
    let node = Node::start("idle");
    node.ask("POST", "/v1/plans", &plan("idle", 100, false));
    node.settle("idle");
    let (before, started) = (node.cpu(), node.faults_of_children());
    std::thread::sleep(MINUTE);
    let (after, started) = (node.cpu(), node.faults_of_children() - started);
    println!("idle for a minute: {:.2} s CPU, {started} page faults of children", (after - before).as_secs_f64());
}

fn peers() {
    let Some(python) = env::var_os("DEVSTACK_PEERS") else {
        println!("SKIPPED: peers: set DEVSTACK_PEERS to a python with benches/peers/requirements.txt");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peers.py");
    let status = Command::new(python).arg(script).stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("SKIPPED: peers: the script failed");
    }
}
