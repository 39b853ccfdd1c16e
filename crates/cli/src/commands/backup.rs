//! `cluster backup`: streams a backup from the node into a file. The file appears only when it is complete.
//! Deliberately absent: the content (the node writes it), encryption, and keeping several backups.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use futures::StreamExt;
use serde_json::json;
use tokio::{fs::File, io::AsyncWriteExt};

use super::Context;
use crate::{
    CliError, Exit, Workdir, address::Target, args::BackupArgs, client::Client, exit::code, progress, session::Session,
};
use devstack_api::dto::Time;
use devstack_backup as backup;
use devstack_backup::{BackupError, Contents, Head};
use devstack_config::problem::Problem;

/// The file name that means stdin or stdout.
pub(super) const STANDARD: &str = "-";

pub(super) async fn run(context: &Context<'_>, args: &BackupArgs) -> Result<Exit, CliError> {
    let place = place(&args.to)?;
    let session = match &args.state_dir {
        None => context.session().await?,
        Some(dir) => Session::open(&Target::Dir(stopped(dir)?), context.seams).await?,
    };
    let taken = match &place {
        None => to_stdout(context, &session.client).await,
        Some(place) => to_file(context, &session.client, place).await,
    };
    session.close().await?;
    taken
}

/// The path of the new file; `None`: stdout.
fn place(to: &Path) -> Result<Option<PathBuf>, CliError> {
    if to.as_os_str() == STANDARD {
        if io::IsTerminal::is_terminal(&io::stdout()) {
            let problem = Problem::new(code::TERMINAL, "a backup is binary data and would garble a terminal");
            return Err(CliError::new(Exit::Usage, problem.hint("name a file, or pipe the output into a program")));
        }
        return Ok(None);
    }
    if to.is_dir() {
        let second = Time(now() / 1000 * 1000).to_string().replace([':', '-'], "");
        return Ok(Some(to.join(format!("devstack-{second}.tar"))));
    }
    if to.exists() {
        let problem = Problem::new(code::PLACE_TAKEN, format!("{} already exists", to.display()));
        return Err(CliError::new(Exit::Refused, problem.hint("name another file, or a directory")));
    }
    Ok(Some(to.to_owned()))
}

/// The directory of a stopped node. Only its owner may open it: files created by another user would be unreadable for
/// the node.
fn stopped(dir: &Path) -> Result<Workdir, CliError> {
    let found = Workdir::at(dir).map_err(|error| CliError::usage(format!("{}: {error}", dir.display())))?;
    if !found.path().join("store").is_dir() {
        return Err(CliError::usage(format!("{} is not the state directory of a Taskmaster", dir.display()))
            .hint("`devstack config show` prints the state directory of a node"));
    }
    let owner = fs::metadata(found.path())?.uid();
    if owner != nix::unistd::geteuid().as_raw() {
        let name = nix::unistd::User::from_uid(owner.into()).ok().flatten().map_or(owner.to_string(), |user| user.name);
        return Err(CliError::usage(format!("{} belongs to {name}", dir.display()))
            .hint(format!("run the command as that user: sudo -u {name} devstack cluster backup …")));
    }
    Ok(found)
}

async fn to_stdout(context: &Context<'_>, client: &Client) -> Result<Exit, CliError> {
    let mut stream = client.stream("/v1/backup").await?;
    while let Some(piece) = stream.next().await {
        context.output.raw(&piece.map_err(|error| broke_off(&error))?);
    }
    Ok(Exit::Ok)
}

async fn to_file(context: &Context<'_>, client: &Client, place: &Path) -> Result<Exit, CliError> {
    let cannot = |error: io::Error| CliError::failure(format!("cannot write {}: {error}", place.display()));
    let mut part = Part::create(place).map_err(cannot)?;
    let mut stream = client.stream("/v1/backup").await?;
    let bar = progress::bytes(context.output, 0);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| broke_off(&error))?;
        part.file.write_all(&piece).await.map_err(cannot)?;
        bytes += piece.len() as u64;
        bar.set_position(bytes);
    }
    bar.finish_and_clear();
    let (head, contents) = part.keep(place).await?;
    context.output.note(if head.has_keys {
        "The backup contains the keys of the cluster's CA: anyone with this file can become any member. Protect it."
    } else {
        "The backup contains prompts and results of every project. Protect it."
    });
    let projects: Vec<&str> = contents.projects().collect();
    let body = json!({
        "apiVersion": "v1", "file": place, "bytes": bytes, "made_at": Time(head.made_at), "seq": head.seq,
        "installation": head.installation, "has_keys": head.has_keys, "projects": projects,
    });
    context.print(&body.to_string().into(), |_| {
        let size = progress::size(bytes);
        Ok(format!("{}: {size}, {} repositories of projects, up to fact {}", place.display(), projects.len(), head.seq))
    })?;
    Ok(Exit::Ok)
}

/// A file that is being written; removed unless it is kept.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(place: &Path) -> io::Result<Self> {
        let path = place.with_added_extension("part");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file: file.into() })
    }

    /// Checks the whole file, makes it durable, and renames it to its final name, which must not exist.
    async fn keep(self, place: &Path) -> Result<(Head, Contents), CliError> {
        self.file.sync_all().await?;
        let (path, name) = (self.path.clone(), place.to_owned());
        let kept = tokio::task::spawn_blocking(move || {
            let found = backup::check(fs::File::open(&path)?).map_err(|error| refused(&path, error))?;
            // A hard link never overwrites a file that somebody created meanwhile.
            fs::hard_link(&path, &name)?;
            fs::remove_file(&path)?;
            let dir = name.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(dir)?.sync_all()?;
            Ok::<_, CliError>(found)
        });
        kept.await.map_err(|error| CliError::failure(error.to_string()))?
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A kept file is no longer at this path.
        let _ = fs::remove_file(&self.path);
    }
}

fn broke_off(error: &io::Error) -> CliError {
    CliError::unreachable(format!("the backup was interrupted: {error}")).hint("no file was written; try again")
}

/// The error for a file that is not a usable backup, or for a failing disk.
pub(super) fn refused(file: &Path, error: BackupError) -> CliError {
    let message = format!("{}: {error}", file.display());
    match error {
        BackupError::NotABackup(_) | BackupError::Format { .. } => {
            let hint =
                "name a file that `devstack cluster backup` wrote, and use the same or a newer version of devstack";
            CliError::new(Exit::Usage, Problem::new(code::BACKUP, message).hint(hint))
        }
        BackupError::Damaged(_) | BackupError::Incomplete { .. } | BackupError::Transfer(_) => {
            let hint = "nothing was restored; use an older backup";
            CliError::new(Exit::Failure, Problem::new(code::BACKUP, message).hint(hint))
        }
        BackupError::Io { .. } | BackupError::Repository(_) | BackupError::Store(_) => CliError::failure(message),
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
