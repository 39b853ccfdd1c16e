//! Selects the node: from an address, else from a context, else from the nearest `.devstack`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use devstack_cluster::tls;

use super::{CliError, Exit, Workdir, args::Global, client::Client, exit::code};
use devstack_api::https::Https;
use devstack_config::{
    Secret,
    context::{self, Contexts},
    problem::Problem,
};

/// The context name that always means the nearest `.devstack`, even if another context is the default.
pub(super) const LOCAL: &str = "local";
/// The largest file with a token or a CA, in bytes; ours have 60 and 700.
const FILE_MAX: u64 = 64 << 10;

/// Where a request goes.
#[derive(Clone)]
pub(super) enum Target {
    /// A node that must be running.
    Node(Client),
    /// A state directory, whose node may be running.
    Dir(Workdir),
}

/// What flags, variables and contexts say about a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Given {
    address: String,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

/// The target of a command that starts at `from`.
pub(super) fn target(global: &Global, from: &Path) -> Result<Target, CliError> {
    match named(global)? {
        Some(client) => Ok(Target::Node(client)),
        None => Workdir::find(from).map(Target::Dir).ok_or_else(|| {
            CliError::unreachable(format!("no {} directory in {} or above it", super::workdir::NAME, from.display()))
                .hint(
                    "run a plan with `devstack run PLAN`, start a node with `devstack up`, or name a node with --address",
                )
        }),
    }
}

/// The node that flags, variables or contexts name; `None`: none.
pub(super) fn named(global: &Global) -> Result<Option<Client>, CliError> {
    // A broken file of contexts fails only commands that need it.
    let contexts = match (&global.address, context::directory()) {
        (Some(address), _) if address.starts_with("unix:") => Contexts::default(),
        (_, Some(dir)) => Contexts::load(&dir)?,
        (_, None) => Contexts::default(),
    };
    choose(global, &contexts)?.map(|given| client(&given)).transpose()
}

fn choose(global: &Global, contexts: &Contexts) -> Result<Option<Given>, CliError> {
    let context = match (&global.address, global.context.as_deref().or(contexts.default.as_deref())) {
        // If a context has this address, its token and CA files apply as well.
        (Some(address), _) => contexts.all.iter().find(|context| context.address == *address),
        (None, None | Some(LOCAL)) => None,
        (None, Some(name)) => Some(contexts.named(name).ok_or_else(|| {
            let known: Vec<&str> = contexts.all.iter().map(|context| context.name.as_str()).chain([LOCAL]).collect();
            CliError::usage(format!("unknown context `{name}`")).hint(format!("known contexts: {}", known.join(", ")))
        })?),
    };
    let Some(address) = global.address.clone().or_else(|| context.map(|context| context.address.clone())) else {
        return Ok(None);
    };
    let file = |flag: &Option<PathBuf>, of_context: Option<&PathBuf>| flag.clone().or_else(|| of_context.cloned());
    Ok(Some(Given {
        address,
        token_file: file(&global.token_file, context.and_then(|context| context.token_file.as_ref())),
        ca_file: file(&global.ca_file, context.and_then(|context| context.ca_file.as_ref())),
    }))
}

/// `unix:///path` or `https://HOST:PORT`.
fn client(given: &Given) -> Result<Client, CliError> {
    let hint = "write unix:///path/to/api.sock, or https://HOST:PORT";
    match given.address.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Client::Socket(PathBuf::from(path))),
        Some(("https", address)) => https(address.trim_end_matches('/'), given),
        Some(("http", _)) => {
            let message = format!("`{}` would send the token unencrypted: the API on TCP uses TLS", given.address);
            Err(CliError::usage(message).hint("use https:// instead of http://"))
        }
        _ => Err(CliError::usage(format!("`{}` is not a valid address", given.address)).hint(hint)),
    }
}

fn https(address: &str, given: &Given) -> Result<Client, CliError> {
    let missing = |what: &str, flag: &str| {
        CliError::usage(format!("https://{address} needs {what}"))
            .hint(format!("name its file with {flag}, or create a context as `devstack cluster init` does"))
    };
    let ca_file = given.ca_file.as_ref().ok_or_else(|| missing("the cluster's CA", "--ca-file"))?;
    let token_file = given.token_file.as_ref().ok_or_else(|| missing("a token", "--token-file"))?;
    let config = tls::client_trusting(&read(ca_file)?)
        .map_err(|error| CliError::usage(format!("{}: {error}", ca_file.display())))?;
    let https = Https::new(address, config).map_err(CliError::from)?;
    Ok(Client::Https { https, token: token(token_file)? })
}

/// Reads the token from a file that nobody else may read.
fn token(path: &Path) -> Result<Secret, CliError> {
    let text = read(path)?;
    let mode = fs::metadata(path).map_err(|error| unreadable(path, &error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("{} has mode {mode:04o}, so other users may read the token", path.display());
        let problem = Problem::new(code::USAGE, message).hint(format!("run `chmod 600 {}`", path.display()));
        return Err(CliError::new(Exit::Usage, problem));
    }
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::usage(format!("{} contains no token", path.display()))
            .hint("the file must contain the line that `devstack token create` printed"));
    }
    Ok(Secret::new(token))
}

fn read(path: &Path) -> Result<String, CliError> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if length > FILE_MAX {
        return Err(CliError::usage(format!("{} is too large: {length} bytes, at most {FILE_MAX}", path.display())));
    }
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;
    use devstack_config::context::Context;

    fn contexts() -> Contexts {
        let context = |name: &str| Context {
            name: name.to_owned(),
            address: format!("https://{name}:7421"),
            token_file: Some(format!("/{name}.token").into()),
            ca_file: Some(format!("/{name}.pem").into()),
        };
        Contexts { default: Some("a".to_owned()), all: vec![context("a"), context("b")] }
    }

    fn chosen(flags: &[&str], contexts: &Contexts) -> Result<Option<(String, Option<PathBuf>)>, CliError> {
        let words = ["devstack", "status"].iter().chain(flags);
        let global = Args::try_parse_from(words).unwrap().global;
        Ok(choose(&global, contexts)?.map(|given| (given.address, given.token_file)))
    }

    #[test]
    fn a_flag_beats_a_context_and_a_context_the_nearest_directory() {
        let some = |address: &str, token: &str| Some((address.to_owned(), Some(PathBuf::from(token))));
        let all = contexts();
        assert_eq!(chosen(&[], &all).unwrap(), some("https://a:7421", "/a.token"));
        assert_eq!(chosen(&["--context", "b"], &all).unwrap(), some("https://b:7421", "/b.token"));
        assert_eq!(chosen(&["--context", "local"], &all).unwrap(), None);
        assert_eq!(chosen(&[], &Contexts::default()).unwrap(), None);
        let known = chosen(&["--address", "https://b:7421"], &all).unwrap();
        assert_eq!(known, some("https://b:7421", "/b.token"));
        let other = chosen(&["--address", "https://c:7421"], &all).unwrap();
        assert_eq!(other, Some(("https://c:7421".to_owned(), None)), "a token goes to its own cluster only");
        let flagged = chosen(&["--token-file", "/x"], &all).unwrap();
        assert_eq!(flagged, some("https://a:7421", "/x"));
        assert_eq!(chosen(&["--context", "z"], &all).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_is_no_address_or_lacks_something_is_said() {
        let refused = |address: &str, ca_file: Option<&str>| {
            let given = Given { address: address.to_owned(), token_file: None, ca_file: ca_file.map(PathBuf::from) };
            client(&given).map(drop).unwrap_err()
        };
        assert!(refused("http://h:1", None).to_string().contains("unencrypted"));
        assert!(refused("h:1", None).to_string().contains("is not a valid address"));
        assert!(refused("https://h:1", None).to_string().contains("needs the cluster's CA"));
        assert!(refused("https://h:1", Some("/nonexistent")).to_string().contains("needs a token"));
        for error in [refused("unix://relative", None), refused("https://h:1", None)] {
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.error.problem.hint.is_some());
        }
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "dst1.x.y\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("0640"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(token(&path).unwrap().expose(), "dst1.x.y");
        fs::write(&path, "\n").unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("contains no token"));
    }
}
