//! Secret values, from stdin to the agent's environment. They live in this process's memory only, which the agent
//! cannot read (the shim is not dumpable).

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

/// One JSON object `{name: value}`, then end of file. At most [`MAX`] bytes.
pub(crate) fn read() -> io::Result<Vec<(String, String)>> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX).read_to_end(&mut text)?;
    let object: BTreeMap<String, String> = serde_json::from_slice(&text)?;
    Ok(object.into_iter().collect())
}

/// Linux gives a program at most 2 MiB of arguments and environment together.
const MAX: u64 = 2 << 20;
