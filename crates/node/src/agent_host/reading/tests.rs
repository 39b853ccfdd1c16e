//! Outputs of real agents, recorded against a stub of their models' endpoints (without their first lines and paths),
//! and outputs that lie.

use std::sync::Arc;

use devstack_dag::profile::Profile;

use super::*;
use devstack_config::profile::{Catalog, parse};

/// 2026-11-22T21:54:00Z, when the outputs were recorded.
const NOW: Timestamp = Timestamp(1_795_384_440_000);

fn profile(name: &str) -> Arc<Profile> {
    Catalog::shipped().find(name).unwrap().unwrap().profile
}

macro_rules! recorded {
    ($profile:literal, $which:literal, $model:expr) => {
        read(&profile($profile), $model, include_bytes!(concat!("outputs/", $profile, ".", $which, ".txt")), NOW)
    };
}

fn usage(numbers: [Option<u64>; 5], turns: Option<u32>, session: Option<&str>) -> Option<Usage> {
    let [input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros] = numbers;
    let session = session.map(Into::into);
    Some(Usage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros, turns, session })
}

#[test]
fn claude_code_says_what_it_used() {
    let said = recorded!("claude-code", "done", None);
    let session = Some("41187e69-1b38-468e-a4ad-dd6aad2323c6");
    assert_eq!(said.usage, usage([Some(1200), Some(42), Some(4000), Some(300), Some(10_925)], Some(1), session));
    assert_eq!((said.failed, said.limited), (false, None));
    assert_eq!(said.outcome(Outcome::Exited(0)), Outcome::Exited(0));
}

#[test]
fn claude_code_names_the_reset_of_a_subscription_and_none_of_a_key() {
    let said = recorded!("claude-code", "window", None);
    let reset = Some(Timestamp(1_795_400_400_000));
    assert_eq!((said.failed, said.limited), (true, Some(reset)));
    assert_eq!(said.outcome(Outcome::Exited(1)), Outcome::RateLimited { reset });
    let said = recorded!("claude-code", "429", None);
    assert_eq!((said.failed, said.limited), (true, Some(None)));
    assert_eq!(said.outcome(Outcome::Exited(0)), Outcome::RateLimited { reset: None });
    let old = br#"{"type":"result","is_error":true,"result":"Claude AI usage limit reached|1795400400"}"#;
    assert_eq!(read(&profile("claude-code"), None, old, NOW).limited, Some(reset));
}

#[test]
fn codex_tokens_have_a_price_where_the_model_is_known() {
    let session = Some("01a20540-80af-78f0-87e1-dfdaa9f4d02d");
    let said = recorded!("codex", "done", Some("gpt-5"));
    // 1,200 at 1.25, 4,000 at 0.125 and 42 at 10 dollars a million.
    assert_eq!(said.usage, usage([Some(1200), Some(42), Some(4000), None, Some(2420)], None, session));
    let said = recorded!("codex", "done", None);
    assert_eq!(said.usage, usage([Some(1200), Some(42), Some(4000), None, None], None, session));
}

#[test]
fn codex_names_its_reset_as_a_date_or_not_at_all() {
    let said = recorded!("codex", "limit", None);
    // Nov 23rd, 2026 2:20 AM
    assert_eq!((said.failed, said.limited), (true, Some(Some(Timestamp(1_795_400_400_000)))));
    assert_eq!(recorded!("codex", "429", None).limited, Some(None));
    let soon = |text: &str| {
        let line =
            format!(r#"{{"type":"turn.failed","error":{{"message":"hit your usage limit, try again at {text}"}}}}"#);
        read(&profile("codex"), None, line.as_bytes(), NOW).limited.unwrap().unwrap().0
    };
    assert_eq!(soon("11:54 PM") - NOW.0, 2 * 3_600_000);
    assert_eq!(soon("1:54 AM.") - NOW.0, 4 * 3_600_000, "tomorrow");
}

#[test]
fn gemini_says_what_it_used_and_when_it_may_go_on() {
    let said = recorded!("gemini", "done", Some("gemini-2.5-pro"));
    let session = Some("870ea93b-6467-4726-adbf-ad5a55f6f856");
    assert_eq!(said.usage, usage([Some(1200), Some(42), Some(4000), None, Some(2420)], None, session));
    let said = recorded!("gemini", "429", None);
    assert_eq!(said.limited, Some(Some(Timestamp(NOW.0 + 34_500))));
    // It retries by itself until its deadline.
    assert!(matches!(said.outcome(Outcome::TimedOut), Outcome::RateLimited { .. }));
}

#[test]
fn opencode_adds_its_steps() {
    let said = recorded!("opencode", "done", None);
    let session = Some("ses_dfabf456affeyVZDN64L35BSto");
    assert_eq!(said.usage, usage([Some(1200), Some(42), Some(0), Some(0), Some(0)], None, session));
    let twice = [include_bytes!("outputs/opencode.done.txt").as_slice(); 2].concat();
    assert_eq!(read(&profile("opencode"), None, &twice, NOW).usage.unwrap().input_tokens, Some(2400));
}

#[test]
fn aider_and_mini_swe_agent_write_text() {
    let said = recorded!("aider", "done", None);
    assert_eq!(said.usage, usage([None, None, None, None, Some(3_400)], None, None));
    assert_eq!(recorded!("aider", "429", None).limited, Some(None));
    let text = b"mini-swe-agent (step 1, $0.01):\nx\nmini-swe-agent (step 2, $0.03):\n";
    let said = read(&profile("mini-swe-agent"), None, text, NOW);
    assert_eq!(said.usage, usage([None, None, None, None, Some(30_000)], Some(2), None));
}

#[test]
fn who_is_done_was_not_sent_back_whatever_it_quotes() {
    let quoted =
        b"fixed the handling of litellm.RateLimitError\nTokens: 1k sent. Cost: $1.00 message, $1.00 session.\n";
    let said = read(&profile("aider"), None, quoted, NOW);
    assert_eq!(said.outcome(Outcome::Exited(0)), Outcome::Exited(0));
    // JSON counts only on a line of its own.
    let quoted =
        br#"{"type":"user","text":"{\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"rejected\"}}"}"#;
    assert_eq!(read(&profile("claude-code"), None, quoted, NOW), Said::default());
}

#[test]
fn claims_are_bounded_and_nonsense_is_unknown() {
    let claude = profile("claude-code");
    for (number, cost) in
        [("-1", None), ("1e300", None), ("\"x\"", None), ("null", None), ("[1]", None), ("2", Some(2_000_000))]
    {
        let line =
            format!(r#"{{"type":"result","total_cost_usd":{number},"num_turns":{number},"session_id":{number}}}"#);
        let said = read(&claude, None, line.as_bytes(), NOW);
        assert_eq!(said.usage.and_then(|usage| usage.cost_micros), cost, "{number}");
    }
    let long = format!(r#"{{"type":"result","session_id":"{}"}}"#, "x".repeat(129));
    assert_eq!(read(&claude, None, long.as_bytes(), NOW).usage, None);
    for junk in [&b"\xff\xfe{"[..], b"", b"{\"type\":\"result\"", &[b'{'; 10_000], &[b'['; 10_000]] {
        assert_eq!(read(&claude, None, junk, NOW).usage, None);
    }
}

#[test]
fn a_line_that_was_cut_off_is_not_read() {
    let end = br#"input_tokens":9}}
{"type":"result","num_turns":1}"#;
    assert_eq!(read(&profile("claude-code"), None, end, NOW).usage.unwrap().turns, Some(1));
}

#[test]
fn times_come_in_many_shapes() {
    for (text, at) in [
        ("1795400400", 1_795_400_400_000),
        ("1795400400123", 1_795_400_400_123),
        ("90", NOW.0 + 90_000),
        ("2026-11-23T02:20:00Z", 1_795_400_400_000),
    ] {
        assert_eq!(moment(text, NOW), Some(Timestamp(at)), "{text}");
    }
    assert_eq!(moment("soon", NOW), None);
    let own =
        "provider = \"me\"\ncommand = [\"x\"]\n[[limit]]\ntext = '(?:(?P<hours>\\d+) h )?(?P<minutes>\\d+) min'\n";
    let own = parse("own", "own.toml", own).unwrap().profile;
    assert_eq!(read(&own, None, b"come back in 1 h 5 min", NOW).limited, Some(Some(Timestamp(NOW.0 + 3_900_000))));
}
