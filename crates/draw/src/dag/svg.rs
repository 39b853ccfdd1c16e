//! Writes a laid-out graph as SVG text. Boxes are links and can be reached with the keyboard in the order of
//! submission. A word, a shape and a colour show the status.
//! Deliberately absent: colours and fonts, which the style sheet gives to classes, and the shapes, which are the
//! symbols `i-todo`, `i-wip`, … of the page.

use std::fmt::Write;

use devstack_dag::record::Status;

use super::{MEASURES, Options, Task};
use crate::{
    layers::{Layout, Route},
    text::{coordinate, escape, escaped, fit},
};

/// The margin of the drawing, in pixels, for the outline of the keyboard focus.
const MARGIN: f64 = 12.0;
/// The font sizes of the two lines, in pixels.
const FONTS: (f64, f64) = (12.5, 12.0);
/// The maximum number of ids in the description of a group.
const NAMED: usize = 12;
/// The maximum length of a title in a description, in characters.
const TITLE: usize = 300;

/// Everything that is drawn.
pub(super) struct Drawing<'a> {
    pub tasks: &'a [Task],
    pub groups: &'a [Vec<u32>],
    pub layout: &'a Layout,
    /// The task in focus, and for each task whether it is highlighted.
    pub focus: Option<(u32, &'a [bool])>,
}

impl Drawing<'_> {
    pub(super) fn svg(&self, options: &Options<'_>) -> String {
        let (width, height) = (self.layout.width + MARGIN * 2.0, self.layout.height + MARGIN * 2.0);
        let scale = f64::from(options.zoom) / 100.0;
        let mut out = String::with_capacity(1024 + 420 * self.groups.len() + 90 * self.layout.routes.len());
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            r#"<svg class="dag{}" xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{}" width="{:.0}" height="{:.0}" viewBox="{} {} {width:.0} {height:.0}">"#,
            if self.focus.is_some() { " focused" } else { "" },
            escaped(options.label),
            width * scale,
            height * scale,
            -MARGIN,
            -MARGIN,
        );
        self.definitions(&mut out);
        self.edges(&mut out);
        (0..self.groups.len()).for_each(|node| self.node(&mut out, node, options));
        out.push_str("</svg>");
        out
    }

    fn definitions(&self, out: &mut String) {
        out.push_str("<defs>");
        for id in ["arrow", "arrow-lit"] {
            let _ = write!(
                out,
                r#"<marker id="{id}" class="{id}" viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>"#
            );
        }
        out.push_str("</defs>");
    }

    fn edges(&self, out: &mut String) {
        let (on, off): (Vec<_>, Vec<_>) = self.layout.routes.iter().partition(|route| self.is_on_the_way(route));
        for (class, marker, routes) in [("edges", "arrow", off), ("edges lit", "arrow-lit", on)] {
            if routes.is_empty() {
                continue;
            }
            let _ = write!(out, r#"<g class="{class}" fill="none" marker-end="url(#{marker})">"#);
            for route in routes {
                out.push_str(r#"<path d=""#);
                way(out, route);
                out.push_str(r#""/>"#);
            }
            out.push_str("</g>");
        }
    }

    fn is_on_the_way(&self, route: &Route) -> bool {
        let Some((_, path)) = self.focus else { return false };
        let on = |node: u32| self.groups[node as usize].iter().any(|&task| path[task as usize]);
        on(route.from) && on(route.to)
    }

    fn node(&self, out: &mut String, node: usize, options: &Options<'_>) {
        let members = &self.groups[node];
        let task = &self.tasks[members[0] as usize];
        let (x, y) = self.layout.nodes[node];
        let is_stack = members.len() > 1;
        let element = if options.links.is_some() { "a" } else { "g" };
        let (status, name) = (task.status, task.status.as_str().to_lowercase());
        let _ = write!(out, r#"<{element} class="node n-{name}"#);
        if is_stack {
            out.push_str(" many");
        }
        if let Some((focus, path)) = self.focus {
            let lit = members.iter().any(|&member| path[member as usize]);
            out.push_str(if members[0] == focus {
                " focus"
            } else if lit {
                " lit"
            } else {
                " dim"
            });
        }
        if self.focus.is_some_and(|(focus, _)| focus == members[0]) {
            out.push_str(r#"" id="focus"#);
        }
        if let Some(links) = &options.links {
            let to = if is_stack { (links.open)(&task.id) } else { (links.task)(&task.id) };
            out.push_str(r#"" href=""#);
            escape(out, &to);
        }
        out.push_str(r#"" transform="translate("#);
        coordinate(out, x);
        out.push(' ');
        coordinate(out, y);
        out.push_str(r#")"><title>"#);
        escape(out, &self.description(members));
        out.push_str("</title>");
        let (width, height) = (MEASURES.node_width, MEASURES.node_height);
        if is_stack {
            let _ = write!(out, r#"<path class="behind" d="M6 {}v4H{}V6h-4"/>"#, height, width + 4.0);
        }
        let _ = write!(
            out,
            r##"<rect width="{width}" height="{height}" rx="6"/><use href="#i-{name}" x="9" y="9" width="14" height="14"/>"##
        );
        let room = width - 28.0 - 8.0 - word_width(status);
        let (first, second) = if is_stack {
            let last = &self.tasks[members[members.len() - 1] as usize];
            (format!("{} tasks", members.len()), format!("{} … {}", task.id, last.id))
        } else {
            (task.id.clone(), task.title.clone())
        };
        out.push_str(r#"<text class="id" x="28" y="20">"#);
        escape(out, &fit(&first, room, FONTS.0));
        let _ = write!(out, r#"</text><text class="word" x="{}" y="19.5">{status}</text>"#, width - 9.0);
        let path = options.links.filter(|_| !is_stack);
        let room = width - 18.0 - if path.is_some() { 18.0 } else { 0.0 };
        out.push_str(r#"<text class="what" x="9" y="38">"#);
        escape(out, &fit(&second, room, FONTS.1));
        let _ = write!(out, "</text></{element}>");
        if let Some(links) = path {
            self.path_link(out, &task.id, (x, y), &(links.focus)(&task.id));
        }
    }

    /// A small link in the box that sets the focus on its task. The field of the page does the same and is easier to
    /// reach with the keyboard.
    fn path_link(&self, out: &mut String, id: &str, (x, y): (f64, f64), to: &str) {
        out.push_str(r#"<a class="way" tabindex="-1" href=""#);
        escape(out, to);
        out.push_str(r#"" transform="translate("#);
        coordinate(out, x + MEASURES.node_width - 26.0);
        out.push(' ');
        coordinate(out, y + MEASURES.node_height - 24.0);
        out.push_str(r#")"><title>Focus on "#);
        escape(out, id);
        out.push_str(r#"</title><rect width="24" height="22"/><path d="M5 11h4l3-4h5M12 11h5M9 11l3 4h5"/></a>"#);
    }

    fn description(&self, members: &[u32]) -> String {
        let task = &self.tasks[members[0] as usize];
        if members.len() == 1 {
            let title: String = task.title.chars().take(TITLE).collect();
            return format!("{}: {title} ({})", task.id, task.status);
        }
        let names: Vec<&str> =
            members.iter().take(NAMED).map(|&member| self.tasks[member as usize].id.as_str()).collect();
        let more = if members.len() > NAMED { ", …" } else { "" };
        format!("{} {} tasks: {}{more}", members.len(), task.status, names.join(", "))
    }
}

/// The width of the word of a status: letter-spaced capitals, aligned right.
fn word_width(status: Status) -> f64 {
    status.as_str().len() as f64 * 7.6
}

/// Draws a route: curves in the gaps between columns, straight lines through the columns.
fn way(out: &mut String, route: &Route) {
    for (at, pair) in route.points.chunks_exact(2).enumerate() {
        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
        out.push(if at == 0 { 'M' } else { 'L' });
        point(out, x1, y1);
        if (y1 - y2).abs() < 0.5 {
            out.push('L');
        } else {
            let middle = f64::midpoint(x1, x2);
            out.push('C');
            point(out, middle, y1);
            out.push(' ');
            point(out, middle, y2);
            out.push(' ');
        }
        point(out, x2, y2);
    }
}

fn point(out: &mut String, x: f64, y: f64) {
    coordinate(out, x);
    out.push(' ');
    coordinate(out, y);
}
