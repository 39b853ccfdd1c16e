//! Each agent's own tool writes a file, and devstack merges it.

use crate::{
    claude::CLAUDE,
    work::{Agent, Work},
};

const CODEX: Agent<'_> = Agent {
    profile: "codex",
    profile_lines: r#"command = ["codex", "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-c", 'openai_base_url="{url}/v1"', "-"]"#,
    key: "CODEX_API_KEY",
    model: None,
};

const GEMINI: Agent<'_> = Agent {
    profile: "gemini",
    profile_lines: "[profiles.real.env]\nGOOGLE_GEMINI_BASE_URL = \"{url}\"",
    key: "GEMINI_API_KEY",
    model: Some("gemini-2.5-pro"),
};

fn writes(agent: &Agent<'_>) {
    let Some(work) = Work::new() else { return };
    work.plan(agent, "write");
    work.run(0);
    work.is_merged();
    assert_eq!(work.world.outcomes("A"), ["done"]);
    // Two turns of 42 tokens: what it says it used is read.
    let usage = work.usage();
    assert!(usage["output_tokens"].as_u64() >= Some(42), "{usage}");
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
