//! The limits of a host, whatever it claims: made from what users set and, for the rest, from its first report.
//! Deliberately absent: where pins are stored ([`crate::record::HostIntentRecord`]) and how placement uses them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    command::HostReport,
    ids::{ProjectName, RoleName},
    record::Pins,
};

/// The most bytes that the names in a host's pins may take: they are a part of one record of 16 KiB.
pub const PINS_BYTES: usize = 12 * 1024;
/// The encoded length prefix of a name, in bytes.
const EACH: usize = 9;

/// A change of a host's pins by a user. `None`: unchanged; for a host without pins, taken from its first report. Also
/// kept with the members, for hosts that have not joined yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinChange {
    /// The most concurrent attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_slots: Option<u32>,
    /// Labels that it may claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Roles whose attempts it may get; empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<RoleName>>,
    /// Projects whose attempts it may get; empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<ProjectName>>,
    /// Names of secrets that it may claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
}

impl PinChange {
    /// The pins with this change applied; lists sorted, without duplicates.
    pub(crate) fn over(self, pins: Pins) -> Pins {
        Pins {
            max_slots: self.max_slots.unwrap_or(pins.max_slots),
            labels: self.labels.unwrap_or(pins.labels),
            roles: sorted(self.roles.unwrap_or(pins.roles)),
            projects: sorted(self.projects.unwrap_or(pins.projects)),
            secrets: sorted(self.secrets.unwrap_or(pins.secrets)),
        }
    }

    /// Whether the pins fit within [`PINS_BYTES`].
    pub fn fits(&self) -> bool {
        bytes(&self.clone().over(Pins::default())) <= PINS_BYTES
    }
}

/// The pins that a first report claims: at most this many slots, and as many names as fit.
pub(crate) fn of_report(report: &HostReport, most_slots: u32) -> Pins {
    let mut pins = Pins { max_slots: report.slots.min(most_slots), ..Pins::default() };
    let mut left = PINS_BYTES;
    let mut fits = |bytes: usize| left.checked_sub(bytes + EACH).map(|rest| left = rest).is_some();
    for role in report.roles.iter().filter(|role| fits(role.as_str().len())) {
        pins.roles.push(role.clone());
    }
    for (key, value) in report.labels.iter().filter(|(key, value)| fits(key.len() + value.len() + EACH)) {
        pins.labels.insert(key.clone(), value.clone());
    }
    for secret in report.secrets.iter().filter(|secret| fits(secret.len())) {
        pins.secrets.push(secret.clone());
    }
    PinChange::default().over(pins)
}

/// The pins of a host from its first report on: what users set, and for the rest what the host claims. If both together
/// are too large, only what users set counts, and the host gets no labels and secrets by claiming them.
pub(crate) fn at_first(report: &HostReport, most_slots: u32, joined: PinChange) -> Pins {
    let claimed = of_report(report, most_slots);
    let said = Pins { max_slots: claimed.max_slots, ..Pins::default() };
    let both = joined.clone().over(claimed);
    if bytes(&both) <= PINS_BYTES { both } else { joined.over(said) }
}

/// The approximate size in a record.
pub(crate) fn bytes(pins: &Pins) -> usize {
    let labels = pins.labels.iter().map(|(key, value)| key.len() + value.len() + 2 * EACH);
    let names = pins.roles.iter().map(RoleName::as_str).chain(pins.projects.iter().map(ProjectName::as_str));
    let names = names.chain(pins.secrets.iter().map(String::as_str)).map(|name| name.len() + EACH);
    labels.chain(names).sum()
}

impl Pins {
    /// Whether the host may get attempts of this role of this project.
    pub fn allow(&self, project: &ProjectName, role: &RoleName) -> bool {
        (self.projects.is_empty() || self.projects.contains(project))
            && (self.roles.is_empty() || self.roles.contains(role))
    }

    /// Whether the host may claim this label.
    pub fn allow_label(&self, key: &str, value: &str) -> bool {
        self.labels.get(key).is_some_and(|allowed| allowed == value)
    }

    /// Whether the host may claim this secret.
    pub fn allow_secret(&self, name: &str) -> bool {
        self.secrets.iter().any(|allowed| allowed == name)
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::HostName;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn people_overrule_a_first_report_part_by_part() {
        let report = HostReport {
            secrets: names(&["B", "A", "A"]),
            labels: [("gpu".to_owned(), "a100".to_owned())].into(),
            ..HostReport::new(HostName::new("h").unwrap(), u32::MAX)
        };
        let first = of_report(&report, 1024);
        assert_eq!((first.max_slots, &first.secrets), (1024, &names(&["A", "B"])));
        let said = PinChange { max_slots: Some(2000), secrets: Some(Vec::new()), ..PinChange::default() };
        let pins = said.over(first.clone());
        assert_eq!(pins, Pins { max_slots: 2000, secrets: Vec::new(), ..first });
        assert!(pins.allow_label("gpu", "a100") && !pins.allow_label("gpu", "h100") && !pins.allow_secret("A"));
    }

    #[test]
    fn the_largest_report_makes_pins_that_fit_a_record() {
        let many = |letter: char| (0..2000).map(|n| format!("{letter}{n:0>100}")).collect::<Vec<_>>();
        let report = HostReport {
            secrets: many('S'),
            labels: many('l').into_iter().map(|name| (name.clone(), name)).collect(),
            ..HostReport::new(HostName::new("h").unwrap(), 1)
        };
        let pins = of_report(&report, 1024);
        assert!((PINS_BYTES / 2..=PINS_BYTES).contains(&bytes(&pins)), "{}", bytes(&pins));
        let all = PinChange { secrets: Some(many('S')), ..PinChange::default() };
        assert!(!all.fits() && PinChange { secrets: Some(names(&["A"])), ..PinChange::default() }.fits());
    }
}
