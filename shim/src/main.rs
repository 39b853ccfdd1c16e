//! The supervisor beside one agent, one process per attempt:
//! workspace → agent, watched → everything it left behind ended → harvest → exit record.
//!
//! `devstack-shim run SPEC` is that whole way. `harvest SPEC` does the end of it again, for an attempt whose shim
//! was killed. `inside SPEC` and `harvest-inside SPEC` are the same within the sandbox that `run` and `harvest`
//! enter when the spec has a wrapper. `collect SPEC` is the child that reads the agent's repository.
//!
//! Architecture invariants: no thread, no network, no environment of its own; it runs as the agent's user, so what
//! it says is checked by the node; it outlives the node.

mod clock;
mod collect;
mod confine;
mod ending;
mod harvest;
mod last_line;
mod output;
mod secret_files;
mod secrets;
mod spawn;
mod watch;
mod workspace;

use std::{
    env,
    fs::File,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use devstack_shim::{
    layout,
    spec::{ALREADY_RUN, Ending, ExitRecord, Spec, VERSION},
};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let [_, mode, path] = args.as_slice() else {
        eprintln!("usage: devstack-shim run|harvest SPEC");
        return ExitCode::from(2);
    };
    match dispatch(mode, Path::new(path)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("devstack-shim {mode} {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mode: &str, path: &Path) -> io::Result<ExitCode> {
    let spec: Spec = serde_json::from_slice(&std::fs::read(path)?)?;
    if spec.version != VERSION {
        return Err(io::Error::other(format!("the spec has version {}, this shim reads {VERSION}", spec.version)));
    }
    match mode {
        "run" => {
            if !confine::claim(&spec)? {
                return Ok(ExitCode::from(ALREADY_RUN));
            }
            confine::enter_groups(&spec)?;
            if spec.wrapper.is_empty() { run(&spec)? } else { return Err(confine::wrap(&spec, "inside", path)) }
        }
        "inside" => run(&spec)?,
        "harvest" if !spec.wrapper.is_empty() => return Err(confine::wrap(&spec, "harvest-inside", path)),
        "harvest" | "harvest-inside" => harvest_again(&spec)?,
        "collect" => collect::main(&spec),
        other => return Err(io::Error::other(format!("`{other}` is not a mode"))),
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole way of an attempt.
fn run(spec: &Spec) -> io::Result<()> {
    let secrets = if spec.secrets { secrets::read()? } else { Vec::new() };
    let log = confine::create(&spec.dir.join(layout::LOG))?;
    let exit = confine::create(&spec.dir.join(layout::EXIT))?;
    let bundle = harvest::output(spec)?;
    confine::drop_rights(spec)?;

    let mut output = output::Output::new(log, spec.log_max, &secret_files::hidden(spec, &secrets));
    let started = clock::now_ms();
    let ending = match attempt(spec, &secrets, &mut output) {
        Ok(ending) => ending,
        Err(reason) => Ending::NotStarted(reason),
    };
    let elapsed_ms = clock::now_ms() - started;
    output.finish();
    let harvest = harvest::harvest(spec, bundle, ending::end_all(ending::PATIENCE));
    write_record(
        exit,
        &ExitRecord {
            version: VERSION,
            ending: Some(ending),
            elapsed_ms,
            output_bytes: output.seen(),
            left_out_bytes: output.left_out(),
            harvest,
        },
    )
}

fn attempt(spec: &Spec, secrets: &[(String, String)], output: &mut output::Output) -> Result<Ending, String> {
    let signals = watch::signals().map_err(|error| format!("signals cannot be received: {error}"))?;
    if let Some(git) = &spec.git {
        workspace::prepare(spec, git).map_err(|error| format!("the workspace cannot be made: {error}"))?;
    }
    confine::limit(&spec.limits).map_err(|error| format!("a limit cannot be set: {error}"))?;
    let (files, variables) = secret_files::split(spec, secrets);
    let _laid = secret_files::lay(spec, &files)?;
    let agent = spawn::spawn(spec, &variables)?;
    watch::watch(spec, agent, signals, output).map_err(|error| format!("the agent cannot be watched: {error}"))
}

/// Only the end of the way, for an attempt whose shim was killed: no secret, no agent.
fn harvest_again(spec: &Spec) -> io::Result<()> {
    let exit = confine::create(&spec.dir.join(layout::HARVEST))?;
    let bundle = harvest::output(spec)?;
    confine::drop_rights(spec)?;
    confine::limit(&spec.limits)?;
    let harvest = harvest::harvest(spec, bundle, true);
    let record =
        ExitRecord { version: VERSION, ending: None, elapsed_ms: 0, output_bytes: 0, left_out_bytes: 0, harvest };
    write_record(exit, &record)
}

/// In one write: a reader sees all of it or text that does not parse.
fn write_record(mut file: File, record: &ExitRecord) -> io::Result<()> {
    file.write_all(&serde_json::to_vec(record)?)
}
