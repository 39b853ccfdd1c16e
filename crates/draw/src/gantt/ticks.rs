//! Chooses the marks of a time axis: round times, and not too many.
//! Deliberately absent: time zones. All times are UTC, as in all answers of the API.

/// The possible steps, in milliseconds.
const STEPS: [u64; 17] = [
    1_000,
    2_000,
    5_000,
    10_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The time, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// `14:05`, `14:05:30`, or the date at the start of a day: `3 Mar`.
    pub label: String,
}

/// Chooses at most `most` marks between `from` and `until`.
pub fn ticks(from: u64, until: u64, most: u64) -> Vec<Tick> {
    let span = until.saturating_sub(from);
    let fits = |step: &&u64| span / **step < most.max(1);
    // Longer steps are a whole number of weeks.
    let week = STEPS[STEPS.len() - 1];
    let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| week * (span / week / most.max(1) + 1));
    let first = from.div_ceil(step);
    (first..=until / step).map(|n| Tick { at: n * step, label: label(n * step, step) }).collect()
}

fn label(at: u64, step: u64) -> String {
    let moment = i64::try_from(at).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let Some(moment) = moment else { return String::new() };
    let format = if at.is_multiple_of(86_400_000) {
        "%-d %b"
    } else if step < 60_000 {
        "%H:%M:%S"
    } else {
        "%H:%M"
    };
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_round_times() {
        let hour = ticks(1_767_225_600_000 - 1_234_567, 1_767_225_600_000 + 2_365_433, 8);
        let labels: Vec<&str> = hour.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["23:40", "23:50", "1 Jan", "00:10", "00:20", "00:30"]);
    }

    #[test]
    fn there_are_never_many() {
        for span in [0, 1, 999, 1_000, 86_400_000, 40_000_000_000, u64::MAX / 2] {
            assert!(ticks(1_000, 1_000 + span, 8).len() <= 9, "{span}");
        }
    }
}
