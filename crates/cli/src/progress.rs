//! The progress of a plan: a bar on a terminal, else a line per status change.

use std::collections::HashMap;

use futures::{Stream, StreamExt, stream};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    CliError,
    client::Client,
    output::{Output, clean},
};
use devstack_api::{ApiError, ByteStream, dto};

/// The API's stream of facts; `query` selects them: `?after=7`.
pub(super) async fn facts(
    client: &Client,
    query: &str,
) -> Result<impl Stream<Item = Result<dto::Fact, CliError>> + Send + Unpin + use<>, CliError> {
    let bytes = client.stream(&format!("/v1/facts{query}")).await?;
    Ok(stream::unfold(Events { bytes, buffer: Vec::new() }, |mut events| async {
        Some((events.next().await?, events))
    })
    .boxed())
}

/// Server-sent events in the form of our server: `id:`, `event:` and `data:` on one line each, then an empty line.
struct Events {
    bytes: ByteStream,
    buffer: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Option<Result<dto::Fact, CliError>> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(fact) = read(&String::from_utf8_lossy(&event)) {
                    return Some(fact);
                }
            }
            match self.bytes.next().await? {
                Ok(chunk) => self.buffer.extend_from_slice(&chunk),
                Err(e) => return Some(Err(CliError::unreachable(format!("the stream of facts was interrupted: {e}")))),
            }
        }
    }
}

/// Parses an event; `None` for comments.
fn read(event: &str) -> Option<Result<dto::Fact, CliError>> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let data = field("data:")?;
    if field("event:") == Some("error") {
        // The stream carries no HTTP status. It ends with an error only if the reader fell behind.
        return Some(Err(ApiError::from_answer(410, data.as_bytes()).into()));
    }
    Some(super::client::parse(data.as_bytes()))
}

/// The progress of one project.
pub(super) struct Progress<'a> {
    output: &'a Output,
    project: String,
    total: u64,
    statuses: HashMap<String, String>,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    /// Starts the progress of a project with `total` tasks.
    pub(super) fn new(output: &'a Output, project: &str, total: u64) -> Self {
        let bar = output.live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            // The template is constant and valid; otherwise a plain bar is fine.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { output, project: project.to_owned(), total, statuses: HashMap::new(), bar }
    }

    /// Processes a fact.
    pub(super) fn see(&mut self, fact: &dto::Fact) {
        let (Some(task), Some(status)) = (&fact.task, &fact.status) else { return };
        if fact.project.as_deref() != Some(self.project.as_str()) {
            return;
        }
        if self.statuses.insert(task.clone(), status.clone()).as_ref() == Some(status) {
            return;
        }
        let count = |word: &str| self.statuses.values().filter(|known| *known == word).count() as u64;
        // The line begins with the status already.
        let message = clean(&fact.message);
        let message = message.strip_prefix(status.as_str()).unwrap_or(&message).trim_start_matches(": ");
        let line = format!("{status:<10} {task:<14} {message}");
        let line = line.trim_end().to_owned();
        match &self.bar {
            None => self.output.note(&line),
            Some(bar) => {
                bar.println(line);
                let (completed, working) = (count("COMPLETED"), count("WIP") + count("TESTING"));
                bar.set_length(self.total.max(completed));
                bar.set_position(completed);
                bar.set_message(format!("{working} working, {} blocked", count("BLOCKED")));
            }
        }
    }
}

/// A number of bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A progress bar for a transfer; on a terminal only.
pub(super) fn bytes(output: &Output, size: u64) -> ProgressBar {
    if !output.live() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    // The template is constant and valid; otherwise a plain bar is fine.
    match ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
