//! Output: data to stdout, notes and errors to stderr, colours only if requested. On a terminal, colours are the only
//! escape sequences that pass (`visible`), unless `--raw` is given. Pipes and files get the bytes unchanged.

use std::io::{IsTerminal, Write};

use super::{
    CliError,
    args::{Color, Format, Global},
    visible,
};
pub(super) use visible::clean;

/// How this process prints.
#[derive(Debug, Clone)]
pub struct Output {
    pub(super) format: Format,
    color: bool,
    color_errors: bool,
    /// Whether stdout is a terminal that needs protection from escape sequences; the same for stderr.
    guarded: bool,
    guarded_errors: bool,
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
    /// The output for a command line that cannot be parsed but asks for JSON.
    pub(super) fn for_programs() -> Self {
        Self {
            format: Format::Json,
            color: false,
            color_errors: false,
            guarded: false,
            guarded_errors: false,
            quiet: true,
        }
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
            guarded: !global.raw && std::io::stdout().is_terminal(),
            guarded_errors: !global.raw && std::io::stderr().is_terminal(),
            quiet: global.quiet,
        }
    }

    /// Whether the output is for people.
    pub(super) fn for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints data.
    pub fn data(&self, text: &str) {
        let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        self.written(format!("{text}{newline}").as_bytes());
    }

    /// Prints untrusted text.
    pub(super) fn written(&self, bytes: &[u8]) {
        if self.guarded { self.raw(&visible::colored(bytes)) } else { self.raw(bytes) }
    }

    /// Prints untrusted text that arrives in pieces, cut anywhere.
    pub(super) fn pieces(&self) -> Pieces<'_> {
        Pieces { output: self, filter: self.guarded.then(visible::Filter::default) }
    }

    /// Prints our own bytes unchanged, in pieces.
    pub(super) fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        // The reader (`| head`) has closed the pipe and needs no more.
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Whether notes are shown. Programs get only the error object on stderr.
    pub(super) fn notes(&self) -> bool {
        !self.quiet && self.for_people()
    }

    /// A line of progress.
    pub fn note(&self, text: &str) {
        if self.notes() {
            self.said(&format!("{text}\n"));
        }
    }

    /// Whether notes are shown on a terminal, which can redraw.
    pub(super) fn live(&self) -> bool {
        self.notes() && std::io::stderr().is_terminal()
    }

    /// Prints an error: for people with its hint and code, with `-o json` as the error object of the API.
    pub fn error(&self, error: &CliError) {
        if !self.for_people() {
            let body = serde_json::to_string(&error.error.body()).unwrap_or_default();
            return self.said(&format!("{body}\n"));
        }
        for problem in error.error.problems() {
            let head = paint(self.color_errors, Paint::Red, "error:");
            self.said(&format!("{head} {problem} [{}]\n", problem.code));
            if let Some(hint) = &problem.hint {
                self.said(&format!("{} {hint}\n", paint(self.color_errors, Paint::Cyan, "hint:")));
            }
        }
    }

    /// Writes to stderr. Errors are ignored: a closed stderr means that nobody reads it.
    fn said(&self, text: &str) {
        let text = text.as_bytes();
        let mut err = std::io::stderr().lock();
        let _ = if self.guarded_errors { err.write_all(&visible::colored(text)) } else { err.write_all(text) };
    }

    /// A coloured text for stdout.
    pub(super) fn paint(&self, paint_: Paint, text: &str) -> String {
        paint(self.color, paint_, text)
    }

    /// A coloured text for a note.
    pub(super) fn paint_note(&self, paint_: Paint, text: &str) -> String {
        paint(self.color_errors, paint_, text)
    }

    /// Whether data is coloured.
    pub(super) fn colors(&self) -> bool {
        self.color
    }

    /// The colour of a status.
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

/// A writer for untrusted text in pieces.
pub(super) struct Pieces<'a> {
    output: &'a Output,
    filter: Option<visible::Filter>,
}

impl Pieces<'_> {
    /// Prints the next piece.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.filter {
            Some(filter) => self.output.raw(&filter.push(bytes)),
            None => self.output.raw(bytes),
        }
    }
}

impl Drop for Pieces<'_> {
    /// Resets colours, even if the text ended early.
    fn drop(&mut self) {
        if let Some(filter) = &mut self.filter {
            self.output.raw(&filter.end());
        }
    }
}
