//! The hosts page: presence, slots, running attempts, and the reported setup of each host.
//! Deliberately absent: actions such as draining, which have pages of their own.

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    Asked, View, filters,
    format::{Took, When},
    now,
};
use crate::routes::Api;
use devstack_api::{ApiError, dto};

/// The maximum number of attempts listed for a host; the rest is counted.
const ATTEMPTS: usize = 24;

#[derive(Template)]
#[template(path = "hosts.html")]
struct Page<'a> {
    hosts: Vec<Host<'a>>,
    slots: u64,
    used: u64,
    may_act: bool,
    now: dto::Time,
}

struct Host<'a> {
    host: &'a dto::Host,
    attempts: &'a [dto::HostAttempt],
    more: usize,
    /// The slots as squares: used, free, unusable.
    squares: Vec<Square>,
    /// The number of slots without a square.
    beyond: u32,
}

/// A slot, as a square in a row.
struct Square {
    x: u32,
    y: u32,
    class: &'static str,
}

/// The number of squares in a row, and the maximum number of squares.
const ACROSS: u32 = 32;
const SQUARES: u32 = 128;

impl Page<'_> {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.now }
    }

    fn took(&self, attempt: &dto::HostAttempt) -> Took {
        Took { from: attempt.started_at, until: None, now: self.now }
    }
}

impl Host<'_> {
    /// The used share of a shard's ports, in thousandths.
    fn filled(&self, shard: &dto::Shard) -> u32 {
        (shard.ports * 1000).checked_div(shard.capacity).unwrap_or(0).min(1000)
    }

    fn height(&self) -> u32 {
        self.squares.last().map_or(0, |square| square.y + 14)
    }

    fn width(&self) -> u32 {
        self.squares.iter().map(|square| square.x + 14).max().unwrap_or(0)
    }

    fn presence(&self) -> &'static str {
        match (self.host.up, self.host.presence.as_str()) {
            (true, _) => "present",
            (_, "suspect") => "suspect: silent",
            (_, "lost") => "lost: its attempts were replaced",
            _ => "awaited: not seen since the start",
        }
    }
}

/// `GET /hosts`.
pub(crate) async fn hosts(State(api): State<Api>, asked: Asked) -> Result<Response, ApiError> {
    let make = async {
        let details = api.backend.host_details().await?;
        View::of("Hosts", &page(&details, asked.may_act()))
    };
    api.dashboard.page(&asked, make).await
}

fn page(details: &[dto::HostDetail], may_act: bool) -> Page<'_> {
    fn host(dto::HostDetail { host, attempt_list }: &dto::HostDetail) -> Host<'_> {
        let shown = attempt_list.len().min(ATTEMPTS);
        Host {
            host,
            attempts: &attempt_list[..shown],
            more: attempt_list.len() - shown,
            squares: squares(host),
            beyond: host.slots.saturating_sub(SQUARES),
        }
    }
    Page {
        hosts: details.iter().map(host).collect(),
        slots: details.iter().map(|detail| u64::from(detail.host.slots)).sum(),
        used: details.iter().map(|detail| u64::from(detail.host.used)).sum(),
        may_act,
        now: now(),
    }
}

/// A square for each slot: first the used ones, then the unusable ones, then the free ones.
fn squares(host: &dto::Host) -> Vec<Square> {
    let unusable = host.quarantine.as_ref().map_or(0, |quarantine| quarantine.slots);
    let class = |slot: u32| match slot {
        slot if slot < host.used => "used",
        slot if slot < host.used.saturating_add(unusable) => "unusable",
        _ => "free",
    };
    let square = |slot| Square { x: slot % ACROSS * 17 + 1, y: slot / ACROSS * 17 + 1, class: class(slot) };
    (0..host.slots.max(host.used).min(SQUARES)).map(square).collect()
}
