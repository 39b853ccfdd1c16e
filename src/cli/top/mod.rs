//! `top`: a node at a glance, live. Facts say that something changed; what is shown is then asked for, at most once a second.
//! Nothing is asked while nothing changes; ages go on by the clock.
//!
//! | file | what it does |
//! |---|---|
//! | `state` | what is known and what a key does to it; pure |
//! | `view` | the same, drawn; pure |
//! | `feed` | asks the node, follows its facts and a log |
//! | `terminal` | the terminal, as it was before whatever happens |
//!
//! Deliberately absent: anything that `task` and `project` do not do, too.

mod feed;
mod state;
mod terminal;
mod view;

use std::{io::IsTerminal, time::Duration};

use tokio::sync::mpsc;

use super::{CliError, Exit, commands::Context, exit::code, output::Output};
use crate::config::problem::Problem;
use feed::Feed;
use state::{Act, Event, State};
use terminal::Screen;

/// Between two asks of everything, and two steps of ages.
const BEAT: Duration = Duration::from_secs(1);
/// Events on their way: a log that is written fast waits.
const EVENTS: usize = 256;

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    refuse_without_terminal(context.output)?;
    let session = context.session().await?;
    let idle = session.is_idle();
    let (events, mut heard) = mpsc::channel(EVENTS);
    let mut feed = Feed::new(session.client.clone(), events.clone(), !idle);
    // Before the terminal is taken: what fails now is said as ever.
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
        let problem = Problem::new(code::TERMINAL, "`top` is for a terminal and prints no data");
        return Err(CliError::new(Exit::Usage, problem.hint("`devstack status -o json` prints the same once")));
    }
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let problem = Problem::new(code::TERMINAL, "`top` needs a terminal");
        return Err(CliError::new(Exit::Usage, problem.hint("`devstack status` prints the same once")));
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
