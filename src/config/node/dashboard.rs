//! `[dashboard]`: the dashboard as a file that is kept fresh.
//! Deliberately absent: what is in it, and who may see the live one.

use std::path::PathBuf;

use super::super::section::{Reader, Table};

/// The least time between two writes, in milliseconds: what a browser that loads it again, or an upload, keeps up with.
const INTERVAL: u64 = 10_000;
/// The longest that makes sense, in milliseconds: a day.
const INTERVAL_MAX: u64 = 86_400_000;

/// What is written of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardConfig {
    /// The file; `None`: none is written.
    pub export: Option<PathBuf>,
    /// Milliseconds from one write to the next, at least. Without a change nothing is written.
    pub export_interval: u64,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { export: None, export_interval: INTERVAL }
    }
}

impl DashboardConfig {
    /// Takes what the table says.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        let mut export = PathBuf::new();
        super::absolute_path(reader, &mut table, "export", &mut export);
        self.export = (!export.as_os_str().is_empty()).then_some(export);
        let interval = table.duration(reader, "export_interval", 1000, INTERVAL_MAX);
        self.export_interval = interval.map_or(self.export_interval, |interval| interval.value);
        table.finish(reader, &["export", "export_interval"]);
    }
}
