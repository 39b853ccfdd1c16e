//! Rules for keys with a recognizable format, as data: a name, the format, and the date when it was last compared with
//! the issuer's documentation. Deliberately absent: searching (`secrets`) and rules for values without a recognizable
//! format.

/// A kind of key.
pub(super) struct Rule {
    /// Its name in findings.
    pub(super) name: &'static str,
    /// The month in which the pattern was last compared with the issuer's documentation, `YYYY-MM`.
    #[cfg_attr(not(test), expect(dead_code, reason = "for updating the rules; only the tests read it"))]
    pub(super) as_of: &'static str,
    /// A regular expression over bytes. It is split in the middle where this file would match itself.
    pub(super) pattern: &'static str,
}

const fn rule(name: &'static str, as_of: &'static str, pattern: &'static str) -> Rule {
    Rule { name, as_of, pattern }
}

/// All rules; the first match names the finding.
pub(super) const RULES: [Rule; 13] = [
    rule("private key", "2025-10", concat!("-----BEGIN (?:[A-Z0-9]+ )*PRIV", "ATE KEY(?: BLOCK)?-----")),
    rule("AWS access key", "2025-10", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    rule("GitHub token", "2025-10", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    // Tokens of app installations since 2026-04: the prefix, an id, and a JWT of about 520 characters
    // (github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header).
    rule(
        "GitHub stateless token",
        "2026-11",
        r"\bghs_(?:[A-Za-z0-9]+_)*eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}",
    ),
    rule("GitHub fine-grained token", "2025-10", r"\bgithub_pat_[A-Za-z0-9_]{60,}\b"),
    rule("GitLab token", "2025-10", r"\bglpat-[A-Za-z0-9_-]{20,}\b"),
    rule("Anthropic key", "2025-10", r"\bsk-ant-[A-Za-z0-9_-]{24,}"),
    rule(
        "OpenAI key",
        "2025-10",
        r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{24,}|\bsk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b",
    ),
    rule("Slack token", "2025-10", r"\bxox[abeoprs]-[0-9]{6,}-[A-Za-z0-9-]{16,}"),
    rule("Google API key", "2025-10", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    rule("Google OAuth secret", "2025-10", r"\bGOCSPX-[A-Za-z0-9_-]{28}\b"),
    rule("Stripe key", "2025-10", r"\b[rs]k_live_[A-Za-z0-9]{24,}\b"),
    rule("npm token", "2025-10", r"\bnpm_[A-Za-z0-9]{36}\b"),
];
