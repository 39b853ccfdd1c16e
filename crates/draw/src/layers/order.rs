//! Orders the nodes within each column, with few crossings. *Bends* cut long edges into segments from column to column,
//! and take part as narrow nodes. Sweeps move each node to the barycenter of its neighbours; then adjacent nodes in a
//! column are swapped where that removes crossings.
//! Deliberately absent: the optimum (NP-hard). The work is bounded for every graph.

use super::digraph::Digraph;

/// The maximum number of sweeps.
const SWEEPS: usize = 24;
/// The number of sweeps without improvement before the search stops.
const PATIENCE: usize = 6;
/// The maximum number of rounds of swaps.
const SWAPS: usize = 10;
/// The maximum number of nodes, bends and segments visited in all sweeps together: large graphs get fewer sweeps.
const WORK: usize = 600_000;

/// Nodes and bends in columns. The first vertices are the nodes of the graph, the rest bends.
#[derive(Debug)]
pub(super) struct Layered {
    /// The vertices of each column, in order.
    pub columns: Vec<Vec<u32>>,
    /// The position of each vertex in its column.
    pub place: Vec<u32>,
    /// The predecessors of each vertex, in the column before.
    pub before: Vec<Vec<u32>>,
    /// The successors of each vertex, in the column after.
    pub after: Vec<Vec<u32>>,
    /// The number of vertices that are nodes.
    pub nodes: usize,
    /// The vertices of each edge, from source to target.
    pub chains: Vec<Vec<u32>>,
    /// The column of each vertex.
    of: Vec<u32>,
}

impl Layered {
    /// Adds the bends. The initial order follows a walk that keeps connected vertices together.
    pub(super) fn new(graph: &Digraph, column: &[u32]) -> Self {
        let nodes = graph.len();
        let count = column.iter().max().map_or(0, |last| *last as usize + 1);
        let mut layered = Self {
            columns: vec![Vec::new(); count],
            place: Vec::new(),
            before: vec![Vec::new(); nodes],
            after: vec![Vec::new(); nodes],
            nodes,
            chains: Vec::new(),
            of: Vec::new(),
        };
        let mut of = column.to_vec();
        for (from, to) in graph.edges() {
            let mut chain = vec![from];
            for at in column[from as usize] + 1..column[to as usize] {
                chain.push(of.len() as u32);
                of.push(at);
                layered.before.push(Vec::new());
                layered.after.push(Vec::new());
            }
            chain.push(to);
            for pair in chain.windows(2) {
                layered.after[pair[0] as usize].push(pair[1]);
                layered.before[pair[1] as usize].push(pair[0]);
            }
            layered.chains.push(chain);
        }
        layered.walk(&of);
        layered.of = of;
        layered
    }

    /// Whether the vertex is a bend: a place where a long edge passes a column.
    pub(super) fn is_bend(&self, v: u32) -> bool {
        v as usize >= self.nodes
    }

    /// The vertices of the column of a vertex, in order.
    pub(super) fn column_of(&self, v: u32) -> &[u32] {
        &self.columns[self.of[v as usize] as usize]
    }

    /// Fills the columns depth first, from each start.
    fn walk(&mut self, column: &[u32]) {
        let mut seen = vec![false; column.len()];
        let starts = (0..column.len() as u32).filter(|&v| self.before[v as usize].is_empty());
        for start in starts.collect::<Vec<_>>() {
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                if std::mem::replace(&mut seen[at as usize], true) {
                    continue;
                }
                self.columns[column[at as usize] as usize].push(at);
                open.extend(self.after[at as usize].iter().rev());
            }
        }
        self.place = vec![0; column.len()];
        (0..self.columns.len()).for_each(|at| self.number(at));
    }

    fn number(&mut self, column: usize) {
        for (place, &v) in self.columns[column].iter().enumerate() {
            self.place[v as usize] = place as u32;
        }
    }

    /// Searches an order with few crossings.
    pub(super) fn untangle(&mut self) {
        let size = self.place.len() + self.after.iter().map(Vec::len).sum::<usize>();
        let affordable = WORK / size.max(1);
        let mut best = (self.crossings(), self.columns.clone());
        let mut tired = 0;
        for sweep in 0..SWEEPS.min(affordable) {
            if best.0 == 0 || tired == PATIENCE {
                break;
            }
            self.sweep(sweep % 2 == 0);
            let crossings = self.crossings();
            tired += 1;
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
                tired = 0;
            }
        }
        self.columns = best.1;
        (0..self.columns.len()).for_each(|at| self.number(at));
        if best.0 > 0 {
            self.swap_neighbours(SWAPS.min(affordable));
        }
        let place = &self.place;
        for lists in [&mut self.before, &mut self.after] {
            lists.iter_mut().for_each(|list| list.sort_unstable_by_key(|&v| place[v as usize]));
        }
    }

    /// Orders each column by its neighbour column: forwards by predecessors, backwards by successors.
    fn sweep(&mut self, forwards: bool) {
        let count = self.columns.len();
        for step in 1..count {
            let column = if forwards { step } else { count - 1 - step };
            let neighbours = if forwards { &self.before } else { &self.after };
            let mut moving: Vec<(f64, u32)> = Vec::new();
            // Vertices without neighbours on this side keep their positions.
            for &v in &self.columns[column] {
                let of = &neighbours[v as usize];
                if !of.is_empty() {
                    let sum: u64 = of.iter().map(|&n| u64::from(self.place[n as usize])).sum();
                    moving.push((sum as f64 / of.len() as f64, v));
                }
            }
            moving.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut moved = moving.into_iter().map(|(_, v)| v);
            for v in &mut self.columns[column] {
                if !neighbours[*v as usize].is_empty() {
                    // As many vertices are put back as were taken out.
                    *v = moved.next().unwrap_or(*v);
                }
            }
            self.number(column);
        }
    }

    /// Swaps adjacent vertices where that removes crossings.
    fn swap_neighbours(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let mut better = false;
            for column in 0..self.columns.len() {
                for at in 1..self.columns[column].len() {
                    let (a, b) = (self.columns[column][at - 1], self.columns[column][at]);
                    let (now, then) = (self.between(a, b), self.between(b, a));
                    if then < now {
                        self.columns[column].swap(at - 1, at);
                        self.place[a as usize] += 1;
                        self.place[b as usize] -= 1;
                        better = true;
                    }
                }
            }
            if !better {
                return;
            }
        }
    }

    /// The crossings between the segments of two vertices of a column, the first above the second. Vertices with many
    /// segments are skipped, because the count would cost too much.
    fn between(&self, above: u32, below: u32) -> usize {
        const FEW: usize = 24;
        let mut crossings = 0;
        for lists in [&self.before, &self.after] {
            let (above, below) = (&lists[above as usize], &lists[below as usize]);
            if above.len().min(below.len()) > FEW || above.len().max(below.len()) > FEW * FEW {
                return 0;
            }
            let place = |v: &u32| self.place[*v as usize];
            crossings += above.iter().map(|a| below.iter().filter(|b| place(b) < place(a)).count()).sum::<usize>();
        }
        crossings
    }

    /// The total number of crossings.
    pub(super) fn crossings(&self) -> u64 {
        let mut crossings = 0;
        let mut tree: Vec<u32> = Vec::new();
        let mut ends: Vec<u32> = Vec::new();
        for pair in self.columns.windows(2) {
            tree.clear();
            tree.resize(pair[1].len() + 1, 0);
            let mut seen = 0_u64;
            for &v in &pair[0] {
                ends.clear();
                ends.extend(self.after[v as usize].iter().map(|&to| self.place[to as usize]));
                // Segments of one vertex do not cross each other. Therefore all are counted first and added afterwards.
                for &end in &ends {
                    let (mut at, mut not_below) = (end as usize + 1, 0_u64);
                    while at > 0 {
                        not_below += u64::from(tree[at]);
                        at &= at - 1;
                    }
                    crossings += seen - not_below;
                }
                for &end in &ends {
                    let mut at = end as usize + 1;
                    while at < tree.len() {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                    seen += 1;
                }
            }
        }
        crossings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(nodes: usize, column: &[u32], edges: &[(u32, u32)]) -> Layered {
        Layered::new(&Digraph::new(nodes, edges.iter().copied()), column)
    }

    #[test]
    fn crossings_are_counted() {
        let mut crossed = layered(4, &[0, 0, 1, 1], &[(0, 2), (0, 3), (1, 2), (1, 3)]);
        assert_eq!(crossed.crossings(), 1);
        crossed.untangle();
        assert_eq!(crossed.crossings(), 1, "of a complete one it cannot get less");
    }

    #[test]
    fn what_can_be_untangled_is() {
        let mut tangled = layered(6, &[0, 0, 0, 1, 1, 1], &[(0, 5), (1, 4), (2, 3)]);
        tangled.columns = vec![vec![0, 1, 2], vec![3, 4, 5]];
        (0..2).for_each(|at| tangled.number(at));
        assert_eq!(tangled.crossings(), 3);
        tangled.untangle();
        assert_eq!(tangled.crossings(), 0);
    }

    #[test]
    fn a_long_edge_has_a_bend_in_each_column_that_it_passes() {
        let long = layered(4, &[0, 1, 2, 3], &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        assert_eq!(long.chains[1].len(), 4);
        assert_eq!(long.columns.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 1]);
    }
}
