//! The limits of a host: pins that users set, or that its first report gave. Claims beyond them are ignored.
//! Deliberately absent: how pins are made (`pins`) and who may set them (the gateway).

use super::{Draft, Engine, state::Host};
use crate::{
    answer::Answer,
    command::HostReport,
    fact::FactKind,
    ids::{AttemptId, HostName, ProjectName, RoleName},
    pins::{self, PINS_BYTES, PinChange},
    record::Pins,
    rejection::Rejection,
};

impl Host {
    /// The slots that count.
    pub(crate) fn slots(&self) -> u32 {
        self.pins.as_ref().map_or(self.claimed, |pins| self.claimed.min(pins.max_slots))
    }

    /// Whether it may get attempts of this role of this project. The host may accept fewer.
    pub(crate) fn may_take(&self, project: &ProjectName, role: &RoleName) -> bool {
        self.pins.as_ref().is_none_or(|pins| pins.allow(project, role))
    }

    /// Whether it has this secret, and may claim it.
    pub(crate) fn knows(&self, secret: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.knows(secret))
            && self.pins.as_ref().is_none_or(|pins| pins.allow_secret(secret))
    }

    /// Whether it has this label, and may claim it. A host that has not reported has no labels.
    pub(crate) fn has_label(&self, key: &str, value: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.has_label(key, value))
            && self.pins.as_ref().is_none_or(|pins| pins.allow_label(key, value))
    }

    /// The claims that are not granted, as text.
    fn cut(&self) -> Vec<String> {
        let (Some(pins), offer) = (&self.pins, self.offer.as_ref()) else { return Vec::new() };
        let mut cut = Vec::new();
        if self.claimed > pins.max_slots {
            cut.push(format!("{} slots of {}", self.claimed - pins.max_slots, self.claimed));
        }
        let labels = offer.into_iter().flat_map(|offer| &offer.labels);
        for (key, value) in labels.filter(|(key, value)| !pins.allow_label(key, value)) {
            cut.push(format!("label {key} = \"{value}\""));
        }
        let roles = offer.into_iter().flat_map(|offer| &offer.roles);
        for role in roles.filter(|role| !pins.roles.is_empty() && !pins.roles.contains(role)) {
            cut.push(format!("role {role}"));
        }
        let secrets = offer.into_iter().flat_map(|offer| &offer.secrets);
        for secret in secrets.filter(|secret| !pins.allow_secret(secret)) {
            cut.push(format!("secret {secret}"));
        }
        cut
    }
}

impl Engine {
    /// A report of a machine that joined. Its first report that offers slots sets the pins that nobody set.
    pub(super) fn report_member(&self, draft: &mut Draft, report: HostReport, joined: PinChange) -> Answer {
        let host = report.host.clone();
        let is_pinned = self.hosts.get(&host).is_some_and(|known| known.pins.is_some());
        let pins = (!is_pinned && report.slots > 0).then(|| pins::at_first(&report, self.config.member_slots, joined));
        let answer = self.report_host(draft, report);
        let Some(pins) = pins else { return answer };
        draft.fact(FactKind::HostPinned { host, pins: Some(Box::new(pins)) });
        Answer::Done
    }

    /// A user sets the pins of a host.
    pub(super) fn set_host(&self, draft: &mut Draft, name: HostName, change: PinChange) -> Result<Answer, Rejection> {
        let host = self.find_host(&name)?;
        let present = match (&host.pins, &host.offer) {
            (Some(pins), _) => (**pins).clone(),
            // The Taskmaster's own host: only its configuration limits it, until a user sets pins here.
            (None, Some(offer)) => {
                let (labels, roles, secrets) = (offer.labels.clone(), offer.roles.clone(), offer.secrets.clone());
                let report = HostReport { labels, roles, secrets, ..HostReport::new(name.clone(), host.claimed) };
                pins::of_report(&report, u32::MAX)
            }
            (None, None) => return Err(Rejection::HostUnheard(name)),
        };
        let pins = change.over(present);
        if pins::bytes(&pins) > PINS_BYTES {
            return Err(Rejection::PinsTooLarge { host: name, bytes: pins::bytes(&pins), limit: PINS_BYTES });
        }
        if host.pins.as_deref() == Some(&pins) {
            return Ok(Answer::Unchanged);
        }
        draft.fact(FactKind::HostPinned { host: name, pins: Some(Box::new(pins)) });
        Ok(Answer::Done)
    }

    /// The pins of a host; `None`: none were set, or there is no such host.
    pub fn pins(&self, host: &HostName) -> Option<&Pins> {
        self.hosts.get(host)?.pins.as_deref()
    }

    /// The slots of a host that count: its claim within its pins.
    pub fn slots_on(&self, host: &HostName) -> u32 {
        self.hosts.get(host).map_or(0, Host::slots)
    }

    /// The claims of a host that are not granted, as text.
    pub fn cut(&self, host: &HostName) -> Vec<String> {
        self.hosts.get(host).map(Host::cut).unwrap_or_default()
    }

    /// Attempts whose end a host must still report: until it reports how they ended, or that it no longer has them, it
    /// gets no others.
    pub fn owed(&self, host: &HostName) -> impl Iterator<Item = &AttemptId> + '_ {
        self.hosts.get(host).into_iter().flat_map(|host| &host.owes)
    }
}
