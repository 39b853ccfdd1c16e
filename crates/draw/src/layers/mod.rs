//! Lays out a directed graph from left to right, after Sugiyama: first columns, then an order within each column, then
//! positions. Connected parts are drawn separately and packed like lines of text; isolated nodes form a grid at the
//! end.
//! Deliberately absent: what nodes look like, beyond their size (all have the same), and tasks.

mod digraph;
mod order;
mod place;
mod rank;

pub use digraph::Digraph;

use order::Layered;
use place::Rows;

/// Sizes, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// The width of a node.
    pub node_width: f64,
    /// The height of a node.
    pub node_height: f64,
    /// The gap between two columns, where edges bend.
    pub column_gap: f64,
    /// The gap between two nodes of a column.
    pub row_gap: f64,
    /// The maximum width before parts are placed below each other; a single part may be wider.
    pub width: f64,
}

/// Positions in pixels, from the upper left corner.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The width of the drawing.
    pub width: f64,
    /// The height of the drawing.
    pub height: f64,
    /// The upper left corner of each node.
    pub nodes: Vec<(f64, f64)>,
    /// The edges.
    pub routes: Vec<Route>,
}

/// The route of an edge, from the right side of one node to the left side of another. A route never crosses a third
/// node.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The source node.
    pub from: u32,
    /// The target node.
    pub to: u32,
    /// Points in pairs, one pair for each column gap: a curve leads from the first to the second point, a straight line
    /// to the next pair.
    pub points: Vec<(f64, f64)>,
}

/// The limits of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of nodes.
    pub nodes: usize,
    /// The maximum number of edges.
    pub edges: usize,
    /// The maximum number of edge segments from column to column, in total.
    pub segments: usize,
}

/// The graph exceeds the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the graph is too large to draw")]
pub struct TooLarge;

/// Lays out a graph.
///
/// # Errors
/// The graph exceeds the limits.
pub fn layout(graph: &Digraph, measures: &Measures, limits: &Limits) -> Result<Layout, TooLarge> {
    if graph.len() > limits.nodes || graph.edges().count() > limits.edges {
        return Err(TooLarge);
    }
    let part = graph.parts();
    let count = part.iter().max().map_or(0, |last| *last as usize + 1);
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); count];
    part.iter().enumerate().for_each(|(node, &part)| members[part as usize].push(node as u32));
    let (alone, together): (Vec<_>, Vec<_>) = members.into_iter().partition(|members| members.len() == 1);

    let mut segments = limits.segments;
    let mut parts = Vec::with_capacity(together.len());
    for members in &together {
        parts.push(part_of(graph, members, measures, &mut segments)?);
    }
    // Lines of similar height waste little space. The largest parts come first, because they matter most.
    parts.sort_by(|a, b| b.height.total_cmp(&a.height).then(a.members[0].cmp(&b.members[0])));
    Ok(packed(graph.len(), parts, &alone, measures))
}

/// A connected part with its upper left corner at 0, 0.
struct Part<'a> {
    members: &'a [u32],
    width: f64,
    height: f64,
    corners: Vec<(f64, f64)>,
    routes: Vec<Route>,
}

fn part_of<'a>(
    graph: &Digraph,
    members: &'a [u32],
    measures: &Measures,
    segments: &mut usize,
) -> Result<Part<'a>, TooLarge> {
    // Members ascend, so that a search finds their numbers in the part.
    let number = |node: u32| members.binary_search(&node).map_or(0, |at| at as u32);
    let edges = members.iter().flat_map(|&from| graph.after(from).iter().map(move |&to| (from, to)));
    let own = Digraph::new(members.len(), edges.map(|(from, to)| (number(from), number(to))));
    let column = rank::columns(&own);
    let wanted: usize = own.edges().map(|(from, to)| (column[to as usize] - column[from as usize]) as usize).sum();
    *segments = segments.checked_sub(wanted).ok_or(TooLarge)?;
    let mut layered = Layered::new(&own, &column);
    layered.untangle();

    let rows = Rows { node: measures.node_height, bend: 4.0, gap: measures.row_gap };
    let middles = place::middles(&layered, rows);
    let step = measures.node_width + measures.column_gap;
    let left = |column: usize| column as f64 * step;
    let corners = (0..members.len())
        .map(|v| (left(column[v] as usize), middles[v] - measures.node_height / 2.0))
        .collect::<Vec<_>>();
    let route = |chain: &Vec<u32>| {
        let first = column[chain[0] as usize] as usize;
        let gap = |(at, pair): (usize, &[u32])| {
            let right = left(first + at) + measures.node_width;
            [(right, middles[pair[0] as usize]), (left(first + at + 1), middles[pair[1] as usize])]
        };
        Route {
            from: members[chain[0] as usize],
            to: members[chain[chain.len() - 1] as usize],
            points: chain.windows(2).enumerate().flat_map(gap).collect(),
        }
    };
    let bottom = |v: usize| middles[v] + rows.height(&layered, v as u32) / 2.0;
    Ok(Part {
        members,
        width: left(layered.columns.len()) - measures.column_gap,
        height: (0..middles.len()).map(bottom).fold(0.0, f64::max),
        corners,
        routes: layered.chains.iter().map(route).collect(),
    })
}

/// Places everything: parts in lines, then a grid of the isolated nodes.
fn packed(nodes: usize, parts: Vec<Part<'_>>, alone: &[Vec<u32>], measures: &Measures) -> Layout {
    let apart = measures.row_gap * 2.0;
    let limit = parts.iter().map(|part| part.width).fold(measures.width, f64::max);
    let mut whole = Layout { width: 0.0, height: 0.0, nodes: vec![(0.0, 0.0); nodes], routes: Vec::new() };
    let (mut x, mut y, mut line) = (0.0, 0.0, 0.0_f64);
    for part in parts {
        if x > 0.0 && x + part.width > limit {
            (x, y, line) = (0.0, y + line + apart, 0.0);
        }
        for (&member, &(left, top)) in part.members.iter().zip(&part.corners) {
            whole.nodes[member as usize] = (x + left, y + top);
        }
        whole.routes.extend(part.routes.into_iter().map(|mut route| {
            route.points.iter_mut().for_each(|point| *point = (point.0 + x, point.1 + y));
            route
        }));
        whole.width = whole.width.max(x + part.width);
        line = line.max(part.height);
        x += part.width + measures.column_gap;
    }
    whole.height = y + line;
    if !alone.is_empty() {
        let step = (measures.node_width + apart, measures.node_height + measures.row_gap);
        let columns = (((limit + apart) / step.0) as usize).clamp(1, alone.len());
        let top = if whole.height > 0.0 { whole.height + apart } else { 0.0 };
        for (at, node) in alone.iter().flatten().enumerate() {
            let (column, row) = (at % columns, at / columns);
            whole.nodes[*node as usize] = (column as f64 * step.0, top + row as f64 * step.1);
        }
        whole.width = whole.width.max(columns as f64 * step.0 - apart);
        whole.height = top + alone.len().div_ceil(columns) as f64 * step.1 - measures.row_gap;
    }
    whole
}
