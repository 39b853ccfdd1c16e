//! The secrets of this host, which can be reloaded while it runs. Earlier values that an attempt received are
//! remembered, so that its results can be scanned for them. Deliberately absent: where secrets come from
//! (`config::secrets`).

use std::{
    collections::VecDeque,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use devstack_dag::bounds::{Limit, SecretNames};

use devstack_config::secrets::{Secret, Secrets, SecretsError};

/// Number of earlier readings that are kept: more than a user makes while an attempt runs.
const EARLIER: usize = 16;

/// The secrets of a host.
#[derive(Debug)]
pub struct Keyring {
    /// The newest reading first.
    read: RwLock<VecDeque<Secrets>>,
}

impl Keyring {
    /// A keyring with the secrets read at the start.
    pub fn new(secrets: Secrets) -> Self {
        warn_of_too_many(&secrets);
        Self { read: RwLock::new(VecDeque::from([secrets])) }
    }

    /// From now on attempts get these secrets.
    pub fn replace(&self, secrets: Secrets) {
        warn_of_too_many(&secrets);
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.push_front(secrets);
        read.truncate(1 + EARLIER);
    }

    /// The names that can currently be resolved, as many as fit into a report.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.read().front().map(Secrets::names).unwrap_or_default();
        SecretNames::thin(&mut names);
        names
    }

    /// The current values of these names.
    pub(super) fn lookup(&self, names: &[String]) -> Result<Vec<(String, Secret)>, SecretsError> {
        self.read().front().map_or_else(|| Ok(Vec::new()), |secrets| secrets.lookup(names))
    }

    /// All current and earlier values of a name, each once.
    pub(super) fn every_value(&self, name: &str) -> Vec<(String, Secret)> {
        let one = [name.to_owned()];
        let mut all: Vec<(String, Secret)> = Vec::new();
        for value in self.read().iter().filter_map(|secrets| secrets.lookup(&one).ok()).flatten() {
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, VecDeque<Secrets>> {
        // Every change is a single call.
        self.read.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of_too_many(secrets: &Secrets) {
    let (names, most) = (secrets.names(), SecretNames::ITEMS);
    if let Some(rest) = names.get(most..).filter(|rest| !rest.is_empty()) {
        tracing::warn!(count = names.len(), most, ?rest, "too many secrets for one host: no attempt gets these");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_new_value_is_handed_out_and_an_old_one_is_still_searched_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            Secrets::gather(&file, [], None).unwrap()
        };
        let ring = Keyring::new(read("A=old\nB=same\n"));
        ring.replace(read("A=new\nB=same\nC=c\n"));
        assert_eq!(ring.names(), ["A", "B", "C"]);
        assert_eq!(ring.lookup(&["A".to_owned()]).unwrap()[0].1.expose(), "new");
        let exposed = |name: &str| -> Vec<String> {
            ring.every_value(name).into_iter().map(|(_, value)| value.expose().to_owned()).collect()
        };
        assert_eq!(
            (exposed("A"), exposed("B"), exposed("D").len()),
            (vec!["new".into(), "old".into()], vec!["same".into()], 0)
        );
    }
}
