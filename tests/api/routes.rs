//! Every route: its answer's shape, its refusals, its limits.

use devstack::config::node::Limits;
use serde_json::{Value, json};

use crate::client::{Api, plan};

const TWO: &str = "[[task]]\nid = \"a\"\ntitle = \"First\"\nprompt = \"do\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n";
const STUCK: &str = "[[task]]\nid = \"a\"\nrole = \"bad\"\ntitle = \"a\"\n";
const SLOW: &str = "[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n";
const HUMAN: &str = "[[task]]\nid = \"a\"\nexecutor = \"human\"\ntitle = \"a\"\n";

#[tokio::test]
async fn a_plan_is_answered_with_its_counts_and_again_with_nothing_new() {
    let api = Api::start(2);
    let first = api.plan(TWO).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(
        first.json(),
        json!({"apiVersion": "v1", "project": "shop", "plan": 1, "added": 2, "updated": 0, "retried": 0, "unchanged": 0, "warnings": []})
    );
    let again = api.plan(TWO).await.json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn a_task_has_every_field_of_the_contract_and_null_is_never_absent() {
    let api = Api::start(2);
    api.plan(TWO).await;
    let body = api.get("/v1/tasks?project=shop").await.json();
    assert_eq!(body["apiVersion"], "v1");
    assert_eq!(body["next"], Value::Null);
    let fields: Vec<&str> = body["tasks"][0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = vec![
        "id",
        "project",
        "kind",
        "title",
        "status",
        "blocked_reason",
        "role",
        "executor",
        "agent",
        "host",
        "unknown",
        "attempts",
        "priority",
        "dependencies",
        "resolves",
        "resolved_by",
        "branch",
        "commit",
        "merge_commit",
        "delivered_at",
        "created_at",
        "updated_at",
    ];
    wanted.sort_unstable();
    assert_eq!(fields, wanted);
    let b = &body["tasks"][1];
    assert_eq!((&b["id"], &b["status"], &b["attempts"]), (&json!("b"), &json!("COMPLETED"), &json!(1)));
    assert_eq!((&b["dependencies"], &b["kind"], &b["executor"]), (&json!(["a"]), &json!("work"), &json!("agent")));
    assert_eq!(b["merge_commit"], Value::Null);
    assert!(
        b["created_at"].as_str().unwrap().starts_with("2026-01-01T00:00:00.")
            && b["created_at"].as_str().unwrap().ends_with('Z')
    );
}

#[tokio::test]
async fn a_task_page_adds_prompt_feedback_and_attempts() {
    let api = Api::start(1);
    api.plan(&format!("{STUCK}prompt = \"do it\"\n")).await;
    let task = api.get("/v1/tasks/shop/a").await.json()["task"].clone();
    assert_eq!(
        (&task["prompt"], &task["status"], &task["blocked_reason"]),
        (&json!("do it"), &json!("BLOCKED"), &json!("attempts-exhausted"))
    );
    assert!(task["reason"].is_string() && task["feedback"].is_array());
    let attempt = &task["attempt_list"][0];
    for key in ["number", "stage", "agent", "host", "outcome", "exit_code", "started_at", "ended_at", "usage"] {
        assert!(attempt.as_object().unwrap().contains_key(key), "{key}");
    }
    assert_eq!(
        (&attempt["outcome"], &attempt["exit_code"], &attempt["usage"]),
        (&json!("failed"), &json!(1), &Value::Null)
    );
    assert_eq!((&attempt["agent"], &attempt["host"]), (&json!("bad1"), &json!("one")));
}

#[tokio::test]
async fn tasks_are_filtered_and_paged() {
    let api = Api::start(0);
    let tasks: String = (0..5).map(|n| format!("[[task]]\nid = \"t{n}\"\ntitle = \"t{n}\"\n")).collect();
    api.plan(&tasks).await;
    api.post("/v1/tasks/shop/t3/reject", "{}").await;
    let ids = |body: &Value| -> Vec<String> {
        body["tasks"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = api.get("/v1/tasks?limit=2").await.json();
    assert_eq!((ids(&first), &first["next"]), (vec!["t0".into(), "t1".into()], &json!("shop/t1")));
    let rest = api.get("/v1/tasks?after=shop/t1").await.json();
    assert_eq!((ids(&rest), &rest["next"]), (vec!["t2".into(), "t3".into(), "t4".into()], &Value::Null));
    assert_eq!(ids(&api.get("/v1/tasks?status=rejected").await.json()), ["t3"]);
    assert_eq!(ids(&api.get("/v1/tasks?status=TODO,REJECTED").await.json()).len(), 5);
    assert_eq!(ids(&api.get("/v1/tasks?project=shop").await.json()).len(), 5);
    assert_eq!(api.get("/v1/tasks?project=other").await.error(), (404, "DS0201".into()));
    for query in ["status=DONE", "limit=0", "limit=x", "after=t1", "colour=red", "project=a%20b"] {
        assert_eq!(api.get(&format!("/v1/tasks?{query}")).await.error(), (400, "DS0301".into()), "{query}");
    }
}

#[tokio::test]
async fn a_wrong_plan_is_refused_with_every_mistake_and_changes_nothing() {
    let api = Api::start(1);
    let answer =
        api.plan("[[task]]\nid = \"a\"\nrole = \"nobody\"\ntitle = \"a\"\n[[task]]\nid = \"b\"\ndependencies = [\"c\"]\ntitle = \"b\"\n").await;
    assert_eq!(answer.error(), (400, "DS0106".into()));
    let codes: Vec<Value> = answer.json()["errors"].as_array().unwrap().iter().map(|e| e["code"].clone()).collect();
    assert_eq!(codes, ["DS0106", "DS0108"]);
    assert_eq!((&answer.json()["error"]["file"], &answer.json()["error"]["line"]), (&json!("plan"), &json!(15)));
    assert_eq!(api.get("/v1/projects").await.json()["projects"], json!([]));
    assert_eq!(api.post("/v1/plans", "").await.status, 400);
    assert_eq!(api.post("/v1/plans", vec![0xff, 0xfe]).await.error(), (400, "DS0301".into()));
}

#[tokio::test]
async fn a_plan_that_the_state_refuses_names_the_task() {
    let api = Api::start(1);
    api.plan(TWO).await;
    let changed = api.plan(&TWO.replace("prompt = \"do\"", "prompt = \"other\"")).await;
    assert_eq!(changed.error(), (409, "DS0241".into()));
    let removed = api.plan("[[task]]\nid = \"b\"\ntitle = \"b\"\n").await;
    assert_eq!(removed.status, 409, "{}", removed.text());
    assert!(removed.text().contains("`a`"), "{}", removed.text());
}

#[tokio::test]
async fn the_plan_shown_can_be_posted_again() {
    let api = Api::start(0);
    api.plan(TWO).await;
    let shown = api.get("/v1/plans/shop").await;
    assert_eq!(shown.json()["task"][1]["dependencies"], json!(["a"]));
    let again = api.post("/v1/plans", shown.body).await.json();
    assert_eq!((&again["added"], &again["updated"], &again["unchanged"]), (&json!(0), &json!(0), &json!(2)));
    let list = api.get("/v1/plans?project=shop").await.json();
    assert_eq!(list["plans"][0]["number"], 1);
    assert_eq!(api.get("/v1/plans/none").await.error(), (404, "DS0201".into()));
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_answer_and_another_body_is_refused() {
    let api = Api::start(0);
    let first = api.post_with_key("/v1/plans", "k1", plan(TWO)).await;
    let again = api.post_with_key("/v1/plans", "k1", plan(TWO)).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(again.json()["added"], 2);
    assert_eq!(first.body, again.body);
    let other = api.post_with_key("/v1/plans", "k1", plan(STUCK)).await;
    assert_eq!(other.error(), (409, "DS0304".into()));
    let elsewhere = api.post_with_key("/v1/projects/shop/pause", "k1", "").await;
    assert_eq!(elsewhere.error(), (409, "DS0304".into()));
    for key in ["", &"x".repeat(257)] {
        assert_eq!(api.post_with_key("/v1/projects/shop/pause", key, "").await.error(), (400, "DS0301".into()));
    }
}

#[tokio::test]
async fn people_move_tasks() {
    let api = Api::start(1);
    api.plan(SLOW).await;
    assert_eq!(api.get("/v1/tasks/shop/a").await.json()["task"]["status"], "WIP");
    assert_eq!(api.post("/v1/tasks/shop/a/stop", "").await.json()["changed"], true);
    api.fake.finish("shop/a", 1);
    let retried = api.post("/v1/tasks/shop/a/retry", r#"{"message":"try the other door"}"#).await;
    assert_eq!(retried.json(), json!({"apiVersion": "v1", "changed": true, "message": "done"}), "{}", retried.text());
    let feedback = api.get("/v1/tasks/shop/a").await.json()["task"]["feedback"].clone();
    assert!(feedback.to_string().contains("try the other door"), "{feedback}");
    assert_eq!(api.post("/v1/tasks/shop/a/reject", r#"{"reason":"no need"}"#).await.status, 200);
    assert_eq!(api.get("/v1/tasks/shop/a").await.json()["task"]["reason"], "no need");
    assert_eq!(api.post("/v1/tasks/shop/a/retry", "").await.error(), (409, "DS0212".into()));
    assert_eq!(api.post("/v1/tasks/shop/x/stop", "").await.error(), (404, "DS0202".into()));
    assert_eq!(api.post("/v1/tasks/shop/a/approve", "").await.error(), (409, "DS0216".into()));
    assert_eq!(
        api.post("/v1/tasks/shop/a/request-changes", r#"{"message":"x"}"#).await.error(),
        (409, "DS0216".into())
    );
}

#[tokio::test]
async fn bodies_that_are_not_what_is_taken_are_refused() {
    let api = Api::start(1);
    api.plan(SLOW).await;
    for (path, body) in [
        ("retry", r#"{"mesage":"x"}"#),
        ("retry", "{"),
        ("reject", r#"{"reason":7}"#),
        ("request-changes", "{}"),
        ("request-changes", r#"{"message":" "}"#),
    ] {
        assert_eq!(
            api.post(&format!("/v1/tasks/shop/a/{path}"), body).await.error(),
            (400, "DS0301".into()),
            "{path} {body}"
        );
    }
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(2000));
    assert_eq!(api.post("/v1/tasks/shop/a/reject", long).await.error(), (400, "DS0301".into()));
}

#[tokio::test]
async fn bodies_over_their_limit_are_refused() {
    let limits = Limits { plan_size: 1000, bundle_size: 1000, ..Limits::default() };
    let api = Api::with(1, limits);
    assert_eq!(api.post("/v1/plans", "x".repeat(1001)).await.error(), (413, "DS0303".into()));
    api.plan(HUMAN).await;
    assert_eq!(api.post("/v1/tasks/shop/a/retry", "x".repeat(70_000)).await.error(), (413, "DS0303".into()));
    let too_large = api.post("/v1/tasks/shop/a/resolve", "x".repeat(1001)).await;
    assert_eq!(too_large.error(), (413, "DS0303".into()), "{}", too_large.text());
    assert!(too_large.text().contains("bundle_size"), "{}", too_large.text());
    assert_eq!(api.post("/v1/tasks/shop/a/resolve", "x".repeat(1000)).await.json()["message"], "1000 bytes taken");
}

#[tokio::test]
async fn projects_are_paused_resumed_and_cancelled() {
    let api = Api::start(0);
    api.plan(TWO).await;
    assert_eq!(api.post("/v1/projects/shop/pause", "").await.json()["changed"], true);
    assert_eq!(api.post("/v1/projects/shop/pause", "").await.json()["changed"], false);
    assert_eq!(api.get("/v1/projects/shop").await.json()["project"]["paused"], true);
    assert_eq!(api.post("/v1/projects/shop/resume", "").await.json()["changed"], true);
    let project = api.get("/v1/projects").await.json()["projects"][0].clone();
    assert_eq!(
        (&project["paused"], &project["tasks"]["TODO"], &project["tasks"]["WIP"]),
        (&json!(false), &json!(2), &json!(0))
    );
    assert_eq!(project["integration"], Value::Null);
    assert_eq!(api.post("/v1/plans/shop/cancel", r#"{"plan":7}"#).await.error(), (404, "DS0203".into()));
    assert_eq!(api.post("/v1/plans/shop/cancel", "").await.json()["message"], "rejected 2 tasks");
    assert_eq!(api.get("/v1/projects/none").await.error(), (404, "DS0201".into()));
    assert_eq!(api.post("/v1/projects/none/pause", "").await.error(), (404, "DS0201".into()));
}

#[tokio::test]
async fn agents_merges_and_status_are_shown() {
    let api = Api::start(2);
    api.plan(SLOW).await;
    let agents = api.get("/v1/agents").await.json()["agents"].clone();
    let slow = agents.as_array().unwrap().iter().find(|agent| agent["name"] == "slow1").unwrap();
    assert_eq!((&slow["task"], &slow["attempt"], &slow["stage"]), (&json!("shop/a"), &json!(1), &json!("work")));
    let idle = agents.as_array().unwrap().iter().find(|agent| agent["name"] == "dev1").unwrap();
    assert_eq!((&idle["task"], &idle["host"], &idle["branch"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(api.get("/v1/merges").await.json(), json!({"apiVersion": "v1", "merges": [], "next": null}));
    assert_eq!(api.get("/v1/merges?project=none").await.error(), (404, "DS0201".into()));
    let status = api.get("/v1/status").await.json();
    assert_eq!((&status["tasks"]["WIP"], &status["slots"], &status["running"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!(status["tasks"].as_object().unwrap().len(), 8);
}

#[tokio::test]
async fn explanations_diffs_and_conflicts_are_given() {
    let api = Api::start(1);
    api.plan(STUCK).await;
    let explained = api.get("/v1/tasks/shop/a/explain").await.json();
    assert_eq!(explained["task"], "shop/a");
    assert!(explained["text"].as_str().unwrap().len() > 20);
    let diff = api.get("/v1/tasks/shop/a/diff").await;
    assert_eq!((diff.status, diff.kind.as_str()), (200, "text/x-diff; charset=utf-8"));
    assert_eq!(api.get("/v1/tasks/shop/a/resolve").await.error(), (409, "DS0217".into()));
    assert_eq!(api.get("/v1/tasks/shop/x/explain").await.error(), (404, "DS0202".into()));
    assert_eq!(api.get("/v1/tasks/shop/b@d/explain").await.error(), (400, "DS0301".into()));
}

#[tokio::test]
async fn health_readiness_and_metrics_are_given() {
    let api = Api::start(2);
    api.plan(TWO).await;
    assert_eq!(api.get("/healthz").await.text(), "ok\n");
    assert_eq!(api.get("/readyz").await.text(), "ready\n");
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.kind, "text/plain; version=0.0.4");
    let text = metrics.text();
    assert!(text.contains("# TYPE devstack_taskmaster_cpu_seconds_total counter"), "{text}");
    for line in ["devstack_tasks{status=\"COMPLETED\"} 2", "devstack_host_up{host=\"one\"} 1"] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_said_in_our_words_and_bounded() {
    let api = Api::start(0);
    api.plan(TWO).await;
    for number in ["abc", "-1", "99999999999999999999", ""] {
        let said = api.get(&format!("/v1/tasks?limit={number}")).await.json()["error"]["message"].clone();
        assert_eq!(said, "cannot read the query: limit: must be a whole number", "{number}");
    }
    let long = api.get(&format!("/v1/tasks?{}=1", "x".repeat(20_000))).await;
    assert_eq!(long.status, 400);
    assert!(long.text().len() < 1000, "{}", long.text().len());
}

#[tokio::test]
async fn a_list_is_no_plan_and_is_not_taken_for_toml() {
    let api = Api::start(0);
    for list in ["[]", " [ {\"project\": {}} ]"] {
        let said = api.post("/v1/plans", list).await.json()["error"]["message"].clone();
        assert!(said.as_str().unwrap().starts_with("this is not valid JSON: invalid type: sequence"), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_with_the_error_object() {
    let api = Api::start(0);
    assert_eq!(api.get("/v2/tasks").await.error(), (404, "DS0302".into()));
    assert_eq!(api.post("/v1/tasks", "").await.error(), (405, "DS0302".into()));
    assert_eq!(api.get("/v1/plans/shop/cancel").await.error(), (405, "DS0302".into()));
}

#[tokio::test]
async fn a_repository_is_pushed_in_parts_and_fetched_from_any_byte() {
    let api = Api::start(0);
    let repo = api.get("/v1/repos/shop").await.json();
    assert_eq!(repo, json!({"apiVersion": "v1", "source": null, "branches": []}));

    let (tip, digest) = ("1".repeat(40), "2".repeat(64));
    let push = format!("/v1/repos/shop/push?base=main&base_tip={tip}&integration=dev&digest={digest}&size=5");
    let part = api.post(&format!("{push}&offset=0"), "abc").await.json();
    assert_eq!(part, json!({"apiVersion": "v1", "bytes": 3, "source": null}));
    let whole = api.post(&format!("{push}&offset=3"), "de").await.json();
    assert_eq!(whole, json!({"apiVersion": "v1", "bytes": 5, "source": "/inbox/shop/main"}));
    for wrong in
        [push.clone(), format!("{push}&offset=x"), format!("{push}&offset=0&force=1"), push.replace("shop", "..%2F")]
    {
        assert_eq!(api.post(&wrong, "abc").await.error(), (400, "DS0301".to_owned()), "{wrong}");
    }

    let bundle = format!("/v1/repos/shop/bundle?branch=dev&have={tip},{tip}");
    assert_eq!(api.get(&bundle).await.text(), "a bundle");
    assert_eq!(api.get(&format!("{bundle}&from=2")).await.text(), "bundle");
    assert_eq!(api.get(&bundle.replace("dev", "main")).await.status, 404);
    for wrong in ["/v1/repos/shop/bundle", "/v1/repos/shop/bundle?branch=dev&have=x"] {
        assert_eq!(api.get(wrong).await.error(), (400, "DS0301".to_owned()), "{wrong}");
    }
    let many = vec![tip; 9].join(",");
    assert_eq!(api.get(&format!("/v1/repos/shop/bundle?branch=dev&have={many}")).await.error().0, 400);
}
