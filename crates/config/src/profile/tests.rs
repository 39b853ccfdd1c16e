//! The shipped profiles, what `extends` inherits, and every refusal.

use devstack_dag::profile::{PromptBy, Setting};

use super::*;

fn refused(text: &str) -> Vec<String> {
    let problems = parse("mine", "mine.toml", text).unwrap_err();
    problems.as_slice().iter().map(|p| format!("{} {p}", p.code)).collect()
}

#[test]
fn every_shipped_profile_is_right_and_goes_to_json_and_back() {
    for (name, _) in SHIPPED {
        let found = Catalog::shipped().find(name).unwrap().unwrap();
        assert!(!found.profile.endpoints.is_empty() && !found.profile.secrets.is_empty(), "{name}");
        let json = serde_json::to_string(&Rendered(&found.profile)).unwrap();
        assert_eq!(parse(name, "json", &json).unwrap().profile, found.profile, "{name}");
    }
    assert!(SHIPPED.is_sorted());
}

#[test]
fn settings_stand_where_the_command_line_has_them() {
    let claude = Catalog::shipped().find("claude-code").unwrap().unwrap().profile;
    assert!(!claude.argv(|_| None).iter().any(|word| word.contains('{') || word.starts_with("--m")));
    let argv = claude.argv(|setting| (setting == Setting::MaxTurns).then(|| "7".to_owned()));
    assert!(argv.ends_with(&["--max-turns".to_owned(), "7".to_owned()]), "{argv:?}");
}

#[test]
fn what_extends_a_shipped_profile_has_what_it_does_not_give() {
    let text =
        "extends = \"claude-code\"\nprovider = \"gateway\"\nsecrets = []\n[env]\nIS_SANDBOX = \"0\"\nMORE = \"x\"\n";
    let (mine, claude) = (parse("mine", "f", text).unwrap(), Catalog::shipped().find("claude-code").unwrap().unwrap());
    let (mine, claude) = (mine.profile, claude.profile);
    assert_eq!((&*mine.name, &*mine.provider, mine.secrets.len()), ("mine", "gateway", 0));
    assert_eq!((&mine.command, &mine.reading), (&claude.command, &claude.reading));
    assert_eq!(mine.env.len(), claude.env.len() + 1);
    assert!(mine.env.contains(&("IS_SANDBOX".into(), "0".into())));
    // A changed profile does not inherit `tested`.
    assert!(!parse("mine", "f", text).unwrap().tested);
}

#[test]
fn the_nearest_file_wins_and_a_broken_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(".devstack/profiles");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("codex.toml"), "provider = \"me\"\ncommand = [\"x\"]\n").unwrap();
    let catalog = Catalog::beside(dir.path());
    let found = catalog.find("codex").unwrap().unwrap();
    assert_eq!((&*found.profile.provider, found.profile.prompt), ("me", PromptBy::Stdin));
    assert!(found.origin.ends_with("codex.toml"));
    std::fs::write(own.join("mine.toml"), "provider = \"me\"\n").unwrap();
    let problem = catalog.find("mine").unwrap_err().to_string();
    assert!(problem.contains("mine.toml:1: profile `mine` has no `command`"), "{problem}");
    assert!(catalog.names().contains(&"mine".to_owned()));
    assert!(catalog.find("../mine").unwrap().is_none() && catalog.find("none").unwrap().is_none());
    assert_eq!(catalog.hint("geminy", std::iter::empty()), "did you mean `gemini`?");
}

#[test]
fn mistakes_are_told_with_line_and_words() {
    const HEAD: &str =
        "provider = \"me\"\ncommand = [\"x\", \"{model}\"]\narguments = { model = [\"-m\", \"{model}\"] }\n";
    for (rest, wanted) in [
        ("comand = []\n", "DS0102 mine.toml:4: unknown key `comand`"),
        ("prompt = \"file\"\n", "DS0104 mine.toml:2: `command` has no placeholder for the prompt"),
        ("prompt = \"argument\"\n", "DS0104 mine.toml:2: `command` has no placeholder for the prompt"),
        ("[env]\nHOME = \"/x\"\n", "DS0104 mine.toml:5: `HOME` of [env] is not a variable that a profile can set"),
        ("secrets = [\"a-b\"]\n", "DS0104 mine.toml:4: `a-b` is not a name of a secret"),
        (
            "[[secret_file]]\nsecret = \"A\"\npath = \"../x\"\n",
            "DS0104 mine.toml:6: `path` is `../x`; it must be below HOME: \".agent/auth.json\"",
        ),
        ("[[limit]]\n", "DS0104 mine.toml:4: a [[limit]] has either `line` (and `reset`) or `text`"),
        ("[[limit]]\ntext = \"(\"\n", "DS0104 mine.toml:5: `text` is not a regular expression: error: unclosed group"),
        (
            "[output]\nresult = { type = {} }\n",
            "DS0103 mine.toml:5: `type` of `result` must be a string, a number, true or false, or a list of them",
        ),
        (
            "[prices.m]\ninput = -1\noutput = 1\n",
            "DS0104 mine.toml:5: `input` is -1; it must be dollars per million tokens, 0 to 100000",
        ),
        ("[prices.m]\ninput = 1\n", "DS0110 mine.toml:4: [prices.m] needs `input` and `output`"),
        ("extends = \"claude\"\n", "DS0104 mine.toml:4: `extends` names `claude`, which is not a shipped profile"),
    ] {
        assert_eq!(refused(&format!("{HEAD}{rest}")), [wanted], "{rest}");
    }
    let bare = "provider = \"me\"\ncommand = [\"x\", \"{max_turns}\"]\n";
    assert_eq!(refused(bare), ["DS0104 mine.toml:2: `command` has `{max_turns}`, but [arguments] does not define it"]);
}
