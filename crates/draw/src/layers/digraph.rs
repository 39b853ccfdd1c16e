//! A directed acyclic graph with the queries that a drawing needs: an order, connected parts, reachability, and the
//! edges that no other path implies. Never recursive, because a chain can be as long as a plan.
//! Deliberately absent: what the nodes are.

/// Nodes are numbered from 0. The graph keeps both directions of each edge; each list is ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digraph {
    out: Vec<Vec<u32>>,
    into: Vec<Vec<u32>>,
    /// A topological order.
    order: Vec<u32>,
}

impl Digraph {
    /// Makes a graph of `nodes` nodes. Duplicate edges count once. Edges to missing nodes, and edges that would close a
    /// cycle, are left out.
    pub fn new(nodes: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut graph = Self { out: vec![Vec::new(); nodes], into: vec![Vec::new(); nodes], order: Vec::new() };
        for (from, to) in edges {
            if from != to && (from.max(to) as usize) < nodes {
                graph.out[from as usize].push(to);
            }
        }
        graph.out.iter_mut().for_each(|to| {
            to.sort_unstable();
            to.dedup();
        });
        graph.sort();
        graph
    }

    /// Kahn's order. If only cycles are left, the lowest node goes first, and edges that then point backwards are
    /// dropped.
    fn sort(&mut self) {
        let nodes = self.out.len();
        let mut open = vec![0_u32; nodes];
        self.out.iter().flatten().for_each(|&to| open[to as usize] += 1);
        let mut ready: std::collections::VecDeque<u32> =
            (0..nodes as u32).filter(|&node| open[node as usize] == 0).collect();
        let mut place = vec![u32::MAX; nodes];
        let mut lowest = 0;
        let mut order = Vec::with_capacity(nodes);
        while order.len() < nodes {
            let node = ready.pop_front().unwrap_or_else(|| {
                while place[lowest] != u32::MAX {
                    lowest += 1;
                }
                lowest as u32
            });
            place[node as usize] = order.len() as u32;
            order.push(node);
            for &to in &self.out[node as usize] {
                open[to as usize] = open[to as usize].saturating_sub(1);
                if open[to as usize] == 0 && place[to as usize] == u32::MAX {
                    ready.push_back(to);
                }
            }
        }
        self.order = order;
        self.keep(|from, to| place[from as usize] < place[to as usize]);
    }

    fn keep(&mut self, keep: impl Fn(u32, u32) -> bool) {
        self.into.iter_mut().for_each(Vec::clear);
        for (from, out) in self.out.iter_mut().enumerate() {
            out.retain(|&to| keep(from as u32, to));
            out.iter().for_each(|&to| self.into[to as usize].push(from as u32));
        }
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the graph has no nodes.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The successors of a node.
    pub fn after(&self, node: u32) -> &[u32] {
        &self.out[node as usize]
    }

    /// The predecessors of a node.
    pub fn before(&self, node: u32) -> &[u32] {
        &self.into[node as usize]
    }

    /// The nodes in topological order.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The edges, ordered by source and target.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.out.iter().enumerate().flat_map(|(from, out)| out.iter().map(move |&to| (from as u32, to)))
    }

    /// The graph without implied edges: `a → c` is implied by `a → b → c`. Takes `nodes² / 8` bytes.
    #[must_use]
    pub fn reduced(mut self) -> Self {
        let words = self.len().div_ceil(64);
        let mut place = vec![0_u32; self.len()];
        self.order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);
        let mut reach = vec![0_u64; words * self.len()];
        let mut seen = vec![0_u64; words];
        for &node in self.order.iter().rev() {
            seen.fill(0);
            let out = &mut self.out[node as usize];
            // The nearest successor first: it reaches everything behind it.
            out.sort_unstable_by_key(|&to| place[to as usize]);
            out.retain(|&to| {
                let (word, bit) = (to as usize / 64, 1_u64 << (to % 64));
                if seen[word] & bit != 0 {
                    return false;
                }
                let of = &reach[to as usize * words..][..words];
                seen.iter_mut().zip(of).for_each(|(seen, of)| *seen |= of);
                seen[word] |= bit;
                true
            });
            out.sort_unstable();
            reach[node as usize * words..][..words].copy_from_slice(&seen);
        }
        self.keep(|_, _| true);
        self
    }

    /// Whether each node is the given node, before it or after it.
    pub fn path(&self, node: u32) -> Vec<bool> {
        let mut on = vec![false; self.len()];
        for next in [Self::before as fn(&Self, u32) -> &[u32], Self::after] {
            let mut open = vec![node];
            while let Some(at) = open.pop() {
                on[at as usize] = true;
                open.extend(next(self, at).iter().filter(|&&to| !on[to as usize]));
            }
        }
        on
    }

    /// The number of the connected part of each node. Parts are numbered by their lowest node.
    pub fn parts(&self) -> Vec<u32> {
        let mut part = vec![u32::MAX; self.len()];
        let mut parts = 0;
        for start in 0..self.len() as u32 {
            if part[start as usize] != u32::MAX {
                continue;
            }
            part[start as usize] = parts;
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                for &to in self.after(at).iter().chain(self.before(at)) {
                    if part[to as usize] == u32::MAX {
                        part[to as usize] = parts;
                        open.push(to);
                    }
                }
            }
            parts += 1;
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_follow_from_others_go() {
        let graph = Digraph::new(5, [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (0, 4), (0, 4)]).reduced();
        assert_eq!(graph.edges().collect::<Vec<_>>(), [(0, 1), (0, 4), (1, 2), (2, 3)]);
    }

    #[test]
    fn a_cycle_is_opened_somewhere() {
        let graph = Digraph::new(3, [(0, 1), (1, 2), (2, 0), (2, 2), (1, 9)]);
        assert_eq!(graph.edges().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        assert_eq!(graph.order(), [0, 1, 2]);
    }

    #[test]
    fn a_path_is_what_is_before_and_behind() {
        let graph = Digraph::new(6, [(0, 1), (1, 2), (0, 3), (3, 4)]);
        assert_eq!(graph.path(1), [true, true, true, false, false, false]);
        assert_eq!(graph.parts(), [0, 0, 0, 0, 0, 1]);
    }
}
