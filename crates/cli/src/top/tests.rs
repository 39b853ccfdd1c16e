//! Keys and events, and the resulting screens on terminals of several sizes.

use std::collections::BTreeMap;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::top::view;

const START: u64 = 1_767_225_600_000;

fn task(id: &str, status: &str) -> dto::Task {
    serde_json::from_value(serde_json::json!({
        "id": id, "project": "shop", "kind": "work", "title": format!("Title of {id}"), "status": status,
        "blocked_reason": null, "role": "dev", "executor": "agent", "agent": null, "host": null, "unknown": false,
        "attempts": 0, "priority": "medium", "dependencies": [], "resolves": null, "resolved_by": null, "branch": null,
        "commit": null, "merge_commit": null, "delivered_at": null, "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

fn agent(name: &str, task: Option<&str>) -> dto::Agent {
    let working = task.is_some();
    dto::Agent {
        name: name.into(),
        project: "shop".into(),
        role: "dev".into(),
        branch: None,
        host: working.then(|| "box1".into()),
        task: task.map(str::to_owned),
        attempt: working.then_some(2),
        stage: working.then(|| "work".into()),
        since: working.then_some(dto::Time(START - 65_000)),
    }
}

fn host(name: &str, presence: &str) -> dto::Host {
    dto::Host {
        name: name.into(),
        up: presence == "present",
        presence: presence.into(),
        since: None,
        drain: None,
        slots: 4,
        claimed: 4,
        pins: None,
        cut: vec![],
        owes: vec![],
        used: 1,
        free: 3,
        quarantine: None,
        secrets: vec![],
        setup: dto::Setup { runtime: Some("docker".into()), ..dto::Setup::default() },
    }
}

fn answer() -> Answer {
    let counts = [("TODO", 2), ("WIP", 1), ("COMPLETED", 7), ("BLOCKED", 1)];
    let overview = dto::Overview {
        api_version: dto::V1,
        tasks: counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect(),
        hosts: vec![host("box1", "present"), host("box2", "suspect")],
        hosts_by_presence: BTreeMap::from([("present".to_owned(), 1)]),
        slots: 8,
        running: 1,
        unknown: 1,
        waiting: vec![dto::Waiting {
            project: "shop".into(),
            task: Some("shop/T-9".into()),
            status: Some("BLOCKED".into()),
            blocked_reason: Some("needs-human".into()),
            why: "it came back\u{1b}[31m 5 times".into(),
            command: "devstack task retry shop/T-9".into(),
        }],
        deliveries: vec![],
        providers: vec![],
        usage: dto::Spent { cost_usd: Some(1.25), ..dto::Spent::default() },
    };
    let agents = vec![agent("dev1", Some("shop/T-1")), agent("dev2", None)];
    Answer { overview, agents, queue: vec![task("T-2", "TODO"), task("T-3", "APPROVED")], more: true }
}

fn state() -> State {
    let mut state = State::new(START, false);
    assert_eq!(state.take(Event::Answer(Box::new(answer())), START), []);
    state
}

fn press(state: &mut State, keys: &str) -> Vec<Act> {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\u{1b}' => KeyCode::Esc,
        '\u{8}' => KeyCode::Backspace,
        c => KeyCode::Char(c),
    };
    keys.chars().flat_map(|c| state.take(Event::Key(code(c), KeyModifiers::NONE), START)).collect()
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state, START + 30_000, false)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn it_looks_as_agreed_on_terminals_of_several_sizes() {
    let mut state = state();
    for (width, height) in [(120, 40), (80, 24), (60, 12), (30, 8), (20, 4)] {
        insta::assert_snapshot!(format!("{width}x{height}"), screen(&state, width, height));
    }
    press(&mut state, "\n");
    let page = serde_json::json!({
        "prompt": "", "reason": null, "held_back": null, "feedback": [], "attempt_list": [{
            "number": 2, "stage": "work", "agent": "dev1", "role": "dev", "host": "box1", "image": null, "outcome": null,
            "exit_code": null, "unknown": false, "message": null, "charged": false, "commit": null,
            "started_at": "2025-12-31T23:00:00Z", "ended_at": null, "usage": null,
        }],
    });
    let mut whole = serde_json::json!(task("T-1", "WIP"));
    whole.as_object_mut().unwrap().extend(page.as_object().unwrap().clone());
    let explanation = "Attempt 2 works since a while, and this sentence is longer than one line of the screen.";
    let detail = Detail::new("shop/T-1", serde_json::from_value(whole).unwrap(), explanation.into());
    state.take(Event::Detail(Box::new(detail)), START);
    let log = ["one", "two\u{1b}[2J", "three"].map(str::to_owned).to_vec();
    state.take(Event::Log("shop/T-1".into(), log), START);
    insta::assert_snapshot!("detail", screen(&state, 80, 24));
    press(&mut state, "q?");
    insta::assert_snapshot!("help", screen(&state, 80, 24));
}

#[test]
fn no_size_is_too_strange_to_be_drawn() {
    let mut state = state();
    for keys in ["", "\t", "\t", "\t", "/x", "\u{1b}\t\n", "qs", "n?"] {
        press(&mut state, keys);
        for (width, height) in (1..40).flat_map(|width| [1, 2, 3, 5, 6, 7, 9, 19, 20, 21].map(|height| (width, height)))
        {
            screen(&state, width, height);
        }
    }
}

#[test]
fn keys_choose_stop_and_retry_what_is_selected() {
    let mut state = state();
    assert_eq!(press(&mut state, "r"), [Act::Retry("shop/T-1".into())]);
    // Stopping asks first, and only `y` confirms.
    assert_eq!(press(&mut state, "sn"), []);
    assert_eq!(press(&mut state, "sy"), [Act::Stop("shop/T-1".into())]);
    assert_eq!(press(&mut state, "\tj\n"), [Act::Open("shop/T-3".into())]);
    assert_eq!(press(&mut state, "r"), [Act::Retry("shop/T-3".into())]);
    assert_eq!(press(&mut state, "q"), [Act::Close]);
    // People, then hosts: a host has no page to open.
    assert_eq!(press(&mut state, "\tjjjj\n"), [Act::Open("shop/T-9".into())]);
    assert_eq!(press(&mut state, "q\t\nsr"), [Act::Close]);
    assert_eq!((state.panel, state.mode), (Panel::Hosts, Mode::Normal));
    assert_eq!(press(&mut state, "\tq"), [Act::Quit]);
    let interrupt = Event::Key(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.take(interrupt, START), [Act::Quit]);
}

#[test]
fn a_filter_hides_and_selections_stay_within_what_is_left() {
    let mut state = state();
    press(&mut state, "\tj/t-2");
    assert_eq!((state.rows(Panel::Queue).len(), state.selected(Panel::Queue), state.mode), (1, 0, Mode::Filter));
    // While the filter is edited, letters are text and not commands.
    press(&mut state, "q\u{8}\n");
    assert_eq!((state.filter.as_str(), state.mode), ("t-2", Mode::Normal));
    assert_eq!(press(&mut state, "\n"), [Act::Open("shop/T-2".into())]);
    press(&mut state, "q\u{1b}");
    assert_eq!(state.rows(Panel::Queue).len(), 2);
    press(&mut state, "G");
    assert_eq!(state.selected(Panel::Queue), 1);
    // The selected row no longer exists.
    state.take(Event::Answer(Box::new(Answer { queue: vec![], ..answer() })), START);
    assert_eq!((state.selected(Panel::Queue), press(&mut state, "r")), (0, vec![]));
}

#[test]
fn nothing_is_asked_while_nothing_changes_and_once_a_second_while_it_does() {
    let mut state = state();
    for _ in 0..10 {
        assert_eq!(state.take(Event::Beat, START), []);
    }
    let fact = |seq| {
        let fact = serde_json::json!({
            "seq": seq, "at": "2026-01-01T00:00:00Z", "kind": "task-completed", "project": "shop", "task": "T-1",
            "attempt": null, "status": "COMPLETED", "message": "",
        });
        Event::Fact(Box::new(serde_json::from_value(fact).unwrap()))
    };
    for seq in 0..50 {
        assert_eq!(state.take(fact(seq), START + 20_000), []);
    }
    assert_eq!(state.take(Event::Beat, START + 20_000), [Act::Ask]);
    assert_eq!(state.take(Event::Beat, START + 21_000), []);
    assert_eq!(state.throughput(START + 5_000), None);
    assert_eq!(state.throughput(START + 60_000), Some(50.0));
    assert_eq!(state.throughput(START + 400_000), Some(0.0));
    // A node that does not answer is queried again, and the time without an answer is shown.
    state.take(Event::NoAnswer("gone".into()), START);
    assert_eq!(state.take(Event::Beat, START), [Act::Ask]);
    assert!(screen(&state, 80, 24).contains("no answer for 30s: gone"));
    state.take(Event::Answer(Box::new(answer())), START);
    assert!(!screen(&state, 80, 24).contains("no answer"));
}

#[test]
fn a_log_is_of_the_open_task_and_bounded() {
    let mut state = state();
    press(&mut state, "\n");
    state.take(Event::Log("shop/other".into(), vec!["no".into()]), START);
    for n in 0..2 * LOG_LINES {
        state.take(Event::Log("shop/T-1".into(), vec![n.to_string()]), START);
    }
    let detail = state.detail.as_ref().unwrap();
    assert_eq!((detail.log.len(), detail.log.front().unwrap().as_str()), (LOG_LINES, "500"));
    press(&mut state, "kkk");
    assert_eq!(state.detail.as_ref().unwrap().back, 3);
    press(&mut state, "G");
    assert_eq!(state.detail.as_ref().unwrap().back, 0);
}
