//! Converts the description of a task to a prompt and back. A prompt has the description, then `## Acceptance criteria`
//! as a list of check boxes, then `## Technical notes`.
//!
//! Both directions are lossless: `Brief::of(&brief.prompt()) == brief` for every brief, and `Brief::of(text).prompt()
//! == text` for every text. A line of the description or the notes that looks like one of the two headings gets a
//! backslash, which Markdown does not show.
//! Deliberately absent: any other structure of a prompt. It is part of the description.

const CRITERIA: &str = "## Acceptance criteria";
const NOTES: &str = "## Technical notes";

/// The description of a task, in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brief {
    /// What to do, and why.
    pub description: String,
    /// When the task is done.
    pub criteria: Vec<Criterion>,
    /// How to do it.
    pub notes: String,
}

/// An acceptance criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// What must hold.
    pub text: String,
    /// Whether it holds already.
    pub done: bool,
}

impl Criterion {
    /// A criterion that does not hold yet.
    pub fn open(text: impl Into<String>) -> Self {
        Self { text: text.into(), done: false }
    }
}

impl Brief {
    /// Renders the brief as a prompt.
    pub fn prompt(&self) -> String {
        match self.backslashes() {
            Some(least) if self.shifted(-least).is_mistaken() => self.shifted(1).joined(),
            _ => self.joined(),
        }
    }

    /// Parses a prompt.
    pub fn of(prompt: &str) -> Self {
        let raw = Self::split(prompt);
        match raw.backslashes() {
            Some(least) if least > 0 && raw.shifted(-least).is_mistaken() => raw.shifted(-1),
            _ => raw,
        }
    }

    /// Whether its plain prompt would be parsed as another brief.
    fn is_mistaken(&self) -> bool {
        Self::split(&self.joined()) != *self
    }

    fn joined(&self) -> String {
        let mut parts = Vec::new();
        if !self.description.is_empty() {
            parts.push(self.description.clone());
        }
        if !self.criteria.is_empty() {
            let items: Vec<String> = self.criteria.iter().map(item).collect();
            parts.push(format!("{CRITERIA}\n\n{}", items.join("\n")));
        }
        if !self.notes.is_empty() {
            parts.push(format!("{NOTES}\n\n{}", self.notes));
        }
        parts.join("\n\n")
    }

    fn split(prompt: &str) -> Self {
        let (rest, notes) = match section(prompt, NOTES) {
            Some((rest, notes)) => (rest, notes.to_owned()),
            None => (prompt, String::new()),
        };
        let listed = section(rest, CRITERIA).and_then(|(rest, list)| Some((rest, items(list)?)));
        let (description, criteria) = listed.unwrap_or((rest, Vec::new()));
        Self { description: description.to_owned(), criteria, notes }
    }

    /// The fewest backslashes before a line that looks like a heading; `None`: there is no such line.
    fn backslashes(&self) -> Option<isize> {
        [&self.description, &self.notes].into_iter().flat_map(|text| text.split('\n')).filter_map(heading).min()
    }

    /// Adds or removes this many backslashes before each such line.
    fn shifted(&self, by: isize) -> Self {
        let line = |line: &str| match heading(line) {
            None => line.to_owned(),
            Some(_) if by < 0 => line.get(by.unsigned_abs()..).unwrap_or_default().to_owned(),
            Some(_) => format!("{}{line}", "\\".repeat(by.unsigned_abs())),
        };
        let text = |text: &str| text.split('\n').map(line).collect::<Vec<_>>().join("\n");
        Self { description: text(&self.description), criteria: self.criteria.clone(), notes: text(&self.notes) }
    }
}

/// How many backslashes are before a heading; `None`: the line is not a heading.
fn heading(line: &str) -> Option<isize> {
    let bare = line.trim_start_matches('\\');
    [CRITERIA, NOTES].contains(&bare).then(|| (line.len() - bare.len()) as isize)
}

/// Splits the text at the last section with this heading: the text before it, and its body. Neither is empty, except
/// that a section may be at the start of the text.
fn section<'t>(text: &'t str, heading: &str) -> Option<(&'t str, &'t str)> {
    let within = format!("\n\n{heading}\n\n");
    if let Some(at) = text.rfind(&within)
        && at > 0
        && at + within.len() < text.len()
    {
        return Some((&text[..at], &text[at + within.len()..]));
    }
    let body = text.strip_prefix(heading)?.strip_prefix("\n\n")?;
    (!body.is_empty()).then_some(("", body))
}

fn item(criterion: &Criterion) -> String {
    let mark = if criterion.done { 'x' } else { ' ' };
    format!("- [{mark}] {}", criterion.text.replace('\n', "\n  "))
}

/// Parses a list of check boxes; `None` if there is anything else.
fn items(list: &str) -> Option<Vec<Criterion>> {
    let mut items: Vec<Criterion> = Vec::new();
    for line in list.split('\n') {
        let boxed = [("- [ ] ", false), ("- [x] ", true)];
        if let Some((text, done)) = boxed.iter().find_map(|(mark, done)| Some((line.strip_prefix(mark)?, *done))) {
            items.push(Criterion { text: text.to_owned(), done });
        } else {
            let last = items.last_mut()?;
            last.text.push('\n');
            last.text.push_str(line.strip_prefix("  ")?);
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(CRITERIA.to_owned()),
            Just(NOTES.to_owned()),
            Just("\n".to_owned()),
            Just("\n\n".to_owned()),
            Just("\\".to_owned()),
            Just("- [ ] ".to_owned()),
            Just("- [x] ".to_owned()),
            Just("  ".to_owned()),
            "[a-z ]{0,4}",
        ];
        proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_brief_comes_back(
            description in text(),
            criteria in proptest::collection::vec((text(), any::<bool>()), 0..4),
            notes in text(),
        ) {
            let criteria = criteria.into_iter().map(|(text, done)| Criterion { text, done }).collect();
            let brief = Brief { description, criteria, notes };
            prop_assert_eq!(Brief::of(&brief.prompt()), brief);
        }

        #[test]
        fn a_prompt_comes_back(text in text()) {
            prop_assert_eq!(Brief::of(&text).prompt(), text);
        }
    }

    #[test]
    fn it_reads_well() {
        let criteria = vec![Criterion { text: "a token".to_owned(), done: true }, Criterion::open("401\nelse")];
        let brief = Brief { description: "Login.".to_owned(), criteria, notes: "PyJWT".to_owned() };
        let prompt =
            "Login.\n\n## Acceptance criteria\n\n- [x] a token\n- [ ] 401\n  else\n\n## Technical notes\n\nPyJWT";
        assert_eq!(brief.prompt(), prompt);
        let by_hand = "## Acceptance criteria\nfast\n";
        assert_eq!(Brief::of(by_hand).description, by_hand);
    }
}
