//! One machine as its actors see it: runtime, slots, secrets, sources of workspaces, and the archive of finished logs.
//! Deliberately absent: the list of attempts (the actor knows it) and their purpose (the order says it).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use devstack_dag::{
    attempt::{Order, Stage, Start},
    command::{HostReport, ShardReport},
    ids::{AttemptId, HostName, RoleName, Text},
};

use devstack_shim::tool::parts_of;

use super::{Keyring, Seeds, Shelf, Superior, Supply, task_file};
use crate::{actor::Generations, wire::Introduction};
use devstack_config::secrets::Secret;
use devstack_machine::disk::{Disk, Seen};
use devstack_runtime::{Isolation, Job, Runtime, RuntimeError, RuntimeInfo, Shard, State, Workspace};

/// The longest prompt or feedback, in bytes.
const TEXT_MAX: u64 = 16 << 20;

/// An order that arrived before its Taskmaster knew that the disk is full waits for room: this many times, with this
/// pause. In total longer than [`super::actor::LOOK_AGAIN`], so that the next order goes to another host.
const ROOM_TRIES: u32 = 5;
const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// One machine.
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Number of concurrent attempts.
    pub slots: u32,
    /// Properties of the machine, for roles that require them.
    pub labels: BTreeMap<String, String>,
    /// Roles that it accepts; empty for all.
    pub roles: Vec<RoleName>,
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// Where workspaces get their commits from.
    pub seeds: Arc<Seeds>,
    /// The secrets from `.env` and similar files.
    pub secrets: Keyring,
    /// The source of prompts and feedback.
    pub supply: Arc<dyn Supply>,
    /// The log archive.
    pub shelf: Shelf,
    /// How long archived logs are kept.
    pub log_retention: Duration,
    /// Counts the AgentHosts of this process: jobs of an earlier one must not start anything.
    pub incarnations: Generations,
    /// The destination of reports.
    pub superior: Arc<dyn Superior>,
    /// The disks that must not become full.
    pub disk: Arc<Disk>,
}

impl Host {
    /// The host's description for its reports; the actor adds its attempts.
    pub fn describe(&self) -> HostReport {
        HostReport {
            secrets: self.secrets.names(),
            labels: self.labels.clone(),
            roles: self.roles.clone(),
            images: self.runtime.images(),
            shards: self.shards(),
            ..HostReport::new(self.name.clone(), self.slots)
        }
    }

    /// The host's introduction, for display.
    pub fn introduction(&self) -> Introduction {
        let RuntimeInfo { name, isolation } = self.runtime.describe();
        let sandbox = match isolation {
            Isolation::Sandboxed { by } => by,
            Isolation::Unsandboxed { why } => format!("unsandboxed: {why}"),
        };
        Introduction {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            runtime: Some(name.to_owned()),
            sandbox: Some(sandbox),
        }
    }

    /// Its private bridges and their use, from the last check.
    pub(super) fn shards(&self) -> Vec<ShardReport> {
        let shards = self.runtime.shards().into_iter();
        shards
            .map(|Shard { name, subnet, ports, capacity }| {
                // An unopened bridge has no subnet, unless the configuration sets one.
                ShardReport { name, subnet: subnet.unwrap_or_default(), ports, capacity }
            })
            .collect()
    }

    /// The secret values to search for in results, including the tokens inside secret files. A name that was removed
    /// meanwhile has no value to search for.
    pub(super) fn secret_values(&self, order: &Order) -> Vec<Secret> {
        let known = order.secrets.iter().map(|name| self.secrets.every_value(name));
        let files: Vec<&str> =
            order.profile.iter().flat_map(|profile| &profile.secret_files).map(|file| &*file.secret).collect();
        let with_parts = |(name, value): (String, Secret)| {
            let parts = if files.contains(&name.as_str()) { parts_of(value.expose()) } else { Vec::new() };
            std::iter::once(value).chain(parts.into_iter().map(Secret::new))
        };
        known.flatten().flat_map(with_parts).collect()
    }

    /// Prepares everything that the runtime needs for this order. The error is for users.
    pub(super) async fn prepare(self: &Arc<Self>, order: Arc<Order>) -> Result<Job, String> {
        let host = self.clone();
        // This fetches texts and moves commits between repositories, so it must not run on an async thread.
        let inline = matches!(order.prompt, Text::Inline(_)) && order.conflict.is_none();
        if order.start == Start::Empty && order.feedback.is_empty() && inline {
            return host.assemble(&order);
        }
        tokio::task::spawn_blocking(move || host.assemble(&order)).await.map_err(|error| error.to_string())?
    }

    fn assemble(&self, order: &Order) -> Result<Job, String> {
        let read = |text: &_| self.supply.text(text, TEXT_MAX);
        let work = order.stage == Stage::Work;
        let workspace = match self.seeds.gather(&order.attempt, &order.start)? {
            None => None,
            Some(gathered) => Some(Workspace {
                mirror_objects: gathered.mirror_objects,
                bundles: gathered.bundles,
                integration: gathered.integration,
                start: order.start.clone(),
                harvest: work,
            }),
        };
        Ok(Job {
            attempt: order.attempt.clone(),
            agent: order.agent.clone(),
            role: order.role.clone(),
            command: if work { order.command.clone() } else { task_file::check_command(&order.command) },
            prompt: task_file::prompt(order, read)?,
            task_json: task_file::task_json(order, read)?,
            // A check runs code of the repository: it gets no secret.
            secrets: if work { self.secrets.lookup(&order.secrets).map_err(|e| e.to_string())? } else { Vec::new() },
            workspace,
            image: order.image.clone(),
            network: order.network,
            limits: order.limits,
            timeout_ms: order.timeout_ms,
            grace_ms: order.grace_ms,
            idle_timeout_ms: order.idle_timeout_ms,
            profile: order.profile.clone().filter(|_| work),
        })
    }

    /// Checks whether there is room for new attempts. If room is short, it first removes what can be fetched or
    /// rebuilt; everything of attempts that are `held` here stays.
    pub(super) async fn look_at_disk(self: &Arc<Self>, held: Vec<AttemptId>) -> Seen {
        let host = self.clone();
        let look = move || {
            host.disk.look_after(|| {
                host.runtime.drop_caches();
                host.seeds.drop_caches(&held);
            })
        };
        // It fails only together with the node.
        tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Seen::enough())
    }

    /// Waits briefly until there is room for a new attempt; by then this host has reported that it accepts none. The
    /// error is for users.
    pub(super) async fn room(self: &Arc<Self>) -> Result<(), String> {
        let mut tries = 0..ROOM_TRIES;
        loop {
            let disk = self.disk.clone();
            let seen = tokio::task::spawn_blocking(move || disk.look()).await.unwrap_or_else(|_| Seen::enough());
            match (seen.refusal(), tries.next()) {
                (None, _) => return Ok(()),
                (Some(why), None) => return Err(why.to_owned()),
                (Some(_), Some(_)) => tokio::time::sleep(ROOM_AGAIN).await,
            }
        }
    }

    /// The attempts that earlier processes left here. Remains that can never run are removed at once.
    pub(super) async fn survey(&self) -> Vec<AttemptId> {
        let (shelf, retention) = (self.shelf.clone(), self.log_retention);
        // Housekeeping in the background.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = shelf.sweep(retention, SystemTime::now()) {
                tracing::warn!(%error, "cannot remove old logs now");
            }
        }));
        let observed = match self.runtime.list().await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::error!(%error, "the runtime cannot list its attempts");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for one in observed {
            if let State::Broken { why } = one.state {
                tracing::warn!(attempt = %one.attempt, %why, "removing the remains of an attempt that never started");
                if self.remove(&one.attempt).await.is_err() {
                    found.push(one.attempt);
                }
            } else {
                found.push(one.attempt);
            }
        }
        found
    }

    /// Ends an attempt, and returns when nothing of it runs. Its files stay.
    pub(super) async fn end(&self, attempt: &AttemptId) {
        let ended = async {
            self.runtime.stop(attempt).await?;
            self.runtime.wait(attempt).await.map(drop)
        };
        if let Err(error) = ended.await {
            tracing::warn!(%attempt, %error, "cannot end the attempt; its supervisor ends it at its deadline");
        }
    }

    /// Archives the log of an attempt and removes all its other files.
    pub(super) async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        self.seeds.clear(attempt);
        match self.runtime.keep_log(attempt, &self.shelf.log_of(attempt)).await {
            Ok(()) => self.superior.shelved(attempt),
            Err(error) => tracing::warn!(%attempt, %error, "the attempt's log is lost"),
        }
        let removed = self.runtime.remove(attempt).await;
        if let Err(error) = &removed {
            tracing::error!(%attempt, %error, "cannot remove the remains of an attempt; will retry");
        }
        removed
    }
}
