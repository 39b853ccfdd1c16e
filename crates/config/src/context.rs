//! A user's contexts: named clusters, and the default one. They are in `$XDG_CONFIG_HOME/devstack/config.toml`; tokens
//! are beside it, in separate files.
//! Deliberately absent: values of tokens.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    problem::{Problem, Problems},
    section::{Reader, code},
};

/// The name of the file in the directory.
const FILE: &str = "config.toml";

/// The file of contexts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts {
    /// The default context.
    pub default: Option<String>,
    /// All contexts, sorted by name.
    pub all: Vec<Context>,
}

/// How a user reaches a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The user's name for the cluster.
    pub name: String,
    /// `https://HOST:PORT` or `unix:///path`.
    pub address: String,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// The file with the cluster's CA.
    pub ca_file: Option<PathBuf>,
}

/// `$XDG_CONFIG_HOME/devstack`, else `$HOME/.config/devstack`; `None`: the user has no home directory.
pub fn directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("devstack"))
}

impl Contexts {
    /// Reads the file in a directory; a missing file means no contexts.
    ///
    /// # Errors
    /// All mistakes, or why the file cannot be read.
    pub fn load(dir: &Path) -> Result<Self, Problems> {
        let path = dir.join(FILE);
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&name, &text, dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let problem = Problem::new(code::UNREADABLE, format!("cannot read the contexts: {error}"));
                Err(problem.at(name, None).into())
            }
        }
    }

    /// Checks the text of a file. Relative file names in it are relative to `dir`.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub fn parse(file: &str, text: &str, dir: &Path) -> Result<Self, Problems> {
        let mut reader = Reader::new(file, text);
        let mut contexts = Self::default();
        let Some(mut top) = reader.document() else { return reader.finish().map(|()| contexts) };
        let default = top.text(&mut reader, "default");
        let tables = top.take(&mut reader, "context").and_then(|field| reader.table(field.value, "[context]"));
        for field in tables.map(|table| table.into_fields()).unwrap_or_default() {
            let (name, at) = (field.key.to_string(), field.at);
            let Some(mut table) = reader.table(field.value, format!("[context.{name}]")) else { continue };
            let path = |text: Option<super::section::At<std::borrow::Cow<'_, str>>>| {
                text.map(|text| dir.join(Path::new(&*text.value)))
            };
            let address = table.text(&mut reader, "address").map(|text| text.value.into_owned());
            let token_file = path(table.text(&mut reader, "token_file"));
            let ca_file = path(table.text(&mut reader, "ca_file"));
            table.finish(&mut reader, &["address", "token_file", "ca_file"]);
            match address {
                Some(address) => contexts.all.push(Context { name, address, token_file, ca_file }),
                None => reader.add(at, code::MISSING, format!("`address` of [context.{name}] is missing"), None),
            }
        }
        if let Some(default) = default {
            if reader.is_clean() && contexts.named(&default.value).is_none() {
                let message = format!("`default` is `{}`, but there is no [context.{0}]", default.value);
                reader.add(default.at, code::BAD_VALUE, message, None);
            }
            contexts.default = Some(default.value.into_owned());
        }
        top.finish(&mut reader, &["default", "context"]);
        contexts.all.sort_by(|one, other| one.name.cmp(&other.name));
        reader.finish().map(|()| contexts)
    }

    /// The context with this name.
    pub fn named(&self, name: &str) -> Option<&Context> {
        self.all.iter().find(|context| context.name == name)
    }
}

/// Adds a context to the text of the file. It becomes the default if there is none. The user's text stays unchanged.
pub fn with(text: &str, has_default: bool, context: &Context) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut new = String::new();
    if !has_default {
        // Put the key before the first table; otherwise it would belong to a table.
        new.push_str(&format!("default = {}\n", quoted(&context.name)));
    }
    new.push_str(text);
    if !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str(&format!("\n[context.{}]\naddress = {}\n", quoted(&context.name), quoted(&context.address)));
    for (key, file) in [("token_file", &context.token_file), ("ca_file", &context.ca_file)] {
        if let Some(file) = file {
            new.push_str(&format!("{key} = {}\n", quoted(&file.display().to_string())));
        }
    }
    new
}

/// The path of the file in a directory.
pub fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str) -> Context {
        Context {
            name: name.to_owned(),
            address: "https://h:7421".to_owned(),
            token_file: Some("/t".into()),
            ca_file: Some("/ca.pem".into()),
        }
    }

    #[test]
    fn contexts_are_added_without_touching_others() {
        let dir = Path::new("/home/x/.config/devstack");
        let first = with("", false, &context("shop"));
        let second = with(&format!("# mine\n{first}"), true, &context("other one"));
        let read = Contexts::parse("config.toml", &second, dir).unwrap();
        assert_eq!(
            read,
            Contexts { default: Some("shop".to_owned()), all: vec![context("other one"), context("shop")] }
        );
        assert!(second.starts_with("# mine\n"));
        let relative = Contexts::parse("f", "[context.a]\naddress = \"x\"\ntoken_file = \"a.token\"\n", dir).unwrap();
        assert_eq!(relative.all[0].token_file.as_deref(), Some(&*dir.join("a.token")));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let lines = |text: &str| {
            let problems = Contexts::parse("f", text, Path::new("/")).unwrap_err();
            problems.as_slice().iter().map(|problem| problem.line.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(lines("defualt = \"a\"\n[context.a]\ntoken_file = 1\n"), [1, 2, 3]);
        assert_eq!(lines("default = \"b\"\n[context.a]\naddress = \"x\"\n"), [1]);
        assert_eq!(Contexts::load(Path::new("/nonexistent")).unwrap(), Contexts::default());
    }
}
