//! Aligned columns.
//! Deliberately absent: borders, wrapping, and the terminal's width.

use super::output::{Output, Paint, clean};

/// A table.
pub(super) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<(String, Paint)>>,
}

impl Table {
    /// An empty table with these columns.
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row of plain cells; an empty cell is shown as `-`.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> &mut Self {
        let cell =
            |cell: String| if cell.is_empty() { ("-".to_owned(), Paint::Dim) } else { (one_line(&cell), Paint::Plain) };
        self.rows.push(cells.into_iter().map(|text| cell(text.into())).collect());
        self
    }

    /// Colours a cell of the last row.
    pub(super) fn paint(&mut self, column: usize, paint: Paint) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            cell.1 = paint;
        }
    }

    /// Formats the lines.
    pub(super) fn render(&self, output: &Output) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.len()).collect();
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let head = self.head.iter().map(|cell| ((*cell).to_owned(), Paint::Bold)).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let last = row.len().saturating_sub(1);
            for (index, ((cell, paint), width)) in row.iter().zip(&widths).enumerate() {
                text.push_str(&output.paint(*paint, cell));
                if index < last {
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}

fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}
