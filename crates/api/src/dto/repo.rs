//! Uploaded repositories.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Part, V1};

/// The answer of `GET /v1/repos/{project}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The `repo` for a plan that uses the upload; `null`: nothing was uploaded.
    pub source: Option<String>,
    /// The uploaded and delivered branches, by name.
    pub branches: Vec<Branch>,
}

/// A branch of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Branch {
    /// The name.
    pub name: String,
    /// The commit.
    pub commit: String,
}

/// The query of `POST /v1/repos/{project}/push`: the announced branches, and the position of the uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The base branch.
    pub base: String,
    /// The commit of the base branch.
    pub base_tip: String,
    /// The integration branch.
    pub integration: String,
    /// The commit of the integration branch, if the branch exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration_tip: Option<String>,
    /// Hexadecimal BLAKE3 of the whole bundle.
    pub digest: String,
    /// Size of the whole bundle in bytes.
    pub size: u64,
    /// The offset of the part.
    pub offset: u64,
}

impl Push {
    /// The position of the part.
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
    /// The number of bytes received, from the beginning: the next part begins here.
    pub bytes: u64,
    /// After the last part: the `repo` for a plan that uses the push; `null`: more parts are missing.
    pub source: Option<String>,
}
