//! Tests of the counters and of the text format.

use std::time::{Duration, SystemTime};

use super::*;

fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
}

#[test]
fn what_happened_is_counted_in_its_bucket() {
    meters().attempt_ended("work", "stalled", Duration::from_secs(100));
    meters().dispatched("check", None);
    meters().cost(f64::NAN);
    meters().answered("BREW", "/v1/none-of-ours", 418, Duration::from_millis(3));
    let text = Page::default().render();
    let bucket = |le| {
        value(&text, &format!("devstack_attempt_seconds_bucket{{outcome=\"stalled\",stage=\"work\",le=\"{le}\"}}"))
    };
    assert_eq!((bucket("60"), bucket("120")), (0.0, 1.0));
    assert!(value(&text, "devstack_attempts_started_total{stage=\"check\"}") >= 1.0);
    assert!(value(&text, "devstack_cost_dollars_total").is_finite());
    let of_ours = "{method=\"OTHER\",route=\"/v1/none-of-ours\",status=\"4xx\"}";
    assert_eq!(value(&text, &format!("devstack_api_requests_total{of_ours}")), 1.0);
    assert_eq!(value(&text, "devstack_trace_spans_total{outcome=\"dropped\"}"), 0.0);
}

#[test]
fn what_another_machine_chose_breaks_no_line_and_names_without_samples_are_left_out() {
    let mut page = Page::default();
    page.gauge("odd", "Odd.").add(&[("name", "a\"b\\c\nd")], 2.0);
    page.gauge("none", "None.");
    let text = page.render();
    assert_eq!(value(&text, "odd{name=\"a\\\"b\\\\c\\nd\"}"), 2.0);
    assert!(!text.contains("none"), "{text}");
}

#[test]
fn the_process_describes_itself() {
    let text = Page::of_this_process().render();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value(&text, "process_start_time_seconds");
    assert!(started <= now + 2.0 && started > now - 86_400.0, "{started} is not shortly before {now}");
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_open_fds") >= 3.0 && value(&text, "process_max_fds") > 3.0);
    assert_eq!(value(&text, &format!("devstack_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}
