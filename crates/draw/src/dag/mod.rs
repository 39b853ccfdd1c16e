//! Draws a plan's graph: tasks are boxes from left to right, and arrows lead from a dependency to its dependents.
//! Grouping keeps large plans readable; a focus highlights everything before and after one task; edges implied by other
//! edges are not drawn.
//! Deliberately absent: who may see the graph, and how the page around it looks.

mod fold;
mod svg;

use std::collections::HashMap;

use devstack_dag::record::Status;

pub use fold::Fold;

use crate::layers::{self, Digraph, Limits, Measures, TooLarge};

/// A task to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The unique id.
    pub id: String,
    /// The title, in one line.
    pub title: String,
    /// The status.
    pub status: Status,
    /// Ids of the dependencies; ids of tasks that are not drawn are ignored.
    pub dependencies: Vec<String>,
}

/// Makes the address of the page of a task.
pub type Link<'a> = &'a dyn Fn(&str) -> String;

/// Where a click leads.
#[derive(Clone, Copy)]
pub struct Links<'a> {
    /// To the page of the task.
    pub task: Link<'a>,
    /// To this picture with the focus on the task.
    pub focus: Link<'a>,
    /// To this picture with the group expanded whose first task is given.
    pub open: Link<'a>,
}

/// Options of a drawing.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// A description for screen readers, for example `tasks of shop`.
    pub label: &'a str,
    /// How much to group. A picture that would be too large is grouped further.
    pub fold: Fold,
    /// Expanded groups, by their first task.
    pub opened: &'a [String],
    /// The task in focus: everything before and after it is highlighted.
    pub focus: Option<&'a str>,
    /// Draw only the highlighted tasks.
    pub only: bool,
    /// `None`: no links, for a stand-alone file.
    pub links: Option<Links<'a>>,
    /// The size in percent.
    pub zoom: u32,
    /// The limits of the picture.
    pub limits: Limits,
}

/// Sizes in pixels. A box has two lines of text.
const MEASURES: Measures =
    Measures { node_width: 204.0, node_height: 48.0, column_gap: 56.0, row_gap: 14.0, width: 1240.0 };

/// What a browser shows without delay: about a megabyte.
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

/// A picture, with what was done to keep it readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// An `svg` element; the page has its style sheet.
    pub svg: String,
    /// The number of tasks in the picture.
    pub tasks: usize,
    /// The number of boxes.
    pub nodes: usize,
    /// The number of arrows.
    pub edges: usize,
    /// The number of edges that are implied by others and therefore not drawn.
    pub implied: usize,
    /// How much was grouped.
    pub fold: Fold,
}

/// Draws tasks.
///
/// # Errors
/// The graph exceeds the limits even with full grouping.
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

/// Groups as much as requested, and further until the graph fits.
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
