//! Groups several tasks into one node, so that a large graph stays readable. Three steps, each of which keeps the graph
//! acyclic: connected completed tasks; tasks of one status with the same neighbours; chains of one status.
//! Deliberately absent: how a group looks.

use std::collections::{BTreeMap, HashMap};

use devstack_dag::record::Status;

use crate::layers::Digraph;

/// The predecessors, the successors and the status of a node. Nodes of the same kin are interchangeable.
type Kin<'g> = (&'g [u32], &'g [u32], &'static str);

/// How much to group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fold {
    /// No groups.
    #[default]
    None,
    /// Groups connected completed tasks.
    Completed,
    /// Also groups tasks of one status that form a chain or have the same neighbours.
    Similar,
}

impl Fold {
    /// Every step, the weakest first.
    pub const ALL: [Self; 3] = [Self::None, Self::Completed, Self::Similar];

    /// The word of the step in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Completed => "completed",
            Self::Similar => "similar",
        }
    }

    /// Parses the word of a step.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fold| fold.as_str() == word)
    }
}

/// The smallest group of nodes with the same neighbours: two nodes are as easy to read as one group.
const TWINS: usize = 3;
/// The smallest group from a chain.
const CHAIN: usize = 3;
/// How many times twins and chains are searched: each search can make the other find more.
const ROUNDS: usize = 4;

/// A graph of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// The edges between the groups.
    pub graph: Digraph,
    /// The members of each node, ascending; a single task is its only member.
    pub groups: Vec<Vec<u32>>,
}

/// Groups the tasks of a graph. Nodes in `kept` stay single; so do the members of a group whose lowest member is in
/// `opened`.
pub(super) fn fold(
    graph: &Digraph,
    statuses: &[Status],
    fold: Fold,
    kept: &[bool],
    opened: &dyn Fn(u32) -> bool,
) -> Folded {
    let mut folded = Folded { graph: graph.clone(), groups: (0..graph.len() as u32).map(|node| vec![node]).collect() };
    if fold >= Fold::Completed {
        folded.contract(completed(graph, statuses, kept), opened);
    }
    if fold >= Fold::Similar {
        for _ in 0..ROUNDS {
            let before = folded.groups.len();
            folded.contract(folded.twins(statuses, kept), opened);
            folded.contract(folded.chains(statuses, kept), opened);
            if folded.groups.len() == before {
                break;
            }
        }
    }
    folded
}

/// Finds completed tasks that have only completed tasks before them. No path from outside leads back into these tasks,
/// so each connected part can become one node without a cycle.
fn completed(graph: &Digraph, statuses: &[Status], kept: &[bool]) -> Vec<Vec<u32>> {
    let mut inside = vec![false; graph.len()];
    for &node in graph.order() {
        inside[node as usize] = statuses[node as usize] == Status::Completed
            && !kept[node as usize]
            && graph.before(node).iter().all(|&from| inside[from as usize]);
    }
    let within = graph.edges().filter(|&(from, to)| inside[from as usize] && inside[to as usize]);
    let parts = Digraph::new(graph.len(), within).parts();
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for node in (0..graph.len()).filter(|&node| inside[node]) {
        members.entry(parts[node]).or_default().push(node as u32);
    }
    members.into_values().filter(|members| members.len() > 1).collect()
}

impl Folded {
    fn status(&self, statuses: &[Status], node: u32) -> Status {
        statuses[self.groups[node as usize][0] as usize]
    }

    fn is_kept(&self, kept: &[bool], node: u32) -> bool {
        self.groups[node as usize].iter().any(|&member| kept[member as usize])
    }

    /// Finds nodes of one status with the same predecessors and the same successors. Every edge of one member exists
    /// for all members, so a cycle between groups would already be a cycle between members.
    fn twins(&self, statuses: &[Status], kept: &[bool]) -> Vec<Vec<u32>> {
        let mut alike: HashMap<Kin<'_>, Vec<u32>> = HashMap::new();
        for node in (0..self.graph.len() as u32).filter(|&node| !self.is_kept(kept, node)) {
            let status = self.status(statuses, node).as_str();
            alike.entry((self.graph.before(node), self.graph.after(node), status)).or_default().push(node);
        }
        let mut twins: Vec<_> = alike.into_values().filter(|nodes| nodes.len() >= TWINS).collect();
        twins.sort_unstable();
        twins
    }

    /// Finds chains of one status: each node has the next node as its only successor, and is that node's only
    /// predecessor.
    fn chains(&self, statuses: &[Status], kept: &[bool]) -> Vec<Vec<u32>> {
        let next = |node: u32| match *self.graph.after(node) {
            [next] if self.graph.before(next).len() == 1 => Some(next),
            _ => None,
        };
        let joins = |a: u32, b: u32| {
            !self.is_kept(kept, a) && !self.is_kept(kept, b) && self.status(statuses, a) == self.status(statuses, b)
        };
        let mut done = vec![false; self.graph.len()];
        let mut chains = Vec::new();
        for &start in self.graph.order() {
            let mut chain = vec![start];
            let mut at = start;
            while let Some(to) = next(at).filter(|&to| !done[start as usize] && joins(at, to)) {
                chain.push(to);
                at = to;
            }
            chain.iter().for_each(|&node| done[node as usize] = true);
            if chain.len() >= CHAIN {
                chain.sort_unstable();
                chains.push(chain);
            }
        }
        chains
    }

    /// Makes one node of each set. The sets must be disjoint.
    fn contract(&mut self, sets: Vec<Vec<u32>>, opened: &dyn Fn(u32) -> bool) {
        let first = |set: &Vec<u32>| set.iter().map(|&node| self.groups[node as usize][0]).min();
        let sets: Vec<_> = sets.into_iter().filter(|set| !first(set).is_some_and(opened)).collect();
        if sets.is_empty() {
            return;
        }
        let mut into: Vec<u32> = (0..self.graph.len() as u32).collect();
        for set in &sets {
            let to = set.iter().copied().min().unwrap_or_default();
            set.iter().for_each(|&node| into[node as usize] = to);
        }
        // New numbers, without gaps, in the same order.
        let mut number = vec![0_u32; into.len()];
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for node in 0..into.len() {
            if into[node] as usize == node {
                number[node] = groups.len() as u32;
                groups.push(Vec::new());
            }
            let at = number[into[node] as usize];
            groups[at as usize].append(&mut self.groups[node]);
        }
        groups.iter_mut().for_each(|members| members.sort_unstable());
        let new = |node: u32| number[into[node as usize] as usize];
        self.graph = Digraph::new(groups.len(), self.graph.edges().map(|(from, to)| (new(from), new(to))));
        self.groups = groups;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const C: Status = Status::Completed;
    const T: Status = Status::Todo;

    fn folded(nodes: usize, edges: &[(u32, u32)], statuses: &[Status], how: Fold) -> Vec<Vec<u32>> {
        let graph = Digraph::new(nodes, edges.iter().copied());
        fold(&graph, statuses, how, &vec![false; nodes], &|_| false).groups
    }

    #[test]
    fn what_is_completed_becomes_one() {
        let edges = [(0, 1), (1, 2), (2, 3), (4, 5)];
        assert_eq!(folded(6, &edges, &[C, C, C, T, C, T], Fold::Completed), [vec![0, 1, 2], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn what_is_completed_behind_open_work_stays() {
        // Tasks 0 and 2 are completed, and task 1 between them is not. One node for 0 and 2 would be before and after
        // 1.
        let groups = folded(3, &[(0, 1), (1, 2), (0, 2)], &[C, T, C], Fold::Completed);
        assert_eq!(groups.len(), 3);
    }

    #[test]
    fn a_fan_and_a_chain_become_one_each() {
        let fan = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)];
        assert_eq!(folded(5, &fan, &[C, T, T, T, T], Fold::Similar), [vec![0], vec![1, 2, 3], vec![4]]);
        let chain = [(0, 1), (1, 2), (2, 3)];
        assert_eq!(folded(4, &chain, &[T, T, T, Status::Wip], Fold::Similar), [vec![0, 1, 2], vec![3]]);
    }

    #[test]
    fn what_is_opened_or_kept_stays() {
        let graph = Digraph::new(4, [(0, 1), (1, 2), (2, 3)]);
        let all = fold(&graph, &[C; 4], Fold::Completed, &[false; 4], &|node| node == 0);
        assert_eq!(all.groups.len(), 4);
        let kept = fold(&graph, &[C; 4], Fold::Completed, &[false, false, false, true], &|_| false);
        assert_eq!(kept.groups, [vec![0, 1, 2], vec![3]]);
    }

    proptest! {
        /// A graph drops edges that would close a cycle. If an edge is missing, grouping made a cycle.
        #[test]
        fn folding_makes_no_cycle(
            edges in proptest::collection::vec((0..30_u32, 0..30_u32), 0..60),
            statuses in proptest::collection::vec(prop_oneof![Just(C), Just(C), Just(T)], 30),
        ) {
            let graph = Digraph::new(30, edges.into_iter().map(|(a, b)| (a.min(b), a.max(b))));
            for how in Fold::ALL {
                let folded = fold(&graph, &statuses, how, &[false; 30], &|_| false);
                let mut group = [0; 30];
                for (at, members) in folded.groups.iter().enumerate() {
                    members.iter().for_each(|&member| group[member as usize] = at as u32);
                }
                let wanted = graph.edges().map(|(a, b)| (group[a as usize], group[b as usize])).filter(|(a, b)| a != b);
                let wanted: std::collections::BTreeSet<_> = wanted.collect();
                prop_assert_eq!(folded.graph.edges().collect::<std::collections::BTreeSet<_>>(), wanted);
                let mut all: Vec<u32> = folded.groups.concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..30).collect::<Vec<u32>>());
            }
        }
    }
}
