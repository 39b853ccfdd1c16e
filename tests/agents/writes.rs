//! Each agent's own tool writes a file, and devstack merges it.

use crate::{
    claude::CLAUDE,
    work::{Agent, Work},
};

const CODEX: Agent<'_> = Agent {
    profile: "codex",
    lines: r#"command = [
    "codex", "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "{model}",
    "-c", 'openai_base_url="{url}/v1"', "-",
]"#,
    secrets: &["CODEX_API_KEY=sk-scripted-0123456789"],
    model: Some("gpt-5"),
};

/// An address of its own makes it choose a way to log in that it then refuses; its settings say which.
const GEMINI: Agent<'_> = Agent {
    profile: "gemini",
    lines: r#"
[[profiles.real.secret_file]]
secret = "GEMINI_SETTINGS"
path = ".gemini/settings.json"
[profiles.real.env]
GOOGLE_GEMINI_BASE_URL = "{url}"
"#,
    secrets: &[
        "GEMINI_API_KEY=scripted-0123456789",
        r#"GEMINI_SETTINGS={"security":{"auth":{"selectedType":"gemini-api-key"}}}"#,
    ],
    model: Some("gemini-2.5-pro"),
};

fn writes(agent: &Agent<'_>) {
    let Some(work) = Work::new() else { return };
    work.plan(agent, "write");
    work.run(0);
    work.is_merged();
    assert_eq!(work.world.outcomes("A"), ["done"]);
    // Two turns of 42 tokens.
    let usage = work.usage();
    assert_eq!(usage["output_tokens"].as_u64(), Some(84), "{usage}");
    assert!(work.beyond.requests("POST write") >= 2);
}

#[test]
fn claude_writes_a_file_and_it_is_merged() {
    writes(&CLAUDE);
}

#[test]
fn codex_writes_a_file_and_it_is_merged() {
    writes(&CODEX);
}

#[test]
fn gemini_writes_a_file_and_it_is_merged() {
    writes(&GEMINI);
}
