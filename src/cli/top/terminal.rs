//! The terminal: taken, drawn on, and given back as it was, also when this process panics or is told to end.
//! Deliberately absent: what is drawn.

use std::{thread, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event as Input, KeyEventKind},
};
use tokio::sync::mpsc;

use super::{
    state::{Event, State},
    view,
};
use crate::cli::CliError;

/// The thread that reads keys looks this often whether anybody still wants them.
const LOOK: Duration = Duration::from_millis(500);

/// A terminal that is ours until this is dropped.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    colors: bool,
}

impl Screen {
    /// Takes the terminal; keys and changes of its size become events.
    pub(super) fn open(events: mpsc::Sender<Event>, colors: bool) -> Result<Self, CliError> {
        // With a hook that gives the terminal back before a panic is told.
        let terminal = ratatui::try_init().map_err(|e| CliError::failure(format!("cannot use the terminal: {e}")))?;
        let screen = Self { terminal, colors };
        let read = move || {
            while !events.is_closed() {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let event = match event {
                    Ok(Input::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key.code, key.modifiers),
                    Ok(Input::Resize(..)) => Event::Resized,
                    Ok(_) => continue,
                    // The terminal is gone.
                    Err(_) => Event::Hangup,
                };
                let gone = matches!(event, Event::Hangup);
                if events.blocking_send(event).is_err() || gone {
                    return;
                }
            }
        };
        thread::Builder::new().name("keys".to_owned()).spawn(read)?;
        Ok(screen)
    }

    /// Draws the state; only what changed is sent.
    pub(super) fn draw(&mut self, state: &State, now: u64) -> Result<(), CliError> {
        let colors = self.colors;
        self.terminal.draw(|frame| view::draw(frame, state, now, colors))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
