//! Parses the header of a bundle file. We parse it ourselves because an untrusted host wrote it. Format: `git help
//! gitformat-bundle`, version 2. Any input yields a header or a reason (`fuzz/`). Deliberately absent: the pack after
//! the header, and version 3.

use std::io::{BufRead, BufReader, Read};

use devstack_dag::ids::CommitId;

/// The first line.
pub(crate) const SIGNATURE: &str = "# v2 git bundle";
/// The longest header, in bytes: a header is a few lines, and a longer one is refused unread.
const HEADER_MAX: u64 = 64 << 10;

/// The parsed header of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Commits that the reader must have.
    pub(crate) prerequisites: Vec<CommitId>,
    /// Refs in the bundle.
    pub(crate) refs: Vec<(CommitId, String)>,
    /// The offset of the pack, in bytes.
    pub(crate) length: u64,
}

/// Read a bundle's header; `Err` says what is wrong with it, for users.
pub(crate) fn read_header(from: impl Read) -> Result<Header, String> {
    let mut lines = BufReader::new(from.take(HEADER_MAX));
    let mut header = Header { prerequisites: Vec::new(), refs: Vec::new(), length: 0 };
    let mut first = true;
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).map_err(|e| format!("the bundle cannot be read: {e}"))?;
        header.length += line.len() as u64;
        if line.pop() != Some(b'\n') {
            return Err("the bundle ends within its header, or the header is too long".into());
        }
        let line = String::from_utf8(line).map_err(|_| "the bundle's header is not UTF-8".to_owned())?;
        if std::mem::take(&mut first) {
            if line != SIGNATURE {
                return Err("the file is not a bundle of version 2".into());
            }
        } else if line.is_empty() {
            return Ok(header);
        } else if let Some(rest) = line.strip_prefix('-') {
            header.prerequisites.push(commit_of(rest.split(' ').next().unwrap_or_default())?);
        } else {
            let (commit, name) = line.split_once(' ').ok_or("a line in the bundle's header has no ref")?;
            header.refs.push((commit_of(commit)?, name.to_owned()));
        }
    }
}

fn commit_of(text: &str) -> Result<CommitId, String> {
    text.parse().map_err(|_| "the bundle's header has an invalid SHA-1 commit id".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_header_is_read_to_the_first_byte_of_the_pack() {
        let text = format!("# v2 git bundle\n-{ID} subject of it\n{ID} HEAD\n\nPACK");
        let header = read_header(text.as_bytes()).expect("valid");
        assert_eq!(header.prerequisites.len(), 1);
        assert_eq!(header.refs, vec![(ID.parse().expect("id"), "HEAD".to_owned())]);
        assert_eq!(&text[header.length as usize..], "PACK");
    }

    #[test]
    fn other_headers_are_refused() {
        let cases = [
            "",
            "# v3 git bundle\n\n",
            "# v2 git bundle\nHEAD\n\n",
            "# v2 git bundle\nabc HEAD\n\n",
            "# v2 git bundle\n",
        ];
        for text in cases {
            assert!(read_header(text.as_bytes()).is_err(), "{text:?}");
        }
        let endless = format!("# v2 git bundle\n{}", format!("{ID} HEAD\n").repeat(100_000));
        assert!(read_header(endless.as_bytes()).is_err());
    }
}
