//! Repositories on users' own machines: their branches go into the project's inbox, and the integration branch comes
//! from the hub. Deliberately absent: the plan that uses an inbox; for the engine an inbox is a source like any other.

use std::{path::Path, sync::PoisonError};

use async_trait::async_trait;
use devstack_dag::ids::{CommitId, ProjectName};

use super::{
    Core,
    bundles::Reader,
    errors,
    nodes::{digest, receive},
};
use devstack_api::{ApiError, ByteStream, dto, error::code};
use devstack_config::problem::Problem;
use devstack_gateway::{Download, Repos, Wanted};
use devstack_repository as repository;
use devstack_repository::{
    Error, Inbox,
    inbox::{Push, Taken},
    quarantine::Refusal,
};

/// Maximum number of pushes in progress for projects that do not exist yet: this many users within the same minute.
const UNKNOWN_MAX: usize = 4;

fn commit(text: &str) -> Result<CommitId, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("a commit is 40 hexadecimal digits"))
}

/// The value of `repo` in a plan that uses it.
fn source(inbox: &Inbox) -> Result<String, ApiError> {
    let path = inbox.dir().to_str().map(str::to_owned);
    path.ok_or_else(|| ApiError::internal("the path of the state directory is not valid UTF-8"))
}

fn failed(error: Error) -> ApiError {
    match error {
        // An invalid branch name.
        Error::Source(error) => ApiError::invalid(error.to_string()),
        other => errors::git(other),
    }
}

fn refused(why: String) -> ApiError {
    let problem = Problem::new(code::PUSH_REFUSED, format!("the push is refused: {why}"));
    ApiError::new(422, problem.hint("run `git fsck` in your repository for details, then push again"))
}

impl Core {
    /// A push of another history replaces one that was not finished; for unknown projects, the push of the fifth
    /// project replaces that of the first.
    async fn make_way(&self, project: &ProjectName, whole: &Path) -> Result<(), ApiError> {
        let name = project.clone();
        let is_known = self.look(move |seen| seen.engine.project(&name).is_some()).await?;
        self.pushes.keep_only(Path::new(project.as_str()), whole).await.map_err(errors::internal)?;
        let mut unknown = self.unknown_pushes.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.retain(|pushed| pushed != project);
        if !is_known {
            unknown.push_back(project.clone());
        }
        while unknown.len() > UNKNOWN_MAX {
            if let Some(oldest) = unknown.pop_front() {
                self.pushes.forget(Path::new(oldest.as_str()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Repos for Core {
    async fn inbox(&self, project: ProjectName) -> Result<dto::Repo, ApiError> {
        let hubs = self.hubs()?;
        let inbox = errors::blocking(move || match hubs.inbox(&project)? {
            Some(inbox) => Ok::<_, Error>(Some((inbox.branches()?, inbox))),
            None => Ok(None),
        });
        let Some((branches, inbox)) = inbox.await?.map_err(errors::git)? else {
            return Ok(dto::Repo { api_version: dto::V1, source: None, branches: Vec::new() });
        };
        let branch = |(name, commit): (String, CommitId)| dto::Branch { name, commit: commit.to_string() };
        let branches = branches.into_iter().map(branch).collect();
        Ok(dto::Repo { api_version: dto::V1, source: Some(source(&inbox)?), branches })
    }

    async fn push(&self, project: ProjectName, push: dto::Push, body: ByteStream) -> Result<dto::Pushed, ApiError> {
        let announced = Push {
            base: push.base.clone(),
            base_tip: commit(&push.base_tip)?,
            integration: push.integration.clone(),
            integration_tip: push.integration_tip.as_deref().map(commit).transpose()?,
        };
        let part = push.part();
        // Once as uploaded, and once in the inbox.
        self.room_for_people("no push", part.size.saturating_sub(part.offset).saturating_add(part.size)).await?;
        let (hubs, of) = (self.hubs()?, Path::new(project.as_str()));
        let (whole, max) = (self.pushes.path(of, &digest(&part)?), self.pushes.max());
        self.make_way(&project, &whole).await?;
        let hint = "raise [limits] repository_size of the Taskmaster, or let it fetch: set `repo` to a URL";
        let received = receive(&self.pushes, of, &part, body, hint).await?;
        if !received.complete {
            return Ok(dto::Pushed { api_version: dto::V1, bytes: received.bytes, source: None });
        }
        let name = project.clone();
        let taken = errors::blocking(move || {
            let inbox = hubs.make_inbox(&name)?;
            Ok::<_, Error>((inbox.take(&whole, &announced, max)?, inbox))
        });
        let taken = taken.await;
        // Accepted or refused, it is not needed again.
        self.pushes.forget(of);
        let (taken, inbox) = taken?.map_err(failed)?;
        match taken {
            Taken::Accepted => {
                Ok(dto::Pushed { api_version: dto::V1, bytes: received.bytes, source: Some(source(&inbox)?) })
            }
            Taken::Refused(Refusal::Policy(why) | Refusal::Damaged(why)) => Err(refused(why)),
            Taken::Diverged(here) => {
                let branch = push.integration;
                let message =
                    format!("the branch `{branch}` has other commits, but lacks {here}, which was delivered to it");
                Err(ApiError::state(code::DIVERGED, message)
                    .hint(format!("`git merge devstack/{branch}` into `{branch}`, then push again")))
            }
        }
    }

    async fn branch(
        &self,
        project: ProjectName,
        branch: String,
        have: Vec<CommitId>,
        may_have_all: bool,
    ) -> Result<Download, ApiError> {
        let name = project.clone();
        let source = self.look(move |seen| Some(seen.engine.project(&name)?.spec.source.is_some())).await?;
        let missing = |what: String| ApiError::not_found(code::NO_PROJECT, what);
        match source {
            None => return Err(missing(format!("no project {project}"))),
            Some(false) => return Err(missing(format!("the project {project} has no repository"))),
            Some(true) => {}
        }
        let hub = self.hub(&project).await?;
        if hub.integration() != branch {
            let problem = missing(format!("the project {project} has no branch `{branch}`"));
            return Err(problem.hint(format!("its integration branch is `{}`", hub.integration())));
        }
        let reading = hub.clone();
        let wanted = errors::blocking(move || {
            let Some(head) = reading.head()? else { return Ok(None) };
            let known = |commit: &CommitId| {
                reading.contains(*commit).and_then(|is| Ok(is && reading.is_ancestor(*commit, head)?)).unwrap_or(false)
            };
            Ok::<_, repository::Error>(Some(Wanted::History { head, have: have.into_iter().find(known) }))
        });
        let wanted = wanted.await?.map_err(errors::git)?;
        let wanted = wanted.ok_or_else(|| ApiError::unavailable("the source was not mirrored yet"))?;
        if !may_have_all && matches!(wanted, Wanted::History { have: None, .. }) {
            let problem = Problem::new(
                code::FORBIDDEN,
                "only operators may read the whole history, and `have` names no commit of it",
            );
            let hint = "name a commit of the branch that you already have, or use a token with the role operator";
            return Err(ApiError::new(403, problem.hint(hint)));
        }
        self.bundles.get(Reader::Person, hub, &project, wanted).await
    }
}
