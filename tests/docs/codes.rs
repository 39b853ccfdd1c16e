//! Error codes and exit codes, from the sources: the comment above the constant or the variant that a code belongs to.
//! A code has one meaning; where two layers speak of the same thing, both comments stand.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            into.push(path);
        }
    }
}

/// The comment above line `at`, attributes between them skipped.
fn comment(lines: &[&str], at: usize) -> Option<String> {
    let above = lines[..at].iter().rev().map(|line| line.trim()).skip_while(|line| line.starts_with("#["));
    let mut comment: Vec<&str> = above.map_while(|line| line.strip_prefix("///")).map(str::trim).collect();
    comment.reverse();
    (!comment.is_empty()).then(|| comment.join(" "))
}

/// As the comments are written: a capital, a full stop.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

/// Where a code is given to a constant or to a variant, and what that is.
fn meaning(lines: &[&str], at: usize) -> Option<String> {
    let line = lines[at].trim();
    if line.contains("const ") {
        return comment(lines, at);
    }
    // The API's table: name, code, status, meaning.
    if let Some((_, rest)) = line.split_once(" = \"DS0") {
        return rest.split('"').nth(2).map(sentence);
    }
    let variant = line.strip_prefix("Self::")?.split(|c: char| !c.is_alphanumeric()).next()?;
    let declared = |line: &&str| {
        let rest = line.trim().strip_prefix(variant);
        rest.is_some_and(|rest| rest.starts_with(['(', ',']) || rest.starts_with(" {"))
    };
    comment(lines, lines.iter().position(|line| declared(line))?)
}

pub(crate) fn section() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "crates", "dag/src"] {
        sources(&root.join(dir), &mut files);
    }
    files.sort();
    let mut codes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines: Vec<&str> = shipped.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            for (place, _) in line.match_indices("\"DS0") {
                let code = &line[place + 1..(place + 7).min(line.len())];
                let meanings = codes.entry(code.to_owned()).or_default();
                meanings.extend(meaning(&lines, at).filter(|new| !meanings.contains(new)));
            }
        }
    }
    let mut text = String::from(
        "## Error codes\n\nEvery error says what failed, why, what to do, and one of these. They do not change.\n\n\
         | code | it means |\n|---|---|\n",
    );
    for (code, meanings) in codes {
        assert!(!meanings.is_empty(), "{code} is nowhere explained: write a comment above its constant or variant");
        assert!(meanings.len() <= 2, "{code} means too much: {meanings:?}");
        writeln!(text, "| {code} | {} |", meanings.join(" ").replace('|', "\\|")).unwrap();
    }
    text
}

/// The exit codes of the command line.
pub(crate) fn exits() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/cli/src/exit.rs")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| line.contains("pub enum Exit")).unwrap();
    let mut made = String::from("## Exit codes\n\n| code | it means |\n|---|---|\n");
    for (at, line) in lines.iter().enumerate().skip(start).take_while(|(_, line)| **line != "}") {
        if let Some((_, code)) = line.trim().trim_end_matches(',').split_once(" = ") {
            writeln!(made, "| {code} | {} |", comment(&lines, at).unwrap()).unwrap();
        }
    }
    made
}
