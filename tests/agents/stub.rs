//! A model that plays a script, behind the endpoints of the providers: Anthropic's Messages, OpenAI's Responses and
//! Google's generateContent. It asks once for a file to be written by the agent's own tool, and then ends its turn.
//!
//! The first word of the path is the scenario, so that a base URL chooses it: `write`; `limit` (the first request is
//! refused until a moment that it names); `hold` (the answer after the tool's waits for a gate).
//! Deliberately absent: being right about anything a scripted agent does not look at.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// The file that agents write, and what is in it.
pub(crate) const FILE: &str = "greeting.txt";
pub(crate) const TEXT: &str = "hello from a scripted model";
/// How far ahead the reset of a limit is.
pub(crate) const RESET: Duration = Duration::from_secs(8);
/// Between two looks at a gate.
const LOOK: Duration = Duration::from_millis(20);

/// Serves for ever. `gates`: a directory where scenarios meet the test; `requests` in it has a line for each request.
pub(crate) async fn serve(listener: tokio::net::TcpListener, gates: PathBuf) {
    let router = Router::new().fallback(answer).with_state(Arc::new(gates));
    axum::serve(listener, router).await.unwrap();
}

async fn answer(State(gates): State<Arc<PathBuf>>, method: Method, uri: Uri, body: String) -> Response {
    let (scenario, path) = uri.path().trim_start_matches('/').split_once('/').unwrap_or((uri.path(), ""));
    note(&gates, &format!("{method} {scenario} {path}"));
    let request: Value = serde_json::from_str(&body).unwrap_or_default();
    if path.ends_with("/responses") && method == Method::GET {
        // No WebSocket here: it uses plain requests then.
        return StatusCode::UPGRADE_REQUIRED.into_response();
    }
    if method != Method::POST {
        return axum::Json(json!({ "data": [], "models": [] })).into_response();
    }
    if scenario == "limit" && !gates.join("limited").exists() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let reset = (now + RESET).as_secs();
        std::fs::write(gates.join("limited"), reset.to_string()).unwrap();
        return limited(reset);
    }
    let over = body.contains(TEXT) && answered(&request);
    if scenario == "hold" && over {
        let _ = open(&gates.join("held"));
        while !gates.join("go").exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
    if path.ends_with("/messages") {
        events(true, if over { claude_end() } else { claude_tool(&request) })
    } else if path.ends_with("/responses") {
        events(true, if over { openai_end() } else { openai_tool() })
    } else if path.contains(":streamGenerateContent") {
        events(false, vec![if over { gemini_end() } else { gemini_tool() }])
    } else {
        (StatusCode::NOT_FOUND, axum::Json(json!({ "error": { "message": "not in the script" } }))).into_response()
    }
}

/// Makes a file; was it not there?
fn open(gate: &Path) -> bool {
    std::fs::File::create_new(gate).is_ok()
}

fn note(gates: &Path, line: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(gates.join("requests"));
    writeln!(file.unwrap(), "{line}").unwrap();
}

/// Does it hold what a tool said?
fn answered(request: &Value) -> bool {
    let text = request.to_string();
    ["\"tool_result\"", "\"function_call_output\"", "\"functionResponse\""].iter().any(|kind| text.contains(kind))
}

/// The window of a subscription is used up.
fn limited(reset: u64) -> Response {
    let body = json!({ "type": "error", "error": { "type": "rate_limit_error",
        "message": "This request would exceed your account's rate limit. Please try again later." } });
    let headers = [
        ("retry-after", RESET.as_secs().to_string()),
        ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
        ("anthropic-ratelimit-unified-reset", reset.to_string()),
        ("x-should-retry", "false".to_owned()),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(body)).into_response()
}

/// Server-sent events; `named`: each says its type as its name too.
fn events(named: bool, events: Vec<Value>) -> Response {
    let line = |event: Value| match event["type"].as_str().filter(|_| named) {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let body: String = events.into_iter().map(line).collect();
    ([("content-type", "text/event-stream")], body).into_response()
}

fn claude(block: Value, delta: Value, stop: &str) -> Vec<Value> {
    vec![
        json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude-scripted", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": { "input_tokens": 1200, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 4000,
                "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
            "usage": { "output_tokens": 42 } }),
        json!({ "type": "message_stop" }),
    ]
}

fn claude_end() -> Vec<Value> {
    claude(json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": "Done." }), "end_turn")
}

/// A request without tools (for a title, say) gets words.
fn claude_tool(request: &Value) -> Vec<Value> {
    if !request["tools"].to_string().contains("\"Write\"") {
        return claude_end();
    }
    let input = json!({ "file_path": format!("/workspace/{FILE}"), "content": TEXT }).to_string();
    claude(
        json!({ "type": "tool_use", "id": "toolu_1", "name": "Write", "input": {} }),
        json!({ "type": "input_json_delta", "partial_json": input }),
        "tool_use",
    )
}

fn openai(item: Value) -> Vec<Value> {
    vec![
        json!({ "type": "response.created", "response": { "id": "r1" } }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": { "id": "r1", "usage": { "input_tokens": 5200,
            "input_tokens_details": { "cached_tokens": 4000 }, "output_tokens": 42,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 5242 } } }),
    ]
}

fn openai_end() -> Vec<Value> {
    let content = json!([{ "type": "output_text", "text": "Done." }]);
    openai(json!({ "type": "message", "id": "m1", "role": "assistant", "content": content }))
}

fn openai_tool() -> Vec<Value> {
    let arguments = json!({ "cmd": format!("printf '%s' '{TEXT}' > {FILE}") }).to_string();
    openai(json!({ "type": "function_call", "id": "f1", "call_id": "call_1", "name": "exec_command",
        "arguments": arguments }))
}

fn gemini(part: Value) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": [part] }, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": { "promptTokenCount": 5200, "candidatesTokenCount": 42, "totalTokenCount": 5242,
            "cachedContentTokenCount": 4000 }, "modelVersion": "gemini-2.5-pro" })
}

fn gemini_end() -> Value {
    gemini(json!({ "text": "Done." }))
}

fn gemini_tool() -> Value {
    let arguments = json!({ "file_path": format!("/workspace/{FILE}"), "content": TEXT });
    gemini(json!({ "functionCall": { "name": "write_file", "args": arguments } }))
}
