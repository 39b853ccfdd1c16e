//! Parses an agent's output with the rules of its profile: usage, session, failure, and whether its provider refuses
//! more requests. Pure: takes the end of the output, returns numbers. The output is untrusted: every number is a claim,
//! and everything is bounded. Deliberately absent: the consequences (the engine decides).

use devstack_dag::{
    attempt::{Outcome, Usage},
    ids::Timestamp,
    profile::{Limit, Measure, Price, Profile, Reading, When},
};
use devstack_shim::tool::{at, is_one_of, scalar};
use regex::{Captures, Regex};
use serde_json::Value;

/// How much of the end of an output is read, in bytes: a result line with a long answer, and the steps before it.
pub(super) const END_MAX: u64 = 1 << 20;
/// How much of the end is searched for a reason if an agent failed without a result line, in bytes.
const LAST_WORDS: usize = 4 << 10;
/// The longest session name, in bytes.
const SESSION_MAX: usize = 128;
/// A larger claim is nonsense: tokens, turns and millionths of a dollar.
const CLAIM_MAX: f64 = 1e15;

/// The content of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The usage.
    pub(super) usage: Option<Usage>,
    /// Whether its result is a failure, whatever the exit code.
    pub(super) failed: bool,
    /// Whether its provider refuses more requests for now, with the reset time if it is known.
    pub(super) limited: Option<Option<Timestamp>>,
}

impl Said {
    /// The attempt's outcome, combined with the output.
    pub(super) fn outcome(&self, ended: Outcome) -> Outcome {
        let ended = match ended {
            Outcome::Exited(0) if self.failed => Outcome::Exited(1),
            other => other,
        };
        match (self.limited, &ended) {
            (_, Outcome::Exited(0)) => ended,
            // An agent that waits for its provider until it is ended was refused, too.
            (Some(reset), Outcome::Exited(_) | Outcome::TimedOut | Outcome::Stalled) => Outcome::RateLimited { reset },
            _ => ended,
        }
    }
}

/// Parses the end of an output. `now`: the base of relative times.
pub(super) fn read(profile: &Profile, model: Option<&str>, end: &[u8], now: Timestamp) -> Said {
    let reading = &profile.reading;
    let text = String::from_utf8_lossy(end);
    let lines: Vec<(&str, Value)> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| Some((line, serde_json::from_str(line).ok()?)))
        .collect();
    let results: Vec<&(&str, Value)> = lines.iter().filter(|(_, line)| holds(&reading.result, line)).collect();
    let mut usage = match &reading.text {
        Some(pattern) => from_text(pattern, &text),
        None => from_lines(reading, results.iter().map(|(_, line)| line)),
    };
    if reading.input_includes_cached {
        let cached = usage.cache_read_tokens.unwrap_or(0);
        usage.input_tokens = usage.input_tokens.map(|input| input.saturating_sub(cached));
    }
    if let Some((when, path)) = &reading.session {
        let named = lines.iter().rev().filter(|(_, line)| holds(when, line));
        usage.session = named.filter_map(|(_, line)| session(at(line, path)?)).next();
    }
    if usage.cost_micros.is_none() {
        let price = profile.prices.iter().find(|price| Some(&*price.model) == model);
        usage.cost_micros = price.and_then(|price| cost(price, &usage));
    }
    let failed = results.last().is_some_and(|(_, line)| holds(&reading.error, line));
    let words = match results.last() {
        Some((line, _)) => line,
        None => &text[text.ceil_char_boundary(text.len().saturating_sub(LAST_WORDS))..],
    };
    let limits: Vec<Option<Timestamp>> =
        reading.limits.iter().filter_map(|limit| limited(limit, &lines, words, now)).collect();
    Said {
        usage: (usage != Usage::default()).then_some(usage),
        failed,
        // A limit with a time takes precedence.
        limited: limits.iter().find(|reset| reset.is_some()).or(limits.first()).copied(),
    }
}

fn holds(when: &When, line: &Value) -> bool {
    !when.0.is_empty() && when.0.iter().all(|(path, values)| is_one_of(line, path, values))
}

/// The last result's numbers, or the sums over all results.
fn from_lines<'a>(reading: &Reading, results: impl DoubleEndedIterator<Item = &'a Value>) -> Usage {
    let mut usage = Usage::default();
    let results: Vec<&Value> = if reading.add { results.collect() } else { results.rev().take(1).collect() };
    for (measure, path) in &reading.fields {
        let numbers = results.iter().filter_map(|line| number(&scalar(at(line, path)?)?));
        set(&mut usage, *measure, numbers.reduce(|sum, more| sum + more));
    }
    usage
}

/// The last match's numbers.
fn from_text(pattern: &str, text: &str) -> Usage {
    let mut usage = Usage::default();
    // The pattern was checked when the profile was read.
    let Ok(pattern) = Regex::new(pattern) else { return usage };
    let Some(found) = pattern.captures_iter(text).last() else { return usage };
    for (name, measure) in [
        ("input", Measure::Input),
        ("output", Measure::Output),
        ("cache_read", Measure::CacheRead),
        ("cache_write", Measure::CacheWrite),
        ("cost", Measure::Cost),
        ("turns", Measure::Turns),
    ] {
        set(&mut usage, measure, found.name(name).and_then(|found| number(found.as_str())));
    }
    usage
}

fn set(usage: &mut Usage, measure: Measure, number: Option<f64>) {
    // Bounded, so that it fits.
    let number = number.filter(|number| *number <= CLAIM_MAX / 1e6);
    let whole = number.map(|number| number as u64);
    match measure {
        Measure::Input => usage.input_tokens = whole,
        Measure::Output => usage.output_tokens = whole,
        Measure::CacheRead => usage.cache_read_tokens = whole,
        Measure::CacheWrite => usage.cache_write_tokens = whole,
        Measure::Cost => usage.cost_micros = number.map(|dollars| (dollars * 1e6).round() as u64),
        Measure::Turns => usage.turns = whole.and_then(|turns| u32::try_from(turns).ok()),
    }
}

/// A number that is not negative, also with a suffix, such as `2.3k` and `1.2M`.
fn number(text: &str) -> Option<f64> {
    let (digits, times) = match text.trim_end_matches(['k', 'K', 'M']) {
        all if all.len() == text.len() => (all, 1.0),
        digits if text.ends_with('M') => (digits, 1e6),
        digits => (digits, 1e3),
    };
    let number = digits.replace(',', "").parse::<f64>().ok()? * times;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn session(value: &Value) -> Option<Box<str>> {
    let text = scalar(value)?;
    let plain = !text.is_empty() && text.len() <= SESSION_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| text.into())
}

/// The cost of known tokens; unknown unless both directions are known.
fn cost(price: &Price, usage: &Usage) -> Option<u64> {
    let parts = [
        (usage.input_tokens?, price.input),
        (usage.output_tokens?, price.output),
        (usage.cache_read_tokens.unwrap_or(0), price.cache_read),
        (usage.cache_write_tokens.unwrap_or(0), price.cache_write),
    ];
    let sum: u128 = parts.iter().map(|&(tokens, price)| u128::from(tokens) * u128::from(price)).sum();
    // Rounded up: rounding must not allow exceeding a limit.
    u64::try_from(sum.div_ceil(1_000_000)).ok()
}

/// Whether this rule reports that the provider refuses more requests.
fn limited(limit: &Limit, lines: &[(&str, Value)], words: &str, now: Timestamp) -> Option<Option<Timestamp>> {
    match limit {
        Limit::Line { when, reset } => {
            let (_, line) = lines.iter().rev().find(|(_, line)| holds(when, line))?;
            Some(reset.as_ref().and_then(|path| moment(&scalar(at(line, path)?)?, now)))
        }
        Limit::Text(pattern) => {
            let pattern = Regex::new(pattern).ok()?;
            let found = pattern.captures_iter(words).last()?;
            Some(named_moment(&found, now))
        }
    }
}

/// A time: seconds or milliseconds since 1970, seconds from now, or RFC 3339.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let Some(number) = number(text).filter(|number| *number <= CLAIM_MAX) else {
        let at: jiff::Timestamp = text.parse().ok()?;
        return u64::try_from(at.as_millisecond()).ok().map(Timestamp);
    };
    // The year 2001 is 1e9 in seconds, a hundred years are 3e9 seconds, and 1973 is 1e11 in milliseconds.
    Some(Timestamp(match number {
        1e11.. => number as u64,
        1e9.. => (number * 1000.0) as u64,
        _ => now.0.saturating_add((number * 1000.0).ceil() as u64),
    }))
}

fn named_moment(found: &Captures<'_>, now: Timestamp) -> Option<Timestamp> {
    if let Some(epoch) = found.name("epoch") {
        return moment(epoch.as_str(), now);
    }
    if found.name("half").is_some() {
        return time_of_day(found, now);
    }
    let part = |name: &str, seconds: f64| Some(number(found.name(name)?.as_str().trim_end_matches('.'))? * seconds);
    let parts = [part("days", 86_400.0), part("hours", 3600.0), part("minutes", 60.0), part("seconds", 1.0)];
    let seconds = parts.into_iter().flatten().reduce(|sum, more| sum + more)?;
    Some(Timestamp(now.0.saturating_add((seconds.min(CLAIM_MAX / 1000.0) * 1000.0).ceil() as u64)))
}

/// A time of day, UTC, on the given date or the next possible one.
fn time_of_day(found: &Captures<'_>, now: Timestamp) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let part = |name: &str| found.name(name)?.as_str().parse::<i16>().ok();
    let afternoon = found.name("half")?.as_str().eq_ignore_ascii_case("pm");
    let hour = i8::try_from(part("hour")? % 12 + if afternoon { 12 } else { 0 }).ok()?;
    let minute = i8::try_from(part("minute")?).ok()?;
    let now = jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let date = match found.name("month") {
        None => today,
        Some(month) => {
            let month = MONTHS.iter().position(|name| month.as_str().eq_ignore_ascii_case(name))?;
            jiff::civil::Date::new(part("year")?, i8::try_from(month).ok()? + 1, i8::try_from(part("day")?).ok()?)
                .ok()?
        }
    };
    let at = |date: jiff::civil::Date| {
        let time = jiff::civil::Time::new(hour, minute, 0, 0).ok()?;
        Some(date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let first = at(date)?;
    let at = if first < now && found.name("month").is_none() { at(date.tomorrow().ok()?)? } else { first };
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests;
