//! Parses a patch for display: files with their lines, each line with a kind. Pure and total: any output of git becomes
//! lines of some kind.
//! Deliberately absent: understanding of the change.

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Context,
    Added,
    Removed,
    /// A hunk header: `@@ … @@`.
    Place,
    /// A header line of git about the file.
    About,
}

impl Kind {
    /// The class of such a line; context lines have none.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Context => "",
            Self::Added => "add",
            Self::Removed => "del",
            Self::Place => "at",
            Self::About => "about",
        }
    }
}

/// The changes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File<'a> {
    /// The name, after the change if the file still exists.
    pub(super) name: &'a str,
    /// The number of added lines.
    pub(super) added: usize,
    /// The number of removed lines.
    pub(super) removed: usize,
    /// The lines in order, without the first, which names the file.
    pub(super) lines: Vec<(Kind, &'a str)>,
}

impl File<'_> {
    /// Adjacent lines of the same kind form a run: a page needs one element for a run.
    pub(super) fn runs(&self) -> Vec<(&'static str, String)> {
        let mut runs: Vec<(&'static str, String)> = Vec::new();
        for (kind, line) in &self.lines {
            match runs.last_mut().filter(|(class, _)| *class == kind.class()) {
                Some((_, text)) => {
                    text.push_str(line);
                    text.push('\n');
                }
                None => runs.push((kind.class(), format!("{line}\n"))),
            }
        }
        runs
    }
}

/// The files of a patch in git's form.
pub(super) fn files(patch: &str) -> Vec<File<'_>> {
    let mut files: Vec<File<'_>> = Vec::new();
    let mut in_hunk = false;
    for line in patch.lines() {
        if let Some(names) = line.strip_prefix("diff --git ") {
            in_hunk = false;
            files.push(File { name: new_name(names), added: 0, removed: 0, lines: Vec::new() });
            continue;
        }
        if files.is_empty() {
            files.push(File { name: "", added: 0, removed: 0, lines: Vec::new() });
        }
        let Some(file) = files.last_mut() else { continue };
        let kind = match line.as_bytes().first() {
            Some(b'@') if line.starts_with("@@") => {
                in_hunk = true;
                Kind::Place
            }
            Some(b'+') if in_hunk => Kind::Added,
            Some(b'-') if in_hunk => Kind::Removed,
            _ if in_hunk => Kind::Context,
            _ => Kind::About,
        };
        match kind {
            Kind::Added => file.added += 1,
            Kind::Removed => file.removed += 1,
            _ => {}
        }
        file.lines.push((kind, line));
    }
    files
}

/// The last part of `a/old b/new`. A name that contains ` b/` is shown from there.
fn new_name(names: &str) -> &str {
    names.rsplit_once(" b/").map_or(names, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n+more\ndiff --git a/y b/z\nrename from y\nrename to z\n";

    #[test]
    fn files_and_lines_are_told_apart() {
        let files = files(PATCH);
        let told: Vec<_> = files.iter().map(|file| (file.name, file.added, file.removed)).collect();
        assert_eq!(told, [("x", 2, 1), ("z", 0, 0)]);
        let classes: Vec<_> = files[0].runs().into_iter().map(|(class, _)| class).collect();
        assert_eq!(classes, ["about", "at", "", "del", "add"]);
        assert_eq!(files[0].runs()[4].1, "+new\n+more\n");
    }

    #[test]
    fn anything_is_some_kind_of_line() {
        assert!(files("").is_empty());
        assert_eq!(files("(cut)\n")[0].lines, [(Kind::About, "(cut)")]);
        assert_eq!(files("diff --git \n")[0].name, "");
    }
}
