//! The API's form of tokens, members and joining.

use devstack_cluster::{NodeName, TokenId};
use devstack_dag::bounds::within;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PinChange, Time, V1};
use crate::bounds;
use devstack_members as members;

/// The body of `POST /v1/join`. It contains a secret: no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The token's id.
    #[serde(deserialize_with = "within::<bounds::JoinName, _, _>")]
    pub token: String,
    /// The token's secret half.
    #[serde(deserialize_with = "within::<bounds::JoinSecret, _, _>")]
    pub secret: String,
    /// The requested name of the machine.
    #[serde(deserialize_with = "within::<bounds::JoinName, _, _>")]
    pub name: String,
    /// A PKCS #10 signing request, PEM. Only its key is used.
    #[serde(deserialize_with = "within::<bounds::SigningRequest, _, _>")]
    pub request: String,
}

/// The answer of `POST /v1/join`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The name of the cluster.
    pub cluster: String,
    /// The machine's certificate, PEM.
    pub certificate: String,
    /// The cluster's CA, PEM.
    pub ca: String,
    /// The address to dial, `HOST:PORT`.
    pub link: String,
}

/// The body of `POST /v1/renew`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// A PKCS #10 signing request, PEM. Only its key is used.
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
    /// The name of the cluster.
    pub cluster: String,
    /// SHA-256 of the cluster's CA, in hexadecimal.
    pub fingerprint: String,
    /// The name of the Taskmaster.
    pub taskmaster: String,
    /// The address of the API for other machines.
    pub api_address: Option<String>,
    /// The address that agent hosts dial.
    pub link_address: Option<String>,
    /// The machines by name, including removed ones.
    pub members: Vec<Member>,
}

/// A machine of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The name.
    pub name: String,
    /// The time of joining.
    pub joined_at: Time,
    /// The time of removal; `null`: the machine is a member.
    pub removed_at: Option<Time>,
    /// The end of the certificate's validity.
    pub certificate_expires_at: Time,
}

impl Member {
    /// A member, as the registry has it.
    pub fn of(name: &NodeName, member: &members::Member) -> Self {
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
    /// The owner or the purpose of the token; `null`: a generated name.
    #[serde(default, deserialize_with = "within::<bounds::TokenName, _, _>")]
    pub name: Option<String>,
    /// The lifetime in seconds; `null`: one day for agent hosts, 90 days for users.
    pub expires_in: Option<u64>,
    /// Only for agent hosts: the limits of the machine that joins with the token. `null`: the claims of its first
    /// report.
    #[serde(default)]
    pub pins: Option<PinChange>,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The id.
    pub id: String,
    /// The owner or the purpose.
    pub name: String,
    /// The role.
    pub role: String,
    /// `live`, `used`, `revoked` or `expired`.
    pub state: String,
    /// The time of creation.
    pub created_at: Time,
    /// The end of the lifetime.
    pub expires_at: Time,
    /// The time of the revocation.
    pub revoked_at: Option<Time>,
    /// The machine that joined with the token.
    pub used_by: Option<String>,
}

impl Token {
    /// A token, as the registry has it, at this time in seconds since 1970.
    pub fn of(id: TokenId, token: &members::Token, now: i64) -> Self {
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

/// The answer of `POST /v1/tokens`: the token is shown only here.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The properties of the token.
    pub details: Token,
    /// The token of a user, or the join line of an agent host.
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
