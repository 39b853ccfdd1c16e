//! Opens the store, in the order that survived every power cut of the tests: lock → remove what was never used → remove
//! half-made snapshots → open our own descriptor → sled → sync the names → (new store: head row, then the READY marker)
//! → read and verify every row → remove what a crash left unfinished. Deliberately absent: repair of rows. A damaged
//! row is reported by name, and the store does not open.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    SledOptions, SledStore, compact, keys,
    lock::StoreLock,
    read::{Core, decode_row},
    rehearse::rehearse,
    sync::{DataFile, create_dir_synced, create_marker, sync_path},
    write,
};
use crate::{
    InstallationLabel, Seq, StoreError, Term,
    envelope::{self, RowKind},
    schema::Head,
};

/// sled's buffer for its log, in bytes. A page larger than a quarter of it goes to a file that sled never syncs. A page
/// holds up to 20 rows of 16 KiB, so the default of 512 KiB is too small.
const SEGMENT: usize = 2 * 1024 * 1024;

/// Memory for sled's page cache, in bytes. Only the start and readers of facts read through it.
const CACHE: u64 = 8 * 1024 * 1024;

/// How often sled cleans its log, in milliseconds: only its flusher cleans it. Rare, so that an idle node is idle.
const CLEAN_EVERY_MS: u64 = 5_000;

/// How long sled's threads may take to release a database that this process closed: the time of one write in progress.
const LET_GO: Duration = Duration::from_secs(5);

/// The parts of a store's directory.
struct Layout {
    dir: PathBuf,
    sled: PathBuf,
    ready: PathBuf,
}

/// Opens the store in `dir`, creating it if there is none.
pub(super) fn open(dir: &Path, options: SledOptions) -> Result<SledStore, StoreError> {
    let layout = Layout { dir: dir.to_owned(), sled: dir.join("sled"), ready: dir.join("READY") };
    create_dir_synced(&layout.dir)?;
    let lock = StoreLock::take(&layout.dir)?;
    let used = layout.ready.exists();
    if !used {
        remove_never_used(&layout.sled)?;
    }
    create_dir_synced(&layout.sled)?;
    remove_unfinished_snapshots(&layout.sled)?;
    let data = DataFile::open(&layout.sled.join("db"), options.sync)?;
    sync_leftovers(&layout)?;
    if used {
        rehearse(&layout.sled, &layout.dir.join("rehearsal"))?;
    }
    let db = open_sled(&layout.sled)?;
    sync_names(&layout)?;
    let blob_files = layout.sled.join("blobs");
    write::check_no_blob_files(&blob_files)?;
    let head = if used { read_head(&db)? } else { create(&db, &data, &layout)? };
    let chunked = verify(&db, &head)?;
    let mut store = SledStore {
        core: Core::new(db, head.meta(), lock),
        data,
        blob_files,
        head,
        chunked,
        buffer: Vec::new(),
        body: Vec::new(),
        key: Vec::new(),
    };
    store.drop_unfinished()?;
    if store.chunked {
        store.chunked = compact::compact(&store)?;
    }
    Ok(store)
}

/// A database without the READY marker never acknowledged anything, and half of its files may be missing.
fn remove_never_used(sled: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(sled) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(format!("removing the unused {}", sled.display()))(error))
        }
        _ => Ok(()),
    }
}

/// A torn `snap.*.generating` with the highest number would block every later open; finished snapshots have no such
/// suffix.
fn remove_unfinished_snapshots(sled: &Path) -> Result<(), StoreError> {
    let step = || format!("removing unfinished snapshots in {}", sled.display());
    for entry in fs::read_dir(sled).map_err(StoreError::io(step()))? {
        let entry = entry.map_err(StoreError::io(step()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(StoreError::io(step()))?;
        }
    }
    Ok(())
}

/// Data that a killed process wrote without a sync is readable, and recovery builds on it: it must be durable first.
fn sync_leftovers(layout: &Layout) -> Result<(), StoreError> {
    let step = || format!("syncing what was left in {}", layout.sled.display());
    for entry in fs::read_dir(&layout.sled).map_err(StoreError::io(step()))? {
        let entry = entry.map_err(StoreError::io(step()))?;
        sync_path(&entry.path())?;
    }
    sync_path(&layout.sled)
}

/// sled syncs neither its configuration nor the names of its files.
fn sync_names(layout: &Layout) -> Result<(), StoreError> {
    sync_path(&layout.sled.join("conf"))?;
    sync_path(&layout.sled.join("blobs"))?;
    sync_path(&layout.sled)?;
    sync_path(&layout.dir)
}

fn create(db: &sled::Tree, data: &DataFile, layout: &Layout) -> Result<Head, StoreError> {
    let mut label = [0; 16];
    getrandom::fill(&mut label)
        .map_err(|error| StoreError::io("making the installation label")(io::Error::other(error.to_string())))?;
    let label = InstallationLabel(label);
    let last_time = devstack_dag::ids::Timestamp(0);
    let head = Head { seq: Seq(0), first: Seq(1), term: Term(0), last_time, label, version: 0 };
    let mut batch = sled::Batch::default();
    write::put_head(&mut batch, &head, &mut Vec::new())?;
    write::apply_durably(db, data, batch)?;
    create_marker(&layout.ready)?;
    Ok(head)
}

fn read_head(db: &sled::Tree) -> Result<Head, StoreError> {
    match db.get(keys::HEAD).map_err(write::backend("reading the head row"))? {
        Some(row) => decode_row(keys::HEAD, RowKind::Head, &row),
        None => Err(StoreError::Damaged { what: "the head row".into(), why: "it is missing".into() }),
    }
}

/// Reads every row, and checks its frame and that no fact is missing. Returns whether there are chunks.
fn verify(db: &sled::Tree, head: &Head) -> Result<bool, StoreError> {
    let mut chunked = false;
    let mut next_fact = head.first;
    for row in db {
        let (key, row) = row.map_err(write::backend("reading the store"))?;
        let damaged = |why| StoreError::Damaged { what: keys::name(&key), why };
        let frame = envelope::open(&key, &row).map_err(damaged)?;
        let fits = match key.first().copied().unwrap_or_default() {
            keys::FACT => frame.kind == RowKind::Fact,
            keys::RECORD => matches!(frame.kind, RowKind::Record | RowKind::Removed),
            keys::CHUNK => frame.kind == RowKind::Chunk,
            keys::REPLY => frame.kind == RowKind::Reply,
            _ => frame.kind == RowKind::Head && *key == *keys::HEAD,
        };
        if !fits {
            return Err(damaged(format!("it holds a {:?} row", frame.kind)));
        }
        chunked |= frame.kind == RowKind::Chunk;
        if keys::fact_seq(&key) == Some(next_fact) {
            next_fact.0 += 1;
        }
    }
    if next_fact <= head.seq {
        return Err(StoreError::Damaged { what: format!("fact {next_fact}"), why: "it is missing".into() });
    }
    Ok(chunked)
}

/// Opens the database. No other process has it, because we hold our own lock. sled's threads may release it a moment
/// after the last handle in this process was dropped, so its lock is retried until [`LET_GO`].
pub(super) fn open_sled(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::default()
        .path(path)
        .cache_capacity(CACHE)
        .segment_size(SEGMENT)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(Some(CLEAN_EVERY_MS));
    let started = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && started.elapsed() < LET_GO =>
            {
                std::thread::sleep(LET_GO / 1000);
            }
            outcome => return outcome.map_err(|error| opening(path, error)),
        }
    }
}

fn opening(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged {
            what: format!("the database {}", path.display()),
            why: format!("sled cannot read it ({error})"),
        },
        error => write::backend(&format!("opening {}", path.display()))(error),
    }
}
