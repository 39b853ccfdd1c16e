//! Formats tokens and money for people. An unknown value is a dash, never 0.

use devstack_api::dto;

/// `$1.25`; a small cost in full.
pub(super) fn dollars(cost: Option<f64>) -> String {
    match cost {
        None => "-".to_owned(),
        Some(cost) if cost > 0.0 && cost < 0.01 => format!("${cost:.4}"),
        Some(cost) => format!("${cost:.2}"),
    }
}

/// `12.3k`.
pub(super) fn tokens(count: Option<u64>) -> String {
    match count {
        None => "-".to_owned(),
        Some(count @ 0..10_000) => count.to_string(),
        Some(count @ 10_000..10_000_000) => format!("{:.1}k", count as f64 / 1e3),
        Some(count) => format!("{:.1}M", count as f64 / 1e6),
    }
}

/// The sums on one line; empty if no attempt reported usage.
pub(super) fn spent(usage: &dto::Spent) -> String {
    if usage.attempts == 0 && usage.input_tokens.is_none() && usage.output_tokens.is_none() {
        return String::new();
    }
    let cached = usage.cache_read_tokens.map(|count| format!(", {} from caches", tokens(Some(count))));
    let unknown = match usage.unknown_cost {
        0 => String::new(),
        count => format!("; {count} of {} attempts did not report their cost", usage.attempts),
    };
    format!(
        "{} · {} tokens read{}, {} written{unknown}",
        dollars(usage.cost_usd),
        tokens(usage.input_tokens),
        cached.unwrap_or_default(),
        tokens(usage.output_tokens)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_unknown_is_no_zero() {
        assert_eq!([None, Some(0.0), Some(0.0042), Some(12.345)].map(dollars), ["-", "$0.00", "$0.0042", "$12.35"]);
        assert_eq!(
            [None, Some(0), Some(9_999), Some(12_345), Some(12_345_678)].map(tokens),
            ["-", "0", "9999", "12.3k", "12.3M"]
        );
        assert_eq!(spent(&dto::Spent::default()), "");
    }
}
