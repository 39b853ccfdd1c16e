//! Plan files: reads TOML, or JSON of the same shape, into a [`PlanSpec`] with all defaults filled in and all names
//! resolved; or reports all mistakes, each with its line and a fix. [`to_json`] renders the wire format of
//! `POST /v1/plans`; [`to_toml`] renders the same for people.
//! Deliberately absent: whether the project's present state allows the plan (the engine decides), and git.
//!
//! Prompts of any length are [`Text::Inline`](devstack_dag::ids::Text) here; the node moves long prompts into blobs.

pub mod draft;
mod graph;
mod guards;
mod profiles;
mod project;
mod prompt;
mod render;
mod tasks;
#[cfg(test)]
mod tests;

use std::{io, path::Path};

use devstack_dag::plan::PlanSpec;

use self::profiles::Profiles;
use super::{
    problem::{Problem, Problems},
    profile::Catalog,
    section::{Reader, code},
};
pub use render::priority;
pub use render::{PromptIsBlob, to_json, to_toml};

/// The largest plan, in bytes: about 300 bytes for each of 200,000 tasks. Also the body limit of `POST /v1/plans`.
pub const PLAN_MAX: u64 = 64 << 20;
/// The largest prompt, in bytes: more than any model reads at once.
pub const PROMPT_MAX: usize = 1 << 20;

/// Error codes of plans only. Stable.
mod plan_code {
    pub(super) const UNKNOWN_ROLE: &str = "DS0106";
    pub(super) const DUPLICATE_TASK: &str = "DS0107";
    pub(super) const MISSING_DEPENDENCY: &str = "DS0108";
    pub(super) const CYCLE: &str = "DS0109";
    pub(super) const UNKNOWN_PROFILE: &str = "DS0112";
}

/// How to resolve relative names in a plan.
pub trait Surroundings {
    /// The content of a `prompt_file`.
    ///
    /// # Errors
    /// Why the file cannot be read.
    fn prompt(&self, name: &str) -> io::Result<String>;
    /// An absolute path or a URL for `repo`.
    ///
    /// # Errors
    /// Why the name cannot be resolved.
    fn repo(&self, name: &str) -> Result<String, String>;
    /// Where to find profiles that the plan does not define itself.
    fn profiles(&self) -> Catalog {
        Catalog::system()
    }
}

/// A plan from the API: it must be self-contained.
pub struct Posted;

impl Surroundings for Posted {
    fn prompt(&self, _: &str) -> io::Result<String> {
        Err(io::Error::other("a posted plan must have its prompts inline; send `prompt`"))
    }
    fn repo(&self, name: &str) -> Result<String, String> {
        if is_url(name) || Path::new(name).is_absolute() {
            return Ok(name.to_owned());
        }
        Err("a posted plan has no directory; send an absolute path or a URL".to_owned())
    }
}

/// A plan file: names are relative to its directory.
struct Beside<'a>(&'a Path);

impl Surroundings for Beside<'_> {
    fn prompt(&self, name: &str) -> io::Result<String> {
        let path = self.0.join(name);
        if path.metadata()?.len() > PROMPT_MAX as u64 {
            return Err(io::Error::other("the file is larger than 1MiB"));
        }
        std::fs::read_to_string(path)
    }
    fn repo(&self, name: &str) -> Result<String, String> {
        if is_url(name) {
            return Ok(name.to_owned());
        }
        let path = std::path::absolute(self.0.join(name)).map_err(|e| e.to_string())?;
        // The node refuses a missing repository, with the same message for all sources of plans.
        let path = path.canonicalize().unwrap_or(path);
        path.into_os_string().into_string().map_err(|_| "its path is not valid UTF-8".to_owned())
    }
    fn profiles(&self) -> Catalog {
        Catalog::beside(self.0)
    }
}

/// `scheme://…` or `user@host:path`.
fn is_url(name: &str) -> bool {
    let scp = || name.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    name.contains("://") || scp()
}

/// Checks a plan as if its file were in `dir`. `name` is its name in messages.
///
/// # Errors
/// All mistakes.
pub fn parse_in(dir: &Path, name: &str, text: &str) -> Result<PlanSpec, Problems> {
    parse(name, text, &Beside(dir))
}

/// Reads and checks a plan file.
///
/// # Errors
/// All mistakes, or why the file cannot be read.
pub fn load(path: &Path) -> Result<PlanSpec, Problems> {
    let name = path.display().to_string();
    let unreadable = |why: String| {
        let hint = "name a plan file, for example `devstack run devstack.toml`";
        Problems::from(
            Problem::new(code::UNREADABLE, format!("cannot read the plan: {why}")).hint(hint).at(name.as_str(), None),
        )
    };
    let size = path.metadata().map_err(|e| unreadable(e.to_string()))?.len();
    if size > PLAN_MAX {
        return Err(unreadable(format!("the file has {size} bytes; at most {PLAN_MAX} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    let absolute = std::path::absolute(path).map_err(|e| unreadable(e.to_string()))?;
    parse(&name, &text, &Beside(absolute.parent().unwrap_or(Path::new("/"))))
}

/// Checks a plan. `file` is its name in messages.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn parse(file: &str, text: &str, around: &dyn Surroundings) -> Result<PlanSpec, Problems> {
    let mut reader = Reader::new(file, text);
    let plan = read(&mut reader, around);
    reader.finish()?;
    plan.ok_or_else(|| Problem::new(code::SYNTAX, "the plan is empty").at(file, None).into())
}

fn read<'i>(reader: &mut Reader<'i>, around: &dyn Surroundings) -> Option<PlanSpec> {
    let mut top = reader.document()?;
    let project = match top.take(reader, "project") {
        Some(field) => reader.table(field.value, "[project]"),
        None => {
            let hint = "start the plan with:\n  [project]\n  name = \"shop\"\n  repo = \".\"".to_owned();
            reader.add(0, code::MISSING, "the plan has no [project]", Some(hint));
            None
        }
    };
    let mut profiles = Profiles::read(reader, &mut top, around);
    let roles = project::roles(reader, &mut top, &mut profiles);
    let defaults = tasks::defaults(reader, &mut top, &roles);
    let tasks = tasks::tasks(reader, &mut top, &roles, &defaults, around);
    let project = project.and_then(|table| project::project(reader, table, roles, profiles, around));
    top.finish(reader, &["project", "agents", "profiles", "defaults", "task"]);
    if let Some(tasks) = &tasks {
        graph::check(reader, tasks);
    }
    let (project, tasks) = (project?, tasks?);
    let tasks = reader.is_clean().then(|| tasks.into_iter().map(|task| task.spec).collect())?;
    Some(PlanSpec { project, tasks })
}
