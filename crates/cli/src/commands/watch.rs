//! `plan watch`: keeps a Dev_Stack `tasks.json` and a project synchronized. The command waits for changes of the file
//! (inotify) and of the project (its facts), and merges them.
//! Deliberately absent: the meaning of a change (`exchange::merge`), sharing a file with other writers
//! (`shared_file`), and an embedded node: without a running node no task changes, so there is nothing to synchronize.

use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};

use futures::{FutureExt, StreamExt};

use super::{
    Context, directory_of, export,
    import::{Who, who},
    wait::NO_NODE,
};
use crate::{
    CliError, Exit,
    args::{Format, WatchArgs},
    client::{Client, escape, parse},
    output::clean,
    progress,
    shared_file::{self, Replaced, SharedFile},
};
use devstack_api::dto;
use devstack_config::{plan_file, problem::Problem};
use devstack_exchange::{
    Live,
    json::Json,
    merge::{self, Agreed, Asked, Order, Wanted},
};

/// A writer that holds the lock for longer is stuck. We write the file anyway: nothing that the writer writes is lost.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often a plan is sent again because somebody else submitted in between.
const TRIES: usize = 5;

pub(super) async fn run(context: &Context<'_>, args: WatchArgs) -> Result<Exit, CliError> {
    let session = context.session_from(&directory_of(&args.file)?).await?;
    if session.is_idle() {
        session.close().await?;
        let problem = Problem::new(NO_NODE, "no node is running, so there is nothing to synchronize");
        let hint = "start a node with `devstack up`; `devstack plan import FILE --submit` imports a list once";
        return Err(CliError::new(Exit::Refused, problem.hint(hint)));
    }
    let watched = watch(context, &session.client, &args).await;
    session.close().await?;
    watched
}

async fn watch(context: &Context<'_>, client: &Client, args: &WatchArgs) -> Result<Exit, CliError> {
    let name = args.file.display().to_string();
    let cannot = |e: io::Error| CliError::failure(format!("cannot watch {name}: {e}"));
    let file = SharedFile::at(&args.file).map_err(cannot)?;
    // Subscribe to both before reading anything, so that no change is missed.
    let mut changes = file.changes().map_err(cannot)?;
    let project = project(client, args, &file).await?;
    let of_project = format!("?project={}", escape(&project));
    let mut facts = progress::facts(client, &of_project).await?;
    let left = file.left().map_err(cannot)?;
    let displaced = left.into_iter().map(|path| (path, Json::Object(Vec::new()))).collect();
    let mut sync = Sync {
        context,
        client,
        name,
        file,
        project,
        role: args.role.clone(),
        agreed: Agreed::default(),
        said: BTreeSet::new(),
        displaced,
    };
    let started = sync.once().await?;
    if started {
        context.output.note(&format!("{} and {} are synchronized", sync.name, sync.project));
    }
    loop {
        tokio::select! {
            change = changes.recv() => {
                if change.is_none() {
                    return Err(CliError::failure(format!("the directory of {} was removed", sync.name)));
                }
            }
            fact = facts.next() => match fact {
                None => return Err(CliError::unreachable("the node stopped").hint("start it, then watch again")),
                // We fell behind and missed some facts. That is harmless: everything is read again anyway.
                Some(Err(error)) if error.exit == Exit::Refused => facts = progress::facts(client, &of_project).await?,
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) => {}
            },
        }
        // Treat all changes that have arrived as one.
        while changes.try_recv().is_ok() {}
        while let Some(Some(Ok(_))) = facts.next().now_or_never() {}
        sync.once().await?;
    }
}

/// The project: from `--project`, else from the file, else the node's only project.
async fn project(client: &Client, args: &WatchArgs, file: &SharedFile) -> Result<String, CliError> {
    if let Some(project) = &args.project {
        return Ok(project.clone());
    }
    let text = file.read(plan_file::PLAN_MAX)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let document = text.and_then(|text| Json::parse(&text).ok());
    let named = document.as_ref().and_then(|list| list.get("metadata")?.get("project")?.as_text());
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let projects = client.read::<dto::ProjectList>("/v1/projects").await?.projects;
    match projects.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => {
            let problem = Problem::new("DS0201", "there is no project");
            Err(CliError::new(Exit::NotFound, problem.hint("create one: `devstack plan import FILE --submit`")))
        }
        _ => Err(CliError::usage("there are several projects").hint("name the project with --project")),
    }
}

/// A file's bytes, if the file exists, and the list in it.
type Found = (Option<Vec<u8>>, Json);

/// The file and the project, while they are synchronized.
struct Sync<'a> {
    context: &'a Context<'a>,
    client: &'a Client,
    name: String,
    file: SharedFile,
    project: String,
    role: Option<String>,
    agreed: Agreed,
    /// Problems of the current file that were already reported, so that each is reported once.
    said: BTreeSet<(String, String)>,
    /// Displaced content of other writers that is not merged yet, each with the content of the file before it.
    displaced: Vec<(PathBuf, Json)>,
}

/// The project's current plan and tasks.
struct Seen {
    plan: Json,
    live: Vec<Live>,
}

impl Sync<'_> {
    /// Synchronizes both. Returns `false` if the file cannot be read now.
    async fn once(&mut self) -> Result<bool, CliError> {
        loop {
            let Some((_, file)) = self.read()? else { return Ok(false) };
            // Send displaced content to the project before writing the file: then the project has it, whoever writes
            // the file next.
            let (processed, taken) = self.taken_in(&file);
            let mut seen = self.look().await?;
            let asked = merge::asked(&processed, &self.agreed, &seen.live);
            let mut said: BTreeSet<(String, String)> = asked.refused.iter().cloned().collect();
            if !(asked.words.is_empty() && asked.orders.is_empty()) {
                said.extend(self.grant(asked).await?);
                seen = self.look().await?;
            }
            for (task, why) in said.difference(&self.said) {
                self.say(task, "refused", why);
            }
            self.said = said;
            let file = self.file.clone();
            let lock = tokio::task::spawn_blocking(move || file.lock());
            let _lock = tokio::time::timeout(LOCK_PATIENCE, lock).await;
            if self.write(&processed, &taken, &seen.live)? {
                return Ok(true);
            }
        }
    }

    /// The current file; an empty list if there is no file, `None` if the file cannot be read for now.
    fn read(&mut self) -> Result<Option<Found>, CliError> {
        let broken = |why: &str| (String::new(), format!("the file cannot be read for now: {why}"));
        let bytes = match self.file.read(plan_file::PLAN_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Some((None, Json::Object(Vec::new())))),
            Err(error) => return Err(CliError::failure(format!("cannot read {}: {error}", self.name))),
        };
        let read = std::str::from_utf8(&bytes).map_err(|e| e.to_string());
        let read = read.and_then(|text| Json::parse(text).map_err(|e| e.to_string()));
        match read {
            Ok(list) if merge::is_list(&list) => Ok(Some((Some(bytes), list))),
            other => {
                let why =
                    broken(&other.err().unwrap_or_else(|| "it is not an object with a list of `tasks`".to_owned()));
                if !self.said.contains(&why) {
                    self.say("", "refused", &why.1);
                    self.said.insert(why);
                }
                Ok(None)
            }
        }
    }

    async fn look(&self) -> Result<Seen, CliError> {
        let body = self.client.get(&format!("/v1/plans/{}", escape(&self.project))).await?;
        let (spec, plan) = (export::read_plan(&body)?, parse(&body)?);
        let (live, _) = export::live(self.client, &spec).await?;
        Ok(Seen { plan, live })
    }

    /// Applies what the file requests. Returns what was refused, and why.
    async fn grant(&self, asked: Asked) -> Result<Vec<(String, String)>, CliError> {
        let mut refused = Vec::new();
        for (id, order) in asked.orders {
            let (command, body) = match order {
                Order::Retry => ("retry", serde_json::json!({ "message": null })),
                Order::Approve => ("approve", serde_json::json!({})),
                Order::Reject => ("reject", serde_json::json!({ "reason": format!("set in {}", self.name) })),
            };
            let path = format!("/v1/tasks/{}/{}/{command}", escape(&self.project), escape(&id));
            match self.client.change(&path, &body).await {
                Ok(_) => self.say(&id, command, ""),
                Err(error) => refused.push((id, told(error)?)),
            }
        }
        let mut words = asked.words;
        // A refused change may depend on one that was accepted meanwhile: retry while anything is accepted.
        loop {
            let left = self.submit(words.clone()).await?;
            if left.is_empty() || left.len() == words.len() {
                refused.extend(left.into_iter().map(|(wanted, why)| (wanted.id, why)));
                return Ok(refused);
            }
            words = left.into_iter().map(|(wanted, _)| wanted).collect();
        }
    }

    /// Submits changed texts. Halves refused batches until every bad text is found.
    async fn submit(&self, words: Vec<Wanted>) -> Result<Vec<(Wanted, String)>, CliError> {
        let (mut parts, mut refused) = (vec![words], Vec::new());
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.submit_part(&part).await else { continue };
            let why = told(error)?;
            if part.len() > 1 {
                let later = part.split_off(part.len() / 2);
                parts.extend([later, part]);
            } else {
                refused.extend(part.pop().map(|only| (only, why)));
            }
        }
        Ok(refused)
    }

    /// Submits the current plan with these texts.
    async fn submit_part(&self, part: &[Wanted]) -> Result<(), CliError> {
        if part.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let mut plan = self.look().await?.plan;
            let roles: Vec<String> =
                plan.get("agents").map(Json::fields).unwrap_or_default().iter().map(|(name, _)| name.clone()).collect();
            if let Some(Json::List(tasks)) = plan.get_mut("task") {
                part.iter().for_each(|wanted| self.put(tasks, wanted, &roles));
            }
            let body = serde_json::to_vec(&plan).map_err(|e| CliError::failure(e.to_string()))?;
            match self.client.post("/v1/plans", body.into(), "application/json").await {
                Ok(_) => {
                    part.iter().for_each(|it| self.say(&it.id, if it.new { "added" } else { "changed" }, ""));
                    return Ok(());
                }
                // The plan lacks tasks that another submission added in between, so it would remove them: read the plan
                // again.
                Err(error) if error.exit == Exit::Refused && tries < TRIES && self.grew(&plan, part).await? => {
                    tries += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the project has tasks that are not in this plan.
    async fn grew(&self, plan: &Json, part: &[Wanted]) -> Result<bool, CliError> {
        let sent = plan.get("task").map(Json::items).unwrap_or_default().len();
        let added = part.iter().filter(|wanted| wanted.new).count();
        Ok(self.look().await?.live.len() > sent - added)
    }

    /// Puts the texts of a task into a plan.
    fn put(&self, tasks: &mut Vec<Json>, wanted: &Wanted, roles: &[String]) {
        let mut new = Json::Object(Vec::new());
        let at = tasks.iter().position(|task| task.get("id").and_then(Json::as_text) == Some(&wanted.id));
        let task = match at {
            Some(at) => &mut tasks[at],
            None => {
                new.set("id", Json::text(&wanted.id));
                let default = self.role.as_deref().map_or(Who::Default, Who::Role);
                let who = who(wanted.assigned.as_deref().unwrap_or_default(), roles);
                match if matches!(who, Who::Default | Who::Unknown) { default } else { who } {
                    Who::Human => new.set("executor", Json::text("human")),
                    Who::Role(role) => new.set("role", Json::text(role)),
                    Who::Default | Who::Unknown => {}
                }
                tasks.push(new);
                let last = tasks.len() - 1;
                &mut tasks[last]
            }
        };
        task.set("title", Json::text(&wanted.title));
        task.set("prompt", Json::text(&wanted.prompt));
        task.set("priority", Json::text(plan_file::priority(wanted.priority)));
        task.set("dependencies", Json::List(wanted.dependencies.iter().map(Json::text).collect()));
    }

    /// Updates the file. Returns `false` if another writer wrote in between; its content must be sent to the project
    /// first.
    fn write(&mut self, processed: &Json, taken: &[PathBuf], live: &[Live]) -> Result<bool, CliError> {
        let name = self.name.clone();
        let cannot = move |e: io::Error| CliError::failure(format!("cannot write {name}: {e}"));
        loop {
            // If the file is broken now, fixing it is a change that we will see.
            let Some((bytes, file)) = self.read()? else { return Ok(true) };
            let mut base = file.clone();
            for (_, before, theirs) in self.readable().filter(|(kept, ..)| taken.contains(kept)) {
                base = merge::carried(before, &theirs, &base);
            }
            let (new, same) = merge::written(&base, processed, &self.agreed, live, &export::today());
            let replaced = if new == file {
                Ok(Replaced::Expected)
            } else {
                self.file.replace(bytes.as_deref(), new.pretty().as_bytes())
            };
            match replaced {
                // The file was created or removed meanwhile: read it again.
                Err(error) if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound].contains(&error.kind()) => {
                    continue;
                }
                Err(error) => return Err(cannot(error)),
                Ok(replaced) => {
                    self.agreed.note(live, &same);
                    for kept in taken {
                        self.file.forget(kept).map_err(&cannot)?;
                    }
                    self.displaced.retain(|(kept, _)| !taken.contains(kept));
                    let Replaced::Other(kept) = replaced else { return Ok(true) };
                    self.displaced.push((kept, file));
                    return Ok(false);
                }
            }
        }
    }

    /// Merges the displaced content of other writers into the file. Also returns the paths where that content is kept.
    fn taken_in(&self, file: &Json) -> (Json, Vec<PathBuf>) {
        let (mut merged, mut taken) = (file.clone(), Vec::new());
        for (kept, before, theirs) in self.readable() {
            merged = merge::carried(before, &theirs, &merged);
            taken.push(kept.to_owned());
        }
        (merged, taken)
    }

    /// Displaced content: its path, the content of the file before it, and the content itself. A file that is still
    /// being written is skipped; we are notified of a change when it is complete.
    fn readable(&self) -> impl Iterator<Item = (&PathBuf, &Json, Json)> {
        self.displaced.iter().filter_map(|(kept, before)| {
            let bytes = shared_file::read(kept, plan_file::PLAN_MAX).ok()??;
            let theirs = Json::parse(std::str::from_utf8(&bytes).ok()?).ok()?;
            merge::is_list(&theirs).then_some((kept, before, theirs))
        })
    }

    fn say(&self, task: &str, what: &str, why: &str) {
        self.context.output.data(&match self.context.output.format {
            Format::Table => {
                let line = [&self.name, task, what, why].map(clean);
                line.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(": ")
            }
            Format::Json | Format::Jsonl => {
                let task = (!task.is_empty()).then_some(task);
                let why = (!why.is_empty()).then_some(why);
                serde_json::json!({ "apiVersion": "v1", "project": self.project, "task": task, "what": what, "why": why })
                    .to_string()
            }
        });
    }
}

/// Why the node refused. Any other error ends the watch.
fn told(error: CliError) -> Result<String, CliError> {
    match error.exit {
        Exit::Usage | Exit::Refused | Exit::NotFound => {
            let first = error.error.problems().first().map(|problem| problem.message.clone());
            Ok(first.unwrap_or_else(|| error.to_string()))
        }
        _ => Err(error),
    }
}
