//! A user's own work on a task: taking over a conflict, and handing in a result. Deliberately absent: checking it out
//! into the user's directory (the CLI does this, as that user).

use devstack_gateway::pages;
use std::{path::PathBuf, sync::Arc};

use devstack_dag::{
    command::Command,
    ids::{AttemptId, CommitId, ProjectName, TaskRef},
    plan::Executor,
    record::TaskRecord,
};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Core, diffs::Wanted, errors, stored_request};
use devstack_api::{ApiError, ByteStream, dto, error::code};
use devstack_gateway::{RequestId, view};
use devstack_repository::{
    Hub, Hubs,
    held::Guard,
    history::Bounded,
    quarantine::{Expectation, Imported, Refusal},
};

/// The size of a result is unknown in advance: the disk is checked after this many bytes of it.
const LOOK_EVERY: usize = 16 << 20;

/// A task that a user may do by hand: the task of the result, and what the result must contain.
struct ByHand {
    record: TaskRecord,
    attempt: AttemptId,
    ours: CommitId,
    theirs: Option<CommitId>,
    /// The oldest head from which the user may have started.
    oldest: CommitId,
    text: devstack_dag::ids::Text,
    paths: Vec<String>,
}

impl Core {
    pub(super) fn hubs(&self) -> Result<Arc<Hubs>, ApiError> {
        self.hubs.clone().ok_or_else(|| ApiError::unavailable("no usable git on this host"))
    }

    pub(super) async fn hub(&self, project: &ProjectName) -> Result<Arc<Hub>, ApiError> {
        let hubs = self.hubs()?;
        let project = project.clone();
        errors::blocking(move || hubs.get(&project)).await?.map_err(errors::git)
    }

    async fn by_hand(&self, task: TaskRef) -> Result<ByHand, ApiError> {
        self.look(move |seen| {
            let engine = seen.engine;
            let given = view::task(engine, &task)?.record;
            let target = engine.resolution(&task).unwrap_or_else(|| task.clone());
            let record = view::task(engine, &target)?.record;
            let project = engine.project(&target.project);
            let head = project.and_then(|project| project.head);
            let refuse = |why: &str| {
                ApiError::state(code::NOT_BY_HAND, format!("{task} {why}"))
                    .hint(format!("see `devstack task explain {task}`"))
            };
            let ours = head.ok_or_else(|| refuse("has no repository: there is nothing to check out"))?;
            let attempt = engine.next_attempt(&target).ok_or_else(|| errors::no_task(&target))?;
            let oldest = engine.merges(&target.project).first().map_or(ours, |first| first.onto);
            let (theirs, text, paths) = match record.kind.conflict() {
                Some(conflict) => (Some(conflict.theirs), conflict.text.clone(), conflict.paths.clone()),
                None if record.spec.executor == Executor::Human => (None, given.spec.prompt.clone(), Vec::new()),
                None => return Err(refuse("has no conflict to resolve, and is not a person's task")),
            };
            Ok(ByHand { record, attempt, ours, theirs, oldest, text, paths })
        })
        .await?
    }

    pub(super) async fn conflict_of(&self, task: TaskRef) -> Result<dto::Conflict, ApiError> {
        let by_hand = self.by_hand(task).await?;
        let hub = self.hub(&by_hand.record.project).await?;
        let project = &by_hand.record.project;
        let base = by_hand.base(&hub).map_err(errors::git)?;
        Ok(dto::Conflict {
            api_version: dto::V1,
            task: by_hand.attempt.task.to_string(),
            resolves: by_hand.record.kind.resolves().map(|blocked| format!("{project}/{blocked}")),
            hub: hub.dir().display().to_string(),
            branch: format!("resolve/{}", by_hand.record.spec.id),
            ours: by_hand.ours.to_string(),
            theirs: by_hand.theirs.map(|commit| commit.to_string()),
            base: base.to_string(),
            paths: by_hand.paths,
            text: self.with_texts(move |read| read(&by_hand.text)).await?,
        })
    }

    pub(super) async fn sides_of(&self, task: TaskRef, limit: usize) -> Result<pages::Sides, ApiError> {
        let name = task.to_string();
        let by_hand = self.by_hand(task).await?;
        let hub = self.hub(&by_hand.record.project).await?;
        let theirs = by_hand.theirs.ok_or_else(|| ApiError::state("DS0310", format!("{name} has no two sides")))?;
        let (ours, paths, repo) = (by_hand.ours, by_hand.paths.clone(), hub.clone());
        let base = errors::blocking(move || by_hand.base(&repo)).await?.map_err(errors::git)?;
        let ours = Wanted { from: base, to: ours, paths: paths.clone(), first: Vec::new(), limit };
        let theirs = Wanted { from: base, to: theirs, paths, first: Vec::new(), limit };
        let (ours, theirs) = (self.diffs.get(hub.clone(), ours).await?, self.diffs.get(hub, theirs).await?);
        let side = |patch: &Bounded| pages::Side { patch: patch.text.clone(), cut: patch.truncated };
        Ok(pages::Sides { ours: side(&ours), theirs: side(&theirs) })
    }

    /// Spools the bundle, imports it through the quarantine, pins it as the next attempt, and then tells the engine.
    pub(super) async fn take_resolution(
        &self,
        task: TaskRef,
        bundle: ByteStream,
        request: Option<RequestId>,
    ) -> Result<dto::Answer, ApiError> {
        // Checked before anything is stored: the task exists and can be done by hand. A task that was done by hand may
        // be a repetition.
        self.look({
            let task = task.clone();
            move |seen| view::task(seen.engine, &task).map(drop)
        })
        .await??;
        self.room_for_people("no result", 0).await?;
        let by_hand = match self.by_hand(task).await {
            Err(error) if request.is_none() => return Err(error),
            by_hand => by_hand,
        };
        let (spool, digest) = self.spool(bundle).await?;
        let request = request.map(|request| stored_request(request.with_body(digest))).transpose()?;
        if let Some(request) = &request
            && let Some(known) = self.recall(request).await?
        {
            return Ok(view::answer(known?));
        }
        let by_hand = by_hand?;
        let hub = self.hub(&by_hand.record.project).await?;
        let attempt = by_hand.attempt.clone();
        let limits = self.results;
        let (now, file) = ((self.clock)(), spool.0.clone());
        let imported = errors::blocking(move || {
            let must_contain: Vec<CommitId> = by_hand.theirs.into_iter().collect();
            let expected = Expectation {
                attempt: &by_hand.attempt,
                base: by_hand.base(&hub)?,
                must_contain: &must_contain,
                secrets: &[],
                // It is the user's own work.
                guard: &Guard::NONE,
                limits,
                now,
            };
            hub.import_result(&file, &expected)
        });
        let commit = match imported.await?.map_err(errors::git)? {
            Imported::Accepted(accepted) => accepted.tip,
            Imported::Refused(Refusal::Policy(why) | Refusal::Damaged(why)) => {
                let refused = ApiError::state(code::RESULT_REFUSED, format!("the result is refused: {why}"));
                return Err(refused.hint("fix it in the directory, commit, and hand it in again"));
            }
        };
        let command = Command::ResolveTask { task: attempt.task.clone(), number: attempt.number, commit };
        let answer = self.change(command, request).await?;
        Ok(view::answer(answer))
    }

    /// Stores a body in a file; also returns its BLAKE3.
    async fn spool(&self, mut bundle: ByteStream) -> Result<(Spool, [u8; 32]), ApiError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(errors::internal)?;
        tokio::fs::create_dir_all(&self.scratch).await.map_err(errors::internal)?;
        let spool = Spool(self.scratch.join(format!("{:016x}.bundle", u64::from_ne_bytes(random))));
        let mut file = tokio::fs::File::create(&spool.0).await.map_err(errors::internal)?;
        let mut hasher = blake3::Hasher::new();
        let mut unlooked = 0;
        while let Some(chunk) = bundle.next().await {
            let chunk = chunk.map_err(|error| ApiError::invalid(format!("the bundle arrived incomplete: {error}")))?;
            hasher.update(&chunk);
            unlooked += chunk.len();
            if unlooked > LOOK_EVERY {
                unlooked = 0;
                self.room_for_people("no result of this size", 0).await?;
            }
            file.write_all(&chunk).await.map_err(errors::internal)?;
        }
        file.flush().await.map_err(errors::internal)?;
        Ok((spool, *hasher.finalize().as_bytes()))
    }
}

impl ByHand {
    /// The commit on which the result must build. The head moves while a user works, so an older head is accepted: the
    /// merge combines them.
    fn base(&self, hub: &Hub) -> Result<CommitId, devstack_repository::Error> {
        match self.theirs {
            Some(theirs) => Ok(hub.merge_base(self.ours, theirs)?.unwrap_or(self.ours)),
            None => Ok(self.oldest),
        }
    }
}

/// A spooled upload, removed at the end.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "cannot remove {}", self.0.display());
        }
    }
}
