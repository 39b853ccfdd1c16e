//! The merges page: entries being checked and merged, waiting entries, completed merges, and the state of delivery.
//! Deliberately absent: the order of a queue (the engine decides).

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::ids::ProjectName;
use serde::Deserialize;

use super::{Asked, View, filters, format::When, now};
use crate::{
    extract::{Params, name},
    pages::QueueStage,
    routes::Api,
};
use devstack_api::{ApiError, dto};

/// The maximum number of entries and completed merges listed for each project; more for a single project.
const SHOWN: (usize, usize) = (20, 10);
const SHOWN_ALONE: (usize, usize) = (200, 100);

/// The query of the address.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wanted {
    project: Option<String>,
}

#[derive(Template)]
#[template(path = "merges.html")]
struct Page<'a> {
    queues: &'a [pages::MergeQueue],
    is_alone: bool,
    may_act: bool,
    now: dto::Time,
}

impl Page<'_> {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.now }
    }

    /// The status whose shape and colour represent a stage.
    fn status(&self, stage: &QueueStage) -> &'static str {
        match stage {
            QueueStage::Merging | QueueStage::Preparing => "wip",
            QueueStage::Checking | QueueStage::AwaitingCheck => "testing",
            QueueStage::Waiting => "approved",
        }
    }
}

/// `GET /merges`.
pub(crate) async fn merges(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let make = async {
        let project = wanted.project.as_deref().filter(|project| !project.is_empty());
        let project = project.map(|project| name(ProjectName::new(project))).transpose()?;
        let is_alone = project.is_some();
        let (entries, landed) = if is_alone { SHOWN_ALONE } else { SHOWN };
        let queues = api.backend.merge_queues(project, entries, landed).await?;
        View::of("Merges", &Page { queues: &queues, is_alone, may_act: asked.may_act(), now: now() })
    };
    api.dashboard.page(&asked, make).await
}
