//! Fills the placeholders of a profile once an attempt has its directories: words of the command line, values of
//! variables. A plain command is used unchanged. Deliberately absent: the profile's settings (resolved at submission)
//! and secret values.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use devstack_dag::profile::{Profile, PromptBy};
use devstack_shim::{
    layout,
    tool::{Last, SecretFile, Tool},
};

use super::Job;

/// The longest prompt as one word of a command line, in bytes: the kernel accepts 128 KiB. For a longer prompt the word
/// names its file.
const WORD_MAX: usize = 100 << 10;

/// The paths of an attempt's files, as the shim and the agent see them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) home: String,
    pub(super) tmp: String,
    pub(super) out: String,
    pub(super) workspace: String,
    pub(super) prompt_file: String,
    pub(super) task_file: String,
}

impl Places {
    /// `dir` is the attempt's directory; the other paths may be elsewhere.
    pub(super) fn new(dir: &Path, workspace: String, home: String, tmp: String) -> Self {
        let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let (out, prompt_file, task_file) = (at(layout::OUT), at(layout::PROMPT), at(layout::TASK));
        Self { home, tmp, out, workspace, prompt_file, task_file }
    }
}

/// The argv.
pub(super) fn command(job: &Job, places: &Places) -> Vec<String> {
    if job.profile.is_none() {
        return job.command.clone();
    }
    let prompt: Cow<'_, str> = match job.prompt.len() {
        0..WORD_MAX => Cow::Borrowed(&job.prompt),
        _ => Cow::Owned(format!("Read the file {} and do what it says.", places.prompt_file)),
    };
    job.command.iter().map(|word| fill(word, places, &prompt)).collect()
}

/// The profile's variables.
pub(super) fn env(job: &Job, places: &Places) -> Vec<(String, String)> {
    let env = job.profile.iter().flat_map(|profile| &profile.env);
    env.map(|(name, value)| (name.to_string(), fill(value, places, ""))).collect()
}

/// The tool description for the shim. `secret_dir`: where secret files are stored if HOME is on a disk.
pub(super) fn tool(job: &Job, secret_dir: impl FnOnce() -> Option<PathBuf>) -> Option<Tool> {
    let profile = job.profile.as_deref()?;
    let known = |name: &str| job.secrets.iter().any(|(known, _)| known == name);
    let files = profile.secret_files.iter().filter(|file| known(&file.secret));
    let secret_files: Vec<SecretFile> =
        files.map(|file| SecretFile { secret: file.secret.to_string(), path: file.path.to_string() }).collect();
    Some(Tool {
        prompt_on_stdin: profile.prompt == PromptBy::Stdin,
        secret_dir: if secret_files.is_empty() { None } else { secret_dir() },
        secret_files,
        last: last(profile),
    })
}

fn last(profile: &Profile) -> Option<Last> {
    let reading = &profile.reading;
    let when = |when: &devstack_dag::profile::When| {
        let texts = |words: &[Box<str>]| words.iter().map(|word| word.to_string()).collect();
        when.0.iter().map(|(path, values)| (path.to_string(), texts(values))).collect()
    };
    Some(Last { when: when(&reading.result), error: when(&reading.error), grace_ms: reading.grace_ms? })
}

/// Replaces the names in braces once: replaced text is not scanned again.
fn fill(text: &str, places: &Places, prompt: &str) -> String {
    let names = [
        ("{home}", places.home.as_str()),
        ("{tmp}", &places.tmp),
        ("{out}", &places.out),
        ("{workspace}", &places.workspace),
        ("{prompt_file}", &places.prompt_file),
        ("{prompt}", prompt),
    ];
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let found = names.iter().find(|(name, _)| from.starts_with(name));
        let (value, length) = found.map_or(("{", 1), |(name, value)| (*value, name.len()));
        filled.push_str(value);
        rest = &from[length..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_filled_in_once() {
        let places = Places::new(Path::new("/d"), "/w".into(), "/h".into(), "/t".into());
        for (text, filled) in [
            ("{home}/.x:{tmp}", "/h/.x:/t"),
            ("{prompt}", "say {home} {"),
            ("{prompt_file}", "/d/in/prompt.md"),
            ("{\"a\":{unknown}", "{\"a\":{unknown}"),
            ("{ä{workspace}{out}", "{ä/w/d/out"),
        ] {
            assert_eq!(fill(text, &places, "say {home} {"), filled);
        }
    }
}
