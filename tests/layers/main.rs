//! The layering test: imports point down only, each vendor crate has one door, the pure crate stays pure, and every
//! module says in its first lines what it is for. It reads sources as text, so it needs no build of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules of the root crate, lowest layer first. A module may import from its own layer only what is listed in
/// `SIBLINGS`, and anything from below.
const LAYERS: &[&[&str]] = &[
    &[
        "actor",
        "allocator",
        "exchange",
        "fault",
        "config",
        "disk",
        "helper",
        "memory",
        "notify",
        "outgoing",
        "telemetry",
    ],
    &["audit", "store", "runtime", "repository", "members", "wire", "traces"],
    &["backup"],
    &["taskmaster", "agent_host", "devops"],
    &["gateway"],
    &["uplink", "downlink", "webhook"],
    &["cli", "node"],
];

/// What siblings of one layer may know of each other.
const SIBLINGS: &[(&str, &str)] = &[
    // Actors know each other's messages only.
    ("taskmaster", "agent_host::message"),
    ("taskmaster", "devops::message"),
    ("devops", "taskmaster::message"),
    ("agent_host", "taskmaster::message"),
    // The composition root fills the seams of the CLI; the CLI does not know it.
    ("node", "cli"),
    // How log lines are written is a setting.
    ("config", "telemetry"),
    // How a reserve is written.
    ("disk", "config"),
    // What a receiver's address may be.
    ("config", "outgoing"),
];

/// Vendor crates and the only modules that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("bincode", &["store", "wire", "helper"]),
    ("bollard", &["runtime"]),
    ("tar", &["runtime", "backup"]),
    ("crc32fast", &["store"]),
    ("git2", &["repository"]),
    ("regex", &["repository", "config", "agent_host"]),
    ("aho_corasick", &["repository"]),
    ("globset", &["config"]),
    ("ractor", &["actor", "taskmaster", "agent_host", "devops", "node"]),
    // Behind the crate of links.
    ("ractor_cluster", &[]),
    ("axum", &["gateway", "cli", "node", "uplink", "downlink"]),
    ("tower", &["gateway", "cli"]),
    ("utoipa", &["gateway"]),
    ("hyper", &["gateway", "cli", "outgoing"]),
    ("hyper_util", &["gateway", "cli", "outgoing"]),
    ("askama", &["gateway"]),
    ("rust_embed", &["gateway"]),
    ("clap", &["cli", "bin"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("ratatui", &["cli"]),
    ("indicatif", &["cli"]),
    ("toml", &["config"]),
    ("anyhow", &["cli", "bin", "node"]),
    ("tracing_subscriber", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    // What is trusted, the cluster crate says; here it is only spoken.
    ("rustls", &["gateway", "outgoing"]),
    ("tokio_rustls", &["gateway", "outgoing"]),
    ("aws_lc_rs", &["outgoing"]),
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
    let relative = path.strip_prefix(root().join("src")).expect("below src");
    let first = relative.components().next().expect("a component").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("src")) {
        let module = module_of(&path);
        let Some(layer) = layer_of(&module) else {
            if !matches!(module.as_str(), "lib" | "bin") {
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

#[test]
fn every_vendor_crate_has_one_door() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("src")) {
        let (module, code) = (module_of(&path), code(&text));
        for (vendor, doors) in DOORS {
            let named = code
                .match_indices(&format!("{vendor}::"))
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if named && !doors.contains(&module.as_str()) {
                wrong.push(format!("{}: `{vendor}` may only be named in {doors:?}", path.display()));
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
    for dir in ["src", "dag/src", "shim/src", "cluster/src", "tests", "benches"] {
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
