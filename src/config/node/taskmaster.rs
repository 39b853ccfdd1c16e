//! `[taskmaster]`: which repositories plans may name, and with what the node reaches those behind a URL.
//! Deliberately absent: values of secrets (files are named, and read when they are used), and the rules themselves
//! (`repository::reach`).

use std::path::{Path, PathBuf};

use super::{
    super::{
        remote::{Pattern, Scheme},
        section::{Reader, Table, code},
    },
    absolute_path,
};

/// Who git speaks as where nobody says: what GitHub takes beside a token.
const TOKEN_USER: &str = "x-access-token";
/// Credentials that a node may have.
const CREDENTIALS_MAX: usize = 1_000;

/// Which repositories plans may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskmasterConfig {
    /// Directories below which plans that come over TCP may name a repository by its path; empty: none.
    pub sources: Vec<PathBuf>,
    /// URLs that plans may name; empty: every one whose host has public addresses only.
    pub remotes: Vec<Pattern>,
    /// What the node shows at URLs; the first that fits.
    pub credentials: Vec<RemoteCredential>,
    /// The node is a person's own process: URLs are reached as that person does, with their git's configuration.
    pub is_persons_own: bool,
}

/// What the node shows at URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCredential {
    /// Which.
    pub remote: Pattern,
    /// Who git speaks as, over https.
    pub user: String,
    /// A file with a token or password (https), or a private key (ssh).
    pub file: PathBuf,
    /// The keys of hosts that are trusted, for ssh; `None`: those of the machine.
    pub known_hosts: Option<PathBuf>,
}

impl TaskmasterConfig {
    /// Takes what the table says.
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
            reader.add(table.at, code::BAD_VALUE, format!("`user`{} is no name", table.of()), None);
        }
        let (mut file, mut known_hosts) = (PathBuf::new(), PathBuf::new());
        absolute_path(reader, &mut table, "file", &mut file);
        absolute_path(reader, &mut table, "known_hosts", &mut known_hosts);
        let missing = remote.is_none() || file.as_os_str().is_empty();
        if missing && reader.is_clean() {
            let message = format!("`remote` and `file`{} must be there", table.of());
            let hint = "for example { remote = \"https://github.com/acme/*\", file = \"/etc/devstack/github.token\" }";
            reader.add(table.at, code::MISSING, message, Some(hint.to_owned()));
        }
        if remote.as_ref().is_some_and(|remote| remote.scheme() == Scheme::Git) {
            let message = format!("`remote`{} is of git://, which takes no credentials", table.of());
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
