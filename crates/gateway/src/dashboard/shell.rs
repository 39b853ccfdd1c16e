//! The common parts of every page: head, navigation, the state of the live connection, the list of keyboard shortcuts.
//! Deliberately absent: sessions, and the content of pages.

use askama::Template;

use super::{
    assets,
    page::{Asked, Drawn, View, draw},
};
use crate::access::Visitor;
use devstack_api::ApiError;

/// An entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The path.
    pub(super) path: &'static str,
    /// The label.
    pub(super) name: &'static str,
    /// The key that opens the page after `g`.
    pub(super) key: &'static str,
}

/// The navigation, in order. A deeper page (`/tasks/…`) belongs to the entry whose path is its prefix.
pub(super) const PLACES: &[Place] = &[
    Place { path: "/", name: "Overview", key: "o" },
    Place { path: "/board", name: "Board", key: "b" },
    Place { path: "/tasks", name: "Tasks", key: "t" },
    Place { path: "/dag", name: "Graph", key: "d" },
    Place { path: "/gantt", name: "Timeline", key: "a" },
    Place { path: "/hosts", name: "Hosts", key: "h" },
    Place { path: "/merges", name: "Merges", key: "m" },
    Place { path: "/facts", name: "Activity", key: "f" },
];

#[derive(Template)]
#[template(path = "main.html")]
struct Main<'a> {
    title: &'a str,
    tag: &'a str,
    html: &'a str,
}

#[derive(Template)]
#[template(path = "shell.html")]
struct Shell<'a> {
    title: &'a str,
    main: &'a str,
    visitor: Option<&'a Visitor>,
    said: Option<&'static str>,
    here: &'a str,
    places: &'static [Place],
    style: &'static str,
    script: &'static str,
    /// Whether the module keeps the page live.
    live: bool,
}

impl Shell<'_> {
    fn is_here(&self, place: &Place) -> bool {
        let below = || self.here.strip_prefix(place.path).is_some_and(|rest| rest.starts_with('/'));
        self.here == place.path || (place.path != "/" && below())
    }
}

/// The `<main>` of a page.
pub(super) fn main(drawn: &Drawn) -> Result<String, ApiError> {
    draw(&Main { title: &drawn.view.title, tag: &drawn.tag, html: &drawn.view.html })
}

/// A whole page.
pub(super) fn whole(asked: &Asked, drawn: &Drawn) -> Result<String, ApiError> {
    let shell = Shell {
        title: &drawn.view.title,
        main: &main(drawn)?,
        visitor: Some(&asked.visitor),
        said: said(&asked.query),
        here: &asked.path,
        places: PLACES,
        style: assets::style(),
        script: assets::script_path(),
        live: true,
    };
    draw(&shell)
}

/// A static page for a possibly unauthenticated user: errors.
pub(super) fn still(path: &str, drawn: &Drawn) -> Result<String, ApiError> {
    let shell = Shell {
        title: &drawn.view.title,
        main: &main(drawn)?,
        visitor: None,
        said: None,
        here: path,
        places: PLACES,
        style: assets::style(),
        script: assets::script_path(),
        live: false,
    };
    draw(&shell)
}

/// A page for an unauthenticated user: no links to other pages, and no script.
pub(super) fn door(view: View) -> Result<String, ApiError> {
    let drawn = Drawn::from(view);
    let shell = Shell {
        title: &drawn.view.title,
        main: &main(&drawn)?,
        visitor: None,
        said: None,
        here: "",
        places: &[],
        style: assets::style(),
        script: "",
        live: false,
    };
    draw(&shell)
}

/// The result of the last action, shown once on the next page. The address names one of our own sentences, so nobody
/// can inject another text.
fn said(query: &str) -> Option<&'static str> {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("said="))?;
    SAYINGS.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
}

/// The sentences that an address can name.
pub(super) const SAYINGS: &[(&str, &str)] = &[("done", "Done."), ("unchanged", "Nothing to change.")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_make_a_page_say_anything() {
        assert_eq!(said("said=done"), Some("Done."));
        assert_eq!(said("a=b&said=unchanged"), Some("Nothing to change."));
        assert_eq!(said("said=<b>"), None);
        assert_eq!(said(""), None);
    }

    #[test]
    fn keys_of_places_differ() {
        let mut keys: Vec<_> = PLACES.iter().map(|place| place.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), PLACES.len());
    }
}
