//! The layer under a real kernel: calls arrive as the model needs them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::cut::{Cut, Data, Dice, Metadata};
use crate::disk::Disk;
use crate::image::Image;
use crate::power::{attach, detach, lock};
use crate::skipped;

const NEVER: Cut = Cut { at: u64::MAX, power: true, data: Data::Dropped, metadata: Metadata::Dropped };

/// Mounts an empty disk, runs `act` on it, and writes out what a cut right after it would leave.
fn survivor(act: impl FnOnce(&Path)) -> tempfile::TempDir {
    let mount = tempfile::tempdir().unwrap();
    let disk = Arc::new(Mutex::new(Disk::new(Image::new(), NEVER)));
    let session = attach(mount.path(), &disk).unwrap();
    act(mount.path());
    detach(mount.path(), session).unwrap();
    let left = tempfile::tempdir().unwrap();
    lock(&disk).survivor(&mut Dice::new(1)).0.materialise(left.path()).unwrap();
    left
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_what_was_synced_is_left() {
    if skipped() {
        return;
    }
    let left = survivor(|disk| {
        fs::create_dir(disk.join("d")).unwrap();
        for file in ["d/kept", "d/unsynced", "d/renamed"] {
            fs::write(disk.join(file), "old").unwrap();
        }
        for file in ["d/kept", "d/renamed"] {
            sync(&disk.join(file));
        }
        sync(&disk.join("d"));
        sync(disk);
        fs::rename(disk.join("d/renamed"), disk.join("d/new")).unwrap();
        fs::write(disk.join("d/late"), "never synced").unwrap();
        sync(&disk.join("d/late"));
        let mut kept = OpenOptions::new().append(true).open(disk.join("d/kept")).unwrap();
        kept.write_all(b" and more").unwrap();
        kept.sync_data().unwrap();
        kept.write_all(b", unsynced").unwrap();
        assert_eq!(names(&disk.join("d")), ["kept", "late", "new", "unsynced"]);
    });
    assert_eq!(names(&left.path().join("d")), ["kept", "renamed", "unsynced"]);
    assert_eq!(fs::read(left.path().join("d/kept")).unwrap(), b"old and more");
    assert_eq!(fs::read(left.path().join("d/unsynced")).unwrap(), b"");
}

#[test]
fn a_program_sees_an_ordinary_file_system() {
    if skipped() {
        return;
    }
    survivor(|disk| {
        let (one, two) = (disk.join("one"), disk.join("two"));
        let mut file = File::create_new(&one).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        assert!(File::create_new(&one).is_err(), "exclusive creation");
        file.try_lock().unwrap();
        let other = File::open(&one).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "locks exclude");
        fs::hard_link(&one, &two).unwrap();
        fs::remove_file(&one).unwrap();
        let mut text = Vec::new();
        (&other).read_to_end(&mut text).unwrap();
        assert_eq!(text, fs::read(&two).unwrap(), "an open file and a second name outlive the first name");
        file.set_len(10).unwrap();
        file.rewind().unwrap();
        assert_eq!(fs::metadata(&two).unwrap().len(), 10);

        let crowd = disk.join("crowd");
        fs::create_dir(&crowd).unwrap();
        for number in 0..1000 {
            fs::write(crowd.join(format!("a-rather-long-name-{number}")), "").unwrap();
        }
        assert!(fs::remove_dir(&crowd).is_err(), "a directory in use");
        fs::remove_dir_all(&crowd).unwrap();
        assert_eq!(names(disk), ["two"], "nothing was left over by a listing that shifts");
    });
}

#[test]
fn after_the_cut_nothing_is_written_any_more() {
    if skipped() {
        return;
    }
    let mount = tempfile::tempdir().unwrap();
    let cut = Cut { at: 3, ..NEVER };
    let disk = Arc::new(Mutex::new(Disk::new(Image::new(), cut)));
    let session = attach(mount.path(), &disk).unwrap();
    fs::create_dir(mount.path().join("first")).unwrap();
    sync(mount.path());
    assert!(fs::create_dir(mount.path().join("third")).is_err());
    assert!(fs::create_dir(mount.path().join("fourth")).is_err());
    detach(mount.path(), session).unwrap();
    let (image, report) = lock(&disk).survivor(&mut Dice::new(1));
    let left = tempfile::tempdir().unwrap();
    image.materialise(left.path()).unwrap();
    assert_eq!(names(left.path()), ["first"]);
    assert!(report.contains("mkdir /third") && !report.contains("fourth"), "{report}");
}
