//! Joining the cluster, renewing a membership, and ending it.
//!
//! The rule of names: a name belongs to the machine that joined with it until an operator removes it. A machine that
//! lost its key can join again only after that. Names are compared without case, as in certificates.

use std::time::Duration;

use devstack_cluster::{Issued, NodeName, PeerCertificate, Purpose, SigningRequest, TokenId, TokenSecret};
use devstack_dag::pins::PinChange;

use super::{Member, Members, MembersError, Registry, Role, registry::Use};

/// The maximum number of machines that a cluster remembers, including removed ones: ten times the number that one
/// Taskmaster is built for.
const MEMBERS_MAX: usize = 10_000;
/// A machine whose answer was lost can repeat its request for this long, in seconds. Its command gives up after a
/// minute.
pub(super) const REPEAT: i64 = 600;
/// Every machine resolves this name to itself.
const LOCALHOST: &str = "localhost";

/// The request of a machine to join.
#[derive(Debug)]
pub struct Joining<'a> {
    /// Its token.
    pub token: TokenId,
    /// The token's secret half.
    pub secret: &'a TokenSecret,
    /// The requested name.
    pub name: &'a NodeName,
    /// Its signing request, PEM.
    pub request: &'a str,
}

/// An issued certificate of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
}

impl From<Issued> for Admission {
    fn from(issued: Issued) -> Self {
        Self { certificate_pem: issued.certificate_pem, not_after: issued.not_after }
    }
}

impl Members {
    /// Makes a machine a member and uses the token up, in one step. The same machine (the same key) may repeat its
    /// request with the same token and name, because the first answer may have been lost. Blocking: a file is written
    /// and synced.
    ///
    /// # Errors
    /// The token is unknown, used, expired, revoked or for API access; the name is taken or reserved; the signing
    /// request is invalid; or the disk fails. Nothing changed then.
    pub fn join(&self, joining: &Joining<'_>, now: i64) -> Result<Admission, MembersError> {
        // Checked before taking the lock: a stranger must not make members wait.
        self.judge(&self.present(), joining, None, now)?;
        let request = SigningRequest::parse(joining.request)?;
        let key = request.key_hash();
        self.change(|registry| {
            self.judge(registry, joining, Some(&key), now)?;
            let life = Duration::from_secs(registry.certificate_life);
            let issued = self.ca.issue(&request, joining.name, &[], Purpose::Client, life, now)?;
            let used = Use { name: joining.name.clone(), at: now, key };
            let pins = registry.tokens.get_mut(&joining.token).and_then(|token| {
                token.used = Some(used);
                token.pins.clone()
            });
            // A removed member with the same name, perhaps in different case, is replaced.
            if let Some(old) = registry.named(joining.name).map(|(name, _)| name.clone()) {
                registry.members.remove(&old);
            }
            let member = Member {
                joined: now,
                removed: None,
                serials: vec![issued.serial.to_string()],
                not_after: issued.not_after,
                pins,
            };
            registry.members.insert(joining.name.clone(), member);
            Ok(issued.into())
        })
    }

    /// Decides whether this machine may join now. Without a key only those checks run that a stranger cannot pass, and
    /// a repeated request may pass.
    fn judge(
        &self,
        registry: &Registry,
        joining: &Joining<'_>,
        key: Option<&str>,
        now: i64,
    ) -> Result<(), MembersError> {
        let known = registry.tokens.get(&joining.token).filter(|token| token.knows(joining.secret));
        let token = known.ok_or(MembersError::UnknownToken)?;
        if token.role != Role::AgentHost {
            return Err(MembersError::NotForJoining(token.role.as_str()));
        }
        if token.revoked.is_some() {
            return Err(MembersError::RevokedToken);
        }
        let Some(key) = key else { return Ok(()) };
        if let Some(used) = &token.used {
            let again = used.key == key && used.name == *joining.name && now.saturating_sub(used.at) < REPEAT;
            let still = registry.members.get(&used.name).is_some_and(Member::is_live);
            return if again && still { Ok(()) } else { Err(MembersError::UsedToken(used.name.to_string())) };
        }
        if now >= token.expires {
            return Err(MembersError::ExpiredToken);
        }
        let name = joining.name.as_str();
        if let Some((taken, _)) = registry.named(joining.name).filter(|(_, member)| member.is_live()) {
            return Err(MembersError::NameTaken(taken.to_string()));
        }
        let own = registry.names.iter().map(String::as_str).chain([LOCALHOST, registry.taskmaster.as_str()]);
        if own.into_iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(MembersError::NameReserved(name.to_owned()));
        }
        if registry.members.len() >= MEMBERS_MAX {
            return Err(MembersError::Full("10,000 machines"));
        }
        Ok(())
    }

    /// Checks that the machine with this certificate is a member. A certificate that was replaced since is refused too.
    ///
    /// # Errors
    /// The machine is not a member; the text says why.
    pub fn admit(&self, peer: &PeerCertificate) -> Result<(), MembersError> {
        judge_peer(&self.present(), peer)
    }

    /// Issues the next certificate of a member. The current certificate stays valid until the next one is used to
    /// renew, because the answer may be lost. Blocking.
    ///
    /// # Errors
    /// The machine is not a member, the signing request is invalid, or the disk fails.
    pub fn renew(&self, peer: &PeerCertificate, request: &str, now: i64) -> Result<Admission, MembersError> {
        let request = SigningRequest::parse(request)?;
        self.change(|registry| {
            judge_peer(registry, peer)?;
            // A member from an earlier version, whose certificate was also a server's, gets the narrower purpose with
            // its next certificate.
            let (names, purpose) = match peer.name == registry.taskmaster {
                true => (registry.names.clone(), Purpose::Server),
                false => (Vec::new(), Purpose::Client),
            };
            let life = Duration::from_secs(registry.certificate_life);
            let issued = self.ca.issue(&request, &peer.name, &names, purpose, life, now)?;
            registry.members.entry(peer.name.clone()).and_modify(|member| {
                member.serials = vec![peer.serial.to_string(), issued.serial.to_string()];
                member.not_after = issued.not_after;
            });
            Ok(issued.into())
        })
    }

    /// Issues the Taskmaster's own next certificate, with these additional names; works whatever the state of the
    /// previous one. Blocking.
    ///
    /// # Errors
    /// A name that is not allowed in a certificate or that a member has, or the disk fails.
    pub fn renew_own(&self, request: &str, names: &[String], now: i64) -> Result<Admission, MembersError> {
        let request = SigningRequest::parse(request)?;
        self.change(|registry| {
            let own = registry.taskmaster.clone();
            let is_own = |member: &NodeName| *member == own;
            let taken = registry.members.iter().filter(|(member, known)| known.is_live() && !is_own(member));
            let taken = taken.map(|(member, _)| member.as_str());
            let clash = |name: &&str| names.iter().any(|own| own.eq_ignore_ascii_case(name));
            if let Some(name) = taken.clone().find(clash) {
                return Err(MembersError::NameTaken(name.to_owned()));
            }
            let life = Duration::from_secs(registry.certificate_life);
            let issued = self.ca.issue(&request, &own, names, Purpose::Server, life, now)?;
            registry.names = names.to_vec();
            registry.members.entry(own).and_modify(|member| {
                let last = member.serials.last().cloned();
                member.serials = last.into_iter().chain([issued.serial.to_string()]).collect();
                member.not_after = issued.not_after;
            });
            Ok(issued.into())
        })
    }

    /// The limits that apply to a machine from its first report, as its token set them.
    pub fn pins(&self, name: &NodeName) -> Option<PinChange> {
        self.present().members.get(name)?.pins.clone()
    }

    /// Ends a membership: from now on every certificate of the machine is refused, and its name is free. Returns false
    /// if the membership had already ended. Blocking.
    ///
    /// # Errors
    /// No such member, the member is the Taskmaster, or the disk fails.
    pub fn remove(&self, name: &NodeName, now: i64) -> Result<bool, MembersError> {
        self.change(|registry| {
            if *name == registry.taskmaster {
                return Err(MembersError::IsTaskmaster(name.to_string()));
            }
            let member = registry.members.get_mut(name).ok_or_else(|| MembersError::NoMember(name.to_string()))?;
            let was_live = member.is_live();
            member.removed.get_or_insert(now);
            member.serials.clear();
            Ok(was_live)
        })
    }
}

fn judge_peer(registry: &Registry, peer: &PeerCertificate) -> Result<(), MembersError> {
    let refuse = |why| Err(MembersError::NotAMember { name: peer.name.to_string(), why });
    let serial = peer.serial.to_string();
    match registry.members.get(&peer.name) {
        None => refuse("it never joined this cluster"),
        Some(member) if !member.is_live() => refuse("it was removed from the cluster; join again with a new token"),
        Some(member) if !member.serials.contains(&serial) => {
            refuse("its certificate was replaced by a newer one; a machine with an old copy of its state joins again")
        }
        Some(_) => Ok(()),
    }
}
