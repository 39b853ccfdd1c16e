//! What survives a cut, given the calls before it.

use super::*;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn cut(data: Data, metadata: Metadata) -> Cut {
    Cut { at: 1, power: true, data, metadata }
}

/// Names in the root after a cut that drops all it may.
fn left(image: &Image) -> Vec<String> {
    names(&image.survivor(cut(Data::Dropped, Metadata::Dropped), &mut Dice::new(0)).0)
}

fn names(image: &Image) -> Vec<String> {
    image.entries(ROOT).unwrap().keys().map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_file_needs_its_own_sync_and_its_directorys() {
    let mut image = Image::new();
    let file = image.create(ROOT, name("a"), 0o644).unwrap();
    image.write(file, 0, b"text").unwrap();
    image.fsync(file, Metadata::Dropped).unwrap();
    assert!(left(&image).is_empty(), "an fsync of the file does not cover its entry");
    image.fsync(ROOT, Metadata::Dropped).unwrap();
    assert_eq!(left(&image), ["a"]);

    image.write(file, 0, b"TEXT").unwrap();
    image.fsync(ROOT, Metadata::Dropped).unwrap();
    let (survivor, lost) = image.survivor(cut(Data::Dropped, Metadata::Dropped), &mut Dice::new(0));
    assert_eq!(survivor.file(file).unwrap().bytes(), b"text", "an fsync of the directory does not cover the bytes");
    assert_eq!(lost, ["1 of 1 pages of /a, 4 -> 4 bytes"]);
}

#[test]
fn an_unsynced_rename_unlink_and_link_are_undone() {
    let mut image = Image::new();
    for file in ["a", "b"] {
        image.create(ROOT, name(file), 0o644).unwrap();
    }
    image.fsync(ROOT, Metadata::Dropped).unwrap();
    let b = image.lookup(ROOT, name("b")).unwrap();
    image.rename((ROOT, name("a")), (ROOT, name("c")), true).unwrap();
    image.link(b, ROOT, name("d")).unwrap();
    image.unlink(ROOT, name("b")).unwrap();
    assert_eq!(names(&image), ["c", "d"]);
    assert_eq!(left(&image), ["a", "b"]);
    image.fsync(ROOT, Metadata::Dropped).unwrap();
    assert_eq!(left(&image), ["c", "d"]);
}

#[test]
fn a_directory_that_is_lost_takes_its_synced_files_along() {
    let mut image = Image::new();
    let dir = image.mkdir(ROOT, name("objects"), 0o755).unwrap();
    let file = image.create(dir, name("x"), 0o644).unwrap();
    image.fsync(file, Metadata::Dropped).unwrap();
    image.fsync(dir, Metadata::Dropped).unwrap();
    assert!(left(&image).is_empty());
}

#[test]
fn a_rename_survives_whole_or_not_at_all() {
    let mut image = Image::new();
    image.create(ROOT, name("a"), 0o644).unwrap();
    image.fsync(ROOT, Metadata::Subset).unwrap();
    image.rename((ROOT, name("a")), (ROOT, name("b")), true).unwrap();
    let mut seen = Vec::new();
    for seed in 0..32 {
        let survivor = image.survivor(cut(Data::Dropped, Metadata::Subset), &mut Dice::new(seed)).0;
        seen.push(names(&survivor));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [["a"], ["b"]]);
}

#[test]
fn a_journal_keeps_a_prefix_and_any_fsync_covers_what_came_before() {
    let mut image = Image::new();
    let other = image.mkdir(ROOT, name("other"), 0o755).unwrap();
    image.create(ROOT, name("a"), 0o644).unwrap();
    image.fsync(other, Metadata::Prefix).unwrap();
    for file in ["b", "c", "d"] {
        image.create(ROOT, name(file), 0o644).unwrap();
    }
    let all = ["a", "b", "c", "d", "other"];
    for seed in 0..64 {
        let survivor = names(&image.survivor(cut(Data::Dropped, Metadata::Prefix), &mut Dice::new(seed)).0);
        let files = survivor.len() - 1;
        assert_eq!(survivor[..files], all[..files], "not a prefix");
        assert!(files >= 1, "the fsync came after a");
    }
}

#[test]
fn a_subset_may_keep_the_later_change_and_lose_the_earlier() {
    let mut image = Image::new();
    image.create(ROOT, name("first"), 0o644).unwrap();
    image.create(ROOT, name("second"), 0o644).unwrap();
    let outcomes =
        (0..64).map(|seed| names(&image.survivor(cut(Data::Dropped, Metadata::Subset), &mut Dice::new(seed)).0));
    assert!(outcomes.into_iter().any(|left| left == ["second"]));
}

#[test]
fn what_survived_is_durable_and_can_be_cut_again() {
    let mut image = Image::new();
    let file = image.create(ROOT, name("a"), 0o644).unwrap();
    image.write(file, 0, b"kept").unwrap();
    image.fsync(file, Metadata::Dropped).unwrap();
    image.fsync(ROOT, Metadata::Dropped).unwrap();
    let policy = cut(Data::Partial, Metadata::Subset);
    let mut again = image.survivor(policy, &mut Dice::new(1)).0;
    again.create(ROOT, name("b"), 0o644).unwrap();
    again = again.survivor(cut(Data::Dropped, Metadata::Dropped), &mut Dice::new(2)).0;
    assert_eq!(names(&again), ["a"]);
    assert_eq!(again.file(file).unwrap().bytes(), b"kept");
}

#[test]
fn a_kill_without_a_power_loss_leaves_everything_as_unsynced_as_it_was() {
    let mut image = Image::new();
    image.create(ROOT, name("a"), 0o644).unwrap();
    let killed = image.survivor(Cut { power: false, ..cut(Data::Dropped, Metadata::Dropped) }, &mut Dice::new(1)).0;
    assert_eq!(names(&killed), ["a"]);
    assert!(left(&killed).is_empty());
}

#[test]
fn a_tree_materialises_as_plain_files() {
    let mut image = Image::new();
    let dir = image.mkdir(ROOT, name("d"), 0o755).unwrap();
    let file = image.create(dir, name("f"), 0o600).unwrap();
    image.write(file, 2, b"x").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    image.materialise(scratch.path()).unwrap();
    assert_eq!(fs::read(scratch.path().join("d/f")).unwrap(), b"\0\0x");
}
