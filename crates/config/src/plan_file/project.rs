//! `[project]` and `[agents.*]`: the project and its roles.
//! Deliberately absent: tasks.

use std::{collections::BTreeMap, sync::Arc};

use devstack_dag::{
    ids::{ProjectName, RoleName, Text},
    plan::{Limits, Network, ProjectSpec, Review, RoleSpec, VerifyOn},
};

use super::{
    Surroundings, guards, plan_code,
    profiles::{self, Chosen, Profiles},
    prompt,
};
use crate::{
    labels,
    profile::RESERVED,
    protected,
    section::{At, Reader, Table, code},
    suggest::nearest,
};

/// The most slots of one role: the largest host in the reference measurements ran 140 attempts.
const COUNT_MAX: u32 = 1000;
/// The largest project description, in bytes of text: a record is at most 16 KiB.
const PROJECT_MAX: usize = 12 << 10;
/// The longest text of one command or check, in bytes, for the same reason.
pub(super) const COMMAND_MAX: usize = 4 << 10;
/// The longest name of an image: Docker's own limit.
const IMAGE_MAX: usize = 255;
/// The least memory that a process gets.
const MEMORY_MIN: u64 = 4 << 20;
/// The shortest and longest wait for a silent host, in milliseconds: one late frame is not silence, and a host that is
/// away for a week has been replaced.
const DISCONNECT: (u64, u64) = (1_000, 7 * 86_400_000);
/// The most processors; thousandths of a processor are counted.
const CPUS_MAX: f64 = 1024.0;

/// The roles with the positions of their names, sorted by name.
pub(super) struct Roles {
    /// The roles that could be read.
    pub(super) list: Vec<At<RoleSpec>>,
    /// Every given name, including those of broken roles: a broken role must not be reported as unknown as well.
    names: Vec<String>,
}

impl Roles {
    /// The role with this name.
    pub(super) fn get(&self, name: &str) -> Option<&RoleSpec> {
        let index = self.list.binary_search_by(|role| role.value.name.as_str().cmp(name)).ok()?;
        Some(&self.list[index].value)
    }

    /// The role, if there is only one.
    pub(super) fn only(&self) -> Option<&RoleSpec> {
        match self.list.as_slice() {
            [role] if self.names.len() == 1 => Some(&role.value),
            _ => None,
        }
    }

    /// Finds a role, and reports an unknown name; `None` if the role is unknown or broken.
    pub(super) fn named(&self, reader: &mut Reader<'_>, at: usize, name: &str, of: &str) -> Option<&RoleSpec> {
        if !self.names.iter().any(|known| known == name) {
            let known = self.names.iter().map(String::as_str);
            let hint = match nearest(name, known.clone()) {
                Some(word) => format!("did you mean `{word}`?"),
                None if self.names.is_empty() => {
                    format!("define it:\n  [agents.{name}]\n  command = [\"sh\", \"-c\", \"…\"]")
                }
                None => format!("known roles: {}", known.collect::<Vec<_>>().join(", ")),
            };
            reader.add(at, plan_code::UNKNOWN_ROLE, format!("unknown role `{name}`{of}"), Some(hint));
        }
        self.get(name)
    }
}

/// Reads `[agents.*]`.
pub(super) fn roles<'i>(reader: &mut Reader<'i>, top: &mut Table<'i>, profiles: &mut Profiles) -> Roles {
    let mut roles = Roles { list: Vec::new(), names: Vec::new() };
    let Some(field) = top.take(reader, "agents") else { return roles };
    let Some(table) = reader.table(field.value, "[agents]") else { return roles };
    for field in table.into_fields() {
        let what = format!("[agents.{}]", field.key);
        if roles.names.iter().any(|name| *name == field.key) {
            reader.add(field.at, code::BAD_VALUE, format!("{what} is given twice"), None);
            continue;
        }
        roles.names.push(field.key.to_string());
        let name = RoleName::new(&field.key).map_err(|e| reader.add(field.at, code::BAD_VALUE, e.to_string(), None));
        let Some(table) = reader.table(field.value, what) else { continue };
        let role = role(reader, table, name.ok(), profiles);
        roles.list.extend(role.map(|value| At { at: field.at, value }));
    }
    roles.list.sort_by(|a, b| a.value.name.cmp(&b.value.name));
    roles
}

fn role<'i>(
    reader: &mut Reader<'i>,
    mut table: Table<'i>,
    name: Option<RoleName>,
    profiles: &mut Profiles,
) -> Option<RoleSpec> {
    table.not_built(
        reader,
        &[("egress", "remove `egress`; network = \"bridge\" allows every connection, \"none\" allows none")],
    );
    let count = table.integer(reader, "count", 1, COUNT_MAX).map_or(1, |count| count.value);
    let own = command(reader, &mut table);
    let chosen = profiles.of_role(reader, &mut table, own.is_some());
    let image = image(reader, &mut table);
    let secrets = secrets(reader, &mut table);
    let labels = match table.take(reader, "labels") {
        Some(field) => reader.table(field.value, format!("`labels`{}", table.of())),
        None => None,
    };
    let labels = labels.map_or_else(BTreeMap::new, |labels| labels::read(reader, labels));
    let network = table.word(reader, "network", &[("none", Network::None), ("bridge", Network::Bridge)]);
    let limits = Limits {
        memory: table.size(reader, "memory", MEMORY_MIN).map(|size| size.value),
        cpu_millis: cpus(reader, &mut table),
        pids: table.integer(reader, "pids", 1, 1 << 22).map(|pids| pids.value),
    };
    let max_disconnect = table.duration(reader, "max_disconnect", DISCONNECT.0, DISCONNECT.1);
    let keys = [
        "count",
        "command",
        "profile",
        "model",
        "max_turns",
        "max_cost",
        "image",
        "secrets",
        "labels",
        "network",
        "memory",
        "cpus",
        "pids",
        "max_disconnect",
    ];
    table.finish(reader, &keys);
    let network = network.map_or(Network::None, |network| network.value);
    let Chosen { command, profile, max_cost_micros, named } = chosen;
    // A wrong profile was already reported; do not report a missing command of its role as well.
    let command = own.unwrap_or(if named && command.is_empty() { vec!["false".into()] } else { command });
    Some(RoleSpec {
        name: name?,
        count,
        command,
        image,
        secrets,
        network,
        limits,
        profile,
        max_cost_micros,
        labels,
        max_disconnect_ms: max_disconnect.map(|duration| duration.value),
    })
}

/// Reads an image name that the engine accepts: `devstack/agent`, `agent:1`, `agent@sha256:…`.
fn image<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Arc<str>> {
    let name = table.text(reader, "image")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "/:._-@".contains(c);
    if name.value.len() <= IMAGE_MAX
        && name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.value.chars().all(fits)
    {
        return Some(name.value.as_ref().into());
    }
    let message = format!("`image`{} is `{}`, which is not an image name", table.of(), name.value);
    reader.add(name.at, code::BAD_VALUE, message, Some("for example image = \"devstack/agent\"".to_owned()));
    None
}

fn cpus<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<u32> {
    let cpus = table.number(reader, "cpus")?;
    if (0.01..=CPUS_MAX).contains(&cpus.value) {
        // In range, so it fits.
        return Some((cpus.value * 1000.0).round() as u32);
    }
    let message = format!("`cpus`{} is {}; it must be 0.01 to {CPUS_MAX}", table.of(), cpus.value);
    reader.add(cpus.at, code::BAD_VALUE, message, None);
    None
}

/// Reads a command line: a program and its arguments.
pub(super) fn command<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Vec<String>> {
    let words = table.texts(reader, "command")?;
    let of = table.of();
    let size: usize = words.value.iter().map(|word| word.value.len()).sum();
    if words.value.first().is_none_or(|program| program.value.is_empty()) {
        let hint = "for example command = [\"sh\", \"-c\", \"make\"]".to_owned();
        reader.add(words.at, code::BAD_VALUE, format!("`command`{of} names no program"), Some(hint));
        return None;
    }
    if size > COMMAND_MAX {
        let hint = "put the script into a file of the repository".to_owned();
        reader.add(
            words.at,
            code::BAD_VALUE,
            format!("`command`{of} has {size} bytes; at most {COMMAND_MAX}"),
            Some(hint),
        );
        return None;
    }
    no_nul(reader, &words.value, "command", &of);
    Some(words.value.into_iter().map(|word| word.value.into_owned()).collect())
}

fn no_nul(reader: &mut Reader<'_>, words: &[At<std::borrow::Cow<'_, str>>], key: &str, of: &str) {
    for word in words.iter().filter(|word| word.value.contains('\0')) {
        reader.add(word.at, code::BAD_VALUE, format!("`{key}`{of} contains a NUL byte"), None);
    }
}

fn secrets<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Vec<String> {
    let Some(names) = table.texts(reader, "secrets") else { return Vec::new() };
    let of = table.of();
    let mut secrets: Vec<String> = Vec::new();
    for At { at, value } in names.value {
        if !crate::secrets::is_name(&value) {
            let message = format!("`{value}` in `secrets`{of} is not a name of an environment variable");
            reader.add(
                at,
                code::BAD_VALUE,
                message,
                Some("write only names of secrets here; their values come from `.env`".to_owned()),
            );
        } else if RESERVED.contains(&&*value) || value.starts_with("DEVSTACK_") {
            reader.add(at, code::BAD_VALUE, format!("`{value}` in `secrets`{of} is set by devstack itself"), None);
        } else if !secrets.contains(&value.to_string()) {
            secrets.push(value.into_owned());
        }
    }
    secrets
}

/// Reads `[project]`.
pub(super) fn project<'i>(
    reader: &mut Reader<'i>,
    mut table: Table<'i>,
    roles: Roles,
    profiles: Profiles,
    around: &dyn Surroundings,
) -> Option<ProjectSpec> {
    let has_name = table.has("name");
    let name = match table.text(reader, "name") {
        Some(name) => {
            ProjectName::new(&name.value).map_err(|e| reader.add(name.at, code::BAD_VALUE, e.to_string(), None)).ok()
        }
        None if has_name => None,
        None => {
            reader.add(
                table.at,
                code::MISSING,
                "[project] has no `name`",
                Some("for example name = \"shop\"".to_owned()),
            );
            None
        }
    };
    let repo = table.text(reader, "repo");
    let source = repo.as_ref().and_then(|repo| match around.repo(&repo.value) {
        Ok(source) => Some(source),
        Err(why) => {
            reader.add(repo.at, code::BAD_VALUE, format!("`repo` is `{}`: {why}", repo.value), None);
            None
        }
    });
    let base = branch(reader, &mut table, "base");
    let integration = branch(reader, &mut table, "integration");
    let checks = table.texts(reader, "checks");
    let resolver = table.text(reader, "resolver");
    let review = review(reader, &mut table);
    let verify_on = [("any", VerifyOn::Any), ("other-host", VerifyOn::OtherHost)];
    let verify_on = table.word(reader, "verify_on", &verify_on);
    let budget = profiles::dollars(reader, &mut table, "budget");
    let protected = guards::globs(reader, &mut table, "protected");
    let prompt_template = prompt::template(reader, &mut table, around);
    if repo.is_none() {
        let given = [
            ("base", base.as_ref().map(|v| v.at)),
            ("integration", integration.as_ref().map(|v| v.at)),
            ("checks", checks.as_ref().map(|v| v.at)),
            ("resolver", resolver.as_ref().map(|v| v.at)),
            ("protected", protected.as_ref().map(|v| v.at)),
        ];
        for (key, at) in given.into_iter().filter_map(|(key, at)| Some((key, at?))) {
            let hint = format!("add `repo`, or remove `{key}`: without a repository nothing is merged");
            reader.add(at, code::BAD_VALUE, format!("`{key}` of [project] needs a `repo`"), Some(hint));
        }
    }
    if let Some(checks) = &checks {
        no_nul(reader, &checks.value, "checks", " of [project]");
        for check in checks.value.iter().filter(|check| check.value.trim().is_empty()) {
            reader.add(check.at, code::BAD_VALUE, "a check of [project] is empty", None);
        }
    }
    let resolver = match resolver {
        Some(named) => {
            let role = roles.named(reader, named.at, &named.value, " as `resolver` of [project]");
            if role.is_some_and(|role| role.command.is_empty()) {
                let message = format!("role `{}` resolves conflicts but has no `command`", named.value);
                reader.add(
                    named.at,
                    code::MISSING,
                    message,
                    Some(format!("add a command to [agents.{}]", named.value)),
                );
            }
            role.map(|role| role.name.clone())
        }
        None => roles.get("senior").filter(|role| !role.command.is_empty()).map(|role| role.name.clone()),
    };
    let keys = ["name", "repo", "base", "integration", "checks", "review", "resolver", "budget", "verify_on"];
    table.finish(reader, &[keys.as_slice(), &["protected", "prompt_template", "prompt_template_file"]].concat());
    let protected = match protected {
        Some(globs) => globs.value,
        None => repo.iter().map(|_| protected::DEFAULT.to_owned()).collect(),
    };
    let project = ProjectSpec {
        name: name?,
        source,
        base: base.map(|base| base.value),
        integration: integration.map_or_else(|| "dev".to_owned(), |integration| integration.value),
        checks: checks
            .map(|checks| checks.value.into_iter().map(|check| check.value.into_owned()).collect())
            .unwrap_or_default(),
        review,
        resolver,
        roles: roles.list.into_iter().map(|role| role.value).collect(),
        profiles: profiles.used(),
        budget_micros: budget.map(|budget| budget.value),
        protected,
        verify_on: verify_on.map(|word| word.value).unwrap_or_default(),
        prompt_template,
    };
    let size = size(&project);
    if size > PROJECT_MAX {
        let message = format!(
            "[project], its checks, roles and profiles have {size} bytes of text; at most {PROJECT_MAX} are kept"
        );
        // The whole description is too large, not one line of it: report it at the top.
        reader.add(0, code::BAD_VALUE, message, Some("put long commands into files of the repository".to_owned()));
    }
    Some(project)
}

fn review<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Review {
    let words = [("none", Some(Review::None)), ("human", Some(Review::Human)), ("agent", None)];
    match table.word(reader, "review", &words) {
        None => Review::None,
        Some(At { value: Some(review), .. }) => review,
        Some(At { at, value: None }) => {
            let hint = "use review = \"none\" or \"human\"".to_owned();
            reader.add(at, code::NOT_BUILT, "`review = \"agent\"` of [project] is not built yet", Some(hint));
            Review::None
        }
    }
}

/// Reads a branch name that git accepts, without asking git.
fn branch<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<At<String>> {
    let name = table.text(reader, key)?;
    let text: &str = &name.value;
    let bad_part =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock") || part.ends_with('.');
    let bad_char = |c: char| c.is_ascii_control() || " ~^:?*[\\\u{7f}".contains(c);
    let bad = text.len() > 200
        || text.starts_with('-')
        || text == "@"
        || text == "HEAD"
        || text.contains("..")
        || text.contains("@{")
        || text.contains(bad_char)
        || text.split('/').any(bad_part);
    if bad {
        reader.add(
            name.at,
            code::BAD_VALUE,
            format!("`{key}`{} is `{text}`, which is not a branch name", table.of()),
            None,
        );
        return None;
    }
    Some(At { at: name.at, value: name.value.into_owned() })
}

/// Bytes of text in a project's description.
fn size(project: &ProjectSpec) -> usize {
    let words = |words: &[String]| words.iter().map(|word| word.len() + 8).sum::<usize>();
    let labels = |role: &RoleSpec| role.labels.iter().map(|(key, value)| key.len() + value.len() + 16).sum::<usize>();
    let roles: usize =
        project.roles.iter().map(|role| 320 + words(&role.command) + words(&role.secrets) + labels(role)).sum();
    let profiles: usize = project.profiles.iter().map(|profile| profile.bytes()).sum();
    // A long template is stored separately.
    let template = match &project.prompt_template {
        Some(Text::Inline(text)) => text.len().min(Text::INLINE_MAX),
        _ => 0,
    };
    project.source.as_deref().map_or(0, str::len)
        + words(&project.checks)
        + words(&project.protected)
        + template
        + roles
        + profiles
}
