//! Text by others, as a part of a prompt: in a fence that it cannot close, on one line, or cut.
//! Deliberately absent: judging the content.

/// The text between fences that are longer than every run of backticks in it.
pub(super) fn fenced(text: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}text\n{text}{end}{fence}\n")
}

/// The text on one line: line ends and other control characters become spaces.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// At most this many bytes: the beginning and the end, with a mark between them if something is missing.
pub(super) fn cut(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    const MARK: &str = "\n[…]\n";
    if text.len() <= max {
        return text.into();
    }
    let room = max.saturating_sub(MARK.len());
    let (head, tail) = (room / 2, room - room / 2);
    let (head, tail) = (text.floor_char_boundary(head), text.ceil_char_boundary(text.len() - tail));
    format!("{}{MARK}{}", &text[..head], &text[tail..]).into()
}
