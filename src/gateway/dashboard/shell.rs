//! What every page has: head, navigation, the state of the live connection, the list of keys.
//! Deliberately absent: a person's session (that is how one gets in), and what is on a page.

use askama::Template;

use super::{
    assets,
    page::{Asked, Drawn, View, draw},
};
use crate::{gateway::ApiError, gateway::access::Visitor};

/// A place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where.
    pub(super) path: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    /// Pressed after `g` it leads there.
    pub(super) key: &'static str,
}

/// The navigation, in its order. A page below a place (`/tasks/…`) belongs to the place whose path it begins with.
pub(super) const PLACES: &[Place] = &[
    Place { path: "/", name: "Overview", key: "o" },
    Place { path: "/board", name: "Board", key: "b" },
    Place { path: "/tasks", name: "Tasks", key: "t" },
    Place { path: "/dag", name: "Graph", key: "d" },
    Place { path: "/gantt", name: "Timeline", key: "a" },
    Place { path: "/hosts", name: "Hosts", key: "h" },
    Place { path: "/merges", name: "Merges", key: "m" },
    Place { path: "/facts", name: "Facts", key: "f" },
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
    /// Does the module keep it live?
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

/// A page that stays as it is, for somebody who may be nobody: errors.
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

/// A page for somebody whom nobody knows yet: it leads nowhere else, and needs no script.
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

/// What was done just now, said once on the page that a form leads to. The address names one of our own sentences, so
/// nobody can make the page say theirs.
fn said(query: &str) -> Option<&'static str> {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("said="))?;
    SAYINGS.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
}

/// What an address may let a page say.
pub(super) const SAYINGS: &[(&str, &str)] = &[("done", "Done."), ("unchanged", "It was so already: nothing changed.")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_make_a_page_say_anything() {
        assert_eq!(said("said=done"), Some("Done."));
        assert_eq!(said("a=b&said=unchanged"), Some("It was so already: nothing changed."));
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
