//! Makes untrusted text safe for a terminal. Text of agents keeps its colours (SGR), tabs and line ends. Every other
//! control character is shown as its picture (`␛`), so that nothing is hidden and no other sequence reaches the
//! terminal: no clipboard access (OSC 52), link, title, cursor movement or query that the terminal answers.
//!
//! Deliberately absent: where text goes (`output`). Pipes and files get the bytes unchanged.

/// The longest colour sequence that passes, in bytes: five 24-bit colours are shorter.
const SGR_MAX: usize = 96;
/// Resets all colours.
const RESET: &[u8] = b"\x1b[0m";

/// Cleans text without colours of its own: titles, reasons, file names. It may have several lines.
pub(super) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match picture(c) {
            Some(picture) if c != '\n' && c != '\t' => shown.push_str(&picture),
            _ => shown.push(c),
        }
    }
    shown
}

/// Cleans a complete output, and keeps its colours.
pub(super) fn colored(text: &[u8]) -> Vec<u8> {
    let mut filter = Filter::default();
    let mut shown = filter.push(text);
    shown.extend(filter.end());
    shown
}

/// The replacement of a character that is not shown as it is; also for line ends and tabs.
fn picture(c: char) -> Option<String> {
    Some(match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32)?.to_string(),
        '\u{7f}' => '\u{2421}'.to_string(),
        // These single characters are escape sequences.
        '\u{80}'..='\u{9f}' => '\u{fffd}'.to_string(),
        // These characters change the direction of text, or are invisible.
        '\u{61c}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => {
            format!("<U+{:04X}>", c as u32)
        }
        _ => return None,
    })
}

/// A filter for output that arrives in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// The beginning of an incomplete character or sequence.
    open: Vec<u8>,
    /// Whether a colour sequence has passed.
    is_colored: bool,
}

impl Filter {
    /// Adds bytes, and returns what can be shown now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.open.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.open);
        let mut shown = Vec::with_capacity(input.len());
        let mut rest = input.as_slice();
        while let Some(step) = step(rest) {
            match &step {
                Step::Keep(length) => shown.extend_from_slice(&rest[..*length]),
                Step::Color(length) => {
                    self.is_colored = true;
                    shown.extend_from_slice(&rest[..*length]);
                }
                Step::Show(_, picture) => shown.extend_from_slice(picture.as_bytes()),
                Step::More => break,
            }
            rest = &rest[step.length()..];
        }
        self.open = rest.to_vec();
        shown
    }

    /// Returns what was held back, and resets colours.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let left = String::from_utf8_lossy(&std::mem::take(&mut self.open)).into_owned();
        let mut shown = clean(&left).into_bytes();
        if std::mem::take(&mut self.is_colored) {
            shown.extend_from_slice(RESET);
        }
        shown
    }
}

enum Step {
    /// Keep this many bytes unchanged.
    Keep(usize),
    /// A colour sequence of this many bytes.
    Color(usize),
    /// Replace this many bytes by a text.
    Show(usize, String),
    /// More bytes are needed to decide.
    More,
}

impl Step {
    fn length(&self) -> usize {
        match self {
            Self::Keep(length) | Self::Color(length) | Self::Show(length, _) => *length,
            Self::More => 0,
        }
    }
}

/// What to do with the beginning of `rest`; `None` at its end.
fn step(rest: &[u8]) -> Option<Step> {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    let run = rest.iter().take_while(|byte| plain(byte)).count();
    if run > 0 {
        return Some(Step::Keep(run));
    }
    let first = *rest.first()?;
    if first == 0x1b {
        return Some(escape(rest));
    }
    let head = &rest[..rest.len().min(4)];
    let (text, error) = match std::str::from_utf8(head) {
        Ok(text) => (text, None),
        Err(error) => (std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(), Some(error)),
    };
    let Some(c) = text.chars().next() else {
        return Some(match error.map(|error| error.error_len()) {
            Some(Some(length)) => Step::Show(length, '\u{fffd}'.to_string()),
            _ => Step::More,
        });
    };
    Some(picture(c).map_or(Step::Keep(c.len_utf8()), |picture| Step::Show(c.len_utf8(), picture)))
}

/// An escape character: passes as the start of a colour, else is shown as its picture.
fn escape(rest: &[u8]) -> Step {
    let shown = Step::Show(1, '\u{241b}'.to_string());
    match rest.get(1) {
        None => return Step::More,
        Some(b'[') => {}
        Some(_) => return shown,
    }
    let parameters = rest[2..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';' | b':')).count();
    let length = 2 + parameters + 1;
    match rest.get(2 + parameters) {
        _ if length > SGR_MAX => shown,
        None => Step::More,
        Some(b'm') if is_visible(&rest[2..2 + parameters]) => Step::Color(length),
        Some(_) => shown,
    }
}

/// Whether text stays visible with these parameters: 8 hides it.
fn is_visible(parameters: &[u8]) -> bool {
    let text = std::str::from_utf8(parameters).unwrap_or_default();
    let mut fields = text.split(';');
    while let Some(field) = fields.next() {
        match field.trim_start_matches('0') {
            "8" => return false,
            // The numbers of a colour follow, unless colons join them.
            "38" | "48" | "58" => {
                let more = match fields.next().unwrap_or_default().trim_start_matches('0') {
                    "5" => 1,
                    "2" => 3,
                    _ => return false,
                };
                fields.by_ref().take(more).for_each(|_| ());
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(colored(text.as_bytes())).expect("always text")
    }

    #[test]
    fn colours_tabs_and_ends_of_lines_stay() {
        for text in ["plain\ta\r\nb", "grün €", "👩‍🔧"] {
            assert_eq!(shown(text), text);
        }
        for color in ["1", "", "0", "31;1", "38;5;8", "38;2;8;8;8", "4:3", "38:2::8:8:8", "48;5;8;1"] {
            assert_eq!(shown(&format!("\x1b[{color}mx")), format!("\x1b[{color}mx\x1b[0m"));
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for (text, expected) in [
            ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
            ("\x1b[2J\x1b[1;1H", "␛[2J␛[1;1H"),
            ("\x1b[8mhidden", "␛[8mhidden"),
            ("\x1b[1;08m", "␛[1;08m"),
            ("\x1b[38m", "␛[38m"),
            ("\x1b[?25l", "␛[?25l"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\x08b\x7f\0", "a␈b␡␀"),
            ("\u{202e}evil", "<U+202E>evil"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        assert_eq!(String::from_utf8(colored(b"\xff\x9bx\xc2")).expect("text"), "\u{fffd}\u{fffd}x\u{fffd}");
        let long = format!("\x1b[{}m", "1;".repeat(SGR_MAX));
        assert!(shown(&long).starts_with('␛'));
    }

    #[test]
    fn text_without_colours_has_none_and_no_carriage_return() {
        assert_eq!(clean("a\x1b[31mb\r\n\tc"), "a␛[31mb␍\n\tc");
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let text = "a\x1b[31;1mrot\x1b[0m \x1b]8;;http://x\x1b\\ grün € \u{9b} \x1b";
        for cut in 0..=text.len() {
            let mut filter = Filter::default();
            let (left, right) = text.as_bytes().split_at(cut);
            let mut pieces = filter.push(left);
            pieces.extend(filter.push(right));
            pieces.extend(filter.end());
            assert_eq!(String::from_utf8(pieces).expect("text"), shown(text), "cut at {cut}");
        }
    }
}
