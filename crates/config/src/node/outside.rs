//! `[webhook]` and `[telemetry]`: receivers of notices and traces, and the format of the log.
//! Deliberately absent: values of secrets. The configuration names files, which the node reads when it starts.

use std::path::PathBuf;

use super::{
    super::section::{At, Reader, Table, code},
    absolute_path,
};
use crate::url::{SYSTEM_CAS, check_url};
use devstack_telemetry::{Format, Target, check_filter};

/// The receiver of a notice when something begins to wait for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// `http://…` or `https://…`; its path may be a secret.
    pub url: String,
    /// A file with the secret that signs the bodies; `None`: bodies are not signed.
    pub secret_file: Option<PathBuf>,
    /// The trusted certificate authorities of a receiver, PEM.
    pub ca_file: PathBuf,
}

/// The format of the log, and where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Log lines for people or for programs.
    pub format: Format,
    /// Where log lines go.
    pub target: Target,
    /// Which lines are logged if `DEVSTACK_LOG` is not set; in the same syntax.
    pub filter: String,
    /// The complete URL of a collector for OTLP over HTTP with JSON, `…/v1/traces`. `None`: no traces.
    pub otlp_endpoint: Option<String>,
    /// The trusted certificate authorities of the collector, PEM.
    pub ca_file: PathBuf,
}

/// The default filter. Ractor logs little that helps people, and its `debug` prints messages.
const FILTER: &str = "info,ractor=warn,ractor_cluster=warn";

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            format: Format::Human,
            target: Target::Stderr,
            filter: FILTER.to_owned(),
            otlp_endpoint: None,
            ca_file: SYSTEM_CAS.into(),
        }
    }
}

impl TelemetryConfig {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        let words = [("human", Format::Human), ("json", Format::Json)];
        self.format = table.word(reader, "format", &words).map_or(self.format, |v| v.value);
        let words = [("stderr", Target::Stderr), ("journald", Target::Journald)];
        self.target = table.word(reader, "target", &words).map_or(self.target, |v| v.value);
        if let Some(text) = table.text(reader, "filter") {
            match check_filter(&text.value) {
                Ok(()) => self.filter = text.value.into_owned(),
                Err(why) => {
                    let message = format!("`filter`{}: {why}", table.of());
                    reader.add(text.at, code::BAD_VALUE, message, None);
                }
            }
        }
        self.otlp_endpoint = url(reader, &mut table, "otlp_endpoint").map(|url| url.value);
        absolute_path(reader, &mut table, "ca_file", &mut self.ca_file);
        table.finish(reader, &["format", "target", "filter", "otlp_endpoint", "ca_file"]);
    }
}

impl WebhookConfig {
    /// Reads the table; `None` if it is empty or wrong.
    pub(super) fn read<'i>(reader: &mut Reader<'i>, mut table: Table<'i>) -> Option<Self> {
        // `config show` prints an empty table if there is no webhook.
        if table.is_empty() {
            return None;
        }
        let url = url(reader, &mut table, "url");
        if url.is_none() && reader.is_clean() {
            let hint = "for example url = \"https://hooks.example/devstack\"".to_owned();
            reader.add(table.at, code::MISSING, format!("`url`{} is missing", table.of()), Some(hint));
        }
        let mut secret_file = PathBuf::new();
        absolute_path(reader, &mut table, "secret_file", &mut secret_file);
        let mut ca_file = PathBuf::from(SYSTEM_CAS);
        absolute_path(reader, &mut table, "ca_file", &mut ca_file);
        for event in table.texts(reader, "events").into_iter().flat_map(|events| events.value) {
            if event.value != "waiting" {
                let message = format!("`events`{} names `{}`, which is not an event", table.of(), event.value);
                let hint = "the only event is \"waiting\": something begins to wait for a person".to_owned();
                reader.add(event.at, code::BAD_VALUE, message, Some(hint));
            }
        }
        table.finish(reader, &["url", "secret_file", "ca_file", "events"]);
        let secret_file = Some(secret_file).filter(|file| !file.as_os_str().is_empty());
        Some(Self { url: url?.value, secret_file, ca_file })
    }
}

/// Reads an address of http or https.
fn url<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<At<String>> {
    let text = table.text(reader, key)?;
    match check_url(&text.value) {
        Ok(()) => Some(At { at: text.at, value: text.value.into_owned() }),
        Err(why) => {
            reader.add(text.at, code::BAD_VALUE, format!("`{key}`{}: {why}", table.of()), None);
            None
        }
    }
}
