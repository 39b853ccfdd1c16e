//! `event tail|export`: prints facts as they happen, or all kept facts.

use serde_json::{Value, json};

use super::Context;
use crate::{
    CliError, Exit,
    args::{EventCommand, FactsOf, Format},
    follow::{Follow, From, Heard},
    output::clean,
    session::Session,
};
use devstack_api::dto;

/// Facts per request.
const PAGE: usize = 1000;

pub(super) async fn run(context: &Context<'_>, command: EventCommand) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let told = match command {
        EventCommand::Tail { after, of } => tail(context, &session, after, &of).await,
        EventCommand::Export { since, of } => export(context, &session, since, &of).await,
    };
    session.close().await?;
    told
}

impl FactsOf {
    fn takes(&self, fact: &dto::Fact) -> bool {
        let (project, task) = match &self.task {
            None => (self.project.as_deref(), None),
            Some(task) => match task.split_once('/') {
                Some((project, id)) => (Some(project), Some(id)),
                None => (self.project.as_deref(), Some(task.as_str())),
            },
        };
        project.is_none_or(|project| fact.project.as_deref() == Some(project))
            && task.is_none_or(|task| fact.task.as_deref() == Some(task))
            && (self.kind.is_empty() || self.kind.contains(&fact.kind))
    }
}

/// The project or task that a fact is about, in front of its sentence.
fn about(fact: &dto::Fact) -> String {
    match (&fact.project, &fact.task) {
        (Some(project), Some(task)) => format!("{project}/{task}: "),
        (Some(project), None) => format!("{project}: "),
        (None, _) => String::new(),
    }
}

async fn tail(context: &Context<'_>, session: &Session, after: Option<u64>, of: &FactsOf) -> Result<Exit, CliError> {
    let show = |fact: &dto::Fact| {
        if of.takes(fact) {
            context.output.data(&match context.output.format {
                Format::Json | Format::Jsonl => line(fact).to_string(),
                Format::Table => {
                    let (seq, at, kind) = (fact.seq, fact.at, &fact.kind);
                    format!("{seq:>6}  {at}  {kind:<18} {}{}", about(fact), clean(&fact.message))
                }
            });
        }
    };
    // 0 means "before the oldest kept fact", whatever its number is.
    let from = match after {
        Some(0) => From::After(kept(session, None, show).await?),
        Some(after) => From::After(after),
        None => From::Now,
    };
    // Without a running node no new facts appear: print the kept ones and exit.
    if session.is_idle() {
        if let Some(after @ 1..) = after {
            kept(session, Some(after), show).await?;
        }
        return Ok(Exit::Ok);
    }
    let mut follow = Follow::new(session.client.clone(), from);
    loop {
        match follow.next().await? {
            Heard::Met => {}
            Heard::Fact(fact) => show(&fact),
            Heard::Broken(error) => context.output.note(&format!("{error}; reconnecting")),
            Heard::Back => context.output.note("the node is back"),
            Heard::Gap => {
                context
                    .output
                    .note("facts are missing here: the node no longer keeps them, or was restored from a backup");
            }
        }
    }
}

async fn export(context: &Context<'_>, session: &Session, since: Option<u64>, of: &FactsOf) -> Result<Exit, CliError> {
    let whole = context.output.format == Format::Json;
    if whole {
        context.output.raw(b"{\"apiVersion\":\"v1\",\"facts\":[");
    }
    let mut first = true;
    kept(session, None, |fact| {
        if since.is_some_and(|since| fact.at.0 < since) || !of.takes(fact) {
            return;
        }
        let text = match (whole, std::mem::take(&mut first)) {
            (true, true) => json!(fact).to_string(),
            (true, false) => format!(",{}", json!(fact)),
            (false, _) => format!("{}\n", line(fact)),
        };
        context.output.written(text.as_bytes());
    })
    .await?;
    if whole {
        context.output.raw(b"]}\n");
    }
    Ok(Exit::Ok)
}

/// Passes every kept fact after a number (`None`: all kept facts) to `each`, up to the newest fact at the time of the
/// call. Returns the number of the last fact.
async fn kept(session: &Session, after: Option<u64>, mut each: impl FnMut(&dto::Fact)) -> Result<u64, CliError> {
    let (mut after, mut end) = (after, None);
    loop {
        let query = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page: dto::FactList = session.client.read(&format!("/v1/facts?limit={PAGE}{query}")).await?;
        // Do not wait for facts that appear while we read.
        let end = *end.get_or_insert(page.last);
        page.facts.iter().filter(|fact| fact.seq <= end).for_each(&mut each);
        if page.through >= end || page.facts.is_empty() {
            return Ok(end.min(page.through));
        }
        after = Some(page.through);
    }
}

/// A fact as a complete JSON document.
fn line(fact: &dto::Fact) -> Value {
    let mut value = json!(fact);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), "v1".into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_chosen_by_project_task_and_kind() {
        let fact = dto::Fact {
            seq: 1,
            at: dto::Time(0),
            kind: "task-moved".into(),
            project: Some("shop".into()),
            task: Some("A".into()),
            attempt: None,
            status: None,
            message: String::new(),
        };
        let takes = |project: Option<&str>, task: Option<&str>, kinds: &[&str]| {
            let text = |text: &str| text.to_owned();
            let of = FactsOf {
                project: project.map(text),
                task: task.map(text),
                kind: kinds.iter().copied().map(text).collect(),
            };
            of.takes(&fact)
        };
        assert!(takes(None, None, &[]) && takes(Some("shop"), Some("A"), &["x", "task-moved"]));
        assert!(takes(None, Some("shop/A"), &[]));
        assert!(!takes(Some("other"), None, &[]) && !takes(None, Some("other/A"), &[]) && !takes(None, Some("B"), &[]));
        assert!(!takes(None, None, &["task-completed"]));
    }
}
