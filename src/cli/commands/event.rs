//! `event tail`: facts as they happen.

use std::time::Duration;

use futures::StreamExt;

use super::Context;
use crate::cli::{CliError, Exit, args::EventCommand, args::Format, output::clean, progress::facts};

/// Without a running node nothing new comes: what is kept is printed, then it ends.
const IDLE_PATIENCE: Duration = Duration::from_millis(300);

pub(super) async fn run(context: &Context<'_>, command: EventCommand) -> Result<Exit, CliError> {
    let EventCommand::Tail { after } = command;
    let session = context.session().await?;
    let told = async {
        let mut facts = facts(&session.client, after).await?;
        loop {
            let next = if session.is_idle() {
                tokio::time::timeout(IDLE_PATIENCE, facts.next()).await.unwrap_or(None)
            } else {
                facts.next().await
            };
            let Some(fact) = next.transpose()? else { return Ok(Exit::Ok) };
            context.output.data(&match context.output.format {
                Format::Json | Format::Jsonl => serde_json::to_string(&fact).unwrap_or_default(),
                Format::Table => format!("{:>6}  {}  {:<18} {}", fact.seq, fact.at, fact.kind, clean(&fact.message)),
            });
        }
    };
    let told = told.await;
    session.close().await?;
    told
}
