//! A plan's graph as a picture: tasks as boxes from left to right, arrows from what must be done first. Folding makes large plans
//! readable, a focus shows what stands before and behind one task; edges that follow from others are not drawn.
//! Deliberately absent: who may see it, and how the page around it looks.

mod fold;
mod svg;

use std::collections::HashMap;

use devstack_dag::record::Status;

pub use fold::Fold;

use crate::gateway::{
    draw::layers::{self, Digraph, Limits, Measures, TooLarge},
    dto,
};

/// A task to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id: every task has its own.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// Ids of tasks that must be done first; those that are not drawn are passed over.
    pub dependencies: Vec<String>,
}

impl From<&dto::Task> for Task {
    fn from(task: &dto::Task) -> Self {
        Self {
            id: task.id.clone(),
            title: task.title.clone(),
            // Answers have no other words.
            status: dto::parse_status(&task.status).unwrap_or(Status::Todo),
            dependencies: task.dependencies.iter().chain(&task.resolves).cloned().collect(),
        }
    }
}

/// Makes the address of a page about a task.
pub type Link<'a> = &'a dyn Fn(&str) -> String;

/// Where a click leads.
#[derive(Clone, Copy)]
pub struct Links<'a> {
    /// To the task.
    pub task: Link<'a>,
    /// To this picture with the task in focus.
    pub focus: Link<'a>,
    /// To this picture without the folding of the group whose first task this is.
    pub open: Link<'a>,
}

/// What is wanted.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What the picture shows, for people who cannot see it: `tasks of shop`.
    pub label: &'a str,
    /// How much is folded. More is, when it would be too large.
    pub fold: Fold,
    /// Groups that are not folded, by their first task.
    pub opened: &'a [String],
    /// A task whose way is emphasised: everything before it and behind it.
    pub focus: Option<&'a str>,
    /// Draw nothing but that.
    pub only: bool,
    /// `None`: nothing can be clicked, for a file that stands alone.
    pub links: Option<Links<'a>>,
    /// In percent of its natural size.
    pub zoom: u32,
    /// The largest picture.
    pub limits: Limits,
}

/// Sizes of everything: a box has two lines.
const MEASURES: Measures =
    Measures { node_width: 204.0, node_height: 48.0, column_gap: 56.0, row_gap: 14.0, width: 1240.0 };

/// What a browser shows with ease: about a megabyte.
pub const LIMITS: Limits = Limits { nodes: 1500, edges: 5000, segments: 30_000 };

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            label: "tasks",
            fold: Fold::None,
            opened: &[],
            focus: None,
            only: false,
            links: None,
            zoom: 100,
            limits: LIMITS,
        }
    }
}

/// A picture, and what was done to make it readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// An `svg` element; its style comes from the page.
    pub svg: String,
    /// The tasks in it.
    pub tasks: usize,
    /// As how many boxes.
    pub nodes: usize,
    /// Arrows.
    pub edges: usize,
    /// Edges that are not drawn because they follow from others.
    pub implied: usize,
    /// How much was folded.
    pub fold: Fold,
}

/// Draws tasks.
///
/// # Errors
/// Even folded it is larger than the limits: ask for less.
pub fn draw(tasks: &[Task], options: &Options<'_>) -> Result<Picture, TooLarge> {
    let all = graph_of(tasks);
    let focus = options.focus.and_then(|id| tasks.iter().position(|task| task.id == id));
    let Some(focus) = focus else { return drawn(tasks, &all, None, options) };
    let path = all.path(focus as u32);
    if !options.only {
        return drawn(tasks, &all, Some((focus, path)), options);
    }
    let near: Vec<Task> = tasks.iter().zip(&path).filter(|(_, on)| **on).map(|(task, _)| task.clone()).collect();
    let focus = near.iter().position(|task| Some(task.id.as_str()) == options.focus).unwrap_or_default();
    let on = vec![true; near.len()];
    drawn(&near, &graph_of(&near), Some((focus, on)), options)
}

fn graph_of(tasks: &[Task]) -> Digraph {
    let number: HashMap<&str, u32> = tasks.iter().zip(0..).map(|(task, at)| (task.id.as_str(), at)).collect();
    let number = &number;
    let edges = tasks.iter().zip(0_u32..).flat_map(|(task, to)| {
        task.dependencies.iter().filter_map(move |from| Some((*number.get(from.as_str())?, to)))
    });
    Digraph::new(tasks.len(), edges)
}

/// Folds as much as was asked for, and more until it fits.
fn drawn(
    tasks: &[Task],
    graph: &Digraph,
    focus: Option<(usize, Vec<bool>)>,
    options: &Options<'_>,
) -> Result<Picture, TooLarge> {
    let statuses: Vec<Status> = tasks.iter().map(|task| task.status).collect();
    let mut kept = vec![false; tasks.len()];
    if let Some((focus, _)) = &focus {
        kept[*focus] = true;
    }
    let opened = |node: u32| options.opened.contains(&tasks[node as usize].id);
    for fold in Fold::ALL.into_iter().filter(|fold| *fold >= options.fold) {
        let folded = fold::fold(graph, &statuses, fold, &kept, &opened);
        if folded.graph.len() > options.limits.nodes {
            continue;
        }
        let edges = folded.graph.edges().count();
        let shown = folded.graph.reduced();
        let Ok(layout) = layers::layout(&shown, &MEASURES, &options.limits) else { continue };
        let drawing = svg::Drawing {
            tasks,
            groups: &folded.groups,
            layout: &layout,
            focus: focus.as_ref().map(|(focus, path)| (*focus as u32, path.as_slice())),
        };
        return Ok(Picture {
            svg: drawing.svg(options),
            tasks: tasks.len(),
            nodes: shown.len(),
            edges: layout.routes.len(),
            implied: edges - layout.routes.len(),
            fold,
        });
    }
    Err(TooLarge)
}
