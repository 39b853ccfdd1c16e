//! One module per noun. Each command calls the API and prints the answer.

mod audit;
mod backup;
mod cluster;
mod config;
mod dashboard;
mod event;
mod export;
mod host;
mod hosts;
pub(super) mod image;
mod import;
mod lists;
mod plan;
mod quickstart;
mod resolve;
mod restore;
mod run;
mod source;
mod task;
mod token;
mod wait;
mod watch;

use std::path::{Path, PathBuf};

use axum::body::Bytes;
use serde_json::Value;

use super::{
    CliError, Exit, Seams, address,
    args::{Command, Format, Global},
    client::parse,
    completions, doctor, man,
    output::Output,
    session::Session,
    top,
};

/// What every command gets.
pub(super) struct Context<'a> {
    pub(super) global: Global,
    pub(super) output: &'a Output,
    pub(super) seams: Seams,
}

/// Runs a command.
pub(super) async fn run(context: Context<'_>, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Quickstart { dir, runtime } => quickstart::run(&context, &dir, runtime).await,
        Command::Run { plan, wait: _, wait_human, host } => run::run(&context, &plan, wait_human, &host).await,
        Command::Up { host } => run::up(&context, &host).await,
        Command::Plan(command) => plan::run(&context, command).await,
        Command::Project(command) => lists::project(&context, command).await,
        Command::Task(command) => task::run(&context, command).await,
        Command::Agent(_) => lists::agents(&context).await,
        Command::Host(command) => hosts::run(&context, command).await,
        Command::Merge(command) => lists::merges(&context, command).await,
        Command::Dashboard(command) => dashboard::run(&context, command).await,
        Command::Status => lists::status(&context).await,
        Command::Cluster(command) => cluster::run(&context, command).await,
        Command::Token(command) => token::run(&context, command).await,
        Command::Config(command) => config::run(&context, command),
        Command::Event(command) => event::run(&context, command).await,
        Command::Image(command) => image::run(&context, command).await,
        Command::Doctor(args) => doctor::run(&context, &args).await,
        Command::Completions { shell } => completions::print(shell, context.output),
        Command::Man { dir } => man::run(dir.as_deref(), context.output),
        Command::Top => top::run(&context).await,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            context.output.data(&match context.output.format {
                Format::Table => format!("devstack {version}"),
                Format::Json | Format::Jsonl => format!("{{\"apiVersion\":\"v1\",\"version\":\"{version}\"}}"),
            });
            Ok(Exit::Ok)
        }
    }
}

impl Context<'_> {
    /// Opens a session with the node of the current directory.
    pub(super) async fn session(&self) -> Result<Session, CliError> {
        self.session_from(&std::env::current_dir()?).await
    }

    /// Opens a session with the node of the directory that contains `from`.
    async fn session_from(&self, from: &Path) -> Result<Session, CliError> {
        let target = address::target(&self.global, from)?;
        Session::open(&target, self.seams).await
    }

    /// Fetches one resource, prints it, and ends the session.
    async fn show(&self, path: &str, table: impl FnOnce(&[u8]) -> Result<String, CliError>) -> Result<Exit, CliError> {
        let session = self.session().await?;
        let body = session.client.get(path).await;
        session.close().await?;
        self.print(&body?, table)?;
        Ok(Exit::Ok)
    }

    /// Like [`Self::show`] for a complete list; `list` is the name of the list in the answer.
    async fn show_all(
        &self,
        path: &str,
        list: &str,
        table: impl FnOnce(&[u8]) -> Result<String, CliError>,
    ) -> Result<Exit, CliError> {
        let session = self.session().await?;
        let body = session.client.all(path, list).await;
        session.close().await?;
        self.print(&body?, table)?;
        Ok(Exit::Ok)
    }

    /// Prints an answer: unchanged (JSON), one entry per line (JSONL), or as a table.
    fn print(&self, body: &Bytes, table: impl FnOnce(&[u8]) -> Result<String, CliError>) -> Result<(), CliError> {
        match self.output.format {
            Format::Json => self.output.written(&[body, &b"\n"[..]].concat()),
            Format::Jsonl => self.output.data(&lines(&parse(body)?)),
            Format::Table => self.output.data(&table(body)?),
        }
        Ok(())
    }
}

/// The entries of an answer's list, one per line; an answer without a list on one line.
fn lines(answer: &Value) -> String {
    let lists: Vec<&Vec<Value>> = match answer {
        Value::Object(fields) => fields.values().filter_map(Value::as_array).collect(),
        _ => Vec::new(),
    };
    let is_list = answer.as_object().is_some_and(|fields| {
        fields.iter().all(|(key, value)| value.is_array() || key == "apiVersion" || key == "next")
    });
    match lists.as_slice() {
        [list] if is_list => list.iter().map(|entry| format!("{entry}\n")).collect(),
        _ => format!("{answer}\n"),
    }
}

/// The directory that contains a file.
fn directory_of(file: &Path) -> Result<PathBuf, CliError> {
    let path = std::path::absolute(file)?;
    Ok(path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned))
}
