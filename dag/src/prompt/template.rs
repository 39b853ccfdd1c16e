//! Templates of prompts: text with `{{name}}` for a value and `{{#name}}…{{/name}}` for a part that is left out when
//! the value is empty. A tag alone on its line removes the line too. Nothing is expanded twice: values are plain text.
//! Deliberately absent: loops, conditions on anything but emptiness, and escapes.

/// The names that a template may use.
const NAMES: [&str; 4] = ["title", "prompt", "dependencies", "feedback"];

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An unknown name.
    #[error("line {line}: there is no `{name}`; a template may name title, prompt, dependencies and feedback")]
    UnknownName {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// `{{` without `}}`.
    #[error("line {0}: a `{{{{` is not closed by `}}}}`")]
    OpenTag(usize),
    /// A part that does not end, ends twice, or ends inside another part.
    #[error("line {line}: `{{{{#{name}}}}}` and `{{{{/{name}}}}}` do not match; parts cannot be nested")]
    Unbalanced {
        /// The line, from 1.
        line: usize,
        /// The part.
        name: String,
    },
    /// The agent would not get its task.
    #[error("it does not contain `{{{{prompt}}}}`, so agents would not get their task")]
    NoPrompt,
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
    Start(&'a str),
    End(&'a str),
    /// A tag that does not end: the rest of the template.
    Open(&'a str),
}

/// The pieces, each with its position.
fn pieces(template: &str) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = template.get(at..).filter(|rest| !rest.is_empty())?;
        let begin = at;
        let Some(inner) = rest.strip_prefix("{{") else {
            let length = rest.find("{{").unwrap_or(rest.len());
            at += length;
            return Some((begin, Piece::Text(&rest[..length])));
        };
        let Some(length) = inner.find("}}") else {
            at = template.len();
            return Some((begin, Piece::Open(rest)));
        };
        at += length + 4;
        let tag = inner[..length].trim();
        Some((
            begin,
            match (tag.strip_prefix('#'), tag.strip_prefix('/')) {
                (Some(name), _) => Piece::Start(name.trim()),
                (_, Some(name)) => Piece::End(name.trim()),
                _ => Piece::Value(tag),
            },
        ))
    })
}

/// How often a template uses a value.
pub(super) fn count(template: &str, name: &str) -> usize {
    pieces(template).filter(|(_, piece)| *piece == Piece::Value(name)).count()
}

/// Whether a template uses a value.
pub(super) fn names(template: &str, name: &str) -> bool {
    count(template, name) > 0
}

/// Checks a template.
///
/// # Errors
/// The first problem.
pub fn check(template: &str) -> Result<(), Flaw> {
    let mut part: Option<(usize, &str)> = None;
    for (at, piece) in pieces(template) {
        let line = template[..at].matches('\n').count() + 1;
        match piece {
            Piece::Text(_) => {}
            Piece::Open(_) => return Err(Flaw::OpenTag(line)),
            Piece::Value(name) | Piece::Start(name) | Piece::End(name) if !NAMES.contains(&name) => {
                return Err(Flaw::UnknownName { line, name: name.to_owned() });
            }
            Piece::Value(_) => {}
            Piece::Start(name) => {
                if let Some((line, name)) = part.replace((line, name)) {
                    return Err(Flaw::Unbalanced { line, name: name.to_owned() });
                }
            }
            Piece::End(name) => {
                if part.take().map(|(_, started)| started) != Some(name) {
                    return Err(Flaw::Unbalanced { line, name: name.to_owned() });
                }
            }
        }
    }
    match part {
        Some((line, name)) => Err(Flaw::Unbalanced { line, name: name.to_owned() }),
        None if !names(template, "prompt") => Err(Flaw::NoPrompt),
        None => Ok(()),
    }
}

/// Fills in the values. A template with a problem is filled as far as possible.
pub(super) fn fill<'v>(template: &str, value: impl Fn(&str) -> &'v str) -> String {
    let mut text = String::new();
    let mut is_left_out = false;
    // Line ends after a tag alone on its line are removed too.
    let mut swallow = false;
    for (at, piece) in pieces(template) {
        match piece {
            Piece::Text(piece) => {
                let piece = if swallow { piece.strip_prefix('\n').unwrap_or(piece) } else { piece };
                if !is_left_out {
                    text.push_str(piece);
                }
                swallow = false;
                continue;
            }
            Piece::Value(name) if !is_left_out => text.push_str(value(name)),
            Piece::Open(rest) if !is_left_out => text.push_str(rest),
            Piece::Start(name) => is_left_out = value(name).is_empty(),
            Piece::End(_) => is_left_out = false,
            Piece::Value(_) | Piece::Open(_) => {}
        }
        swallow = matches!(piece, Piece::Start(_) | Piece::End(_)) && (at == 0 || template[..at].ends_with('\n'));
    }
    text
}
