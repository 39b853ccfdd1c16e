//! `[taskmaster]`: which repositories plans may name, and the node's credentials for repositories with a URL.
//! Deliberately absent: values of secrets (the configuration names files, which are read when they are used), and the
//! access rules (`repository::reach`).

use std::path::{Path, PathBuf};

use super::{
    super::{
        remote::{Pattern, Scheme},
        section::{Reader, Table, code},
    },
    absolute_path,
};

/// The default user name for git: the one that GitHub accepts together with a token.
const TOKEN_USER: &str = "x-access-token";
/// The most credentials of a node.
const CREDENTIALS_MAX: usize = 1_000;

/// Which repositories plans may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskmasterConfig {
    /// Directories whose repositories plans may name by path, if the plan arrives over TCP; empty: none.
    pub sources: Vec<PathBuf>,
    /// URLs that plans may name; empty: every URL whose host has only public addresses.
    pub remotes: Vec<Pattern>,
    /// Credentials for URLs; the first match is used.
    pub credentials: Vec<RemoteCredential>,
    /// Whether the node is a user's own process: then git uses the user's own configuration for URLs.
    pub is_persons_own: bool,
}

/// A credential for URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCredential {
    /// The URLs that it is for.
    pub remote: Pattern,
    /// The user name of git, for https.
    pub user: String,
    /// A file with a token or password (https), or a private key (ssh).
    pub file: PathBuf,
    /// The trusted host keys, for ssh; `None`: those of the machine.
    pub known_hosts: Option<PathBuf>,
}

impl TaskmasterConfig {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        for source in table.texts(reader, "sources").into_iter().flat_map(|sources| sources.value) {
            let path = Path::new(&*source.value);
            let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
            if path.is_absolute() && plain && path != Path::new("/") {
                self.sources.push(path.to_owned());
                continue;
            }
            let message = format!("`sources`{} names `{}`; write an absolute path below `/`", table.of(), source.value);
            reader.add(source.at, code::BAD_VALUE, message, None);
        }
        for remote in table.texts(reader, "remotes").into_iter().flat_map(|remotes| remotes.value) {
            let pattern = pattern(reader, remote.at, &remote.value, &format!("`remotes`{}", table.of()));
            self.remotes.extend(pattern);
        }
        let credentials = table.array(reader, "credentials", "a list of tables");
        for (index, raw) in credentials.into_iter().flat_map(|list| list.value).take(CREDENTIALS_MAX).enumerate() {
            let Some(one) = reader.table(raw, format!("credential {}", index + 1)) else { continue };
            self.credentials.extend(RemoteCredential::read(reader, one));
        }
        table.finish(reader, &["sources", "remotes", "credentials"]);
    }
}

impl RemoteCredential {
    fn read<'i>(reader: &mut Reader<'i>, mut table: Table<'i>) -> Option<Self> {
        let remote = table.text(reader, "remote");
        let remote = remote.and_then(|text| pattern(reader, text.at, &text.value, &format!("`remote`{}", table.of())));
        let user = table.text(reader, "user").map_or_else(|| TOKEN_USER.to_owned(), |user| user.value.into_owned());
        if user.is_empty() || user.chars().any(char::is_control) {
            reader.add(table.at, code::BAD_VALUE, format!("`user`{} is not a user name", table.of()), None);
        }
        let (mut file, mut known_hosts) = (PathBuf::new(), PathBuf::new());
        absolute_path(reader, &mut table, "file", &mut file);
        absolute_path(reader, &mut table, "known_hosts", &mut known_hosts);
        let missing = remote.is_none() || file.as_os_str().is_empty();
        if missing && reader.is_clean() {
            let message = format!("{} needs `remote` and `file`", table.what);
            let hint = "for example { remote = \"https://github.com/acme/*\", file = \"/etc/devstack/github.token\" }";
            reader.add(table.at, code::MISSING, message, Some(hint.to_owned()));
        }
        if remote.as_ref().is_some_and(|remote| remote.scheme() == Scheme::Git) {
            let message = format!("`remote`{} uses git://, which supports no credentials", table.of());
            reader.add(table.at, code::BAD_VALUE, message, Some("use https:// or ssh://".to_owned()));
        }
        table.finish(reader, &["remote", "user", "file", "known_hosts"]);
        let known_hosts = Some(known_hosts).filter(|file| !file.as_os_str().is_empty());
        Some(Self { remote: remote?, user, file, known_hosts })
    }
}

fn pattern(reader: &mut Reader<'_>, at: usize, text: &str, what: &str) -> Option<Pattern> {
    match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let hint = "for example \"https://github.com/acme/*\"".to_owned();
            reader.add(at, code::BAD_VALUE, format!("{what} is `{text}`: {why}"), Some(hint));
            None
        }
    }
}
