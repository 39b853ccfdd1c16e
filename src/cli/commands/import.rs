//! `plan import`: another tool's task list becomes a plan file, or a submission, with a report of what had no place.
//! Deliberately absent: reading the lists (`exchange`) and checking the plan (`config::plan_file`).

use std::path::{Path, PathBuf};

use devstack_dag::{ids::ProjectName, plan::PlanSpec};

use super::{Context, directory_of, plan};
use crate::{
    cli::{
        CliError, Exit,
        args::{Format, ImportArgs, ListFormat},
        exit::code,
        files,
        output::clean,
    },
    config::{
        plan_file::{
            self,
            draft::{self, Agent, Doer, Draft, Head},
        },
        problem::{Problem, Problems},
    },
    exchange::{self, Choice, Imported, Losses, Mistake},
};

/// The role of a new plan.
const ROLE: &str = "dev";
/// Who is to do a task that nobody was chosen for, in Dev_Stack's word.
const NOBODY: &str = "unassigned";
/// Who is to do a task that is a person's, in our exports.
const HUMAN: &str = "human";

pub(super) async fn run(context: &Context<'_>, args: ImportArgs) -> Result<Exit, CliError> {
    let name = args.file.display().to_string();
    let bytes = files::read(&args.file, plan_file::PLAN_MAX)?;
    let imported = exchange::read(&bytes, &choice(&args)).map_err(|mistakes| refused(&name, mistakes))?;
    if imported.tasks.is_empty() {
        report(context, &name, &imported.losses);
        let problem = Problem::new(code::TASK_LIST, "there is nothing to do in it").at(name.as_str(), None);
        let hint = "--include-done takes finished tasks too, --backlog the backlog";
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

/// A list that cannot be taken: all its mistakes, each with its line.
fn refused(file: &str, mistakes: Vec<Mistake>) -> CliError {
    let problem = |mistake: Mistake| {
        let problem = Problem::new(code::TASK_LIST, clean(&mistake.message)).at(file, mistake.line);
        match mistake.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    let problems = Problems::from_list(mistakes.into_iter().map(problem).collect());
    problems.map_or_else(|| CliError::usage("the list cannot be taken"), CliError::from)
}

/// A plan that was made of a list, checked.
struct Made {
    /// Where it stands, or would.
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
                let about = format!("Made of {name} ({}) by `devstack plan import`.", imported.format.name());
                (path, draft::head(&Head { project: &project, repo, role, agent }, &[about]))
            }
        };
        if text.trim_start().starts_with('{') {
            let hint = "write it as TOML: submit it, then `devstack plan export PROJECT`";
            return Err(CliError::usage("tasks are added to plan files in TOML only").hint(hint));
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

/// The project's name: as asked, as the list says, or as the directory is called.
fn project(args: &ImportArgs, imported: &Imported, dir: &Path) -> Result<String, CliError> {
    if let Some(name) = &args.project {
        return Ok(ProjectName::new(name).map_err(|e| CliError::usage(e.to_string()))?.to_string());
    }
    let named = imported.project.clone().or_else(|| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = named.unwrap_or_default().chars().map(fits).take(64).collect();
    let name = name.trim_matches(['-', '_']);
    let name = ProjectName::new(name).map_err(|_| {
        CliError::usage("neither the list nor its directory has a name for the project")
            .hint("give it one with --project")
    })?;
    Ok(name.to_string())
}

fn in_git(dir: &Path) -> bool {
    dir.ancestors().any(|dir| dir.join(".git").exists())
}

/// Roles and tasks that the plan has before the list is added.
struct Roles {
    names: Vec<String>,
    /// The role that tasks without one have; `None`: the plan's own default.
    default: Option<String>,
    tasks: Vec<String>,
}

impl Roles {
    /// A probe: the plan with one person's task more, since a plan without tasks is none.
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

    /// Who does a task: the role that its list's word names, digits left out (`Dev1` is a `dev`).
    fn doer<'a>(&'a self, task: &exchange::Task, field: &str, losses: &mut Losses) -> Option<Doer<'a>> {
        let default = self.default.as_deref().map(Doer::Role);
        let Some(assigned) = &task.assigned else { return default };
        match who(assigned, &self.names) {
            Who::Default => default,
            Who::Human => Some(Doer::Human),
            // A plan with one role need not say it.
            Who::Role(_) if self.names.len() == 1 => None,
            Who::Role(role) => Some(Doer::Role(role)),
            Who::Unknown => {
                let what = format!("`{}` is no role of the plan: done by its default role", clean(assigned));
                losses.add(task.line, Some(&task.source), field, what);
                default
            }
        }
    }
}

/// Who does a task, by the word that a list has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    /// Nobody was chosen.
    Default,
    /// A person.
    Human,
    /// An agent of this role.
    Role(&'a str),
    /// Somebody whom the plan does not know.
    Unknown,
}

/// The role that a word names, digits left out: `Dev1` is a `dev`.
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

/// Tasks that the plan has already.
fn refuse_known(file: &str, plan: &str, known: &[String], imported: &Imported) -> Result<(), CliError> {
    let known: std::collections::HashSet<&str> = known.iter().map(String::as_str).collect();
    let twice = imported.tasks.iter().filter(|task| known.contains(task.id.as_str()));
    let mistakes: Vec<Mistake> = twice
        .map(|task| Mistake {
            line: task.line,
            message: format!("{plan} has a task `{}` already", task.id),
            hint: Some("take it out of one of them; or import into a new plan with --to".to_owned()),
        })
        .collect();
    if mistakes.is_empty() { Ok(()) } else { Err(refused(file, mistakes)) }
}

/// The losses, for people.
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
            let lost = if lost == 0 { "nothing lost".to_owned() } else { format!("{lost} losses, told above") };
            let path = path.display();
            format!(
                "{path}: {added} tasks of {file} ({}) for {project}; {lost}\nnext: devstack run {path}",
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
