//! One answer to a scrape: the counters, and the current state. Deliberately absent: the decision what to show.

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{meters, process};
use crate::cpu;

/// Current values, shown together with the counters.
#[derive(Default)]
pub struct Page(Vec<MetricFamily>);

/// The samples of one metric name.
pub struct Family<'a>(&'a mut MetricFamily);

impl Page {
    /// The metrics of every node: its version, its process, and the processor time of its parts.
    pub fn of_this_process() -> Self {
        let mut page = Self::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauge("devstack_build_info", "The running version; the value is 1.").add(&version, 1.0);
        for (name, help, cpu) in [
            ("devstack_taskmaster_cpu_seconds_total", "Processor time of the Taskmaster.", &cpu::TASKMASTER),
            ("devstack_journal_cpu_seconds_total", "Processor time of the journal's thread.", &cpu::JOURNAL),
        ] {
            page.counter(name, help).add(&[], cpu.spent().as_secs_f64());
        }
        process::describe(&mut page);
        page
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(MetricType::GAUGE, name, help)
    }

    /// Adds a number that only grows and is counted elsewhere; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(MetricType::COUNTER, name, help)
    }

    fn family(&mut self, kind: MetricType, name: &str, help: &str) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        let index = self.0.len();
        self.0.push(family);
        Family(&mut self.0[index])
    }

    /// Renders the text, sorted by name. A name without samples is left out.
    pub fn render(self) -> String {
        let mut families = meters().registry.gather();
        families.extend(self.0.into_iter().filter(|family| !family.get_metric().is_empty()));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        // This fails only for a family without a name or samples.
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

impl Family<'_> {
    /// Adds one sample. Label values are escaped, because another machine may have chosen them.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let pair = |&(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
        self
    }
}
