//! Computes how large rows would be, without writing them: the engine asks before it applies a decision.
//! Deliberately absent: refusing anything (the engine does, and the store checks again).

use std::io;

use devstack_dag::{Sizer, fact::Fact, record::Record};

use super::{MAX_RECORD, schema::Row};

/// Sizes of rows as this version writes them.
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

/// A value that cannot be encoded (no type of ours) does not fit either.
fn size(row: &impl Row) -> usize {
    let mut counter = Counter(0);
    row.encode(&mut counter).map_or(usize::MAX, |()| counter.0)
}

/// A writer that only counts bytes.
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
