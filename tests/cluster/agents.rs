//! What agents do in these stories: each attempt writes down that it begins, changes a file, waits at a gate that the
//! test opens, and writes down that it ends. The notes lie outside all workspaces, in the order in which things
//! happened.
//! Deliberately absent: what must be true of the notes (`history`).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// One line goes in at once: appends of so few bytes are not mixed.
const SCRIPT: &str = r#"
meet=$(dirname "$0"); root=$(dirname "$meet")
me="$DEVSTACK_TASK_ID $DEVSTACK_ATTEMPT"
host=${DEVSTACK_WORKSPACE#"$root/"}; host=${host%%/*}
echo "$me $host begin" >> "$meet/notes"
echo "$me" > "$DEVSTACK_TASK_ID"
if [ -e "$meet/$DEVSTACK_TASK_ID.sh" ]; then . "$meet/$DEVSTACK_TASK_ID.sh"; fi
until [ -e "$meet/open" ] || [ -e "$meet/$DEVSTACK_TASK_ID" ] || [ -e "$meet/$DEVSTACK_TASK_ID.$DEVSTACK_ATTEMPT" ]
do sleep 0.05; done
echo "$me $host end" >> "$meet/notes"
"#;

/// Where agents and the test meet.
pub(crate) struct Meeting(PathBuf);

/// One run of an attempt; numbers of lines say when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) task: String,
    pub(crate) attempt: u64,
    pub(crate) host: String,
    pub(crate) begin: usize,
    pub(crate) end: Option<usize>,
}

impl Meeting {
    /// In a directory that agents, as whichever user, may pass through.
    pub(crate) fn new(root: &Path) -> Self {
        let dir = root.join("meet");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        for (name, text) in [("agent.sh", SCRIPT), ("notes", "")] {
            fs::write(dir.join(name), text).unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(0o666)).unwrap();
        }
        Self(dir)
    }

    /// A plan: each task with those that it depends on.
    pub(crate) fn plan(&self, tasks: &[(&str, &[&str])]) -> String {
        let script = self.0.join("agent.sh");
        let mut plan = format!(
            "[project]\nname = \"shop\"\nrepo = \".\"\n[agents.dev]\ncount = 9\ncommand = [\"sh\", \"{}\"]\n",
            script.display()
        );
        for (id, dependencies) in tasks {
            plan += &format!(
                "[[task]]\nid = \"{id}\"\ntitle = \"{id}\"\nprompt = \"x\"\ndependencies = {dependencies:?}\n"
            );
        }
        plan
    }

    /// What the agents of a task do besides, before they wait.
    pub(crate) fn script(&self, task: &str, script: &str) {
        fs::write(self.0.join(format!("{task}.sh")), script).unwrap();
    }

    /// Lets one task end, or with `task.number` one attempt.
    pub(crate) fn open(&self, which: &str) {
        fs::write(self.0.join(which), "").unwrap();
    }

    /// Lets everybody end.
    pub(crate) fn open_all(&self) {
        self.open("open");
    }

    /// What the agents wrote down, by begin.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let notes = fs::read_to_string(self.0.join("notes")).unwrap();
        let mut runs: Vec<Run> = Vec::new();
        for (line, note) in notes.lines().enumerate() {
            let parts: Vec<&str> = note.split(' ').collect();
            let [task, attempt, host, what] = parts[..] else { panic!("a note that nobody writes: {note}") };
            let attempt = attempt.parse().unwrap();
            if what == "begin" {
                runs.push(Run { task: task.into(), attempt, host: host.into(), begin: line, end: None });
                continue;
            }
            let begun = runs.iter_mut().rfind(|run| run.task == task && run.attempt == attempt);
            begun.expect("it begins before it ends").end = Some(line);
        }
        runs
    }

    /// The run of an attempt, once it has begun.
    pub(crate) fn run(&self, task: &str, attempt: u64) -> Option<Run> {
        self.runs().into_iter().find(|run| run.task == task && run.attempt == attempt)
    }
}
