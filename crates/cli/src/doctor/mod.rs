//! `doctor`: checks whether this machine can run devstack, and suggests fixes. Each subject has its own file with a
//! thin probe of the machine and a pure judgement of the findings.
//! Deliberately absent: fixing, and starting anything.

mod certificates;
mod clock;
mod disk;
mod engine;
mod hosts;
mod images;
mod limits;
mod machine;
mod ports;
mod profiles;
mod subnets;

use std::path::{Path, PathBuf};

use devstack_dag::bounds::{Limit, SecretNames};
use serde::Serialize;

pub use profiles::{Known, known_profiles};

use super::{
    CliError, Exit, Workdir, address,
    args::DoctorArgs,
    client::Client,
    commands::{Context, image},
    output::{Output, Paint},
    table::Table,
};
use devstack_api::dto::V1;
use devstack_config::{
    node::NodeConfig,
    secrets::{Secrets, SecretsError},
};
use devstack_gateway::server;

/// The configuration to check if the command line names none.
const CONFIG: &str = "/etc/devstack/node.toml";

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked. Stable.
    pub name: &'static str,
    /// The result.
    pub status: Health,
    /// What was found.
    pub message: String,
    /// What to do, if anything.
    pub hint: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// devstack works, with restrictions.
    Warning,
    /// devstack cannot work.
    Failed,
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "apiVersion")]
    api_version: V1,
    checks: Vec<Check>,
    profiles: Vec<Known>,
}

/// What to check.
struct Subject {
    /// The current directory of the command.
    here: PathBuf,
    /// The state directory, or where it would be created.
    state: PathBuf,
    /// The node's configuration; `None`: this machine has no daemon.
    config: Option<NodeConfig>,
    /// The file with secrets.
    env_file: PathBuf,
    /// The node that the command line names, or that runs here.
    node: Option<Client>,
    /// Whether a node on this machine answers.
    runs_here: bool,
}

pub(super) async fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<Exit, CliError> {
    let (subject, mut checks) = subject(context, args).await?;
    checks.extend(examine(&subject).await);
    let exit = if checks.iter().any(|check| check.status == Health::Failed) { Exit::Failure } else { Exit::Ok };
    print(context.output, checks, &subject.here)?;
    Ok(exit)
}

async fn subject(context: &Context<'_>, args: &DoctorArgs) -> Result<(Subject, Vec<Check>), CliError> {
    let here = std::env::current_dir()?;
    let workdir = Workdir::find(&here);
    let path = match (&args.config, &workdir) {
        (Some(path), _) => Some(path.clone()),
        // Inside a project, check the project's own state directory.
        (None, Some(_)) => None,
        (None, None) => Some(PathBuf::from(CONFIG)).filter(|path| path.exists()),
    };
    let mut checks = Vec::new();
    let config = match &path {
        None => None,
        Some(path) => match NodeConfig::load(path) {
            Ok(config) => {
                checks.push(check("config", Health::Ok, path.display().to_string(), None));
                Some(config)
            }
            Err(problems) => {
                let first = problems.as_slice().first();
                let why = first.map_or_else(|| "the configuration is invalid".to_owned(), ToString::to_string);
                let hint = first.and_then(|problem| problem.hint.clone());
                checks.push(check("config", Health::Failed, why, hint.as_deref()));
                None
            }
        },
    };
    let state = match (&config, &workdir) {
        (Some(config), _) => config.state_dir.clone(),
        (None, Some(dir)) => dir.path().to_owned(),
        (None, None) => here.clone(),
    };
    let env_file = match (&config, &path) {
        (Some(_), Some(path)) => path.with_file_name(".env"),
        _ => workdir.as_ref().and_then(|dir| dir.path().parent()).unwrap_or(&here).join(".env"),
    };
    let socket = config.as_ref().map(|config| config.socket.clone()).or(workdir.map(|dir| dir.socket()));
    let running = match socket {
        Some(socket) if server::connect(&socket).await.is_ok() => Some(Client::Socket(socket)),
        _ => None,
    };
    let runs_here = running.is_some();
    let node = address::named(&context.global)?.or(running);
    Ok((Subject { here, state, config, env_file, node, runs_here }, checks))
}

async fn examine(subject: &Subject) -> Vec<Check> {
    let mut checks = machine::examine();
    checks.push(limits::cgroup(Path::new("/sys/fs/cgroup"), nix::unistd::geteuid().is_root()));
    let reserve = subject.config.as_ref().map(|config| config.limits).unwrap_or_default().disk_reserve;
    checks.extend(disk::examine(&subject.state, reserve));
    checks.push(secrets(&subject.env_file, Secrets::load(&subject.env_file)));
    checks.push(profiles::examine(&subject.here));
    checks.extend(clock::examine(subject.node.as_ref()).await);
    if let Some(node) = &subject.node {
        checks.extend(hosts::examine(node).await);
    }
    checks.push(certificates::examine(&subject.state));
    if let Some(config) = &subject.config {
        checks.push(ports::examine(config, subject.runs_here));
        checks.push(subnets::examine(config));
    }
    let socket = subject.config.as_ref().map_or_else(image::socket, |config| config.agent_host.docker.clone());
    let unguarded = subject.config.as_ref().is_some_and(|config| config.agent_host.unguarded_bridge);
    let engine = engine::examine(&socket, unguarded).await;
    let answers = engine.iter().any(|check| check.name == "engine" && check.status == Health::Ok);
    checks.extend(engine);
    if answers {
        checks.extend(images::examine(&socket, subject.node.as_ref(), &subject.here).await);
    }
    checks
}

fn print(output: &Output, checks: Vec<Check>, here: &Path) -> Result<(), CliError> {
    if !output.for_people() {
        let report = Report { api_version: V1, checks, profiles: known_profiles(here).0 };
        output.data(&serde_json::to_string(&report).map_err(|e| CliError::failure(e.to_string()))?);
        return Ok(());
    }
    let mut table = Table::new(&["CHECK", "STATE", "FOUND", "FIX"]);
    for check in &checks {
        let (word, paint) = match check.status {
            Health::Ok => ("ok", Paint::Green),
            Health::Warning => ("warning", Paint::Yellow),
            Health::Failed => ("failed", Paint::Red),
        };
        table.row([check.name, word, &check.message, check.hint.as_deref().unwrap_or_default()]);
        table.paint(1, paint);
    }
    output.data(&table.render(output));
    Ok(())
}

fn check(name: &'static str, status: Health, message: impl Into<String>, hint: Option<&str>) -> Check {
    Check { name, status, message: message.into(), hint: hint.map(str::to_owned) }
}

/// Seconds since 1970.
fn seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The most bytes of secret names to list: more would fill the screen.
const NAMES_MAX: usize = 400;

/// Checks the secrets that were found in `.env` or beside it.
fn secrets(file: &Path, found: Result<Secrets, SecretsError>) -> Check {
    match found {
        Ok(secrets) if secrets.names().is_empty() => {
            check("secrets", Health::Ok, format!("none in {}", file.display()), None)
        }
        Ok(secrets) => {
            let names = secrets.names();
            let Some(rest) = names.get(SecretNames::ITEMS..).filter(|rest| !rest.is_empty()) else {
                let shown = Some(names.join(", ")).filter(|shown| shown.len() <= NAMES_MAX);
                return check("secrets", Health::Ok, shown.unwrap_or_else(|| format!("{} names", names.len())), None);
            };
            let (count, most, first) = (names.len(), SecretNames::ITEMS, &rest[0]);
            let found =
                format!("{count} names; attempts get only the first {most}: {first} and later names are left out");
            check("secrets", Health::Warning, found, Some("remove secrets that no role names"))
        }
        // The message says what to do.
        Err(e) => check("secrets", Health::Failed, e.to_string(), Some("fix the file as the message says")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_attempt_gets_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        let of = |count: usize| {
            let lines: String = (0..count).map(|n| format!("NAME_{n:03}=x\n")).collect();
            std::fs::write(&file, lines).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            secrets(&file, Secrets::gather(&file, [], None))
        };
        assert_eq!(of(SecretNames::ITEMS).status, Health::Ok);
        let over = of(SecretNames::ITEMS + 1);
        assert_eq!(over.status, Health::Warning);
        assert!(over.message.contains("first 256: NAME_256"), "{}", over.message);
    }

    #[test]
    fn an_exposed_env_file_fails_with_the_mend() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        std::fs::write(&file, "A=1\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = secrets(&file, Secrets::gather(&file, [], None));
        assert_eq!(found.status, Health::Failed);
        assert!(found.message.contains("chmod 600"), "{}", found.message);
    }
}
