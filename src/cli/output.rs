//! What is printed: data to stdout, notes and errors to stderr, colours only where they are wanted.

use std::io::{IsTerminal, Write};

use super::{
    CliError,
    args::{Color, Format, Global},
};

/// How this process prints.
#[derive(Debug, Clone)]
pub struct Output {
    pub(super) format: Format,
    color: bool,
    color_errors: bool,
    quiet: bool,
}

/// Colours, as in `\x1b[<n>m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain = 0,
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
}

impl Output {
    /// Of a command line that cannot be read but asks for JSON.
    pub(super) fn for_programs() -> Self {
        Self { format: Format::Json, color: false, color_errors: false, quiet: true }
    }

    pub(super) fn new(global: &Global) -> Self {
        let wanted = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self {
            format: global.output,
            color: wanted(std::io::stdout().is_terminal()),
            color_errors: wanted(std::io::stderr().is_terminal()),
            quiet: global.quiet,
        }
    }

    /// Is data for a person?
    pub(super) fn for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints data.
    pub fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        // A reader that went away (`| head`) wants no more.
        if write!(out, "{text}{newline}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Prints data in pieces.
    pub(super) fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Are notes shown? Programs get nothing on stderr but the error object.
    pub(super) fn notes(&self) -> bool {
        !self.quiet && self.for_people()
    }

    /// A line of progress.
    pub fn note(&self, text: &str) {
        if self.notes() {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Are notes shown, and by a terminal that can redraw?
    pub(super) fn live(&self) -> bool {
        self.notes() && std::io::stderr().is_terminal()
    }

    /// An error: for people with its hint and code, with `-o json` as the contract's object.
    pub fn error(&self, error: &CliError) {
        let mut err = std::io::stderr().lock();
        if !self.for_people() {
            let body = serde_json::to_string(&error.error.body()).unwrap_or_default();
            let _ = writeln!(err, "{body}");
            return;
        }
        for problem in error.error.problems() {
            let head = paint(self.color_errors, Paint::Red, "error:");
            let _ = writeln!(err, "{head} {problem} [{}]", problem.code);
            if let Some(hint) = &problem.hint {
                let _ = writeln!(err, "{} {hint}", paint(self.color_errors, Paint::Cyan, "hint:"));
            }
        }
    }

    /// A text in a colour, on stdout.
    pub(super) fn paint(&self, paint_: Paint, text: &str) -> String {
        paint(self.color, paint_, text)
    }

    /// A coloured piece of a note.
    pub(super) fn paint_note(&self, paint_: Paint, text: &str) -> String {
        paint(self.color_errors, paint_, text)
    }

    /// Is data coloured?
    pub(super) fn colors(&self) -> bool {
        self.color
    }

    /// A status word in its colour.
    pub(super) fn status(word: &str) -> Paint {
        match word {
            "WIP" | "TESTING" => Paint::Blue,
            "REVIEW" => Paint::Magenta,
            "APPROVED" => Paint::Cyan,
            "COMPLETED" => Paint::Green,
            "BLOCKED" => Paint::Yellow,
            "REJECTED" => Paint::Red,
            _ => Paint::Plain,
        }
    }
}

fn paint(color: bool, paint: Paint, text: &str) -> String {
    if color && paint != Paint::Plain { format!("\x1b[{}m{text}\x1b[0m", paint as u8) } else { text.to_owned() }
}

/// Text from outside without control characters: it must not drive the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}
