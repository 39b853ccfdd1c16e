//! What agents and plans write is shown as it is, and does nothing: no element, no script, no request, no dialog.

use crate::{
    bench::{Plan, World, task, toml_text},
    chromium::Options,
    desk::Desk,
};

/// Runs if it is taken for HTML; the mark says that it ran even where a dialog would not be shown.
fn payload(name: &str) -> String {
    format!(
        "{name}'\"></pre></title></textarea><script>window.ran='{name}'</script><img src=x onerror=\"window.ran='{name}';alert('{name}')\">"
    )
}

/// The same for names of files, which have no slash.
fn file_name(name: &str) -> String {
    format!("<img src=x onerror=alert({name})>")
}

fn plan(world: &World) -> Plan {
    let file = file_name("1");
    let side = |word: &str, gate: &str| {
        let log = payload("log").replace('\'', "'\\''");
        let text = payload(word).replace('\'', "'\\''");
        format!(
            "printf '%s\\n' '{log}'; printf '\\033[31m\\033]0;title\\007\\r\\0 \\342\\200\\256 odd\\n'; printf '%s\\n' '{text}' > '{file}'; \
             printf '{{\"summary\": \"<script>window.ran=1</script>\"}}' > \"$DEVSTACK_OUT/result.json\"; {}",
            world.wait_at(gate)
        )
    };
    let text = |name: &str| {
        format!("title = {}\nprompt = {}\n", toml_text(&payload(name)), toml_text(&payload(&format!("{name} prompt"))))
    };
    Plan::new([
        task("ONE", &side("ours", "one")).with(&text("title one")),
        task("TWO", &side("theirs", "two")).with(&text("title two")),
    ])
    .project("integration = \"x\\\"><img/src=x/onerror=alert(2)>\"")
}

#[tokio::test]
async fn hostile_text_does_nothing_on_any_page() {
    let Some(desk) = Desk::open(Options::default(), plan).await else { return };
    let (world, page) = (&desk.world, &desk.chromium);
    for gate in ["one", "two"] {
        world.until_there(gate);
    }
    world.open_gate("one");
    desk.until("ONE", "COMPLETED");
    world.open_gate("two");
    desk.until("TWO", "BLOCKED");
    let of_tasks =
        ["ONE", "ONE/diff", "ONE/act/reject", "TWO", "TWO/diff", "TWO/conflict", "TWO/act/retry", "TWO-resolve-1"];
    for path in desk.pages(&of_tasks).await {
        page.visit(&path).await;
        page.find("main h1").await;
        // Also after the module has brought the page up to date.
        page.js("return new Promise(done => setTimeout(done, 200))").await;
        assert!(page.js("return window.ran ?? null").await.is_null(), "{path}");
        let made = "return document.querySelectorAll('img, iframe, object, embed, [onerror], script:not([src^=\"/assets/\"])').length";
        assert_eq!(page.js(made).await, 0, "{path}");
        desk.assert_quiet().await;
    }
    // It was there to be shown.
    page.visit("/tasks/shop/ONE").await;
    let text = page.text().await;
    for said in ["title one'\">", "title one prompt'\">", "log'\"></pre>"] {
        assert!(text.contains(said), "`{said}` is not in:\n{text}");
    }
    page.visit("/tasks/shop/ONE/diff").await;
    page.until_says(&file_name("1")).await;
}
