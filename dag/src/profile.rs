//! How to run a role's command line agent and how to read its output: data from a profile file, resolved at submission
//! and carried to the host. The engine reads only the provider and the names of secrets.
//! Deliberately absent: any agent's name, and the reading itself (the host does it).

use serde::{Deserialize, Serialize};

/// Words of a command line, names, values.
pub type Words = Box<[Box<str>]>;

/// A path in a line of JSON and its possible values.
pub type Condition = (Box<str>, Words);

/// A profile, as in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name, as in `[agents.*] profile`.
    pub name: Box<str>,
    /// The provider of its models: it is parked when one of its attempts is rate-limited.
    pub provider: Box<str>,
    /// The command line. A word that is `{model}`, `{max_turns}` or `{max_cost}` stands for [`Profile::arguments`];
    /// `{prompt}` and others are filled in on the host.
    pub command: Words,
    /// Words for a setting of the role, used if the role has the setting; a setting without words is not allowed.
    pub arguments: Box<[(Setting, Words)]>,
    /// How the agent gets its prompt.
    pub prompt: PromptBy,
    /// Variables of its environment; values may name the attempt's directories.
    pub env: Box<[(Box<str>, Box<str>)]>,
    /// Groups of secrets; the agent gets one of each group, the first that its host has.
    pub secrets: Box<[Words]>,
    /// Secrets that are passed as files, not variables.
    pub secret_files: Box<[SecretFile]>,
    /// Names of the machines that it talks to, for display and for a network filter.
    pub endpoints: Words,
    /// How to read its output.
    pub reading: Reading,
    /// Prices of tokens, for agents that do not report costs.
    pub prices: Box<[Price]>,
}

/// A setting of a role that a profile passes on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// `model`.
    Model,
    /// `max_turns`.
    MaxTurns,
    /// `max_cost`, in US dollars: the agent also stops itself.
    MaxCost,
}

/// How an agent gets its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromptBy {
    /// On standard input, which then ends.
    Stdin,
    /// As the file `{prompt_file}`; standard input is empty.
    File,
    /// As the word `{prompt}`; standard input is empty.
    Argument,
}

/// A secret that is written to a file below the attempt's HOME, readable by its owner only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// The secret's name.
    pub secret: Box<str>,
    /// The path, relative to HOME.
    pub path: Box<str>,
}

/// A condition on a line of JSON: every path has one of its values. Without a path it never holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct When(pub Box<[Condition]>);

/// How to read an agent's output. Paths are names separated by dots: `usage.input_tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Lines that report the outcome and the usage; the last one counts, unless they are added up.
    pub result: When,
    /// Such a line means failure, whatever the exit code is.
    pub error: When,
    /// Whether the numbers of all result lines are added up.
    pub add: bool,
    /// Paths of the numbers in a result line.
    pub fields: Box<[(Measure, Box<str>)]>,
    /// The tokens read include those from the cache.
    pub input_includes_cached: bool,
    /// The line that names the session, and the path of the name.
    pub session: Option<(When, Box<str>)>,
    /// For agents that write text: a regular expression whose groups are named after measures; the last match counts.
    pub text: Option<Box<str>>,
    /// What means that the provider refuses requests for now.
    pub limits: Box<[Limit]>,
    /// The time that the agent has to exit after a result line, in milliseconds; then it is ended.
    pub grace_ms: Option<u64>,
}

/// A number that an agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// Tokens read.
    Input,
    /// Tokens written.
    Output,
    /// Tokens read from the cache.
    CacheRead,
    /// Tokens written to the cache.
    CacheWrite,
    /// US dollars.
    Cost,
    /// Turns.
    Turns,
}

/// What means that the provider refuses requests for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// A line of JSON.
    Line {
        /// The line.
        when: When,
        /// The path of the time at which requests are possible again: seconds since 1970.
        reset: Option<Box<str>>,
    },
    /// A text in the result, or in the last output of an agent that failed without a result. Groups say when requests
    /// are possible again: `epoch`, or `days`, `hours`, `minutes` and `seconds` from then on, or the time of day
    /// `hour`, `minute` and `half` (AM, PM; UTC) with `month`, `day` and `year` if needed.
    Text(Box<str>),
}

/// The price of a model's tokens, in millionths of a US dollar per million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The model, as the role names it.
    pub model: Box<str>,
    /// Tokens read.
    pub input: u64,
    /// Tokens read from the cache.
    pub cache_read: u64,
    /// Tokens written to the cache.
    pub cache_write: u64,
    /// Tokens written.
    pub output: u64,
}

impl Profile {
    /// The argv of a role: settings filled in, placeholders of the host left as they are.
    pub fn argv(&self, setting: impl Fn(Setting) -> Option<String>) -> Vec<String> {
        let mut argv = Vec::with_capacity(self.command.len());
        for word in &self.command {
            let Some(which) = Setting::ALL.into_iter().find(|which| which.placeholder() == &**word) else {
                argv.push(word.to_string());
                continue;
            };
            if let (Some(words), Some(value)) = (self.words(which), setting(which)) {
                argv.extend(words.iter().map(|word| word.replace(which.placeholder(), &value)));
            }
        }
        argv
    }

    /// Whether a role can have this setting.
    pub fn takes(&self, which: Setting) -> bool {
        self.words(which).is_some() && self.command.iter().any(|word| &**word == which.placeholder())
    }

    fn words(&self, which: Setting) -> Option<&[Box<str>]> {
        self.arguments.iter().find(|(setting, _)| *setting == which).map(|(_, words)| &**words)
    }

    /// An upper estimate of its bytes of text, with a length for each text.
    pub fn bytes(&self) -> usize {
        const LENGTH: usize = 9;
        let words = |list: &[Box<str>]| list.iter().map(|word| word.len() + LENGTH).sum::<usize>() + LENGTH;
        let when = |when: &When| when.0.iter().map(|(path, values)| path.len() + words(values) + LENGTH).sum::<usize>();
        let reading = &self.reading;
        let limit = |limit: &Limit| match limit {
            Limit::Line { when: line, reset } => when(line) + reset.as_ref().map_or(0, |path| path.len()),
            Limit::Text(pattern) => pattern.len(),
        };
        words(&self.command)
            + self.arguments.iter().map(|(_, list)| words(list)).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len() + 2 * LENGTH).sum::<usize>()
            + self.secrets.iter().map(|group| words(group)).sum::<usize>()
            + self.secret_files.iter().map(|file| file.secret.len() + file.path.len() + 2 * LENGTH).sum::<usize>()
            + words(&self.endpoints)
            + when(&reading.result)
            + when(&reading.error)
            + reading.fields.iter().map(|(_, path)| path.len() + LENGTH).sum::<usize>()
            + reading.session.as_ref().map_or(0, |(line, path)| when(line) + path.len())
            + reading.text.as_ref().map_or(0, |pattern| pattern.len())
            + reading.limits.iter().map(|it| limit(it) + 3 * LENGTH).sum::<usize>()
            + self.prices.iter().map(|price| price.model.len() + 5 * LENGTH).sum::<usize>()
            + self.name.len()
            + self.provider.len()
            + 20 * LENGTH
    }
}

impl Setting {
    /// All settings.
    pub const ALL: [Self; 3] = [Self::Model, Self::MaxTurns, Self::MaxCost];

    /// The placeholder of the setting.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Model => "{model}",
            Self::MaxTurns => "{max_turns}",
            Self::MaxCost => "{max_cost}",
        }
    }

    /// The role's key for the setting.
    pub fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::MaxTurns => "max_turns",
            Self::MaxCost => "max_cost",
        }
    }
}
