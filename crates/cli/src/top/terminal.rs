//! The terminal: takes it over, draws, and restores it, also after a panic or a termination signal.
//! Deliberately absent: the content.

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
use crate::CliError;

/// How often the thread that reads keys checks whether it is still needed.
const LOOK: Duration = Duration::from_millis(500);

/// The terminal; restored when this is dropped.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    colors: bool,
}

impl Screen {
    /// Takes over the terminal; keys and changes of its size become events.
    pub(super) fn open(events: mpsc::Sender<Event>, colors: bool) -> Result<Self, CliError> {
        // This also installs a hook that restores the terminal before a panic is printed.
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
                    // The terminal was closed.
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

    /// Draws the state; only changed cells are sent.
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
