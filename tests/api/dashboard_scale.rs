//! How large the dashboard's pages are, and what they cost, with ten thousand tasks. Sizes are asserted; times are
//! printed, since a test's machine says nothing about them: `cargo test --release --test api ten_thousand --
//! --nocapture`.

use std::time::Instant;

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;

use crate::client::Api;

const TASKS: usize = 10_000;
const LARGEST: usize = 200_000;

async fn page(api: &Api, path: &str) -> String {
    let request = Request::get(path).header("accept", "text/html").body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    assert_eq!(answer.status(), 200, "{path}");
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn ten_thousand_tasks_fit_a_page() {
    // The worst mix: everything that fails waits for a person, and titles are as long as people make them.
    let api = Api::start(8);
    let task = |n: usize| {
        let role = ["dev", "bad", "dev", "slow"][n % 4];
        let title = format!("Task {n}: a title that somebody wrote when there was time to write one");
        format!("[[task]]\nid = \"T-{n:05}\"\ntitle = \"{title}\"\nrole = \"{role}\"\n")
    };
    let tasks: String = (0..TASKS).map(task).collect();
    assert_eq!(api.plan(&tasks).await.status, 200);
    for path in ["/", "/board", "/tasks", "/tasks?status=COMPLETED", "/tasks/shop/T-00000"] {
        page(&api, path).await;
        let start = Instant::now();
        let (rounds, mut size) = (10, 0);
        for _ in 0..rounds {
            size = page(&api, path).await.len();
        }
        let each = start.elapsed() / rounds;
        println!("{path}: {size} bytes, {:.2} ms", each.as_secs_f64() * 1e3);
        assert!(size <= LARGEST, "{path} has {size} bytes");
    }
}
