//! Exports overview, board and graphs as one self-contained file: no script, no link, no other host. The file shows one
//! moment, and states its time.
//! Deliberately absent: writing the file (the command line and the node do), and anything that a viewer may not see.

use askama::Template;
use axum::{
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use devstack_dag::ids::ProjectName;
use serde::Deserialize;

use super::{View, assets, board, filters, now, overview, page::draw};
use crate::{
    Backend, GraphQuery,
    extract::{Params, name},
    routes::Api,
};
use devstack_api::{ApiError, dto};
use devstack_draw::dag::{self, Fold, Options};

/// The maximum number of projects with a graph, in the order of their names.
const GRAPHS: usize = 12;
/// The maximum number of tasks of a graph.
const TASKS: usize = 5_000;
/// The number of tasks from which completed tasks are grouped.
const MANY: usize = 120;

#[derive(Template)]
#[template(path = "export.html")]
struct Page {
    title: String,
    at: dto::Time,
    parts: Vec<Part>,
    style: &'static str,
    policy: String,
    version: &'static str,
}

struct Part {
    anchor: String,
    name: String,
    html: String,
}

/// A graph with its name.
#[derive(Template)]
#[template(path = "export_graph.html")]
struct Graph<'a> {
    project: &'a str,
    svg: Option<&'a str>,
    left_out: u64,
}

/// Options of the export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    project: Option<String>,
}

/// `GET /dashboard/export`.
pub(crate) async fn export(State(api): State<Api>, Params(wanted): Params<Wanted>) -> Result<Response, ApiError> {
    let project = wanted.project.map(|project| name(ProjectName::new(&project))).transpose()?;
    let page = exported(&*api.backend, project).await?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")], page).into_response())
}

/// The file, for one project or all.
///
/// # Errors
/// The project does not exist, or the core does not answer.
pub(crate) async fn exported(backend: &dyn Backend, project: Option<ProjectName>) -> Result<String, ApiError> {
    let mut parts = vec![
        part("overview", "Overview", overview::view(backend, false).await?),
        part("board", "Board", board::view(backend, project.clone()).await?),
    ];
    let projects = match &project {
        Some(project) => vec![project.clone()],
        None => {
            let all = backend.projects().await?.into_iter().take(GRAPHS);
            all.map(|project| name(ProjectName::new(&project.name))).collect::<Result<_, _>>()?
        }
    };
    for project in projects {
        let graph = backend.graph(GraphQuery { project: Some(project.clone()), way_of: None, most: TASKS }).await?;
        let label = format!("tasks of {project}, each after its dependencies");
        let fold = if graph.tasks.len() > MANY { Fold::Completed } else { Fold::None };
        // A text replaces a graph that is too large to draw.
        let picture = dag::draw(&graph.tasks, &Options { label: &label, fold, ..Options::default() }).ok();
        let svg = picture.as_ref().map(|picture| picture.svg.as_str());
        let view = View::of("", &Graph { project: project.as_str(), svg, left_out: graph.left_out })?;
        parts.push(part(&format!("graph-{project}"), &format!("Graph of {project}"), view));
    }
    draw(&Page {
        title: project.map_or_else(|| "Overview".to_owned(), |project| project.to_string()),
        at: now(),
        parts,
        style: assets::style(),
        policy: assets::style_hash(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

fn part(anchor: &str, name: &str, view: View) -> Part {
    Part { anchor: anchor.to_owned(), name: name.to_owned(), html: inert(&view.html) }
}

/// Removes everything from a page that leads elsewhere: links become text, forms are removed. All text in the page is
/// escaped, so `<` always begins a tag of our own templates.
fn inert(html: &str) -> String {
    const FORM_END: &str = "</form>";
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<form") {
            rest = rest.find(FORM_END).map_or("", |end| &rest[end + FORM_END.len()..]);
            continue;
        }
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let tag = &rest[..end];
        if tag.starts_with("<a ") {
            out.push_str(&without_href(tag))
        } else {
            out.push_str(tag)
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn without_href(tag: &str) -> String {
    let Some((before, after)) = tag.split_once(" href=\"") else { return tag.to_owned() };
    let after = after.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_text_and_forms_go() {
        let page = "<h1>A &lt;b&gt;</h1><form method=\"get\"><select><option>x</option></select></form>\
                    <a class=\"c\" href=\"/tasks/shop/a\" data-entry>a</a><abbr>z</abbr><svg><use href=\"#i-wip\"/></svg>";
        let still =
            "<h1>A &lt;b&gt;</h1><a class=\"c\" data-entry>a</a><abbr>z</abbr><svg><use href=\"#i-wip\"/></svg>";
        assert_eq!(inert(page), still);
        assert_eq!(inert("text"), "text");
        assert_eq!(inert("<a href=\"/x\">1</a>, <a href=\"/y\">2</a>"), "<a>1</a>, <a>2</a>");
        assert_eq!(inert("<form>"), "");
    }
}
