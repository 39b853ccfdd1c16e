//! `task …`: lists tasks, inspects them and acts on them.

use axum::body::Bytes;
use futures::StreamExt;
use serde_json::json;

use super::{Context, lists::short, resolve, wait};
use crate::{
    CliError, Exit,
    args::TaskCommand,
    client::{Client, escape, parse},
    exit::code,
    output::{Output, Paint, clean},
    table::Table,
    usage,
};
use devstack_api::{ByteStream, dto};
use devstack_config::problem::Problem;

pub(super) async fn run(context: &Context<'_>, command: TaskCommand) -> Result<Exit, CliError> {
    match command {
        TaskCommand::List { project, status } => list(context, project, status).await,
        TaskCommand::Show { task } => {
            let body = of_task(context, &task, |client, path| async move { client.get(&path).await }).await?;
            context.print(&body, |body| Ok(page(context.output, &parse::<dto::TaskPage>(body)?.task)))?;
            Ok(Exit::Ok)
        }
        TaskCommand::Explain { task } => {
            let ask = |client: Client, path| async move { client.get(&format!("{path}/explain")).await };
            let body = of_task(context, &task, ask).await?;
            context.print(&body, |body| Ok(clean(&parse::<dto::Explanation>(body)?.text)))?;
            Ok(Exit::Ok)
        }
        TaskCommand::Prompt { task } => {
            let ask = |client: Client, path| async move { client.get(&format!("{path}/prompt")).await };
            let body = of_task(context, &task, ask).await?;
            context.print(&body, |body| Ok(parse::<dto::Prompt>(body)?.text))?;
            Ok(Exit::Ok)
        }
        TaskCommand::Logs { task, follow, attempt } => {
            let attempt = attempt.map(|number| format!("&attempt={number}")).unwrap_or_default();
            copy(context, &task, &format!("logs?follow={follow}{attempt}")).await
        }
        TaskCommand::Diff { task } => copy(context, &task, "diff").await,
        TaskCommand::Stop { task } => change(context, &task, "stop", json!({})).await,
        TaskCommand::Retry { task, message } => change(context, &task, "retry", json!({ "message": message })).await,
        TaskCommand::Reject { task, message } => change(context, &task, "reject", json!({ "reason": message })).await,
        TaskCommand::Approve { task } => change(context, &task, "approve", json!({})).await,
        TaskCommand::RequestChanges { task, message } => {
            change(context, &task, "request-changes", json!({ "message": message })).await
        }
        TaskCommand::Resolve { task, way } => resolve::run(context, &task, way).await,
        TaskCommand::Wait { tasks, project, wait_human } => wait_for(context, tasks, project, wait_human).await,
    }
}

/// The path `/v1/tasks/{project}/{id}` of a task that the user named. A short id must exist in one project only.
pub(super) async fn path(client: &Client, task: &str) -> Result<String, CliError> {
    let path = |project: &str, id: &str| format!("/v1/tasks/{}/{}", escape(project), escape(id));
    if let Some((project, id)) = task.split_once('/') {
        return Ok(path(project, id));
    }
    let projects = client.read::<dto::ProjectList>("/v1/projects").await?.projects;
    if let [only] = projects.as_slice() {
        return Ok(path(&only.name, task));
    }
    let mut found = Vec::new();
    for project in &projects {
        match client.get(&path(&project.name, task)).await {
            Ok(_) => found.push(project.name.as_str()),
            Err(error) if error.exit == Exit::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match found.as_slice() {
        [only] => Ok(path(only, task)),
        [] => {
            let problem = Problem::new(code::NO_TASK, format!("there is no task `{task}`"));
            Err(CliError::new(Exit::NotFound, problem.hint("`devstack task list` shows the tasks")))
        }
        [first, ..] => {
            let message = format!("several projects have a task `{task}`: {}", found.join(", "));
            let hint = format!("name one of them, for example `{first}/{task}`");
            Err(CliError::new(Exit::Usage, Problem::new(code::AMBIGUOUS, message).hint(hint)))
        }
    }
}

async fn of_task<F>(context: &Context<'_>, task: &str, ask: impl FnOnce(Client, String) -> F) -> Result<Bytes, CliError>
where
    F: Future<Output = Result<Bytes, CliError>>,
{
    let session = context.session().await?;
    let body = async { ask(session.client.clone(), path(&session.client, task).await?).await }.await;
    session.close().await?;
    body
}

async fn change(context: &Context<'_>, task: &str, what: &str, body: serde_json::Value) -> Result<Exit, CliError> {
    let ask = |client: Client, path| async move { client.change(&format!("{path}/{what}"), &body).await };
    let body = of_task(context, task, ask).await?;
    context.print(&body, |body| Ok(parse::<dto::Answer>(body)?.message))?;
    Ok(Exit::Ok)
}

/// Copies an answer to stdout as it arrives.
async fn copy(context: &Context<'_>, task: &str, what: &str) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let copied = async {
        // Without a running node the log does not grow: following it would never end.
        let what = if session.is_idle() { what.replace("follow=true", "follow=false") } else { what.to_owned() };
        let mut bytes: ByteStream =
            session.client.stream(&format!("{}/{what}", path(&session.client, task).await?)).await?;
        let mut pieces = context.output.pieces();
        while let Some(chunk) = bytes.next().await {
            pieces.push(&chunk.map_err(|e| CliError::unreachable(format!("the output was interrupted: {e}")))?);
        }
        Ok(Exit::Ok)
    };
    let copied = copied.await;
    session.close().await?;
    copied
}

async fn list(context: &Context<'_>, project: Option<String>, status: Option<String>) -> Result<Exit, CliError> {
    let project = project.map(|project| format!("&project={}", escape(&project))).unwrap_or_default();
    let status = status.map(|status| format!("&status={}", escape(&status))).unwrap_or_default();
    let path = format!("/v1/tasks?{}", format!("{project}{status}").trim_start_matches('&'));
    let shown = context.show_all(&path, "tasks", |body| {
        let mut table = Table::new(&["ID", "STATUS", "AGENT", "ATTEMPTS", "PRIORITY", "TITLE"]);
        let tasks = parse::<dto::TaskList>(body)?.tasks;
        let several = tasks.windows(2).any(|pair| pair[0].project != pair[1].project);
        for task in tasks {
            let id = if several { format!("{}/{}", task.project, task.id) } else { task.id };
            let reason = task.blocked_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let agent = task.agent.unwrap_or_default();
            let attempts = task.attempts.to_string();
            let status = format!("{}{reason}{}", task.status, unknown(task.unknown));
            table.row([id, status, agent, attempts, task.priority, task.title]);
            table.paint(1, Output::status(&task.status));
        }
        Ok(table.render(context.output))
    });
    shown.await
}

async fn wait_for(
    context: &Context<'_>,
    tasks: Vec<String>,
    project: Option<String>,
    through_humans: bool,
) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let waited = async {
        let mut projects = project.into_iter().collect::<Vec<_>>();
        let mut ids = Vec::new();
        for task in &tasks {
            let path = match projects.first() {
                Some(project) if !task.contains('/') => format!("/v1/tasks/{project}/{task}"),
                _ => path(&session.client, task).await?,
            };
            let (project, id) = path.trim_start_matches("/v1/tasks/").split_once('/').unwrap_or_default();
            if !projects.iter().any(|known| known == project) {
                projects.push(project.to_owned());
            }
            ids.push(id.to_owned());
        }
        if projects.is_empty() {
            projects = session
                .client
                .read::<dto::ProjectList>("/v1/projects")
                .await?
                .projects
                .into_iter()
                .map(|p| p.name)
                .collect();
        }
        let [project] = projects.as_slice() else {
            return Err(CliError::usage("this command waits for tasks of exactly one project")
                .hint("name the project with --project"));
        };
        let ids = (!ids.is_empty()).then_some(ids.as_slice());
        wait::settle(context, &session, project, ids, through_humans).await
    };
    let waited = waited.await;
    session.close().await?;
    waited
}

/// The suffix of an attempt's state while its host is silent.
pub(super) fn unknown(is_unknown: bool) -> &'static str {
    if is_unknown { " UNKNOWN" } else { "" }
}

/// Everything about a task, for people.
fn page(output: &Output, detail: &dto::TaskDetail) -> String {
    let task = &detail.task;
    let mut text = format!("{}/{}  {}\n", task.project, task.id, clean(&task.title));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<13} {value}\n"));
        }
    };
    let reason = task.blocked_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let status = output.paint(Output::status(&task.status), &task.status);
    line("status", format!("{status}{reason}{}", unknown(task.unknown)));
    line("why", clean(detail.reason.as_deref().unwrap_or_default()));
    line("waits", clean(detail.held_back.as_deref().unwrap_or_default()));
    line("executor", task.role.clone().unwrap_or_else(|| "a person".to_owned()));
    line("agent", task.agent.clone().unwrap_or_default());
    line("host", task.host.clone().unwrap_or_default());
    line("priority", task.priority.clone());
    line("dependencies", task.dependencies.join(", "));
    line("resolves", task.resolves.clone().unwrap_or_default());
    line("resolved by", task.resolved_by.clone().unwrap_or_default());
    line("branch", task.branch.clone().unwrap_or_default());
    line("commit", task.commit.clone().unwrap_or_default());
    line("merge", task.merge_commit.clone().unwrap_or_default());
    line("delivered", task.delivered_at.map(|at| at.to_string()).unwrap_or_default());
    line("created", task.created_at.to_string());
    line("updated", task.updated_at.to_string());
    let mut block = |name: &str, body: &str| {
        if !body.trim().is_empty() {
            let body: String = clean(body).lines().map(|line| format!("  {line}\n")).collect();
            text.push_str(&format!("\n{}\n{body}", output.paint(Paint::Bold, name)));
        }
    };
    block("Prompt", &detail.prompt);
    for feedback in &detail.feedback {
        let from = if feedback.attempt == 0 { "a person".to_owned() } else { format!("attempt {}", feedback.attempt) };
        block(&format!("Feedback from {from}"), &feedback.text);
    }
    if !detail.attempt_list.is_empty() {
        const COLUMNS: [&str; 11] =
            ["ATTEMPT", "STAGE", "AGENT", "OUTCOME", "EXIT", "COST", "READ", "WRITTEN", "COMMIT", "STARTED", "ENDED"];
        let mut table = Table::new(&COLUMNS);
        for attempt in &detail.attempt_list {
            table.row([
                attempt.number.to_string(),
                attempt.stage.clone(),
                attempt.agent.clone(),
                attempt.outcome.clone().unwrap_or_else(|| format!("running{}", unknown(attempt.unknown))),
                attempt.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                usage::dollars(attempt.usage.as_ref().and_then(|usage| usage.cost_usd)),
                usage::tokens(attempt.usage.as_ref().and_then(|usage| usage.input_tokens)),
                usage::tokens(attempt.usage.as_ref().and_then(|usage| usage.output_tokens)),
                short(attempt.commit.as_deref()),
                attempt.started_at.to_string(),
                attempt.ended_at.map(|at| at.to_string()).unwrap_or_default(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(output));
    }
    for attempt in &detail.attempt_list {
        text.push_str(&left(attempt));
    }
    text
}

/// What an attempt left apart from its result.
fn left(attempt: &dto::Attempt) -> String {
    let mut text = String::new();
    let number = attempt.number;
    for dto::Skipped { path, why } in &attempt.harvest_skipped {
        text.push_str(&format!("not collected from attempt {number}: {} ({})\n", clean(path), clean(why)));
    }
    if attempt.harvest_skipped_more > 0 {
        text.push_str(&format!("not collected from attempt {number}: {} more\n", attempt.harvest_skipped_more));
    }
    for dto::Branch { name, commit } in &attempt.branches {
        text.push_str(&format!("branch of attempt {number}: {} at {}\n", clean(name), short(Some(commit))));
    }
    text
}
