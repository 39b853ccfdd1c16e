//! The order for the shim in a container, and its files: the same directory as in every runtime, mounted under other
//! names.

use std::{collections::BTreeMap, io, os::unix::fs::chown, path::Path};

use devstack_shim::{
    confinement::Demand,
    layout,
    spec::{Rlimits, Secrets, Spec, VERSION},
};

use super::{Inner, container};
use crate::{
    Job, RuntimeError, clock, files,
    fill::{self, Places},
};
use devstack_config::node::LogDriver;

/// The order for the shim inside. `image_env`: the variables of the image; the contract's variables take precedence.
pub(super) fn spec(inner: &Inner, job: &Job, image_env: &[String]) -> Result<Spec, RuntimeError> {
    let dir = Path::new(container::DIR);
    let places = Places::new(dir, container::WORKSPACE.into(), container::HOME.into(), container::TMP.into());
    let mut env = files::environment(job, &places, key(inner, job));
    env.extend(fill::env(job, &places));
    let mut git =
        job.workspace.as_ref().map(|workspace| files::git(job, workspace, inner.config.bundle_max)).transpose()?;
    if let Some(git) = &mut git {
        git.mirror_objects = container::MIRROR.into();
    }
    Ok(Spec {
        version: VERSION,
        label: files::label(job),
        env: merged(image_env, env),
        key: key(inner, job),
        workspace: places.workspace.clone().into(),
        boot_id: inner.boot_id.clone(),
        ordered_at_ms: clock::now_ms(),
        wrapper: Vec::new(),
        command: fill::command(job, &places),
        secrets: (!job.secrets.is_empty()).then(|| Secrets::Directory(container::SECRETS.into())),
        // The engine starts the shim as the agent's user, within the engine's limits.
        user: None,
        limits: Rlimits::default(),
        cgroups: Vec::new(),
        timeout_ms: job.timeout_ms,
        grace_ms: job.grace_ms,
        idle_timeout_ms: job.idle_timeout_ms,
        log_max: inner.config.log_max,
        disk_max: Some(inner.config.disk_max),
        // HOME is in memory: secret files are written directly there.
        tool: fill::tool(job, || None),
        tee: inner.config.log.driver != LogDriver::None,
        git,
        dir: dir.to_owned(),
        wrapper_files: Vec::new(),
        demand: Some(Demand { filter: true, bounding: Some(0) }),
    })
}

/// The mark of every process of an attempt.
fn key(inner: &Inner, job: &Job) -> String {
    format!("{}/{}", inner.config.installation, job.attempt)
}

/// The image's variables, overridden by ours; the image's PATH stays, because it knows where its programs are.
fn merged(image: &[String], ours: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = ours.into_iter().collect();
    for (name, value) in image.iter().filter_map(|pair| pair.split_once('=')) {
        if name == "PATH" || !all.contains_key(name) {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all.into_iter().collect()
}

/// Makes the directory; the shim inside runs as the agent's user and owns its part of it.
pub(super) fn write(inner: &Inner, job: &Job, dir: &Path, spec: &Spec) -> io::Result<()> {
    let owner = inner.root.then_some(inner.config.user);
    files::write(job, dir, spec, owner)?;
    if let Some(owner) = owner {
        chown(dir.join(layout::SHIM), Some(owner.uid), Some(owner.gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_path_and_cannot_change_what_is_ours() {
        let ours = vec![("PATH".to_owned(), "/bin".to_owned()), ("HOME".to_owned(), "/home/devstack".to_owned())];
        let image = ["PATH=/opt/bin:/bin", "HOME=/root", "TOOL=1"].map(str::to_owned);
        let expected = [("HOME", "/home/devstack"), ("PATH", "/opt/bin:/bin"), ("TOOL", "1")];
        assert_eq!(merged(&image, ours), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
