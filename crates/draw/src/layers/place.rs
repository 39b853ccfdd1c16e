//! Chooses the vertical position of each vertex: near its neighbours, long edges straight, no overlaps, and the drawing
//! as low as possible. Each column in turn takes the positions nearest to the desired ones (the weighted mean of the
//! neighbours) that keep its order and its distances: an isotonic regression, exact and linear. Then the bends of each
//! long edge are aligned as far as there is room.
//! Deliberately absent: the order within columns, which is decided before.

use super::order::Layered;

/// The maximum number of passes over all columns, alternately from the left and from the right, for graphs of any size.
const PASSES: (usize, usize) = (40, 10);
/// The maximum number of vertices placed in all passes together: large graphs get fewer passes.
const WORK: usize = 600_000;

/// The space that vertices of a column need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// The height of a node, in pixels.
    pub node: f64,
    /// The height of a bend.
    pub bend: f64,
    /// The gap between two nodes.
    pub gap: f64,
}

impl Rows {
    pub(super) fn height(&self, layered: &Layered, v: u32) -> f64 {
        if layered.is_bend(v) { self.bend } else { self.node }
    }

    /// The distance between the middles of a vertex and the next below it.
    fn apart(&self, layered: &Layered, above: u32, below: u32) -> f64 {
        let gap = if layered.is_bend(above) && layered.is_bend(below) { self.gap / 2.0 } else { self.gap };
        f64::midpoint(self.height(layered, above), self.height(layered, below)) + gap
    }
}

/// The middle of each vertex, in pixels; the top of the drawing is at 0.
pub(super) fn middles(layered: &Layered, rows: Rows) -> Vec<f64> {
    let mut at = stacked(layered, rows);
    let count = layered.columns.len();
    for pass in 0..(WORK / at.len().max(1)).clamp(PASSES.1, PASSES.0) {
        for step in 0..count {
            let column = if pass % 2 == 0 { step } else { count - 1 - step };
            settle(layered, rows, &layered.columns[column], &mut at);
        }
    }
    level(layered, rows, &mut at);
    for chain in &layered.chains {
        straighten(layered, rows, &chain[1..chain.len() - 1], &mut at);
    }
    let top = (0..at.len()).map(|v| at[v] - rows.height(layered, v as u32) / 2.0).fold(f64::INFINITY, f64::min);
    // Half pixels, which floating point represents exactly. Rounding takes less than the gap.
    at.iter_mut().for_each(|middle| *middle = ((*middle - top) * 2.0).round() / 2.0);
    at
}

/// Packs every column around one line.
fn stacked(layered: &Layered, rows: Rows) -> Vec<f64> {
    let mut at = vec![0.0; layered.place.len()];
    for column in &layered.columns {
        let mut y = 0.0;
        for pair in column.windows(2) {
            y += rows.apart(layered, pair[0], pair[1]);
            at[pair[1] as usize] = y;
        }
        column.iter().for_each(|&v| at[v as usize] -= y / 2.0);
    }
    at
}

/// The weight with which a segment should be straight: highest between bends.
fn weight(layered: &Layered, a: u32, b: u32) -> f64 {
    match (layered.is_bend(a), layered.is_bend(b)) {
        (true, true) => 8.0,
        (false, false) => 1.0,
        _ => 2.0,
    }
}

/// Moves the vertices of a column to the positions nearest to the desired ones. Vertices that would come too close form
/// a block at the mean of their desired positions (pool adjacent violators).
fn settle(layered: &Layered, rows: Rows, column: &[u32], at: &mut [f64]) {
    struct Block {
        weight: f64,
        sum: f64,
        count: usize,
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(column.len());
    // The distance of each vertex below the first of the column, if all are as close as possible.
    let mut below = Vec::with_capacity(column.len());
    let mut offset = 0.0;
    for (index, &v) in column.iter().enumerate() {
        if index > 0 {
            offset += rows.apart(layered, column[index - 1], v);
        }
        below.push(offset);
        let (mut total, mut sum) = (0.0, 0.0);
        for &near in layered.before[v as usize].iter().chain(&layered.after[v as usize]) {
            let weight = weight(layered, v, near);
            total += weight;
            sum += weight * at[near as usize];
        }
        blocks.push(Block { weight: total, sum: sum - total * offset, count: 1 });
        while let [.., above, last] = &mut blocks[..] {
            if above.sum * last.weight <= last.sum * above.weight {
                break;
            }
            (above.weight, above.sum, above.count) =
                (above.weight + last.weight, above.sum + last.sum, above.count + last.count);
            blocks.pop();
        }
    }
    let mut index = 0;
    for block in blocks {
        for _ in 0..block.count {
            at[column[index] as usize] = block.sum / block.weight + below[index];
            index += 1;
        }
    }
}

/// Removes small steps from chains: a node with a single predecessor is aligned with it if it is nearly aligned
/// already.
fn level(layered: &Layered, rows: Rows, at: &mut [f64]) {
    for &v in layered.columns.iter().flatten() {
        let [near] = layered.before[v as usize][..] else { continue };
        let wanted = at[near as usize];
        let (least, most) = room(layered, rows, v, at);
        if (wanted - at[v as usize]).abs() <= rows.gap / 2.0 && (least..=most).contains(&wanted) {
            at[v as usize] = wanted;
        }
    }
}

/// Puts the bends of an edge on as few lines as possible.
fn straighten(layered: &Layered, rows: Rows, bends: &[u32], at: &mut [f64]) {
    let mut start = 0;
    while start < bends.len() {
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        let (mut end, mut sum) = (start, 0.0);
        while let Some(&v) = bends.get(end) {
            let (least, most) = room(layered, rows, v, at);
            if low.max(least) > high.min(most) {
                break;
            }
            (low, high) = (low.max(least), high.min(most));
            sum += at[v as usize];
            end += 1;
        }
        if end == start {
            // The bend has exactly the room that it needs, or slightly less after rounding: it stays.
            start += 1;
            continue;
        }
        let line = (sum / (end - start) as f64).max(low).min(high);
        bends[start..end].iter().for_each(|&v| at[v as usize] = line);
        start = end;
    }
}

/// The range in which a vertex can move while the rest of its column stays.
fn room(layered: &Layered, rows: Rows, v: u32, at: &[f64]) -> (f64, f64) {
    let place = layered.place[v as usize] as usize;
    let column = layered.column_of(v);
    let above = place.checked_sub(1).map(|above| column[above]);
    let below = column.get(place + 1).copied();
    (
        above.map_or(f64::NEG_INFINITY, |u| at[u as usize] + rows.apart(layered, u, v)),
        below.map_or(f64::INFINITY, |u| at[u as usize] - rows.apart(layered, v, u)),
    )
}
