//! Questions about a directed graph in adjacency form: cycles and longest paths. Knows no tasks.
//! Never recursive: a chain of a million tasks must not need a million stack frames.

/// Edges of `n` nodes, packed: `of(node)` are the nodes it points to.
#[derive(Debug, Default)]
pub struct Edges {
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

impl Edges {
    /// An empty graph with room for this many nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        let mut offsets = Vec::with_capacity(nodes + 1);
        offsets.push(0);
        Self { offsets, targets: Vec::new() }
    }

    /// Adds the next node with its edges.
    pub fn push(&mut self, targets: impl IntoIterator<Item = u32>) {
        self.targets.extend(targets);
        self.offsets.push(self.targets.len() as u32);
    }

    pub(crate) fn nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }
}

/// The members of one cycle in order, the first cycle found from the lowest node. Each member points to the next, the
/// last to the first.
pub fn cycle(edges: &Edges) -> Option<Vec<u32>> {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; edges.nodes()];
    // The path from the root, with the index of the next edge to follow.
    let mut path: Vec<(u32, u32)> = Vec::new();
    for root in 0..edges.nodes() as u32 {
        if state[root as usize] != NEW {
            continue;
        }
        state[root as usize] = OPEN;
        path.push((root, 0));
        while let Some((node, next)) = path.last_mut() {
            let Some(&target) = edges.of(*node).get(*next as usize) else {
                state[*node as usize] = DONE;
                path.pop();
                continue;
            };
            *next += 1;
            match state[target as usize] {
                NEW => {
                    state[target as usize] = OPEN;
                    path.push((target, 0));
                }
                OPEN => {
                    let start = path.iter().position(|&(n, _)| n == target).unwrap_or(0);
                    return Some(path[start..].iter().map(|&(n, _)| n).collect());
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(lists: &[Vec<u32>]) -> Edges {
        let mut edges = Edges::with_capacity(lists.len());
        lists.iter().for_each(|l| edges.push(l.iter().copied()));
        edges
    }

    /// Naive: repeatedly remove nodes that point to no remaining node; a rest means a cycle.
    fn has_cycle(lists: &[Vec<u32>]) -> bool {
        let mut left: Vec<u32> = (0..lists.len() as u32).collect();
        loop {
            let rest: Vec<u32> =
                left.iter().copied().filter(|&n| lists[n as usize].iter().any(|t| left.contains(t))).collect();
            if rest.len() == left.len() {
                return !rest.is_empty();
            }
            left = rest;
        }
    }

    #[test]
    fn names_the_members_in_order() {
        assert_eq!(cycle(&edges(&[vec![1], vec![2], vec![3], vec![1]])), Some(vec![1, 2, 3]));
        assert_eq!(cycle(&edges(&[vec![0]])), Some(vec![0]));
        assert_eq!(cycle(&edges(&[vec![1, 2], vec![3], vec![3], vec![]])), None);
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let lists: Vec<Vec<u32>> = (0..200_000u32).map(|n| if n == 0 { vec![] } else { vec![n - 1] }).collect();
        assert_eq!(cycle(&edges(&lists)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_search(lists in (1usize..12).prop_flat_map(|n| {
            prop::collection::vec(prop::collection::vec(0..n as u32, 0..4), n)
        })) {
            let found = cycle(&edges(&lists));
            prop_assert_eq!(found.is_some(), has_cycle(&lists));
            if let Some(members) = found {
                for (n, &member) in members.iter().enumerate() {
                    let next = members[(n + 1) % members.len()];
                    prop_assert!(lists[member as usize].contains(&next));
                }
            }
        }
    }
}
