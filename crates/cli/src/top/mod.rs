//! `top`: a live overview of a node. A fact means that something changed; the overview is then requested again, at most
//! once a second. Without changes no request is sent; ages advance by the clock.
//!
//! | file | what it does |
//! |---|---|
//! | `state` | the state, and the effect of keys and events on it; pure |
//! | `view` | draws the state; pure |
//! | `feed` | queries the node, follows its facts and a log |
//! | `terminal` | the terminal; always restored |
//!
//! Deliberately absent: anything that `task` and `project` cannot do.

mod feed;
mod state;
mod terminal;
mod view;

use std::{io::IsTerminal, time::Duration};

use tokio::sync::mpsc;

use super::{CliError, Exit, commands::Context, exit::code, output::Output};
use devstack_config::problem::Problem;
use feed::Feed;
use state::{Act, Event, State};
use terminal::Screen;

/// The shortest interval between two refreshes, and the step of ages.
const BEAT: Duration = Duration::from_secs(1);
/// The size of the event queue: a fast log waits.
const EVENTS: usize = 256;

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    refuse_without_terminal(context.output)?;
    let session = context.session().await?;
    let idle = session.is_idle();
    let (events, mut heard) = mpsc::channel(EVENTS);
    let mut feed = Feed::new(session.client.clone(), events.clone(), !idle);
    // Query before taking over the terminal, so that an error is printed normally.
    let first = feed.ask().await?;
    let mut state = State::new(now(), idle);
    state.take(Event::Answer(Box::new(first)), now());
    let mut screen = Screen::open(events, context.output.colors())?;
    let mut beat = tokio::time::interval(BEAT);
    let ended = loop {
        screen.draw(&state, now())?;
        let event = tokio::select! {
            event = heard.recv() => event.unwrap_or(Event::Beat),
            _ = beat.tick() => Event::Beat,
        };
        let mut acts = state.take(event, now());
        // A burst of facts is drawn once.
        while let Ok(event) = heard.try_recv() {
            acts.extend(state.take(event, now()));
        }
        let mut over = None;
        for act in acts {
            match act {
                Act::Quit => over = Some(Ok(Exit::Ok)),
                Act::GiveUp(error) => over = Some(Err(*error)),
                Act::Ask => feed.ask_later(),
                Act::Open(task) => feed.open(task),
                Act::Close => feed.close(),
                Act::Stop(task) => feed.change(task, "stop"),
                Act::Retry(task) => feed.change(task, "retry"),
            }
        }
        if let Some(over) = over {
            break over;
        }
    };
    drop(screen);
    drop(feed);
    session.close().await?;
    ended
}

fn refuse_without_terminal(output: &Output) -> Result<(), CliError> {
    if !output.for_people() {
        let problem = Problem::new(code::TERMINAL, "`top` needs a terminal and prints no data");
        return Err(CliError::new(Exit::Usage, problem.hint("`devstack status -o json` prints the same data once")));
    }
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let problem = Problem::new(code::TERMINAL, "`top` needs a terminal");
        return Err(CliError::new(Exit::Usage, problem.hint("`devstack status` prints the same data once")));
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
