//! The node's certificate and its CA: whether they exist, match, and are still valid.
//! Deliberately absent: renewing (the node does it by itself) and keys (no part of them is shown).

use std::path::Path;

use devstack_cluster::{Credentials, CredentialsError};

use super::{Check, Health, check, seconds};
use devstack_api::dto::Time;
use devstack_members as members;

pub(super) fn examine(state: &Path) -> Check {
    let dir = state.join(members::DIR);
    if !dir.exists() {
        return check("certificates", Health::Ok, "this machine is not in a cluster", None);
    }
    match Credentials::load(&dir) {
        Ok(found) => judge(found.certificate().name.as_str(), found.not_after(), found.renew_at(), seconds()),
        Err(CredentialsError::Io { path, source }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            let message = format!("this user may not read {}", path.display());
            check("certificates", Health::Warning, message, Some("run `devstack doctor` as the user of the node"))
        }
        Err(error) => {
            let hint = "on a Taskmaster, restore the directory from a backup; on an agent host, remove it and run \
            devstack-node join TOKEN";
            check("certificates", Health::Failed, error.to_string(), Some(hint))
        }
    }
}

/// Times in seconds since 1970.
fn judge(name: &str, not_after: i64, renew_at: i64, now: i64) -> Check {
    let until = Time(u64::try_from(not_after).unwrap_or(0).saturating_mul(1000));
    if now >= not_after {
        let hint = "start the node: a Taskmaster renews its own certificate; an agent host must join again";
        return check(
            "certificates",
            Health::Failed,
            format!("the certificate of {name} expired at {until}"),
            Some(hint),
        );
    }
    if now >= renew_at {
        let hint =
            "start the node and make sure that it reaches the Taskmaster: it then renews the certificate by itself";
        let message = format!("the certificate of {name} is due for renewal; it is valid until {until}");
        return check("certificates", Health::Warning, message, Some(hint));
    }
    check(
        "certificates",
        Health::Ok,
        format!("the cluster's CA issued {name}'s certificate; valid until {until}"),
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_fails_and_what_was_not_renewed_warns() {
        let at = |now| judge("one", 3_000, 2_000, now).status;
        assert_eq!(
            [0, 1_999, 2_000, 2_999, 3_000].map(at),
            [Health::Ok, Health::Ok, Health::Warning, Health::Warning, Health::Failed]
        );
        assert!(judge("one", 3_000, 2_000, 4_000).message.contains("1970-01-01T00:50:00Z"));
    }

    #[test]
    fn a_directory_without_a_cluster_is_fine_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(examine(dir.path()).status, Health::Ok);
        std::fs::create_dir(dir.path().join("cluster")).unwrap();
        let found = examine(dir.path());
        assert!(found.status == Health::Failed && found.hint.is_some(), "{found:?}");
    }
}
