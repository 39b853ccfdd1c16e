//! Copies the files of one of our repositories while it is in use: first its refs at one moment, under its lock, and
//! then its objects, which are only ever added. The copied objects include everything that those refs need.
//! Deliberately absent: packing and transport (`backup`), and agents' repositories, from which no file is copied.

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

/// The files that git reads in a bare repository besides refs and objects.
const SETTINGS: [&str; 3] = ["HEAD", "config", "packed-refs"];
/// The names of a project's repositories in its directory.
pub(crate) const REPOSITORIES: [&str; 2] = ["hub.git", "inbox.git"];
/// Where pins are moved that belong to a lost history.
const LOST: &str = "refs/devstack/restored";

/// All repositories of a node, locked: nothing lands in them and none of their refs moves.
pub struct Held(Vec<(PathBuf, PathBuf, ProjectLock)>);

/// The files of one repository.
#[derive(Debug)]
pub struct Image {
    /// Its place below the directory of projects: `shop/hub.git`.
    pub place: PathBuf,
    dir: PathBuf,
    directories: Vec<PathBuf>,
    small: Vec<(PathBuf, Vec<u8>)>,
}

impl Hubs {
    /// Locks every repository, project by project, and waits for running jobs. Blocks.
    ///
    /// # Errors
    /// A repository is busy for too long, or the disk fails.
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
    /// The repositories as they are now; afterwards they are unlocked. Blocks.
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

    /// Its directories, parents first, relative to itself: `refs`, `objects/00`.
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

    /// Hands over every object: its path in the repository, and its file. A pack comes before its index.
    ///
    /// # Errors
    /// The disk or the callback fails.
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
    /// Moves the pin of an attempt aside, if the attempt will run again and its result may differ. Its commit stays
    /// reachable. Blocks.
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
