//! Filters for templates: `{{ count|grouped }}`.
//! Deliberately absent: anything but formatting.

use askama::{Result, Values, filter_fn};

use super::format;
use devstack_api::dto;

/// A number with separated thousands.
#[filter_fn]
pub(super) fn grouped(number: impl std::fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(format::grouped(number))
}

/// A status as a badge.
#[filter_fn]
pub(super) fn badge(status: &str, _: &dyn Values) -> Result<format::Badge> {
    Ok(format::Badge::of(status))
}

/// A short commit id.
#[filter_fn]
pub(super) fn commit(commit: &str, _: &dyn Values) -> Result<String> {
    Ok(commit.chars().take(10).collect())
}

/// The used share of a host's slots, in thousandths.
#[filter_fn]
pub(super) fn used(host: &dto::Host, _: &dyn Values) -> Result<u64> {
    Ok((u64::from(host.used) * 1000).checked_div(u64::from(host.slots)).unwrap_or_default().min(1000))
}

/// The first few of a list.
#[filter_fn]
pub(super) fn few(list: &[String], _: &dyn Values) -> Result<Vec<String>> {
    Ok(list.iter().take(5).cloned().collect())
}

/// The output of an agent without escape sequences of terminals.
#[filter_fn]
pub(super) fn plain(text: &str, _: &dyn Values) -> Result<String> {
    Ok(super::output::plain(text))
}
