//! The report on what an attempt left besides its result, without secrets. Paths and names in it are chosen by the
//! agent. Deliberately absent: bounds of lists (the runtime's), and what follows from the report (the engine's).

use std::path::Path;

use devstack_dag::attempt::{Branch, Left, Skipped};
use devstack_shim::{
    layout,
    redact::Redactor,
    spec::{SKIPPED_PATH_MAX, SKIPPED_WHY_MAX},
};

use devstack_repository::bundle_refs;
use devstack_runtime::Harvest;

/// The longest character that may not have fitted: a text that is shorter than its bound by more was not cut.
const CHARACTER_MAX: usize = 4;

/// A branch whose name contains a secret gets another name. Without it, the branch's commits would be in the bundle
/// without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Renamed {
    from: String,
    to: String,
}

/// The report, and the branches that get another name because their own contains a secret.
pub(super) fn told(harvest: &Harvest, redactor: &Redactor) -> (Left, Vec<Renamed>) {
    let mut left = Left { skipped: Vec::new(), more: harvest.more, branches: Vec::new() };
    for one in &harvest.skipped {
        let path = redacted(redactor, &one.path, SKIPPED_PATH_MAX).into();
        left.skipped.push(Skipped { path, why: redacted(redactor, &one.why, SKIPPED_WHY_MAX).into() });
    }
    let mut renamed = Vec::new();
    let is_taken = |name: &String| harvest.branches.iter().any(|branch| branch.name == *name);
    let mut free = (1..).map(|number| format!("withheld-{number}")).filter(|name| !is_taken(name));
    for branch in &harvest.branches {
        // The shim writes git ids; an entry without one is not a branch.
        let Ok(commit) = branch.commit.parse() else { continue };
        let name = redacted(redactor, &branch.name, usize::MAX);
        if name == branch.name {
            left.branches.push(Branch { name: name.into(), commit });
            continue;
        }
        let Some(to) = free.next() else { break };
        let why = format!("its name contains a secret: the branch is kept as {to}").into();
        left.skipped.push(Skipped { path: format!("refs/heads/{name}").into(), why });
        left.branches.push(Branch { name: to.as_str().into(), commit });
        renamed.push(Renamed { from: branch.name.clone(), to });
    }
    (left, renamed)
}

/// Redacts a text. If the text may have been cut, the beginning of a secret at its end is removed too.
fn redacted(redactor: &Redactor, text: &str, max: usize) -> String {
    let cut = text.len().saturating_add(CHARACTER_MAX) > max;
    let whole = if cut { redactor.settled(text.as_bytes()) } else { text.len() };
    let text = &text.as_bytes()[..whole];
    String::from_utf8_lossy(&redactor.redact(text, 0)).into_owned()
}

/// Renames branches in a bundle.
pub(super) fn rename(bundle: &Path, renamed: &[Renamed]) -> std::io::Result<()> {
    bundle_refs::rewrite(bundle, |_, name| {
        let other = name
            .strip_prefix(layout::BRANCH_REFS)
            .and_then(|branch| renamed.iter().find(|renamed| renamed.from == branch))
            .map(|renamed| format!("{}{}", layout::BRANCH_REFS, renamed.to));
        Some(other.unwrap_or_else(|| name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use devstack_shim::spec;

    use super::*;

    #[test]
    fn no_secret_is_told_in_a_path_or_a_name_not_even_its_beginning() {
        let redactor = Redactor::new(["hunter2-hunter2"].into_iter());
        let skip = |path: String| spec::Skipped { path, why: "unreadable".into() };
        let branch = |name: &str| spec::Branch { name: name.into(), commit: "01".repeat(20) };
        let harvest = Harvest {
            skipped: vec![skip("a/hunter2-hunter2".into()), skip(format!("{}hunter2-hun", "x".repeat(189)))],
            branches: vec![branch("fix/hunter2-hunter2"), branch("fix/x"), branch("withheld-1")],
            ..Harvest::default()
        };
        let (left, renamed) = told(&harvest, &redactor);
        assert_eq!(renamed, [Renamed { from: "fix/hunter2-hunter2".into(), to: "withheld-2".into() }]);
        let names: Vec<&str> = left.branches.iter().map(|branch| &*branch.name).collect();
        assert_eq!(names, ["withheld-2", "fix/x", "withheld-1"]);
        let paths: Vec<&str> = left.skipped.iter().map(|one| &*one.path).collect();
        assert_eq!(paths, ["a/***", &"x".repeat(189), "refs/heads/fix/***"]);
    }
}
