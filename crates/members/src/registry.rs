//! The stored registry: tokens and members, as JSON that people can read. Secrets are stored as hashes.
//! Deliberately absent: rules; the code that changes the registry has them.

use std::collections::BTreeMap;

use devstack_cluster::{NodeName, Serial, TokenId};
use devstack_dag::pins::PinChange;
use serde::{Deserialize, Serialize};

use super::{NewCluster, Role};

/// The format version of the file. Any other version is refused.
const VERSION: u32 = 1;

/// The whole state of a cluster. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    version: u32,
    /// The cluster's name for users.
    pub cluster: String,
    /// The Taskmaster's name.
    pub taskmaster: NodeName,
    /// DNS names and addresses in the Taskmaster's certificate. No other machine may have one of them as its name.
    pub names: Vec<String>,
    /// Lifetime of certificates, in seconds.
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
    /// The owner or purpose of the token.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// SHA-256 of the secret, in hexadecimal.
    pub(super) hash: String,
    /// When it was created.
    pub created: i64,
    /// When it expires.
    pub expires: i64,
    /// When it was revoked.
    pub revoked: Option<i64>,
    /// The machine that joined with it; a join token works once.
    pub used: Option<Use>,
    /// The limits on the machine that joins with this token. Since version 0.2; without it the file is unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinChange>,
}

/// The one use of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The machine that joined.
    pub name: NodeName,
    /// When it joined.
    pub at: i64,
    /// SHA-256 of its key: the same machine may repeat its request when the answer was lost.
    pub(super) key: String,
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// When it last joined.
    pub joined: i64,
    /// When it was removed.
    pub removed: Option<i64>,
    /// Serials of its accepted certificates, newest last: two during a renewal, none after removal.
    pub serials: Vec<String>,
    /// When the newest certificate expires.
    pub not_after: i64,
    /// The limits from its first report, as its token set them; see [`Token::pins`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinChange>,
}

impl Token {
    /// Whether the token can still be used at this time.
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked.is_none() && self.used.is_none() && now < self.expires
    }
}

impl Member {
    /// Whether the machine is a current member.
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

    /// The member with this name, ignoring case, because certificates are compared in that way.
    pub(super) fn named(&self, name: &NodeName) -> Option<(&NodeName, &Member)> {
        self.members.iter().find(|(known, _)| known.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}
