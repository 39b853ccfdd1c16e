//! The pages that show plans, attempts, hosts, merges and the history: what is on them, what may be asked for, and that
//! nothing a task says becomes more than text.

use devstack_dag::command::{Command, HostReport, Quarantine};

use crate::client::{Answer, Api};

const DIAMOND: &str = "[[task]]\nid = \"a\"\ntitle = \"First\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n\
                       [[task]]\nid = \"c\"\ndependencies = [\"a\"]\nrole = \"slow\"\ntitle = \"c\"\n\
                       [[task]]\nid = \"d\"\ndependencies = [\"a\", \"b\", \"c\"]\ntitle = \"d\"\n[[task]]\nid = \"alone\"\nrole = \"bad\"\ntitle = \"alone\"\n";

fn html(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.kind.as_str()), (200, "text/html; charset=utf-8"), "{}", answer.text());
    let text = answer.text();
    // What the frame brings is the frame's.
    let (_, main) = text.split_once("<main").expect("a page has a main part");
    main.split_once("</main>").expect("it ends").0.to_owned()
}

#[tokio::test]
async fn a_graph_has_a_box_for_each_task_and_no_arrow_that_follows_from_others() {
    let api = Api::start(2);
    api.plan(DIAMOND).await;
    let page = html(&api.get("/dag").await);
    for (id, class) in
        [("a", "n-completed"), ("b", "n-completed"), ("c", "n-wip"), ("d", "n-todo"), ("alone", "n-blocked")]
    {
        let link = format!("class=\"node {class}\" href=\"/tasks/shop/{id}\"");
        assert_eq!(page.matches(&link).count(), 1, "{link} in {page}");
    }
    assert!(page.contains("5 tasks · 4 arrows") && page.contains("1 arrows implied by others"), "{page}");
}

#[tokio::test]
async fn a_graph_is_folded_focused_and_cut_down_by_its_address() {
    let api = Api::start(2);
    api.plan(DIAMOND).await;
    let folded = html(&api.get("/dag?project=shop&fold=completed").await);
    assert!(folded.contains("5 tasks in 4 boxes") && folded.contains(">2 tasks<"), "{folded}");
    assert!(folded.contains("/dag?project=shop&amp;fold=completed&amp;open=a"), "the box opens");
    let opened = html(&api.get("/dag?project=shop&fold=completed&open=a").await);
    assert!(opened.contains("5 tasks ·"), "{opened}");
    let focused = html(&api.get("/dag?project=shop&focus=c").await);
    assert!(
        focused.contains("n-wip focus\"") && focused.contains("n-completed dim\"") && focused.contains("n-todo lit\"")
    );
    let only = html(&api.get("/dag?project=shop&focus=c&only=1").await);
    assert!(only.contains("3 tasks ·") && !only.contains("/tasks/shop/alone"), "{only}");
    let fit = html(&api.get("/dag?project=shop&zoom=fit").await);
    assert!(fit.contains("canvas fit"));
    for (wrong, status) in
        [("project=none", 404), ("project=%3Cb%3E", 400), ("fold=x", 400), ("zoom=9999", 400), ("focus=a%22b", 400)]
    {
        assert_eq!(api.get(&format!("/dag?{wrong}")).await.status, status, "{wrong}");
    }
    assert_eq!(api.get("/dag?project=shop&focus=zz&only=1").await.status, 404);
    assert!(html(&api.get("/dag?project=shop&focus=zz").await).contains("Task zz is not in this graph"));
}

#[tokio::test]
async fn hostile_titles_are_text_on_every_page() {
    let api = Api::start(2);
    let hostile =
        "[[task]]\nid = \"x\"\nrole = \"slow\"\ntitle = '</title><script>alert(1)</script><img src=x onerror=y>\"'\n";
    assert_eq!(api.plan(hostile).await.status, 200);
    for page in
        ["/dag", "/gantt", "/hosts", "/merges", "/facts", "/facts?text=%3Cscript%3E", "/facts?kind=%22%3E%3Cimg"]
    {
        let page = html(&api.get(page).await);
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }
}

#[tokio::test]
async fn the_timeline_has_a_bar_for_each_attempt() {
    let api = Api::start(2);
    api.plan(DIAMOND).await;
    let page = html(&api.get("/gantt").await);
    assert!(page.contains("4 attempts by 3 agents"), "{page}");
    assert!(page.contains("class=\"bar running\"") && page.contains("class=\"now\""), "{page}");
    assert!(page.contains("shop/alone/1 (work) by bad1 on one: failed"), "{page}");
    assert!(html(&api.get("/gantt?hours=24&project=shop").await).contains("4 attempts"));
    assert_eq!(api.get("/gantt?hours=0").await.status, 400);
    assert_eq!(api.get("/gantt?project=none").await.status, 404);
    assert!(html(&Api::start(2).get("/gantt").await).contains("No attempts ran"));
}

#[tokio::test]
async fn hosts_show_room_attempts_and_what_they_are() {
    let api = Api::start(2);
    let quarantine = Some(Quarantine { slots: 1, why: "the <engine> is gone".into() });
    let host = HostReport::new("two".parse().unwrap(), 3);
    // First the plan: the fake's attempts end on `one` only.
    api.plan(DIAMOND).await;
    api.fake.tell(Command::ReportHost(HostReport { quarantine, ..host }));
    api.post("/v1/hosts/two/drain", "{}").await;
    let page = html(&api.get("/hosts").await);
    assert!(page.contains("2 hosts · 1 of 5 slots in use"), "{page}");
    assert!(page.contains("1 slot unusable: the &#60;engine&#62; is gone"), "{page}");
    assert!(page.contains("/hosts/two/act/undrain") && page.contains("/hosts/one/act/drain"));
    assert!(page.contains("gpu=a100") && page.contains("10.9.0.0/24") && page.contains("/tasks/shop/c"));
    assert!(page.contains("1 of 200 ports") && page.contains("unsandboxed"));
}

#[tokio::test]
async fn merges_say_what_there_is_to_merge() {
    let api = Api::start(2);
    assert!(html(&api.get("/merges").await).contains("No project has a repository"));
    let body = crate::client::plan("[[task]]\nid = \"a\"\ntitle = \"a\"\n")
        .replace("name = \"shop\"", "name = \"shop\"\nrepo = \"/src/shop\"");
    assert_eq!(api.post("/v1/plans", body).await.status, 200);
    let page = html(&api.get("/merges").await);
    assert!(page.contains("/merges?project=shop") && page.contains("Nothing has been merged yet"), "{page}");
    assert_eq!(api.get("/merges?project=none").await.status, 404);
}

#[tokio::test]
async fn facts_are_found_by_project_task_kind_and_text() {
    let api = Api::start(2);
    api.plan(DIAMOND).await;
    let count = |page: &str| page.matches("<li id=\"f-").count();
    let all = html(&api.get("/facts").await);
    assert!(count(&all) > 10 && all.contains("Older facts are not kept"), "{all}");
    let place = |what: &str| all.find(&format!(">{what}<")).unwrap_or_else(|| panic!("{what} in {all}"));
    assert!(place("attempt-ended") < place("plan-submitted"), "the newest stand first");
    let of_task = html(&api.get("/facts?task=shop%2Falone&kind=attempt-started").await);
    assert_eq!(count(&of_task), 1, "{of_task}");
    assert_eq!(count(&html(&api.get("/facts?text=HOST+ONE+REPORTED").await)), 1);
    let before = html(&api.get("/facts?before=2").await);
    assert_eq!(count(&before), 1);
    assert!(html(&api.get("/facts?task=none").await).contains("No matches in the"));
    assert_eq!(api.get("/facts?task=%3Cb%3E").await.status, 400);
}
