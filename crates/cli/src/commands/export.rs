//! `plan export`: writes a project's tasks as a plan file, or as Dev_Stack's `tasks.json` with the state of each task.
//! Deliberately absent: resolution tasks. devstack creates them itself; they are not part of a plan.

use std::{collections::HashMap, path::Path};

use devstack_dag::{
    ids::Text,
    plan::{PlanSpec, RetryFrom, TaskSpec},
};

use super::{Context, import::report};
use crate::{
    CliError, Exit,
    args::{ExportArgs, ExportFormat, Format},
    client::{Client, escape, parse},
    files,
};
use devstack_api::dto;
use devstack_config::plan_file;
use devstack_exchange as exchange;
use devstack_exchange::{Live, Losses};

pub(super) async fn run(context: &Context<'_>, args: ExportArgs) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let read = async {
        let plan = plan(&session.client, &args.project).await?;
        let live = match args.format {
            ExportFormat::TasksJson => Some(live(&session.client, &plan).await?),
            ExportFormat::Toml | ExportFormat::Json => None,
        };
        Ok::<_, CliError>((plan, live))
    };
    let read = read.await;
    session.close().await?;
    let (plan, live) = read?;
    let (mut losses, count) = (Losses::default(), plan.tasks.len());
    let failed = |e: plan_file::PromptIsBlob| CliError::failure(e.to_string());
    let text = match live {
        None if args.format == ExportFormat::Toml => plan_file::to_toml(&plan).map_err(failed)?,
        None => {
            let json = plan_file::to_json(&plan).map_err(failed)?;
            let json: exchange::json::Json = parse(&json)?;
            json.pretty()
        }
        Some((live, hidden)) => {
            lost(&plan, &hidden, &mut losses);
            exchange::document(&args.project, &live, &today()).pretty()
        }
    };
    let name = args.to.as_deref().unwrap_or(Path::new("tasks.json")).display().to_string();
    report(context, &name, &losses);
    match &args.to {
        None => context.output.data(&text),
        Some(path) => {
            files::write(path, &text, args.force)?;
            context.output.data(&match context.output.format {
                Format::Table => format!("{name}: {count} tasks of {}", args.project),
                Format::Json | Format::Jsonl => serde_json::json!({
                    "apiVersion": "v1",
                    "project": args.project,
                    "file": name,
                    "tasks": count,
                    "losses": losses.as_slice(),
                    "more_losses": losses.more,
                })
                .to_string(),
            });
        }
    }
    Ok(Exit::Ok)
}

/// Today in UTC, `YYYY-MM-DD`.
pub(super) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Reads a project's current plan.
async fn plan(client: &Client, project: &str) -> Result<PlanSpec, CliError> {
    read_plan(&client.get(&format!("/v1/plans/{}", escape(project))).await?)
}

/// Parses a plan in the form in which the API returns it.
pub(super) fn read_plan(body: &[u8]) -> Result<PlanSpec, CliError> {
    let text = std::str::from_utf8(body).map_err(|e| CliError::failure(e.to_string()))?;
    Ok(plan_file::parse("plan", text, &plan_file::Posted)?)
}

/// The current state of every task of a plan, in the plan's order, and the ids of tasks that are in no plan.
pub(super) async fn live(client: &Client, plan: &PlanSpec) -> Result<(Vec<Live>, Vec<String>), CliError> {
    let path = format!("/v1/tasks?project={}", escape(plan.project.name.as_str()));
    let body = client.all(&path, "tasks").await?;
    let mut tasks: HashMap<String, dto::Task> =
        parse::<dto::TaskList>(&body)?.tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
    // A task that was added between the two requests appears in the next export.
    let live = plan.tasks.iter().filter_map(|spec| Some(of(spec, tasks.remove(spec.id.as_str())?))).collect();
    let mut hidden: Vec<String> = tasks.into_values().filter(|task| task.kind != "work").map(|task| task.id).collect();
    hidden.sort();
    Ok((live, hidden))
}

fn of(spec: &TaskSpec, task: dto::Task) -> Live {
    Live {
        id: task.id,
        title: spec.title.to_string(),
        prompt: match &spec.prompt {
            Text::Inline(text) => text.to_string(),
            // A plan from the API has its prompts inline.
            Text::Blob(..) => String::new(),
        },
        priority: spec.priority,
        dependencies: spec.dependencies.iter().map(ToString::to_string).collect(),
        status: task.status,
        agent: task.agent,
        role: task.role.unwrap_or(task.executor),
        blocked_reason: task.blocked_reason,
        branch: task.branch,
        attempts: task.attempts,
        commit: task.commit,
        merge_commit: task.merge_commit,
        created: task.created_at.to_string(),
        updated: task.updated_at.to_string(),
    }
}

/// Records what the format cannot represent.
fn lost(plan: &PlanSpec, hidden: &[String], losses: &mut Losses) {
    let what = "tasks.json has no field for it; `plan export --format toml` keeps it";
    losses.add(None, None, "project", format!("its repository, branches, checks, roles and profiles: {what}"));
    for task in &plan.tasks {
        let has = [
            ("command", task.command.is_some()),
            ("timeout", task.timeout_ms != 30 * 60_000),
            ("grace", task.grace_ms != 10_000),
            ("idle_timeout", task.idle_timeout_ms != 15 * 60_000),
            ("attempts", task.attempts != 3),
            ("retry_from", task.retry_from != RetryFrom::Last),
            ("allow_empty", task.allow_empty),
        ];
        for (field, _) in has.iter().filter(|(_, there)| *there) {
            losses.add(None, Some(task.id.as_str()), field, what);
        }
    }
    for id in hidden {
        losses.add(None, Some(id), "kind", "left out: devstack creates conflict resolutions itself");
    }
}
