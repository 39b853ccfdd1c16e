//! Several hosts on loopback: a Taskmaster and agent hosts as processes of their own, over real links and the real API
//! on TCP, with durable stores; and a thousand simulated hosts in one load process, each with its own certificate and
//! link.
//!
//!     cargo bench --bench cluster [chain|restart|seed|hosts ...]
//!
//! Deliberately absent: assertions. It prints figures; `docs/benchmarks.md` says what was reached and where.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use devstack::{
    members::{Joining, Members, NewCluster, NewToken, Role},
    wire::{self, HostOrder, ToHost, ToTaskmaster},
};
use devstack_cluster::{
    Credentials, Incarnation, Limits, Link, LinkConfig, Message, NodeKey, NodeName, Receiver, Reply, Session,
};
use devstack_dag::{
    attempt::{Outcome, Report},
    command::HostReport,
    ids::HostName,
};

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all: [(&str, fn()); 4] = [("chain", chain), ("restart", restart), ("seed", seed), ("hosts", hosts)];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}

fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().try_into().unwrap_or(0)
}

/// A Taskmaster on loopback, founded here; hosts join through its registry before it starts.
struct Cluster {
    dir: PathBuf,
    members: Option<Members>,
    api: String,
    link: String,
    children: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    fn found(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-cluster-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
        let (api, link) = (free(), free());
        let new = NewCluster {
            name: "bench".into(),
            taskmaster: NodeName::new("boss").expect("a name"),
            names: vec!["127.0.0.1".into()],
            certificate_life: Duration::from_secs(86_400),
        };
        let members = Members::create(&dir.join("boss"), &new, seconds()).expect("a cluster");
        let text = format!(
            "[node]\nname = \"boss\"\nroles = [\"taskmaster\"]\nstate_dir = {:?}\n[api]\nlisten = \"{api}\"\nsocket = {:?}\n\
             [link]\nlisten = \"{link}\"\nadvertise = \"127.0.0.1\"\n[telemetry]\nfilter = \"error\"\n",
            dir.join("boss"),
            dir.join("boss.sock"),
        );
        fs::write(dir.join("boss.toml"), text).expect("a configuration");
        Self { dir, members: Some(members), api, link, children: Vec::new() }
    }

    /// A new member's credentials, in a directory.
    fn join(&self, name: &str, dir: &Path) -> Credentials {
        let members = self.members.as_ref().expect("before the start");
        let token =
            NewToken { name: Some(name.into()), role: Role::AgentHost, life: Duration::from_secs(3600), pins: None };
        let (bearer, _) = members.create_token(&token, seconds()).expect("a token");
        let (key, name) = (NodeKey::generate().expect("a key"), NodeName::new(name).expect("a name"));
        let request = key.request().expect("a request");
        let joining = Joining { token: bearer.id, secret: &bearer.secret, name: &name, request: &request };
        let admitted = members.join(&joining, seconds()).expect("it joins");
        Credentials::create(dir, &key, &admitted.certificate_pem, members.ca_pem(), seconds()).expect("credentials")
    }

    fn start(&mut self) {
        // Two processes with one registry would be one too many.
        self.members = None;
        self.spawn("boss");
        while UnixStream::connect(self.dir.join("boss.sock")).is_err() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn spawn(&mut self, name: &str) {
        let child = Command::new(env!("CARGO_BIN_EXE_devstack-node"))
            .arg("--config")
            .arg(self.dir.join(format!("{name}.toml")))
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.join(format!("{name}.log"))).expect("a log"))
            .spawn()
            .expect("a node starts");
        self.children.push(child);
    }

    /// A real agent host with the process runtime.
    fn host(&mut self, name: &str, slots: u32) {
        let state = self.dir.join(name);
        self.join(name, &state.join("cluster"));
        fs::write(state.join("cluster/api-address"), &self.api).expect("an address");
        let text = format!(
            "[node]\nname = \"{name}\"\nroles = [\"agent-host\"]\nstate_dir = {state:?}\n[api]\nsocket = {:?}\n\
             [link]\njoin = [\"{}\"]\n[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\nslots = {slots}\n\
             [telemetry]\nfilter = \"error\"\n",
            self.dir.join(format!("{name}.sock")),
            self.link,
        );
        fs::write(self.dir.join(format!("{name}.toml")), text).expect("a configuration");
    }

    fn request(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.dir.join("boss.sock")).expect("the node answers");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: devstack\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the request is sent");
        stream
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut answer = String::new();
        self.request(method, path, body).read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {}", &answer[..answer.len().min(600)]);
        answer
    }

    fn wait_for_slots(&self, slots: u64) {
        while !self.ask("GET", "/v1/status", "").contains(&format!("\"slots\":{slots}")) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Tasks of one project with one role.
fn plan(project: &str, role: &str, tasks: String) -> String {
    format!("{{\"project\":{{\"name\":\"{project}\"}},\"agents\":{{\"w\":{{{role}}}}},\"task\":[{tasks}]}}")
}

fn percentile(values: &mut [f64], of: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * of) as usize]
}

/// 1,000 tasks, each behind the one before, over three hosts. Each process says when it lives.
fn chain() {
    const TASKS: usize = 1000;
    let mut cluster = Cluster::found("chain");
    for host in ["h1", "h2", "h3"] {
        cluster.host(host, 1);
    }
    cluster.start();
    for host in ["h1", "h2", "h3"] {
        cluster.spawn(host);
    }
    cluster.wait_for_slots(3);
    // Agents are another user.
    let file = cluster.dir.join("starts");
    fs::write(&file, "").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("its mode");
    let command = format!("echo \"$EPOCHREALTIME $DEVSTACK_TASK_ID\" >> {}", file.display());
    let role = format!("\"command\":[\"bash\",\"-c\",{command:?}]");
    let task = |i: usize| {
        let after = if i == 0 { String::new() } else { format!("\"t{}\"", i - 1) };
        format!("{{\"id\":\"t{i}\",\"title\":\"t\",\"prompt\":\"p\",\"dependencies\":[{after}]}}")
    };
    let tasks = (0..TASKS).map(task).collect::<Vec<_>>().join(",");
    cluster.ask("POST", "/v1/plans", &plan("chain", &role, tasks));
    cluster.ask("GET", "/v1/wait?project=chain", "");
    let text = fs::read_to_string(&file).expect("starts");
    let starts: Vec<f64> =
        text.lines().filter_map(|line| line.split(' ').next()?.parse::<f64>().ok()).map(|s| s * 1000.0).collect();
    let mut hops: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (p50, p99) = (percentile(&mut hops, 0.5), percentile(&mut hops, 0.99));
    println!("chain of {TASKS} over 3 hosts (bash): a hop p50 {p50:.2} ms, p99 {p99:.2} ms");
    let mut floor: Vec<f64> = (0..200)
        .map(|_| {
            let started = Instant::now();
            let _ = Command::new("bash").args(["-c", "echo $EPOCHREALTIME >> /dev/null"]).status();
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    println!("  one start and end of that bash alone: p50 {:.2} ms", percentile(&mut floor, 0.5));
}

/// A simulated host: every attempt it is told to run is over at once.
struct Simulated {
    name: HostName,
    slots: u32,
    link: Arc<OnceLock<Link>>,
    done: Arc<AtomicU64>,
}

impl Simulated {
    fn send(&self, to: &NodeName, message: &ToTaskmaster) {
        if let (Some(link), Ok(body)) = (self.link.get(), wire::encode(message)) {
            let _ = link.send(to, wire::TO_TASKMASTER, body);
        }
    }
}

impl Receiver for Simulated {
    fn connected(&self, _: &Session) {}
    fn disconnected(&self, _: &Session, _: &str) {}
    fn received(&self, session: &Session, message: Message) {
        match wire::decode(&message.body) {
            Ok(ToHost::Welcome(_) | ToHost::Order(HostOrder::ReportAgain)) => {
                let report = HostReport::new(self.name.clone(), self.slots);
                self.send(&session.peer, &ToTaskmaster::Report(report));
            }
            Ok(ToHost::Order(HostOrder::Start(order))) => {
                let report = Report::new(order.attempt, Outcome::Exited(0));
                self.done.fetch_add(1, Ordering::Relaxed);
                self.send(&session.peer, &ToTaskmaster::Exited { report, result: None });
            }
            _ => {}
        }
    }
    fn called(&self, _: &Session, _: Message, _: Reply) {}
}

/// Connects `count` simulated hosts.
async fn simulate(
    cluster: &Cluster,
    credentials: Vec<Arc<Credentials>>,
    slots: u32,
    done: &Arc<AtomicU64>,
) -> Vec<Link> {
    let mut links = Vec::new();
    for (index, credentials) in credentials.into_iter().enumerate() {
        let name = format!("s{index}");
        let place = Arc::new(OnceLock::new());
        let receiver =
            Simulated { name: HostName::new(&name).expect("a name"), slots, link: place.clone(), done: done.clone() };
        let (server, client) = (credentials.clone(), credentials);
        let link = Link::start(LinkConfig {
            name: NodeName::new(&name).expect("a name"),
            incarnation: Incarnation::random().expect("random"),
            cluster: "devstack".into(),
            server: Arc::new(move || server.server_config()),
            client: Arc::new(move || client.client_config()),
            admit: Arc::new(|_| Ok(())),
            listen: None,
            join: vec![cluster.link.clone()],
            limits: Limits::default(),
            about: [].into(),
            receiver: Arc::new(receiver),
        })
        .await
        .expect("a link");
        let _ = place.set(link.clone());
        links.push(link);
    }
    links
}

fn credentials(cluster: &Cluster, count: usize) -> Vec<Arc<Credentials>> {
    (0..count)
        .map(|index| {
            let name = format!("s{index}");
            Arc::new(cluster.join(&name, &cluster.dir.join("sim").join(&name)))
        })
        .collect()
}

/// Tasks of one project that wait for nothing, over roles of 1,000 agents each: as many roles as a project may
/// describe.
fn independent(project: &str, tasks: usize) -> String {
    const ROLES: usize = 30;
    let role = |i: usize| format!("\"w{i}\":{{\"count\":1000,\"command\":[\"true\"]}}");
    let task = |i: usize| format!("{{\"id\":\"t{i}\",\"title\":\"t\",\"prompt\":\"p\",\"role\":\"w{}\"}}", i % ROLES);
    let roles = (0..ROLES).map(role).collect::<Vec<_>>().join(",");
    let tasks = (0..tasks).map(task).collect::<Vec<_>>().join(",");
    format!("{{\"project\":{{\"name\":\"{project}\"}},\"agents\":{{{roles}}},\"task\":[{tasks}]}}")
}

fn memory(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// 1,000 hosts of 50 slots each: how many attempts a second are started, reported and made durable.
fn hosts() {
    const HOSTS: usize = 1000;
    const TASKS: usize = 60_000;
    tls();
    let mut cluster = Cluster::found("hosts");
    let credentials = credentials(&cluster, HOSTS);
    cluster.start();
    let done = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    let started = Instant::now();
    let links = runtime.block_on(simulate(&cluster, credentials, 50, &done));
    cluster.wait_for_slots(50 * HOSTS as u64);
    println!("{HOSTS} hosts connected and reported in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    cluster.ask("POST", "/v1/plans", &independent("many", TASKS));
    let submitted = started.elapsed();
    cluster.ask("GET", "/v1/wait?project=many", "");
    let took = started.elapsed();
    let pid = cluster.children[0].id();
    println!(
        "{TASKS} tasks on {HOSTS} hosts of 50 slots: {:.0}/s durable ({:.2} s, of which the submission {:.2} s); \
         {} attempts ran; the Taskmaster has {} MiB, at most {} MiB",
        TASKS as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        submitted.as_secs_f64(),
        done.load(Ordering::Relaxed),
        memory(pid, "VmRSS"),
        memory(pid, "VmHWM"),
    );
    drop(links);
}

/// kill -9 of a Taskmaster with 100,000 tasks and 50 hosts: until it dispatches again.
fn restart() {
    tls();
    let mut cluster = Cluster::found("restart");
    let credentials = credentials(&cluster, 50);
    cluster.start();
    let done = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    let links = runtime.block_on(simulate(&cluster, credentials, 2, &done));
    cluster.wait_for_slots(100);
    cluster.ask("POST", "/v1/plans", &independent("many", 100_000));
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let mut old = cluster.children.remove(0);
            old.kill().expect("killed");
            old.wait().expect("gone");
            let (before, started) = (done.load(Ordering::Relaxed), Instant::now());
            cluster.spawn("boss");
            while done.load(Ordering::Relaxed) == before {
                std::thread::sleep(Duration::from_millis(1));
            }
            let took = started.elapsed().as_secs_f64();
            std::thread::sleep(Duration::from_millis(300));
            took
        })
        .collect();
    println!(
        "kill -9 of the Taskmaster, 100,000 tasks, 50 hosts: from its start to the first dispatch p50 {:.2} s, worst {:.2} s",
        percentile(&mut times, 0.5),
        percentile(&mut times, 1.0)
    );
    drop(links);
}

/// A repository of about 100 MB to a host that has none of it, beside `git bundle create` and `git clone` of it here.
fn seed() {
    let mut cluster = Cluster::found("seed");
    cluster.host("h1", 1);
    cluster.start();
    cluster.spawn("h1");
    cluster.wait_for_slots(1);
    let source = cluster.dir.join("source");
    fs::create_dir_all(&source).expect("a directory");
    let git = |args: &[&str]| {
        let done =
            Command::new("git").args(args).current_dir(&source).stderr(Stdio::null()).stdout(Stdio::null()).status();
        assert!(done.expect("git runs").success(), "git {args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["config", "user.email", "a@example.org"]);
    git(&["config", "user.name", "a"]);
    let mut random = fs::File::open("/dev/urandom").expect("random bytes");
    for file in 0..1000 {
        let mut bytes = vec![0; 100_000];
        random.read_exact(&mut bytes).expect("random bytes");
        fs::write(source.join(format!("f{file}")), bytes).expect("a file");
    }
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "m"]);
    let bundle = cluster.dir.join("x.bundle");
    let started = Instant::now();
    git(&["bundle", "create", bundle.to_str().expect("text"), "main"]);
    git(&["clone", "-q", bundle.to_str().expect("text"), cluster.dir.join("clone").to_str().expect("text")]);
    let plain = started.elapsed().as_secs_f64();
    // The hub has it before: the first plan waits for a person.
    let submit = |task: &str, executor: &str| {
        format!(
            "{{\"project\":{{\"name\":\"seed\",\"repo\":{source:?},\"integration\":\"dev\"}},\
             \"agents\":{{\"w\":{{\"command\":[\"true\"]}}}},\
             \"task\":[{{\"id\":\"{task}\",\"title\":\"t\",\"prompt\":\"p\",\"allow_empty\":true,{executor}}}]}}"
        )
    };
    cluster.ask("POST", "/v1/plans", &submit("a", "\"executor\":\"human\""));
    let started = Instant::now();
    cluster.ask("POST", "/v1/plans", &submit("b", "\"role\":\"w\""));
    cluster.ask("GET", "/v1/wait?project=seed&tasks=b", "");
    let first = started.elapsed().as_secs_f64();
    let started = Instant::now();
    cluster.ask("POST", "/v1/plans", &submit("c", "\"role\":\"w\""));
    cluster.ask("GET", "/v1/wait?project=seed&tasks=c", "");
    let second = started.elapsed().as_secs_f64();
    println!(
        "100 MB to a new host: {:.2} s (the first attempt {first:.2} s, the next one {second:.2} s); \
         git bundle create + git clone here {plain:.2} s: ratio {:.2}",
        first - second,
        (first - second) / plain
    );
}

fn tls() {
    devstack_cluster::tls::install_provider();
}
