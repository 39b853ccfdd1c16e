//! The bodies of the API, field by field as in the contract: unknown values are `null`, never absent; times are RFC
//! 3339 UTC.
//! Deliberately absent: behaviour. Conversions from records are here because they change only the form.

mod audit;
mod cluster;
mod host;
mod node;
mod overview;
mod pins;
mod repo;
mod task;
mod words;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

pub use audit::*;
pub use cluster::*;
pub use host::*;
pub use node::*;
pub use overview::*;
pub use pins::*;
pub use repo::*;
pub use task::*;
pub use words::*;

/// `"apiVersion": "v1"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("v1")
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "v1" => Ok(Self),
            other => Err(serde::de::Error::custom(format!("this version does not support apiVersion `{other}`"))),
        }
    }
}

impl PartialSchema for V1 {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["v1"])).into()
    }
}

impl ToSchema for V1 {}

/// A time, in milliseconds since 1970-01-01 UTC; written as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl From<devstack_dag::ids::Timestamp> for Time {
    fn from(at: devstack_dag::ids::Timestamp) -> Self {
        Self(at.0)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        // RFC 3339 ends with the year 9999: later times become its last moment.
        f.pad(&at.unwrap_or(jiff::Timestamp::MAX).to_string())
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
        ObjectBuilder::new().schema_type(Type::String).format(format).description(Some("RFC 3339, UTC")).into()
    }
}

impl ToSchema for Time {}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        u64::try_from(at.as_millisecond()).map(Self).map_err(serde::de::Error::custom)
    }
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $item:ty })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
        pub struct $name {
            /// `v1`.
            #[serde(rename = "apiVersion")]
            pub api_version: V1,
            /// The entries.
            pub $field: Vec<$item>,
            /// The `after` of the next page; `null`: this is the last page.
            #[serde(default)]
            pub next: Option<String>,
        }
        impl From<Vec<$item>> for $name {
            /// All entries.
            fn from($field: Vec<$item>) -> Self {
                Self { api_version: V1, $field, next: None }
            }
        }
    )*};
}

lists! {
    /// `GET /v1/tasks`: by project, in the order of submission. A page with filters can be shorter than requested, even
    /// empty, although more pages follow.
    TaskList { tasks: Task }
    /// `GET /v1/plans`.
    PlanList { plans: Plan }
    /// `GET /v1/projects`.
    ProjectList { projects: Project }
    /// `GET /v1/agents`.
    AgentList { agents: Agent }
    /// `GET /v1/hosts`.
    HostList { hosts: Host }
    /// `GET /v1/merges`.
    MergeList { merges: Merge }
    /// `GET /v1/tokens`.
    TokenList { tokens: Token }
    /// `GET /v1/audit`: newest first.
    ChangeList { changes: Change }
}
