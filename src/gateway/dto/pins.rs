//! What a host is held to, whatever it claims.

use std::collections::BTreeMap;

use devstack_dag::{pins, record};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gateway::ApiError;

/// What becomes different of what a host is held to. Absent or `null`: as it is; of a host that has not reported yet, as its
/// first report claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PinChange {
    /// Attempts at once, at most.
    pub max_slots: Option<u32>,
    /// Labels that it may claim, instead of those before.
    pub labels: Option<BTreeMap<String, String>>,
    /// Roles whose attempts it may get, instead of those before; empty: all.
    pub roles: Option<Vec<String>>,
    /// Projects whose attempts it may get, instead of those before; empty: all.
    pub projects: Option<Vec<String>>,
    /// Names of secrets that it may claim, instead of those before.
    pub secrets: Option<Vec<String>>,
}

impl PinChange {
    /// As the engine takes it.
    ///
    /// # Errors
    /// A name that is none, or more than can be kept.
    pub fn read(self) -> Result<pins::PinChange, ApiError> {
        let Self { max_slots, labels, roles, projects, secrets } = self;
        let change = pins::PinChange { max_slots, labels, roles: named(roles)?, projects: named(projects)?, secrets };
        if change.fits() {
            return Ok(change);
        }
        let most = pins::PINS_BYTES;
        Err(ApiError::invalid(format!("labels, roles, projects and secrets take more than {most} bytes together")))
    }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(list: Option<Vec<String>>) -> Result<Option<Vec<T>>, ApiError> {
    let read = |name: String| name.parse().map_err(|why: T::Err| ApiError::invalid(why.to_string()));
    list.map(|list| list.into_iter().map(read).collect()).transpose()
}

/// What a host is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pins {
    /// Attempts at once, at most.
    pub max_slots: u32,
    /// Labels that it may claim.
    pub labels: BTreeMap<String, String>,
    /// Roles whose attempts it may get; empty: all.
    pub roles: Vec<String>,
    /// Projects whose attempts it may get; empty: all.
    pub projects: Vec<String>,
    /// Names of secrets that it may claim.
    pub secrets: Vec<String>,
}

impl From<&record::Pins> for Pins {
    fn from(pins: &record::Pins) -> Self {
        Self {
            max_slots: pins.max_slots,
            labels: pins.labels.clone(),
            roles: pins.roles.iter().map(ToString::to_string).collect(),
            projects: pins.projects.iter().map(ToString::to_string).collect(),
            secrets: pins.secrets.clone(),
        }
    }
}
