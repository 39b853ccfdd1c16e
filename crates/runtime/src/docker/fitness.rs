//! Checks whether an engine is fit to run attempts at all, from its own description. Pure.
//!
//! Deliberately absent: the settings of one container (`hardening`), and what is in force in it, which the shim
//! measures.

use bollard::models::SystemInfo;

/// Why attempts cannot run on this engine, with fixes; empty if they can.
pub(super) fn unfit(info: &SystemInfo) -> Vec<String> {
    let options: Vec<(&str, Option<&str>)> =
        info.security_options.iter().flatten().filter_map(|option| parse(option)).collect();
    let has = |wanted: &str| options.iter().any(|(name, _)| *name == wanted);
    let mut why = Vec::new();
    match options.iter().find(|(name, _)| *name == "seccomp") {
        None => {
            why.push("it has no system call filter (seccomp): use a kernel and an engine that support it".to_owned())
        }
        Some((_, Some("unconfined"))) => why.push(
            "its system call filter is off: remove `seccomp-profile: unconfined` from its daemon.json and restart it"
                .to_owned(),
        ),
        Some(_) => {}
    }
    if has("rootless") {
        why.push(
            "it is rootless, so agents' files would belong to another user: use an engine that runs as root".to_owned(),
        );
    }
    if has("userns") {
        why.push(
            "it maps users (userns-remap), so agents' files would belong to another user: remove \
            `userns-remap` from its daemon.json and restart it"
                .to_owned(),
        );
    }
    why
}

/// `name=seccomp,profile=default`: the name, and the profile if there is one.
fn parse(option: &str) -> Option<(&str, Option<&str>)> {
    let mut words = option.split(',').filter_map(|word| word.split_once('='));
    let (_, name) = words.clone().find(|(key, _)| *key == "name")?;
    Some((name, words.find(|(key, _)| *key == "profile").map(|(_, profile)| profile)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str]) -> Vec<String> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        unfit(&SystemInfo { security_options: Some(options), ..Default::default() })
    }

    #[test]
    fn engines_that_cannot_hold_an_agent_are_told() {
        assert!(of(&["name=apparmor", "name=seccomp,profile=default", "name=cgroupns"]).is_empty());
        assert!(of(&["name=seccomp,profile=builtin"]).is_empty());
        assert!(of(&["name=seccomp,profile=/etc/docker/seccomp.json"]).is_empty());
        for (options, word) in [
            (&["name=apparmor"][..], "no system call filter"),
            (&[], "no system call filter"),
            (&["name=seccomp,profile=unconfined"], "filter is off"),
            (&["name=seccomp,profile=default", "name=rootless"], "rootless"),
            (&["name=seccomp,profile=default", "name=userns"], "userns-remap"),
        ] {
            let why = of(options);
            assert!(why.len() == 1 && why[0].contains(word), "{options:?}: {why:?}");
        }
    }
}
