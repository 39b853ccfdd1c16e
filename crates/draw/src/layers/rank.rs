//! Chooses the column of each node: every edge leads to a later column, and edges are short.
//! Deliberately absent: the optimum. Moving each node between its neighbours a few times comes close and is linear.

use super::digraph::Digraph;

/// How many times nodes are moved. More rounds change little.
const PASSES: usize = 4;

/// The column of each node, counted from 0, without empty columns. Initially the longest path decides; then a node with
/// more edges on one side moves to that side as far as possible.
pub(super) fn columns(graph: &Digraph) -> Vec<u32> {
    let mut column = vec![0_u32; graph.len()];
    let earliest =
        |column: &[u32], node: u32| graph.before(node).iter().map(|&from| column[from as usize] + 1).max().unwrap_or(0);
    for &node in graph.order() {
        column[node as usize] = earliest(&column, node);
    }
    for _ in 0..PASSES {
        let before = column.clone();
        for &node in graph.order().iter().rev() {
            let latest = graph.after(node).iter().map(|&to| column[to as usize] - 1).min();
            if let Some(latest) = latest.filter(|_| graph.after(node).len() > graph.before(node).len()) {
                column[node as usize] = latest;
            }
        }
        for &node in graph.order() {
            if graph.before(node).len() > graph.after(node).len() {
                column[node as usize] = earliest(&column, node);
            }
        }
        if before == column {
            break;
        }
    }
    close_up(&mut column);
    column
}

/// Renumbers the columns so that none is empty.
fn close_up(column: &mut [u32]) {
    let mut used = column.to_vec();
    used.sort_unstable();
    used.dedup();
    for at in column {
        // Every column occurs in the list.
        *at = used.binary_search(at).map_or(0, |index| index as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_stands_beside_what_needs_it() {
        // A chain of four, and one more start that only its end depends on.
        let graph = Digraph::new(5, [(0, 1), (1, 2), (2, 3), (4, 3)]);
        assert_eq!(columns(&graph), [0, 1, 2, 3, 2]);
    }
}
