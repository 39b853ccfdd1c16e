//! What is kept: tokens and members, in JSON that a person can read. Secrets are kept as hashes.
//! Deliberately absent: rules; those who change it have them.

use std::collections::BTreeMap;

use devstack_cluster::{NodeName, Serial, TokenId};
use devstack_dag::pins::PinChange;
use serde::{Deserialize, Serialize};

use super::{NewCluster, Role};

/// The shape of the file. Another number is refused.
const VERSION: u32 = 1;

/// Everything that is known of a cluster. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    version: u32,
    /// What people call the cluster.
    pub cluster: String,
    /// The Taskmaster's name.
    pub taskmaster: NodeName,
    /// DNS names and addresses of the Taskmaster's certificate. No other machine may have them as its name.
    pub names: Vec<String>,
    /// How long certificates are valid, in seconds.
    pub certificate_life: u64,
    /// Tokens by id.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Members by name.
    pub members: BTreeMap<NodeName, Member>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is, or what for.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// SHA-256 of the secret, in hexadecimal.
    pub(super) hash: String,
    /// When it was made.
    pub created: i64,
    /// It is refused from then on.
    pub expires: i64,
    /// When a person revoked it.
    pub revoked: Option<i64>,
    /// Who joined with it: a join token is used once.
    pub used: Option<Use>,
    /// What the machine that joins with it is held to. Since version 0.2; without it the file is as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinChange>,
}

/// The one use of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Who joined.
    pub name: NodeName,
    /// When.
    pub at: i64,
    /// SHA-256 of its key: the same machine may ask again when the answer was lost on its way.
    pub(super) key: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// When it joined, the last time.
    pub joined: i64,
    /// Since when it is no member any more.
    pub removed: Option<i64>,
    /// Serials of the certificates it is known by, newest last: two while it changes them, none when it was removed.
    pub serials: Vec<String>,
    /// The newest certificate is valid until then.
    pub not_after: i64,
    /// What it is held to from its first report on, as its token said; see [`Token::pins`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinChange>,
}

impl Token {
    /// Is it good for anything at this time?
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked.is_none() && self.used.is_none() && now < self.expires
    }
}

impl Member {
    /// May it take part?
    pub fn is_live(&self) -> bool {
        self.removed.is_none()
    }
}

impl Registry {
    pub(super) fn new(new: &NewCluster, serial: &Serial, now: i64) -> Self {
        let life = new.certificate_life.as_secs();
        let own = Member {
            joined: now,
            removed: None,
            serials: vec![serial.to_string()],
            not_after: now.saturating_add_unsigned(life),
            pins: None,
        };
        Self {
            version: VERSION,
            cluster: new.name.clone(),
            taskmaster: new.taskmaster.clone(),
            names: new.names.clone(),
            certificate_life: life,
            tokens: BTreeMap::new(),
            members: BTreeMap::from([(new.taskmaster.clone(), own)]),
        }
    }

    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let registry: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match registry.version {
            VERSION => Ok(registry),
            other => Err(format!("its version is {other}; this release reads {VERSION}")),
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "maps with text keys, numbers and texts: nothing that JSON cannot say")]
        serde_json::to_vec_pretty(self).expect("a registry is JSON")
    }

    /// The member of this name, whatever the case of its letters: certificates are compared so.
    pub(super) fn named(&self, name: &NodeName) -> Option<(&NodeName, &Member)> {
        self.members.iter().find(|(known, _)| known.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}
