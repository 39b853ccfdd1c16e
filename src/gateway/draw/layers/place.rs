//! How far down each node stands in its column: long edges run straight, nodes stand beside the middle of their neighbours, and
//! nothing touches. The method of Brandes and Köpf (2001): align each vertex with a middle neighbour four times (from both
//! sides, from above and below), push the aligned blocks together, and take the mean of the middle two of the four. Each of the four keeps the
//! order and the distances, and so does that mean.
//! Deliberately absent: the order within columns, which came before.

use std::collections::HashSet;

use super::order::Layered;

/// Room that vertices of a column keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// A node's height, in pixels.
    pub node: f64,
    /// A bend's.
    pub bend: f64,
    /// Between two.
    pub gap: f64,
}

impl Rows {
    pub(super) fn height(&self, layered: &Layered, v: u32) -> f64 {
        if (v as usize) < layered.nodes { self.node } else { self.bend }
    }
}

/// The middle of each vertex, in pixels; the highest edge of all is at 0.
pub(super) fn middles(layered: &Layered, rows: Rows) -> Vec<f64> {
    let crossed = crossed_long_edges(layered);
    let mut four = Vec::with_capacity(4);
    for backwards in [false, true] {
        for upwards in [false, true] {
            let align = Blocks::new(layered, &crossed, backwards, upwards);
            four.push(align.compacted(layered, rows, upwards));
        }
    }
    bring_together(layered, rows, &mut four);
    let mut middles: Vec<f64> = (0..layered.place.len())
        .map(|v| {
            let mut of = [four[0][v], four[1][v], four[2][v], four[3][v]];
            of.sort_by(f64::total_cmp);
            f64::midpoint(of[1], of[2])
        })
        .collect();
    let top = extent(layered, rows, &middles).0;
    middles.iter_mut().for_each(|middle| *middle -= top);
    middles
}

/// Segments that cross a straight part of a long edge: they must not be aligned, so that the long edge can.
fn crossed_long_edges(layered: &Layered) -> HashSet<(u32, u32)> {
    let is_bend = |v: u32| v as usize >= layered.nodes;
    let mut crossed = HashSet::new();
    for pair in layered.columns.windows(2) {
        let (mut low, mut scanned) = (0_u32, 0);
        for (at, &v) in pair[1].iter().enumerate() {
            let inner = Some(v).filter(|&v| is_bend(v)).and_then(|v| layered.before[v as usize].first().copied());
            let inner = inner.filter(|&from| is_bend(from));
            if inner.is_none() && at + 1 < pair[1].len() {
                continue;
            }
            let high = inner.map_or(pair[0].len() as u32, |from| layered.place[from as usize]);
            for &to in &pair[1][scanned..=at] {
                for &from in &layered.before[to as usize] {
                    let place = layered.place[from as usize];
                    if (place < low || place > high) && !(is_bend(from) && is_bend(to)) {
                        crossed.insert((from, to));
                    }
                }
            }
            scanned = at + 1;
            low = high;
        }
    }
    crossed
}

/// Vertices that stand on one line: each vertex's first.
struct Blocks(Vec<u32>);

impl Blocks {
    /// Aligns with neighbours in the column before, or behind (`backwards`), beginning from above or below (`upwards`).
    fn new(layered: &Layered, crossed: &HashSet<(u32, u32)>, backwards: bool, upwards: bool) -> Self {
        let count = layered.place.len();
        let mut root: Vec<u32> = (0..count as u32).collect();
        let columns = layered.columns.len();
        for step in 1..columns {
            let column = &layered.columns[if backwards { columns - 1 - step } else { step }];
            // The place, in the neighbouring column, of the last vertex that was aligned with.
            let mut last: Option<u32> = None;
            for index in 0..column.len() {
                let v = column[if upwards { column.len() - 1 - index } else { index }];
                let near = if backwards { &layered.after[v as usize] } else { &layered.before[v as usize] };
                if near.is_empty() {
                    continue;
                }
                let (upper, lower) = ((near.len() - 1) / 2, near.len() / 2);
                for middle in if upwards { [lower, upper] } else { [upper, lower] } {
                    let w = near[middle];
                    let place = layered.place[w as usize];
                    let passed = last.is_some_and(|last| if upwards { place >= last } else { place <= last });
                    let segment = if backwards { (v, w) } else { (w, v) };
                    if passed || crossed.contains(&segment) {
                        continue;
                    }
                    root[v as usize] = root[w as usize];
                    last = Some(place);
                    break;
                }
            }
        }
        Self(root)
    }

    /// The middles of all vertices when blocks are pushed together, downwards or `upwards`.
    fn compacted(&self, layered: &Layered, rows: Rows, upwards: bool) -> Vec<f64> {
        let count = self.0.len();
        // Which block must be how far behind which.
        let mut behind: Vec<Vec<(u32, f64)>> = vec![Vec::new(); count];
        let mut open = vec![0_u32; count];
        for column in &layered.columns {
            for pair in column.windows(2) {
                let apart = f64::midpoint(rows.height(layered, pair[0]), rows.height(layered, pair[1])) + rows.gap;
                let (a, b) = (self.0[pair[0] as usize], self.0[pair[1] as usize]);
                let (a, b) = if upwards { (b, a) } else { (a, b) };
                behind[a as usize].push((b, apart));
                open[b as usize] += 1;
            }
        }
        let mut order: Vec<u32> =
            (0..count as u32).filter(|&v| self.0[v as usize] == v && open[v as usize] == 0).collect();
        let mut at = vec![0.0_f64; count];
        let mut next = 0;
        while let Some(&block) = order.get(next) {
            next += 1;
            for &(to, apart) in &behind[block as usize] {
                at[to as usize] = at[to as usize].max(at[block as usize] + apart);
                open[to as usize] -= 1;
                if open[to as usize] == 0 {
                    order.push(to);
                }
            }
        }
        // Back towards what is behind, as far as that lets it.
        for &block in order.iter().rev() {
            let room = behind[block as usize].iter().map(|&(to, apart)| at[to as usize] - apart);
            if let Some(room) = room.min_by(f64::total_cmp) {
                at[block as usize] = at[block as usize].max(room);
            }
        }
        let sign = if upwards { -1.0 } else { 1.0 };
        self.0.iter().map(|&root| sign * at[root as usize]).collect()
    }
}

/// Moves the four over one another: to the narrowest, by their upper ends or, when pushed upwards, by their lower ones.
fn bring_together(layered: &Layered, rows: Rows, four: &mut [Vec<f64>]) {
    let extents: Vec<(f64, f64)> = four.iter().map(|at| extent(layered, rows, at)).collect();
    let span = |(top, bottom): &(f64, f64)| bottom - top;
    let Some(&narrowest) = extents.iter().min_by(|a, b| span(a).total_cmp(&span(b))) else { return };
    for (index, (at, extent)) in four.iter_mut().zip(&extents).enumerate() {
        let upwards = index % 2 == 1;
        let by = if upwards { narrowest.1 - extent.1 } else { narrowest.0 - extent.0 };
        at.iter_mut().for_each(|middle| *middle += by);
    }
}

fn extent(layered: &Layered, rows: Rows, at: &[f64]) -> (f64, f64) {
    at.iter().enumerate().fold((f64::INFINITY, f64::NEG_INFINITY), |(top, bottom), (v, &middle)| {
        let half = rows.height(layered, v as u32) / 2.0;
        (top.min(middle - half), bottom.max(middle + half))
    })
}
