//! Tokens: creating them, revoking them, and finding the owner of a presented token. Deliberately absent: joining with
//! a token.

use std::{fmt, str::FromStr, time::Duration};

use devstack_cluster::{TokenId, TokenSecret, hex};
use devstack_dag::pins::PinChange;
use serde::{Deserialize, Serialize};

use super::{Members, MembersError, Registry, Token};

/// The maximum number of live tokens: one for each person or program.
const LIVE_MAX: usize = 1_000;
/// Dead tokens are listed for this long, in seconds: a month.
const KEEP_DEAD: i64 = 30 * 86_400;
/// The longest lifetime of a token: ten years, beyond which nobody remembers it.
const LIFE_MAX: Duration = Duration::from_secs(3650 * 86_400);
/// The longest name, in bytes.
const NAME_MAX: usize = 64;
/// The first word of a bearer token.
const PREFIX: &str = "dst1";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Read everything.
    Viewer,
    /// Read, and change tasks, plans, projects and hosts.
    Operator,
    /// Everything.
    Admin,
    /// To join the cluster as an agent host, once.
    AgentHost,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::AgentHost];

    /// The role's name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::AgentHost => "agent-host",
        }
    }

    /// The lifetime of a token if none is given. A token for joining is used at once.
    pub fn default_life(self) -> Duration {
        let days = if self == Self::AgentHost { 1 } else { 90 };
        Duration::from_secs(days * 86_400)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A token to create.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The owner or purpose of the token; `None` uses the role and the beginning of the token's id.
    pub name: Option<String>,
    /// What it allows.
    pub role: Role,
    /// Its lifetime.
    pub life: Duration,
    /// The limits on the machine that joins with it; `None` uses the claims of its first report.
    pub pins: Option<PinChange>,
}

/// The caller that presented a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The token's id, which is never reused.
    pub id: TokenId,
    /// The token's name.
    pub name: String,
    /// What it allows.
    pub role: Role,
}

/// The value after `Authorization: Bearer`: `dst1.ID.SECRET`. `Debug` does not show the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Which token.
    pub id: TokenId,
    /// Its secret half.
    pub secret: TokenSecret,
}

/// Not a devstack token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: tokens have the form {PREFIX}.ID.SECRET")]
pub struct NotABearer;

impl Bearer {
    /// The whole token with its secret, to hand to its owner.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}.{}.{}", self.id, self.secret.reveal())
    }
}

impl FromStr for Bearer {
    type Err = NotABearer;

    fn from_str(text: &str) -> Result<Self, NotABearer> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let &[PREFIX, id, secret] = parts.as_slice() else { return Err(NotABearer) };
        Ok(Self { id: id.parse().map_err(|_| NotABearer)?, secret: secret.parse().map_err(|_| NotABearer)? })
    }
}

impl Members {
    /// Creates a token. Its secret is only in the answer.
    ///
    /// # Errors
    /// The name is invalid or taken, the lifetime is over ten years, there are too many tokens, or the disk fails.
    pub fn create_token(&self, new: &NewToken, now: i64) -> Result<(Bearer, Token), MembersError> {
        let bearer = Bearer { id: TokenId::random()?, secret: TokenSecret::random()? };
        let name = match &new.name {
            Some(name) => checked(name)?,
            None => format!("{}-{}", new.role, &bearer.id.to_string()[..6]),
        };
        if new.life > LIFE_MAX || new.life.as_secs() == 0 {
            return Err(MembersError::BadToken("the lifetime of a token is one second to ten years".to_owned()));
        }
        let token = Token {
            name,
            role: new.role,
            hash: hex::encode(&bearer.secret.hash()),
            created: now,
            expires: now.saturating_add_unsigned(new.life.as_secs()),
            revoked: None,
            used: None,
            pins: new.pins.clone(),
        };
        self.change(|registry| {
            forget_dead(registry, now);
            let live = || registry.tokens.values().filter(|known| known.is_live(now));
            if live().any(|known| known.name == token.name) {
                return Err(MembersError::TokenNameTaken(token.name.clone()));
            }
            if live().count() >= LIVE_MAX {
                return Err(MembersError::Full("1,000 live tokens"));
            }
            registry.tokens.insert(bearer.id, token.clone());
            Ok(())
        })?;
        Ok((bearer, token))
    }

    /// Revokes a token, by its id or the name of a live token. Revoking it twice is not an error.
    ///
    /// # Errors
    /// No such token, or the disk fails.
    pub fn revoke_token(&self, which: &str, now: i64) -> Result<(TokenId, Token), MembersError> {
        self.change(|registry| {
            let by_name = |(id, token): (&TokenId, &Token)| (token.name == which && token.is_live(now)).then_some(*id);
            let by_id = which.parse().ok().filter(|id| registry.tokens.contains_key(id));
            let id = by_id.or_else(|| registry.tokens.iter().find_map(by_name));
            let none = || MembersError::NoToken(which.chars().take(NAME_MAX).collect());
            let id = id.ok_or_else(none)?;
            let token = registry.tokens.get_mut(&id).ok_or_else(none)?;
            token.revoked.get_or_insert(now);
            Ok((id, token.clone()))
        })
    }

    /// The caller that presents this token. `None` for every reason to refuse it. The secret is compared in constant
    /// time.
    pub fn authenticate(&self, bearer: &Bearer, now: i64) -> Option<Person> {
        let knows = self.present().tokens.get(&bearer.id)?.knows(&bearer.secret);
        knows.then(|| self.person(bearer.id, now)).flatten()
    }

    /// The owner of this token, which was presented earlier. `None` if the token is no longer valid for API access.
    pub fn person(&self, id: TokenId, now: i64) -> Option<Person> {
        let registry = self.present();
        let token = registry.tokens.get(&id)?;
        let good = token.is_live(now) && token.role != Role::AgentHost;
        good.then(|| Person { id, name: token.name.clone(), role: token.role })
    }
}

impl Token {
    /// Whether the token has this secret.
    pub(super) fn knows(&self, secret: &TokenSecret) -> bool {
        hex::decode(&self.hash).is_some_and(|hash| secret.has_hash(&hash))
    }
}

fn checked(name: &str) -> Result<String, MembersError> {
    let plain = |c: char| c.is_alphanumeric() || " ._-@".contains(c);
    if !name.trim().is_empty() && name.len() <= NAME_MAX && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    let bad = format!("a token's name has 1 to {NAME_MAX} bytes: letters, digits, spaces, and any of ._-@");
    Err(MembersError::BadToken(bad))
}

fn forget_dead(registry: &mut Registry, now: i64) {
    registry.tokens.retain(|_, token| {
        let ended = [token.revoked, token.used.as_ref().map(|used| used.at), Some(token.expires)];
        ended.into_iter().flatten().min().is_none_or(|ended| now.saturating_sub(ended) < KEEP_DEAD)
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bearer_is_read_as_it_is_written(id in any::<[u8; 8]>(), secret in any::<[u8; 16]>(), cut in 0..50usize) {
            let bearer = Bearer { id: TokenId(id), secret: TokenSecret(secret) };
            let text = bearer.reveal();
            prop_assert_eq!(text.parse(), Ok(bearer));
            prop_assert!(text[..text.len().min(cut)].parse::<Bearer>().is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}", tail in "[0-9a-f.]{0,60}") {
            let _ = text.parse::<Bearer>();
            let _ = format!("dst1.{tail}").parse::<Bearer>();
        }
    }
}
