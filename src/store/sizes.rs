//! How large rows would be, without writing them: what the engine asks before it applies a decision.
//! Deliberately absent: refusing anything (the engine does, and the store once more).

use std::io;

use devstack_dag::{Sizer, fact::Fact, record::Record};

use super::{MAX_RECORD, schema::Row};

/// Rows as this version writes them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowSizes;

impl Sizer for RowSizes {
    fn fact(&self, fact: &Fact) -> usize {
        size(fact)
    }

    fn record(&self, record: &Record) -> usize {
        size(record)
    }

    fn max(&self) -> usize {
        MAX_RECORD
    }
}

/// What cannot be encoded (no type of ours) has no place either.
fn size(row: &impl Row) -> usize {
    let mut counter = Counter(0);
    row.encode(&mut counter).map_or(usize::MAX, |()| counter.0)
}

/// Takes bytes and counts them.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
