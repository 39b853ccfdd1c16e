//! `project`, `agent`, `merge` and `status`.

use super::{Context, hosts};
use crate::{
    CliError, Exit,
    args::{MergeCommand, ProjectCommand},
    client::{escape, parse},
    exit::code,
    output::{Output, Paint, clean},
    table::Table,
    usage,
};
use devstack_api::dto;
use devstack_config::problem::Problem;

/// Shown digits of a commit.
const SHORT: usize = 10;

pub(super) async fn project(context: &Context<'_>, command: ProjectCommand) -> Result<Exit, CliError> {
    match command {
        ProjectCommand::List => {
            let table = |body: &[u8]| {
                let mut table =
                    Table::new(&["PROJECT", "STATE", "TASKS", "COMPLETED", "BLOCKED", "INTEGRATION", "HEAD"]);
                for project in parse::<dto::ProjectList>(body)?.projects {
                    let count = |status: &str| project.tasks.get(status).copied().unwrap_or(0).to_string();
                    let all: u64 = project.tasks.values().sum();
                    table.row([
                        project.name.clone(),
                        if project.paused { "paused" } else { "running" }.to_owned(),
                        all.to_string(),
                        count("COMPLETED"),
                        count("BLOCKED"),
                        project.integration.clone().unwrap_or_default(),
                        short(project.head.as_deref()),
                    ]);
                }
                Ok(table.render(context.output))
            };
            context.show_all("/v1/projects", "projects", table).await
        }
        ProjectCommand::Show { project } => {
            let page = |body: &[u8]| Ok(project_page(&parse::<dto::ProjectPage>(body)?.project));
            context.show(&format!("/v1/projects/{}", escape(&project)), page).await
        }
        ProjectCommand::Pause { project } => change(context, &project, "pause").await,
        ProjectCommand::Resume { project } => change(context, &project, "resume").await,
    }
}

async fn change(context: &Context<'_>, project: &str, what: &str) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let path = format!("/v1/projects/{}/{what}", escape(project));
    let body = session.client.change(&path, &serde_json::json!({})).await;
    session.close().await?;
    context.print(&body?, |body| Ok(parse::<dto::Answer>(body)?.message))?;
    Ok(Exit::Ok)
}

fn project_page(project: &dto::Project) -> String {
    let mut text = format!("{}\n", project.name);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    line("source", project.source.as_deref().unwrap_or_default());
    line("integration", project.integration.as_deref().unwrap_or_default());
    line("head", project.head.as_deref().unwrap_or_default());
    line("delivered", project.delivered.as_deref().unwrap_or_default());
    line("waits", project.delivery_blocked.as_deref().unwrap_or_default());
    line("state", if project.paused { "paused" } else { "running" });
    line("plans", &project.plans.to_string());
    line("budget", &project.budget_usd.map(|budget| usage::dollars(Some(budget))).unwrap_or_default());
    line("used", &usage::spent(&project.usage));
    for role in &project.roles {
        let max = role.max_cost_usd.map(|max| format!(" of at most {}", usage::dollars(Some(max))));
        let profile = role.profile.as_ref().map(|profile| format!(" ({profile})")).unwrap_or_default();
        let used = match usage::spent(&role.usage) {
            used if used.is_empty() => "nothing yet".to_owned(),
            used => used,
        };
        line(&role.role, &format!("{used}{}{profile}", max.unwrap_or_default()));
    }
    for (status, count) in project.tasks.iter().filter(|(_, count)| **count > 0) {
        line(&status.to_lowercase(), &count.to_string());
    }
    text
}

pub(super) async fn agents(context: &Context<'_>) -> Result<Exit, CliError> {
    let table = |body: &[u8]| {
        let mut table = Table::new(&["AGENT", "PROJECT", "ROLE", "HOST", "TASK", "ATTEMPT", "STAGE", "SINCE"]);
        for agent in parse::<dto::AgentList>(body)?.agents {
            let working = agent.task.is_some();
            table.row([
                agent.name,
                agent.project,
                agent.role,
                agent.host.unwrap_or_default(),
                agent.task.unwrap_or_else(|| "idle".to_owned()),
                agent.attempt.map(|n| n.to_string()).unwrap_or_default(),
                agent.stage.unwrap_or_default(),
                agent.since.map(|at| at.to_string()).unwrap_or_default(),
            ]);
            if !working {
                table.paint(4, Paint::Dim);
            }
        }
        Ok(table.render(context.output))
    };
    context.show_all("/v1/agents", "agents", table).await
}

pub(super) async fn merges(context: &Context<'_>, command: MergeCommand) -> Result<Exit, CliError> {
    let project = match command {
        MergeCommand::List { project } => project,
        MergeCommand::Show { merge } => return show_merge(context, &merge).await,
    };
    let table = |body: &[u8]| {
        let mut table = Table::new(&["TASK", "COMMIT", "MERGE", "AT"]);
        for merge in parse::<dto::MergeList>(body)?.merges {
            let (commit, merged) = (short(Some(&merge.commit)), short(Some(&merge.merge_commit)));
            table.row([merge.task, commit, merged, merge.at.to_string()]);
        }
        Ok(table.render(context.output))
    };
    let query = project.map(|project| format!("?project={}", escape(&project))).unwrap_or_default();
    context.show_all(&format!("/v1/merges{query}"), "merges", table).await
}

/// The fewest digits that can name a commit.
const DIGITS: usize = 6;

async fn show_merge(context: &Context<'_>, wanted: &str) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let merges = session.client.all("/v1/merges", "merges").await.and_then(|body| parse::<dto::MergeList>(&body));
    session.close().await?;
    let is = |merge: &dto::Merge| {
        let id = merge.task.split_once('/').map_or(merge.task.as_str(), |(_, id)| id);
        merge.task == wanted || id == wanted || (wanted.len() >= DIGITS && merge.merge_commit.starts_with(wanted))
    };
    let found: Vec<dto::Merge> = merges?.merges.into_iter().filter(is).collect();
    let [merge] = found.as_slice() else {
        let Some(first) = found.first() else {
            let problem = Problem::new(code::NO_TASK, format!("there is no merge `{wanted}`"));
            return Err(CliError::new(Exit::NotFound, problem.hint("`devstack merge list` shows the merges")));
        };
        let names: Vec<&str> = found.iter().map(|merge| merge.task.as_str()).collect();
        let message = format!("`{wanted}` matches several merges: {}", names.join(", "));
        let hint = format!("name one of them, for example `{}`", first.task);
        return Err(CliError::new(Exit::Usage, Problem::new(code::AMBIGUOUS, message).hint(hint)));
    };
    let body = serde_json::json!({ "apiVersion": "v1", "merge": merge });
    context.print(&body.to_string().into(), |_| {
        let dto::Merge { task, commit, merge_commit, at } = merge;
        Ok(format!("{task}\n  commit       {commit}\n  merge        {merge_commit}\n  at           {at}"))
    })?;
    Ok(Exit::Ok)
}

pub(super) async fn status(context: &Context<'_>) -> Result<Exit, CliError> {
    let page = |body: &[u8]| {
        let overview: dto::Overview = parse(body)?;
        let mut text = String::new();
        for word in dto::STATUSES.map(|status| status.as_str()) {
            let count = overview.tasks.get(word).copied().unwrap_or(0);
            let word_ = context.output.paint(Output::status(word), &format!("{word:<10}"));
            text.push_str(&format!("{word_} {count:>7}\n"));
        }
        text.push_str(&format!("\n{} of {} slots used", overview.running, overview.slots));
        if overview.unknown > 0 {
            let unknown = format!("{} UNKNOWN", overview.unknown);
            text.push_str(&format!(", {}", context.output.paint(Paint::Yellow, &unknown)));
        }
        let counts = dto::PRESENCES.map(|word| (word, overview.hosts_by_presence.get(word).copied().unwrap_or(0)));
        let counts = counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("; hosts: {}\n\n", if counts.is_empty() { "none" } else { &counts }));
        text.push_str(&hosts::table(&overview.hosts).render(context.output));
        let used = usage::spent(&overview.usage);
        if !used.is_empty() {
            text.push_str(&format!("\nUsed: {used}\n"));
        }
        for provider in overview.providers.iter().filter(|provider| provider.parked_until.is_some()) {
            let until = provider.parked_until.map(|at| at.to_string()).unwrap_or_default();
            let (name, reason) = (clean(&provider.provider), clean(&provider.reason));
            text.push_str(&format!("\nThe provider {name} is parked until {until}: {reason}\n"));
        }
        if !overview.waiting.is_empty() {
            text.push_str("\nWaiting for you:\n");
            text.push_str(&super::wait::table(&overview.waiting).render(context.output));
        }
        for delivery in &overview.deliveries {
            text.push_str(&format!(
                "\nThe source of {} is not up to date: {}\n",
                delivery.project,
                crate::output::clean(&delivery.why)
            ));
        }
        Ok(text)
    };
    context.show("/v1/status", page).await
}

/// The first digits of a commit.
pub(super) fn short(commit: Option<&str>) -> String {
    commit.unwrap_or_default().chars().take(SHORT).collect()
}
