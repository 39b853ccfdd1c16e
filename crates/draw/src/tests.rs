//! Properties of every drawing, and proof that hostile tasks cannot harm one.

use devstack_dag::{attempt::Stage, record::Status};
use proptest::prelude::*;

use super::{
    dag::{self, Fold, LIMITS, Options, Task},
    gantt::{self, Span, State},
    layers::{Digraph, Layout, Limits, Measures, TooLarge, layout},
};

const MEASURES: Measures =
    Measures { node_width: 100.0, node_height: 40.0, column_gap: 50.0, row_gap: 10.0, width: 800.0 };

fn task(number: usize, dependencies: &[usize], status: Status) -> Task {
    let id = |number: usize| format!("T-{number:03}");
    let dependencies = dependencies.iter().map(|&from| id(from)).collect();
    Task { id: id(number), title: format!("Task {number}"), status, dependencies }
}

/// Any graph whose edges lead to higher numbers.
fn graphs() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (1..40_usize).prop_flat_map(|nodes| {
        let edge = (0..nodes as u32, 0..nodes as u32).prop_map(|(a, b)| (a.min(b), a.max(b)));
        (Just(nodes), proptest::collection::vec(edge, 0..nodes * 2))
    })
}

fn boxes_are_apart(layout: &Layout) -> bool {
    let mut corners = layout.nodes.clone();
    corners.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    (0..corners.len()).all(|i| {
        let (x, y) = corners[i];
        let near = corners[i + 1..].iter().take_while(|other| other.0 < x + MEASURES.node_width);
        near.clone().all(|other| (other.1 - y).abs() >= MEASURES.node_height)
    })
}

/// Between its ends a route crosses columns, where it must not touch their boxes.
fn routes_pass_boxes(layout: &Layout) -> bool {
    layout.routes.iter().all(|route| {
        route.points[1..route.points.len() - 1].chunks_exact(2).all(|inside| {
            let (left, y) = inside[0];
            layout.nodes.iter().all(|&(x, top)| (x - left).abs() > 1.0 || y < top || y > top + MEASURES.node_height)
        })
    })
}

proptest! {
    #[test]
    fn nothing_overlaps_and_every_edge_leads_to_the_right((nodes, edges) in graphs()) {
        let graph = Digraph::new(nodes, edges);
        let drawn = layout(&graph, &MEASURES, &LIMITS).unwrap();
        prop_assert!(boxes_are_apart(&drawn));
        prop_assert!(routes_pass_boxes(&drawn));
        prop_assert_eq!(drawn.routes.len(), graph.edges().count());
        for route in &drawn.routes {
            let (from, to) = (drawn.nodes[route.from as usize], drawn.nodes[route.to as usize]);
            prop_assert_eq!(route.points[0].0, from.0 + MEASURES.node_width);
            prop_assert_eq!(route.points.last().unwrap().0, to.0);
            prop_assert!(route.points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        for &(x, y) in &drawn.nodes {
            prop_assert!(x >= 0.0 && y >= 0.0);
            prop_assert!(x + MEASURES.node_width <= drawn.width && y + MEASURES.node_height <= drawn.height + 0.01);
        }
        prop_assert_eq!(&layout(&graph, &MEASURES, &LIMITS).unwrap(), &drawn);
    }

    #[test]
    fn reduction_loses_no_way((nodes, edges) in graphs()) {
        let graph = Digraph::new(nodes, edges);
        let reduced = graph.clone().reduced();
        prop_assert!(reduced.edges().count() <= graph.edges().count());
        for node in 0..nodes as u32 {
            prop_assert_eq!(graph.path(node), reduced.path(node));
        }
        prop_assert_eq!(&reduced.clone().reduced(), &reduced);
    }

    #[test]
    fn every_task_is_in_the_picture((nodes, edges) in graphs(), statuses in proptest::collection::vec(0..8_usize, 40)) {
        let mut dependencies = vec![Vec::new(); nodes];
        edges.iter().filter(|(a, b)| a != b).for_each(|&(a, b)| dependencies[b as usize].push(a as usize));
        let tasks: Vec<Task> =
            (0..nodes).map(|at| task(at, &dependencies[at], Status::ALL[statuses[at]])).collect();
        for fold in Fold::ALL {
            let picture = dag::draw(&tasks, &Options { fold, ..Options::default() }).unwrap();
            prop_assert_eq!(picture.tasks, nodes);
            prop_assert_eq!(picture.svg.matches("<title>").count(), picture.nodes);
            prop_assert!(picture.nodes <= nodes);
let drawn = picture.svg.split_once("</defs>").unwrap().1;
            prop_assert_eq!(drawn.matches("<path d=\"M").count(), picture.edges);
        }
    }

    #[test]
    fn whatever_the_texts_are_the_picture_is_well_formed(id in ".{1,40}", title in any::<String>()) {
        let hostile = Task { id, title, status: Status::Wip, dependencies: Vec::new() };
        let links = dag::Links { task: &|id| format!("/t/{id}"), focus: &|id| id.to_owned(), open: &|id| id.to_owned() };
        let picture = dag::draw(&[hostile], &Options { links: Some(links), ..Options::default() }).unwrap();
        prop_assert!(well_formed(&picture.svg), "{}", picture.svg);
    }
}

/// Every element is closed, every attribute is quoted, and no other `<` occurs.
fn well_formed(svg: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let Some(end) = rest[at..].find('>') else { return false };
        let tag = &rest[at + 1..at + end];
        if tag.contains('<') || !tag.matches('"').count().is_multiple_of(2) {
            return false;
        }
        let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
        if !["svg", "defs", "marker", "g", "a", "title", "path", "circle", "rect", "use", "text", "pattern"]
            .contains(&name)
        {
            return false;
        }
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => return false,
            (false, false) => open.push(name),
            _ => {}
        }
        rest = &rest[at + end + 1..];
    }
    open.is_empty()
}

#[test]
fn hostile_titles_stay_text() {
    let mut hostile = task(1, &[], Status::Blocked);
    hostile.title = "</title></a><script>alert(1)</script>\" onload=\"x".into();
    let picture = dag::draw(&[hostile], &Options::default()).unwrap();
    assert!(!picture.svg.contains("<script") && !picture.svg.contains("onload=\""), "{}", picture.svg);
    assert!(well_formed(&picture.svg));
}

#[test]
fn a_focus_marks_the_way() {
    let tasks = [
        task(0, &[], Status::Completed),
        task(1, &[0], Status::Wip),
        task(2, &[1], Status::Todo),
        task(3, &[0], Status::Todo),
    ];
    let focused = Options { focus: Some("T-001"), ..Options::default() };
    let svg = dag::draw(&tasks, &focused).unwrap().svg;
    for class in ["n-completed lit\"", "n-wip focus\" id=\"focus\"", "n-todo lit\"", "n-todo dim\""] {
        assert_eq!(svg.matches(class).count(), 1, "{class}: {svg}");
    }
    let only = dag::draw(&tasks, &Options { only: true, ..focused }).unwrap();
    assert_eq!((only.tasks, only.nodes), (3, 3));
    let unknown = dag::draw(&tasks, &Options { focus: Some("T-999"), ..Options::default() }).unwrap();
    assert!(!unknown.svg.contains(" dim\""));
}

#[test]
fn without_links_nothing_can_be_clicked() {
    let svg = dag::draw(&[task(0, &[], Status::Todo)], &Options::default()).unwrap().svg;
    assert!(!svg.contains("href=\"/") && !svg.contains("<a"));
}

/// `wide` tasks in two fully connected layers: no reduction makes this graph smaller.
fn dense(wide: usize) -> Vec<Task> {
    let all: Vec<usize> = (0..wide).collect();
    let status = |at: usize| Status::ALL[at % 8];
    let (first, second) = (0..wide, wide..2 * wide);
    first.map(|at| task(at, &[], status(at))).chain(second.map(|at| task(at, &all, status(at)))).collect()
}

#[test]
fn what_is_too_large_is_folded_or_refused() {
    let many: Vec<Task> = (0..5_000).map(|at| task(at, &[], Status::Todo)).collect();
    assert_eq!(dag::draw(&many, &Options::default()).unwrap().nodes, 1, "5,000 alike are one");
    let dense = dag::draw(&dense(200), &Options::default()).unwrap();
    assert_eq!((dense.fold, dense.nodes), (Fold::Similar, 16));
    let mixed: Vec<Task> = (0..4_000).map(|at| task(at, &[], Status::ALL[at % 8])).collect();
    let small = Limits { nodes: 5, ..LIMITS };
    assert_eq!(dag::draw(&mixed, &Options { limits: small, ..Options::default() }), Err(TooLarge));
}

fn span(agent: &str, task: &str, started: u64, ended: Option<u64>, state: State) -> Span {
    Span {
        host: "one".into(),
        project: "shop".into(),
        task: task.into(),
        number: 1,
        agent: agent.into(),
        stage: Stage::Work,
        state,
        outcome: ended.map(|_| "done".into()),
        started,
        ended,
    }
}

fn hour(now: u64) -> gantt::Options<'static> {
    gantt::Options { from: 0, until: 3_600_000, now, link: None, rows: 100 }
}

#[test]
fn bars_are_where_their_times_are() {
    let spans = [
        span("dev10", "T-2", 1_800_000, None, State::Running),
        span("dev2", "T-1", 0, Some(1_800_000), State::Done),
        span("dev2", "old", 4_000_000, Some(4_100_000), State::Done),
    ];
    let drawn = gantt::gantt(&spans, &hour(2_700_000));
    assert_eq!((drawn.rows, drawn.attempts), (2, 2));
    assert!(drawn.svg.contains(r#"<rect x="150" y="#) && drawn.svg.contains(r#"width="500""#), "{}", drawn.svg);
    assert!(drawn.svg.contains(r#"<rect x="650" y="#) && drawn.svg.contains(r#"width="250""#));
    assert!(drawn.svg.contains(r#"class="now" d="M900 "#));
    let names: Vec<_> = [">dev2<", ">dev10<"].map(|name| drawn.svg.find(name).unwrap()).to_vec();
    assert!(names.is_sorted(), "{names:?}");
    assert!(well_formed(&drawn.svg));
}

#[test]
fn short_attempts_become_one_bar_and_the_worst_is_seen() {
    let spans: Vec<Span> = (0..100_000)
        .map(|at| {
            span(
                "dev1",
                &format!("T-{at}"),
                at * 36,
                Some(at * 36 + 30),
                if at == 7 { State::Failed } else { State::Done },
            )
        })
        .collect();
    let drawn = gantt::gantt(&spans, &hour(3_600_000));
    assert_eq!(drawn.attempts, 100_000);
    assert!(drawn.svg.len() < 200_000, "{} bytes", drawn.svg.len());
    assert!(drawn.svg.contains("bar failed") && drawn.svg.contains("not all done"));
}

#[test]
fn attempts_at_once_stand_below_each_other_and_rows_are_bounded() {
    let both = [span("dev1", "A", 0, Some(2_000_000), State::Done), span("dev1", "B", 1_000_000, None, State::Unknown)];
    let drawn = gantt::gantt(&both, &hour(3_000_000));
    assert_eq!(drawn.svg.matches("<rect").count(), 2);
    assert_eq!(drawn.rows, 1);
    let many: Vec<Span> = (0..300).map(|at| span(&format!("dev{at}"), "A", 0, None, State::Running)).collect();
    let drawn = gantt::gantt(&many, &hour(1));
    assert_eq!((drawn.rows, drawn.left_out), (100, 200));
}
