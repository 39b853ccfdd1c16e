//! Hosts: list, show, drain, undrain, limit and remove.
//! Deliberately absent: the consequences for attempts (the engine decides) and for certificates (the registry of
//! members does).

use axum::{Json, extract::State};
use devstack_dag::{Answer, bounds::within, command::Command};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Api, paging};
use crate::{
    extract::{Change, OfHost, Params},
    view,
};
use devstack_api::{ApiError, bounds, dto, error::code};
use devstack_config::units;

/// The maximum deadline of a drain, in milliseconds: a year. A longer deadline would be no deadline.
const DEADLINE_MAX: u64 = 365 * 86_400_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HostsQuery {
    /// Only hosts in this presence: `awaited`, `present`, `suspect` or `lost`.
    presence: Option<String>,
    /// Only hosts with this label, `name` or `name=value`.
    label: Option<String>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<HostsQuery>,
) -> Result<Json<dto::HostList>, ApiError> {
    let limit = paging::limit(query.limit)?;
    if let Some(word) = query.presence.as_deref().filter(|word| !dto::PRESENCES.contains(word)) {
        let known = dto::PRESENCES.join(", ");
        return Err(ApiError::invalid(format!("`{word}` is not a presence of a host")).hint(format!("one of {known}")));
    }
    let mut all = api.backend.hosts().await?;
    all.retain(|host| {
        query.presence.as_ref().is_none_or(|presence| host.presence == *presence)
            && query.label.as_deref().is_none_or(|label| has_label(host, label))
    });
    let (hosts, next) = paging::cut(all, |host| host.name.clone(), query.after.as_deref(), limit)?;
    Ok(Json(dto::HostList { next, ..hosts.into() }))
}

fn has_label(host: &dto::Host, label: &str) -> bool {
    let Some(labels) = &host.setup.labels else { return false };
    match label.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        None => labels.contains_key(label),
    }
}

pub(super) async fn show(State(api): State<Api>, OfHost(host): OfHost) -> Result<Json<dto::HostPage>, ApiError> {
    Ok(Json(dto::HostPage { api_version: dto::V1, host: api.backend.host(host).await? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// `10m`; `null`: no limit.
    #[serde(default, deserialize_with = "within::<bounds::Deadline, _, _>")]
    deadline: Option<String>,
}

pub(super) async fn drain(
    State(api): State<Api>,
    OfHost(host): OfHost,
    change: Change<Drain>,
) -> Result<Json<dto::Answer>, ApiError> {
    let Drain { deadline } = change.body;
    let deadline_ms = deadline.as_deref().map(read_deadline).transpose()?;
    let answer = api.backend.ask(Command::DrainHost { host: host.clone(), deadline_ms }, change.request).await?;
    Ok(told(answer, || match deadline_ms {
        None => format!("{host} gets no new attempts; running attempts finish"),
        Some(ms) => format!(
            "{host} gets no new attempts; attempts still running in {} are stopped and not charged",
            units::format_duration(ms)
        ),
    }))
}

pub(super) async fn undrain(
    State(api): State<Api>,
    OfHost(host): OfHost,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    let answer = api.backend.ask(Command::UndrainHost(host.clone()), change.request).await?;
    Ok(told(answer, || format!("{host} gets attempts again")))
}

/// Limits are absolute, so repeating the request is harmless.
pub(super) async fn set(
    State(api): State<Api>,
    OfHost(host): OfHost,
    change: Change<dto::PinChange>,
) -> Result<Json<dto::Answer>, ApiError> {
    if change.body == dto::PinChange::default() {
        let hint = "give max_slots, labels, roles, projects or secrets";
        return Err(ApiError::invalid("the request sets no limit").hint(hint));
    }
    let pins = change.body.read()?;
    let answer = api.backend.ask(Command::SetHost { host: host.clone(), change: pins }, change.request).await?;
    Ok(told(answer, || format!("limits of {host} set; claims beyond them are ignored")))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Remove {
    /// Also remove a host that is connected and in use.
    #[serde(default)]
    force: bool,
}

/// The membership ends first (decision 0009): nothing from the host is accepted before its attempts are replaced.
/// Repeating the request completes a removal that a crash interrupted.
pub(super) async fn remove(
    State(api): State<Api>,
    OfHost(host): OfHost,
    change: Change<Remove>,
) -> Result<Json<dto::Answer>, ApiError> {
    let Remove { force } = change.body;
    let command = Command::RemoveHost { host: host.clone(), force };
    let is_unknown = |error: &ApiError| error.problem.code == code::NO_HOST;
    // A removal that the engine refuses must not change the membership.
    api.backend.judge(command.clone()).await.or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })?;
    let membership = match &api.cluster {
        Some(cluster) => cluster.remove(&host).await?,
        None => None,
    };
    let answer = match (api.backend.ask(command, change.request).await, membership) {
        // The host joined and never reported, or both parts were removed before.
        (Err(error), Some(was_live)) if is_unknown(&error) => {
            view::answer(if was_live { Answer::Done } else { Answer::Unchanged })
        }
        (answer, _) => answer?,
    };
    Ok(told(answer, || match membership {
        Some(_) => format!("{host} removed; its machine can join again with a new token"),
        None => format!("{host} removed"),
    }))
}

/// The answer, with a sentence if anything changed.
fn told(answer: dto::Answer, done: impl FnOnce() -> String) -> Json<dto::Answer> {
    let message = if answer.changed { done() } else { answer.message };
    Json(dto::Answer { message, ..answer })
}

fn read_deadline(text: &str) -> Result<u64, ApiError> {
    let ms = units::parse_duration(text).map_err(|why| ApiError::invalid(format!("`deadline`: {why}")))?;
    if ms > DEADLINE_MAX {
        let longest = units::format_duration(DEADLINE_MAX);
        let hint = "leave it out for no limit";
        return Err(ApiError::invalid(format!("`deadline` is {text}; it must be at most {longest}")).hint(hint));
    }
    Ok(ms)
}
