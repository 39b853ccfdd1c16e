//! The supervisor beside one agent, one process per attempt:
//! workspace → agent, watched → everything it left behind ended → harvest → exit record.
//!
//! `devstack-shim run SPEC` is that whole way. `harvest SPEC` does the end of it again, for an attempt whose shim
//! was killed. `inside SPEC` and `harvest-inside SPEC` are the same within the sandbox that `run` and `harvest`
//! enter when the spec has a wrapper. `collect SPEC` is the child that reads the agent's repository, `collect-commits SPEC`
//! the one that reads only its commits where that failed.
//!
//! Architecture invariants: no thread, no network, no environment of its own; it runs as the agent's user, so what
//! it says is checked by the node; it outlives the node.

// Without the standard library's start: it parses /proc/self/maps and makes a signal stack to be able to say that a stack
// overflowed, which is a fifth of what starting this program costs, in every attempt. Nothing else of it is missed: what
// writes to a pipe blocks SIGPIPE first (`tee`), and whoever starts a shim gives it its three standard descriptors.
#![cfg_attr(not(test), no_main)]

mod branches;
mod bundle;
mod clock;
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

/// Exit statuses, as programs have them.
const SUCCESS: c_int = 0;
const FAILURE: c_int = 1;
const USAGE: c_int = 2;

/// The C library's entry.
#[allow(unsafe_code, reason = "the name is what the C library calls, and nothing else here has it")]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // Filled in by the C library before it calls this.
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

/// The whole way of an attempt.
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
    // Half a workspace is nobody's work, and taken for some it would delete the other half.
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

/// Is everything in force that the order demands? Looked at, not believed: an engine, a sandbox or a kernel may have left
/// something out.
fn confined(spec: &Spec, measured: &mut Option<Measured>) -> Result<(), String> {
    let Some(demand) = &spec.demand else { return Ok(()) };
    let found = confine::measure().map_err(|error| format!("what holds the agent cannot be measured: {error}"))?;
    *measured = Some(found);
    let missing = found.missing(demand);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("what must hold the agent is not in force here: {}", missing.join(", "))),
    }
}

fn attempt(
    spec: &Spec,
    secrets: &[(String, String)],
    output: &mut output::Output,
    mark: &mut mark::Mark,
) -> Result<Ending, String> {
    let signals = watch::signals().map_err(|error| format!("signals cannot be received: {error}"))?;
    if let Some(git) = &spec.git {
        workspace::prepare(spec, git).map_err(|error| format!("the workspace cannot be made: {error}"))?;
    }
    confine::limit(&spec.limits).map_err(|error| format!("a limit cannot be set: {error}"))?;
    let (files, variables) = secret_files::split(spec, secrets);
    let _laid = secret_files::lay(spec, &files)?;
    mark.set().map_err(|error| format!("its start cannot be noted: {error}"))?;
    let agent = spawn::spawn(spec, &variables)?;
    watch::watch(spec, agent, signals, output).map_err(|error| format!("the agent cannot be watched: {error}"))
}

/// Only the end of the way, for an attempt whose shim was killed: no secret, no agent.
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

/// In one write: a reader sees all of it or text that does not parse.
fn write_record(path: PathBuf, file: File, record: &ExitRecord) -> io::Result<()> {
    confine::still(&path, file)?.write_all(&serde_json::to_vec(record)?)
}
