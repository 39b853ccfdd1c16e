//! Protected paths: files that run on machines of people or CI, or that control later agents. This module has sets of
//! globs for them, and checks whether a changed path matches.
//!
//! Globs work as in `.gitignore`: without a slash a glob matches in every directory, with a slash from the root; `*`
//! stays inside a directory, `**` does not. Case is ignored, since some file systems ignore it. Everything below a
//! match is protected, and so is a file or link that replaces a parent directory of a match.
//! Deliberately absent: the consequence of a match (the engine decides), and links in the base that lead elsewhere.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The default set.
pub const DEFAULT: &str = "@default";
/// The longest glob, in bytes.
const GLOB_MAX: usize = 256;

/// The sets and their names.
pub const SETS: [(&str, &[&str]); 4] = [
    (
        DEFAULT,
        &[
            // Workflows and pipelines of CI: they run with its secrets.
            ".github/workflows/**",
            ".github/actions/**",
            ".github/CODEOWNERS",
            ".github/dependabot.yml",
            ".gitlab-ci.yml",
            ".gitlab/**",
            ".gitea/workflows/**",
            ".forgejo/workflows/**",
            ".woodpecker/**",
            ".woodpecker.y*ml",
            ".circleci/**",
            ".buildkite/**",
            ".drone.yml",
            ".cirrus.yml",
            ".travis.yml",
            ".teamcity/**",
            "azure-pipelines*.yml",
            "bitbucket-pipelines.yml",
            "Jenkinsfile*",
            "CODEOWNERS",
            // Instructions of agents, and programs that agents start.
            "AGENTS.md",
            "AGENTS.override.md",
            "AGENT.md",
            "CLAUDE.md",
            "CLAUDE.local.md",
            "GEMINI.md",
            "QWEN.md",
            ".claude/**",
            ".codex/**",
            ".gemini/**",
            ".qwen/**",
            ".mcp.json",
            "opencode.json*",
            ".opencode/**",
            ".cursor/**",
            ".cursorrules",
            ".windsurf/**",
            ".windsurfrules",
            ".clinerules/**",
            ".roo/**",
            ".kiro/**",
            ".junie/**",
            ".amazonq/**",
            ".continue/**",
            ".goosehints",
            ".aider*",
            ".github/copilot-instructions.md",
            ".github/instructions/**",
            ".github/prompts/**",
            ".github/agents/**",
            // Files that editors run when a directory is opened.
            ".vscode/**",
            "*.code-workspace",
            ".idea/**",
            ".zed/**",
            ".devcontainer/**",
            ".devcontainer.json",
            ".exrc",
            ".nvimrc",
            ".nvim.lua",
            ".dir-locals.el",
            // Hooks, and how git handles files.
            ".husky/**",
            ".githooks/**",
            ".pre-commit-config.y*ml",
            ".pre-commit-hooks.y*ml",
            "lefthook*.y*ml",
            ".lefthook*.y*ml",
            ".envrc",
            ".gitattributes",
        ],
    ),
    (
        "@lockfiles",
        &[
            "Cargo.lock",
            "package-lock.json",
            "npm-shrinkwrap.json",
            "yarn.lock",
            "pnpm-lock.yaml",
            "bun.lock*",
            "deno.lock",
            "poetry.lock",
            "uv.lock",
            "pdm.lock",
            "Pipfile.lock",
            "Gemfile.lock",
            "composer.lock",
            "go.sum",
            "mix.lock",
            "flake.lock",
            "gradle.lockfile",
            "packages.lock.json",
        ],
    ),
    (
        "@build",
        &[
            "build.rs",
            "package.json",
            "setup.py",
            "pyproject.toml",
            "conftest.py",
            "Makefile",
            "GNUmakefile",
            "*.mk",
            "CMakeLists.txt",
            "*.cmake",
            "meson.build",
            "justfile",
            "Rakefile",
            "*.gradle",
            "*.gradle.kts",
            "gradlew*",
            "mvnw*",
            "pom.xml",
            "Dockerfile*",
            "compose*.y*ml",
            "docker-compose*.y*ml",
        ],
    ),
    (
        "@tools",
        &[
            ".npmrc",
            ".yarnrc*",
            ".yarn/**",
            ".pnpmfile.cjs",
            "pip.conf",
            ".cargo/**",
            "rust-toolchain*",
            ".tool-versions",
            "mise.toml",
            ".mise.toml",
            ".python-version",
            ".node-version",
            ".nvmrc",
            "gradle-wrapper.properties",
            ".bazelrc",
        ],
    ),
];

/// A set of globs, matched in one pass.
#[derive(Debug, Default)]
pub struct Protected(GlobSet);

impl Protected {
    /// Compiles globs and names of sets.
    ///
    /// # Errors
    /// The wrong glob, and why it is wrong.
    pub fn new<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, (String, String)> {
        let mut set = GlobSetBuilder::new();
        for named in globs {
            let one: &[&str] = &[named];
            let list = match SETS.iter().find(|(name, _)| *name == named) {
                Some((_, list)) => list,
                None if named.starts_with('@') => {
                    let names = SETS.map(|(name, _)| name).join(", ");
                    return Err((named.to_owned(), format!("there is no such set; known sets: {names}")));
                }
                None => one,
            };
            for glob in list {
                for glob in spellings(glob) {
                    let wrong = |why: String| (named.to_owned(), why);
                    if glob.len() > GLOB_MAX {
                        return Err(wrong(format!("it has more than {GLOB_MAX} bytes")));
                    }
                    let glob = GlobBuilder::new(&glob).literal_separator(true).case_insensitive(true).build();
                    set.add(glob.map_err(|error| wrong(error.kind().to_string()))?);
                }
            }
        }
        set.build().map(Self).map_err(|error| (String::new(), error.to_string()))
    }

    /// Whether a path of a repository is protected.
    pub fn has(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        self.0.is_match(std::ffi::OsStr::from_bytes(path))
    }
}

/// The globs for one written glob: itself, everything below it, and anything that replaces one of its parent
/// directories.
fn spellings(glob: &str) -> Vec<String> {
    let glob = glob.trim_end_matches('/');
    let (rooted, glob) = (glob.trim_end_matches("/**").contains('/'), glob.trim_start_matches('/'));
    let start = if rooted || glob.starts_with("**/") { "" } else { "**/" };
    let whole = glob.strip_suffix("/**").unwrap_or(glob);
    let mut globs = vec![format!("{start}{whole}"), format!("{start}{whole}/**")];
    let parts: Vec<&str> = whole.split('/').collect();
    let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).count();
    globs.extend((1..parts.len().min(plain + 1)).map(|count| format!("{start}{}", parts[..count].join("/"))));
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Protected {
        Protected::new([DEFAULT]).unwrap()
    }

    #[test]
    fn every_set_compiles_and_protects_what_it_names() {
        for (name, globs) in SETS {
            let set = Protected::new([name]).unwrap();
            for glob in globs {
                let path = glob.replace("/**", "/a/b").replace("y*ml", "yaml").replace('*', "x");
                assert!(set.has(path.as_bytes()), "{name}: {glob} does not match {path}");
                assert!(set.has(path.to_uppercase().as_bytes()), "{name}: {path} in capitals");
            }
        }
    }

    #[test]
    fn ordinary_work_is_not_protected() {
        let set = default();
        for path in [
            "src/main.rs",
            "README.md",
            "docs/AGENTS.md.txt",
            "github/workflows/ci.yml",
            "src/.github/workflows/ci.yml",
            ".gitignore",
            "package.json",
            "Cargo.lock",
            "Makefile",
            "a.github",
            ".github/ISSUE_TEMPLATE.md",
        ] {
            assert!(!set.has(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_directory_of_them_is_protected_at_every_depth_and_from_its_replacement() {
        let set = default();
        for path in [
            ".github/workflows/ci.yml",
            ".github/workflows/deep/er/x",
            ".github/workflows",
            ".github",
            "AGENTS.md",
            "crates/a/CLAUDE.md",
            "sub/.claude/settings.json",
            "sub/.claude",
            "AGENTS.md/in/a/directory",
            ".GitHub/Workflows/ci.yml",
        ] {
            assert!(set.has(path.as_bytes()), "{path}");
        }
        assert!(set.has(b".claude/\xff\xfe"), "names need not be text");
    }

    #[test]
    fn own_globs_are_read_as_in_gitignore() {
        let set = Protected::new(["deploy/", "/top.txt", "a/*/c", "@lockfiles"]).unwrap();
        for (path, wanted) in [
            ("deploy/x", true),
            ("sub/deploy/x", true),
            ("top.txt", true),
            ("sub/top.txt", false),
            ("a/b/c", true),
            ("a/b/b/c", false),
            ("a", true),
            ("sub/Cargo.lock", true),
            (".github/workflows/x", false),
        ] {
            assert_eq!(set.has(path.as_bytes()), wanted, "{path}");
        }
        assert!(!Protected::new([]).unwrap().has(b".github/workflows/x"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (glob, why) in
            [("a[", "unclosed character class"), ("@defualt", "there is no such set; known sets: @default")]
        {
            let (named, said) = Protected::new(["ok", glob]).unwrap_err();
            assert_eq!(named, glob);
            assert!(said.starts_with(why), "{said}");
        }
    }
}
