//! Renders a profile as JSON in the shape of its file: a plan that is sent to a node contains its profiles.

use std::collections::BTreeMap;

use devstack_dag::profile::{Condition, Limit, Profile, When, Words};
use serde::{Serialize, Serializer};

use super::file;
use crate::units::format_duration;

/// Serializes to what [`super::read`] reads back to the same profile.
pub(crate) struct Rendered<'a>(pub(crate) &'a Profile);

#[derive(Serialize)]
struct Shape<'a> {
    provider: &'a str,
    command: &'a Words,
    arguments: BTreeMap<&'static str, &'a Words>,
    prompt: &'static str,
    env: BTreeMap<&'a str, &'a str>,
    secrets: &'a [Words],
    secret_file: Vec<SecretFile<'a>>,
    endpoints: &'a Words,
    output: Output<'a>,
    limit: Vec<LimitShape<'a>>,
    prices: BTreeMap<&'a str, Price>,
}

#[derive(Serialize)]
struct SecretFile<'a> {
    secret: &'a str,
    path: &'a str,
}

/// Unknown keys are left out; `null` counts as missing.
#[derive(Serialize)]
struct Output<'a> {
    result: Option<Conditions<'a>>,
    error: Option<Conditions<'a>>,
    add: bool,
    input_includes_cached: bool,
    grace: Option<String>,
    session: Option<&'a str>,
    session_line: Option<Conditions<'a>>,
    text: Option<&'a str>,
    usage: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct LimitShape<'a> {
    line: Option<Conditions<'a>>,
    reset: Option<&'a str>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct Price {
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
}

struct Conditions<'a>(&'a [Condition]);

impl Serialize for Conditions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, values)| (path, values)))
    }
}

fn limit(limit: &Limit) -> LimitShape<'_> {
    match limit {
        Limit::Line { when, reset } => LimitShape { line: conditions(when), reset: reset.as_deref(), text: None },
        Limit::Text(text) => LimitShape { line: None, reset: None, text: Some(text) },
    }
}

fn conditions(when: &When) -> Option<Conditions<'_>> {
    (!when.0.is_empty()).then_some(Conditions(&when.0))
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(profile) = self;
        let reading = &profile.reading;
        let dollars = |micros: u64| micros as f64 / 1e6;
        let shape = Shape {
            provider: &profile.provider,
            command: &profile.command,
            arguments: profile.arguments.iter().map(|(setting, words)| (setting.key(), words)).collect(),
            prompt: file::prompt(profile.prompt),
            env: profile.env.iter().map(|(name, value)| (&**name, &**value)).collect(),
            secrets: &profile.secrets,
            secret_file: profile
                .secret_files
                .iter()
                .map(|file| SecretFile { secret: &file.secret, path: &file.path })
                .collect(),
            endpoints: &profile.endpoints,
            output: Output {
                result: conditions(&reading.result),
                error: conditions(&reading.error),
                add: reading.add,
                input_includes_cached: reading.input_includes_cached,
                grace: reading.grace_ms.map(format_duration),
                session: reading.session.as_ref().map(|(_, path)| &**path),
                session_line: reading.session.as_ref().and_then(|(line, _)| conditions(line)),
                text: reading.text.as_deref(),
                usage: reading.fields.iter().map(|(measure, path)| (file::measure(*measure), &**path)).collect(),
            },
            limit: reading.limits.iter().map(limit).collect(),
            prices: profile
                .prices
                .iter()
                .map(|price| {
                    let [input, output] = [price.input, price.output].map(dollars);
                    let [cache_read, cache_write] = [price.cache_read, price.cache_write].map(dollars);
                    (&*price.model, Price { input, output, cache_read, cache_write })
                })
                .collect(),
        };
        shape.serialize(serializer)
    }
}
