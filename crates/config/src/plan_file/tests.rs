//! Every refusal with its line and message; conversion to JSON and back; no input panics.

use devstack_dag::{
    ids::Text,
    plan::{Executor, Network, Priority, RetryFrom},
};
use proptest::prelude::*;

use super::*;

/// Prompt files with fixed texts; a repository name is used unchanged.
struct Here;

impl Surroundings for Here {
    fn prompt(&self, name: &str) -> io::Result<String> {
        if name == "there.md" { Ok("from a file".to_owned()) } else { Err(io::Error::other("no such file")) }
    }
    fn repo(&self, name: &str) -> Result<String, String> {
        Ok(format!("/abs/{name}"))
    }
}

fn refused(text: &str) -> Vec<String> {
    let problems = parse("p.toml", text, &Here).unwrap_err();
    problems.as_slice().iter().map(|p| format!("{} {p}", p.code)).collect()
}

fn hints(text: &str) -> Vec<String> {
    parse("p.toml", text, &Here).unwrap_err().into_vec().into_iter().filter_map(|p| p.hint.map(String::from)).collect()
}

const HEAD: &str = "[project]\nname = \"shop\"\n[agents.dev]\ncommand = [\"true\"]\n";

/// `rest` starts at line 5.
fn plan(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

/// A plan with every key that is built.
const FULL: &str = r#"
[project]
name = "shop"
repo = "."
base = "main"
integration = "next"
checks = ["make test"]
review = "human"
resolver = "senior"
verify_on = "any"
budget = 12.5

[agents.dev]
count = 2
command = ["sh", "-c", "work"]
image = "devstack/agent:1"
secrets = ["ANTHROPIC_API_KEY"]
labels = { gpu = "a100", "disk/kind" = "ssd" }
network = "bridge"
memory = "4GiB"
cpus = 2.0
pids = 1024
max_disconnect = "10m"

[agents.senior]
command = ["sh"]

[defaults]
role = "dev"
timeout = "20m"
grace = "5s"
idle_timeout = "10m"
attempts = 2
retry_from = "fresh"

[[task]]
id = "T-000"
title = "Base"
prompt = "do it"

[[task]]
id = "T-001"
title = "Login API"
prompt_file = "there.md"
dependencies = ["T-000"]
priority = "high"
role = "senior"
timeout = "1h30m"
command = ["sh", "-c", "more"]
allow_empty = true
retry_from = "last"

[agents.modelled]
profile = "claude-code"
model = "opus"
max_turns = 30
max_cost = 2.5

[agents.own]
profile = "mine"

[profiles.mine]
provider = "me"
command = ["mine", "{prompt}"]
prompt = "argument"
secrets = ["A_KEY", "B_KEY"]
env = { X = "{home}/x" }

[[profiles.mine.limit]]
text = "slow down"

[[task]]
id = "T-002"
executor = "human"
title = "T-002"
dependencies = ["T-001", "T-000"]
"#;

#[test]
fn every_key_is_read() {
    let plan = parse("p.toml", FULL, &Here).unwrap();
    let project = &plan.project;
    assert_eq!((project.name.as_str(), project.source.as_deref()), ("shop", Some("/abs/.")));
    let labels = [("disk/kind", "ssd"), ("gpu", "a100")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(project.roles[0].labels, labels.into());
    assert_eq!((project.base.as_deref(), project.integration.as_str()), (Some("main"), "next"));
    assert_eq!(
        (project.checks.as_slice(), project.review),
        (&["make test".to_owned()][..], devstack_dag::plan::Review::Human)
    );
    assert_eq!(project.resolver.as_ref().map(|role| role.as_str()), Some("senior"));
    assert_eq!(project.verify_on, devstack_dag::plan::VerifyOn::Any);
    let dev = &project.roles[0];
    assert_eq!((dev.name.as_str(), dev.count, dev.network), ("dev", 2, Network::Bridge));
    assert_eq!((dev.limits.memory, dev.limits.cpu_millis, dev.limits.pids), (Some(4 << 30), Some(2000), Some(1024)));
    assert_eq!(dev.max_disconnect_ms, Some(600_000));
    assert_eq!(dev.secrets, ["ANTHROPIC_API_KEY"]);
    assert_eq!(project.budget_micros, Some(12_500_000));
    let modelled = project.roles.iter().find(|role| role.name.as_str() == "modelled").unwrap();
    let line = modelled.command.join(" ");
    assert!(
        line.starts_with("claude -p ") && line.ends_with("--model opus --max-turns 30 --max-budget-usd 2.5"),
        "{line}"
    );
    assert_eq!(modelled.max_cost_micros, Some(2_500_000));
    let own = project.roles.iter().find(|role| role.name.as_str() == "own").unwrap();
    assert_eq!(own.command, ["mine", "{prompt}"]);
    let names: Vec<&str> = project.profiles.iter().map(|profile| &*profile.name).collect();
    assert_eq!(names, ["claude-code", "mine"]);
    assert_eq!(project.profiles[1].secrets.len(), 1);
    let [base, login, human] = plan.tasks.as_slice() else { panic!("three tasks") };
    assert_eq!((base.timeout_ms, base.grace_ms, base.idle_timeout_ms, base.attempts), (1_200_000, 5_000, 600_000, 2));
    assert_eq!((base.retry_from, base.priority, base.allow_empty), (RetryFrom::Fresh, Priority::Medium, false));
    assert!(matches!(&base.executor, Executor::Agent(role) if role.as_str() == "dev"));
    assert_eq!(login.prompt, devstack_dag::ids::Text::Inline("from a file".into()));
    assert_eq!((login.timeout_ms, login.retry_from, login.priority), (5_400_000, RetryFrom::Last, Priority::High));
    assert_eq!((login.allow_empty, login.command.as_ref().map(|c| c.len())), (true, Some(3)));
    assert_eq!((&human.executor, &*human.title), (&Executor::Human, "T-002"));
}

#[test]
fn defaults_are_those_of_the_contract() {
    let plan = parse("p.toml", &plan("[[task]]\nid = \"a\"\ntitle = \"a\"\n"), &Here).unwrap();
    let task = &plan.tasks[0];
    assert_eq!((task.timeout_ms, task.grace_ms, task.idle_timeout_ms, task.attempts), (1_800_000, 10_000, 900_000, 3));
    assert_eq!((task.retry_from, task.priority, task.allow_empty), (RetryFrom::Last, Priority::Medium, false));
    let project = &plan.project;
    assert_eq!((project.integration.as_str(), project.resolver.as_ref(), project.source.as_ref()), ("dev", None, None));
    assert_eq!((project.roles[0].count, project.roles[0].network), (1, Network::None));
}

#[test]
fn senior_resolves_by_default_when_it_can() {
    let with = |command: &str| {
        let text = plan(&format!(
            "[agents.senior]\n{command}\n[defaults]\nrole = \"dev\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n"
        ));
        parse("p.toml", &text, &Here).unwrap().project.resolver.map(|role| role.to_string())
    };
    assert_eq!(with("command = [\"x\"]"), Some("senior".to_owned()));
    assert_eq!(with(""), None);
}

#[test]
fn a_null_is_a_key_that_is_not_there_and_never_a_task_or_role_that_is_left_out() {
    let said = |project: &str, agents: &str, tasks: &str| {
        let text = format!("{{\"project\": {project}, \"agents\": {agents}, \"task\": {tasks}}}");
        let Err(problems) = parse("p.json", &text, &Here) else { return vec!["fine".to_owned()] };
        problems.as_slice().iter().map(|problem| problem.message.clone()).collect()
    };
    let (shop, dev, a) = (
        r#"{"name": "s", "repo": null}"#,
        r#"{"dev": {"command": ["x"], "image": null}}"#,
        r#"[{"id": "a", "title": "t"}]"#,
    );
    assert_eq!(said(shop, dev, a), ["fine"]);
    assert_eq!(said("null", dev, a), ["the plan has no [project]"]);
    assert_eq!(said(shop, dev, "null"), ["the plan has no tasks"]);
    assert_eq!(said(shop, dev, r#"[{"id": null, "title": "t"}]"#), ["a task has no `id`"]);
    assert_eq!(said(shop, dev, r#"[{"id": "a", "title": "t"}, null]"#), ["a [[task]] must be a table, not null"]);
    let roles =
        said(shop, r#"{"dev": {"command": ["x"]}, "old": null}"#, r#"[{"id": "a", "title": "t", "role": "dev"}]"#);
    assert_eq!(roles, ["[agents.old] must be a table, not null"]);
}

#[test]
fn mistakes_are_told_with_line_and_words() {
    let table: &[(&str, &str)] = &[
        ("[[task]]\nid = \"a\"\ncolour = 1\ntitle = \"a\"\n", "DS0102 p.toml:7: unknown key `colour` of task a"),
        ("[[task]]\nid = 7\ntitle = \"t\"\n", "DS0103 p.toml:6: `id` of a [[task]] must be a string, not a number"),
        ("[[task]]\ntitle = \"x\"\n", "DS0110 p.toml:5: a task has no `id`"),
        (
            "[[task]]\nid = \"a/b\"\ntitle = \"t\"\n",
            "DS0104 p.toml:6: `a/b` is not a valid task id: use 1 to 64 letters, digits, `_` or `-`, starting with a letter or digit",
        ),
        ("[[task]]\nid = \"a\"\nrole = \"dve\"\ntitle = \"a\"\n", "DS0106 p.toml:7: unknown role `dve` of task a"),
        (
            "[[task]]\nid = \"a\"\ntitle = \"a\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0107 p.toml:9: two tasks have the id `a`",
        ),
        (
            "[[task]]\nid = \"a\"\ndependencies = [\"b\"]\ntitle = \"a\"\n",
            "DS0108 p.toml:7: task a depends on `b`, which is not in the plan",
        ),
        (
            "[[task]]\nid = \"a\"\ndependencies = [\"a\"]\ntitle = \"a\"\n",
            "DS0109 p.toml:7: these tasks wait for each other: a → a",
        ),
        (
            "[[task]]\nid = \"a\"\ndependencies = [\"c\"]\ntitle = \"a\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n[[task]]\nid = \"c\"\ndependencies = [\"b\"]\ntitle = \"c\"\n",
            "DS0109 p.toml:7: these tasks wait for each other: a → c → b → a",
        ),
        (
            "[[task]]\nid = \"z\"\ntitle = \"z\"\n[[task]]\nid = \"a\"\ndependencies = [\"z\", \"z\"]\ntitle = \"a\"\n",
            "DS0104 p.toml:10: `dependencies` of task a names `z` twice",
        ),
        (
            "[[task]]\nid = \"a\"\ntimeout = \"30\"\ntitle = \"a\"\n",
            "DS0104 p.toml:7: `timeout` of task a: `30` is not a duration; write for example \"30m\", \"10s\", \"1h30m\" or \"500ms\"",
        ),
        (
            "[[task]]\nid = \"a\"\ntimeout = \"0s\"\ntitle = \"a\"\n",
            "DS0104 p.toml:7: `timeout` of task a is 0s; it must be 100ms to 7d",
        ),
        (
            "[[task]]\nid = \"a\"\nattempts = 0\ntitle = \"a\"\n",
            "DS0104 p.toml:7: `attempts` of task a is 0; it must be 1 to 100",
        ),
        (
            "[[task]]\nid = \"a\"\npriority = \"hihg\"\ntitle = \"a\"\n",
            "DS0104 p.toml:7: `priority` of task a is `hihg`; it must be one of critical, high, medium, low",
        ),
        (
            "[[task]]\nid = \"a\"\nrole = \"dev\"\nexecutor = \"human\"\ntitle = \"a\"\n",
            "DS0104 p.toml:8: `role` and `executor = \"human\"` of task a exclude each other",
        ),
        (
            "[[task]]\nid = \"a\"\nprompt = \"x\"\nprompt_file = \"there.md\"\n",
            "DS0104 p.toml:8: `prompt` and `prompt_file` of task a exclude each other",
        ),
        (
            "[[task]]\nid = \"a\"\nprompt_file = \"gone.md\"\n",
            "DS0111 p.toml:7: cannot read `prompt_file` of task a, `gone.md`: no such file",
        ),
        ("[[task]]\nid = \"a\"\ncommand = []\n", "DS0104 p.toml:7: `command` of task a names no program"),
        (
            "[[task]]\nid = \"a\"\ntitle = \"x\\ny\"\n",
            "DS0104 p.toml:7: `title` of task a must be one line of 1 to 256 bytes",
        ),
        (
            "[[task]]\nid = \"a\"\nallow_empty = \"no\"\ntitle = \"a\"\n",
            "DS0103 p.toml:7: `allow_empty` of task a must be true or false, not a string",
        ),
        (
            "[[task]]\nid = \"a\"\ncommand = [1]\n",
            "DS0103 p.toml:7: every item of `command` of task a must be a string, not a number",
        ),
        (
            "[defaults]\nrole = \"x\"\n[[task]]\nid = \"a\"\nrole = \"dev\"\ntitle = \"a\"\n",
            "DS0106 p.toml:6: unknown role `x` in [defaults]",
        ),
        ("", "DS0110 p.toml:5: the plan has no tasks"),
        (
            "[agents.a-b]\ncount = 0\n[[task]]\nid = \"a\"\nrole = \"dev\"\ntitle = \"a\"\n",
            "DS0104 p.toml:6: `count` of [agents.a-b] is 0; it must be 1 to 1000",
        ),
        (
            "memory = \"4GB\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `memory` of [agents.dev]: `4GB` is not a size; write for example \"4GiB\", \"512MiB\" or \"64KiB\"",
        ),
        (
            "cpus = 0\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `cpus` of [agents.dev] is 0; it must be 0.01 to 1024",
        ),
        (
            "profile = \"claude-code\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `profile` and `command` of [agents.dev] exclude each other",
        ),
        (
            "model = \"x\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `model` of [agents.dev] needs a `profile`",
        ),
        (
            "max_cost = 0\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `max_cost` of [agents.dev] is 0; it must be US dollars, more than 0 and at most 1000000",
        ),
        (
            "[agents.x]\nprofile = \"claude-cod\"\n[[task]]\nid = \"a\"\nrole = \"x\"\ntitle = \"a\"\n",
            "DS0112 p.toml:6: unknown profile `claude-cod` of [agents.x]",
        ),
        (
            "[agents.x]\nprofile = \"codex\"\nmax_turns = 3\n[[task]]\nid = \"a\"\nrole = \"x\"\ntitle = \"a\"\n",
            "DS0104 p.toml:7: `max_turns` of [agents.x]: the profile `codex` has no argument for it",
        ),
        (
            "[agents.x]\nprofile = \"codex\"\n[[task]]\nid = \"a\"\nrole = \"x\"\ncommand = [\"y\"]\n",
            "DS0104 p.toml:9: `command` of task a and the profile `codex` of its role `x` exclude each other",
        ),
        (
            "[agents.x]\nprofile = \"y\"\n[profiles.y]\ncommand = [\"y\"]\n[[task]]\nid = \"a\"\nrole = \"x\"\ntitle = \"a\"\n",
            "DS0110 p.toml:7: profile `y` has no `provider`",
        ),
        (
            "image = \"-x y\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `image` of [agents.dev] is `-x y`, which is not an image name",
        ),
        (
            "egress = []\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0105 p.toml:5: `egress` of [agents.dev] is not built yet",
        ),
        (
            "network = \"host\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `network` of [agents.dev] is `host`; it must be one of none, bridge",
        ),
        (
            "secrets = [\"a-b\"]\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `a-b` in `secrets` of [agents.dev] is not a name of an environment variable",
        ),
        (
            "labels = { gpu = 1 }\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `gpu` in `labels` of [agents.dev] is not a label",
        ),
        (
            "labels = \"gpu\"\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0103 p.toml:5: `labels` of [agents.dev] must be a table, not a string",
        ),
        (
            "secrets = [\"PATH\"]\n[[task]]\nid = \"a\"\ntitle = \"a\"\n",
            "DS0104 p.toml:5: `PATH` in `secrets` of [agents.dev] is set by devstack itself",
        ),
        ("[[task]]\nid = \"a\"\ntitle = \"a\"\n[projetc]\n", "DS0102 p.toml:8: unknown key `projetc`"),
    ];
    for (rest, wanted) in table {
        assert_eq!(refused(&plan(rest)), [*wanted], "{rest}");
    }
}

#[test]
fn mistakes_of_the_project_are_told() {
    let with = |project: &str| {
        refused(&format!(
            "[project]\n{project}\n[agents.dev]\ncommand = [\"x\"]\n[[task]]\nid = \"a\"\ntitle = \"a\"\n"
        ))
    };
    assert_eq!(with(""), ["DS0110 p.toml:1: [project] has no `name`"]);
    assert_eq!(
        with("name = \"s\"\nrepo = \".\"\nreview = \"agent\""),
        ["DS0105 p.toml:4: `review = \"agent\"` of [project] is not built yet"]
    );
    assert_eq!(with("name = \"s\"\nchecks = [\"x\"]"), ["DS0104 p.toml:3: `checks` of [project] needs a `repo`"]);
    assert_eq!(
        with("name = \"s\"\nrepo = \".\"\nresolver = \"old\""),
        ["DS0106 p.toml:4: unknown role `old` as `resolver` of [project]"]
    );
    for branch in ["", "a b", "-x", "a..b", "a/", "x.lock", "HEAD", "a~1", "a/.b"] {
        let problems = with(&format!("name = \"s\"\nrepo = \".\"\nbase = \"{branch}\""));
        assert_eq!(
            problems,
            [format!("DS0104 p.toml:4: `base` of [project] is `{branch}`, which is not a branch name")]
        );
    }
    assert_eq!(
        refused("[[task]]\nid = \"a\"\nexecutor = \"human\"\ntitle = \"a\"\n"),
        ["DS0110 p.toml:1: the plan has no [project]"]
    );
}

#[test]
fn a_task_that_nobody_does_is_refused() {
    let two = plan("[agents.old]\n[[task]]\nid = \"a\"\ntitle = \"a\"\n");
    assert_eq!(refused(&two), ["DS0110 p.toml:7: task a has no role"]);
    let idle = plan("[agents.old]\n[[task]]\nid = \"a\"\nrole = \"old\"\ntitle = \"a\"\n");
    assert_eq!(refused(&idle), ["DS0110 p.toml:8: neither task a nor its role `old` has a `command`"]);
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_lines() {
    let text = "[project]\nname = \"a b\"\n[agents.dev]\ncount = 0\n[[task]]\nid = \"x\"\ntimeuot = \"1s\"\nrole = \"dev\"\ntitle = \"x\"\n[[task]]\nid = \"y\"\nrole = \"nobody\"\ndependencies = [\"z\", \"x\"]\ntitle = \"y\"\n";
    let lines: Vec<String> =
        refused(text).iter().map(|p| p.split(": ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "DS0104 p.toml:2",
            "DS0104 p.toml:4",
            "DS0102 p.toml:7",
            "DS0110 p.toml:8",
            "DS0106 p.toml:12",
            "DS0108 p.toml:13"
        ]
    );
}

#[test]
fn two_syntax_errors_come_together() {
    let problems = refused("[project\nname = \"x\"\n[agents.dev]\ncount = = 2\n");
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(problems[0].starts_with("DS0101 p.toml:1: this is not valid TOML: "), "{problems:?}");
    assert!(problems.iter().any(|p| p.starts_with("DS0101 p.toml:4: ")), "{problems:?}");
}

#[test]
fn slips_are_answered_with_the_word_that_was_meant() {
    assert_eq!(
        hints(&plan("[[task]]\nid = \"a\"\ndependancies = []\ntitle = \"a\"\n")),
        ["did you mean `dependencies`?"]
    );
    assert_eq!(hints(&plan("[[task]]\nid = \"a\"\nrole = \"dve\"\ntitle = \"a\"\n")), ["did you mean `dev`?"]);
    assert_eq!(
        hints(&plan(
            "[[task]]\nid = \"T-01\"\ntitle = \"T-01\"\n[[task]]\nid = \"b\"\ndependencies = [\"T-10\"]\ntitle = \"b\"\n"
        )),
        ["did you mean `T-01`?"]
    );
}

#[test]
fn separate_cycles_are_each_told() {
    let text = plan(
        "[[task]]\nid = \"a\"\ndependencies = [\"b\"]\ntitle = \"a\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n[[task]]\nid = \"c\"\ndependencies = [\"d\"]\ntitle = \"c\"\n[[task]]\nid = \"d\"\ndependencies = [\"c\", \"a\"]\ntitle = \"d\"\n",
    );
    assert_eq!(
        refused(&text),
        [
            "DS0109 p.toml:7: these tasks wait for each other: a → b → a",
            "DS0109 p.toml:15: these tasks wait for each other: c → d → c"
        ]
    );
}

#[test]
fn json_of_the_same_shape_is_read_and_refused_with_lines() {
    let json = r#"{
  "project": {"name": "shop"},
  "agents": {"dev": {"command": ["true"]}},
  "task": [
    {"id": "a", "prompt": "say \"hi\"", "timeout": null},
    {"id": "b", "prompt": "p", "dependencies": ["c"], "tilte": "x"}
  ]
}"#;
    assert_eq!(
        refused(json),
        [
            "DS0108 p.toml:6: task b depends on `c`, which is not in the plan",
            "DS0102 p.toml:6: unknown key `tilte` of task b"
        ]
    );
    assert!(refused("{\n\"project\": }")[0].starts_with("DS0101 p.toml:2: this is not valid JSON: "));
    assert_eq!(
        refused(
            "{\"project\":{\"name\":\"a\",\"name\":\"b\"},\"agents\":{\"d\":{\"command\":[\"x\"]}},\"task\":[{\"id\":\"a\",\"title\":\"t\"}]}"
        ),
        ["DS0104 p.toml:1: `name` of [project] is given twice"]
    );
    let good =
        r#"{"project":{"name":"s"},"agents":{"d":{"command":["x"]}},"task":[{"id":"a","prompt":"say \"hi\"\n"}]}"#;
    assert_eq!(
        parse("p", good, &Here).unwrap().tasks[0].prompt,
        devstack_dag::ids::Text::Inline("say \"hi\"\n".into())
    );
}

#[test]
fn a_plan_goes_to_json_and_back_unchanged() {
    let plan = parse("p.toml", FULL, &Here).unwrap();
    let json = String::from_utf8(to_json(&plan).unwrap()).unwrap();
    assert_eq!(parse("posted", &json, &Posted).unwrap(), plan);
    let toml = to_toml(&plan).unwrap();
    assert_eq!(parse("exported", &toml, &Posted).unwrap(), plan, "{toml}");
}

#[test]
fn a_posted_plan_must_stand_alone() {
    let json = r#"{"project":{"name":"s","repo":"."},"agents":{"d":{"command":["x"]}},"task":[{"id":"a","prompt_file":"x.md"}]}"#;
    let problems = parse("posted", json, &Posted).unwrap_err().to_string();
    assert!(problems.contains("send an absolute path or a URL") && problems.contains("send `prompt`"), "{problems}");
}

#[test]
fn a_file_is_read_with_names_relative_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devstack.toml");
    std::fs::write(dir.path().join("p.md"), "hello").unwrap();
    let repo = |repo: &str| {
        let text = FULL.replace("repo = \".\"", &format!("repo = \"{repo}\"")).replace("there.md", "p.md");
        std::fs::write(&path, text).unwrap();
        load(&path).unwrap().project.source.unwrap()
    };
    assert_eq!(Path::new(&repo(".")), dir.path().canonicalize().unwrap());
    assert_eq!(repo("https://example.org/x.git"), "https://example.org/x.git");
    assert_eq!(repo("git@example.org:x.git"), "git@example.org:x.git");
    let missing = load(&dir.path().join("none.toml")).unwrap_err();
    assert_eq!(missing.as_slice()[0].code, "DS0111");
}

#[test]
fn a_long_chain_is_read_and_closed_without_overflowing_the_stack() {
    let mut text = HEAD.to_owned();
    for number in 0..20_000 {
        text.push_str(&format!("[[task]]\nid = \"T-{number}\"\ntitle = \"Task {number}\"\ndependencies = ["));
        if number > 0 {
            text.push_str(&format!("\"T-{}\"", number - 1));
        }
        text.push_str("]\n");
    }
    let plan = parse("p.toml", &text, &Here).unwrap();
    assert_eq!(plan.tasks.len(), 20_000);
    let closed = text.replacen("dependencies = []", "dependencies = [\"T-19999\"]", 1);
    assert!(refused(&closed)[0].contains("these tasks wait for each other: T-0 → T-19999 → "));
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let text = plan(&"[[task]]\nid = \"!\"\ntitle = \"t\"\n".repeat(300));
    let problems = parse("p.toml", &text, &Here).unwrap_err();
    assert_eq!(problems.as_slice().len(), Problems::KEPT + 1);
    assert_eq!(problems.as_slice()[Problems::KEPT].message, "and 200 more");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n){0,200}") {
        let _ = parse("p", &text, &Here);
    }

    #[test]
    fn no_mutation_of_a_plan_panics(at in 0usize..2000, with in "(\\PC|[\\[\\]\"={},\n]){0,6}", cut in 0usize..40) {
        let mut text: Vec<char> = FULL.chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        let _ = parse("p", &text, &Here);
    }

    #[test]
    fn no_mutation_of_a_json_plan_panics(at in 0usize..3000, with in "(\\PC|[\\[\\]\"{}:,]){0,6}", cut in 0usize..40) {
        let json = to_json(&parse("p.toml", FULL, &Here).unwrap()).unwrap();
        let mut text: Vec<char> = String::from_utf8(json).unwrap().chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        let _ = parse("p", &text, &Posted);
    }
}

#[test]
fn guards_and_the_prompts_template_are_read_and_rendered() {
    let text = "[project]\nname = \"shop\"\nrepo = \".\"\nprotected = [\"@default\", \"deploy/\", \"deploy/\"]\n\
                prompt_template_file = \"there.md\"\n[agents.dev]\ncommand = [\"true\"]\n[[task]]\nid = \"a\"\n\
                title = \"a\"\nmass_delete = true\nmay_change = [\".github/**\"]\n";
    assert_eq!(
        refused(text),
        [
            "DS0104 p.toml:5: the prompt template of [project]: it does not contain `{{prompt}}`, so agents would not get their task"
        ]
    );
    let plan = parse(
        "p.toml",
        &text.replace("prompt_template_file = \"there.md\"", "prompt_template = \"{{prompt}}!\""),
        &Here,
    )
    .unwrap();
    assert_eq!(plan.project.protected, ["@default", "deploy/"]);
    assert_eq!(plan.project.prompt_template, Some(Text::Inline("{{prompt}}!".into())));
    assert!(plan.tasks[0].mass_delete && plan.tasks[0].may_change.iter().map(|it| &**it).eq([".github/**"]));
    let again = parse("p.json", std::str::from_utf8(&to_json(&plan).unwrap()).unwrap(), &Here).unwrap();
    assert_eq!((&again.project.protected, &again.tasks), (&plan.project.protected, &plan.tasks));
    assert_eq!(again.project.prompt_template, plan.project.prompt_template);
    let bare = parse("p.toml", &format!("{}title = \"a\"\n", untitled("repo = \".\"\n")), &Here).unwrap();
    assert_eq!(bare.project.protected, ["@default"], "protected unless the plan says otherwise");
    let none =
        parse("p.toml", &untitled("repo = \".\"\nprotected = []\n").replace("id =", "title = \"a\"\nid ="), &Here)
            .unwrap();
    assert_eq!(none.project.protected, [""; 0]);
    let [wrong, unknown] = ["[\"a[\"]", "[\"@all\"]"]
        .map(|globs| refused(&format!("{}title = \"a\"\nmay_change = {globs}\n", untitled("repo = \".\"\n"))));
    assert!(wrong[0].contains("`a[` in `may_change` of task a: unclosed character class"), "{wrong:?}");
    assert!(unknown[0].contains("`@all` in `may_change` of task a: there is no such set"), "{unknown:?}");
}

/// A plan whose only task has an id but lacks a title.
fn untitled(project: &str) -> String {
    format!("[project]\nname = \"shop\"\n{project}[agents.dev]\ncommand = [\"true\"]\n[[task]]\nid = \"a\"\n")
}

#[test]
fn a_task_of_which_nothing_is_said_is_refused() {
    let said = "DS0110 p.toml:6: task a has neither a `title` nor a `prompt`, so nobody knows what to do";
    for rest in ["", "prompt = \" \"\n", "executor = \"human\"\n"] {
        assert_eq!(refused(&plan(&format!("[[task]]\nid = \"a\"\n{rest}"))), [said], "{rest}");
    }
    for rest in ["title = \"t\"\n", "prompt = \"p\"\n", "prompt_file = \"there.md\"\n", "command = [\"x\"]\n"] {
        assert!(parse("p.toml", &plan(&format!("[[task]]\nid = \"a\"\n{rest}")), &Here).is_ok(), "{rest}");
    }
}
