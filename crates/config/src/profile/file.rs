//! Reads one profile from a table of a file or of a plan.
//! Deliberately absent: finding profiles (the catalog does it).

use std::path::{Component, Path};

use devstack_dag::profile::{
    Condition, Limit, Measure, Price, Profile, PromptBy, Reading, SecretFile, Setting, When, Words,
};

use super::is_name;
use crate::{
    secrets,
    section::{At, Reader, Table, code},
    tree::{Raw, Value},
};

/// The longest regular expression, and the most memory of a compiled one, in bytes.
const PATTERN_MAX: usize = 512;
const COMPILED_MAX: usize = 1 << 20;
/// The largest profile, in bytes of text: a project's record contains all of its profiles.
const PROFILE_MAX: usize = 5 << 10;
/// The longest grace after the last line, in milliseconds.
const GRACE_MAX: u64 = 600_000;
/// The highest price of a million tokens, in US dollars.
const PRICE_MAX: f64 = 100_000.0;
/// Variables that devstack itself sets for attempts.
pub(crate) const RESERVED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

const MEASURES: [(&str, Measure); 6] = [
    ("input", Measure::Input),
    ("output", Measure::Output),
    ("cache_read", Measure::CacheRead),
    ("cache_write", Measure::CacheWrite),
    ("cost", Measure::Cost),
    ("turns", Measure::Turns),
];
const PROMPTS: [(&str, PromptBy); 3] =
    [("stdin", PromptBy::Stdin), ("file", PromptBy::File), ("argument", PromptBy::Argument)];

/// The word of a measure.
pub(super) fn measure(measure: Measure) -> &'static str {
    MEASURES.iter().find(|(_, known)| *known == measure).map_or("", |(word, _)| word)
}

/// The word for the way in which an agent gets its prompt.
pub(super) fn prompt(by: PromptBy) -> &'static str {
    PROMPTS.iter().find(|(_, known)| *known == by).map_or("", |(word, _)| word)
}

/// Reads a profile. Also returns whether it claims to be tested.
pub(crate) fn read<'i>(reader: &mut Reader<'i>, mut table: Table<'i>, name: &str) -> Option<(Profile, bool)> {
    let base = extended(reader, &mut table);
    let base = base.as_ref();
    // The description is only for people who read the file.
    table.text(reader, "description");
    let tested = table.boolean(reader, "tested").is_some_and(|tested| tested.value);
    let provider = provider(reader, &mut table).or_else(|| base.map(|base| base.provider.clone()));
    let at = table.at;
    let command = table.texts(reader, "command");
    let command_at = command.as_ref().map_or(at, |words| words.at);
    let command = command.map(|words| texts(words.value)).or_else(|| base.map(|base| base.command.clone()));
    let arguments = arguments(reader, &mut table).or_else(|| base.map(|base| base.arguments.clone()));
    let prompt = table.word(reader, "prompt", &PROMPTS).map(|word| word.value).or_else(|| base.map(|base| base.prompt));
    let profile = Profile {
        name: name.into(),
        provider: provider.unwrap_or_default(),
        command: command.unwrap_or_default(),
        arguments: arguments.unwrap_or_default(),
        prompt: prompt.unwrap_or(PromptBy::Stdin),
        env: env(reader, &mut table, base.map_or(&[], |base| &base.env)),
        secrets: groups(reader, &mut table).or_else(|| base.map(|base| base.secrets.clone())).unwrap_or_default(),
        secret_files: secret_files(reader, &mut table)
            .or_else(|| base.map(|base| base.secret_files.clone()))
            .unwrap_or_default(),
        endpoints: table
            .texts(reader, "endpoints")
            .map(|words| texts(words.value))
            .or_else(|| base.map(|base| base.endpoints.clone()))
            .unwrap_or_default(),
        reading: output(reader, &mut table, base.map(|base| &base.reading)),
        prices: prices(reader, &mut table).or_else(|| base.map(|base| base.prices.clone())).unwrap_or_default(),
    };
    let of = table.of();
    table.finish(
        reader,
        &[
            "extends",
            "description",
            "tested",
            "provider",
            "command",
            "arguments",
            "prompt",
            "env",
            "secrets",
            "secret_file",
            "endpoints",
            "output",
            "limit",
            "prices",
        ],
    );
    for (missing, example) in [
        (profile.provider.is_empty(), "`provider`|provider = \"anthropic\""),
        (profile.command.is_empty(), "`command`|command = [\"agent\", \"--print\"]"),
    ] {
        let (what, example) = example.split_once('|').unwrap_or_default();
        if missing && reader.is_clean() {
            reader.add(
                at,
                code::MISSING,
                format!("profile `{name}` has no {what}"),
                Some(format!("for example {example}")),
            );
        }
    }
    let mut wrong = |why: String, hint: &str| {
        reader.add(command_at, code::BAD_VALUE, format!("`command`{of}{why}"), Some(hint.to_owned()));
    };
    let word = |wanted: &str| profile.command.iter().any(|word| word.contains(wanted));
    match profile.prompt {
        PromptBy::File if !word("{prompt_file}") => {
            wrong(" has no placeholder for the prompt".into(), "add \"{prompt_file}\", or use prompt = \"stdin\"");
        }
        PromptBy::Argument if !word("{prompt}") => {
            wrong(" has no placeholder for the prompt".into(), "add \"{prompt}\", or use prompt = \"stdin\"");
        }
        _ => {}
    }
    for setting in Setting::ALL {
        let key = setting.key();
        let given = profile.arguments.iter().any(|(known, _)| *known == setting);
        if word(setting.placeholder()) && !given {
            wrong(
                format!(" has `{}`, but [arguments] does not define it", setting.placeholder()),
                &format!("for example {key} = [\"--{}\", \"{}\"]", key.replace('_', "-"), setting.placeholder()),
            );
        }
    }
    let bytes = profile.bytes();
    if bytes > PROFILE_MAX {
        let hint = "remove unneeded prices and patterns".to_owned();
        reader.add(
            at,
            code::BAD_VALUE,
            format!("profile `{name}` has {bytes} bytes; at most {PROFILE_MAX}"),
            Some(hint),
        );
    }
    Some((profile, tested))
}

fn extended<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Profile> {
    let name = table.text(reader, "extends")?;
    match super::shipped(&name.value) {
        Some(Ok(base)) => Some(std::sync::Arc::unwrap_or_clone(base.profile)),
        // Shipped profiles are valid: a test reads all of them.
        Some(Err(_)) => None,
        None => {
            let hint = super::Catalog::shipped().hint(&name.value, std::iter::empty());
            let message = format!("`extends` names `{}`, which is not a shipped profile", name.value);
            reader.add(name.at, code::BAD_VALUE, message, Some(hint));
            None
        }
    }
}

fn provider<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<str>> {
    let name = table.text(reader, "provider")?;
    if is_name(&name.value) {
        return Some(name.value.into());
    }
    let message = format!("`provider` is `{}`; use 1 to 64 letters, digits, `_` or `-`", name.value);
    reader.add(name.at, code::BAD_VALUE, message, None);
    None
}

fn arguments<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<[(Setting, Words)]>> {
    let field = table.take(reader, "arguments")?;
    let mut table = reader.table(field.value, "[arguments]")?;
    let mut list = Vec::new();
    for setting in Setting::ALL {
        list.extend(table.texts(reader, setting.key()).map(|words| (setting, texts(words.value))));
    }
    table.finish(reader, &Setting::ALL.map(Setting::key));
    Some(list.into())
}

/// Reads variables; they override those of the base.
fn env<'i>(
    reader: &mut Reader<'i>,
    table: &mut Table<'i>,
    base: &[(Box<str>, Box<str>)],
) -> Box<[(Box<str>, Box<str>)]> {
    let mut env = base.to_vec();
    let given = table.take(reader, "env").and_then(|field| reader.table(field.value, "[env]"));
    for field in given.map(Table::into_fields).unwrap_or_default() {
        let (at, name) = (field.at, field.key);
        if !secrets::is_name(&name) || RESERVED.contains(&&*name) || name.starts_with("DEVSTACK_") {
            reader.add(
                at,
                code::BAD_VALUE,
                format!("`{name}` of [env] is not a variable that a profile can set"),
                None,
            );
        } else if let Some(value) = text(reader, at, &name, field.value) {
            env.retain(|(known, _)| **known != *name);
            env.push((name.as_ref().into(), value));
        }
    }
    env.sort();
    env.into()
}

fn text<'i>(reader: &mut Reader<'i>, at: usize, key: &str, raw: Raw<'i>) -> Option<Box<str>> {
    match raw.open(reader.text) {
        Value::Text(text) if !text.contains('\0') => Some(text.into()),
        _ => {
            reader.add(at, code::WRONG_TYPE, format!("`{key}` must be a string"), None);
            None
        }
    }
}

/// `[["A", "B"], ["C"]]`: one of A and B, and C. `["A", "B"]` is one group.
fn groups<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<[Words]>> {
    let list = table.array(reader, "secrets", "a list of names, or of lists of names")?;
    let (mut groups, mut flat) = (Vec::new(), Vec::new());
    for item in list.value {
        let at = item.at(reader.text);
        match item.open(reader.text) {
            Value::Text(name) => flat.extend(secret(reader, at, &name)),
            Value::Array(items) => {
                let mut group: Vec<Box<str>> = Vec::new();
                for item in items {
                    let at = item.at(reader.text);
                    let name = text(reader, at, "secrets", item);
                    group.extend(name.and_then(|name| secret(reader, at, &name)));
                }
                groups.extend((!group.is_empty()).then(|| group.into()));
            }
            _ => reader.add(at, code::WRONG_TYPE, "an item of `secrets` must be a name or a list of names", None),
        }
    }
    groups.extend((!flat.is_empty()).then(|| flat.into()));
    Some(groups.into())
}

fn secret(reader: &mut Reader<'_>, at: usize, name: &str) -> Option<Box<str>> {
    if secrets::is_name(name) && !RESERVED.contains(&name) && !name.starts_with("DEVSTACK_") {
        return Some(name.into());
    }
    reader.add(at, code::BAD_VALUE, format!("`{name}` is not a name of a secret"), None);
    None
}

fn secret_files<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<[SecretFile]>> {
    let list = table.array(reader, "secret_file", "a list of tables: [[secret_file]]")?;
    let mut files = Vec::new();
    for item in list.value {
        let Some(mut table) = reader.table(item, "a [[secret_file]]") else { continue };
        let (at, secret) =
            (table.at, table.text(reader, "secret").and_then(|name| secret(reader, name.at, &name.value)));
        let path = table.text(reader, "path").filter(|path| {
            let plain = Path::new(&*path.value).components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || path.value.is_empty() {
                let message = format!("`path` is `{}`; it must be below HOME: \".agent/auth.json\"", path.value);
                reader.add(path.at, code::BAD_VALUE, message, None);
            }
            plain
        });
        table.finish(reader, &["secret", "path"]);
        match (secret, path) {
            (Some(secret), Some(path)) => files.push(SecretFile { secret, path: path.value.into() }),
            _ if reader.is_clean() => {
                reader.add(at, code::MISSING, "a [[secret_file]] needs `secret` and `path`", None);
            }
            _ => {}
        }
    }
    Some(files.into())
}

/// `[output]` and `[[limit]]`.
fn output<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, base: Option<&Reading>) -> Reading {
    let mut reading = base.cloned().unwrap_or_default();
    if let Some(mut table) = table.take(reader, "output").and_then(|field| reader.table(field.value, "[output]")) {
        reading = Reading { limits: reading.limits, ..Reading::default() };
        reading.result = when(reader, &mut table, "result").unwrap_or_default();
        reading.error = when(reader, &mut table, "error").unwrap_or_default();
        reading.add = table.boolean(reader, "add").is_some_and(|add| add.value);
        reading.input_includes_cached = table.boolean(reader, "input_includes_cached").is_some_and(|it| it.value);
        reading.grace_ms = table.duration(reader, "grace", 0, GRACE_MAX).map(|grace| grace.value);
        let session = table.text(reader, "session").map(|path| path.value.into());
        let line = when(reader, &mut table, "session_line").unwrap_or_else(|| reading.result.clone());
        reading.session = session.map(|path| (line, path));
        reading.text = table.text(reader, "text").and_then(|text| pattern(reader, text.at, &text.value));
        let usage = table.take(reader, "usage").and_then(|field| reader.table(field.value, "[output.usage]"));
        if let Some(mut usage) = usage {
            let mut fields = Vec::new();
            for (word, measure) in MEASURES {
                fields.extend(usage.text(reader, word).map(|path| (measure, path.value.into())));
            }
            reading.fields = fields.into();
            usage.finish(reader, &MEASURES.map(|(word, _)| word));
        }
        table.finish(
            reader,
            &["result", "error", "add", "input_includes_cached", "grace", "session", "session_line", "text", "usage"],
        );
    }
    if let Some(limits) = limits(reader, table) {
        reading.limits = limits;
    }
    reading
}

/// `{ type = "result", ok = [true, "yes"] }`.
fn when<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<When> {
    let field = table.take(reader, key)?;
    let table = reader.table(field.value, format!("`{key}`"))?;
    let mut list: Vec<Condition> = Vec::new();
    for field in table.into_fields() {
        let values = match field.value.open(reader.text) {
            Value::Array(items) => items.into_iter().map(|item| word(item.open(reader.text))).collect(),
            one => vec![word(one)],
        };
        match values.into_iter().collect::<Option<Vec<Box<str>>>>() {
            Some(values) if !values.is_empty() => list.push((field.key.as_ref().into(), values.into())),
            _ => {
                let message =
                    format!("`{}` of `{key}` must be a string, a number, true or false, or a list of them", field.key);
                reader.add(field.at, code::WRONG_TYPE, message, None);
            }
        }
    }
    // Tables are unordered: sort, so that equal tables give equal results.
    list.sort();
    Some(When(list.into()))
}

fn word(value: Value<'_>) -> Option<Box<str>> {
    match value {
        Value::Text(text) => Some(text.into()),
        Value::Boolean(value) => Some(value.to_string().into()),
        Value::Integer(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn limits<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<[Limit]>> {
    let list = table.array(reader, "limit", "a list of tables: [[limit]]")?;
    let mut limits = Vec::new();
    for item in list.value {
        let Some(mut table) = reader.table(item, "a [[limit]]") else { continue };
        let (at, line) = (table.at, when(reader, &mut table, "line"));
        let reset = table.text(reader, "reset").map(|path| path.value.into());
        let text = table.text(reader, "text").and_then(|text| pattern(reader, text.at, &text.value));
        table.finish(reader, &["line", "reset", "text"]);
        match (line, text) {
            (Some(when), None) => limits.push(Limit::Line { when, reset }),
            (None, Some(text)) if reset.is_none() => limits.push(Limit::Text(text)),
            // A wrong pattern was already reported.
            _ if !reader.is_clean() => {}
            _ => {
                let hint =
                    "a `text` pattern gets the time from groups named epoch, days, hours, minutes, seconds".to_owned();
                let message = "a [[limit]] has either `line` (and `reset`) or `text`";
                reader.add(at, code::BAD_VALUE, message, Some(hint));
            }
        }
    }
    Some(limits.into())
}

fn pattern(reader: &mut Reader<'_>, at: usize, text: &str) -> Option<Box<str>> {
    let wrong = if text.len() > PATTERN_MAX {
        format!("it is longer than {PATTERN_MAX} bytes")
    } else {
        match regex::RegexBuilder::new(text).size_limit(COMPILED_MAX).build() {
            Ok(_) => return Some(text.into()),
            Err(error) => error.to_string().lines().last().unwrap_or_default().to_owned(),
        }
    };
    reader.add(at, code::BAD_VALUE, format!("`text` is not a regular expression: {wrong}"), None);
    None
}

fn prices<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<[Price]>> {
    let field = table.take(reader, "prices")?;
    let table = reader.table(field.value, "[prices]")?;
    let mut prices: Vec<Price> = Vec::new();
    for field in table.into_fields() {
        let Some(mut table) = reader.table(field.value, format!("[prices.{}]", field.key)) else { continue };
        let mut price = |key: &str| {
            let found = table.number(reader, key)?;
            if (0.0..=PRICE_MAX).contains(&found.value) {
                // In range, so it fits.
                return Some((found.value * 1e6).round() as u64);
            }
            let message =
                format!("`{key}` is {}; it must be dollars per million tokens, 0 to {PRICE_MAX}", found.value);
            reader.add(found.at, code::BAD_VALUE, message, None);
            None
        };
        let (input, output) = (price("input"), price("output"));
        let (cache_read, cache_write) = (price("cache_read").or(input), price("cache_write").or(input));
        let known = [input, output, cache_read, cache_write];
        table.finish(reader, &["input", "output", "cache_read", "cache_write"]);
        if let [Some(input), Some(output), Some(cache_read), Some(cache_write)] = known {
            prices.push(Price { model: field.key.as_ref().into(), input, cache_read, cache_write, output });
        } else if reader.is_clean() {
            reader.add(field.at, code::MISSING, format!("[prices.{}] needs `input` and `output`", field.key), None);
        }
    }
    prices.sort_by(|a, b| a.model.cmp(&b.model));
    Some(prices.into())
}

fn texts(words: Vec<At<std::borrow::Cow<'_, str>>>) -> Words {
    words.into_iter().map(|word| word.value.into()).collect()
}
