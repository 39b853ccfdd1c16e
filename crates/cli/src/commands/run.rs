//! `run` and `up`: a node in the foreground.

use std::{path::Path, time::Duration};

use axum::body::Bytes;
use devstack_dag::plan::PlanSpec;
use futures::StreamExt;

use super::{Context, dashboard, directory_of, host::Hosted, plan, source, wait};
use crate::{
    CliError, Exit, Workdir, address,
    args::HostArgs,
    client::{Client, parse},
    interrupt::Interrupts,
    progress::{Progress, facts},
    session::{Found, find},
};
use devstack_api::dto;
use devstack_config::plan_file;

/// How long to wait for a second interrupt while attempts run: long enough to read the line that offers it.
const SECOND_INTERRUPT: Duration = Duration::from_secs(2);

pub(super) async fn run(
    context: &Context<'_>,
    path: &Path,
    through_humans: bool,
    host: &HostArgs,
) -> Result<Exit, CliError> {
    let plan = plan_file::load(path)?;
    let mut interrupts = Interrupts::listen();
    if let Some(client) = address::named(&context.global)? {
        return away(context, &client, plan, through_humans, &mut interrupts).await;
    }
    let dir = directory_of(path)?;
    let dir = match Workdir::find(&dir) {
        Some(found) => found,
        None => Workdir::create(&dir)?,
    };
    let lock = tokio::select! {
        found = find(&dir) => match found? {
            Found::Running(client) => return beside(context, &client, &plan, through_humans, &mut interrupts).await,
            Found::Free(lock) => lock,
        },
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let hosted = Hosted::start(&dir, lock, host, context.seams).await?;
    let client = hosted.client();
    let ended = tokio::select! {
        body = hosted.with(drive(context, &client, &plan, through_humans)) => body.map(Some),
        () = interrupts.next() => Ok(None),
    };
    match ended {
        Ok(Some(body)) => {
            let exit = wait::print(context, &body);
            hosted.end(false).await?;
            exit
        }
        Ok(None) => {
            let stop = interrupted(context, &client, &mut interrupts).await;
            hosted.end(stop).await?;
            Ok(Exit::Interrupted)
        }
        Err(error) => {
            // The first error is the one to report.
            let _ = hosted.end(false).await;
            Err(error)
        }
    }
}

/// Runs a plan on a named node. It may be on another machine: the repository is pushed before and brought back after.
async fn away(
    context: &Context<'_>,
    client: &Client,
    mut plan: PlanSpec,
    through_humans: bool,
    interrupts: &mut Interrupts,
) -> Result<Exit, CliError> {
    let pushed = tokio::select! {
        pushed = source::push(context, client, &mut plan) => pushed?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let exit = beside(context, client, &plan, through_humans, interrupts).await?;
    match pushed {
        Some(pushed) if exit != Exit::Interrupted => tokio::select! {
            brought = pushed.bring_back(context, client) => brought.map(|()| exit),
            () = interrupts.next() => Ok(Exit::Interrupted),
        },
        _ => Ok(exit),
    }
}

/// Runs a plan on a node in another process: an interrupt ends only the watching.
async fn beside(
    context: &Context<'_>,
    client: &Client,
    plan: &PlanSpec,
    through_humans: bool,
    interrupts: &mut Interrupts,
) -> Result<Exit, CliError> {
    tokio::select! {
        body = drive(context, client, plan, through_humans) => wait::print(context, &body?),
        () = interrupts.next() => Ok(Exit::Interrupted),
    }
}

/// Submits the plan, waits until it is settled, and prints what happens meanwhile.
async fn drive(
    context: &Context<'_>,
    client: &Client,
    plan: &PlanSpec,
    through_humans: bool,
) -> Result<Bytes, CliError> {
    // Open the stream before submitting the plan, so that no fact is missed.
    let mut facts = if context.output.notes() { Some(facts(client, "").await?) } else { None };
    let answer: dto::PlanAnswer = parse(&plan::submit(client, plan).await?)?;
    context.output.note(&plan::told(&answer));
    if context.output.live() {
        context.output.note(dashboard::HINT);
    }
    let project = plan.project.name.as_str();
    let mut progress = Progress::new(context.output, project, plan.tasks.len() as u64);
    let settled = wait::ask(client, project, None, through_humans);
    tokio::pin!(settled);
    loop {
        let next = async {
            match &mut facts {
                Some(facts) => facts.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Print facts before the result.
            biased;
            fact = next => match fact {
                Some(Ok(fact)) => progress.see(&fact),
                // Progress is optional: without it the plan continues.
                Some(Err(_)) | None => facts = None,
            },
            body = &mut settled => return body,
        }
    }
}

/// Reports what keeps running. Returns whether a second interrupt asked to stop it.
async fn interrupted(context: &Context<'_>, client: &Client, interrupts: &mut Interrupts) -> bool {
    let running = client.read::<dto::Overview>("/v1/status").await.map_or(0, |overview| overview.running);
    if running == 0 {
        return false;
    }
    let many = if running == 1 { "1 attempt keeps".to_owned() } else { format!("{running} attempts keep") };
    context.output.note(&format!(
        "interrupted: {many} running, and the next run takes over; interrupt again within {} s to stop",
        SECOND_INTERRUPT.as_secs()
    ));
    tokio::time::timeout(SECOND_INTERRUPT, interrupts.next()).await.is_ok()
}

pub(super) async fn up(context: &Context<'_>, host: &HostArgs) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen();
    let here = std::env::current_dir()?;
    let dir = match Workdir::find(&here) {
        Some(found) => found,
        None => Workdir::create(&here)?,
    };
    let lock = match find(&dir).await? {
        Found::Free(lock) => lock,
        Found::Running(_) => {
            let problem = devstack_config::problem::Problem::new(
                crate::exit::code::NODE_RUNS,
                format!("a node of {} is already running", dir.path().display()),
            );
            return Err(CliError::new(Exit::Refused, problem.hint("use that node: commands find it by themselves")));
        }
    };
    let hosted = Hosted::start(&dir, lock, host, context.seams).await?;
    context.output.note(&format!("a node answers on unix://{}", dir.socket().display()));
    if context.output.live() {
        context.output.note(dashboard::HINT);
    }
    tokio::select! {
        () = interrupts.next() => {}
        problem = hosted.node.failed() => {
            let _ = hosted.end(false).await;
            return Err(CliError::new(Exit::Failure, problem));
        }
    }
    let stop = interrupted(context, &hosted.client(), &mut interrupts).await;
    hosted.end(stop).await?;
    Ok(Exit::Interrupted)
}
