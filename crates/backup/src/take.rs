//! Writes a backup of a Taskmaster: first the store's lines, which are from the moment of the snapshot, then the data
//! that is only ever added to. Deliberately absent: taking the snapshot (the node does it, between two commits and
//! under every repository's lock).

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{Archive, BLOBS, BackupError, CLUSTER, Contents, Head, PROJECTS, STORE};
use devstack_repository::image::Image;
use devstack_store::BlobHold;

/// Bytes read from a file at once.
const BUFFER: usize = 64 << 10;

/// The inputs of a backup.
pub struct Material {
    /// Description of the backup.
    pub head: Head,
    /// The store's lines, positioned at the beginning.
    pub store: File,
    /// Prevents blobs from being swept.
    pub blobs: BlobHold,
    /// The repositories.
    pub images: Vec<Image>,
    /// Keys and registry of the cluster, if there is a cluster.
    pub cluster: Option<PathBuf>,
}

/// Writes the backup. Blocks.
///
/// # Errors
/// Something cannot be read or written. The file is then incomplete, and reading it reports that.
pub fn write(material: Material, out: impl Write) -> Result<Contents, BackupError> {
    let Material { head, store, blobs, images, cluster } = material;
    let failed = |path: &'static str| BackupError::io("back up", path);
    let mut archive = Archive::begin(io::BufWriter::with_capacity(BUFFER, out), &head).map_err(failed("backup"))?;
    add(&mut archive, STORE, store).map_err(failed(STORE))?;
    archive.directory(BLOBS).map_err(failed(BLOBS))?;
    for (name, path) in blobs.files().map_err(failed(BLOBS))? {
        let path_in = format!("{BLOBS}/{name}");
        File::open(&path)
            .and_then(|file| add(&mut archive, &path_in, file))
            .map_err(BackupError::io("back up", path))?;
    }
    drop(blobs);
    if let Some(dir) = cluster {
        members(&mut archive, &dir).map_err(BackupError::io("back up", dir))?;
    }
    for image in &images {
        repository(&mut archive, image)?;
    }
    let (_, contents) = archive.end().map_err(failed("backup"))?;
    Ok(contents)
}

fn add<W: Write>(archive: &mut Archive<W>, path: &str, mut file: File) -> io::Result<()> {
    let size = file.metadata()?.len();
    archive.file(path, size, &mut file)
}

/// Small files that are replaced as a whole: each is read in one go.
fn members<W: Write>(archive: &mut Archive<W>, dir: &Path) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort_unstable();
    archive.directory(CLUSTER)?;
    for path in paths.into_iter().filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "new")) {
        let mut content = Vec::new();
        File::open(&path)?.read_to_end(&mut content)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{CLUSTER}/{name}"), content.len() as u64, &mut &content[..])?;
    }
    Ok(())
}

fn repository<W: Write>(archive: &mut Archive<W>, image: &Image) -> Result<(), BackupError> {
    let place = |path: &Path| Path::new(PROJECTS).join(&image.place).join(path).to_string_lossy().into_owned();
    let failed = || BackupError::io("back up", image.place.clone());
    for directory in image.directories()? {
        archive.directory(&place(&directory)).map_err(failed())?;
    }
    for (name, content) in image.small() {
        archive.file(&place(name), content.len() as u64, &mut &content[..]).map_err(failed())?;
    }
    Ok(image.objects(&mut |name, file| add(archive, &place(name), File::open(file)?))?)
}
