//! Writes rows of bars as SVG text: names at the left, times at the top, a line for the current time. A class and words
//! show state and stage.
//! Deliberately absent: colours and fonts, which the style sheet gives to classes.

use std::fmt::Write;

use devstack_dag::attempt::Stage;

use super::{
    Gantt, Options, Span, State,
    rows::{Bar, Row, WIDTH, place, rows},
    ticks::ticks,
};
use crate::text::{coordinate, escape, fit};

/// The width of the names, in pixels.
const NAMES: f64 = 150.0;
/// The height of the time axis, and the margin at the right end, in pixels.
const ABOVE: f64 = 30.0;
const BESIDE: f64 = 14.0;
/// The height of a lane and of its bar, in pixels.
const LANE: f64 = 26.0;
const BAR: f64 = 18.0;
/// The minimum height of a row: two lines of names.
const ROW: f64 = 38.0;
/// The maximum number of marks on the axis.
const TICKS: u64 = 9;

/// Draws attempts.
pub fn gantt(spans: &[Span], options: &Options<'_>) -> Gantt {
    let mut all = rows(spans, options);
    let left_out = all.len().saturating_sub(options.rows);
    all.truncate(options.rows);
    let height = ABOVE + all.iter().map(height).sum::<f64>().max(ROW);
    let attempts = all.iter().map(|row| row.attempts).sum();
    let bars: usize = all.iter().map(|row| row.bars.len()).sum();
    let mut out = String::with_capacity(2048 + 300 * (bars + all.len()));
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        r#"<svg class="gantt" xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{attempts} attempts by {} agents" width="{w}" height="{height}" viewBox="{NAMES} 0 {w} {height}">"#,
        all.len(),
        w = WIDTH + BESIDE,
    );
    out.push_str(PATTERN);
    axis(&mut out, height, options);
    let mut top = ABOVE;
    for row in &all {
        let _ = write!(out, r#"<path class="rule" d="M{NAMES} {top}H{}"/>"#, NAMES + WIDTH);
        row.bars.iter().for_each(|bar| draw(&mut out, bar, top + (ROW - LANE) / 2.0, options));
        top += self::height(row);
    }
    if (options.from..=options.until).contains(&options.now) {
        let x = NAMES + place(options.now, options);
        let _ = write!(out, r#"<path class="now" d="M"#);
        coordinate(&mut out, x);
        let _ = write!(out, r#" {}V{height}"><title>now</title></path>"#, ABOVE - 8.0);
    }
    out.push_str("</svg>");
    // The names are an element of their own, so that they stay in place while the bars scroll. Bars name their agents
    // as well.
    let _ = write!(
        out,
        r#"<svg class="gantt names" xmlns="http://www.w3.org/2000/svg" aria-hidden="true" width="{NAMES}" height="{height}" viewBox="0 0 {NAMES} {height}">"#
    );
    let mut top = ABOVE;
    for row in &all {
        names(&mut out, row, top);
        top += self::height(row);
    }
    out.push_str("</svg>");
    Gantt { svg: out, rows: all.len(), left_out, attempts }
}

/// The pattern of checks.
const PATTERN: &str = r#"<defs><pattern id="hatched" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0v6"/></pattern></defs>"#;

fn height(row: &Row<'_>) -> f64 {
    ROW + (row.lanes - 1) as f64 * LANE
}

fn axis(out: &mut String, height: f64, options: &Options<'_>) {
    out.push_str(r#"<g class="axis">"#);
    for tick in ticks(options.from, options.until, TICKS) {
        let x = NAMES + place(tick.at, options);
        out.push_str(r#"<path d="M"#);
        coordinate(out, x);
        let _ = write!(out, r#" {}V{height}"/><text x=""#, ABOVE - 8.0);
        coordinate(out, x.clamp(NAMES + 16.0, NAMES + WIDTH - 10.0));
        out.push_str(r#"" y="14">"#);
        escape(out, &tick.label);
        out.push_str("</text>");
    }
    out.push_str("</g>");
}

fn names(out: &mut String, row: &Row<'_>, top: f64) {
    let _ = write!(out, r#"<path class="rule" d="M0 {top}H{NAMES}"/><text class="agent" x="0" y=""#);
    coordinate(out, top + 16.0);
    out.push_str(r#"">"#);
    escape(out, &fit(row.agent, NAMES - 12.0, 13.0));
    out.push_str(r#"</text><text class="of" x="0" y=""#);
    coordinate(out, top + 31.0);
    out.push_str(r#"">"#);
    escape(out, &fit(&format!("{} · {}", row.host, row.project), NAMES - 12.0, 11.5));
    out.push_str("</text>");
}

fn draw(out: &mut String, bar: &Bar<'_>, top: f64, options: &Options<'_>) {
    let element = if options.link.is_some() { "a" } else { "g" };
    let check = if bar.span.stage == Stage::Check { " check" } else { "" };
    let _ = write!(out, r#"<{element} class="bar {}{check}"#, bar.state.as_str());
    if let Some(link) = options.link {
        out.push_str(r#"" href=""#);
        escape(out, &link(bar.span));
    }
    out.push_str(r#""><title>"#);
    escape(out, &description(bar, options.now));
    out.push_str("</title>");
    let (x, y) = (NAMES + bar.left, top + bar.lane as f64 * LANE + (LANE - BAR) / 2.0);
    let mut area = |class: &str| {
        let _ = write!(out, r#"<rect{class} x=""#);
        coordinate(out, x);
        out.push_str(r#"" y=""#);
        coordinate(out, y);
        out.push_str(r#"" width=""#);
        coordinate(out, bar.right - bar.left);
        let _ = write!(out, r#"" height="{BAR}" rx="3"/>"#);
    };
    area("");
    if !check.is_empty() {
        area(r#" class="over""#);
    }
    if bar.state == State::Failed && bar.right - bar.left >= 14.0 {
        out.push_str(r#"<path class="cut" d="M"#);
        coordinate(out, bar.right + NAMES - 11.0);
        out.push(' ');
        coordinate(out, y + 6.0);
        out.push_str(r#"l6 6m0-6-6 6"/>"#);
    }
    let inside = fit(&label(bar), bar.right - bar.left - if bar.state == State::Failed { 20.0 } else { 9.0 }, 11.5);
    if inside.chars().count() > 2 {
        out.push_str(r#"<text x=""#);
        coordinate(out, x + 5.0);
        out.push_str(r#"" y=""#);
        coordinate(out, y + 13.0);
        out.push_str(r#"">"#);
        escape(out, &inside);
        out.push_str("</text>");
    }
    let _ = write!(out, "</{element}>");
}

fn label(bar: &Bar<'_>) -> String {
    match bar.count {
        1 => format!("{}/{}", bar.span.task, bar.span.number),
        count => format!("{count} attempts"),
    }
}

fn description(bar: &Bar<'_>, now: u64) -> String {
    let Span { project, task, number, agent, host, stage, outcome, started, .. } = bar.span;
    let ended = bar.ended.unwrap_or(now);
    let from = rfc3339(*started);
    if bar.count > 1 {
        let how = if bar.state == State::Done { "all done" } else { "not all done" };
        return format!(
            "{} attempts by {agent} on {host}, first {project}/{task}/{number}: {how}; {from} to {}",
            bar.count,
            rfc3339(ended)
        );
    }
    let what = if *stage == Stage::Check { "check" } else { "work" };
    let how = match (bar.state, outcome) {
        (State::Unknown, _) => "unknown: the host is silent".to_owned(),
        (_, Some(outcome)) => outcome.clone(),
        (_, None) => "running".to_owned(),
    };
    format!(
        "{project}/{task}/{number} ({what}) by {agent} on {host}: {how}, {}; since {from}",
        lasted(ended.saturating_sub(*started))
    )
}

/// A time in milliseconds since 1970. RFC 3339 ends with the year 9999: later times become its last moment.
fn rfc3339(ms: u64) -> jiff::Timestamp {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(jiff::Timestamp::MAX)
}

/// A duration in one or two units.
fn lasted(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
