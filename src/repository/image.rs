//! The files of a repository of ours, to be copied while it is used: its refs as they are at one moment, under its lock, and
//! then its objects, which are only ever added. Whatever those refs need is among them.
//! Deliberately absent: packing and transport (`backup`), and agents' repositories, of which nothing is copied as a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use devstack_dag::ids::{AttemptId, ProjectName};

use super::{
    Error, Hubs,
    durable::{is_temporary, read_dir},
    hub::{Hub, read_ref},
    lock::ProjectLock,
    pins,
};

/// What git reads of a bare repository besides refs and objects.
const SETTINGS: [&str; 3] = ["HEAD", "config", "packed-refs"];
/// The names of a project's repositories in its directory.
pub(crate) const REPOSITORIES: [&str; 2] = ["hub.git", "inbox.git"];
/// Where pins are moved that belong to a history which was lost.
const LOST: &str = "refs/devstack/restored";

/// Every repository of a node, held: nothing lands in one and none of their refs moves.
pub struct Held(Vec<(PathBuf, PathBuf, ProjectLock)>);

/// The files of one repository.
#[derive(Debug)]
pub struct Image {
    /// Where it belongs below the directory of projects: `shop/hub.git`.
    pub place: PathBuf,
    dir: PathBuf,
    directories: Vec<PathBuf>,
    small: Vec<(PathBuf, Vec<u8>)>,
}

impl Hubs {
    /// Holds every repository, project by project, waiting for jobs that have one. Blocks.
    ///
    /// # Errors
    /// One is busy for too long, or the disk fails.
    pub fn hold(&self) -> Result<Held, Error> {
        let mut held = Vec::new();
        let dir = self.dir_of_projects();
        let mut projects = if dir.is_dir() { read_dir(dir)? } else { Vec::new() };
        projects.sort_unstable();
        for path in projects {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| ProjectName::new(name).ok());
            let Some(project) = name else { continue };
            let mut hold = |repository: &Hub, name: &str| {
                let place = Path::new(project.as_str()).join(name);
                held.push((place, repository.dir().to_owned(), repository.lock()?));
                Ok::<_, Error>(())
            };
            if self.dir_of(&project).exists() {
                hold(&*self.get(&project)?, REPOSITORIES[0])?;
            }
            if let Some(inbox) = self.inbox(&project)? {
                hold(inbox.repository(), REPOSITORIES[1])?;
            }
        }
        Ok(Held(held))
    }
}

impl Held {
    /// The repositories as they are now; from here on they are used again. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub fn images(self) -> Result<Vec<Image>, Error> {
        self.0.into_iter().map(|(place, dir, _lock)| Image::of(place, dir)).collect()
    }
}

impl Image {
    fn of(place: PathBuf, dir: PathBuf) -> Result<Self, Error> {
        let mut image = Self { place, dir, directories: Vec::new(), small: Vec::new() };
        for name in SETTINGS {
            let path = image.dir.join(name);
            match fs::read(&path) {
                Ok(text) => image.small.push((name.into(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        image.read_refs(Path::new("refs"))?;
        Ok(image)
    }

    fn read_refs(&mut self, below: &Path) -> Result<(), Error> {
        self.directories.push(below.to_owned());
        let mut paths = read_dir(&self.dir.join(below))?;
        paths.sort_unstable();
        for path in paths.into_iter().filter(|path| !is_temporary(path)) {
            let name = below.join(path.file_name().unwrap_or_default());
            if path.is_dir() {
                self.read_refs(&name)?;
            } else {
                let text = fs::read(&path).map_err(Error::io("read", &path))?;
                self.small.push((name, text));
            }
        }
        Ok(())
    }

    /// Its directories, parents first, from its own on: `refs`, `objects/00`.
    ///
    /// # Errors
    /// The disk fails.
    pub fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = self.directories.clone();
        found.push("objects".into());
        let objects = read_dir(&self.dir.join("objects"))?;
        let mut below: Vec<PathBuf> = objects
            .into_iter()
            .filter(|path| path.is_dir())
            .map(|path| Path::new("objects").join(path.file_name().unwrap_or_default()))
            .collect();
        below.sort_unstable();
        found.extend(below);
        Ok(found)
    }

    /// Its settings and refs.
    pub fn small(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.small
    }

    /// Hands over every object: its place in the repository, and its file. A pack comes before its index.
    ///
    /// # Errors
    /// The disk fails, or whoever takes them.
    pub fn objects(&self, each: &mut dyn FnMut(&Path, &Path) -> io::Result<()>) -> Result<(), Error> {
        for directory in self.directories()?.iter().filter(|directory| directory.starts_with("objects")) {
            let mut files = read_dir(&self.dir.join(directory))?;
            files.retain(|path| path.is_file() && !is_temporary(path));
            files.sort_unstable_by_key(|path| (path.extension().is_some_and(|e| e == "idx"), path.clone()));
            for file in files {
                let place = directory.join(file.file_name().unwrap_or_default());
                each(&place, &file).map_err(Error::io("copy", &file))?;
            }
        }
        Ok(())
    }
}

impl Hub {
    /// Moves the pin of an attempt out of the way: of one that is to be run again, and whose result may be another one. Its
    /// commit stays reachable. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub fn put_pin_aside(&self, attempt: &AttemptId) -> Result<(), Error> {
        let name = pins::pin_ref(attempt);
        let lock = self.lock()?;
        let Some(commit) = self.with(|repo| read_ref(repo, &name))? else { return Ok(()) };
        let aside = format!("{LOST}/{}/{}", attempt.task.id, attempt.number);
        self.swap_ref(&lock, &aside, None, commit)?;
        self.with(|repo| Ok(repo.find_reference(&name)?.delete()?))
    }
}
