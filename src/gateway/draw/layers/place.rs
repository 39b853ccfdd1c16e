//! How far down each vertex stands in its column: beside its neighbours, long edges straight, nothing touching, and the whole as low
//! as that allows. Each column in turn takes the places nearest to what its vertices want (the weighted mean of their neighbours) that
//! keep its order and its distances: an isotonic regression, exact and linear. Then the bends of each long edge are put on
//! one line as far as there is room.
//! Deliberately absent: the order within columns, which came before.

use super::order::Layered;

/// How often all columns take their places anew, from the left and from the right in turn: at most, and however large the graph is.
const PASSES: (usize, usize) = (40, 10);
/// Vertices that take places in all passes together: large graphs get fewer passes.
const WORK: usize = 600_000;

/// Room that vertices of a column keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// A node's height, in pixels.
    pub node: f64,
    /// A bend's.
    pub bend: f64,
    /// Between two nodes.
    pub gap: f64,
}

impl Rows {
    pub(super) fn height(&self, layered: &Layered, v: u32) -> f64 {
        if layered.is_bend(v) { self.bend } else { self.node }
    }

    /// From the middle of one to the middle of the next below it.
    fn apart(&self, layered: &Layered, above: u32, below: u32) -> f64 {
        let gap = if layered.is_bend(above) && layered.is_bend(below) { self.gap / 2.0 } else { self.gap };
        f64::midpoint(self.height(layered, above), self.height(layered, below)) + gap
    }
}

/// The middle of each vertex, in pixels; the highest edge of all is at 0.
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
    // Half pixels, which numbers hold exactly: rounding takes less than the gap.
    at.iter_mut().for_each(|middle| *middle = ((*middle - top) * 2.0).round() / 2.0);
    at
}

/// Every column packed around one line.
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

/// How much a segment wants to be straight: between bends most of all.
fn weight(layered: &Layered, a: u32, b: u32) -> f64 {
    match (layered.is_bend(a), layered.is_bend(b)) {
        (true, true) => 8.0,
        (false, false) => 1.0,
        _ => 2.0,
    }
}

/// Gives the vertices of a column the places nearest to those they want. Vertices that would come too close become a block, which
/// stands at the mean of what they want (pool adjacent violators).
fn settle(layered: &Layered, rows: Rows, column: &[u32], at: &mut [f64]) {
    struct Block {
        weight: f64,
        sum: f64,
        count: usize,
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(column.len());
    // How far below the first of the column each is if all are as close as they may be.
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

/// Takes small steps out of chains: a node that comes after one alone stands exactly beside it, if it nearly does.
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

/// Puts the bends of an edge on as few lines as there is room for.
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
            // It has just the room that it takes, and less by a rounding: it stays.
            start += 1;
            continue;
        }
        let line = (sum / (end - start) as f64).max(low).min(high);
        bends[start..end].iter().for_each(|&v| at[v as usize] = line);
        start = end;
    }
}

/// Between which places a vertex may move while the others of its column stay.
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
