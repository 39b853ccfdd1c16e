//! Overview, board and graphs as one file that needs nothing else: no script, no link, no other host. What it shows is of one
//! moment, and says of which.
//! Deliberately absent: writing it anywhere (the command line and the node do), and anything that a viewer may not see.

use askama::Template;
use axum::{
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use devstack_dag::ids::ProjectName;
use serde::Deserialize;

use super::{View, assets, board, filters, now, overview, page::draw};
use crate::gateway::{
    ApiError, Backend, GraphQuery,
    draw::dag::{self, Fold, Options},
    dto,
    extract::{Params, name},
    routes::Api,
};

/// Projects whose graphs are drawn; of more, those with the first names.
const GRAPHS: usize = 12;
/// Tasks of a graph that are looked at.
const TASKS: usize = 5_000;
/// From so many tasks on, completed ones are folded.
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

/// A graph under its name.
#[derive(Template)]
#[template(path = "export_graph.html")]
struct Graph<'a> {
    project: &'a str,
    svg: Option<&'a str>,
    left_out: u64,
}

/// What is shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Wanted {
    project: Option<String>,
}

/// `GET /dashboard/export`.
pub(in crate::gateway) async fn export(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    let project = wanted.project.map(|project| name(ProjectName::new(&project))).transpose()?;
    let page = exported(&*api.backend, project).await?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")], page).into_response())
}

/// The file: of one project, or of all.
///
/// # Errors
/// There is no such project, or the core does not answer.
pub(in crate::gateway) async fn exported(
    backend: &dyn Backend,
    project: Option<ProjectName>,
) -> Result<String, ApiError> {
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
        let label = format!("the tasks of {project}, each after those it depends on");
        let fold = if graph.tasks.len() > MANY { Fold::Completed } else { Fold::None };
        // What is too much for a picture is said instead.
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

/// A page of ours without what leads elsewhere: links are text, forms are gone. All text in it is escaped, so that `<` begins
/// a tag of our own templates.
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
