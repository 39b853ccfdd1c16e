//! The API's backend over the actors. Reads look at the engine inside the Taskmaster; changes are messages. Every
//! answer waits until its content is durable. Deliberately absent: judgement. The engine decides what is allowed, and
//! the gateway's DTOs define the presentation.

mod backup;
mod bundles;
mod diffs;
mod errors;
mod history;
mod images;
mod introduced;
mod logs;
mod nodes;
mod owned;
mod people;
mod repos;
mod room;

use devstack_gateway::pages;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
pub(super) use backup::Backups;
pub(super) use bundles::{BundleLimits, Bundles};
use devstack_dag::{
    Answer, Engine, Watch,
    command::{Command, HostReport},
    ids::{HostName, ProjectName, TaskRef, Text, Timestamp},
    plan::{Network, PlanSpec, RoleSpec},
    profile::Profile,
};
pub(super) use diffs::Diffs;
use tokio::sync::oneshot;

use crate::{
    actor::{Address, Gone},
    agent_host::{Host, Shelf},
    downlink::{Downlink, Uploads},
    taskmaster::message::{Ask, AskError, Look, Recall, Request, SubmitPlan, TaskmasterMessage, View},
};
use devstack_api::{ApiError, ByteStream, dto};
use devstack_gateway::{
    Backend, FactPage, FactSearch, FactStream, GraphQuery, Nodes, Origin, Repos, RequestId, Standing, WaitQuery, view,
};
use devstack_gateway::{NumberedQuery, TaskQuery};
use devstack_machine::disk::Disk;
use devstack_repository::{Hubs, policy, reach::Rules, source::Source};
use devstack_store::{Blobs, RequestKey};

/// The longest wait for an actor. Cloning a large source into its hub takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often a request is tried before it fails: a request that makes the Taskmaster fail must not use up its restarts.
const TRIES: u32 = 3;

/// The longest prompt or message, in bytes.
const TEXT_MAX: u64 = 16 << 20;

/// The API's dependencies in a node.
pub(super) struct Core {
    pub(super) taskmaster: Address<TaskmasterMessage>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) hubs: Option<Arc<Hubs>>,
    pub(super) host: Option<Arc<Host>>,
    pub(super) shelf: Shelf,
    pub(super) clock: fn() -> Timestamp,
    pub(super) scratch: PathBuf,
    /// Makes versions of this process: its keys are random.
    pub(super) versions: RandomState,
    /// The limits of a result.
    pub(super) results: policy::Limits,
    /// Pushes of users being uploaded.
    pub(super) pushes: Uploads,
    /// Projects that do not exist, but have pushed data; the oldest first.
    pub(super) unknown_pushes: Mutex<VecDeque<ProjectName>>,
    /// The repositories that plans may name.
    pub(super) rules: Arc<Rules>,
    pub(super) bundles: Bundles,
    /// The disks that must not become full.
    pub(super) disk: Arc<Disk>,
    pub(super) backups: Backups,
    pub(super) diffs: Diffs,
    /// `None` if no other machine takes part.
    pub(super) remote: Option<RemoteSide>,
}

/// The part that serves agent hosts on other machines.
pub(super) struct RemoteSide {
    pub(super) downlink: Downlink,
    /// The largest accepted log, in bytes.
    pub(super) log_size: u64,
}

#[async_trait]
impl Backend for Core {
    async fn submit(
        &self,
        plan: PlanSpec,
        origin: Origin,
        request: Option<RequestId>,
    ) -> Result<dto::PlanAnswer, ApiError> {
        if origin == Origin::Network {
            self.admit_source(&plan).await?;
        }
        self.room_for_people("no plan", 0).await?;
        let mut warnings = self.warnings(&plan).await;
        warnings.extend(Self::unreachable_models(&plan));
        let plan = self.with_images(plan).await?;
        let plan = self.stored_plan(plan).await?;
        let request = request.map(stored_request).transpose()?;
        let answer = self
            .taskmaster
            .ask(PATIENCE, |reply| TaskmasterMessage::SubmitPlan(SubmitPlan { plan, request, reply }))
            .await??;
        view::plan_answer(answer, warnings)
    }

    async fn ask(&self, command: Command, request: Option<RequestId>) -> Result<dto::Answer, ApiError> {
        let command = self.stored_command(command).await?;
        let request = request.map(stored_request).transpose()?;
        let Command::RemoveHost { host, .. } = &command else {
            return Ok(view::answer(self.change(command, request).await?));
        };
        let (host, downlink) = (host.clone(), self.remote.as_ref().map(|remote| &remote.downlink));
        let is_wanted = self.judge(command.clone()).await.is_ok();
        if let Some(downlink) = downlink.filter(|_| is_wanted) {
            downlink.deafen(&host);
        }
        // Once the answer is sent, the orders that follow from it are on their way too.
        let answer = self.change(command, request).await;
        if let Some(downlink) = downlink.filter(|_| is_wanted || answer.is_ok()) {
            downlink.dismiss(&host).await;
        }
        Ok(view::answer(answer?))
    }

    async fn judge(&self, command: Command) -> Result<(), ApiError> {
        let now = (self.clock)();
        Ok(self.look(move |seen| seen.engine.decide(now, command)).await?.map(drop)?)
    }

    async fn plan(&self, project: ProjectName) -> Result<PlanSpec, ApiError> {
        let plan = self.look(move |seen| view::plan(seen.engine, &project)).await??;
        self.with_texts(move |text| view::inline(plan, text)).await
    }

    async fn plans(&self, query: NumberedQuery) -> Result<dto::PlanList, ApiError> {
        self.look(move |seen| view::plans(seen.engine, &query)).await?
    }

    async fn projects(&self) -> Result<Vec<dto::Project>, ApiError> {
        self.look(|seen| view::projects(seen.engine)).await
    }

    async fn tasks(&self, query: TaskQuery) -> Result<dto::TaskList, ApiError> {
        self.look(move |seen| view::tasks(seen.engine, &query)).await?
    }

    async fn task(&self, task: TaskRef) -> Result<dto::TaskDetail, ApiError> {
        let task = self.look(move |seen| view::task(seen.engine, &task)).await??;
        self.with_texts(move |text| view::detail(&task, text)).await
    }

    async fn explain(&self, task: TaskRef) -> Result<String, ApiError> {
        self.look(move |seen| view::explain(seen.engine, &task)).await?
    }

    async fn prompt(&self, task: TaskRef) -> Result<String, ApiError> {
        let brief = self.look(move |seen| view::brief(seen.engine, &task)).await??;
        self.with_texts(move |text| view::prompt(&brief, text)).await
    }

    async fn diff(&self, task: TaskRef) -> Result<ByteStream, ApiError> {
        self.diff_of(task).await
    }

    async fn logs(&self, task: TaskRef, attempt: Option<u32>, follow: bool) -> Result<ByteStream, ApiError> {
        self.log_of(task, attempt, follow).await
    }

    async fn conflict(&self, task: TaskRef) -> Result<dto::Conflict, ApiError> {
        self.conflict_of(task).await
    }

    async fn sides(&self, task: TaskRef, limit: usize) -> Result<pages::Sides, ApiError> {
        self.sides_of(task, limit).await
    }

    async fn resolve(
        &self,
        task: TaskRef,
        bundle: ByteStream,
        request: Option<RequestId>,
    ) -> Result<dto::Answer, ApiError> {
        self.take_resolution(task, bundle, request).await
    }

    async fn agents(&self) -> Result<Vec<dto::Agent>, ApiError> {
        self.look(|seen| view::agents(seen.engine)).await
    }

    async fn hosts(&self) -> Result<Vec<dto::Host>, ApiError> {
        let setup = self.setups();
        self.look(move |seen| view::hosts(seen.engine, &setup)).await
    }

    async fn host(&self, host: HostName) -> Result<dto::HostDetail, ApiError> {
        let setup = self.setups();
        self.look(move |seen| view::host(seen.engine, &host, &setup)).await?
    }

    async fn host_details(&self) -> Result<Vec<dto::HostDetail>, ApiError> {
        let setup = self.setups();
        self.look(move |seen| view::details(seen.engine, &setup)).await
    }

    async fn merges(&self, query: NumberedQuery) -> Result<dto::MergeList, ApiError> {
        self.look(move |seen| view::merges(seen.engine, &query)).await?
    }

    async fn status(&self) -> Result<dto::Overview, ApiError> {
        let setup = self.setups();
        self.look(move |seen| {
            let hosts = view::hosts(seen.engine, &setup);
            view::overview(seen.engine, hosts)
        })
        .await
    }

    async fn glance(&self) -> Result<pages::Glance, ApiError> {
        let setup = self.setups();
        self.look(move |seen| {
            let hosts = view::hosts(seen.engine, &setup);
            view::glance(seen.engine, seen.now, hosts)
        })
        .await
    }

    async fn standing(&self) -> Result<Standing, ApiError> {
        let setup = self.setups();
        let disk = self.disk_standing().await?;
        self.look(move |seen| {
            let hosts = view::hosts(seen.engine, &setup);
            Standing::of(seen.engine, hosts, seen.heard).with_disk(disk)
        })
        .await
    }

    async fn board(&self, project: Option<ProjectName>, shown: usize) -> Result<pages::Board, ApiError> {
        self.look(move |seen| view::board(seen.engine, seen.now, project.as_ref(), shown)).await?
    }

    async fn graph(&self, query: GraphQuery) -> Result<pages::Graph, ApiError> {
        self.look(move |seen| view::graph(seen.engine, &query)).await?
    }

    async fn timeline(
        &self,
        project: Option<ProjectName>,
        window: u64,
        most: usize,
    ) -> Result<pages::Timeline, ApiError> {
        self.look(move |seen| view::timeline(seen.engine, seen.now, project.as_ref(), window, most)).await?
    }

    async fn merge_queues(
        &self,
        project: Option<ProjectName>,
        entries: usize,
        landed: usize,
    ) -> Result<Vec<pages::MergeQueue>, ApiError> {
        self.look(move |seen| view::merge_queues(seen.engine, project.as_ref(), entries, landed)).await?
    }

    async fn history(&self, search: FactSearch) -> Result<pages::History, ApiError> {
        self.search_facts(search).await
    }

    async fn wait(&self, query: WaitQuery) -> Result<dto::Settled, ApiError> {
        self.wait_until_settled(query).await
    }

    async fn facts(&self, after: Option<u64>) -> Result<FactStream, ApiError> {
        self.fact_stream(after).await
    }

    async fn fact_page(&self, after: Option<u64>, limit: usize) -> Result<FactPage, ApiError> {
        self.page_of_facts(after, limit).await
    }

    async fn version(&self) -> Result<u64, ApiError> {
        let of = |seen: &View<'_>| (seen.since, seen.seq);
        let (since, seq) = self.look(move |seen| of(seen)).await?;
        // A restarted Taskmaster or process may know other things about hosts under the same number.
        Ok(self.versions.hash_one((since, seq)))
    }

    async fn backup(&self) -> Result<ByteStream, ApiError> {
        self.back_up().await
    }

    async fn ready(&self) -> Result<(), ApiError> {
        self.look(|_| ()).await
    }

    fn nodes(&self) -> Option<&dyn Nodes> {
        self.remote.is_some().then_some(self)
    }

    fn repos(&self) -> Option<&dyn Repos> {
        self.hubs.is_some().then_some(self)
    }
}

impl Core {
    fn remote(&self) -> Result<&RemoteSide, ApiError> {
        self.remote.as_ref().ok_or_else(|| ApiError::unavailable("this node serves no agent hosts"))
    }

    /// What the engine does not know about a host: for this machine from its runtime, for other machines from their
    /// introductions.
    fn setups(&self) -> impl Fn(&HostName) -> dto::Setup + Clone + Send + 'static {
        let here = self.host.clone();
        let downlink = self.remote.as_ref().map(|remote| remote.downlink.clone());
        move |host| match here.as_ref().filter(|here| here.name == *host) {
            Some(here) => {
                let HostReport { labels, roles, images, shards, .. } = here.describe();
                dto::Setup::from(here.introduction()).offering(&labels, &roles, &images, &shards)
            }
            None => downlink.as_ref().map_or_else(dto::Setup::default, |downlink| dto::Setup {
                cut_off: downlink.last_cut_off(host).map(|cut| dto::CutOff { at: cut.at.into(), why: cut.why }),
                ..dto::Setup::from(downlink.introduction(host))
            }),
        }
    }

    /// Computes something from the engine; returns it when everything that it saw is durable.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, ApiError> {
        let message = |reply: oneshot::Sender<T>| {
            let look = look.clone();
            TaskmasterMessage::Look(Look(Box::new(move |seen| {
                let found = look(seen);
                // If the caller is gone, there is nothing to do.
                Box::new(move || drop(reply.send(found)))
            })))
        };
        Ok(ask_again(&self.taskmaster, message).await?)
    }

    async fn change(&self, command: Command, request: Option<Request>) -> Result<Answer, ApiError> {
        let ask = |reply| {
            TaskmasterMessage::Ask(Ask { command: command.clone(), request: request.clone(), reply: Some(reply) })
        };
        // Without a key nobody can tell whether it was already done.
        if request.is_none() {
            return Ok(self.taskmaster.ask::<Result<Answer, AskError>>(PATIENCE, ask).await??);
        }
        Ok(ask_again::<Result<Answer, AskError>>(&self.taskmaster, ask).await??)
    }

    /// The earlier answer to this request, if there is one.
    async fn recall(&self, request: &Request) -> Result<Option<Result<Answer, AskError>>, ApiError> {
        let message = |reply| TaskmasterMessage::Recall(Recall { request: request.clone(), reply });
        Ok(ask_again(&self.taskmaster, message).await?)
    }

    /// Converts something whose long texts are read from blobs, outside the async threads.
    async fn with_texts<T: Send + 'static>(
        &self,
        show: impl FnOnce(view::ReadText<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let blobs = self.blobs.clone();
        errors::blocking(move || show(&|text| blobs.read_text(text, TEXT_MAX).map_err(errors::internal))).await?
    }

    /// Long texts become blobs, durable before anything names them.
    async fn stored(&self, text: Text) -> Result<Text, ApiError> {
        let Text::Inline(long) = &text else { return Ok(text) };
        if long.len() <= Text::INLINE_MAX {
            return Ok(text);
        }
        let (blobs, long) = (self.blobs.clone(), long.clone());
        errors::blocking(move || blobs.text(&long)).await?.map_err(errors::internal)
    }

    async fn stored_plan(&self, mut plan: PlanSpec) -> Result<PlanSpec, ApiError> {
        let is_long = |text: &Text| matches!(text, Text::Inline(text) if text.len() > Text::INLINE_MAX);
        if let Some(template) = plan.project.prompt_template.take() {
            plan.project.prompt_template = Some(self.stored(template).await?);
        }
        if !plan.tasks.iter().any(|task| is_long(&task.prompt)) {
            return Ok(plan);
        }
        let blobs = self.blobs.clone();
        errors::blocking(move || {
            let (places, long): (Vec<_>, Vec<_>) =
                plan.tasks.iter().enumerate().filter(|(_, task)| is_long(&task.prompt)).unzip();
            let texts: Vec<&[u8]> = long
                .iter()
                .map(|task| match &task.prompt {
                    Text::Inline(text) => text.as_bytes(),
                    Text::Blob(..) => &[],
                })
                .collect();
            let sizes: Vec<u64> = texts.iter().map(|text| text.len() as u64).collect();
            let ids = blobs.put_all(&texts)?;
            for ((place, id), size) in places.into_iter().zip(ids).zip(sizes) {
                plan.tasks[place].prompt = Text::Blob(id, size);
            }
            Ok::<_, devstack_store::StoreError>(plan)
        })
        .await?
        .map_err(errors::internal)
    }

    async fn stored_command(&self, command: Command) -> Result<Command, ApiError> {
        Ok(match command {
            Command::RetryTask { task, message: Some(message) } => {
                Command::RetryTask { task, message: Some(self.stored(message).await?) }
            }
            Command::RequestChanges { task, message } => {
                Command::RequestChanges { task, message: self.stored(message).await? }
            }
            other => other,
        })
    }

    /// Refuses a repository that a plan from the network may not name. The project keeps what it already has.
    async fn admit_source(&self, plan: &PlanSpec) -> Result<(), ApiError> {
        let Some(source) = plan.project.source.clone() else { return Ok(()) };
        let name = plan.project.name.clone();
        let accepted = self.look(move |seen| seen.engine.project(&name)?.spec.source.clone()).await?;
        let inbox = self.hubs.as_ref().map(|hubs| hubs.dir_of_inbox(&plan.project.name).display().to_string());
        let rules = self.rules.clone();
        let judge = move || {
            let known: Vec<&str> = accepted.iter().chain(&inbox).map(String::as_str).collect();
            rules.admit(&source, &known)
        };
        errors::blocking(judge).await?.map_err(errors::source)
    }

    /// Warnings about the source of a plan, for the user.
    async fn warnings(&self, plan: &PlanSpec) -> Vec<String> {
        let Some(source) = plan.project.source.clone() else { return Vec::new() };
        let rules = self.rules.clone();
        let warning = errors::blocking(move || Source::locate_by(&rules, &source)?.warning());
        // The submission itself refuses an unusable source.
        warning.await.ok().and_then(Result::ok).flatten().into_iter().collect()
    }

    /// Roles whose agents cannot reach their models.
    fn unreachable_models(plan: &PlanSpec) -> Vec<String> {
        let roles = plan.project.roles.iter().filter(|role| role.network == Network::None);
        let warned = roles.filter_map(|role| Some((role, plan.project.profile_of(role)?)));
        let warning = |(role, profile): (&RoleSpec, &Arc<Profile>)| {
            format!(
                "role `{}` has the profile `{}` and network = \"none\", so its agents cannot reach {}; \
                 set network = \"bridge\" if they must",
                role.name,
                profile.name,
                profile.endpoints.join(", ")
            )
        };
        warned.map(warning).collect()
    }

    async fn wait_until_settled(&self, query: WaitQuery) -> Result<dto::Settled, ApiError> {
        let mut news = self.facts_after(self.look(|seen| seen.seq).await?).await?.news;
        let (query, kept) = (Arc::new(query), Arc::new(Mutex::new(None)));
        loop {
            let (query, kept) = (query.clone(), kept.clone());
            let look = move |seen: &View<'_>| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let mut watch = match kept.take() {
                    // A restarted Taskmaster has another engine: data about the old one is meaningless there.
                    Some((since, watch)) if since == seen.since => watch,
                    _ => seen.engine.watch(&view::waited_for(seen.engine, &query)?),
                };
                let settled = settled(seen.engine, &query, &mut watch)?;
                *kept = Some((seen.since, watch));
                Ok::<_, ApiError>((settled, seen.seq))
            };
            let (settled, seq) = self.look(look).await??;
            if let Some(settled) = settled {
                return Ok(settled);
            }
            if news.wait_for(|durable| *durable > seq).await.is_err() {
                return Err(ApiError::unavailable("the node stops"));
            }
        }
    }
}

/// How the project settled; `None` if something still moves by itself, or waits for a user.
fn settled(engine: &Engine, query: &WaitQuery, watch: &mut Watch) -> Result<Option<dto::Settled>, ApiError> {
    if !engine.settled_watch(watch) {
        return Ok(None);
    }
    let tasks = view::waited_for(engine, query)?;
    let open = |task: &TaskRef| engine.status(task).is_some_and(|status| !status.is_terminal());
    if query.through_humans && tasks.iter().any(open) {
        return Ok(None);
    }
    Ok(Some(view::settled(engine, query, &tasks)))
}

/// For requests that may be repeated: if a Taskmaster fails with the request in progress, its successor is asked.
async fn ask_again<T: Send>(
    taskmaster: &Address<TaskmasterMessage>,
    message: impl Fn(oneshot::Sender<T>) -> TaskmasterMessage,
) -> Result<T, Gone> {
    for _ in 1..TRIES {
        if let Ok(answer) = taskmaster.ask(PATIENCE, &message).await {
            return Ok(answer);
        }
    }
    taskmaster.ask(PATIENCE, &message).await
}

fn stored_request(request: RequestId) -> Result<Request, ApiError> {
    let key = RequestKey::new(&request.key).map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok(Request { key, body_hash: request.body_hash })
}
