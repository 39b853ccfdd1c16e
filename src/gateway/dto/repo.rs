//! Repositories that people upload.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Part, V1};

/// The answer of `GET /v1/repos/{project}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The `repo` of a plan whose repository was uploaded; `null`: nothing was.
    pub source: Option<String>,
    /// What was uploaded and delivered, by name.
    pub branches: Vec<Branch>,
}

/// A branch of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its commit.
    pub commit: String,
}

/// What a push announces, and which part of its bundle comes: the query of `POST /v1/repos/{project}/push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The base branch.
    pub base: String,
    /// Its commit.
    pub base_tip: String,
    /// The integration branch.
    pub integration: String,
    /// Its commit, if there is such a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration_tip: Option<String>,
    /// Hexadecimal BLAKE3 of the whole bundle.
    pub digest: String,
    /// Bytes of the whole bundle.
    pub size: u64,
    /// Where the part begins.
    pub offset: u64,
}

impl Push {
    /// Which part comes.
    pub fn part(&self) -> Part {
        Part { digest: self.digest.clone(), size: self.size, offset: self.offset }
    }
}

/// The answer of `POST /v1/repos/{project}/push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pushed {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Bytes of the bundle that are there, from the beginning: the next part begins here.
    pub bytes: u64,
    /// When the push was taken, the `repo` of a plan that uses it; `null`: more is to come.
    pub source: Option<String>,
}
