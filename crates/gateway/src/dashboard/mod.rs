//! The dashboard at `/`: pages rendered by the server, kept live by one event stream and one hand-written module. Every
//! page works without scripts, and reads and acts through the same [`Backend`](super::Backend) as the API.
//! Deliberately absent: a build step, other hosts, inline scripts, inline styles except the one hashed sheet, and own
//! state: pages show the state of the engine.

mod actions;
mod assets;
mod board;
mod cache;
#[cfg(test)]
mod contrast;
mod export;
mod facts;
#[allow(unreachable_pub, reason = "made by the macro")]
mod filters;
mod format;
mod forms;
mod frame;
mod graph;
mod hosts;
mod live;
mod login;
mod merges;
mod output;
mod overview;
mod page;
mod patch;
mod shell;
mod task;
mod timeline;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Backend, dto::Time};
pub(super) use export::exported;
pub(super) use frame::frame;
use page::{Asked, View};

/// The handlers of the dashboard's routes, for the table of routes.
pub(super) mod pages {
    pub(crate) use super::{
        actions::{act_host, act_project, act_task, ask_host, ask_project, ask_task},
        assets::asset,
        board::{board, tasks},
        export::export,
        facts::facts,
        graph::graph,
        hosts::hosts,
        live::follow,
        login::{log_in, log_out, login},
        merges::merges,
        output::log,
        overview::overview,
        task::{changes, conflict, task},
        timeline::timeline,
    };
}

/// The shared state of the dashboards of a node.
pub(super) struct Dashboard {
    live: live::Live,
    cache: cache::Cache,
    forms: forms::Forms,
}

impl Dashboard {
    /// Nothing runs before the first viewer.
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { live: live::Live::new(backend), cache: cache::Cache::default(), forms: forms::Forms::new() }
    }
}

/// The wall clock: the current time of pages.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
