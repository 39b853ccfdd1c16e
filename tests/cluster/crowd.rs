//! A hundred hosts come back at once, because the network lost all connections and because the Taskmaster was killed:
//! each with a certificate and a link of its own, simulated in this process.
//! Deliberately absent: what runs on hosts (they only keep account), and figures (benches/cluster).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use devstack::{
    members::{Joining, Members, NewToken, Role},
    wire::{self, HostOrder, ToHost, ToTaskmaster},
};
use devstack_cluster::{
    Credentials, Incarnation, Limits, Link, LinkConfig, Message, NodeKey, NodeName, Receiver, Reply, Session, tls,
};
use devstack_dag::{
    attempt::{Outcome, Report},
    command::HostReport,
    ids::{AttemptId, HostName, Text},
};

use crate::{
    cluster::{Cluster, NEVER},
    proxy::Network,
};

const HOSTS: usize = 100;
const SLOTS: u32 = 2;
const TASKS: usize = 150;

/// What a host holds, and how often it was told to start it.
#[derive(Default)]
struct Account {
    held: BTreeSet<AttemptId>,
    started: BTreeMap<AttemptId, u32>,
    is_done: bool,
}

struct Simulated {
    name: HostName,
    link: OnceLock<Link>,
    account: Mutex<Account>,
    connected: Mutex<u32>,
}

impl Simulated {
    fn send(&self, to: &NodeName, message: &ToTaskmaster) {
        if let Some(link) = self.link.get() {
            // The session ended just now: the next one begins with a report.
            let _ = link.send(to, wire::TO_TASKMASTER, wire::encode(message).unwrap());
        }
    }

    fn report(&self, to: &NodeName) {
        let (attempts, is_done) = {
            let account = self.account.lock().unwrap();
            (account.held.iter().cloned().collect::<Vec<_>>(), account.is_done)
        };
        let report = HostReport { attempts: attempts.clone(), ..HostReport::new(self.name.clone(), SLOTS) };
        self.send(to, &ToTaskmaster::Report(report));
        for attempt in attempts.into_iter().filter(|_| is_done) {
            self.exit(to, attempt);
        }
    }

    fn exit(&self, to: &NodeName, attempt: AttemptId) {
        let (outcome, tail) = (Outcome::Exited(0), Text::empty());
        let report = Report { tail, ..Report::new(attempt, outcome) };
        self.send(to, &ToTaskmaster::Exited { report, result: None });
    }

    fn start(&self, to: &NodeName, attempt: AttemptId) {
        let is_done = {
            let mut account = self.account.lock().unwrap();
            // One that is there already is left alone.
            if account.held.insert(attempt.clone()) {
                *account.started.entry(attempt.clone()).or_default() += 1;
            }
            account.is_done
        };
        if is_done {
            self.exit(to, attempt);
        }
    }
}

/// The link keeps this, and this the link.
struct Shared(Arc<Simulated>);

impl Receiver for Shared {
    fn connected(&self, _: &Session) {
        *self.0.connected.lock().unwrap() += 1;
    }

    fn disconnected(&self, _: &Session, _: &str) {}

    fn received(&self, session: &Session, message: Message) {
        match wire::decode(&message.body).unwrap() {
            ToHost::Welcome(_) | ToHost::Order(HostOrder::ReportAgain) => self.0.report(&session.peer),
            ToHost::Order(HostOrder::Start(order)) => self.0.start(&session.peer, order.attempt),
            ToHost::Order(HostOrder::Forget(attempt)) => drop(self.0.account.lock().unwrap().held.remove(&attempt)),
            // Which version the Taskmaster speaks: nothing here depends on it.
            ToHost::Understands(_) => {}
            other => panic!("nobody asked for this: {other:?}"),
        }
    }

    fn called(&self, _: &Session, _: Message, _: Reply) {}
}

/// Members of a cluster whose Taskmaster does not run just now.
fn join(cluster: &Cluster) -> Vec<(HostName, Arc<Credentials>)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    let members = Members::open(&cluster.path("taskmaster")).unwrap().unwrap();
    let joined = (0..HOSTS).map(|number| {
        let name = format!("s{number:02}");
        let token =
            NewToken { name: Some(name.clone()), role: Role::AgentHost, life: Duration::from_secs(3600), pins: None };
        let (bearer, _) = members.create_token(&token, now).unwrap();
        let (key, node) = (NodeKey::generate().unwrap(), NodeName::new(&name).unwrap());
        let request = key.request().unwrap();
        let joining = Joining { token: bearer.id, secret: &bearer.secret, name: &node, request: &request };
        let certificate = members.join(&joining, now).unwrap().certificate_pem;
        let place = cluster.path(&format!("simulated-{name}"));
        let credentials = Credentials::create(&place, &key, &certificate, members.ca_pem(), now).unwrap();
        (HostName::new(&name).unwrap(), Arc::new(credentials))
    });
    joined.collect()
}

async fn connect(name: HostName, credentials: Arc<Credentials>, to: String) -> Arc<Simulated> {
    let node = NodeName::new(name.as_str()).unwrap();
    let (link, account, connected) = (OnceLock::new(), Mutex::default(), Mutex::default());
    let host = Arc::new(Simulated { name, link, account, connected });
    let (server, client) = (credentials.clone(), credentials);
    let link = Link::start(LinkConfig {
        name: node,
        incarnation: Incarnation::random().unwrap(),
        cluster: "devstack".to_owned(),
        server: Arc::new(move || server.server_config()),
        client: Arc::new(move || client.client_config()),
        admit: Arc::new(|_| Ok(())),
        listen: None,
        join: vec![to],
        limits: Limits::default(),
        about: [].into(),
        receiver: Arc::new(Shared(host.clone())),
    });
    let link = link.await.unwrap();
    if host.link.set(link.clone()).is_ok() {
        // What it was asked before it could answer.
        link.peers().iter().for_each(|session| host.report(&session.peer));
    }
    host
}

fn count(cluster: &Cluster, what: &str, of: &[&str], holds: impl Fn(&serde_json::Value) -> bool) -> usize {
    cluster.ask(of)[what].as_array().unwrap().iter().filter(|one| holds(one)).count()
}

#[track_caller]
fn all_are_back(cluster: &mut Cluster, hosts: &[Arc<Simulated>], sessions: u32) {
    cluster.until("every host has a new session", |_| {
        hosts.iter().all(|host| *host.connected.lock().unwrap() >= sessions)
    });
    cluster.until("every host is present", |cluster| {
        count(cluster, "hosts", &["host", "list"], |host| host["presence"] == "present") == HOSTS
    });
    // Whatever was told again: each attempt is on one host, and was started there once.
    let mut all = BTreeSet::new();
    for host in hosts {
        for (attempt, times) in &host.account.lock().unwrap().started {
            assert_eq!(*times, 1, "{attempt} on {}", host.name);
            assert!(all.insert(attempt.clone()), "{attempt} on two hosts");
        }
    }
    assert_eq!(all.len(), TASKS);
}

#[test]
fn a_hundred_hosts_that_come_back_at_once_lose_nothing_and_run_nothing_twice() {
    let mut cluster = Cluster::found(NEVER);
    cluster.taskmaster = None;
    let joined = join(&cluster);
    cluster.start_taskmaster();
    tls::install_provider();
    let (network, runtime) = (Network::new(), tokio::runtime::Runtime::new().unwrap());
    let to = network.to(cluster.addresses().0).to_string();
    let hosts: Vec<Arc<Simulated>> = runtime.block_on(async {
        let all = joined.into_iter().map(|(name, credentials)| connect(name, credentials, to.clone()));
        futures::future::join_all(all).await
    });
    let role = format!("[agents.dev]\ncount = {TASKS}\ncommand = [\"true\"]\n");
    let task = |number| format!("[[task]]\nid = \"t{number}\"\ntitle = \"t\"\nprompt = \"x\"\n");
    let tasks: String = (0..TASKS).map(task).collect();
    cluster.submit_text(&format!("[project]\nname = \"crowd\"\n{role}{tasks}"));
    cluster.until("every task is at work", |_| {
        hosts.iter().map(|host| host.account.lock().unwrap().held.len()).sum::<usize>() == TASKS
    });
    all_are_back(&mut cluster, &hosts, 1);
    // All connections end in the same moment.
    network.drop_connections();
    all_are_back(&mut cluster, &hosts, 2);
    // The Taskmaster dies, and knows nobody when it is back.
    cluster.taskmaster = None;
    cluster.start_taskmaster();
    all_are_back(&mut cluster, &hosts, 3);
    // All end while nobody is there to be told, and tell it at once.
    cluster.taskmaster = None;
    for host in &hosts {
        host.account.lock().unwrap().is_done = true;
    }
    cluster.start_taskmaster();
    all_are_back(&mut cluster, &hosts, 4);
    let list = ["task", "list", "--project", "crowd"];
    cluster.until("every task is COMPLETED by its first attempt", |cluster| {
        count(cluster, "tasks", &list, |task| task["status"] == "COMPLETED" && task["attempts"] == 1) == TASKS
    });
    cluster
        .until("nothing is held any more", |_| hosts.iter().all(|host| host.account.lock().unwrap().held.is_empty()));
}
