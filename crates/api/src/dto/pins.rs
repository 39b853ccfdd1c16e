//! Limits of a host, independent of its claims.

use std::collections::BTreeMap;

use devstack_dag::{pins, record};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ApiError;

/// A change of a host's limits. Absent or `null`: unchanged; for a host that has not reported yet: the claim of its
/// first report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PinChange {
    /// The maximum number of attempts at the same time.
    pub max_slots: Option<u32>,
    /// Allowed labels; replaces the previous list.
    pub labels: Option<BTreeMap<String, String>>,
    /// Roles of the host's attempts; replaces the previous list; empty: all.
    pub roles: Option<Vec<String>>,
    /// Projects of the host's attempts; replaces the previous list; empty: all.
    pub projects: Option<Vec<String>>,
    /// Names of allowed secrets; replaces the previous list.
    pub secrets: Option<Vec<String>>,
}

impl PinChange {
    /// Converts the change to the engine's form.
    ///
    /// # Errors
    /// A name is not valid, or the lists are too long.
    pub fn read(self) -> Result<pins::PinChange, ApiError> {
        let Self { max_slots, labels, roles, projects, secrets } = self;
        let change = pins::PinChange { max_slots, labels, roles: named(roles)?, projects: named(projects)?, secrets };
        if change.fits() {
            return Ok(change);
        }
        let most = pins::PINS_BYTES;
        Err(ApiError::invalid(format!("labels, roles, projects and secrets together are larger than {most} bytes")))
    }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(list: Option<Vec<String>>) -> Result<Option<Vec<T>>, ApiError> {
    let read = |name: String| name.parse().map_err(|why: T::Err| ApiError::invalid(why.to_string()));
    list.map(|list| list.into_iter().map(read).collect()).transpose()
}

/// The limits of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pins {
    /// The maximum number of attempts at the same time.
    pub max_slots: u32,
    /// Allowed labels.
    pub labels: BTreeMap<String, String>,
    /// Roles of the host's attempts; empty: all.
    pub roles: Vec<String>,
    /// Projects of the host's attempts; empty: all.
    pub projects: Vec<String>,
    /// Names of allowed secrets.
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
