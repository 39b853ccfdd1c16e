//! The graph of a project, with grouping, zoom and a task in focus. The address contains all options, so the page works
//! without scripts and its link can be shared.
//! Deliberately absent: the drawing.

use crate::pages;
use std::fmt::Write;

use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::ids::{ProjectName, TaskId};
use serde::Deserialize;

use super::{Asked, View, filters, format::Badge};
use crate::{
    GraphQuery,
    extract::{Params, name},
    routes::Api,
};
use devstack_api::{ApiError, dto};
use devstack_draw::{
    dag::{self, Fold, Links, Options, Picture},
    layers::TooLarge,
};

/// The maximum number of tasks read: grouping needs all of them.
const MOST: usize = 5_000;
/// The number of tasks from which completed tasks are grouped by default.
const MANY: usize = 120;
/// The maximum number of expanded groups in an address.
const OPENED: usize = 32;
/// The zoom steps, in percent.
const ZOOMS: [u32; 7] = [25, 40, 60, 80, 100, 140, 200];

/// The query of the address; empty fields come from an empty form.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Wanted {
    project: Option<String>,
    fold: Option<String>,
    open: Option<String>,
    focus: Option<String>,
    only: Option<String>,
    zoom: Option<String>,
}

/// The parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    project: String,
    fold: Option<Fold>,
    open: Vec<String>,
    focus: Option<String>,
    only: bool,
    /// In percent; `None`: as wide as the page.
    zoom: Option<u32>,
}

impl Address {
    /// The link of this view. Names contain no characters with a meaning in addresses.
    fn link(&self) -> String {
        let mut link = format!("/dag?project={}", self.project);
        // Writing into a String cannot fail.
        if let Some(fold) = self.fold {
            let _ = write!(link, "&fold={}", fold.as_str());
        }
        if !self.open.is_empty() {
            let _ = write!(link, "&open={}", self.open.join(","));
        }
        if let Some(focus) = &self.focus {
            let _ = write!(link, "&focus={focus}");
        }
        if self.only {
            link.push_str("&only=1");
        }
        match self.zoom {
            None => link.push_str("&zoom=fit"),
            Some(100) => {}
            Some(zoom) => {
                let _ = write!(link, "&zoom={zoom}");
            }
        }
        link
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        change(&mut other);
        other.link()
    }
}

/// An option as a link.
struct Choice {
    name: &'static str,
    link: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "graph.html")]
struct Page<'a> {
    graph: &'a pages::Graph,
    address: &'a Address,
    picture: Result<Picture, TooLarge>,
    legend: Vec<(Badge, usize)>,
    folds: Vec<Choice>,
    /// The task in focus, if it exists.
    focus: Option<&'a dag::Task>,
    all: String,
    only: String,
    closer: Option<String>,
    wider: Option<String>,
    natural: String,
    fit: String,
    unopened: Option<String>,
}

/// `GET /dag`.
pub(crate) async fn graph(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let make = async {
        let mut address = understood(wanted)?;
        let project = Some(address.project.as_str()).filter(|project| !project.is_empty());
        let way = address.focus.as_deref().filter(|_| address.only);
        let query = GraphQuery {
            project: project.map(|project| name(ProjectName::new(project))).transpose()?,
            way_of: way.map(|id| name(TaskId::new(id))).transpose()?,
            most: MOST,
        };
        let graph = api.backend.graph(query).await?;
        address.project = graph.project.clone().unwrap_or_default();
        View::of("Graph", &page(&graph, &address))
    };
    api.dashboard.page(&asked, make).await
}

fn understood(wanted: Wanted) -> Result<Address, ApiError> {
    let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let id = |text: &str| name(TaskId::new(text)).map(|id| id.to_string());
    let fold = given(wanted.fold)
        .map(|word| Fold::parse(&word).ok_or_else(|| ApiError::invalid("`fold` must be none, completed or similar")));
    let zoom = match given(wanted.zoom).as_deref() {
        None => Some(100),
        Some("fit") => None,
        Some(percent) => {
            let known = percent.parse().ok().filter(|percent| (ZOOMS[0]..=ZOOMS[ZOOMS.len() - 1]).contains(percent));
            Some(known.ok_or_else(|| ApiError::invalid("`zoom` must be 25 to 200, or fit"))?)
        }
    };
    let open = given(wanted.open).unwrap_or_default();
    Ok(Address {
        project: given(wanted.project).unwrap_or_default(),
        fold: fold.transpose()?,
        open: open.split(',').filter(|text| !text.is_empty()).take(OPENED).map(id).collect::<Result<_, _>>()?,
        focus: given(wanted.focus).map(|text| id(&text)).transpose()?,
        only: given(wanted.only).is_some(),
        zoom,
    })
}

fn page<'a>(graph: &'a pages::Graph, address: &'a Address) -> Page<'a> {
    let fold = address.fold.unwrap_or(if graph.tasks.len() > MANY { Fold::Completed } else { Fold::None });
    let project = &address.project;
    let task = |id: &str| format!("/tasks/{project}/{id}");
    // The fragment makes the browser scroll to the task.
    let focus = |id: &str| format!("{}#focus", address.with(|other| other.focus = Some(id.to_owned())));
    let open = |id: &str| address.with(|other| other.open.push(id.to_owned()));
    let label = format!("tasks of {project}, each after its dependencies");
    let picture = dag::draw(
        &graph.tasks,
        &Options {
            label: &label,
            fold,
            opened: &address.open,
            focus: address.focus.as_deref(),
            only: address.only,
            links: Some(Links { task: &task, focus: &focus, open: &open }),
            zoom: address.zoom.unwrap_or(100),
            ..Options::default()
        },
    );
    let shown = picture.as_ref().map_or(fold, |picture| picture.fold);
    let named = [(Fold::None, "All tasks"), (Fold::Completed, "Group completed"), (Fold::Similar, "Group similar")];
    let choice = |(step, name)| Choice {
        name,
        link: address.with(|other| (other.fold, other.open) = (Some(step), Vec::new())),
        is_chosen: step == shown,
    };
    let zoom = address.zoom.unwrap_or(100);
    let zoomed = |to: &u32| address.with(|other| other.zoom = Some(*to));
    let count = |status: &devstack_dag::record::Status| {
        let count = graph.tasks.iter().filter(|task| task.status == *status).count();
        (count > 0).then(|| (Badge::of(status.as_str()), count))
    };
    Page {
        graph,
        address,
        legend: dto::STATUSES.iter().filter_map(count).collect(),
        folds: named.into_iter().map(choice).collect(),
        focus: graph.tasks.iter().find(|task| Some(&task.id) == address.focus.as_ref()),
        all: address.with(|other| (other.focus, other.only) = (None, false)),
        only: address.with(|other| other.only = !address.only),
        closer: ZOOMS.iter().find(|step| **step > zoom).map(zoomed),
        wider: ZOOMS.iter().rev().find(|step| **step < zoom).map(zoomed),
        natural: zoomed(&100),
        fit: address.with(|other| other.zoom = None),
        unopened: (!address.open.is_empty()).then(|| address.with(|other| other.open.clear())),
        picture,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(set: impl FnOnce(&mut Wanted)) -> Result<Address, ApiError> {
        let mut wanted = Wanted { project: Some("shop".into()), ..Wanted::default() };
        set(&mut wanted);
        understood(wanted)
    }

    #[test]
    fn an_address_says_again_what_it_said() {
        let address = wanted(|w| {
            w.fold = Some("similar".into());
            w.open = Some("A,B".into());
            w.focus = Some(" T-1 ".into());
            w.only = Some("1".into());
            w.zoom = Some("fit".into());
        });
        let link = address.unwrap().link();
        assert_eq!(link, "/dag?project=shop&fold=similar&open=A,B&focus=T-1&only=1&zoom=fit");
        assert_eq!(wanted(|w| w.focus = Some(String::new())).unwrap().link(), "/dag?project=shop");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(wanted(|w| w.fold = Some("much".into())).is_err());
        assert!(wanted(|w| w.zoom = Some("1000000".into())).is_err());
        assert!(wanted(|w| w.focus = Some("<b>".into())).is_err());
        assert!(wanted(|w| w.open = Some("A,&x=y".into())).is_err());
    }
}
