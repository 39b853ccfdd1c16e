//! `quickstart`: creates an example repository, runs its plan, and narrates what happens.
//! Deliberately absent: anything that the other commands cannot do. `quickstart` is `run` with a narrator.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use futures::StreamExt;

use super::{Context, host::Hosted, image, plan, wait};
use crate::{
    CliError, Exit, Workdir,
    args::{HostArgs, Runtime},
    client::{Client, parse},
    interrupt::Interrupts,
    output::{Output, Paint, clean},
    progress::facts,
    session::{Found, find},
};
use devstack_api::dto;
use devstack_config::{node::Sandbox, plan_file, problem::Problem};
use devstack_repository::{
    git::Git,
    starter::{self, StarterFile},
};
use devstack_runtime::{RuntimeError, docker};

macro_rules! file {
    ($path:literal) => {
        StarterFile { path: $path, content: include_str!(concat!("../../../../deploy/quickstart/", $path)) }
    };
}

/// The files of the example: a plan, scripted agents, a check.
const FILES: [StarterFile; 5] =
    [file!("README.md"), file!("devstack.toml"), file!("check.sh"), file!("agents/dev.sh"), file!("agents/senior.sh")];

/// Slots for both agents of the example, on any machine.
const SLOTS: u32 = 2;

/// The branch that the plan's work is merged into.
const INTEGRATION: &str = "dev";

/// The directory for the example has other content, or a node is running in it.
const BY_HAND: &str = "DS0410";

pub(super) async fn run(context: &Context<'_>, dir: &Path, runtime: Runtime) -> Result<Exit, CliError> {
    let output = context.output;
    let git = Git::probe().map_err(|error| CliError::failure(error.to_string()))?;
    let dir = example(dir, output)?;
    let workdir = match Workdir::find(&dir) {
        Some(found) if found.path().starts_with(&dir) => found,
        _ => Workdir::create(&dir)?,
    };
    let lock = match find(&workdir).await? {
        Found::Free(lock) => lock,
        Found::Running(_) => {
            let problem = Problem::new(BY_HAND, format!("a node is already running in {}", dir.display()));
            return Err(CliError::new(Exit::Refused, problem.hint("wait until it ends, or choose another --dir")));
        }
    };
    let runtime = choose(output, runtime).await?;
    let host = HostArgs { runtime, sandbox: Sandbox::Auto, slots: Some(SLOTS), bridge_reach: Vec::new() };
    let mut interrupts = Interrupts::listen();
    let hosted = Hosted::start(&workdir, lock, &host, context.seams).await?;
    let client = hosted.client();
    let told = tokio::select! {
        told = hosted.with(tell(context, &client, &dir)) => told,
        () = interrupts.next() => {
            output.note("interrupted; run the same command again to continue");
            hosted.end(false).await?;
            return Ok(Exit::Interrupted);
        }
    };
    let exit = match told {
        Ok(body) => wait::print(context, &body),
        Err(error) => Err(error),
    };
    hosted.end(false).await?;
    let exit = exit?;
    if exit == Exit::Ok {
        epilogue(output, &git, &dir)?;
    }
    Ok(exit)
}

/// Chooses containers if an engine answers and the image can be built. Otherwise `auto` falls back to processes, with a
/// note.
async fn choose(output: &Output, runtime: Runtime) -> Result<Runtime, CliError> {
    if runtime == Runtime::Process {
        return Ok(runtime);
    }
    match docker::image::build_minimal(&image::socket(), false).await {
        Ok(made) => {
            if made {
                output
                    .note(&format!("built the image {}: a static busybox, from this machine", docker::image::MINIMAL));
            }
            Ok(Runtime::Docker)
        }
        Err(error) if runtime == Runtime::Auto => {
            output.note(&format!("no containers ({error}): agents run as processes on this machine"));
            Ok(Runtime::Process)
        }
        // A missing engine is reported when the node starts.
        Err(RuntimeError::Unavailable(_)) => Ok(runtime),
        Err(error) => Err(CliError::failure(error.to_string())),
    }
}

/// Creates the example's directory, or continues an existing example. A quickstart that was killed while it created
/// the directory leaves only example files and a repository without a commit: such a directory is created again.
fn example(dir: &Path, output: &Output) -> Result<PathBuf, CliError> {
    let ours =
        |name: &std::ffi::OsStr| name == ".git" || FILES.iter().any(|file| Path::new(file.path).starts_with(name));
    let begun = match fs::read_dir(dir) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| ours(&entry.file_name()))),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let made = fs::read_to_string(dir.join("devstack.toml")).is_ok_and(|text| text.contains("name = \"cafe\""));
    let committed = starter::has_commit(dir);
    if !(begun && !committed || made && committed) {
        let problem =
            Problem::new(BY_HAND, format!("{} contains files that are not part of the example", dir.display()));
        return Err(CliError::new(Exit::Refused, problem.hint("choose another directory with --dir")));
    }
    let cannot = |error| {
        CliError::failure(format!("cannot create {}: {error}", dir.display()))
            .hint("choose another directory with --dir")
    };
    fs::create_dir_all(dir).map_err(cannot)?;
    let dir = dir.canonicalize().map_err(cannot)?;
    if committed {
        output.note(&format!("continuing in {}", dir.display()));
    } else {
        starter::create(&dir, &FILES, "Open the café").map_err(|error| CliError::failure(error.to_string()))?;
        output.note(&format!("created an example repository in {}", dir.display()));
    }
    Ok(dir)
}

async fn tell(context: &Context<'_>, client: &Client, dir: &Path) -> Result<axum::body::Bytes, CliError> {
    let output = context.output;
    let started = Instant::now();
    for host in client.read::<dto::HostList>("/v1/hosts").await?.hosts {
        let sandbox = host.setup.sandbox.unwrap_or_else(|| "unknown".to_owned());
        output.note(&format!("{} slots on {}, sandbox: {sandbox}", host.slots, host.name));
    }
    let plan = plan_file::load(&dir.join("devstack.toml"))?;
    let mut facts = facts(client, "").await?;
    let answer: dto::PlanAnswer = parse(&plan::submit(client, &plan).await?)?;
    output.note(&format!("{}\n", plan::told(&answer)));
    let settled = wait::ask(client, plan.project.name.as_str(), None, false);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            biased;
            fact = facts.next() => match fact {
                Some(Ok(fact)) => narrate(output, started, &fact),
                // The narration is optional: without it the plan continues.
                Some(Err(_)) | None => return settled.await,
            },
            body = &mut settled => return body,
        }
    }
}

/// Prints a line for each notable fact.
fn narrate(output: &Output, started: Instant, fact: &dto::Fact) {
    let message = clean(&fact.message);
    let (paint, text) = match fact.kind.as_str() {
        "attempt-started" => (Paint::Blue, message),
        "attempt-ended" if message != format!("attempt {} done", fact.attempt.unwrap_or_default()) => {
            (Paint::Yellow, message)
        }
        "feedback-given" => (Paint::Dim, message),
        "merge-prepared" => (Paint::Dim, message),
        "conflict-found" => (Paint::Magenta, message),
        "task-completed" => (Paint::Green, message),
        _ => return,
    };
    let task = fact.task.as_deref().unwrap_or_default();
    output.note(&format!("{:>6.1} s  {task:<14} {}", started.elapsed().as_secs_f64(), output.paint_note(paint, &text)));
}

/// Prints the merged history and the next steps.
fn epilogue(output: &Output, git: &Git, dir: &Path) -> Result<(), CliError> {
    let graph =
        starter::graph(git, dir, INTEGRATION, output.colors()).map_err(|error| CliError::failure(error.to_string()))?;
    let shown = dir.display();
    output.note("\nEvery task is merged into the branch `dev`:\n");
    output.data(&graph);
    output.note(&format!(
        "\nLook around:\n\
         \x20 cd {shown}\n\
         \x20 devstack task list               the result of each task\n\
         \x20 devstack task show T-4           its attempts and their feedback\n\
         \x20 devstack task logs T-4           the output of an agent\n\
         \x20 git show dev:menu.txt            the result\n\
         Then write a devstack.toml for your own repository: start from the one of the example."
    ));
    Ok(())
}
