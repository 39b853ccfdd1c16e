//! A backend for tests: the real engine in memory, with a host that does every attempt at once. A command line
//! `["exit", "N"]` ends with N; `["hang"]` never ends. No store, no git, no processes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Bytes;
use devstack::config::problem::Problem;
use devstack::gateway::{
    ApiError, Backend, ByteStream, Download, FactPage, FactSearch, FactStream, GraphQuery, Nodes, NumberedQuery,
    Origin, Repos, RequestId, Standing, TaskQuery, WaitQuery, Wanted, dto, pages, view,
};
use devstack_cluster::NodeName;
use devstack_dag::{
    Answer, Config, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport, ShardReport},
    effect::Effect,
    fact::Fact,
    ids::{AttemptId, BlobId, CommitId, HostName, ProjectName, TaskRef, Text, Timestamp},
    plan::PlanSpec,
    record::Status,
};
use futures::{StreamExt, stream};
use tokio::sync::watch;

/// 2026-01-01T00:00:00Z.
pub const START: u64 = 1_767_225_600_000;
/// The hub's head in every project with a repository.
pub const HEAD: CommitId = CommitId([7; 20]);

/// The content of every bundle.
pub const BUNDLE: &[u8] = b"a bundle";

pub struct Fake {
    bundle: tempfile::NamedTempFile,
    inner: Mutex<Inner>,
    news: watch::Sender<u64>,
}

struct Inner {
    engine: Engine,
    now: u64,
    facts: Vec<Fact>,
    /// Facts up to this number are gone.
    horizon: u64,
    replies: HashMap<String, ([u8; 32], String)>,
}

impl Fake {
    /// With a host of this many slots; 0: nothing runs.
    pub fn new(slots: u32) -> Arc<Self> {
        let engine = Engine::new(Config::default());
        let inner = Inner { engine, now: START, facts: Vec::new(), horizon: 0, replies: HashMap::new() };
        let bundle = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(bundle.path(), BUNDLE).unwrap();
        let fake = Self { bundle, inner: Mutex::new(inner), news: watch::channel(0).0 };
        if slots > 0 {
            let host = HostReport::new(HostName::new("one").unwrap(), slots);
            fake.step(Command::ReportHost(HostReport { secrets: vec!["KEY".into()], ..host })).unwrap();
        }
        Arc::new(fake)
    }

    /// Forgets the facts so far.
    pub fn prune(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.horizon = inner.facts.len() as u64;
    }

    /// Ends the running attempt of a task.
    pub fn finish(&self, task: &str, code: i32) {
        let (project, id) = task.split_once('/').unwrap();
        let task = TaskRef { project: project.parse().unwrap(), id: id.parse().unwrap() };
        let attempt = self.inner.lock().unwrap().engine.running(&task).unwrap().attempt.clone();
        let commit = None;
        let report = Report { commit, ..Report::new(attempt, Outcome::Exited(code)) };
        let host = HostName::new("one").unwrap();
        self.step(Command::FinishAttempt { host, report }).unwrap();
    }

    /// A command that no person gives: what hosts say, and leases.
    pub fn tell(&self, command: Command) {
        self.step(command).unwrap();
    }

    fn step(&self, command: Command) -> Result<Answer, ApiError> {
        let mut inner = self.inner.lock().unwrap();
        let answer = inner.step(command)?;
        self.news.send_replace(inner.facts.len() as u64);
        Ok(answer)
    }

    fn once<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        request: Option<RequestId>,
        act: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let Some(request) = request else { return act() };
        let kept = self.inner.lock().unwrap().replies.get(&request.key).cloned();
        match kept {
            Some((hash, reply)) if hash == request.body_hash => Ok(serde_json::from_str(&reply).unwrap()),
            Some(_) => Err(ApiError::key_reused()),
            None => {
                let reply = act()?;
                let text = serde_json::to_string(&reply).unwrap();
                self.inner.lock().unwrap().replies.insert(request.key, (request.body_hash, text));
                Ok(reply)
            }
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(&self.inner.lock().unwrap().engine)
    }
}

impl Inner {
    fn step(&mut self, command: Command) -> Result<Answer, ApiError> {
        let (answer, mut reports) = self.apply(command)?;
        while let Some(report) = reports.pop() {
            reports.extend(self.apply(Command::FinishAttempt { host: HostName::new("one").unwrap(), report })?.1);
        }
        Ok(answer)
    }

    /// One step; the reports of attempts that ended at once.
    fn apply(&mut self, command: Command) -> Result<(Answer, Vec<Report>), ApiError> {
        self.now += 1;
        let decision = self.engine.step(Timestamp(self.now), command)?;
        self.facts.extend(decision.facts);
        let mut reports = Vec::new();
        for effect in decision.effects {
            let Effect::StartAttempt { order, .. } = effect else { continue };
            let outcome = match order.command.first().map(String::as_str) {
                Some("hang") => continue,
                Some("exit") => Outcome::Exited(order.command[1].parse().unwrap()),
                _ => Outcome::Exited(0),
            };
            let tail = Text::Inline("the end".into());
            reports.push(Report { tail, ..Report::new(order.attempt.clone(), outcome) });
        }
        Ok((decision.answer, reports))
    }
}

/// What is known of the host `one` alone.
fn setup(host: &HostName) -> dto::Setup {
    if host.as_str() != "one" {
        return dto::Setup::default();
    }
    let shard = |name: &str, subnet: &str, ports| ShardReport {
        name: name.into(),
        subnet: subnet.into(),
        ports,
        capacity: 200,
    };
    let setup = dto::Setup {
        runtime: Some("process".into()),
        sandbox: Some("unsandboxed".into()),
        version: Some("0.1.0".into()),
        ..dto::Setup::default()
    };
    let labels = [("gpu".to_owned(), "a100".to_owned())].into();
    let images = ["a", "b", "c"].map(str::to_owned);
    setup.offering(&labels, &[], &images, &[shard("a", "10.9.0.0/24", 1), shard("odd\"\\name", "", 2)])
}

fn inline(text: &Text) -> Result<String, ApiError> {
    match text {
        Text::Inline(text) => Ok(text.to_string()),
        Text::Blob(..) => Err(ApiError::internal("the fake keeps no blobs")),
    }
}

fn bytes(text: impl Into<Bytes>) -> ByteStream {
    stream::iter([Ok(text.into())]).boxed()
}

#[async_trait]
impl Backend for Fake {
    async fn submit(&self, plan: PlanSpec, _: Origin, request: Option<RequestId>) -> Result<dto::PlanAnswer, ApiError> {
        let head = plan.project.source.as_ref().map(|_| HEAD);
        self.once(request, || view::plan_answer(self.step(Command::SubmitPlan { plan, head })?, Vec::new()))
    }
    async fn ask(&self, command: Command, request: Option<RequestId>) -> Result<dto::Answer, ApiError> {
        self.once(request, || self.step(command).map(view::answer))
    }
    async fn judge(&self, command: Command) -> Result<(), ApiError> {
        let inner = self.inner.lock().unwrap();
        Ok(inner.engine.decide(Timestamp(inner.now), command).map(drop)?)
    }
    async fn plan(&self, project: ProjectName) -> Result<PlanSpec, ApiError> {
        self.look(|engine| view::inline(view::plan(engine, &project)?, &inline))
    }
    async fn plans(&self, query: NumberedQuery) -> Result<dto::PlanList, ApiError> {
        self.look(|engine| view::plans(engine, &query))
    }
    async fn projects(&self) -> Result<Vec<dto::Project>, ApiError> {
        Ok(self.look(view::projects))
    }
    async fn tasks(&self, query: TaskQuery) -> Result<dto::TaskList, ApiError> {
        self.look(|engine| view::tasks(engine, &query))
    }
    async fn task(&self, task: TaskRef) -> Result<dto::TaskDetail, ApiError> {
        self.look(|engine| view::detail(&view::task(engine, &task)?, &inline))
    }
    async fn explain(&self, task: TaskRef) -> Result<String, ApiError> {
        self.look(|engine| view::explain(engine, &task))
    }
    async fn prompt(&self, task: TaskRef) -> Result<String, ApiError> {
        self.look(|engine| view::prompt(&view::brief(engine, &task)?, &inline))
    }
    async fn diff(&self, task: TaskRef) -> Result<ByteStream, ApiError> {
        self.task(task).await?;
        Ok(bytes("--- a/x\n+++ b/x\n"))
    }
    async fn logs(&self, task: TaskRef, attempt: Option<u32>, follow: bool) -> Result<ByteStream, ApiError> {
        let attempts = self.task(task.clone()).await?.attempt_list;
        let number = attempt.or(attempts.last().map(|a| a.number)).filter(|n| attempts.iter().any(|a| a.number == *n));
        let Some(number) = number else {
            return Err(ApiError::not_found("DS0309", format!("`{task}` has no such attempt")));
        };
        let parts = [format!("output of {task}/{number}\n"), format!("follow: {follow}\n")];
        Ok(stream::iter(parts.map(|part| Ok(part.into()))).boxed())
    }
    async fn conflict(&self, task: TaskRef) -> Result<dto::Conflict, ApiError> {
        self.task(task.clone()).await?;
        if task.id.as_str() == "clash" {
            return Ok(dto::Conflict {
                api_version: dto::V1,
                task: task.to_string(),
                resolves: Some(format!("{}/done", task.project)),
                hub: "/hub".to_owned(),
                branch: "resolve/clash".to_owned(),
                ours: HEAD.to_string(),
                base: HEAD.to_string(),
                theirs: Some(HEAD.to_string()),
                paths: vec!["<i>x".to_owned()],
                text: "CONFLICT in <i>x \u{1b}[31m".to_owned(),
            });
        }
        Err(ApiError::state("DS0217", format!("`{task}` takes no result of a person")).hint("look at it"))
    }
    async fn sides(&self, _: TaskRef, _: usize) -> Result<pages::Sides, ApiError> {
        let side = |text: &str| pages::Side { patch: text.to_owned(), cut: false };
        Ok(pages::Sides {
            ours: side("diff --git a/<i>x b/<i>x\n@@ -1 +1 @@\n-a\n+ours\n"),
            theirs: side("diff --git a/<i>x b/<i>x\n@@ -1 +1 @@\n-a\n+theirs\n"),
        })
    }
    async fn resolve(
        &self,
        task: TaskRef,
        mut bundle: ByteStream,
        request: Option<RequestId>,
    ) -> Result<dto::Answer, ApiError> {
        self.task(task).await?;
        let mut size = 0;
        while let Some(chunk) = bundle.next().await {
            size += chunk.map_err(|e| ApiError::invalid(e.to_string()))?.len();
        }
        let message = format!("{size} bytes taken");
        self.once(request, || Ok(dto::Answer { api_version: dto::V1, changed: true, message }))
    }
    async fn agents(&self) -> Result<Vec<dto::Agent>, ApiError> {
        Ok(self.look(view::agents))
    }
    async fn hosts(&self) -> Result<Vec<dto::Host>, ApiError> {
        Ok(self.look(|engine| view::hosts(engine, &setup)))
    }
    async fn host(&self, host: HostName) -> Result<dto::HostDetail, ApiError> {
        self.look(|engine| view::host(engine, &host, &setup))
    }
    async fn host_details(&self) -> Result<Vec<dto::HostDetail>, ApiError> {
        Ok(self.look(|engine| view::details(engine, &setup)))
    }
    async fn merges(&self, query: NumberedQuery) -> Result<dto::MergeList, ApiError> {
        self.look(|engine| view::merges(engine, &query))
    }
    async fn status(&self) -> Result<dto::Overview, ApiError> {
        let hosts = self.hosts().await?;
        Ok(self.look(|engine| view::overview(engine, hosts)))
    }
    async fn glance(&self) -> Result<pages::Glance, ApiError> {
        let hosts = self.hosts().await?;
        let now = Timestamp(self.inner.lock().unwrap().now);
        Ok(self.look(|engine| view::glance(engine, now, hosts)))
    }
    async fn board(&self, project: Option<ProjectName>, shown: usize) -> Result<pages::Board, ApiError> {
        let now = Timestamp(self.inner.lock().unwrap().now);
        self.look(|engine| view::board(engine, now, project.as_ref(), shown))
    }
    async fn standing(&self) -> Result<Standing, ApiError> {
        let hosts = self.hosts().await?;
        Ok(self.look(|engine| {
            Standing::of(engine, hosts, &|host| (host.as_str() == "two").then_some(Duration::from_millis(1500)))
        }))
    }
    async fn graph(&self, query: GraphQuery) -> Result<pages::Graph, ApiError> {
        self.look(|engine| view::graph(engine, &query))
    }
    async fn timeline(
        &self,
        project: Option<ProjectName>,
        window: u64,
        most: usize,
    ) -> Result<pages::Timeline, ApiError> {
        let now = Timestamp(self.inner.lock().unwrap().now);
        self.look(|engine| view::timeline(engine, now, project.as_ref(), window, most))
    }
    async fn merge_queues(
        &self,
        project: Option<ProjectName>,
        entries: usize,
        landed: usize,
    ) -> Result<Vec<pages::MergeQueue>, ApiError> {
        self.look(|engine| view::merge_queues(engine, project.as_ref(), entries, landed))
    }
    async fn history(&self, search: FactSearch) -> Result<pages::History, ApiError> {
        let inner = self.inner.lock().unwrap();
        let last = inner.facts.len() as u64;
        let before = search.before.unwrap_or(last + 1).min(last + 1);
        let numbers = (inner.horizon + 1..before).rev();
        let shown = numbers.map(|seq| view::fact(seq, &inner.facts[seq as usize - 1]));
        let facts: Vec<_> = shown.filter(|fact| search.wants(fact)).take(search.limit).collect();
        let older = facts.last().map(|fact| fact.seq).filter(|seq| *seq > inner.horizon + 1);
        Ok(pages::History { facts, older, searched: last - inner.horizon })
    }
    async fn wait(&self, query: WaitQuery) -> Result<dto::Settled, ApiError> {
        let mut news = self.news.subscribe();
        loop {
            let settled = self.look(|engine| {
                let tasks = view::waited_for(engine, &query)?;
                let over = |task: &TaskRef| engine.status(task).is_some_and(Status::is_terminal);
                let done = if query.through_humans { tasks.iter().all(over) } else { engine.settled(&tasks) };
                Ok::<_, ApiError>(done.then(|| view::settled(engine, &query, &tasks)))
            })?;
            match settled {
                Some(settled) => return Ok(settled),
                None => news.changed().await.map_err(|_| ApiError::unavailable("the node stops"))?,
            }
        }
    }
    async fn facts(&self, after: Option<u64>) -> Result<FactStream, ApiError> {
        let (last, horizon) = {
            let inner = self.inner.lock().unwrap();
            (inner.facts.len() as u64, inner.horizon)
        };
        let after = after.unwrap_or(last);
        if after < horizon || after > last {
            return Err(ApiError::behind_horizon(after));
        }
        // A reader sees the facts that it was promised, whatever happens meanwhile.
        let mut backlog: Vec<Fact> = self.inner.lock().unwrap().facts[after as usize..].to_vec();
        backlog.reverse();
        let kept = stream::unfold((backlog, after), |(mut backlog, seq)| async move {
            let fact = backlog.pop()?;
            Some((Ok(view::fact(seq + 1, &fact)), (backlog, seq + 1)))
        });
        Ok(kept.chain(stream::pending()).boxed())
    }
    async fn fact_page(&self, after: Option<u64>, limit: usize) -> Result<FactPage, ApiError> {
        let inner = self.inner.lock().unwrap();
        let last = inner.facts.len() as u64;
        let after = after.unwrap_or(inner.horizon);
        if after < inner.horizon || after > last {
            return Err(ApiError::behind_horizon(after));
        }
        let numbered = (after + 1..).zip(&inner.facts[after as usize..]).take(limit);
        let facts: Vec<dto::Fact> = numbered.map(|(seq, fact)| view::fact(seq, fact)).collect();
        Ok(FactPage { through: after + facts.len() as u64, facts, last })
    }
    async fn version(&self) -> Result<u64, ApiError> {
        Ok(self.inner.lock().unwrap().facts.len() as u64)
    }
    fn repos(&self) -> Option<&dyn Repos> {
        Some(self)
    }
    fn nodes(&self) -> Option<&dyn Nodes> {
        Some(self)
    }
    async fn ready(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

/// Takes logs to their end, and has nothing.
#[async_trait]
impl Nodes for Fake {
    async fn repository(&self, _: &NodeName, _: ProjectName) -> Result<dto::NodeRepository, ApiError> {
        Err(ApiError::unavailable("the fake has no repository"))
    }
    async fn bundle(&self, _: &NodeName, _: ProjectName, _: Wanted) -> Result<Download, ApiError> {
        Err(ApiError::unavailable("the fake has no repository"))
    }
    async fn blob(&self, _: &NodeName, _: BlobId) -> Result<Vec<u8>, ApiError> {
        Err(ApiError::unavailable("the fake keeps no blobs"))
    }
    async fn result(&self, _: &NodeName, _: AttemptId, _: dto::Part, _: ByteStream) -> Result<dto::Received, ApiError> {
        Err(ApiError::unavailable("the fake takes no results"))
    }
    async fn shipped_log(&self, _: &NodeName, _: AttemptId, body: ByteStream) -> Result<(), ApiError> {
        read(body).await
    }
    async fn live_log(&self, _: &NodeName, _: u64, body: ByteStream) -> Result<(), ApiError> {
        read(body).await
    }
}

async fn read(mut body: ByteStream) -> Result<(), ApiError> {
    while let Some(chunk) = body.next().await {
        chunk.map_err(|e| ApiError::invalid(e.to_string()))?;
    }
    Ok(())
}

/// Takes whatever is pushed, and keeps none.
#[async_trait]
impl Repos for Fake {
    async fn inbox(&self, _: ProjectName) -> Result<dto::Repo, ApiError> {
        Ok(dto::Repo { api_version: dto::V1, source: None, branches: Vec::new() })
    }
    async fn push(&self, project: ProjectName, push: dto::Push, mut body: ByteStream) -> Result<dto::Pushed, ApiError> {
        let mut bytes = push.offset;
        while let Some(chunk) = body.next().await {
            bytes += chunk.map_err(|e| ApiError::invalid(e.to_string()))?.len() as u64;
        }
        let source = (bytes == push.size).then(|| format!("/inbox/{project}/{}", push.base));
        Ok(dto::Pushed { api_version: dto::V1, bytes, source })
    }
    async fn branch(
        &self,
        _: ProjectName,
        branch: String,
        have: Vec<CommitId>,
        may_have_all: bool,
    ) -> Result<Download, ApiError> {
        if have.is_empty() && !may_have_all {
            return Err(ApiError::new(403, Problem::new("DS0313", "the whole history is for operators")));
        }
        if branch != "dev" {
            return Err(ApiError::not_found("DS0201", format!("there is no branch `{branch}` ({have:?})")));
        }
        let digest = *blake3::hash(BUNDLE).as_bytes();
        Ok(Download { path: self.bundle.path().to_owned(), size: BUNDLE.len() as u64, digest, kept: Arc::new(()) })
    }
}
