//! Plan files: TOML, or JSON of the same shape, to a [`PlanSpec`] with every default filled in and every name
//! resolved; or all that is wrong with it, each with its line and its mend. [`to_json`] is the way back: the
//! wire shape of `POST /v1/plans`; [`to_toml`] the same for people.
//! Deliberately absent: whether the project's present state allows the plan (the engine decides), and git.
//!
//! Prompts are [`Text::Inline`](devstack_dag::ids::Text) here whatever their length; the node moves long ones into blobs.

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
pub(crate) use render::priority;
pub use render::{PromptIsBlob, to_json, to_toml};

/// The largest plan, in bytes: about 300 bytes for each of 200,000 tasks. Also the body limit of `POST /v1/plans`.
pub const PLAN_MAX: u64 = 64 << 20;
/// The largest prompt, in bytes: more than any model reads at once.
pub const PROMPT_MAX: usize = 1 << 20;

/// Codes that only plans have. Stable.
mod plan_code {
    pub(super) const UNKNOWN_ROLE: &str = "DS0106";
    pub(super) const DUPLICATE_TASK: &str = "DS0107";
    pub(super) const MISSING_DEPENDENCY: &str = "DS0108";
    pub(super) const CYCLE: &str = "DS0109";
    pub(super) const UNKNOWN_PROFILE: &str = "DS0112";
}

/// Where relative names of a plan lead.
pub trait Surroundings {
    /// The content of a `prompt_file`.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn prompt(&self, name: &str) -> io::Result<String>;
    /// An absolute path or a URL for `repo`.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn repo(&self, name: &str) -> Result<String, String>;
    /// Where profiles are that the plan does not have itself.
    fn profiles(&self) -> Catalog {
        Catalog::system()
    }
}

/// A plan that came over the API: it must be self-contained.
pub struct Posted;

impl Surroundings for Posted {
    fn prompt(&self, _: &str) -> io::Result<String> {
        Err(io::Error::other("a posted plan has its prompts inline; send `prompt`"))
    }
    fn repo(&self, name: &str) -> Result<String, String> {
        if is_url(name) || Path::new(name).is_absolute() {
            return Ok(name.to_owned());
        }
        Err("a posted plan has no directory of its own; send an absolute path or a URL".to_owned())
    }
}

/// A plan file: names are relative to its directory.
struct Beside<'a>(&'a Path);

impl Surroundings for Beside<'_> {
    fn prompt(&self, name: &str) -> io::Result<String> {
        let path = self.0.join(name);
        if path.metadata()?.len() > PROMPT_MAX as u64 {
            return Err(io::Error::other("it is larger than 1MiB"));
        }
        std::fs::read_to_string(path)
    }
    fn repo(&self, name: &str) -> Result<String, String> {
        if is_url(name) {
            return Ok(name.to_owned());
        }
        let path = std::path::absolute(self.0.join(name)).map_err(|e| e.to_string())?;
        // A repository that is not there is refused by the node, with the same words for every way in.
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

/// Checks a plan that would stand in a directory. `name` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_in(dir: &Path, name: &str, text: &str) -> Result<PlanSpec, Problems> {
    parse(name, text, &Beside(dir))
}

/// Reads and checks a plan file.
///
/// # Errors
/// Everything that is wrong with it, or why it cannot be read.
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
        return Err(unreadable(format!("it has {size} bytes; at most {PLAN_MAX} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    let absolute = std::path::absolute(path).map_err(|e| unreadable(e.to_string()))?;
    parse(&name, &text, &Beside(absolute.parent().unwrap_or(Path::new("/"))))
}

/// Checks a plan. `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
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
