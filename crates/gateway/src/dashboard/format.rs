//! Formats numbers, times and statuses for pages. The output is safe as HTML, because it consists only of our own words
//! and numbers.
//! Deliberately absent: any text of others.

use std::fmt;

use askama::filters::HtmlSafe;

use devstack_api::dto::Time;

/// A time, as its age. The module updates it, and the title has the full time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    /// The time.
    pub(super) at: Time,
    /// The current time.
    pub(super) now: Time,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.at > self.now;
        let ms = if ahead { self.at.0 - self.now.0 } else { self.now.0 - self.at.0 };
        let at = self.at;
        write!(f, "<time datetime=\"{at}\" title=\"{at}\">")?;
        match ms {
            0..1000 => f.write_str("now")?,
            _ if ahead => write!(f, "in {}", short(ms))?,
            _ => write!(f, "{} ago", short(ms))?,
        }
        f.write_str("</time>")
    }
}

impl HtmlSafe for When {}

/// A duration, final or so far; the module updates a running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Took {
    /// The start.
    pub(super) from: Time,
    /// The end; `None`: still running.
    pub(super) until: Option<Time>,
    /// The current time.
    pub(super) now: Time,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from;
        let took = short(self.until.unwrap_or(self.now).0.saturating_sub(from.0));
        match self.until {
            Some(until) => write!(f, "<span title=\"{from} to {until}\">{took}</span>"),
            None => write!(f, "<time datetime=\"{from}\" data-since title=\"since {from}\">{took}</time>"),
        }
    }
}

impl HtmlSafe for Took {}

/// Milliseconds in the largest unit, rounded down: `12 s`, `3 min`, `2 h`, `5 d`.
pub(super) fn short(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A status as a shape, a word and a colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Badge(&'static str);

impl Badge {
    /// The name of one of the eight statuses, or empty.
    pub(super) fn of(status: &str) -> Self {
        let known = devstack_api::dto::parse_status(status).map(|status| status.as_str());
        Self(known.unwrap_or_default())
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, name) = (self.0, self.0.to_lowercase());
        write!(
            f,
            "<span class=\"st st-{name}\"><svg class=\"i\" aria-hidden=\"true\"><use href=\"#i-{name}\"/></svg>{word}</span>"
        )
    }
}

impl HtmlSafe for Badge {}

/// US dollars, to the cent; small amounts with more digits.
pub(super) fn dollars(usd: Option<f64>) -> String {
    match usd {
        None => "–".to_owned(),
        Some(usd) if usd > 0.0 && usd < 0.1 => format!("${usd:.4}"),
        Some(usd) => format!("${usd:.2}"),
    }
}

/// A whole number with thin spaces between thousands.
pub(super) fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_whole() {
        let when = |at| When { at: Time(at), now: Time(100_000_000) }.to_string();
        assert!(when(100_000_000).ends_with(">now</time>"));
        assert!(when(99_000_000).contains(">16 min ago<"), "{}", when(99_000_000));
        assert!(when(100_005_000).contains(">in 5 s<"));
        assert!(when(0).starts_with("<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01T00:00:00Z\">"));
        assert_eq!([999, 59_000, 3_600_000, 86_400_000].map(short), ["999 ms", "59 s", "1 h", "1 d"]);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(1_234_567_u64), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(7), "7");
        assert_eq!([None, Some(0.0), Some(0.0123), Some(12.345)].map(dollars), ["–", "$0.00", "$0.0123", "$12.35"]);
    }

    #[test]
    fn a_badge_says_only_what_we_know() {
        assert!(Badge::of("wip").to_string().ends_with("WIP</span>"));
        assert!(!Badge::of("<b>").to_string().contains("<b>"));
    }
}
