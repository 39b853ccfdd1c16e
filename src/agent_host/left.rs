//! What an attempt left besides its result, as the Taskmaster is told it: without secrets. Paths and names are an agent's
//! own words.
//! Deliberately absent: bounds of lists (the runtime's), and what is made of it (the engine's).

use std::path::Path;

use devstack_dag::attempt::{Branch, Left, Skipped};
use devstack_shim::{
    layout,
    redact::Redactor,
    spec::{SKIPPED_PATH_MAX, SKIPPED_WHY_MAX},
};

use crate::{repository::bundle_refs, runtime::Harvest};

/// A character that did not fit is at most so long: a text that is shorter than its bound by more was not cut.
const CHARACTER_MAX: usize = 4;

/// What is told, and the branches that are not: their names hold a secret.
pub(super) fn told(harvest: &Harvest, redactor: &Redactor) -> (Left, Vec<String>) {
    let mut left = Left { skipped: Vec::new(), more: harvest.more, branches: Vec::new() };
    for one in &harvest.skipped {
        let path = redacted(redactor, &one.path, SKIPPED_PATH_MAX).into();
        left.skipped.push(Skipped { path, why: redacted(redactor, &one.why, SKIPPED_WHY_MAX).into() });
    }
    let mut hidden = Vec::new();
    for branch in &harvest.branches {
        let name = redacted(redactor, &branch.name, usize::MAX);
        match branch.commit.parse() {
            Ok(commit) if name == branch.name => left.branches.push(Branch { name: name.into(), commit }),
            _ => {
                let why = "the branch is not taken: its name holds a secret".into();
                left.skipped.push(Skipped { path: format!("refs/heads/{name}").into(), why });
                hidden.push(branch.name.clone());
            }
        }
    }
    (left, hidden)
}

/// Where a text may have been cut, the beginning of a secret at its end goes too.
fn redacted(redactor: &Redactor, text: &str, max: usize) -> String {
    let cut = text.len().saturating_add(CHARACTER_MAX) > max;
    let whole = if cut { redactor.settled(text.as_bytes()) } else { text.len() };
    let text = &text.as_bytes()[..whole];
    String::from_utf8_lossy(&redactor.redact(text, 0)).into_owned()
}

/// Takes branches out of a bundle.
pub(super) fn withhold(bundle: &Path, hidden: &[String]) -> std::io::Result<()> {
    bundle_refs::keep(bundle, |_, name| {
        name.strip_prefix(layout::BRANCH_REFS).is_none_or(|name| !hidden.iter().any(|hidden| hidden == name))
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
            branches: vec![branch("fix/hunter2-hunter2"), branch("fix/x")],
            ..Harvest::default()
        };
        let (left, hidden) = told(&harvest, &redactor);
        assert_eq!(hidden, ["fix/hunter2-hunter2"]);
        assert_eq!(left.branches.iter().map(|branch| &*branch.name).collect::<Vec<_>>(), ["fix/x"]);
        let paths: Vec<&str> = left.skipped.iter().map(|one| &*one.path).collect();
        assert_eq!(paths, ["a/***", &"x".repeat(189), "refs/heads/fix/***"]);
    }
}
