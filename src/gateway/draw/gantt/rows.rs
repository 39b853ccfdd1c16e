//! Attempts as bars in rows: agents by host, overlapping attempts below each other, and those too short to be told apart as one.
//! Deliberately absent: SVG.

use std::collections::BTreeMap;

use super::{Options, Span, State};

/// How wide the time is, in pixels.
pub(super) const WIDTH: f64 = 1000.0;
/// The least width of a bar: below that nobody hits it.
const LEAST: f64 = 4.0;
/// Overlapping attempts of an agent are a defect, or a host that was replaced: no more rows for them than this.
const LANES: usize = 3;

/// An agent on a host.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub host: &'a str,
    pub project: &'a str,
    pub agent: &'a str,
    /// At least one.
    pub lanes: usize,
    pub bars: Vec<Bar<'a>>,
    pub attempts: usize,
}

/// One attempt, or several.
#[derive(Debug)]
pub(super) struct Bar<'a> {
    pub lane: usize,
    pub left: f64,
    pub right: f64,
    /// The worst of them.
    pub state: State,
    /// The first.
    pub span: &'a Span,
    pub count: usize,
    /// When the last of them ended.
    pub ended: Option<u64>,
}

/// The rows of what touches the time that is shown.
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

/// `dev10` as `dev` and 10, so that it stands behind `dev9`.
fn natural(name: &str) -> (&str, u64) {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (word, name[word.len()..].parse().unwrap_or(0))
}

/// Pixels from the left end. Times outside are at the ends.
pub(super) fn place(at: u64, options: &Options<'_>) -> f64 {
    let at = at.clamp(options.from, options.until) - options.from;
    at as f64 / (options.until - options.from).max(1) as f64 * WIDTH
}

fn bars<'a>(spans: Vec<&'a Span>, options: &Options<'_>) -> (Vec<Bar<'a>>, usize) {
    let mut bars: Vec<Bar<'a>> = Vec::new();
    // For each lane: when it is free, and its last bar.
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
            // Together they would be a blur.
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
