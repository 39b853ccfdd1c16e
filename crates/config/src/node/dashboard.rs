//! `[dashboard]`: the dashboard as a file that is kept up to date.
//! Deliberately absent: its content, and who may see the live dashboard.

use std::path::PathBuf;

use super::super::section::{Reader, Table};

/// The default interval between two writes, in milliseconds: a reloading browser or an upload can keep up with it.
const INTERVAL: u64 = 10_000;
/// The longest useful interval, in milliseconds: a day.
const INTERVAL_MAX: u64 = 86_400_000;

/// The export of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardConfig {
    /// The file; `None`: no file is written.
    pub export: Option<PathBuf>,
    /// The shortest time between two writes, in milliseconds. Without a change nothing is written.
    pub export_interval: u64,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { export: None, export_interval: INTERVAL }
    }
}

impl DashboardConfig {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        let mut export = PathBuf::new();
        super::absolute_path(reader, &mut table, "export", &mut export);
        self.export = (!export.as_os_str().is_empty()).then_some(export);
        let interval = table.duration(reader, "export_interval", 1000, INTERVAL_MAX);
        self.export_interval = interval.map_or(self.export_interval, |interval| interval.value);
        table.finish(reader, &["export", "export_interval"]);
    }
}
