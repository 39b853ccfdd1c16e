//! The supervisor of one agent, one process per attempt. It prepares the workspace, runs and watches the agent, ends
//! every process that the agent left behind, harvests the result, and writes the exit record.
//!
//! `devstack-shim run SPEC` does all of this. `harvest SPEC` repeats the last part for an attempt whose shim was
//! killed. `inside SPEC` and `harvest-inside SPEC` are the same commands within the sandbox that `run` and `harvest`
//! enter when the spec has a wrapper. `collect SPEC` is the child that reads the agent's repository; `collect-commits
//! SPEC` reads only its commits, where `collect` failed.
//!
//! Architecture invariants: no thread, no network, no environment of its own; the shim runs as the agent's user, so the
//! node checks everything that the shim reports; the shim outlives the node.

// Without the start code of the standard library. That code parses /proc/self/maps and makes a signal stack to report
// stack overflows, which is a fifth of the cost of starting this program, in every attempt. Nothing else of it is
// needed: the code that writes to a pipe blocks SIGPIPE first (`tee`), and the starter of a shim gives it its three
// standard descriptors.
#![cfg_attr(not(test), no_main)]

mod branches;
mod bundle;
mod clock;
mod closed;
mod collect;
mod confine;
mod disk;
mod ending;
mod harvest;
mod last_line;
mod left;
mod leftovers;
mod mark;
mod output;
mod secret_files;
mod secrets;
mod spawn;
mod tee;
mod trouble;
mod watch;
mod workspace;
mod worktree;

use std::{
    env,
    ffi::{c_char, c_int},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use devstack_shim::{
    confinement::Measured,
    layout,
    spec::{ALREADY_RUN, Ending, ExitRecord, Harvested, Spec, VERSION},
};

/// Exit statuses.
const SUCCESS: c_int = 0;
const FAILURE: c_int = 1;
const USAGE: c_int = 2;

/// The entry point that the C library calls.
#[allow(unsafe_code, reason = "the name is what the C library calls, and nothing else here has it")]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // The C library fills these in before it calls this function.
    let args: Vec<String> = env::args_os().filter_map(|arg| arg.into_string().ok()).collect();
    let [_, mode, path] = args.as_slice() else {
        eprintln!("usage: devstack-shim run|harvest SPEC");
        return USAGE;
    };
    match dispatch(mode, Path::new(path)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("devstack-shim {mode} {path}: {error}");
            FAILURE
        }
    }
}

fn dispatch(mode: &str, path: &Path) -> io::Result<c_int> {
    let spec: Spec = serde_json::from_slice(&std::fs::read(path)?)?;
    if spec.version != VERSION {
        return Err(io::Error::other(format!("the spec has version {}, this shim reads {VERSION}", spec.version)));
    }
    match mode {
        "run" => {
            if !confine::claim(&spec)? {
                return Ok(c_int::from(ALREADY_RUN));
            }
            confine::enter_groups(&spec)?;
            if spec.wrapper.is_empty() { run(&spec)? } else { return Err(confine::wrap(&spec, "inside", path)) }
        }
        "inside" => run(&spec)?,
        "harvest" if !spec.wrapper.is_empty() => return Err(confine::wrap(&spec, "harvest-inside", path)),
        "harvest" | "harvest-inside" => harvest_again(&spec)?,
        harvest::ALL => collect::main(&spec, collect::Scope::All),
        harvest::COMMITS => collect::main(&spec, collect::Scope::Commits),
        other => return Err(io::Error::other(format!("`{other}` is not a mode"))),
    }
    Ok(SUCCESS)
}

/// Runs an attempt from start to end.
fn run(spec: &Spec) -> io::Result<()> {
    let secrets = secrets::read(spec.secrets.as_ref())?;
    let log = confine::create(&spec.dir.join(layout::LOG))?;
    let exit = confine::create(&spec.dir.join(layout::EXIT))?;
    let bundle = harvest::output(spec)?;
    let mut mark = mark::Mark::open(spec)?;
    confine::drop_rights(spec)?;

    let tee = if spec.tee { tee::Tee::stdout() } else { tee::Tee::none() };
    let mut output = output::Output::new(log, spec.log_max, &secret_files::hidden(spec, &secrets), tee);
    let started = clock::now_ms();
    let mut measured = None;
    let ending = match confined(spec, &mut measured).and_then(|()| attempt(spec, &secrets, &mut output, &mut mark)) {
        Ok(ending) => ending,
        Err(reason) => Ending::NotStarted(reason),
    };
    let elapsed_ms = clock::now_ms() - started;
    output.finish();
    let quiet = ending::end_all(ending::PATIENCE);
    let processes_refused = confine::processes_refused();
    // Half a workspace is not work, and taking it for work would delete the other half.
    let started = !matches!(ending, Ending::NotStarted(_));
    let harvest = if started { harvest::harvest(spec, bundle, quiet) } else { Harvested::default() };
    write_record(
        spec.dir.join(layout::EXIT),
        exit,
        &ExitRecord {
            version: VERSION,
            ending: Some(ending),
            elapsed_ms,
            output_bytes: output.seen(),
            left_out_bytes: output.left_out(),
            harvest,
            processes_refused,
            started,
            measured,
        },
    )
}

/// Checks that everything the order demands is in force. It is measured, not trusted: an engine, a sandbox or a kernel
/// may have ignored something.
fn confined(spec: &Spec, measured: &mut Option<Measured>) -> Result<(), String> {
    let Some(demand) = &spec.demand else { return Ok(()) };
    let found = confine::measure().map_err(|error| format!("cannot measure the agent's confinement: {error}"))?;
    *measured = Some(found);
    let missing = found.missing(demand);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("required confinement is not in force: {}", missing.join(", "))),
    }
}

fn attempt(
    spec: &Spec,
    secrets: &[(String, String)],
    output: &mut output::Output,
    mark: &mut mark::Mark,
) -> Result<Ending, String> {
    let signals = watch::signals().map_err(|error| format!("cannot receive signals: {error}"))?;
    if let Some(git) = &spec.git {
        workspace::prepare(spec, git).map_err(|error| format!("cannot make the workspace: {error}"))?;
    }
    confine::limit(&spec.limits).map_err(|error| format!("cannot set a limit: {error}"))?;
    let (files, variables) = secret_files::split(spec, secrets);
    let _laid = secret_files::lay(spec, &files)?;
    mark.set().map_err(|error| format!("cannot mark the agent's start: {error}"))?;
    let agent = spawn::spawn(spec, &variables)?;
    watch::watch(spec, agent, signals, output).map_err(|error| format!("cannot watch the agent: {error}"))
}

/// Only the last part, for an attempt whose shim was killed: no secret, no agent.
fn harvest_again(spec: &Spec) -> io::Result<()> {
    let exit = confine::create(&spec.dir.join(layout::HARVEST))?;
    let bundle = harvest::output(spec)?;
    let started = mark::is_set(spec);
    confine::drop_rights(spec)?;
    confine::limit(&spec.limits)?;
    let harvest = if started { harvest::harvest(spec, bundle, true) } else { Harvested::default() };
    let record = ExitRecord {
        version: VERSION,
        ending: None,
        elapsed_ms: 0,
        output_bytes: 0,
        left_out_bytes: 0,
        harvest,
        processes_refused: 0,
        started,
        measured: None,
    };
    write_record(spec.dir.join(layout::HARVEST), exit, &record)
}

/// Writes the record in one write: a reader sees all of it, or text that does not parse.
fn write_record(path: PathBuf, file: File, record: &ExitRecord) -> io::Result<()> {
    confine::still(&path, file)?.write_all(&serde_json::to_vec(record)?)
}
