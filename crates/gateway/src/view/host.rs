//! Hosts as the API shows them.

use devstack_dag::{Engine, Rejection, ids::HostName, presence::Presence, record::HostRecord};

use devstack_api::{ApiError, dto};

/// What other parts than the engine know about a host.
type GetSetup<'a> = &'a dyn Fn(&HostName) -> dto::Setup;

/// Hosts by name.
pub fn hosts(engine: &Engine, setup: GetSetup<'_>) -> Vec<dto::Host> {
    engine.hosts().map(|record| shown(engine, record, setup)).collect()
}

/// Everything about every host, by name.
pub fn details(engine: &Engine, setup: GetSetup<'_>) -> Vec<dto::HostDetail> {
    engine.hosts().map(|record| detailed(engine, record, setup)).collect()
}

/// Everything about one host.
///
/// # Errors
/// The host does not exist.
pub fn host(engine: &Engine, name: &HostName, setup: GetSetup<'_>) -> Result<dto::HostDetail, ApiError> {
    let record = engine.hosts().find(|record| record.host == *name);
    let record = record.ok_or_else(|| Rejection::UnknownHost(name.clone()))?;
    Ok(detailed(engine, record, setup))
}

fn detailed(engine: &Engine, record: HostRecord, setup: GetSetup<'_>) -> dto::HostDetail {
    let attempts = engine.on_host(&record.host).map(|one| dto::HostAttempt::from_record(one, engine.is_unknown(one)));
    dto::HostDetail { attempt_list: attempts.collect(), host: shown(engine, record, setup) }
}

fn shown(engine: &Engine, record: HostRecord, setup: GetSetup<'_>) -> dto::Host {
    let name = &record.host;
    // The engine knows the presence of every host in its list.
    let presence = engine.presence(name).unwrap_or(Presence::Awaited);
    dto::Host {
        name: name.to_string(),
        up: presence.is_present(),
        presence: presence.as_str().to_owned(),
        since: presence.since().map(dto::Time::from),
        drain: engine.drain(name).map(dto::Draining::from),
        slots: engine.slots_on(name),
        claimed: record.slots,
        pins: engine.pins(name).map(dto::Pins::from),
        cut: engine.cut(name),
        owes: engine.owed(name).map(ToString::to_string).collect(),
        used: u32::try_from(engine.on_host(name).count()).unwrap_or(u32::MAX),
        free: engine.free_on(name),
        setup: match (setup(name), engine.offer(name)) {
            // The data here is newer than the reported data.
            (known, Some(offer)) if known.labels.is_none() => {
                known.offering(&offer.labels, &offer.roles, &offer.images, &offer.shards)
            }
            (known, _) => known,
        },
        quarantine: record.quarantine.map(dto::Unusable::from),
        secrets: engine.offer(name).map(|offer| offer.secrets.clone()).unwrap_or_default(),
    }
}
