//! The metrics that this process counts where they happen, and the text that Prometheus reads. Counters and histograms
//! are atomics in one registry of the process, as the measured actors are unique in the process too. Numbers that
//! describe state (how many tasks, which hosts) are added to a [`Page`] at the time of a scrape.
//!
//! No label has values that users or agents choose freely: projects, tasks, roles and providers are in no label. Hosts
//! and their shards are, because an administrator names them (decision 0020). Deliberately absent: the numbers of the
//! state (the gateway reads them), and serving the page.

mod page;
mod process;

use std::{sync::LazyLock, time::Duration};

pub use page::{Family, Page};
use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector,
};

/// Buckets for a commit: from the sync of a fast disk to a disk in trouble.
const COMMIT: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Buckets from ready to started: from immediately, when a slot is free, to hours in a queue.
const DISPATCH: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0];
/// Buckets for an attempt: from a script to an agent that works for a whole day.
const ATTEMPT: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 28800.0];
/// Buckets from approved to landed: from two git commands to checks that run again on a newer head.
const MERGE: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0, 7200.0];
/// Buckets for a request: from a read from memory to the maximum time of a request.
const REQUEST: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The methods by which requests are counted; all other methods count as one.
const METHODS: [&str; 4] = ["GET", "POST", "HEAD", "OTHER"];

/// The directions of tokens.
const DIRECTIONS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];

/// The counters of this process.
pub fn meters() -> &'static Meters {
    static METERS: LazyLock<Meters> = LazyLock::new(Meters::new);
    &METERS
}

/// All counters that are incremented where things happen. Each call costs a few atomic additions.
pub struct Meters {
    registry: Registry,
    commits: Histogram,
    facts: IntCounter,
    dispatches: Histogram,
    started: IntCounterVec,
    attempts: HistogramVec,
    tokens: IntCounterVec,
    cost: Counter,
    merges: Histogram,
    lost_merges: IntCounter,
    conflicts: IntCounter,
    requests: IntCounterVec,
    answers: HistogramVec,
    notices: IntCounterVec,
    spans: IntCounterVec,
}

impl Meters {
    #[expect(clippy::expect_used, reason = "constant names, each once: they are valid and new in a new registry")]
    fn new() -> Self {
        let registry = Registry::new();
        let histogram =
            |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let single = |opts: HistogramOpts| kept(&registry, Histogram::with_opts(opts));
        let vector = |opts: HistogramOpts, labels: &[&str]| kept(&registry, HistogramVec::new(opts, labels));
        let count = |name: &str, help: &str| kept(&registry, IntCounter::new(name, help));
        let counts = |name: &str, help: &str, labels: &[&str]| {
            kept(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        fn kept<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
            let made = made.expect("a valid name");
            registry.register(Box::new(made.clone())).expect("a new name");
            made
        }
        let meters = Self {
            commits: single(histogram(
                "devstack_commit_seconds",
                "Time to make a group of decisions durable: write, flush and sync.",
                COMMIT,
            )),
            facts: count("devstack_facts_total", "Facts made durable."),
            dispatches: single(histogram(
                "devstack_dispatch_seconds",
                "Time from ready (nothing but a slot is missing) to the start of the attempt.",
                DISPATCH,
            )),
            started: counts("devstack_attempts_started_total", "Attempts ordered, by stage.", &["stage"]),
            attempts: vector(
                histogram("devstack_attempt_seconds", "Time from the order of an attempt to its report.", ATTEMPT),
                &["stage", "outcome"],
            ),
            tokens: counts(
                "devstack_tokens_total",
                "Tokens claimed by finished attempts, by direction.",
                &["direction"],
            ),
            cost: kept(
                &registry,
                Counter::new("devstack_cost_dollars_total", "Cost claimed by finished attempts, in US dollars."),
            ),
            merges: single(histogram("devstack_merge_seconds", "Time from APPROVED to the landed merge.", MERGE)),
            lost_merges: count("devstack_merges_lost_total", "Merges prepared again because the head had moved."),
            conflicts: count(
                "devstack_conflicts_total",
                "Conflicts of a task or of the source with the integration branch.",
            ),
            requests: counts(
                "devstack_api_requests_total",
                "Requests to the API, by method, route and class of status.",
                &["method", "route", "status"],
            ),
            answers: vector(
                histogram(
                    "devstack_api_request_seconds",
                    "Time from a request to the head of its response, by route.",
                    REQUEST,
                ),
                &["route"],
            ),
            notices: counts("devstack_webhook_notices_total", "Webhook notices, by outcome.", &["outcome"]),
            spans: counts("devstack_trace_spans_total", "Trace spans, by outcome.", &["outcome"]),
            registry,
        };
        // Counters start at 0, so that the first event is visible as an increase.
        ["work", "check"].iter().for_each(|stage| drop(meters.started.with_label_values(&[stage])));
        DIRECTIONS.iter().for_each(|direction| drop(meters.tokens.with_label_values(&[direction])));
        ["delivered", "failed"].iter().for_each(|outcome| drop(meters.notices.with_label_values(&[outcome])));
        ["exported", "dropped"].iter().for_each(|outcome| drop(meters.spans.with_label_values(&[outcome])));
        meters
    }

    /// A group of decisions with this many facts became durable.
    pub fn committed(&self, took: Duration, facts: u64) {
        self.commits.observe(took.as_secs_f64());
        self.facts.inc_by(facts);
    }

    /// An attempt was ordered, of a task that was ready for this long; `None` if the time is unknown.
    pub fn dispatched(&self, stage: &str, waited: Option<Duration>) {
        self.started.with_label_values(&[stage]).inc();
        if let Some(waited) = waited {
            self.dispatches.observe(waited.as_secs_f64());
        }
    }

    /// An attempt ended; stage and outcome are stable words.
    pub fn attempt_ended(&self, stage: &str, outcome: &str, ran: Duration) {
        self.attempts.with_label_values(&[stage, outcome]).observe(ran.as_secs_f64());
    }

    /// A finished attempt claims this token usage: input, output, cache reads and cache writes.
    pub fn used(&self, tokens: [Option<u64>; 4]) {
        for (direction, tokens) in DIRECTIONS.iter().zip(tokens) {
            self.tokens.with_label_values(&[direction]).inc_by(tokens.unwrap_or(0));
        }
    }

    /// A finished attempt claims this cost. A value that is not an amount is not counted.
    pub fn cost(&self, dollars: f64) {
        if dollars.is_finite() && dollars >= 0.0 {
            self.cost.inc_by(dollars);
        }
    }

    /// A merge landed, this long after its approval.
    pub fn merged(&self, took: Duration) {
        self.merges.observe(took.as_secs_f64());
    }

    /// A merge came too late: the head had moved.
    pub fn merge_lost(&self) {
        self.lost_merges.inc();
    }

    /// A conflict occurred.
    pub fn conflicted(&self) {
        self.conflicts.inc();
    }

    /// The API answered a request. `route` is the template of a route, never a path.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[method, route, class]).inc();
        self.answers.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A webhook notice was delivered, or given up.
    pub fn notified(&self, delivered: bool) {
        self.notices.with_label_values(&[if delivered { "delivered" } else { "failed" }]).inc();
    }

    /// Spans were exported, or dropped because the collector did not accept them.
    pub fn traced(&self, exported: bool, spans: u64) {
        self.spans.with_label_values(&[if exported { "exported" } else { "dropped" }]).inc_by(spans);
    }
}

#[cfg(test)]
mod tests;
