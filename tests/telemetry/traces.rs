//! Traces as a collector gets them, and log lines that belong to them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use devstack::telemetry::trace_id;
use serde_json::Value;

use crate::{
    boss::{Boss, until},
    http::Sink,
};

/// What parses it as the official protocol says.
const PARSE: &str = "import sys; from google.protobuf import json_format; \
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as R; \
r = json_format.Parse(sys.stdin.read(), R()); \
print(sum(len(s.spans) for rs in r.resource_spans for s in rs.scope_spans))";

fn spans(sink: &Sink) -> Vec<Value> {
    let bodies = sink.received().into_iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    bodies.flat_map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()).collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let all = span["attributes"].as_array().unwrap();
    all.iter().find(|pair| pair["key"] == key).map_or(&Value::Null, |pair| &pair["value"])
}

#[test]
fn a_finished_task_is_one_tree_and_its_log_lines_belong_to_it() {
    let sink = Sink::start("127.0.0.1:0", 200);
    let more = format!(
        "[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\n[telemetry]\nformat = \"json\"\notlp_endpoint = \"http://{}/v1/traces\"\n",
        sink.address
    );
    let mut boss = Boss::found(&more);
    boss.start("boss");
    boss.until_up();
    boss.submit(
        "[[task]]\nid = \"good\"\nprompt = \"x\"\n[[task]]\nid = \"bad\"\nprompt = \"x\"\ncommand = [\"false\"]\n",
    );
    boss.until_status("bad", "BLOCKED");
    boss.ask(&["task", "reject", "bad", "--message", "not wanted"]);
    let of = |task: &str| {
        let trace = trace_id("shop", task);
        spans(&sink).into_iter().filter(|span| span["traceId"] == trace.as_str()).collect::<Vec<_>>()
    };
    let good = until("the trace of a task that is done", || Some(of("good")).filter(|spans| spans.len() == 3));
    assert_eq!(good.iter().map(|span| span["name"].as_str().unwrap()).collect::<Vec<_>>(), ["task", "waiting", "work"]);
    assert!(good[0].get("parentSpanId").is_none());
    assert!(good[1..].iter().all(|span| span["parentSpanId"] == good[0]["spanId"]), "{good:?}");
    let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    for span in &good {
        assert!(nanos(&good[0], "startTimeUnixNano") <= nanos(span, "startTimeUnixNano"), "{good:?}");
        assert!(nanos(span, "startTimeUnixNano") <= nanos(span, "endTimeUnixNano"), "{good:?}");
        assert!(nanos(span, "endTimeUnixNano") <= nanos(&good[0], "endTimeUnixNano"), "{good:?}");
        assert_eq!(
            (&span["status"]["code"], attribute(span, "devstack.task")),
            (&1.into(), &serde_json::json!({"stringValue": "good"}))
        );
    }
    assert_eq!(attribute(&good[2], "devstack.attempt"), &serde_json::json!({"intValue": "1"}));
    let bad = until("the trace of a task that was given up", || Some(of("bad")).filter(|spans| spans.len() == 3));
    assert_eq!((&bad[0]["status"]["code"], &bad[0]["status"]["message"]), (&2.into(), &"not wanted".into()));
    assert_eq!((&bad[2]["name"], &bad[2]["status"]["message"]), (&"work".into(), &"failed".into()));

    let lines: Vec<Value> =
        boss.log("boss").lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let over = lines.iter().find(|line| line["message"] == "attempt ended" && line["devstack.task"] == "good").unwrap();
    assert_eq!((&over["trace.id"], &over["devstack.attempt"]), (&good[0]["traceId"], &1.into()));
    assert!(
        lines.iter().all(|line| line["@timestamp"].is_string() && line["service.node.name"].is_string()),
        "{lines:?}"
    );

    for request in sink.received() {
        let python = Command::new("python3")
            .args(["-c", PARSE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut python) = python else {
            return println!("SKIPPED: spans against the official protocol: python3 is not installed");
        };
        // One without the protocol has ended before it reads.
        let _ = python.stdin.take().unwrap().write_all(&request.body);
        let said = python.wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&said.stderr);
        if why.contains("ModuleNotFoundError") {
            return println!("SKIPPED: spans against the official protocol: pip install opentelemetry-proto");
        }
        assert!(said.status.success(), "{why}");
        assert!(String::from_utf8_lossy(&said.stdout).trim().parse::<u32>().unwrap() >= 3);
    }
}
