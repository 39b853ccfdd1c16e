//! What a host is held to: pins that people set, or that its first report gave. Claims beyond them count for nothing.
//! Deliberately absent: what the pins are made of (`pins`) and who may set them (the gateway).

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
    /// Its slots that count.
    pub(crate) fn slots(&self) -> u32 {
        self.pins.as_ref().map_or(self.claimed, |pins| self.claimed.min(pins.max_slots))
    }

    /// May it get attempts of this role of this project? It may take fewer.
    pub(crate) fn may_take(&self, project: &ProjectName, role: &RoleName) -> bool {
        self.pins.as_ref().is_none_or(|pins| pins.allow(project, role))
    }

    /// Does it know this secret, and may it?
    pub(crate) fn knows(&self, secret: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.knows(secret))
            && self.pins.as_ref().is_none_or(|pins| pins.allow_secret(secret))
    }

    /// Has it this label, and may it? A host that was not heard of has none.
    pub(crate) fn has_label(&self, key: &str, value: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.has_label(key, value))
            && self.pins.as_ref().is_none_or(|pins| pins.allow_label(key, value))
    }

    /// What it claims and does not get, in words.
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
    /// A report of a machine that joined. Its first one that offers anything pins what nobody has said of it.
    pub(super) fn report_member(&self, draft: &mut Draft, report: HostReport, joined: PinChange) -> Answer {
        let host = report.host.clone();
        let is_pinned = self.hosts.get(&host).is_some_and(|known| known.pins.is_some());
        let pins = (!is_pinned && report.slots > 0).then(|| pins::at_first(&report, self.config.member_slots, joined));
        let answer = self.report_host(draft, report);
        let Some(pins) = pins else { return answer };
        draft.fact(FactKind::HostPinned { host, pins: Some(Box::new(pins)) });
        Answer::Done
    }

    /// A person says what a host is held to.
    pub(super) fn set_host(&self, draft: &mut Draft, name: HostName, change: PinChange) -> Result<Answer, Rejection> {
        let host = self.find_host(&name)?;
        let present = match (&host.pins, &host.offer) {
            (Some(pins), _) => (**pins).clone(),
            // The Taskmaster's own host, which only its configuration limits, until a person says something here.
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

    /// What a host is held to; `None`: nothing was said, or there is no such host.
    pub fn pins(&self, host: &HostName) -> Option<&Pins> {
        self.hosts.get(host)?.pins.as_deref()
    }

    /// Slots of a host that count: what it claims, as far as it may.
    pub fn slots_on(&self, host: &HostName) -> u32 {
        self.hosts.get(host).map_or(0, Host::slots)
    }

    /// What a host claims and does not get, in words.
    pub fn cut(&self, host: &HostName) -> Vec<String> {
        self.hosts.get(host).map(Host::cut).unwrap_or_default()
    }

    /// Attempts whose end a host owes: until it says how they ended, or that it has them no more, it gets no others.
    pub fn owed(&self, host: &HostName) -> impl Iterator<Item = &AttemptId> + '_ {
        self.hosts.get(host).into_iter().flat_map(|host| &host.owes)
    }
}
