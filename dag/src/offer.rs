//! What a host says it is: labels, roles, names of secrets, images, shards. In memory only, and in no fact, as its report
//! said it last.
//!
//! No rule applied to facts needs it: where an attempt went stands in the fact that started it. After a restart nobody is
//! present until they report, and a report has all of it. So labels and images change without a write, names of
//! secrets may take more than a row of the store has, and an engine rebuilt from facts or records places nothing on a host
//! that it has not heard of since.

use std::collections::BTreeMap;

use crate::{
    command::{Command, HostReport, ShardReport},
    ids::{HostName, RoleName},
};

/// What a host says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// What its configuration says of it: `gpu = "a100"`.
    pub labels: BTreeMap<String, String>,
    /// The roles whose attempts it takes, sorted; empty: all.
    pub roles: Vec<RoleName>,
    /// Names of the secrets that it can resolve, sorted, each once.
    pub secrets: Vec<String>,
    /// Images that need not be fetched first, by names and digests, sorted; at most [`crate::Config::images_kept`].
    pub images: Vec<String>,
    /// The networks that its attempts are attached to.
    pub shards: Vec<ShardReport>,
}

impl Offer {
    /// What a command says of a host, if it is a report.
    pub(crate) fn of(command: &Command, images_kept: usize) -> Option<(HostName, Self)> {
        let (Command::ReportHost(report) | Command::ReportMember { report, .. }) = command else { return None };
        Some((report.host.clone(), Self::from_report(report, images_kept)))
    }

    /// What this report says.
    pub(crate) fn from_report(report: &HostReport, images_kept: usize) -> Self {
        let HostReport { labels, roles, secrets, images, shards, .. } = report;
        let mut offer = Self {
            labels: labels.clone(),
            roles: roles.clone(),
            secrets: secrets.clone(),
            images: images.iter().take(images_kept).cloned().collect(),
            shards: shards.clone(),
        };
        offer.roles.sort_unstable();
        offer.secrets.sort_unstable();
        offer.secrets.dedup();
        offer.images.sort_unstable();
        offer
    }

    /// Does it take attempts of this role?
    pub(crate) fn accepts(&self, role: &RoleName) -> bool {
        self.roles.is_empty() || self.roles.binary_search(role).is_ok()
    }

    /// Can it resolve this secret?
    pub(crate) fn knows(&self, secret: &str) -> bool {
        self.secrets.binary_search_by(|have| have.as_str().cmp(secret)).is_ok()
    }

    /// Is this label on it?
    pub(crate) fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels.get(key).is_some_and(|have| have == value)
    }

    /// Has it this image, as a role names it: by the whole name, or by the digest in it? A name without its digest may
    /// stand for another image by now.
    pub(crate) fn has_image(&self, image: &str) -> bool {
        let listed = |name: &str| self.images.binary_search_by(|have| have.as_str().cmp(name)).is_ok();
        listed(image) || image.split_once('@').is_some_and(|(_, digest)| listed(digest))
    }

    /// Would an attempt be placed otherwise because of it? Shards are for people.
    pub(crate) fn places_like(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.roles == other.roles
            && self.secrets == other.secrets
            && self.images == other.images
    }
}
