//! A log line as data: the fields of an event and of the spans around it, plus the fields that every line of a node
//! has. The field `attempt` (`project/task/number`) yields project, task, number and the id of the task's trace.
//! Deliberately absent: the output format (`ecs`, `journald`).

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::trace_id;

/// A function that writes every line.
pub(super) type Sink = Arc<dyn Fn(&Line) + Send + Sync>;

/// One line.
pub(super) struct Line {
    pub(super) level: Level,
    /// The module that logs the line.
    pub(super) target: &'static str,
    pub(super) message: String,
    /// Fields by their names in the code; the innermost span takes precedence.
    pub(super) fields: Map<String, Value>,
}

impl Line {
    /// The attempt or task of the line, under the displayed names.
    pub(super) fn subject(&self) -> Vec<(&'static str, Value)> {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let named = text("attempt").or_else(|| text("task")).unwrap_or_default();
        let mut parts = named.split('/');
        let (project, task, number) = (parts.next().filter(|name| !name.is_empty()), parts.next(), parts.next());
        let project = project.filter(|_| task.is_some()).or_else(|| text("project"));
        let mut known = Vec::new();
        known.extend(project.map(|project| ("project", project.into())));
        known.extend(task.map(|task| ("task", task.into())));
        known.extend(number.and_then(|number| number.parse::<u32>().ok()).map(|number| ("attempt", number.into())));
        if let Some((project, task)) = project.zip(task) {
            known.push(("trace.id", trace_id(project, task).into()));
        }
        known
    }

    /// The other fields.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&str, &Value)> {
        let shown = ["attempt", "task", "project"];
        self.fields.iter().map(|(name, value)| (name.as_str(), value)).filter(move |(name, _)| !shown.contains(name))
    }
}

/// Turns events into lines.
pub(super) struct Lines(pub(super) Sink);

/// The fields of a span, stored with it.
struct Kept(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Kept(fields.named));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Fields::default();
        event.record(&mut said);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Kept(fields)) = span.extensions().get::<Kept>() {
                for (name, value) in fields {
                    said.named.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        let metadata = event.metadata();
        let line =
            Line { level: *metadata.level(), target: metadata.target(), message: said.message, fields: said.named };
        (self.0)(&line);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    named: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.named.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, text.into()),
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value.into()),
        }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
