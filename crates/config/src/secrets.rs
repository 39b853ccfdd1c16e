//! Secrets of an agent host, from `.env` (refused unless its mode is 0600), `NAME_FILE` variables, and
//! `$CREDENTIALS_DIRECTORY` (a file for each secret, or one `.env`).
//! Names are public; only attempts that name a secret get its value.
//! Deliberately absent: showing, storing or sending a value. [`Secret`] has no `Display` and no `Serialize`.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The largest secret, in bytes: keys and certificates are smaller, and the kernel allows at most 128 KiB per variable.
const SECRET_MAX: u64 = 64 << 10;
/// The credential that replaces `.env` in a service: it has lines, not one value.
const ENV_CREDENTIAL: &str = ".env";
/// The longest name of a secret, in bytes.
const NAME_MAX: usize = 128;

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value, for code that passes it to the agent or searches for it in the agent's output.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why secrets are unavailable. Never contains a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Others may read the file: fix its mode.
    #[error("{path} has mode {mode:04o}, so other users may read it; run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user owns the file, and could have written it.
    #[error("{path} belongs to user {owner}; it must belong to the user that runs devstack, or to root")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A line that is not `NAME=value`: fix it.
    #[error("{path}:{line}: {why}; write NAME=value")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No source has this name.
    #[error("there is no secret `{0}`: add it to `.env`, or set `{0}_FILE` to a file that contains it")]
    Unknown(String),
    /// The value cannot be a variable.
    #[error("the secret `{0}` is empty, contains a NUL byte, or is not UTF-8 text of at most 64KiB")]
    Unusable(String),
}

/// The source of each secret. Files are read when their value is needed, so that a rotated secret takes effect.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Clone)]
enum Source {
    Value(Secret),
    File(PathBuf),
}

impl Secrets {
    /// Loads all secrets that this process can resolve: from `$CREDENTIALS_DIRECTORY`, then `NAME_FILE` variables, then
    /// `env_file`; later sources win. A missing `env_file` is no error: a credential `.env` replaces it.
    ///
    /// # Errors
    /// An exposed, foreign or malformed `.env`, an unreadable directory.
    pub fn load(env_file: &Path) -> Result<Self, SecretsError> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::gather(env_file, std::env::vars(), credentials.as_deref())
    }

    /// [`Secrets::load`] with the environment as an argument.
    ///
    /// # Errors
    /// As [`Secrets::load`].
    pub fn gather(
        env_file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        credentials: Option<&Path>,
    ) -> Result<Self, SecretsError> {
        let mut sources = BTreeMap::new();
        if let Some(dir) = credentials {
            let unreadable = |source| SecretsError::Unreadable { path: dir.to_owned(), source };
            for entry in fs::read_dir(dir).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                let name =
                    path.file_name().and_then(|name| name.to_str()).filter(|name| is_name(name)).map(str::to_owned);
                sources.extend(name.map(|name| (name, Source::File(path))));
            }
        }
        for (key, value) in environment {
            sources.extend(
                file_variable(&key, &value).filter(|(_, path)| path.is_file()).map(|(n, p)| (n, Source::File(p))),
            );
        }
        // Without an `.env`, the service manager may have provided one.
        let brought = credentials.map(|dir| dir.join(ENV_CREDENTIAL));
        let lines = match brought.filter(|path| path.is_file() && !env_file.exists()) {
            // The service manager protects the credential itself. It grants access with an ACL, which looks like group
            // access in the mode.
            Some(path) => read_env_file(&path, false)?,
            None => read_env_file(env_file, true)?,
        };
        for (key, value) in lines {
            match file_variable(&key, &value) {
                Some((name, path)) => sources.insert(name, Source::File(path)),
                None => sources.insert(key, Source::Value(Secret(value))),
            };
        }
        Ok(Self { sources })
    }

    /// The names, sorted. Placement and people see only the names.
    pub fn names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// The values of these names, in their order.
    ///
    /// # Errors
    /// The first name whose value is missing or unusable.
    pub fn lookup(&self, names: &[String]) -> Result<Vec<(String, Secret)>, SecretsError> {
        names.iter().map(|name| Ok((name.clone(), self.value(name)?))).collect()
    }

    fn value(&self, name: &str) -> Result<Secret, SecretsError> {
        let secret = match self.sources.get(name) {
            None => return Err(SecretsError::Unknown(name.to_owned())),
            Some(Source::Value(secret)) => secret.clone(),
            Some(Source::File(path)) => read_secret_file(name, path)?,
        };
        let usable = !secret.0.is_empty() && !secret.0.contains('\0') && secret.0.len() as u64 <= SECRET_MAX;
        if usable { Ok(secret) } else { Err(SecretsError::Unusable(name.to_owned())) }
    }
}

/// Whether a text is a valid name of a variable and a secret: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
pub fn is_name(text: &str) -> bool {
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    head && text.len() <= NAME_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `NAME_FILE=/absolute/path` names the file of the secret `NAME`. devstack's own variables are not secrets.
fn file_variable(key: &str, value: &str) -> Option<(String, PathBuf)> {
    let name = key.strip_suffix("_FILE").filter(|name| is_name(name) && !name.starts_with("DEVSTACK"))?;
    Path::new(value).is_absolute().then(|| (name.to_owned(), PathBuf::from(value)))
}

fn read_secret_file(name: &str, path: &Path) -> Result<Secret, SecretsError> {
    let unreadable = |source| SecretsError::Unreadable { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > SECRET_MAX {
        return Err(SecretsError::Unusable(name.to_owned()));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(unreadable)?);
    let text = str::from_utf8(&bytes).map_err(|_| SecretsError::Unusable(name.to_owned()))?;
    // Editors and `echo` add a final newline that is not part of the secret.
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// Names with their values.
type Lines = Vec<(String, Zeroizing<String>)>;

/// Reads the lines of a `.env`. `suspicious`: refuses a file that others can read or could have written.
fn read_env_file(path: &Path, suspicious: bool) -> Result<Lines, SecretsError> {
    let unreadable = |source| SecretsError::Unreadable { path: path.to_owned(), source };
    // Use one descriptor for the check and for reading, so that both see the same file.
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unreadable(e)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if suspicious && mode & 0o077 != 0 {
        return Err(SecretsError::Exposed { path: path.to_owned(), mode });
    }
    if suspicious && metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(SecretsError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    // Allocate once: a growing string would leave copies of secrets in memory.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1));
    io::Read::read_to_string(&mut file, &mut text).map_err(unreadable)?;
    parse_env(&text).map_err(|(line, why)| SecretsError::Line { path: path.to_owned(), line, why })
}

/// Parses `NAME=value` lines with `export`, comments, single quotes (literal) and double quotes (`\n`, `\"`, `\\`,
/// `\$`). Variables are not expanded.
fn parse_env(text: &str) -> Result<Lines, (usize, &'static str)> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let refused = |why| (number + 1, why);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').ok_or_else(|| refused("there is no `=`"))?;
        let key = key.trim();
        if !is_name(key) {
            return Err(refused("the part before `=` is not a name"));
        }
        pairs.push((key.to_owned(), parse_value(value.trim()).map_err(refused)?));
    }
    Ok(pairs)
}

fn parse_value(text: &str) -> Result<Zeroizing<String>, &'static str> {
    let after = |rest: &str| match rest.trim_start() {
        rest if rest.is_empty() || rest.starts_with('#') => Ok(()),
        _ => Err("there is text after the closing quote"),
    };
    if let Some(rest) = text.strip_prefix('\'') {
        let (value, rest) = rest.split_once('\'').ok_or("the quote is not closed on its line")?;
        return after(rest).map(|()| Zeroizing::new(value.to_owned()));
    }
    let Some(rest) = text.strip_prefix('"') else {
        return Ok(Zeroizing::new(text.find(" #").map_or(text, |at| &text[..at]).trim_end().to_owned()));
    };
    let mut value = Zeroizing::new(String::with_capacity(rest.len()));
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return after(&rest[at + 1..]).map(|()| value),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("the quote is not closed on its line")
}

#[cfg(test)]
mod tests;
