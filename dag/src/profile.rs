//! How a role's command line agent is run and read: data that came from a profile file, resolved at submission and
//! carried to the host. The engine reads the provider and the names of secrets, and nothing else of it.
//! Deliberately absent: any agent's name, and the reading itself (the host does it).

use serde::{Deserialize, Serialize};

/// Words of a command line, names, values.
pub type Words = Box<[Box<str>]>;

/// A path in a line of JSON and the values it may have there.
pub type Condition = (Box<str>, Words);

/// A profile, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name: `[agents.*] profile` names it.
    pub name: Box<str>,
    /// Who serves its models: what is parked when one of its attempts is told to come back later.
    pub provider: Box<str>,
    /// The command line. A word that is `{model}`, `{max_turns}` or `{max_cost}` stands for [`Profile::arguments`];
    /// `{prompt}` and others are filled in on the host.
    pub command: Words,
    /// What stands for a setting of the role when it is given; a setting without words cannot be given.
    pub arguments: Box<[(Setting, Words)]>,
    /// How the agent gets its prompt.
    pub prompt: PromptBy,
    /// Variables of its environment; values may name the attempt's directories.
    pub env: Box<[(Box<str>, Box<str>)]>,
    /// Of each group the agent gets one secret: the first that its host knows.
    pub secrets: Box<[Words]>,
    /// Secrets that are files, not variables.
    pub secret_files: Box<[SecretFile]>,
    /// Names of the machines it talks to, for people and for a filter of the network.
    pub endpoints: Words,
    /// What its output means.
    pub reading: Reading,
    /// What tokens cost, where the agent does not say it.
    pub prices: Box<[Price]>,
}

/// A setting of a role that a profile puts on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// `model`.
    Model,
    /// `max_turns`.
    MaxTurns,
    /// `max_cost`, in US dollars: the agent ends itself, too.
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

/// A secret that is laid down as a file below the attempt's HOME, for its owner only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// The secret's name.
    pub secret: Box<str>,
    /// Relative to HOME.
    pub path: Box<str>,
}

/// A condition on a line of JSON: every path has one of its values. Without a path it never holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct When(pub Box<[Condition]>);

/// What an agent's output means. Paths are names with dots between them: `usage.input_tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Lines that say how it went and what it used; the last one counts, unless they are to be added.
    pub result: When,
    /// Such a line means failure, whatever the agent exits with.
    pub error: When,
    /// Numbers of all result lines are added.
    pub add: bool,
    /// Where the numbers are in a result line.
    pub fields: Box<[(Measure, Box<str>)]>,
    /// The tokens read include those from the cache.
    pub input_includes_cached: bool,
    /// Which line names the session, and where.
    pub session: Option<(When, Box<str>)>,
    /// For agents that write text: a regular expression whose groups are named as measures; the last match counts.
    pub text: Option<Box<str>>,
    /// What means that the provider wants no more for now.
    pub limits: Box<[Limit]>,
    /// After a result line the agent has so long to exit, in milliseconds, and is ended then.
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

/// What means that the provider wants no more for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// A line of JSON.
    Line {
        /// Which.
        when: When,
        /// Where the time is when it may go on: seconds since 1970.
        reset: Option<Box<str>>,
    },
    /// A text in the result, or in the last words of an agent that failed without one. Groups `epoch`, or `days`, `hours`,
    /// `minutes` and `seconds` from then on, or the time of day `hour`, `minute` and `half` (AM, PM; UTC) with `month`, `day`
    /// and `year` if need be, say when it may go on.
    Text(Box<str>),
}

/// What a model's tokens cost, in millionths of a US dollar for a million of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The model, as the role names it.
    pub model: Box<str>,
    /// Read.
    pub input: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Written to the cache.
    pub cache_write: u64,
    /// Written.
    pub output: u64,
}

impl Profile {
    /// The argv of a role: settings in their places, what the host fills in left as it is.
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

    /// Can a role give this setting?
    pub fn takes(&self, which: Setting) -> bool {
        self.words(which).is_some() && self.command.iter().any(|word| &**word == which.placeholder())
    }

    fn words(&self, which: Setting) -> Option<&[Box<str>]> {
        self.arguments.iter().find(|(setting, _)| *setting == which).map(|(_, words)| &**words)
    }

    /// Bytes of text in it, with a length for each, estimated from above.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Model, Self::MaxTurns, Self::MaxCost];

    /// The word that stands for it.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Model => "{model}",
            Self::MaxTurns => "{max_turns}",
            Self::MaxCost => "{max_cost}",
        }
    }

    /// The role's key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::MaxTurns => "max_turns",
            Self::MaxCost => "max_cost",
        }
    }
}
