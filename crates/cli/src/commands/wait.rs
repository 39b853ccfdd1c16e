//! Waits until everything is COMPLETED (exit code 0) or only people can continue (exit code 7).

use std::time::Duration;

use super::Context;
use crate::{
    CliError, Exit,
    args::Format,
    client::{Client, escape, parse},
    output::{Output, clean},
    session::Session,
    table::Table,
};
use devstack_api::dto;
use devstack_config::problem::Problem;

/// How long to wait for a node that dispatches nothing: it answers at once or never.
const IDLE_PATIENCE: Duration = Duration::from_secs(2);
/// No node is running, so nothing can progress.
pub(super) const NO_NODE: &str = "DS0407";

/// Waits, prints the tasks that need a person, and returns the exit code.
pub(super) async fn settle(
    context: &Context<'_>,
    session: &Session,
    project: &str,
    tasks: Option<&[String]>,
    through_humans: bool,
) -> Result<Exit, CliError> {
    let asked = ask(&session.client, project, tasks, through_humans);
    let body = if session.is_idle() {
        let nothing_moves = || {
            let problem = Problem::new(NO_NODE, "no node is running, so no task can progress");
            CliError::new(
                Exit::Refused,
                problem.hint("start a node with `devstack up`, or run the plan with `devstack run PLAN`"),
            )
        };
        tokio::time::timeout(IDLE_PATIENCE, asked).await.unwrap_or_else(|_| Err(nothing_moves()))?
    } else {
        asked.await?
    };
    print(context, &body)
}

/// Sends a request that the node answers when everything is settled.
pub(super) async fn ask(
    client: &Client,
    project: &str,
    tasks: Option<&[String]>,
    through_humans: bool,
) -> Result<axum::body::Bytes, CliError> {
    let ids = tasks.map(|ids| format!("&tasks={}", escape(&ids.join(",")))).unwrap_or_default();
    client.get(&format!("/v1/wait?project={}{ids}&through_humans={through_humans}", escape(project))).await
}

/// Prints the result, and returns the exit code for it.
pub(super) fn print(context: &Context<'_>, body: &[u8]) -> Result<Exit, CliError> {
    let settled: dto::Settled = parse(body)?;
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.written(&[body, b"\n"].concat()),
        Format::Table if settled.completed => {
            context.output.note(&format!("all {} tasks are COMPLETED", settled.tasks));
            for waiting in &settled.waiting {
                context.output.note(&format!("{}\nafter that, run the plan again", clean(&waiting.why)));
            }
        }
        Format::Table => {
            context.output.note("Waiting for you:");
            context.output.data(&table(&settled.waiting).render(context.output));
        }
    }
    Ok(if settled.completed { Exit::Ok } else { Exit::Waiting })
}

/// A line per task that needs a person, with the command to run next.
pub(super) fn table(waiting: &[dto::Waiting]) -> Table {
    let mut table = Table::new(&["TASK", "STATUS", "WHY", "NEXT STEP"]);
    for entry in waiting {
        let (task, status) =
            (entry.task.as_ref().unwrap_or(&entry.project), entry.status.as_deref().unwrap_or_default());
        table.row([task, status, &entry.why, &entry.command]);
        table.paint(1, Output::status(status));
    }
    table
}
