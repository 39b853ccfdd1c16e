//! How pages look: light and dark, on a desk and a phone; readable, and to be used without a mouse.

use crate::{
    bench::{Plan, World, human, task},
    chromium::{Chromium, DESK, Options, PHONE},
    desk::Desk,
};

/// The least contrast of text that can be read (WCAG AA), computed from what the browser would paint: each text's
/// colour against the nearest backgrounds behind it. Gives what is below it.
const PALE: &str = r#"
const parse = (text) => { const n = (text.match(/[\d.]+/g) ?? []).map(Number); return text.startsWith("color(srgb") ? [n[0]*255, n[1]*255, n[2]*255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const behind = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color[3] > 0) layers.push(color);
    if (color[3] === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
};
const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const pale = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
  if (node.closest("[disabled], script, style, option, [aria-hidden=true]")) continue;
  const style = getComputedStyle(node);
  const ground = behind(node);
  const ink = node.closest("svg") ? parse(style.fill) : parse(style.color);
  const [a, b] = [light(over(ink, ground)), light(ground)].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize), big = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < (big ? 3 : 4.5)) pale.add(`${ratio.toFixed(2)} ${node.tagName}.${node.getAttribute("class")}: ${walker.currentNode.data.trim().slice(0, 40)}`);
}
return [...pale];
"#;

/// How far the page can be pushed sideways, and what sticks out.
const SIDEWAYS: &str = r#"
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide <= 0) return [];
const clipped = (node) => { for (let at = node.parentElement; at; at = at.parentElement) if (getComputedStyle(at).overflowX !== "visible") return true; return false; };
const out = [...document.body.querySelectorAll("*")].filter((node) => node.getBoundingClientRect().right > innerWidth + 1 && !clipped(node));
return [`${wide} px`, ...out.slice(0, 5).map((node) => `${node.tagName}#${node.id}.${node.getAttribute("class")}`)];
"#;

fn plan(world: &World) -> Plan {
    let change =
        |word: &str, gate: &str| format!("echo changing; sed -i 's/^5$/{word}/' numbers; {}", world.wait_at(gate));
    let long = "title = \"Bring the whole of the warehouse's stock-taking-and-reordering subsystem up to date\"\n";
    Plan::new([
        task("ONE", &change("five", "one")).with(long),
        task("TWO", &change("cinq", "two")).with("priority = \"high\"\n"),
        task("FAILS", "echo what went wrong >&2; exit 3").after(&["ONE"]),
        task("RUNS", &world.wait_at("never")).after(&["ONE"]),
        task("LATER", "true").after(&["RUNS", "FAILS"]),
        human("PERSON"),
    ])
}

/// A desk with something in every corner.
async fn busy() -> Option<Desk> {
    let desk = Desk::open(Options::default(), plan).await?;
    for gate in ["one", "two"] {
        desk.world.until_there(gate);
    }
    desk.world.open_gate("one");
    desk.until("ONE", "COMPLETED");
    desk.world.open_gate("two");
    desk.until("TWO", "BLOCKED");
    desk.until("FAILS", "BLOCKED");
    desk.world.until_there("never");
    Some(desk)
}

fn name_of(path: &str) -> String {
    let name = path.trim_matches('/').replace('/', "-");
    if name.is_empty() { "overview".to_owned() } else { name.replace("tasks-shop", "task") }
}

async fn none_of(page: &Chromium, script: &str, what: &str) {
    let found = page.js(script).await;
    assert!(found.as_array().unwrap().is_empty(), "{what}: {found:#}");
}

#[tokio::test]
async fn every_page_is_readable_in_both_schemes_and_fits_a_phone() {
    let Some(desk) = busy().await else { return };
    let page = &desk.chromium;
    for path in
        desk.pages(&["RUNS", "RUNS/act/stop", "TWO", "TWO/diff", "TWO/conflict", "FAILS", "FAILS/act/retry"]).await
    {
        let name = name_of(&path);
        for scheme in ["light", "dark"] {
            page.scheme(scheme).await;
            page.width(DESK).await;
            page.visit(&path).await;
            page.find("main h1").await;
            page.picture(&format!("{name}-{scheme}")).await;
            none_of(page, PALE, &format!("{path}, {scheme}: too pale")).await;
            none_of(page, SIDEWAYS, &format!("{path}: wider than a window")).await;
            page.width(PHONE).await;
            page.visit(&path).await;
            page.find("main h1").await;
            none_of(page, SIDEWAYS, &format!("{path}: wider than a phone")).await;
            if scheme == "light" {
                page.picture(&format!("{name}-360")).await;
            }
        }
        desk.assert_quiet().await;
    }
}

#[tokio::test]
async fn pages_are_used_without_a_mouse() {
    let Some(desk) = busy().await else { return };
    let page = &desk.chromium;
    page.visit("/").await;
    page.key("\u{e004}").await;
    let focused = "return document.activeElement.getAttribute('href')";
    assert_eq!(page.js(focused).await, "#main", "the first stop skips what every page has");

    page.key("g").await;
    page.key("b").await;
    page.until("g b leads to the board", async || page.url().await.path() == "/board").await;
    page.find("main [data-entry]").await;
    page.key("j").await;
    let first = page.js(focused).await;
    assert!(first.as_str().unwrap().starts_with("/tasks/shop/"), "{first}");
    page.key("j").await;
    assert_ne!(page.js(focused).await, first);
    page.key("k").await;
    assert_eq!(page.js(focused).await, first);
    // Whoever comes by keys sees where they are.
    assert_ne!(page.js("return getComputedStyle(document.activeElement).outlineStyle").await, "none");
    page.key("\u{e007}").await;
    page.until("Enter opens it", async || page.url().await.path() == first.as_str().unwrap()).await;

    page.key("?").await;
    page.find("dialog#help[open]").await;
    page.key("\u{e00c}").await;
    page.until("Esc closes it", async || page.all("dialog#help[open]").await.is_empty()).await;
    // Every control can be reached and has a name.
    let nameless = "return [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, summary')] \
                    .filter(e => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)";
    for path in desk.pages(&["RUNS", "TWO", "TWO/conflict", "FAILS/act/retry"]).await {
        page.visit(&path).await;
        page.find("main h1").await;
        none_of(page, nameless, &format!("{path}: controls without a name")).await;
        none_of(
            page,
            "return [...document.querySelectorAll('[tabindex]')].filter(e => e.tabIndex > 0).map(e => e.outerHTML)",
            &path,
        )
        .await;
    }
}
