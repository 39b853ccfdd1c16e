//! `protected` of a project and `may_change` of a task: globs for protected paths.
//! Deliberately absent: the default paths, and matching (`config::protected`).

use crate::{
    protected::Protected,
    section::{At, Reader, Table, code},
};

/// The longest list of globs, in bytes: a record is at most 16 KiB.
const GLOBS_MAX: usize = 2 << 10;

/// Reads a list of globs and names of sets; `None`: the key is missing or wrong.
pub(super) fn globs<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<At<Vec<String>>> {
    let list = table.texts(reader, key)?;
    let of = table.of();
    let mut globs = Vec::with_capacity(list.value.len());
    for At { at, value } in list.value {
        let glob = value.into_owned();
        if glob.trim().is_empty() || glob.contains(char::is_control) {
            reader.add(at, code::BAD_VALUE, format!("a glob in `{key}`{of} is empty or has several lines"), None);
        } else if let Err((glob, why)) = Protected::new([glob.as_str()]) {
            let hint = "globs work as in .gitignore, for example \".github/**\"".to_owned();
            reader.add(at, code::BAD_VALUE, format!("`{glob}` in `{key}`{of}: {why}"), Some(hint));
        } else if !globs.contains(&glob) {
            globs.push(glob);
        }
    }
    let size: usize = globs.iter().map(|glob| glob.len() + 1).sum();
    if size > GLOBS_MAX {
        let message = format!("`{key}`{of} has {size} bytes of globs; at most {GLOBS_MAX} are allowed");
        reader.add(list.at, code::BAD_VALUE, message, Some("name directories instead of files".to_owned()));
    }
    Some(At { at: list.at, value: globs })
}
