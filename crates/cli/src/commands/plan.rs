//! `plan check|submit|show|cancel`. The other `plan` commands have their own modules.

use std::path::Path;

use axum::body::{Body, Bytes};
use devstack_dag::plan::PlanSpec;

use super::{Context, directory_of, export, import, source, wait, watch};
use crate::{
    CliError, Exit, Workdir,
    address::{self, Target},
    args::{Format, PlanCommand},
    client::{Client, escape, parse},
    session::Session,
};
use devstack_api::dto;
use devstack_config::plan_file;

pub(super) async fn run(context: &Context<'_>, command: PlanCommand) -> Result<Exit, CliError> {
    match command {
        PlanCommand::Check { plan } => check(context, &plan),
        PlanCommand::Submit { plan, wait, wait_human } => submit_file(context, &plan, wait, wait_human).await,
        PlanCommand::Show { project } => {
            let pretty = |body: &[u8]| {
                let plan: serde_json::Value = parse(body)?;
                serde_json::to_string_pretty(&plan).map_err(|e| CliError::failure(e.to_string()))
            };
            context.show(&format!("/v1/plans/{}", escape(&project)), pretty).await
        }
        PlanCommand::Cancel { project, plan } => {
            let session = context.session().await?;
            let path = format!("/v1/plans/{}/cancel", escape(&project));
            let body = session.client.change(&path, &serde_json::json!({ "plan": plan })).await;
            session.close().await?;
            context.print(&body?, |body| Ok(parse::<dto::Answer>(body)?.message))?;
            Ok(Exit::Ok)
        }
        PlanCommand::Import(args) => import::run(context, args).await,
        PlanCommand::Export(args) => export::run(context, args).await,
        PlanCommand::Watch(args) => watch::run(context, args).await,
    }
}

/// Checks a plan, without a node.
fn check(context: &Context<'_>, path: &Path) -> Result<Exit, CliError> {
    let plan = plan_file::load(path)?;
    let (project, tasks, roles) = (plan.project.name.as_str(), plan.tasks.len(), plan.project.roles.len());
    context.output.data(&match context.output.format {
        Format::Table => {
            let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
            format!("OK: project {project}, {}, {}", counted(tasks, "task"), counted(roles, "role"))
        }
        Format::Json | Format::Jsonl => {
            serde_json::json!({ "apiVersion": "v1", "project": project, "tasks": tasks, "roles": roles }).to_string()
        }
    });
    Ok(Exit::Ok)
}

async fn submit_file(context: &Context<'_>, path: &Path, wait: bool, through_humans: bool) -> Result<Exit, CliError> {
    let plan = plan_file::load(path)?;
    submit_plan(context, plan, &directory_of(path)?, wait, through_humans).await
}

/// Submits a plan whose file is, or would be, in a directory.
pub(super) async fn submit_plan(
    context: &Context<'_>,
    mut plan: PlanSpec,
    dir: &Path,
    wait: bool,
    through_humans: bool,
) -> Result<Exit, CliError> {
    let target = match address::named(&context.global)? {
        Some(client) => Target::Node(client),
        None => Target::Dir(match Workdir::find(dir) {
            Some(found) => found,
            None => Workdir::create(dir)?,
        }),
    };
    let session = Session::open(&target, context.seams).await?;
    let result = async {
        let pushed = source::push(context, &session.client, &mut plan).await?;
        let body = submit(&session.client, &plan).await?;
        if !(wait || through_humans) {
            context.print(&body, |body| Ok(told(&parse(body)?)))?;
            return Ok(Exit::Ok);
        }
        context.output.note(&told(&parse(&body)?));
        let exit = wait::settle(context, &session, plan.project.name.as_str(), None, through_humans).await?;
        if let Some(pushed) = pushed {
            pushed.bring_back(context, &session.client).await?;
        }
        Ok(exit)
    };
    let result = result.await;
    session.close().await?;
    result
}

/// Posts a plan.
pub(super) async fn submit(client: &Client, plan: &PlanSpec) -> Result<Bytes, CliError> {
    let body = plan_file::to_json(plan).map_err(|e| CliError::failure(e.to_string()))?;
    client.post("/v1/plans", Body::from(body), "application/json").await
}

/// The result of a submission in a sentence, and its warnings.
pub(super) fn told(answer: &dto::PlanAnswer) -> String {
    let counts = [
        (answer.added, "added"),
        (answer.updated, "updated"),
        (answer.retried, "retried"),
        (answer.unchanged, "unchanged"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut text = format!("plan {} of {}: {}", answer.plan, answer.project, counts.join(", "));
    for warning in &answer.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}
