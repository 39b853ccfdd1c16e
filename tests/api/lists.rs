//! Lists: pages that join to the whole, filters, tags that change with what they stand for.

use devstack_dag::command::{Command, HostReport};
use devstack_dag::ids::HostName;
use serde_json::{Value, json};

use crate::client::Api;

async fn many() -> Api {
    let api = Api::start(2);
    let tasks: String = (0..5).map(|n| format!("[[task]]\nid = \"t{n}\"\ntitle = \"Task {n} of Five\"\n")).collect();
    api.plan(&format!(
        "{tasks}[[task]]\nid = \"slow\"\nrole = \"slow\"\npriority = \"low\"\ntitle = \"slow\"\n[[task]]\nid = \"bad\"\nrole = \"bad\"\ntitle = \"bad\"\n"
    ))
    .await;
    for name in ["two", "three"] {
        let host = HostReport::new(HostName::new(name).unwrap(), 1);
        api.fake.tell(Command::ReportHost(host));
    }
    api
}

/// The names of a list's entries.
fn names(body: &Value, list: &str) -> Vec<String> {
    let name = |entry: &Value| {
        let key = ["id", "name", "seq", "number", "task"].iter().find(|key| !entry[**key].is_null()).unwrap();
        entry[*key].to_string().trim_matches('"').to_owned()
    };
    body[list].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn pages_of_every_list_join_to_the_whole() {
    let api = many().await;
    for _ in 0..3 {
        api.plan("[[task]]\nid = \"t0\"\ntitle = \"Task 0 of Five\"\n").await;
    }
    for (path, list) in [
        ("/v1/tasks", "tasks"),
        ("/v1/hosts", "hosts"),
        ("/v1/agents", "agents"),
        ("/v1/projects", "projects"),
        ("/v1/plans", "plans"),
        ("/v1/merges", "merges"),
    ] {
        let whole = names(&api.get(path).await.json(), list);
        let (mut joined, mut next) = (Vec::new(), String::new());
        loop {
            let body = api.get(&format!("{path}?limit=2{next}")).await.json();
            let page = names(&body, list);
            assert!(page.len() <= 2, "{path}: {page:?}");
            joined.extend(page);
            let Some(after) = body["next"].as_str() else { break };
            next = format!("&after={after}");
        }
        assert_eq!(joined, whole, "{path}");
        for wrong in ["limit=0", "limit=10001", "limit=x", "after=a%20b/c%20d"] {
            assert_eq!(api.get(&format!("{path}?{wrong}")).await.error(), (400, "DS0301".into()), "{path}?{wrong}");
        }
    }
}

#[tokio::test]
async fn the_history_comes_in_pages_too() {
    let api = many().await;
    let page = async |query: &str| api.get_accepting(&format!("/v1/facts?{query}"), "application/json").await;
    let whole = page("").await.json();
    let seqs = names(&whole, "facts");
    assert_eq!(seqs, (1..=seqs.len()).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!((&whole["next"], &whole["through"]), (&Value::Null, &whole["last"]));
    let (mut joined, mut after) = (Vec::new(), 0);
    loop {
        let body = page(&format!("limit=3&after={after}")).await.json();
        joined.extend(names(&body, "facts"));
        after = body["through"].as_u64().unwrap();
        if body["next"].is_null() {
            break;
        }
    }
    assert_eq!(joined, seqs);
    let kinds = page("kind=attempt-started,attempt-ended&task=t1").await.json();
    let all: Vec<&Value> = kinds["facts"].as_array().unwrap().iter().map(|fact| &fact["kind"]).collect();
    assert_eq!(all, ["attempt-started", "attempt-ended"]);
    assert_eq!(kinds["through"], kinds["last"], "what is filtered out was looked at");
    assert_eq!(names(&page("project=other").await.json(), "facts"), Vec::<String>::new());
    assert_eq!(page("after=100000").await.error(), (410, "DS0305".into()));
    api.fake.prune();
    assert_eq!(page("after=0").await.error(), (410, "DS0305".into()));
    let rest = page("").await.json();
    assert_eq!((names(&rest, "facts").len(), &rest["through"], &rest["next"]), (0, &rest["last"], &Value::Null));
}

#[tokio::test]
async fn filters_let_through_what_they_name() {
    let api = many().await;
    for (path, list, wanted) in [
        ("/v1/tasks?role=slow", "tasks", &["slow"][..]),
        ("/v1/tasks?role=dev&text=task%203", "tasks", &["t3"]),
        ("/v1/tasks?text=OF%20FIVE&status=COMPLETED&limit=10", "tasks", &["t0", "t1", "t2", "t3", "t4"]),
        ("/v1/tasks?host=one", "tasks", &["slow"]),
        ("/v1/tasks?agent=bad1", "tasks", &["bad"]),
        ("/v1/tasks?priority=low", "tasks", &["slow"]),
        ("/v1/tasks?kind=resolve", "tasks", &[]),
        ("/v1/tasks?executor=human", "tasks", &[]),
        ("/v1/tasks?blocked_reason=attempts-exhausted", "tasks", &["bad"]),
        ("/v1/agents?busy=true", "agents", &["slow1"]),
        ("/v1/agents?role=bad", "agents", &["bad1"]),
        ("/v1/agents?host=one", "agents", &["slow1"]),
        ("/v1/agents?project=other", "agents", &[]),
        ("/v1/hosts?label=gpu", "hosts", &["one"]),
        ("/v1/hosts?label=gpu=a100", "hosts", &["one"]),
        ("/v1/hosts?label=gpu=h100", "hosts", &[]),
        ("/v1/hosts?presence=lost", "hosts", &[]),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(names(&answer.json(), list), wanted, "{path}");
    }
    for wrong in ["tasks?kind=x", "tasks?priority=urgent", "tasks?executor=me", "hosts?presence=away", "agents?busy=2"]
    {
        assert_eq!(api.get(&format!("/v1/{wrong}")).await.error(), (400, "DS0301".into()), "{wrong}");
    }
}

#[tokio::test]
async fn a_tag_is_right_until_something_changes() {
    let api = many().await;
    let paths = [
        "/v1/status",
        "/v1/tasks",
        "/v1/tasks/shop/t1",
        "/v1/projects",
        "/v1/projects/shop",
        "/v1/plans",
        "/v1/merges",
        "/v1/agents",
        "/v1/hosts",
        "/v1/hosts/one",
    ];
    let mut tags = Vec::new();
    for path in paths {
        let first = api.get(path).await;
        let tag = first.tag.clone().unwrap_or_else(|| panic!("{path} has no tag"));
        for _ in 0..2 {
            let again = api.get_with(path, "if-none-match", &tag).await;
            assert_eq!((again.status, again.body.len(), again.tag.as_ref()), (304, 0, Some(&tag)), "{path}");
        }
        tags.push(tag);
    }
    // It frees a slot of the host, completes a task, and is a fact.
    api.fake.finish("shop/slow", 0);
    for (path, tag) in paths.into_iter().zip(tags) {
        let now = api.get_with(path, "if-none-match", &tag).await;
        assert_eq!(now.status, 200, "{path}");
        assert_ne!(now.tag, Some(tag), "{path}");
        assert_eq!(now.json()["apiVersion"], json!("v1"));
    }
    let refused = api.get("/v1/tasks/shop/none").await;
    assert_eq!((refused.status, refused.tag), (404, None), "a refusal has no tag");
}
