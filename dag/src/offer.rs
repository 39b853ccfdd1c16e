//! What a host offers: labels, roles, names of secrets, images, shards, as in its last report. In memory only, and in
//! no fact.
//!
//! No rule that applies facts needs an offer: the fact that started an attempt names its host. After a restart no host
//! is present until it reports, and a report contains its whole offer. So labels and images change without a write,
//! names of secrets may take more than a row of the store holds, and an engine that was rebuilt from facts or records
//! places nothing on a host that has not reported since.

use std::collections::BTreeMap;

use crate::{
    command::{Command, HostReport, ShardReport},
    ids::{HostName, RoleName},
};

/// The offer of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Labels from its configuration: `gpu = "a100"`.
    pub labels: BTreeMap<String, String>,
    /// The roles whose attempts it accepts, sorted; empty: all.
    pub roles: Vec<RoleName>,
    /// Names of the secrets that it can resolve, sorted, without duplicates.
    pub secrets: Vec<String>,
    /// Images that it need not fetch first, by names and digests, sorted; at most [`crate::Config::images_kept`].
    pub images: Vec<String>,
    /// The networks that its attempts are attached to.
    pub shards: Vec<ShardReport>,
}

impl Offer {
    /// The offer in a command, if the command is a report.
    pub(crate) fn of(command: &Command, images_kept: usize) -> Option<(HostName, Self)> {
        let (Command::ReportHost(report) | Command::ReportMember { report, .. }) = command else { return None };
        Some((report.host.clone(), Self::from_report(report, images_kept)))
    }

    /// The offer in this report.
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

    /// Whether the host accepts attempts of this role.
    pub(crate) fn accepts(&self, role: &RoleName) -> bool {
        self.roles.is_empty() || self.roles.binary_search(role).is_ok()
    }

    /// Whether the host can resolve this secret.
    pub(crate) fn knows(&self, secret: &str) -> bool {
        self.secrets.binary_search_by(|have| have.as_str().cmp(secret)).is_ok()
    }

    /// Whether the host has this label.
    pub(crate) fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels.get(key).is_some_and(|have| have == value)
    }

    /// Whether the host has this image, as a role names it: by the whole name, or by the digest in the name. A name
    /// without its digest may mean another image by now.
    pub(crate) fn has_image(&self, image: &str) -> bool {
        let listed = |name: &str| self.images.binary_search_by(|have| have.as_str().cmp(name)).is_ok();
        listed(image) || image.split_once('@').is_some_and(|(_, digest)| listed(digest))
    }

    /// Whether placement would differ because of the change. Shards are only for display.
    pub(crate) fn places_like(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.roles == other.roles
            && self.secrets == other.secrets
            && self.images == other.images
    }
}
