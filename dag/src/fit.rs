//! Cuts messages to the limits of their fields ([`crate::bounds`]): a sender sends less rather than nothing, and the
//! engine keeps no more of a message that did not cross a link.
//! Deliberately absent: refusing (decoding does).

use crate::{
    attempt::{Left, Outcome, Report, Usage},
    bounds::{
        HeldAttempts, HostImages, HostLabels, HostRoles, HostShards, LeftBehind, Limit, Measured, Reason, SecretNames,
        SessionName,
    },
    command::{Command, HostReport},
    ids::Text,
};

/// Bytes of everything that an attempt left besides its result: what the engine keeps (`Config::left_bytes`).
const LEFT_MAX: usize = 8 * 1024;

impl Command {
    pub(crate) fn fit(self) -> Self {
        match self {
            Self::ReportHost(report) => Self::ReportHost(report.fit()),
            Self::ReportMember { report, joined } => Self::ReportMember { report: report.fit(), joined },
            Self::FinishAttempt { host, report } => Self::FinishAttempt { host, report: report.fit() },
            Self::RetryTask { task, message } => {
                Self::RetryTask { task, message: message.map(|text| text.beginning()) }
            }
            Self::RequestChanges { task, message } => Self::RequestChanges { task, message: message.beginning() },
            other => other,
        }
    }
}

impl HostReport {
    /// Cut to the limits of a message.
    pub fn fit(mut self) -> Self {
        SecretNames::thin(&mut self.secrets);
        HeldAttempts::thin(&mut self.attempts);
        HostRoles::thin(&mut self.roles);
        HostImages::thin(&mut self.images);
        HostShards::thin(&mut self.shards);
        self.labels.retain(|key, value| key.len() <= HostLabels::BYTES && value.len() <= HostLabels::BYTES);
        while self.labels.len() > HostLabels::ITEMS {
            self.labels.pop_last();
        }
        if let Some(quarantine) = &mut self.quarantine {
            Reason::cut(&mut quarantine.why);
        }
        self
    }
}

impl Report {
    /// Cut to the limits of a message: an output keeps its end, everything else its beginning.
    pub fn fit(mut self) -> Self {
        if let Outcome::Infrastructure(why) | Outcome::Policy(why) = &mut self.outcome {
            Reason::cut(why);
        }
        if let Some(Usage { session: Some(session), .. }) = &mut self.usage {
            shorten(session, SessionName::BYTES);
        }
        if let Some(held) = &mut self.held {
            shorten(held, Reason::BYTES);
        }
        Self { tail: self.tail.end(), left: self.left.fit(), summary: self.summary.map(Text::beginning), ..self }
    }
}

impl Left {
    /// Keeps what fits and counts the rest.
    fn fit(mut self) -> Self {
        let all = self.skipped.len();
        self.skipped.retain(|one| one.longest() <= LeftBehind::BYTES);
        self.branches.retain(|one| one.longest() <= LeftBehind::BYTES);
        self.more = self.more.saturating_add(u32::try_from(all - self.skipped.len()).unwrap_or(u32::MAX));
        self.bounded(LEFT_MAX)
    }
}

impl Text {
    /// A text that may be inline: the beginning of a longer text.
    fn beginning(self) -> Self {
        match self {
            Self::Inline(mut text) => {
                shorten(&mut text, Self::INLINE_MAX);
                Self::Inline(text)
            }
            blob => blob,
        }
    }

    /// A text that may be inline: the end of a longer text.
    fn end(self) -> Self {
        match self {
            Self::Inline(text) if text.len() > Self::INLINE_MAX => {
                Self::Inline(text[text.ceil_char_boundary(text.len() - Self::INLINE_MAX)..].into())
            }
            fits => fits,
        }
    }
}

fn shorten(text: &mut Box<str>, max: usize) {
    if text.len() > max {
        *text = text[..text.floor_char_boundary(max)].into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Skipped;

    #[test]
    fn what_an_attempt_left_is_kept_up_to_a_size_and_the_rest_is_counted() {
        let skipped = |bytes: usize| Skipped { path: "p".repeat(bytes).into(), why: "w".into() };
        let left = Left { skipped: vec![skipped(LeftBehind::BYTES + 1), skipped(9)], more: 3, ..Left::default() };
        let kept = left.fit();
        assert_eq!((kept.skipped, kept.more), (vec![skipped(9)], 4));
        let many = Left { skipped: vec![skipped(500); 50], ..Left::default() }.fit();
        assert!(many.skipped.len() < 20 && many.skipped.len() + many.more as usize == 50);
    }
}
