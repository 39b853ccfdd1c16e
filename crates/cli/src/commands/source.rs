//! Moves branches when a plan's repository is on this machine and its Taskmaster is on another: the repository's
//! branches are pushed before the plan, and the integration branch is brought back after it.
//! Deliberately absent: a repository with a URL (the Taskmaster fetches it), and nodes on this machine (they read the
//! repository directly).

use std::path::{Path, PathBuf};

use devstack_dag::{ids::CommitId, plan::PlanSpec};

use super::Context;
use crate::{
    CliError, Exit,
    client::{Client, escape},
    progress, transfer,
};
use devstack_api::{dto, error::code};
use devstack_config::problem::Problem;
use devstack_repository as repository;
use devstack_repository::{
    exchange::{Exchange, Returned},
    git::Git,
    source::{Branches, Source, is_path},
};

/// Shown digits of a commit.
const SHORT: usize = 12;

/// A repository on this machine, for a project on another machine.
pub(super) struct Away {
    project: String,
    exchange: Exchange,
    branches: Branches,
}

/// Pushes the plan's repository if the node is on another machine, and makes the plan name the pushed repository.
/// `None`: nothing had to be pushed.
pub(super) async fn push(
    context: &Context<'_>,
    client: &Client,
    plan: &mut PlanSpec,
) -> Result<Option<Away>, CliError> {
    let Client::Https { https, .. } = client else { return Ok(None) };
    let Some(source) = plan.project.source.clone() else { return Ok(None) };
    let (place, integration) = (source.clone(), plan.project.integration.clone());
    let found = blocking(move || {
        let source = Source::locate(&place)?;
        let warning = source.warning()?;
        Ok(Exchange::of(source, Git::probe()?, &integration).map(|exchange| (exchange, warning)))
    });
    let found = found.await;
    if matches!(found, Ok(None)) {
        return Ok(None);
    }
    let project = plan.project.name.to_string();
    let there: dto::Repo = client.read(&format!("/v1/repos/{}", escape(&project))).await?;
    // A plan from `plan show` names the repository that was pushed before, not a path on this machine.
    if there.source.as_ref() == Some(&source) {
        return Ok(None);
    }
    if is_path(&source) && !Path::new(&source).exists() {
        context.output.note(&format!("{source} is not on this machine; using the path on the Taskmaster's machine"));
        return Ok(None);
    }
    let Some((exchange, warning)) = found? else { return Ok(None) };
    if let Some(warning) = warning {
        context.output.note(&format!("warning: {warning}"));
    }
    let branches = branches_of(&exchange, plan).await?;
    let mut away = Away { project, exchange, branches };
    let commit = |branch: &dto::Branch| branch.commit.parse::<CommitId>().ok();
    let delivered = there.branches.iter().find(|branch| branch.name == plan.project.integration).and_then(commit);
    if away.branches.integration_tip.is_some() && away.lacks(delivered).await? {
        match away.bring_back(context, client).await {
            // Somebody pushed, but no plan was accepted yet.
            Err(error) if error.exit == Exit::NotFound => {}
            brought => brought?,
        }
        away.branches = branches_of(&away.exchange, plan).await?;
    }
    let bundle = Temporary::beside(&away.exchange);
    let (exchange, tips, file) = (away.exchange.clone(), away.branches.clone(), bundle.0.clone());
    let known: Vec<CommitId> = there.branches.iter().filter_map(commit).collect();
    let (digest, size) = blocking(move || {
        exchange.write(&tips, &known, &file)?;
        digest(&file)
    })
    .await?;
    context.output.note(&format!("pushing {source} to {}: {}", https.address(), progress::size(size)));
    let path = away.push_path(&plan.project.integration, &digest, size);
    let bar = progress::bytes(context.output, size);
    let pushed = transfer::push(client, &path, &bundle.0, &bar).await;
    bar.finish_and_clear();
    plan.project.source = Some(pushed?);
    Ok(Some(away))
}

async fn branches_of(exchange: &Exchange, plan: &PlanSpec) -> Result<Branches, CliError> {
    let (exchange, base) = (exchange.clone(), plan.project.base.clone());
    blocking(move || exchange.branches(base.as_deref())).await
}

impl Away {
    fn push_path(&self, integration: &str, digest: &str, size: u64) -> String {
        let Branches { base, base_tip, integration_tip } = &self.branches;
        let tip = integration_tip.map(|tip| format!("&integration_tip={tip}")).unwrap_or_default();
        format!(
            "/v1/repos/{}/push?base={}&base_tip={base_tip}&integration={}{tip}&digest={digest}&size={size}",
            escape(&self.project),
            escape(base),
            escape(integration),
        )
    }

    async fn lacks(&self, commit: Option<CommitId>) -> Result<bool, CliError> {
        let Some(commit) = commit else { return Ok(false) };
        let exchange = self.exchange.clone();
        blocking(move || Ok(!exchange.contains(commit)?)).await
    }

    /// Brings the integration branch here, and reports the result.
    pub(super) async fn bring_back(&self, context: &Context<'_>, client: &Client) -> Result<(), CliError> {
        let (exchange, branches) = (self.exchange.clone(), self.branches.clone());
        let have = blocking(move || exchange.have(&branches)).await?;
        let have: Vec<String> = have.iter().map(CommitId::to_string).collect();
        let branch = self.exchange.integration();
        let path =
            format!("/v1/repos/{}/bundle?branch={}&have={}", escape(&self.project), escape(branch), have.join(","));
        let bundle = Temporary::beside(&self.exchange);
        transfer::download(client, &path, &bundle.0).await?;
        let (exchange, file) = (self.exchange.clone(), bundle.0.clone());
        let returned = blocking(move || exchange.take_back(&file)).await?;
        context.output.note(&self.told(&returned));
        Ok(())
    }

    fn told(&self, returned: &Returned) -> String {
        let (branch, came) = (self.exchange.integration(), self.exchange.tracking());
        match returned {
            Returned::Nothing => format!("the branch `{branch}` is up to date"),
            Returned::Moved { commits, head } => {
                let head = head.to_string();
                format!("the branch `{branch}` is now at {}: fetched {}", &head[..SHORT], counted(*commits))
            }
            Returned::CheckedOut { place, commits } => format!(
                "the branch `{branch}` is checked out in {place}, so it was not moved; fetched {}; to merge, run \
                 `git -C {place} merge --ff-only {came}`",
                counted(*commits)
            ),
            Returned::Diverged => format!(
                "the branch `{branch}` has commits of its own, so it was not moved; to merge both, \
                run `git switch {branch}`, then `git merge {came}`"
            ),
        }
    }
}

fn counted(commits: usize) -> String {
    if commits == 1 { "1 commit".to_owned() } else { format!("{commits} commits") }
}

/// A temporary bundle in the git directory; removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(exchange: &Exchange) -> Self {
        Self(exchange.dir().join(format!("devstack-{}.bundle", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The file may not exist.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Hexadecimal BLAKE3 and size of a file.
fn digest(path: &Path) -> Result<(String, u64), repository::Error> {
    let failed = |source| repository::Error::Io { what: "read", path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    let size = std::io::copy(&mut std::fs::File::open(path).map_err(failed)?, &mut hasher).map_err(failed)?;
    Ok((hasher.finalize().to_hex().to_string(), size))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, repository::Error> + Send + 'static,
) -> Result<T, CliError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| CliError::failure(error.to_string()))?;
    done.map_err(|error| refused(&error))
}

/// The same error as when the Taskmaster refuses a source that it reads itself. In its text, the fix follows a
/// semicolon.
fn refused(error: &repository::Error) -> CliError {
    let exit = if matches!(error, repository::Error::Source(_)) { Exit::Usage } else { Exit::Refused };
    let text = error.to_string();
    match text.split_once("; ") {
        Some((what, fix)) => CliError::new(exit, Problem::new(code::SOURCE, what).hint(fix)),
        None => CliError::new(exit, Problem::new(code::SOURCE, text)),
    }
}
