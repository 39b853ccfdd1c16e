//! Draws `top`: state and time in, cells out. Pure; untrusted text is cleaned of terminal sequences. A small terminal
//! shows one table at a time, a tiny terminal only a message.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table, TableState, Wrap},
};

use super::state::{Detail, Mode, Panel, Row, State};
use crate::{
    output::{Output, Paint, clean},
    usage,
};
use devstack_api::dto;

/// The smallest usable terminal: columns and lines.
const LEAST: (u16, u16) = (24, 6);
/// The fewest lines at which all tables are shown.
const ALL_TABLES: u16 = 20;
/// The fewest columns at which every table column is shown.
const WIDE: u16 = 70;
/// The fewest columns at which statuses without tasks are shown as well.
const ALL_STATUSES: u16 = 100;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: u64, colors: bool) {
    let area = frame.area();
    let ink = Ink(colors);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return frame.render_widget(Paragraph::new("too small for top").wrap(Wrap { trim: true }), area);
    }
    let head = head(state, now, ink, area.width);
    let rows = [Constraint::Length(head.len() as u16), Constraint::Min(1), Constraint::Length(1)];
    let [top, body, bottom] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    match &state.detail {
        Some(detail) => draw_detail(frame, body, detail, now, ink),
        None if body.height >= ALL_TABLES - 3 => draw_all(frame, body, state, now, ink),
        None => draw_panel(frame, body, state, state.panel, now, ink),
    }
    frame.render_widget(Paragraph::new(foot(state, now, ink)), bottom);
    if state.mode == Mode::Help {
        draw_help(frame, area);
    }
}

/// Colours, if they are enabled.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    fn status(self, word: &str) -> Style {
        let color = match Output::status(word) {
            Paint::Blue => Color::Blue,
            Paint::Magenta => Color::Magenta,
            Paint::Cyan => Color::Cyan,
            Paint::Green => Color::Green,
            Paint::Yellow => Color::Yellow,
            Paint::Red => Color::Red,
            Paint::Plain | Paint::Bold | Paint::Dim => return Style::new(),
        };
        self.of(color)
    }

    fn of(self, color: Color) -> Style {
        if self.0 { Style::new().fg(color) } else { Style::new() }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

fn head(state: &State, now: u64, ink: Ink, width: u16) -> Vec<Line<'static>> {
    let Some(answer) = &state.answer else { return vec![Line::from("waiting for the node …")] };
    let overview = &answer.overview;
    let mut counts = Vec::new();
    for word in dto::STATUSES.map(|status| status.as_str()) {
        let count = overview.tasks.get(word).copied().unwrap_or(0);
        if count > 0 || width >= ALL_STATUSES {
            let style = if count > 0 { ink.status(word) } else { DIM };
            counts.push(Span::styled(format!("{word} {count}  "), style));
        }
    }
    let mut facts = vec![format!("{} of {} slots", overview.running, overview.slots)];
    if overview.unknown > 0 {
        facts.push(format!("{} UNKNOWN", overview.unknown));
    }
    let present = overview.hosts_by_presence.get("present").copied().unwrap_or(0);
    facts.push(format!("{present} of {} hosts", overview.hosts.len()));
    facts.extend(state.throughput(now).map(|rate| format!("{rate:.1} done/min")));
    facts.extend(overview.usage.cost_usd.map(|cost| usage::dollars(Some(cost))));
    facts.extend(
        overview
            .providers
            .iter()
            .filter(|provider| provider.parked_until.is_some())
            .map(|provider| format!("{} parked", one_line(&provider.provider))),
    );
    let mut lines = vec![Line::from(counts), Line::from(facts.join(" · "))];
    if let Some((why, since)) = &state.silent {
        let text = format!("no answer for {}: {}", age(now.saturating_sub(*since)), one_line(why));
        lines.push(Line::styled(text, ink.of(Color::Red).add_modifier(Modifier::BOLD)));
    } else if state.idle {
        lines.push(Line::styled("no node is running here: this is its last state", ink.of(Color::Yellow)));
    }
    lines
}

fn foot(state: &State, now: u64, ink: Ink) -> Line<'static> {
    match state.mode {
        Mode::Filter => Line::from(vec![Span::styled("filter: ", BOLD), Span::raw(format!("{}▏", state.filter))]),
        Mode::Confirm => {
            let task = state.asked_about.as_deref().unwrap_or_default();
            let question = format!("stop the attempt of {}? y: yes, any other key: no", one_line(task));
            Line::styled(question, ink.of(Color::Yellow).add_modifier(Modifier::BOLD))
        }
        Mode::Normal | Mode::Help => {
            if let Some(said) = state.said(now) {
                return Line::styled(one_line(said), BOLD);
            }
            let keys = match (&state.detail, state.filter.is_empty()) {
                (Some(_), _) => "q back  ↑↓ scroll  s stop  r retry  ? help".to_owned(),
                (None, true) => "q quit  tab table  ↑↓ move  enter open  / filter  s stop  r retry  ? help".to_owned(),
                (None, false) => format!("filter: {}  esc clears it  ? help", state.filter),
            };
            Line::styled(keys, DIM)
        }
    }
}

/// Draws all tables; the selected table gets the remaining space.
fn draw_all(frame: &mut Frame<'_>, area: Rect, state: &State, now: u64, ink: Ink) {
    // A title, a header, and at least one row.
    let least = 3;
    let room = area.height.saturating_sub(4 * least);
    let wanted = Panel::ALL.map(|panel| {
        let rows = u16::try_from(state.rows(panel).len()).unwrap_or(u16::MAX);
        if panel == state.panel { u16::MAX } else { rows.saturating_sub(1).min(room / 4) }
    });
    let heights = Panel::ALL.map(|panel| match wanted[panel as usize] {
        u16::MAX => Constraint::Min(least),
        more => Constraint::Length(least + more),
    });
    let areas: [Rect; 4] = Layout::vertical(heights).areas(area);
    for panel in Panel::ALL {
        draw_panel(frame, areas[panel as usize], state, panel, now, ink);
    }
}

/// The layout of a table.
struct Shape {
    title: &'static str,
    head: &'static [&'static str],
    widths: &'static [Constraint],
    /// Columns that are hidden on a narrow terminal.
    narrow: &'static [usize],
}

fn shape(panel: Panel) -> Shape {
    use Constraint::{Length, Min};
    match panel {
        Panel::Running => Shape {
            title: "running",
            head: &["AGENT", "TASK", "STAGE", "HOST", "AGE"],
            widths: &[Length(12), Min(12), Length(6), Length(16), Length(7)],
            narrow: &[2, 3],
        },
        Panel::Queue => Shape {
            title: "queue",
            head: &["TASK", "STATUS", "PRIORITY", "ROLE", "TITLE"],
            widths: &[Length(18), Length(9), Length(8), Length(10), Min(10)],
            narrow: &[2, 3],
        },
        Panel::People => Shape {
            title: "waiting for people",
            head: &["TASK", "STATUS", "WHY", "NEXT STEP"],
            widths: &[Length(18), Length(9), Min(14), Length(34)],
            narrow: &[1, 3],
        },
        Panel::Hosts => Shape {
            title: "hosts",
            head: &["HOST", "STATE", "USED", "FREE", "RUNTIME"],
            widths: &[Min(12), Length(16), Length(5), Length(5), Length(10)],
            narrow: &[3, 4],
        },
    }
}

fn draw_panel(frame: &mut Frame<'_>, area: Rect, state: &State, panel: Panel, now: u64, ink: Ink) {
    let Shape { title, head, widths, narrow } = shape(panel);
    let keep = |column: &usize| area.width >= WIDE || !narrow.contains(column);
    let rows = state.rows(panel);
    let is_chosen = state.panel == panel;
    let more = panel == Panel::Queue && state.answer.as_ref().is_some_and(|answer| answer.more);
    let title = format!("{title} ({}{})", rows.len(), if more { "+" } else { "" });
    let title = Line::styled(title, if is_chosen { BOLD } else { DIM });
    let cells = rows.iter().map(|row| {
        let cells = cells(row, now, ink).into_iter().enumerate();
        Cells::new(cells.filter(|(column, _)| keep(column)).map(|(_, cell)| cell))
    });
    let kept: Vec<usize> = (0..head.len()).filter(keep).collect();
    let table = Table::new(cells, kept.iter().map(|column| widths[*column]))
        .header(Cells::new(kept.iter().map(|column| head[*column])).style(BOLD))
        .row_highlight_style(if is_chosen { CHOSEN } else { Style::new() })
        .block(Block::new().title(title));
    let mut at = TableState::default();
    if !rows.is_empty() {
        at.select(Some(state.selected(panel)));
    }
    frame.render_stateful_widget(table, area, &mut at);
}

fn cells(row: &Row<'_>, now: u64, ink: Ink) -> Vec<Cell<'static>> {
    let text = |text: &str| Cell::new(one_line(text));
    let some = |value: &Option<String>| text(value.as_deref().unwrap_or("-"));
    match row {
        Row::Agent(agent) => {
            let task = agent.task.as_deref().unwrap_or_default();
            let attempt = agent.attempt.map(|number| format!("/{number}")).unwrap_or_default();
            let since = agent.since.map(|since| age(now.saturating_sub(since.0))).unwrap_or_default();
            let [stage, host] = [&agent.stage, &agent.host].map(some);
            vec![text(&agent.name), text(&format!("{task}{attempt}")), stage, host, text(&since)]
        }
        Row::Task(task, name) => vec![
            text(name),
            text(&task.status).style(ink.status(&task.status)),
            text(&task.priority),
            text(task.role.as_deref().unwrap_or("a person")),
            text(&task.title),
        ],
        Row::Person(waiting) => {
            let status = waiting.status.as_deref().unwrap_or("-");
            vec![
                text(waiting.task.as_ref().unwrap_or(&waiting.project)),
                text(status).style(ink.status(status)),
                text(&waiting.why),
                text(&waiting.command),
            ]
        }
        Row::Host(host) => {
            let drained = if host.drain.is_some() { " drained" } else { "" };
            let style = if host.up { Style::new() } else { ink.of(Color::Yellow) };
            vec![
                text(&host.name),
                text(&format!("{}{drained}", host.presence)).style(style),
                text(&host.used.to_string()),
                text(&host.free.to_string()),
                some(&host.setup.runtime),
            ]
        }
    }
}

fn draw_detail(frame: &mut Frame<'_>, area: Rect, detail: &Detail, now: u64, ink: Ink) {
    let mut lines = Vec::new();
    let title = match &detail.page {
        None => detail.name.clone(),
        Some(page) => format!("{}  {}", detail.name, page.task.title),
    };
    lines.push(Line::styled(one_line(&title), BOLD));
    if let Some(page) = &detail.page {
        let newest = page.attempt_list.last();
        let mut line = vec![Span::styled(page.task.status.clone(), ink.status(&page.task.status))];
        let running = newest.filter(|attempt| attempt.outcome.is_none());
        line.push(Span::raw(match (running, newest) {
            (Some(attempt), _) => format!(
                "  attempt {} by {} on {} for {}",
                attempt.number,
                one_line(&attempt.agent),
                one_line(&attempt.host),
                age(now.saturating_sub(attempt.started_at.0))
            ),
            (None, Some(attempt)) => {
                let outcome = attempt.outcome.as_deref().unwrap_or_default();
                format!("  attempt {}: {}", attempt.number, one_line(outcome))
            }
            (None, None) => "  not started".to_owned(),
        }));
        lines.push(Line::from(line));
        lines.push(Line::from(one_line(&detail.explanation)));
    }
    if let Some(why) = &detail.missing {
        lines.push(Line::styled(one_line(why), ink.of(Color::Yellow)));
    }
    // The explanation may need several lines of the screen.
    let widths = lines.iter().map(|line| (line.width() as u16).div_ceil(area.width.max(1)).max(1));
    let height = widths.sum::<u16>().min(area.height / 2);
    let [top, bottom] = Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(area);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), top);
    let back = if detail.back > 0 { format!(", {} lines back", detail.back) } else { String::new() };
    let block = Block::new().title(Line::styled(format!("log{back}"), DIM));
    let room = usize::from(bottom.height.saturating_sub(1));
    let end = detail.log.len().saturating_sub(detail.back);
    let shown = detail.log.range(end.saturating_sub(room)..end).map(|line| Line::from(one_line(line)));
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()).block(block), bottom);
}

const HELP: [(&str, &str); 9] = [
    ("tab, ←→", "next table"),
    ("↑↓, j k", "move, or scroll a log"),
    ("g G", "first, last"),
    ("enter", "a task's page and log"),
    ("/", "show only rows with these words"),
    ("s", "stop the attempt, after a question"),
    ("r", "retry the task"),
    ("esc", "back; clear the filter"),
    ("q, ctrl-c", "quit"),
];

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (area.width.min(50), area.height.min(HELP.len() as u16 + 2));
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    let lines = HELP.map(|(key, what)| Line::from(vec![Span::styled(format!(" {key:<10} "), BOLD), Span::raw(what)]));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title("keys")), place);
}

/// `7s`, `12m`, `3h05`, `2d`.
fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Text on one line, without terminal sequences.
fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}
