//! The layering test: imports point down only, each vendor crate has one door, the pure crate stays pure, and every
//! module says in its first lines what it is for. It reads sources as text, so it needs no build of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules of the node's crate, lowest layer first. A module may import from its own layer only what is listed in
/// `SIBLINGS`, and anything from below. Between crates Cargo sees to that.
const LAYERS: &[&[&str]] = &[
    &["actor", "wire", "traces"],
    &["taskmaster", "agent_host", "devops"],
    &["uplink", "downlink", "webhook"],
    &["node"],
];

/// What siblings of one layer may know of each other.
const SIBLINGS: &[(&str, &str)] = &[
    // Actors know each other's messages only.
    ("taskmaster", "agent_host::message"),
    ("taskmaster", "devops::message"),
    ("devops", "taskmaster::message"),
    ("agent_host", "taskmaster::message"),
];

/// Vendor crates and the only crates whose manifests may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("crc32fast", &["store"]),
    ("bincode", &["store", "node", "repository"]),
    ("bollard", &["runtime"]),
    ("tar", &["runtime", "backup"]),
    ("git2", &["repository"]),
    ("aho-corasick", &["repository"]),
    ("globset", &["config"]),
    ("toml", &["config"]),
    ("ractor", &["node"]),
    // Behind the crate of links.
    ("ractor_cluster", &[]),
    ("axum", &["api", "gateway", "cli", "node"]),
    ("tower", &["gateway", "cli"]),
    ("utoipa", &["api", "gateway"]),
    ("hyper", &["api", "gateway", "cli"]),
    ("hyper-util", &["api", "gateway", "cli"]),
    ("askama", &["gateway"]),
    ("rust-embed", &["gateway"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("ratatui", &["cli"]),
    ("indicatif", &["cli"]),
    ("tracing-subscriber", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    // The cluster crate decides which certificates are trusted.
    ("rustls", &["api"]),
    ("tokio-rustls", &["api", "gateway"]),
    ("aws-lc-rs", &["api"]),
];

/// What the pure crate must never name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant",
    "tokio",
    "async ",
    "rand::",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).expect("a source file")));
        }
    }
    found
}

/// The code of a file without comments and without its unit tests (which stand last).
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    shipped.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Paths after `crate::`, with one level of braces opened: `crate::{a::B, c}` gives `a::B` and `c`.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && c == ',') {
                    paths.push(item.trim().to_owned());
                    item.clear();
                } else {
                    item.push(c);
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            paths.push(rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect());
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("crates/node/src")).expect("below the crate");
    let first = relative.components().next().expect("a component").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("crates/node/src")) {
        let module = module_of(&path);
        let Some(layer) = layer_of(&module) else {
            if module != "lib" {
                wrong.push(format!("{}: module `{module}` has no layer in tests/layers", path.display()));
            }
            continue;
        };
        for import in crate_paths(&code(&text)) {
            let target = import.split(':').next().unwrap_or_default();
            let Some(target_layer) = layer_of(target) else { continue };
            let sibling = || SIBLINGS.iter().any(|(from, to)| *from == module && import.starts_with(to));
            if target == module || target_layer < layer || (target_layer == layer && sibling()) {
                continue;
            }
            wrong.push(format!("{}: `{module}` must not import crate::{import}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Names in the `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<&str> {
    let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_vendor_crate_has_its_door() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("the crates") {
        let dir = entry.expect("a directory entry").path();
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
        let named = dependencies(&manifest);
        assert!(!named.is_empty() || name == "telemetry", "{name} has no dependencies: is its manifest read?");
        for (vendor, doors) in DOORS {
            if named.contains(vendor) && !doors.contains(&name.as_str()) {
                wrong.push(format!("crates/{name}/Cargo.toml: `{vendor}` may only be named in {doors:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Columns of a line of code or of a comment. The rest is for strings that cannot be broken.
const COLUMNS: usize = 120;

#[test]
fn comments_fit_their_columns() {
    let mut wrong = Vec::new();
    for dir in ["src", "crates", "dag", "shim", "cluster", "tests", "benches", "fuzz/fuzz_targets"] {
        for (path, text) in sources(&root().join(dir)) {
            let is_wide = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > COLUMNS;
            let is_breakable = |line: &&str| line.trim_start().matches(' ').count() > 1 && !line.contains("//! |");
            for (number, line) in text.lines().enumerate().filter(|(_, line)| is_wide(line) && is_breakable(line)) {
                wrong.push(format!("{}:{}: {} columns", path.display(), number + 1, line.chars().count()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_pure_crate_is_pure() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("dag/src")) {
        let code = code(&text);
        for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
            wrong.push(format!("{}: `{impure}` has no place in the pure crate", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for dir in ["src", "crates", "dag/src", "shim/src", "cluster/src", "tests", "benches"] {
        for (path, text) in sources(&root().join(dir)) {
            if !text.starts_with("//!") {
                wrong.push(format!("{}: does not open with `//!`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_what_it_must() {
    let paths = crate_paths("use crate::{a::{B, C}, d}; let x = crate::e::f(); $crate::g");
    assert_eq!(paths, ["a::{B, C}", "d", "e::f"]);
}
