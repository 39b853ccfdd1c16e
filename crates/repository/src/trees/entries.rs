//! Parses the entries of one raw tree object. Any input yields entries or a reason (`fuzz/`). Deliberately absent:
//! reading the object, and deciding whether its names are allowed.

/// One entry, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Its kind and permissions: `0o100644`.
    pub(crate) mode: u32,
    /// Its name, neither empty nor containing a `/`.
    pub(crate) name: &'a [u8],
    /// The object's id, SHA-1.
    pub(crate) id: [u8; 20],
}

/// The bits of a mode that contain an entry's kind.
const KIND: u32 = 0o170_000;
/// A directory.
pub(crate) const DIRECTORY: u32 = 0o040_000;
/// Digits of the longest mode, with the leading zero of old programs.
const MODE_DIGITS: usize = 7;

impl Entry<'_> {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & KIND == DIRECTORY
    }
}

/// All entries, in order; `Err` says what is wrong with the bytes.
pub(crate) fn parse(raw: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, &'static str>> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = first(rest);
        rest = parsed.as_ref().map_or(&[], |(_, behind)| behind);
        Some(parsed.map(|(entry, _)| entry))
    })
}

fn first(raw: &[u8]) -> Result<(Entry<'_>, &[u8]), &'static str> {
    let digits = raw.iter().take(MODE_DIGITS + 1).position(|byte| *byte == b' ').ok_or("an entry without a mode")?;
    let (mode, rest) = (&raw[..digits], &raw[digits + 1..]);
    if mode.is_empty() || !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err("an entry whose mode is not a number");
    }
    let mode = mode.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit - b'0'));
    let end = rest.iter().position(|byte| *byte == 0).ok_or("an entry whose name has no end")?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    if name.is_empty() || name.contains(&b'/') {
        return Err("an entry whose name is empty or contains `/`");
    }
    let (id, rest) = rest.split_first_chunk().ok_or("an entry without an object")?;
    Ok((Entry { mode, name, id: *id }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(mode: &str, name: &[u8], id: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name, b"\0", &[id; 20]].concat()
    }

    #[test]
    fn entries_come_in_their_order() {
        let tree = [raw("100644", b"a b", 1), raw("40000", b"d\xff", 2)].concat();
        let entries = parse(&tree).collect::<Result<Vec<_>, _>>().expect("valid");
        assert_eq!(entries[0], Entry { mode: 0o100_644, name: b"a b", id: [1; 20] });
        assert_eq!(entries[1], Entry { mode: 0o040_000, name: b"d\xff", id: [2; 20] });
        assert!(!entries[0].is_directory() && entries[1].is_directory() && entries.len() == 2);
        assert_eq!(parse(b"").count(), 0);
    }

    #[test]
    fn other_bytes_end_the_list_with_a_reason() {
        let whole = raw("100644", b"a", 1);
        let cases = [
            raw("", b"a", 1),
            raw("100648", b"a", 1),
            raw("01000644", b"a", 1),
            raw("100644", b"", 1),
            raw("100644", b"a/b", 1),
            whole[..whole.len() - 1].to_vec(),
            b"100644".to_vec(),
            b"100644 a".to_vec(),
        ];
        for case in cases {
            let found: Vec<_> = parse(&case).collect();
            assert!(matches!(found.as_slice(), [Err(_)]), "{case:?}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let read: usize = parse(&bytes).map_while(Result::ok).map(|entry| entry.name.len() + 22).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
