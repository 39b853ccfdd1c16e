//! `host …`: lists, drains, restricts and removes hosts.

use serde_json::json;

use super::{Context, task::unknown};
use crate::{
    CliError, Exit,
    args::HostCommand,
    client::{escape, parse},
    output::{Output, Paint, clean},
    table::Table,
};
use devstack_api::dto;
use devstack_config::units;

/// The most bytes of names in a line of the list: more would push the other columns off the screen.
const NAMES_MAX: usize = 60;

pub(super) async fn run(context: &Context<'_>, command: HostCommand) -> Result<Exit, CliError> {
    match command {
        HostCommand::List => {
            let list = |body: &[u8]| {
                let hosts = parse::<dto::HostList>(body)?.hosts;
                Ok(table(&hosts).render(context.output) + &unusable(&hosts))
            };
            context.show_all("/v1/hosts", "hosts", list).await
        }
        HostCommand::Show { host } => {
            let shown = |body: &[u8]| Ok(page(context.output, &parse::<dto::HostPage>(body)?.host));
            context.show(&format!("/v1/hosts/{}", escape(&host)), shown).await
        }
        HostCommand::Drain { host, deadline } => {
            let deadline =
                deadline.map(|life| units::format_duration(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
            change(context, &host, "drain", json!({ "deadline": deadline })).await
        }
        HostCommand::Undrain { host } => change(context, &host, "undrain", json!({})).await,
        HostCommand::Set { host, pins, role, any_role } => {
            let wanted = pins.with_roles(role, any_role);
            if wanted == dto::PinChange::default() {
                let hint = "for example --max-slots 4; `devstack host set --help` shows all";
                return Err(CliError::usage("the request sets no limit").hint(hint));
            }
            let wanted = serde_json::to_value(&wanted).map_err(|error| CliError::failure(error.to_string()))?;
            change(context, &host, "", wanted).await
        }
        HostCommand::Remove { host, force } => change(context, &host, "remove", json!({ "force": force })).await,
    }
}

async fn change(context: &Context<'_>, host: &str, what: &str, body: serde_json::Value) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let path = format!("/v1/hosts/{}/{what}", escape(host));
    let answer = session.client.change(path.trim_end_matches('/'), &body).await;
    session.close().await?;
    context.print(&answer?, |body| Ok(parse::<dto::Answer>(body)?.message))?;
    Ok(Exit::Ok)
}

/// A table of hosts, one per line.
pub(super) fn table(hosts: &[dto::Host]) -> Table {
    let mut table = Table::new(&["HOST", "STATE", "SLOTS", "USED", "FREE", "RUNTIME", "SANDBOX", "SECRETS"]);
    for host in hosts {
        let sandbox = host.setup.sandbox.clone().unwrap_or_default();
        let is_open = sandbox.starts_with("unsandboxed");
        table.row([
            host.name.clone(),
            state(host),
            host.slots.to_string(),
            host.used.to_string(),
            host.free.to_string(),
            host.setup.runtime.clone().unwrap_or_default(),
            sandbox,
            names(&host.secrets),
        ]);
        table.paint(1, colour(host));
        if is_open {
            table.paint(6, Paint::Yellow);
        }
    }
    table
}

/// The names, or their number if they do not fit the line; `host show` prints all of them.
fn names(secrets: &[String]) -> String {
    match secrets.join(",") {
        long if long.len() > NAMES_MAX => format!("{} names", secrets.len()),
        short => short,
    }
}

/// Why slots are unusable: a line for each affected host.
fn unusable(hosts: &[dto::Host]) -> String {
    let line = |host: &dto::Host| {
        let dto::Unusable { slots, why } = host.quarantine.as_ref()?;
        Some(format!("\n{}: {slots} slots cannot be used for now: {}", host.name, clean(why)))
    };
    hosts.iter().filter_map(line).collect()
}

/// Whether the host is connected, and what users requested for it.
fn state(host: &dto::Host) -> String {
    let drained = if host.drain.is_some() { " drained" } else { "" };
    let owes = if host.owes.is_empty() { "" } else { " owes" };
    format!("{}{drained}{owes}", host.presence)
}

fn colour(host: &dto::Host) -> Paint {
    match host.presence.as_str() {
        "lost" => Paint::Red,
        "present" if host.drain.is_none() && host.quarantine.is_none() && host.owes.is_empty() => Paint::Green,
        _ => Paint::Yellow,
    }
}

/// Everything about a host, for people.
fn page(output: &Output, detail: &dto::HostDetail) -> String {
    let (host, setup) = (&detail.host, &detail.host.setup);
    let mut text = format!("{}\n", host.name);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<10} {}\n", clean(&value)));
        }
    };
    line("state", host.presence.clone());
    line("since", host.since.map(|at| at.to_string()).unwrap_or_default());
    line("drained", host.drain.as_ref().map(drained).unwrap_or_default());
    line("slots", format!("{}: {} used, {} free", host.slots, host.used, host.free));
    line("owes", host.owes.join(", "));
    line("allowed", host.pins.as_ref().map(allowed).unwrap_or_default());
    line("cut", host.cut.join(", "));
    let unusable = host.quarantine.as_ref().map(|unusable| format!("{} slots: {}", unusable.slots, unusable.why));
    line("unusable", unusable.unwrap_or_default());
    line("cut off", setup.cut_off.as_ref().map(|cut| format!("at {}: {}", cut.at, cut.why)).unwrap_or_default());
    line("runtime", setup.runtime.clone().unwrap_or_default());
    line("sandbox", setup.sandbox.clone().unwrap_or_default());
    line("version", setup.version.clone().unwrap_or_default());
    let labels = setup.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    line("labels", labels.collect::<Vec<_>>().join(", "));
    line("roles", setup.roles.as_ref().map(|roles| roles.join(", ")).unwrap_or_default());
    line("secrets", host.secrets.join(", "));
    line("images", setup.images.map(|images| images.to_string()).unwrap_or_default());
    if let Some(shards) = setup.shards.as_ref().filter(|shards| !shards.is_empty()) {
        let mut table = Table::new(&["SHARD", "SUBNET", "PORTS", "CAPACITY"]);
        for shard in shards {
            let (ports, capacity) = (shard.ports.to_string(), shard.capacity.to_string());
            let subnet = shard.subnet.clone().unwrap_or_default();
            table.row([shard.name.clone(), subnet, ports, capacity]);
        }
        text.push_str(&format!("\n{}", table.render(output)));
    }
    if !detail.attempt_list.is_empty() {
        let mut table = Table::new(&["TASK", "ATTEMPT", "STAGE", "AGENT", "STATE", "STARTED"]);
        for attempt in &detail.attempt_list {
            let (number, state) = (attempt.number.to_string(), format!("running{}", unknown(attempt.unknown)));
            let (stage, agent) = (attempt.stage.clone(), attempt.agent.clone());
            table.row([attempt.task.clone(), number, stage, agent, state, attempt.started_at.to_string()]);
        }
        text.push_str(&format!("\n{}", table.render(output)));
    }
    text
}

/// The restrictions of a host.
fn allowed(pins: &dto::Pins) -> String {
    let some = |what: &str, list: &[String], none: &str| match list {
        [] => format!("{none} {what}"),
        list => format!("{what} {}", list.join(" ")),
    };
    let labels: Vec<String> = pins.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parts = [
        format!("{} slots", pins.max_slots),
        some("labels", &labels, "no"),
        some("roles", &pins.roles, "all"),
        some("projects", &pins.projects, "all"),
        some("secrets", &pins.secrets, "no"),
    ];
    parts.join("; ")
}

fn drained(drain: &dto::Draining) -> String {
    let until = drain.until.map(|at| format!("; running attempts are stopped at {at}")).unwrap_or_default();
    format!("since {}{until}", drain.since)
}
