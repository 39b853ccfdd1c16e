//! Without scripts everything can be read and done; a page is then loaded again by the person.

use crate::{
    bench::{Plan, human, task},
    chromium::Options,
    desk::Desk,
};

#[tokio::test]
async fn without_scripts_pages_are_read_and_actions_done() {
    let plan = |_: &crate::bench::World| Plan::new([task("A", "echo said by A; echo a > a.txt"), human("B")]);
    let Some(desk) = Desk::open(Options { scriptless: true, ..Options::default() }, plan).await else { return };
    let page = &desk.chromium;
    desk.until("A", "COMPLETED");
    for path in desk.pages(&["A", "A/diff", "A/act/reject", "B/act/reject"]).await {
        page.visit(&path).await;
        page.find("main h1").await;
    }
    page.visit("/tasks/shop/A").await;
    page.until_says("said by A").await;

    // A filter is a form with a button.
    page.visit("/tasks").await;
    page.find("main select[name=status] option:nth-of-type(2)").await.click().await.unwrap();
    page.press("main form button").await;
    let filtered = async || page.url().await.query().is_some_and(|query| query.contains("status=TODO"));
    page.until("the list is filtered", filtered).await;

    page.visit("/tasks/shop/B").await;
    page.press("main a[href$='/act/reject']").await;
    assert_eq!(page.url().await.path(), "/tasks/shop/B/act/reject", "the question has a page of its own");
    page.type_into("main [name=text]", "not needed").await;
    page.press("main form button").await;
    desk.until("B", "REJECTED");
    page.until_says("REJECTED").await;
    assert_eq!(page.url().await.path(), "/tasks/shop/B");
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}
