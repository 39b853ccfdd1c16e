//! The state of `top`. Pure: an event changes the state and returns the actions to take.
//! Deliberately absent: drawing, queries, and clocks (`now` is an argument, in milliseconds since 1970).

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::CliError;
use devstack_api::dto;

/// Kept lines of a log: some screens.
const LOG_LINES: usize = 500;
/// The time over which throughput is measured, in milliseconds.
const WINDOW: u64 = 300_000;
/// The most completions kept for the throughput.
const COMPLETIONS: usize = 100_000;
/// The longest filter, in characters.
const FILTER: usize = 60;
/// How long a message stays, in milliseconds.
const SAID: u64 = 8_000;
/// Steps of page up and page down.
const PAGE: usize = 10;

/// An event.
pub(super) enum Event {
    /// A second has passed.
    Beat,
    /// A key was pressed.
    Key(KeyCode, KeyModifiers),
    /// The terminal has another size.
    Resized,
    /// The terminal was closed.
    Hangup,
    /// Something happened in the cluster.
    Fact(Box<dto::Fact>),
    /// The shown data may be outdated.
    Stale,
    /// The node answered.
    Answer(Box<Answer>),
    /// The node did not answer, for now.
    NoAnswer(String),
    /// The feed has given up on the node.
    Gone(Box<CliError>),
    /// A task's page.
    Detail(Box<Detail>),
    /// This task has no page or no log; the second field says why.
    NoDetail(String, String),
    /// Lines of this task's log.
    Log(String, Vec<String>),
    /// The result of a change.
    Said(String),
}

/// An action to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// End.
    Quit,
    /// End with this error.
    GiveUp(Box<CliError>),
    /// Query everything.
    Ask,
    /// Open a task's page and log.
    Open(String),
    /// Close the page and the log.
    Close,
    /// Stop a task's attempt.
    Stop(String),
    /// Retry a task.
    Retry(String),
}

/// The node's answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Counts, hosts, and what waits for a person.
    pub(super) overview: dto::Overview,
    /// Agents, including idle ones.
    pub(super) agents: Vec<dto::Agent>,
    /// Waiting tasks, except BLOCKED ones.
    pub(super) queue: Vec<dto::Task>,
    /// Whether there are more waiting tasks.
    pub(super) more: bool,
}

/// A task in full.
#[derive(Debug, Clone)]
pub(super) struct Detail {
    /// `project/id`.
    pub(super) name: String,
    /// Its page; `None`: not received yet.
    pub(super) page: Option<dto::TaskDetail>,
    /// Why it has its status.
    pub(super) explanation: String,
    /// The end of its log.
    pub(super) log: VecDeque<String>,
    /// Why there is no page or no log.
    pub(super) missing: Option<String>,
    /// How many lines the log is scrolled back.
    pub(super) back: usize,
}

impl Detail {
    pub(super) fn new(name: &str, page: dto::TaskDetail, explanation: String) -> Self {
        Self { page: Some(page), explanation, ..Self::awaited(name.to_owned()) }
    }

    fn awaited(name: String) -> Self {
        Self { name, page: None, explanation: String::new(), log: VecDeque::new(), missing: None, back: 0 }
    }
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Running,
    Queue,
    People,
    Hosts,
}

impl Panel {
    pub(super) const ALL: [Self; 4] = [Self::Running, Self::Queue, Self::People, Self::Hosts];

    fn after(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

/// The mode, which decides what keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Normal,
    Filter,
    Help,
    /// Asks whether to stop an attempt.
    Confirm,
}

/// The state of `top`.
pub(super) struct State {
    pub(super) answer: Option<Answer>,
    pub(super) panel: Panel,
    selected: [usize; 4],
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) detail: Option<Detail>,
    /// The task that a question is about.
    pub(super) asked_about: Option<String>,
    /// The error while the node does not answer, and the time since when.
    pub(super) silent: Option<(String, u64)>,
    said: Option<(String, u64)>,
    /// No node is running, so the shown data does not change.
    pub(super) idle: bool,
    completed: VecDeque<u64>,
    since: u64,
    changed: bool,
}

impl State {
    pub(super) fn new(now: u64, idle: bool) -> Self {
        Self {
            answer: None,
            panel: Panel::Running,
            selected: [0; 4],
            filter: String::new(),
            mode: Mode::Normal,
            detail: None,
            asked_about: None,
            silent: None,
            said: None,
            idle,
            completed: VecDeque::new(),
            since: now,
            changed: false,
        }
    }

    /// Processes an event; returns the actions to take.
    pub(super) fn take(&mut self, event: Event, now: u64) -> Vec<Act> {
        match event {
            Event::Beat => return self.beat(),
            Event::Key(code, modifiers) => return self.key(code, modifiers),
            Event::Resized => {}
            Event::Hangup => return vec![Act::Quit],
            Event::Fact(fact) => self.fact(&fact, now),
            Event::Stale => (self.changed, self.silent) = (true, None),
            Event::Answer(answer) => {
                (self.answer, self.silent) = (Some(*answer), None);
                self.keep_selections();
            }
            Event::NoAnswer(why) => {
                let since = self.silent.take().map_or(now, |(_, since)| since);
                (self.silent, self.changed) = (Some((why, since)), true);
            }
            Event::Gone(error) => return vec![Act::GiveUp(error)],
            Event::Detail(detail) => {
                if self.detail.as_ref().is_some_and(|open| open.name == detail.name) {
                    self.detail = Some(*detail);
                }
            }
            Event::NoDetail(task, why) => {
                if let Some(open) = self.detail.as_mut().filter(|open| open.name == task) {
                    open.missing = Some(why);
                }
            }
            Event::Log(task, lines) => {
                if let Some(open) = self.detail.as_mut().filter(|open| open.name == task) {
                    open.log.extend(lines);
                    let over = open.log.len().saturating_sub(LOG_LINES);
                    open.log.drain(..over);
                }
            }
            Event::Said(text) => (self.said, self.changed) = (Some((text, now)), true),
        }
        Vec::new()
    }

    fn fact(&mut self, fact: &dto::Fact, now: u64) {
        self.changed = true;
        if fact.status.as_deref() == Some("COMPLETED") {
            self.completed.push_back(now);
            if self.completed.len() > COMPLETIONS {
                self.completed.pop_front();
            }
        }
    }

    /// Queries only if something has changed.
    fn beat(&mut self) -> Vec<Act> {
        match std::mem::take(&mut self.changed) {
            true => vec![Act::Ask],
            false => Vec::new(),
        }
    }

    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Vec<Act> {
        let interrupt = modifiers.contains(KeyModifiers::CONTROL) && matches!(code, KeyCode::Char('c' | 'd'));
        match self.mode {
            _ if interrupt => vec![Act::Quit],
            Mode::Filter => {
                self.edit_filter(code);
                Vec::new()
            }
            Mode::Help => {
                self.mode = Mode::Normal;
                Vec::new()
            }
            Mode::Confirm => {
                self.mode = Mode::Normal;
                let task = self.asked_about.take();
                task.filter(|_| matches!(code, KeyCode::Char('y' | 'Y'))).map(Act::Stop).into_iter().collect()
            }
            Mode::Normal => self.command(code),
        }
    }

    fn edit_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Normal,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Normal;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER => self.filter.push(c),
            _ => {}
        }
        self.keep_selections();
    }

    fn command(&mut self, code: KeyCode) -> Vec<Act> {
        match code {
            KeyCode::Char('q') | KeyCode::Esc if self.detail.is_some() => {
                self.detail = None;
                return vec![Act::Close];
            }
            KeyCode::Char('q') => return vec![Act::Quit],
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Down | KeyCode::Char('j') => self.step(1, true),
            KeyCode::Up | KeyCode::Char('k') => self.step(1, false),
            KeyCode::PageDown => self.step(PAGE, true),
            KeyCode::PageUp => self.step(PAGE, false),
            KeyCode::Home | KeyCode::Char('g') => self.step(usize::MAX, false),
            KeyCode::End | KeyCode::Char('G') => self.step(usize::MAX, true),
            KeyCode::Tab | KeyCode::Right if self.detail.is_none() => self.panel = self.panel.after(1),
            KeyCode::BackTab | KeyCode::Left if self.detail.is_none() => self.panel = self.panel.after(3),
            KeyCode::Char('/') if self.detail.is_none() => self.mode = Mode::Filter,
            KeyCode::Enter if self.detail.is_none() => {
                if let Some(task) = self.chosen() {
                    self.detail = Some(Detail::awaited(task.clone()));
                    return vec![Act::Open(task)];
                }
            }
            KeyCode::Char('s') => {
                self.asked_about = self.chosen();
                if self.asked_about.is_some() {
                    self.mode = Mode::Confirm;
                }
            }
            KeyCode::Char('r') => return self.chosen().map(Act::Retry).into_iter().collect(),
            _ => {}
        }
        Vec::new()
    }

    fn step(&mut self, by: usize, down: bool) {
        if let Some(detail) = &mut self.detail {
            // Down moves towards the end.
            let most = detail.log.len().saturating_sub(1);
            detail.back = if down { detail.back.saturating_sub(by) } else { detail.back.saturating_add(by).min(most) };
            return;
        }
        let at = &mut self.selected[self.panel as usize];
        *at = if down { at.saturating_add(by) } else { at.saturating_sub(by) };
        self.keep_selections();
    }

    /// Corrects selections of rows that no longer exist.
    fn keep_selections(&mut self) {
        for panel in Panel::ALL {
            let last = self.rows(panel).len().saturating_sub(1);
            self.selected[panel as usize] = self.selected[panel as usize].min(last);
        }
    }

    /// The selected row of a table.
    pub(super) fn selected(&self, panel: Panel) -> usize {
        self.selected[panel as usize]
    }

    /// The task that a key acts on.
    fn chosen(&self) -> Option<String> {
        if let Some(detail) = &self.detail {
            return Some(detail.name.clone());
        }
        self.rows(self.panel).into_iter().nth(self.selected(self.panel))?.task().map(str::to_owned)
    }

    /// The rows of a table that match the filter.
    pub(super) fn rows(&self, panel: Panel) -> Vec<Row<'_>> {
        let Some(answer) = &self.answer else { return Vec::new() };
        let all: Vec<Row<'_>> = match panel {
            Panel::Running => answer.agents.iter().filter(|agent| agent.task.is_some()).map(Row::Agent).collect(),
            Panel::Queue => {
                // Running tasks have their own table.
                let waits = |task: &&dto::Task| task.host.is_none();
                answer.queue.iter().filter(waits).map(|task| Row::Task(task, full_name(task))).collect()
            }
            Panel::People => answer.overview.waiting.iter().map(Row::Person).collect(),
            Panel::Hosts => answer.overview.hosts.iter().map(Row::Host).collect(),
        };
        let wanted = self.filter.to_lowercase();
        all.into_iter().filter(|row| wanted.is_empty() || row.text().to_lowercase().contains(&wanted)).collect()
    }

    /// Completed tasks per minute, over the last five minutes; `None`: not watched for long enough.
    pub(super) fn throughput(&self, now: u64) -> Option<f64> {
        let watched = now.saturating_sub(self.since).min(WINDOW);
        if watched < 10_000 {
            return None;
        }
        let recent = self.completed.iter().filter(|at| now.saturating_sub(**at) <= WINDOW).count();
        Some(recent as f64 * 60_000.0 / watched as f64)
    }

    /// The last message, while it is recent.
    pub(super) fn said(&self, now: u64) -> Option<&str> {
        self.said.as_ref().filter(|(_, at)| now.saturating_sub(*at) < SAID).map(|(text, _)| text.as_str())
    }
}

fn full_name(task: &dto::Task) -> String {
    format!("{}/{}", task.project, task.id)
}

/// A row of a table.
pub(super) enum Row<'a> {
    Agent(&'a dto::Agent),
    Task(&'a dto::Task, String),
    Person(&'a dto::Waiting),
    Host(&'a dto::Host),
}

impl Row<'_> {
    fn task(&self) -> Option<&str> {
        match self {
            Self::Agent(agent) => agent.task.as_deref(),
            Self::Task(_, name) => Some(name),
            Self::Person(waiting) => waiting.task.as_deref(),
            Self::Host(_) => None,
        }
    }

    /// The text that the filter searches.
    fn text(&self) -> String {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        match self {
            Self::Agent(agent) => {
                format!("{} {} {} {} {}", agent.name, agent.project, agent.role, some(&agent.host), some(&agent.task))
            }
            Self::Task(task, name) => format!("{name} {} {} {}", task.status, some(&task.role), task.title),
            Self::Person(waiting) => format!("{} {} {}", waiting.project, some(&waiting.task), waiting.why),
            Self::Host(host) => format!("{} {}", host.name, host.presence),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
