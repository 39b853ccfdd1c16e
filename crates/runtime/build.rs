//! Builds the shim as a static binary that our binaries carry (`src/shim.rs`), so that a deployment is one file.
//!
//! It is a separate cargo build, because it needs other flags (`+crt-static`) and another profile than the binaries
//! around it. It has its own target directory, because the outer build holds the lock on its own. It is offline and
//! locked: the library `devstack-shim` made the outer build fetch everything that the shim needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let workspace = Path::new(&var("CARGO_MANIFEST_DIR")).join("../..");
    for path in ["shim/src", "shim/Cargo.toml", "Cargo.toml", "Cargo.lock", "crates/runtime/build.rs"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let out = PathBuf::from(var("OUT_DIR"));
    let target = var("TARGET");
    // OUT_DIR is `<target dir>/<profile>/build/<package>/out`: one shim build serves all profiles of a target
    // directory.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("shim");

    let mut cargo = Command::new(var("CARGO"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(disturbs) {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(&workspace)
        .args(["build", "--frozen", "--quiet", "--package", "devstack-shim", "--bin", "devstack-shim"])
        .args(["--profile", "shim", "--target", &target, "--target-dir"])
        .arg(&target_dir)
        // A fixed address needs no relocation at start: fewer page faults in every attempt.
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Crelocation-model=static")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building the shim failed ({status}): see the output above"),
        Err(error) => panic!("building the shim failed, cargo could not be run: {error}"),
    }
    install(&target_dir.join(&target).join("shim/devstack-shim"), &out.join("devstack-shim"));
}

/// Variables that cargo sets for this build script and that would affect the inner build.
fn disturbs(name: &str) -> bool {
    const KEEP: [&str; 2] = ["CARGO_HOME", "CARGO_NET_OFFLINE"];
    (name.starts_with("CARGO") && !KEEP.contains(&name))
        || matches!(name, "RUSTFLAGS" | "TARGET" | "HOST" | "OUT_DIR" | "PROFILE" | "DEBUG" | "OPT_LEVEL" | "NUM_JOBS")
        || matches!(name, "RUSTC" | "RUSTDOC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC_LINKER")
}

fn install(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        panic!("copying {} to {} failed: {error}", from.display(), to.display());
    }
    println!("cargo:rustc-env=DEVSTACK_SHIM={}", to.display());
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set by cargo"))
}
