//! `task resolve`: resolves a conflict, or completes a manual task, in a directory.

use axum::body::Body;
use futures::StreamExt;

use super::{Context, task};
use crate::{
    CliError, Exit,
    args::{Format, ResolveWay},
    client::parse,
    session::Session,
};
use devstack_api::dto;

/// Bytes of the bundle read at a time.
const CHUNK: usize = 256 << 10;

pub(super) async fn run(context: &Context<'_>, task: &str, way: ResolveWay) -> Result<Exit, CliError> {
    let session = context.session().await?;
    // git runs in another directory, where a relative path would name another place.
    let done = match (way.checkout, way.from) {
        (Some(dir), _) => checkout(context, &session, task, std::path::absolute(dir)?).await,
        (None, Some(dir)) => hand_in(context, &session, task, std::path::absolute(dir)?).await,
        // clap requires one of them.
        (None, None) => Err(CliError::usage("name a directory with --checkout or --from")),
    };
    session.close().await?;
    done
}

async fn checkout(
    context: &Context<'_>,
    session: &Session,
    task: &str,
    dir: std::path::PathBuf,
) -> Result<Exit, CliError> {
    let path = format!("{}/resolve", task::path(&session.client, task).await?);
    let conflict: dto::Conflict = session.client.read(&path).await?;
    let by_hand = context.seams.by_hand;
    let (dir_, conflict_) = (dir.clone(), conflict.clone());
    let laid_out = tokio::task::spawn_blocking(move || by_hand.checkout(&conflict_, &dir_)).await;
    let conflicts =
        laid_out.map_err(|e| CliError::failure(e.to_string()))?.map_err(|problem| refused(Exit::Refused, problem))?;
    let shown = dir.display();
    context.output.data(&match context.output.format {
        Format::Json | Format::Jsonl => {
            serde_json::json!({ "apiVersion": "v1", "task": conflict.task, "dir": dir, "conflicts": conflicts, "paths": conflict.paths })
                .to_string()
        }
        Format::Table => {
            let paths: String = conflict.paths.iter().map(|path| format!("  {path}\n")).collect();
            let what = match (conflicts, conflict.theirs.is_some()) {
                (true, _) => format!("checked out {} into {shown}; resolve the conflicts in\n{paths}", conflict.task),
                (false, true) => format!("checked out {} into {shown}; git found no conflict: review the merge\n", conflict.task),
                (false, false) => format!("checked out {} into {shown}\n", conflict.task),
            };
            format!("{what}then `git add` and `git commit` there, and run\n  devstack task resolve {} --from {shown}", conflict.task)
        }
    });
    Ok(Exit::Ok)
}

async fn hand_in(
    context: &Context<'_>,
    session: &Session,
    task: &str,
    dir: std::path::PathBuf,
) -> Result<Exit, CliError> {
    let path = format!("{}/resolve", task::path(&session.client, task).await?);
    let conflict: dto::Conflict = session.client.read(&path).await?;
    let by_hand = context.seams.by_hand;
    let file = BundleFile::new()?;
    let bundle = file.0.clone();
    let made = tokio::task::spawn_blocking(move || by_hand.bundle(&conflict, &dir, &bundle)).await;
    made.map_err(|e| CliError::failure(e.to_string()))?.map_err(|problem| refused(Exit::Refused, problem))?;
    let opened = tokio::fs::File::open(&file.0).await?;
    let chunks = futures::stream::try_unfold(opened, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let read = tokio::io::AsyncReadExt::read(&mut file, &mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then_some((axum::body::Bytes::from(chunk), file)))
    });
    let answer = session.client.post(&path, Body::from_stream(chunks.boxed()), "application/x-git-bundle").await?;
    context.print(&answer, |body| Ok(parse::<dto::Answer>(body)?.message))?;
    Ok(Exit::Ok)
}

fn refused(exit: Exit, problem: devstack_config::problem::Problem) -> CliError {
    CliError::new(exit, problem)
}

/// A temporary file for a bundle, removed when dropped.
struct BundleFile(std::path::PathBuf);

impl BundleFile {
    fn new() -> Result<Self, CliError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| CliError::failure(e.to_string()))?;
        let name = format!("devstack-{:016x}.bundle", u64::from_ne_bytes(random));
        Ok(Self(std::env::temp_dir().join(name)))
    }
}

impl Drop for BundleFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
