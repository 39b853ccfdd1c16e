//! `plan import`: turns another tool's task list into a plan file or a submission, and reports what was lost.
//! Deliberately absent: reading the lists (`exchange`) and checking the plan (`config::plan_file`).

use std::path::{Path, PathBuf};

use devstack_dag::{ids::ProjectName, plan::PlanSpec};

use super::{Context, directory_of, plan};
use crate::{
    CliError, Exit,
    args::{Format, ImportArgs, ListFormat},
    exit::code,
    files,
    output::clean,
};
use devstack_config::{
    plan_file::{
        self,
        draft::{self, Agent, Doer, Draft, Head},
    },
    problem::{Problem, Problems},
};
use devstack_exchange as exchange;
use devstack_exchange::{Choice, Imported, Losses, Mistake};

/// The role of a new plan.
const ROLE: &str = "dev";
/// Dev_Stack's word for "nobody is assigned".
const NOBODY: &str = "unassigned";
/// The word in our exports for a task that a person does.
const HUMAN: &str = "human";

pub(super) async fn run(context: &Context<'_>, args: ImportArgs) -> Result<Exit, CliError> {
    let name = args.file.display().to_string();
    let bytes = files::read(&args.file, plan_file::PLAN_MAX)?;
    let imported = exchange::read(&bytes, &choice(&args)).map_err(|mistakes| refused(&name, mistakes))?;
    if imported.tasks.is_empty() {
        report(context, &name, &imported.losses);
        let problem = Problem::new(code::TASK_LIST, "the list has no unfinished task").at(name.as_str(), None);
        let hint = "--include-done also imports finished tasks, --backlog also imports the backlog";
        return Err(CliError::new(Exit::Usage, problem.hint(hint)));
    }
    let made = Made::new(&args, &name, imported)?;
    let mut losses = made.losses;
    match &args.into {
        _ if args.submit => {
            report(context, &name, &losses);
            return plan::submit_plan(context, made.plan, &directory_of(&made.path)?, false, false).await;
        }
        Some(path) => files::write(path, &made.text, true)?,
        None if args.to == Path::new("-") => {
            report(context, &name, &losses);
            context.output.data(&made.text);
            return Ok(Exit::Ok);
        }
        None => files::write(&args.to, &made.text, args.force)?,
    }
    told(context, &name, &made.path, made.added, &made.plan, made.format, &mut losses);
    Ok(Exit::Ok)
}

fn choice(args: &ImportArgs) -> Choice<'_> {
    let format = match args.format {
        ListFormat::Auto => None,
        ListFormat::DevStack => Some(exchange::Format::DevStack),
        ListFormat::TaskMaster => Some(exchange::Format::TaskMaster),
        ListFormat::Beads => Some(exchange::Format::Beads),
    };
    Choice { format, tag: args.tag.as_deref(), finished: args.include_done, backlog: args.backlog }
}

/// The error for an invalid list: all mistakes, each with its line.
fn refused(file: &str, mistakes: Vec<Mistake>) -> CliError {
    let problem = |mistake: Mistake| {
        let problem = Problem::new(code::TASK_LIST, clean(&mistake.message)).at(file, mistake.line);
        match mistake.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    let problems = Problems::from_list(mistakes.into_iter().map(problem).collect());
    problems.map_or_else(|| CliError::usage("the list cannot be imported"), CliError::from)
}

/// A checked plan, made from a list.
struct Made {
    /// The path of the plan file, written or not.
    path: PathBuf,
    text: String,
    plan: PlanSpec,
    added: usize,
    format: exchange::Format,
    losses: Losses,
}

impl Made {
    fn new(args: &ImportArgs, name: &str, mut imported: Imported) -> Result<Self, CliError> {
        let (path, mut text) = match &args.into {
            Some(path) => {
                let text = String::from_utf8(files::read(path, plan_file::PLAN_MAX)?);
                let text = text.map_err(|_| CliError::usage(format!("{} is not UTF-8 text", path.display())))?;
                (path.clone(), text)
            }
            None => {
                let path = if args.to == Path::new("-") { PathBuf::from("devstack.toml") } else { args.to.clone() };
                let dir = directory_of(&path)?;
                let project = project(args, &imported, &dir)?;
                let repo = args.repo.as_deref().or_else(|| in_git(&dir).then_some("."));
                let agent = match &args.command {
                    Some(command) => Agent::Command(command),
                    None => Agent::Profile(&args.profile),
                };
                let role = args.role.as_deref().unwrap_or(ROLE);
                let about = format!("Imported from {name} ({}) by `devstack plan import`.", imported.format.name());
                (path, draft::head(&Head { project: &project, repo, role, agent }, &[about]))
            }
        };
        if text.trim_start().starts_with('{') {
            let hint = "convert the plan to TOML: submit it, then run `devstack plan export PROJECT`";
            return Err(CliError::usage("tasks can only be added to plan files in TOML").hint(hint));
        }
        let dir = directory_of(&path)?;
        let label = path.display().to_string();
        let before = Roles::of(&dir, &label, &text, args)?;
        refuse_known(name, &label, &before.tasks, &imported)?;
        let (losses, format) = (&mut imported.losses, imported.format);
        let drafts: Vec<Draft<'_>> = imported
            .tasks
            .iter()
            .map(|task| Draft {
                id: &task.id,
                title: &task.title,
                prompt: &task.prompt,
                dependencies: &task.dependencies,
                priority: task.priority,
                executor: before.doer(task, format.assigned(), losses),
            })
            .collect();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&draft::tasks(&drafts));
        if !imported.ideas.is_empty() {
            let ideas = imported.ideas.iter().map(|idea| format!("Backlog: {idea}"));
            text.push_str(&format!("\n{}", draft::comment(&ideas.collect::<Vec<_>>())));
        }
        let plan = plan_file::parse_in(&dir, &label, &text)?;
        let added = imported.tasks.len();
        Ok(Self { path, text, plan, added, format, losses: imported.losses })
    }
}

/// The project's name: from `--project`, else from the list, else from the directory.
fn project(args: &ImportArgs, imported: &Imported, dir: &Path) -> Result<String, CliError> {
    if let Some(name) = &args.project {
        return Ok(ProjectName::new(name).map_err(|e| CliError::usage(e.to_string()))?.to_string());
    }
    let named = imported.project.clone().or_else(|| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = named.unwrap_or_default().chars().map(fits).take(64).collect();
    let name = name.trim_matches(['-', '_']);
    let name = ProjectName::new(name).map_err(|_| {
        CliError::usage("neither the list nor its directory provides a name for the project")
            .hint("set the name with --project")
    })?;
    Ok(name.to_string())
}

fn in_git(dir: &Path) -> bool {
    dir.ancestors().any(|dir| dir.join(".git").exists())
}

/// Roles and tasks of the plan before the list is added.
struct Roles {
    names: Vec<String>,
    /// The role of tasks that name none; `None`: the plan's own default.
    default: Option<String>,
    tasks: Vec<String>,
}

impl Roles {
    /// Parses the plan with one extra manual task as a probe, since a plan without tasks is invalid.
    fn of(dir: &Path, label: &str, text: &str, args: &ImportArgs) -> Result<Self, CliError> {
        const PROBE: &str = "devstack-import-probe";
        let probe = format!("{text}\n[[task]]\nid = \"{PROBE}\"\nexecutor = \"human\"\ntitle = \"{PROBE}\"\n");
        let plan = plan_file::parse_in(dir, label, &probe)?;
        let names: Vec<String> = plan.project.roles.iter().map(|role| role.name.to_string()).collect();
        if let Some(role) = args.role.as_ref().filter(|role| !names.contains(role)) {
            let known = format!("{label} has these roles: {}", names.join(", "));
            return Err(CliError::usage(format!("unknown role `{role}`")).hint(known));
        }
        let tasks = plan.tasks.iter().map(|task| task.id.to_string()).filter(|id| id != PROBE).collect();
        Ok(Self { names, default: args.role.clone().filter(|_| args.into.is_some()), tasks })
    }

    /// Who does a task: the role that the assignee in the list names, without digits at its end (`Dev1` is a `dev`).
    fn doer<'a>(&'a self, task: &exchange::Task, field: &str, losses: &mut Losses) -> Option<Doer<'a>> {
        let default = self.default.as_deref().map(Doer::Role);
        let Some(assigned) = &task.assigned else { return default };
        match who(assigned, &self.names) {
            Who::Default => default,
            Who::Human => Some(Doer::Human),
            // A plan with one role does not need to name it.
            Who::Role(_) if self.names.len() == 1 => None,
            Who::Role(role) => Some(Doer::Role(role)),
            Who::Unknown => {
                let what = format!("`{}` is not a role of the plan: done by its default role", clean(assigned));
                losses.add(task.line, Some(&task.source), field, what);
                default
            }
        }
    }
}

/// Who does a task, according to the assignee in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    /// Nobody is assigned.
    Default,
    /// A person.
    Human,
    /// An agent of this role.
    Role(&'a str),
    /// An assignee that the plan does not know.
    Unknown,
}

/// The role that an assignee names, without digits at its end: `Dev1` is a `dev`.
pub(super) fn who<'a>(assigned: &str, roles: &'a [String]) -> Who<'a> {
    let named = assigned.trim();
    let word = named.to_ascii_lowercase();
    if named == HUMAN {
        return Who::Human;
    }
    if word.is_empty() || word == NOBODY {
        return Who::Default;
    }
    let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let found = [named, &word, bare].iter().find_map(|word| roles.iter().find(|name| name == word));
    found.map_or(Who::Unknown, |role| Who::Role(role))
}

/// Refuses tasks whose ids the plan already has.
fn refuse_known(file: &str, plan: &str, known: &[String], imported: &Imported) -> Result<(), CliError> {
    let known: std::collections::HashSet<&str> = known.iter().map(String::as_str).collect();
    let twice = imported.tasks.iter().filter(|task| known.contains(task.id.as_str()));
    let mistakes: Vec<Mistake> = twice
        .map(|task| Mistake {
            line: task.line,
            message: format!("{plan} already has a task `{}`", task.id),
            hint: Some("remove the task from one of the files, or import into a new plan with --to".to_owned()),
        })
        .collect();
    if mistakes.is_empty() { Ok(()) } else { Err(refused(file, mistakes)) }
}

/// Prints the losses, for people.
pub(super) fn report(context: &Context<'_>, file: &str, losses: &Losses) {
    for line in losses.told(file) {
        context.output.note(&clean(&line));
    }
}

fn told(
    context: &Context<'_>,
    file: &str,
    path: &Path,
    added: usize,
    plan: &PlanSpec,
    format: exchange::Format,
    losses: &mut Losses,
) {
    report(context, file, losses);
    let project = plan.project.name.as_str();
    context.output.data(&match context.output.format {
        Format::Table => {
            let lost = losses.as_slice().len() as u64 + losses.more;
            let lost = if lost == 0 { "nothing lost".to_owned() } else { format!("{lost} losses, listed above") };
            let path = path.display();
            format!(
                "{path}: {added} tasks from {file} ({}) for {project}; {lost}\nnext: devstack run {path}",
                format.name()
            )
        }
        Format::Json | Format::Jsonl => serde_json::json!({
            "apiVersion": "v1",
            "project": project,
            "format": word(format),
            "plan": path.display().to_string(),
            "tasks": added,
            "losses": losses.as_slice(),
            "more_losses": losses.more,
        })
        .to_string(),
    });
}

/// The value of `--format`.
fn word(format: exchange::Format) -> &'static str {
    match format {
        exchange::Format::DevStack => "dev-stack",
        exchange::Format::TaskMaster => "task-master",
        exchange::Format::Beads => "beads",
    }
}
