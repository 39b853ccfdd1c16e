//! Text from untrusted sources inside a picture: escaped, and cut to the available room.
//! Deliberately absent: real font metrics. Widths are those of a wide sans serif, so that an estimate is rather too
//! wide.

use std::fmt::Write;

/// Appends `text` as XML character data or as a quoted attribute. Nothing in the text can end either. Characters that
/// XML forbids, and characters that change the direction of writing, are left out.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_dropped(c) => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
}

/// Like [`escape`], but returns a new string.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    escape(&mut out, text);
    out
}

/// The beginning of a text, at most `room` wide, with an ellipsis if anything is cut. `room` and the font's `size` are
/// in pixels. Characters that pictures leave out ([`escape`]) take no room.
pub fn fit(text: &str, room: f64, size: f64) -> String {
    let room = room / size;
    let mut taken = 0.0;
    let mut kept = String::new();
    // Where the text ends if an ellipsis must follow it.
    let mut cut = 0;
    for c in text.chars().filter(|c| !is_dropped(*c)) {
        let c = if c.is_control() { ' ' } else { c };
        taken += em(c);
        if taken > room {
            kept.truncate(cut);
            kept.truncate(kept.trim_end().len());
            kept.push('…');
            return kept;
        }
        kept.push(c);
        if taken + em('…') <= room {
            cut = kept.len();
        }
    }
    kept
}

/// The maximum width of a text, in pixels.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().filter(|c| !is_dropped(*c)).map(em).sum::<f64>() * size
}

/// A coordinate: whole pixels or halves.
pub fn coordinate(out: &mut String, value: f64) {
    let halves = (value * 2.0).round();
    // Writing into a String cannot fail.
    let _ = if halves % 2.0 == 0.0 { write!(out, "{}", halves / 2.0) } else { write!(out, "{:.1}", halves / 2.0) };
}

/// Whether a character is forbidden in XML, invisible, or able to reorder the text around it.
fn is_dropped(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffc}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The width of a character, relative to the font size.
fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '`' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' | ' ' | '"' => 0.41,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.0,
        '…' => 0.9,
        'A'..='Z' | '#' | '&' | '+' | '<' | '=' | '>' | '~' | '^' | '_' => 0.74,
        ' '..='~' => 0.615,
        // Combining marks stand above the character before them.
        '\u{300}'..='\u{36f}' => 0.0,
        c if (c as u32) < 0x1100 => 0.85,
        // Ideographs and pictographs.
        _ => 1.4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_element() {
        assert_eq!(escaped("</text><script>\"'&"), "&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;");
        assert_eq!(escaped("a\u{202e}b\0c\u{1b}[1m\nd"), "abc[1m d");
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(fit("short", 200.0, 12.0), "short");
        let cut = fit(&"wide ".repeat(1000), 100.0, 12.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 100.0, "{cut}");
        assert!(width(&fit(&"漢".repeat(50), 100.0, 12.0), 12.0) <= 100.0);
        assert_eq!(fit("anything", 1.0, 12.0), "…");
        assert_eq!(fit("", 1.0, 12.0), "");
    }

    #[test]
    fn coordinates_are_short() {
        let mut out = String::new();
        for value in [1.0, 2.5, 3.26, -4.0] {
            coordinate(&mut out, value);
            out.push(' ');
        }
        assert_eq!(out, "1 2.5 3.5 -4 ");
    }
}
