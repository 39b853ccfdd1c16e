//! The messages of merge commits. Titles and branch names come from plans and agents: they are cut, and every character
//! is removed that could start a new line, forge a trailer or reverse the text on a terminal. Deliberately absent:
//! reading messages back; no decision is based on them.

use devstack_dag::effect::MergeRequest;
use git2::{Commit, Signature, Time};

use super::Error;

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 200;
/// The longest branch name in a subject, in characters.
const BRANCH_MAX: usize = 80;
/// The longest name or address of an author, in characters.
const IDENTITY_MAX: usize = 200;
/// The committer of merges. The address can never receive mail.
const COMMITTER: (&str, &str) = ("devstack DevOps", "devops@devstack.invalid");

/// `Merge branch 'feat/dev1' (T-001: title)` and the trailers.
pub(crate) fn merge_message(request: &MergeRequest) -> String {
    let (branch, task) = (one_line(&request.branch, BRANCH_MAX), &request.attempt.task);
    let head = format!("Merge branch '{branch}' ({}", task.id);
    let title = one_line(&request.title, SUBJECT_MAX.saturating_sub(head.chars().count() + 3));
    let colon = if title.is_empty() { "" } else { ": " };
    format!("{head}{colon}{title})\n\nDevstack-Task: {task}\nDevstack-Attempt: {}\n", request.attempt.number)
}

/// `Merge source 'dev'` and the trailer.
pub(crate) fn sync_message(branch: &str, source: devstack_dag::ids::CommitId) -> String {
    format!("Merge source '{}'\n\nDevstack-Sync: {source}\n", one_line(branch, BRANCH_MAX))
}

/// A text without control, format and line-breaking characters, spaces collapsed, at most `max` characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let visible = |c: char| {
        let turns =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || turns { ' ' } else { c }
    };
    let mapped: String = text.chars().take(max.saturating_mul(8)).map(visible).collect();
    let joined = mapped.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(max).collect::<String>().trim_end().to_owned()
}

/// The DevOps signature, at `seconds`.
pub(crate) fn committer(seconds: i64) -> Result<Signature<'static>, Error> {
    Ok(Signature::new(COMMITTER.0, COMMITTER.1, &Time::new(seconds, 0))?)
}

/// The author of `commit`, at `seconds`; an unusable name becomes `agent`.
pub(crate) fn author_of(commit: &Commit<'_>, seconds: i64) -> Result<Signature<'static>, Error> {
    let author = commit.author();
    let clean = |bytes: &[u8], other: &str| {
        let text = one_line(&String::from_utf8_lossy(bytes), IDENTITY_MAX).replace(['<', '>'], "");
        if text.trim().is_empty() { other.to_owned() } else { text }
    };
    let name = clean(author.name_bytes(), "agent");
    let email = clean(author.email_bytes(), "agent@devstack.invalid");
    let time = Time::new(seconds, 0);
    Ok(Signature::new(&name, &email, &time).or_else(|_| Signature::new("agent", "agent@devstack.invalid", &time))?)
}

#[cfg(test)]
mod tests {
    use devstack_dag::ids::{AttemptId, CommitId, ProjectName, TaskId, TaskRef};

    use super::*;

    fn request(title: &str) -> MergeRequest {
        let task = TaskRef { project: ProjectName::new("shop").expect("name"), id: TaskId::new("T-001").expect("id") };
        MergeRequest {
            attempt: AttemptId { task, number: 3 },
            commit: CommitId([0; 20]),
            branch: "feat/dev1".into(),
            title: title.into(),
            must_contain: vec![],
        }
    }

    #[test]
    fn a_merge_says_what_it_merges() {
        let said = merge_message(&request("Login API"));
        assert_eq!(
            said,
            "Merge branch 'feat/dev1' (T-001: Login API)\n\nDevstack-Task: shop/T-001\nDevstack-Attempt: 3\n"
        );
    }

    #[test]
    fn a_title_cannot_forge_a_trailer_or_a_line() {
        let said = merge_message(&request("x)\n\nDevstack-Task: shop/T-999\r\n\u{202e}evil\u{1b}[2J\u{2028}y"));
        assert_eq!(said.lines().count(), 4, "{said:?}");
        assert!(said.lines().skip(1).all(|line| !line.contains("T-999")), "{said:?}");
        assert!(!said.contains(['\u{202e}', '\u{1b}', '\u{2028}', '\r']), "{said:?}");
    }

    #[test]
    fn a_subject_is_bounded() {
        let said = merge_message(&request(&"é".repeat(100_000)));
        assert_eq!(said.lines().next().expect("subject").chars().count(), SUBJECT_MAX);
    }
}
