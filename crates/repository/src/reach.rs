//! Decides which repositories a node may use, and which credentials it uses for those behind a URL. The configuration
//! decides, never the files or credentials of the node's own user. A user's own process is not restricted: there the
//! user's git decides.
//!
//! A host in a URL that no pattern lists is resolved here, and refused unless all of its addresses are public. git is
//! then bound to those addresses, so a name that resolves differently a moment later gains nothing. Redirects are not
//! followed. Deliberately absent: parsing addresses (`config::remote`), and running git.

use std::{
    fs,
    net::{IpAddr, ToSocketAddrs},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use git2::Repository;

use super::{
    Error,
    git::Run,
    source::{SourceError, is_url},
};
use devstack_config::{
    node::{RemoteCredential, TaskmasterConfig},
    remote::{Address, Scheme, is_public},
};

/// Host keys that the machine's administrator trusts.
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
/// Gives git a token: the file's first line. Neither the file nor the token is in a process argument.
const HELPER: &str = "!f() { [ \"$1\" = get ] || exit 0; IFS= read -r secret <\"$DEVSTACK_GIT_FILE\"; \
                      printf 'username=%s\\npassword=%s\\n' \"$DEVSTACK_GIT_USER\" \"$secret\"; }; f";
/// Maximum number of addresses of one name to which git is bound.
const ADDRESSES_MAX: usize = 16;
/// Maximum number of lines in an `alternates` file: a longer file is refused.
const ALTERNATES_MAX: usize = 100;

/// The rules of a node; see the module.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    config: TaskmasterConfig,
}

impl Rules {
    /// The rules of a user's own process: every repository, reached with the user's git settings.
    pub fn person() -> Self {
        Self { config: TaskmasterConfig { is_persons_own: true, ..TaskmasterConfig::default() } }
    }

    /// The rules of a node with this configuration.
    pub fn new(config: &TaskmasterConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Checks whether a plan that came over the network may name this repository. A URL is judged when it is used.
    /// `known`: the source and inbox that the project already has.
    ///
    /// # Errors
    /// [`SourceError::NotAllowed`], whatever exists at the path; otherwise why it cannot be used.
    pub fn admit(&self, text: &str, known: &[&str]) -> Result<(), Error> {
        if is_url(text) || known.contains(&text) {
            return Ok(());
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if !self.lists(Path::new(path)) {
            return Err(SourceError::not_allowed(
                format!("a plan that is submitted over the network must not name the path {text}"),
                "add a directory above it to `sources` of [taskmaster] on the Taskmaster, submit the plan over its socket, \
                 or let the command push the repository: run it where the repository is",
            ));
        }
        let repo = super::source::open_local(path)?;
        self.check_open(path, &repo)
    }

    /// Whether the path, as written, is below a directory of the configuration.
    fn lists(&self, path: &Path) -> bool {
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        plain && path.is_absolute() && self.config.sources.iter().any(|root| path.starts_with(root))
    }

    /// Checks, each time it is opened, that a repository below a configured directory is really there.
    pub(crate) fn check_open(&self, path: &str, repo: &Repository) -> Result<(), Error> {
        if !self.lists(Path::new(path)) {
            return Ok(());
        }
        let roots: Vec<PathBuf> = self.config.sources.iter().filter_map(|root| root.canonicalize().ok()).collect();
        let leads_out = |place: &Path| match place.canonicalize() {
            Ok(real) => !roots.iter().any(|root| real.starts_with(root)),
            Err(_) => place.is_symlink(),
        };
        let common = repo.commondir();
        let objects = common.join("objects");
        let mut places = vec![PathBuf::from(path), repo.path().to_owned(), common.to_owned()];
        places.extend(["objects", "refs", "packed-refs", "HEAD", "config"].map(|name| common.join(name)));
        places.extend(["pack", "info"].map(|name| objects.join(name)));
        places.extend(borrowed(&objects)?);
        match places.into_iter().find(|place| leads_out(place)) {
            None => Ok(()),
            Some(_) => Err(SourceError::not_allowed(
                format!("the repository {path} leads to another directory, or borrows objects from one"),
                "move the repository and everything that it borrows from below `sources` of [taskmaster]",
            )),
        }
    }

    /// Prepares a run that accesses a URL, with the node's credentials for it.
    pub(crate) fn equip(&self, run: Run, url: &str) -> Result<Run, Error> {
        if self.config.is_persons_own {
            return Ok(run.with_credentials());
        }
        let address = Address::parse(url).map_err(|why| {
            SourceError::not_allowed(
                format!("the address of the repository is refused: {why}"),
                "correct `repo` in the plan",
            )
        })?;
        let pinned = self.judge(&address)?;
        let credential = self.config.credentials.iter().find(|one| one.remote.matches(&address));
        if let Some(credential) = credential {
            guarded(&credential.file)?;
        }
        let run = run.env("GIT_ALLOW_PROTOCOL", address.scheme.word());
        Ok(match address.scheme {
            Scheme::Https | Scheme::Http => http(run, &address, &pinned, credential),
            Scheme::Ssh => run.env("GIT_SSH_COMMAND", ssh(&address, &pinned, credential)),
            Scheme::Git => run,
        })
    }

    /// The addresses to which git is bound; empty if the configuration lists the URL, and any address is accepted.
    fn judge(&self, address: &Address) -> Result<Vec<IpAddr>, Error> {
        if self.config.remotes.iter().any(|pattern| pattern.matches(address)) {
            return Ok(Vec::new());
        }
        let refused = |what: String| {
            let fix = "add a pattern for it to `remotes` of [taskmaster] on the Taskmaster, for example";
            Err(SourceError::not_allowed(what, format!("{fix} \"{}\"", suggestion(address))))
        };
        if !self.config.remotes.is_empty() {
            return refused(format!("the Taskmaster is not allowed to reach the repository {address}"));
        }
        // git:// does not authenticate the server, and git cannot be bound to an address for it.
        if address.scheme == Scheme::Git {
            return refused(format!("the repository {address} uses git://, which does not authenticate the server"));
        }
        let found = lookup(address)?;
        match found.iter().all(|ip| is_public(*ip)) {
            true => Ok(found),
            false => refused(format!("the host of {address} is this machine or in a private network")),
        }
    }
}

/// A pattern for the repositories next to this one.
fn suggestion(address: &Address) -> String {
    let above = address.path.rsplit_once('/').map_or("", |(above, _)| above);
    Address { path: format!("{above}/*"), ..address.clone() }.to_string()
}

fn lookup(address: &Address) -> Result<Vec<IpAddr>, Error> {
    if let Some(ip) = address.ip() {
        return Ok(vec![ip]);
    }
    let unreachable = |detail: String| Error::Unreachable { place: address.to_string(), detail };
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    let mut found: Vec<IpAddr> =
        found.map_err(|error| unreachable(error.to_string()))?.map(|found| found.ip()).collect();
    found.sort_unstable();
    found.dedup();
    match found.len() {
        0 => Err(unreachable("its host has no address".to_owned())),
        1..=ADDRESSES_MAX => Ok(found),
        _ => Err(unreachable(format!("its host has more than {ADDRESSES_MAX} addresses"))),
    }
}

fn http(run: Run, address: &Address, pinned: &[IpAddr], credential: Option<&RemoteCredential>) -> Run {
    let run = run.with_network().config("http.followRedirects=false").config("credential.helper=");
    let run = match pinned {
        [] => run,
        _ if address.ip().is_some() => run,
        pinned => {
            let all: Vec<String> = pinned.iter().map(|ip| bracketed(*ip)).collect();
            run.config(&format!("http.curloptResolve={}:{}:{}", address.host, address.port, all.join(",")))
        }
    };
    match credential {
        None => run,
        Some(RemoteCredential { user, file, .. }) => run
            .config(&format!("credential.helper={HELPER}"))
            .env("DEVSTACK_GIT_USER", user)
            .env("DEVSTACK_GIT_FILE", file),
    }
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// An ssh command that uses nothing of the node's user: no configuration, agent or key, and no previously trusted host.
/// ssh does not take its home from the environment, so each of these is turned off by name.
fn ssh(address: &Address, pinned: &[IpAddr], credential: Option<&RemoteCredential>) -> String {
    let known_hosts = credential.and_then(|credential| credential.known_hosts.as_deref());
    let mut options = vec![
        "BatchMode=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "ForwardAgent=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ProxyCommand=none".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("GlobalKnownHostsFile={SYSTEM_KNOWN_HOSTS}"),
        format!("UserKnownHostsFile={}", known_hosts.unwrap_or(Path::new("none")).display()),
    ];
    match credential {
        Some(credential) => options.push(format!("IdentityFile={}", credential.file.display())),
        None => options.extend(["IdentityFile=none".to_owned(), "PubkeyAuthentication=no".to_owned()]),
    }
    if let Some(first) = pinned.first().filter(|_| address.ip().is_none()) {
        options.push(format!("HostName={first}"));
        // Its key is looked up by its name.
        let Address { host, port, .. } = address;
        options.push(match *port == Scheme::Ssh.port() {
            true => format!("HostKeyAlias={host}"),
            false => format!("HostKeyAlias=[{host}]:{port}"),
        });
    }
    let options: String = options.iter().map(|option| format!(" -o {}", quoted(option))).collect();
    format!("ssh -F none{options}")
}

/// Quotes a text for the shell to which git passes an ssh command.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Checks a file with a secret, which other users must not be able to read. For files from the service manager, an
/// access list that opens them to the service's user shows up as group mode bits.
fn guarded(file: &Path) -> Result<(), Error> {
    let found = fs::metadata(file).map_err(Error::io("read", file))?;
    let brought = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|dir| file.starts_with(dir));
    let open = found.permissions().mode() & if brought { 0o007 } else { 0o077 } != 0;
    let foreign = found.uid() != 0 && found.uid() != nix::unistd::geteuid().as_raw();
    if open || foreign {
        let why =
            std::io::Error::other("other users can read or write it: make the node's user its owner and set mode 0600");
        return Err(Error::Io { what: "use", path: file.to_owned(), source: why });
    }
    Ok(())
}

/// Directories of objects that a repository borrows from.
fn borrowed(objects: &Path) -> Result<Vec<PathBuf>, Error> {
    let file = objects.join("info/alternates");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", file)(error)),
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.len() > ALTERNATES_MAX || lines.iter().any(|line| line.starts_with('"')) {
        let why = std::io::Error::other("its format is unknown");
        return Err(Error::io("read", file)(why));
    }
    Ok(lines.into_iter().map(|line| objects.join(line)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::git::Git;
    use devstack_config::remote::Pattern;

    fn listing(remotes: &[&str]) -> Rules {
        let remotes = remotes.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Rules::new(&TaskmasterConfig { remotes, ..TaskmasterConfig::default() })
    }

    fn refusal(rules: &Rules, url: &str) -> Option<String> {
        let run = Git::probe().unwrap().run("ls-remote");
        rules.equip(run, url).err().map(|error| error.to_string())
    }

    #[test]
    fn private_hosts_are_refused_unless_they_are_listed() {
        let open = listing(&[]);
        for url in [
            "http://127.0.0.1:1/x.git",
            "https://localhost/x.git",
            "ssh://git@localhost/x",
            "git@10.0.0.1:x",
            "https://[::ffff:169.254.169.254]/latest",
            "git://140.82.121.3/x.git",
        ] {
            let said = refusal(&open, url).unwrap();
            assert!(said.contains("`remotes` of [taskmaster]"), "{url}: {said}");
        }
        assert_eq!(refusal(&open, "https://140.82.121.3/acme/x.git"), None);
        let listed = listing(&["http://127.0.0.1:1/*", "ssh://git@localhost/x"]);
        assert_eq!(refusal(&listed, "http://127.0.0.1:1/x.git"), None);
        assert_eq!(refusal(&listed, "git@localhost:x"), None);
        // And nothing else afterwards.
        let said = refusal(&listed, "https://140.82.121.3/acme/x.git").unwrap();
        assert!(said.contains("is not allowed to reach") && said.contains("\"https://140.82.121.3/acme/*\""), "{said}");
        // A user's own process may reach everything that the user may.
        assert_eq!(refusal(&Rules::person(), "http://127.0.0.1:1/x.git"), None);
    }

    #[test]
    fn git_is_bound_to_the_addresses_that_were_judged() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://forge.invalid:{port}/x.git");
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let address = Address::parse(&url).unwrap();
        let run = http(Git::probe().unwrap().run("ls-remote"), &address, &["127.0.0.1".parse().unwrap()], None);
        // No name server knows it, and no proxy is used.
        let output = run.env("no_proxy", "*").args(["--", &url]).output().unwrap();
        assert!(output.stderr.contains("not found"), "{}", output.stderr);
        assert!(heard.join().unwrap().contains(&format!("Host: forge.invalid:{port}")));
    }

    #[test]
    fn ssh_is_bound_and_takes_nothing_of_the_nodes_user() {
        let address = Address::parse("ssh://git@forge.example:2222/x").unwrap();
        let command = ssh(&address, &["140.82.121.3".parse().unwrap()], None);
        let wanted = ["-F none", "IdentityAgent=none", "IdentityFile=none", "HostName=140.82.121.3"];
        for wanted in wanted.into_iter().chain(["HostKeyAlias=[forge.example]:2222", "UserKnownHostsFile=none"]) {
            assert!(command.contains(wanted), "{wanted}: {command}");
        }
        let credential = RemoteCredential {
            remote: Pattern::parse("ssh://forge.example/*").unwrap(),
            user: "x".to_owned(),
            file: "/etc/it's".into(),
            known_hosts: Some("/etc/known".into()),
        };
        let command = ssh(&address, &[], Some(&credential));
        assert!(command.contains("'IdentityFile=/etc/it'\\''s'") && command.contains("UserKnownHostsFile=/etc/known"));
        assert!(!command.contains("HostName"), "{command}");
    }

    #[test]
    fn a_file_that_others_may_read_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "secret\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(guarded(&file).unwrap_err().to_string().contains("mode 0600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        guarded(&file).unwrap();
    }
}
