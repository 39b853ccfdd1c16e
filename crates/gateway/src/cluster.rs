//! The cluster as the API shows and changes it: tokens, members, joining. A layer over the registry; writes run on a
//! blocking thread.
//! Deliberately absent: the rules (the registry has them), and hosts (the engine has them).

use std::sync::Arc;

use devstack_cluster::{JoinToken, NodeName, PeerCertificate};
use devstack_dag::ids::{HostName, Timestamp};
use tokio::sync::Semaphore;

use super::{ApiError, dto, error::code};
use devstack_members::{Joining, Members, MembersError, NewToken, Role};

/// The maximum number of machines that join at the same time: each needs a signature and two syncs of a disk.
const JOINING: usize = 4;

/// The cluster of this node, which is the Taskmaster.
pub struct Cluster {
    /// The registry.
    pub members: Arc<Members>,
    /// The address where other machines reach the API, `HOST:PORT`, for join tokens; `None`: no address.
    pub api_address: Option<String>,
    /// The address that agent hosts dial, `HOST:PORT`; `None`: no address.
    pub link_address: Option<String>,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    joining: Semaphore,
}

impl Cluster {
    /// Creates the cluster over a registry.
    pub fn new(
        members: Arc<Members>,
        api_address: Option<String>,
        link_address: Option<String>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self { members, api_address, link_address, clock, joining: Semaphore::new(JOINING) }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        i64::try_from((self.clock)().0 / 1000).unwrap_or(i64::MAX)
    }

    pub(super) async fn join(&self, wanted: dto::Join) -> Result<dto::Joined, ApiError> {
        let _turn =
            self.joining.try_acquire().map_err(|_| ApiError::unavailable("too many other machines are joining now"))?;
        let (_, link) = self.reachable()?;
        let bad = |error: &dyn std::fmt::Display| ApiError::invalid(error.to_string());
        let (token, secret) = (wanted.token.parse(), wanted.secret.parse());
        let (token, secret) = (token.map_err(|e| bad(&e))?, secret.map_err(|e| bad(&e))?);
        let name = NodeName::new(&wanted.name).map_err(|e| bad(&e))?;
        let (members, now) = (self.members.clone(), self.now());
        let admission = blocking(move || {
            let admission =
                members.join(&Joining { token, secret: &secret, name: &name, request: &wanted.request }, now)?;
            tracing::info!(%name, token = %token, "a machine joined the cluster");
            Ok(admission)
        });
        let admission = admission.await?;
        Ok(dto::Joined {
            api_version: dto::V1,
            cluster: self.members.present().cluster.clone(),
            certificate: admission.certificate_pem,
            ca: self.members.ca_pem().to_owned(),
            link,
        })
    }

    pub(super) async fn renew(&self, peer: PeerCertificate, request: String) -> Result<dto::Renewed, ApiError> {
        let (members, now) = (self.members.clone(), self.now());
        let admission = blocking(move || members.renew(&peer, &request, now)).await?;
        Ok(dto::Renewed { api_version: dto::V1, certificate: admission.certificate_pem })
    }

    pub(super) fn page(&self) -> dto::ClusterPage {
        let registry = self.members.present();
        dto::ClusterPage {
            api_version: dto::V1,
            cluster: registry.cluster.clone(),
            fingerprint: self.members.fingerprint().to_string(),
            taskmaster: registry.taskmaster.to_string(),
            api_address: self.api_address.clone(),
            link_address: self.link_address.clone(),
            members: registry.members.iter().map(|(name, member)| dto::Member::of(name, member)).collect(),
        }
    }

    pub(super) fn tokens(&self) -> dto::TokenList {
        let (registry, now) = (self.members.present(), self.now());
        let mut tokens: Vec<_> = registry.tokens.iter().collect();
        tokens.sort_by_key(|(_, token)| token.created);
        tokens.into_iter().map(|(id, token)| dto::Token::of(*id, token, now)).collect::<Vec<_>>().into()
    }

    pub(super) async fn create_token(&self, wanted: dto::NewToken) -> Result<dto::CreatedToken, ApiError> {
        let known = || Role::ALL.map(Role::as_str).join(", ");
        let unknown =
            || ApiError::invalid(format!("`{}` is not a role", wanted.role)).hint(format!("one of {}", known()));
        let role = Role::ALL.into_iter().find(|role| role.as_str() == wanted.role).ok_or_else(unknown)?;
        let address = if role == Role::AgentHost { Some(self.reachable()?.0) } else { None };
        let life = wanted.expires_in.map_or(role.default_life(), std::time::Duration::from_secs);
        let (members, now) = (self.members.clone(), self.now());
        if role != Role::AgentHost && wanted.pins.is_some() {
            return Err(ApiError::invalid("only a token for an agent host can set limits of a host"));
        }
        let pins = wanted.pins.map(dto::PinChange::read).transpose()?;
        let new = NewToken { name: wanted.name, role, life, pins };
        let (bearer, token) = blocking(move || members.create_token(&new, now)).await?;
        let text = match address {
            None => bearer.reveal(),
            Some(address) => JoinToken::new(&address, self.members.fingerprint(), bearer.id, bearer.secret.clone())
                .map_err(|error| ApiError::internal(error.to_string()))?
                .reveal(),
        };
        Ok(dto::CreatedToken { api_version: dto::V1, details: dto::Token::of(bearer.id, &token, now), token: text })
    }

    /// Ends the membership of a host; its certificates are refused from now on. `Some(false)`: the membership had ended
    /// before; `None`: the host never was a member.
    pub(super) async fn remove(&self, host: &HostName) -> Result<Option<bool>, ApiError> {
        // A name that is not valid for a member belongs to no member.
        let Ok(name) = NodeName::new(host.as_str()) else { return Ok(None) };
        let (members, now) = (self.members.clone(), self.now());
        let remove = move || match members.remove(&name, now) {
            Err(MembersError::NoMember(_)) => Ok(None),
            Err(error) => Err(error),
            Ok(was_live) => {
                if was_live {
                    tracing::info!(%name, "a machine was removed from the cluster");
                }
                Ok(Some(was_live))
            }
        };
        blocking(remove).await
    }

    /// The API address for joining machines, and the address that they dial.
    fn reachable(&self) -> Result<(String, String), ApiError> {
        self.api_address.clone().zip(self.link_address.clone()).ok_or_else(|| {
            let hint = "write `listen` into [api] and [link] of node.toml, for example \"0.0.0.0:7421\" and \
                        \"0.0.0.0:7420\", and restart the node";
            ApiError::state(code::NO_CLUSTER, "other machines cannot reach this node").hint(hint)
        })
    }

    pub(super) async fn revoke_token(&self, which: String) -> Result<dto::TokenPage, ApiError> {
        let (members, now) = (self.members.clone(), self.now());
        let (id, token) = blocking(move || members.revoke_token(&which, now)).await?;
        Ok(dto::TokenPage { api_version: dto::V1, token: dto::Token::of(id, &token, now) })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MembersError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| ApiError::internal("the registry of the cluster failed"))??)
}
