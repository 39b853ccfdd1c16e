//! Arranges attempts as bars in rows: agents by host, overlapping attempts below each other, and several very short
//! attempts as one bar.
//! Deliberately absent: SVG.

use std::collections::BTreeMap;

use super::{Options, Span, State};

/// The width of the time axis, in pixels.
pub(super) const WIDTH: f64 = 1000.0;
/// The minimum width of a bar, so that it can be clicked.
const LEAST: f64 = 4.0;
/// The maximum number of lanes for overlapping attempts of one agent. Attempts overlap only after a host was replaced,
/// or through a bug.
const LANES: usize = 3;

/// The row of an agent on a host.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub host: &'a str,
    pub project: &'a str,
    pub agent: &'a str,
    /// The number of lanes, at least one.
    pub lanes: usize,
    pub bars: Vec<Bar<'a>>,
    pub attempts: usize,
}

/// A bar for one attempt or several.
#[derive(Debug)]
pub(super) struct Bar<'a> {
    pub lane: usize,
    pub left: f64,
    pub right: f64,
    /// The worst state of its attempts.
    pub state: State,
    /// The first attempt.
    pub span: &'a Span,
    pub count: usize,
    /// The end of the last attempt.
    pub ended: Option<u64>,
}

/// Makes the rows of all attempts in the visible period.
pub(super) fn rows<'a>(spans: &'a [Span], options: &Options<'_>) -> Vec<Row<'a>> {
    let mut by_agent: BTreeMap<_, Vec<&Span>> = BTreeMap::new();
    let end = |span: &Span| span.ended.unwrap_or(options.now).max(span.started);
    for span in spans.iter().filter(|span| span.started <= options.until && end(span) >= options.from) {
        let (agent, number) = natural(&span.agent);
        by_agent.entry((&span.host, &span.project, agent, number, &span.agent)).or_default().push(span);
    }
    let row = |((host, project, _, _, agent), mut of): ((&'a String, &'a String, _, _, &'a String), Vec<&'a Span>)| {
        of.sort_by_key(|span| (span.started, span.ended, &span.task, span.number));
        let attempts = of.len();
        let (bars, lanes) = bars(of, options);
        Row { host, project, agent, lanes, bars, attempts }
    };
    by_agent.into_iter().map(row).collect()
}

/// Splits `dev10` into `dev` and 10, so that `dev10` sorts after `dev9`.
fn natural(name: &str) -> (&str, u64) {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (word, name[word.len()..].parse().unwrap_or(0))
}

/// The distance from the left end, in pixels. Times outside the period are moved to its ends.
pub(super) fn place(at: u64, options: &Options<'_>) -> f64 {
    let at = at.clamp(options.from, options.until) - options.from;
    at as f64 / (options.until - options.from).max(1) as f64 * WIDTH
}

fn bars<'a>(spans: Vec<&'a Span>, options: &Options<'_>) -> (Vec<Bar<'a>>, usize) {
    let mut bars: Vec<Bar<'a>> = Vec::new();
    // For each lane: the time when it is free, and its last bar.
    let mut lanes: Vec<(u64, usize)> = Vec::new();
    for span in spans {
        let ended = span.ended.unwrap_or(options.now).max(span.started);
        let free = lanes.iter().position(|&(until, _)| until <= span.started);
        let lane = free.unwrap_or(if lanes.len() < LANES { lanes.len() } else { LANES - 1 });
        let left = place(span.started, options).min(WIDTH - LEAST);
        let right = place(ended, options).max(left + LEAST);
        let last = lanes.get(lane).map(|&(_, bar)| bar);
        let short = |left: f64, right: f64| right - left <= LEAST;
        match last.map(|at| &mut bars[at]) {
            // Separate bars would be indistinguishable.
            Some(bar) if left < bar.right && short(left, right) && (bar.count > 1 || short(bar.left, bar.right)) => {
                bar.count += 1;
                bar.right = bar.right.max(right);
                bar.state = bar.state.max(span.state);
                bar.ended = span.ended;
            }
            _ => {
                bars.push(Bar { lane, left, right, state: span.state, span, count: 1, ended: span.ended });
            }
        }
        let entry = (ended, if last.is_some_and(|at| bars[at].count > 1) { last.unwrap_or(0) } else { bars.len() - 1 });
        match lanes.get_mut(lane) {
            Some(known) => *known = (known.0.max(ended), entry.1),
            None => lanes.push(entry),
        }
    }
    let count = lanes.len().max(1);
    (bars, count)
}
