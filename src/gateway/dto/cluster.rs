//! Tokens, members and joining, as the API says them.

use devstack_cluster::{NodeName, TokenId};
use devstack_dag::bounds::within;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PinChange, Time, V1};
use crate::{gateway::bounds, members};

/// The body of `POST /v1/join`. It holds a secret: no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The token's id.
    #[serde(deserialize_with = "within::<bounds::JoinName, _, _>")]
    pub token: String,
    /// The token's secret half.
    #[serde(deserialize_with = "within::<bounds::JoinSecret, _, _>")]
    pub secret: String,
    /// The name that the machine wants.
    #[serde(deserialize_with = "within::<bounds::JoinName, _, _>")]
    pub name: String,
    /// A PKCS #10 signing request, PEM. Only its key counts.
    #[serde(deserialize_with = "within::<bounds::SigningRequest, _, _>")]
    pub request: String,
}

/// The answer of `POST /v1/join`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// What people call the cluster.
    pub cluster: String,
    /// The machine's certificate, PEM.
    pub certificate: String,
    /// The cluster's CA, PEM.
    pub ca: String,
    /// Where to dial, `HOST:PORT`.
    pub link: String,
}

/// The body of `POST /v1/renew`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// A PKCS #10 signing request, PEM. Only its key counts.
    #[serde(deserialize_with = "within::<bounds::SigningRequest, _, _>")]
    pub request: String,
}

/// The answer of `POST /v1/renew`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The machine's next certificate, PEM.
    pub certificate: String,
}

/// `GET /v1/cluster`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClusterPage {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// What people call it.
    pub cluster: String,
    /// SHA-256 of its CA, in hexadecimal.
    pub fingerprint: String,
    /// The Taskmaster's name.
    pub taskmaster: String,
    /// Where machines reach the API.
    pub api_address: Option<String>,
    /// Where agent hosts dial.
    pub link_address: Option<String>,
    /// Machines by name, removed ones too.
    pub members: Vec<Member>,
}

/// A machine of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// When it joined.
    pub joined_at: Time,
    /// Since when it is no member any more.
    pub removed_at: Option<Time>,
    /// Its certificate is valid until then.
    pub certificate_expires_at: Time,
}

impl Member {
    pub(in crate::gateway) fn of(name: &NodeName, member: &members::Member) -> Self {
        Self {
            name: name.to_string(),
            joined_at: seconds(member.joined),
            removed_at: member.removed.map(seconds),
            certificate_expires_at: seconds(member.not_after),
        }
    }
}

/// The body of `POST /v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// `viewer`, `operator`, `admin` or `agent-host`.
    #[serde(deserialize_with = "within::<bounds::TokenRole, _, _>")]
    pub role: String,
    /// Whose it is, or what for; `null`: one is made up.
    #[serde(default, deserialize_with = "within::<bounds::TokenName, _, _>")]
    pub name: Option<String>,
    /// How long it lives, in seconds; `null`: a day for agent hosts, 90 days for people.
    pub expires_in: Option<u64>,
    /// Only for agent hosts: what the machine that joins with it is held to. `null`: what its first report claims.
    #[serde(default)]
    pub pins: Option<PinChange>,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// Whose it is, or what for.
    pub name: String,
    /// What it allows.
    pub role: String,
    /// `live`, `used`, `revoked` or `expired`.
    pub state: String,
    /// When it was made.
    pub created_at: Time,
    /// It is refused from then on.
    pub expires_at: Time,
    /// When a person revoked it.
    pub revoked_at: Option<Time>,
    /// Who joined with it.
    pub used_by: Option<String>,
}

impl Token {
    pub(in crate::gateway) fn of(id: TokenId, token: &members::Token, now: i64) -> Self {
        let state = match token {
            members::Token { revoked: Some(_), .. } => "revoked",
            members::Token { used: Some(_), .. } => "used",
            live if live.is_live(now) => "live",
            _ => "expired",
        };
        Self {
            id: id.to_string(),
            name: token.name.clone(),
            role: token.role.to_string(),
            state: state.to_owned(),
            created_at: seconds(token.created),
            expires_at: seconds(token.expires),
            revoked_at: token.revoked.map(seconds),
            used_by: token.used.as_ref().map(|used| used.name.to_string()),
        }
    }
}

/// The answer of `POST /v1/tokens`: the only time that the token is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// What is known of it.
    pub details: Token,
    /// For people what they show, for agent hosts the line that they join with.
    pub token: String,
}

/// The answer of `POST /v1/tokens/{id}/revoke`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenPage {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The token.
    pub token: Token,
}

fn seconds(at: i64) -> Time {
    Time(u64::try_from(at).unwrap_or_default().saturating_mul(1000))
}
