//! The activity page: facts, newest first, by project, task, kind and text.
//! Deliberately absent: an index. A search goes back through the history, and states how many facts it searched.

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::ids::{ProjectName, TaskId};
use serde::Deserialize;

use super::{Asked, View, filters, format::When, now};
use crate::{
    FactSearch,
    extract::{Params, name},
    routes::Api,
};
use devstack_api::{ApiError, dto};

/// The maximum number of facts on a page.
const SHOWN: usize = 100;
/// The maximum number of facts searched for a page.
const DEPTH: u64 = 4_000;
/// The maximum length of the search text, in bytes.
const TEXT_MAX: usize = 200;

/// The query of the address.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Wanted {
    project: Option<String>,
    task: Option<String>,
    kind: Option<String>,
    text: Option<String>,
    before: Option<u64>,
}

#[derive(Template)]
#[template(path = "facts.html")]
struct Page<'a> {
    wanted: &'a Wanted,
    history: &'a pages::History,
    is_filtered: bool,
    older: Option<String>,
    now: dto::Time,
}

impl Page<'_> {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.now }
    }

    fn field<'b>(&self, field: &'b Option<String>) -> &'b str {
        field.as_deref().unwrap_or_default()
    }
}

impl Wanted {
    /// Removes empty fields.
    fn trimmed(self) -> Self {
        let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            project: given(self.project),
            task: given(self.task),
            kind: given(self.kind),
            text: given(self.text),
            before: self.before,
        }
    }

    fn search(&self) -> Result<FactSearch, ApiError> {
        // `shop/T-001` is a project and a task.
        let (project, task) = match self.task.as_deref().and_then(|task| task.split_once('/')) {
            Some((project, task)) => (Some(project), Some(task)),
            None => (self.project.as_deref(), self.task.as_deref()),
        };
        if [&self.kind, &self.text].into_iter().flatten().any(|text| text.len() > TEXT_MAX) {
            return Err(ApiError::invalid("the search text is too long").hint("search for a part of it"));
        }
        Ok(FactSearch {
            before: self.before,
            project: project.map(|project| name(ProjectName::new(project))).transpose()?,
            task: task.map(|task| name(TaskId::new(task))).transpose()?,
            kind: self.kind.clone(),
            text: self.text.clone(),
            limit: SHOWN,
            depth: DEPTH,
        })
    }

    /// The same search, from another position on.
    fn link(&self, before: Option<u64>) -> String {
        let mut link = String::from("/facts?");
        let fields = [("project", &self.project), ("task", &self.task), ("kind", &self.kind), ("text", &self.text)];
        for (field, value) in fields.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?))) {
            link.push_str(field);
            link.push('=');
            encode(&mut link, value);
            link.push('&');
        }
        if let Some(before) = before {
            link.push_str(&format!("before={before}"));
        }
        link.trim_end_matches(['&', '?']).to_owned()
    }
}

/// Encodes a value for an address: bytes other than letters and digits are escaped.
fn encode(link: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `GET /facts`.
pub(crate) async fn facts(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let make = async {
        let wanted = wanted.trimmed();
        let history = api.backend.history(wanted.search()?).await?;
        let page = Page {
            is_filtered: wanted.search()? != FactSearch { before: wanted.before, ..FactSearch::all(SHOWN, DEPTH) },
            older: history.older.map(|before| wanted.link(Some(before))),
            wanted: &wanted,
            history: &history,
            now: now(),
        };
        View::of("Activity", &page)
    };
    api.dashboard.page(&asked, make).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_was_looked_for() {
        let wanted = Wanted { task: Some("shop/T-1".into()), text: Some("a b&c=é".into()), ..Wanted::default() };
        assert_eq!(wanted.link(Some(7)), "/facts?task=shop%2FT-1&text=a%20b%26c%3D%C3%A9&before=7");
        assert_eq!(Wanted::default().link(None), "/facts");
        let search = wanted.search().unwrap();
        assert_eq!(search.project.unwrap().as_str(), "shop");
        assert!(Wanted { project: Some("<b>".into()), ..Wanted::default() }.search().is_err());
    }
}
