//! A project whose agents are real command lines in containers.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    bench::{Ended, Plan, Running, World, agent_image, human},
    net::Beyond,
};

/// A person's directory, the machine with the model, and the image.
pub(crate) struct Work {
    pub(crate) world: World,
    pub(crate) beyond: Beyond,
    image: String,
}

/// An agent as a plan has it.
pub(crate) struct Agent<'a> {
    /// The shipped profile.
    pub(crate) profile: &'a str,
    /// What is changed in it; `{url}` stands for the address of its model.
    pub(crate) lines: &'a str,
    /// Lines of `.env`.
    pub(crate) secrets: &'a [&'a str],
    pub(crate) model: Option<&'a str>,
}

impl Work {
    /// `None`, loudly: it cannot be done here.
    pub(crate) fn new() -> Option<Self> {
        let made = agent_image().and_then(|image| Ok((image, Beyond::new()?)));
        match made {
            Ok((image, beyond)) => Some(Self { world: World::with_repository(), beyond, image }),
            Err(why) => {
                eprintln!("SKIPPED: real agents in containers do not run here: {why}");
                None
            }
        }
    }

    /// A plan of one task for this agent, whose model plays a scenario.
    pub(crate) fn plan(&self, agent: &Agent<'_>, scenario: &str) {
        let env = self.world.path(".env");
        fs::write(&env, agent.secrets.join("\n")).unwrap();
        fs::set_permissions(&env, fs::Permissions::from_mode(0o600)).unwrap();
        let names: Vec<&str> = agent.secrets.iter().map(|line| line.split('=').next().unwrap()).collect();
        self.world.write(".git/info/exclude", ".env\n.devstack\n");
        let model = agent.model.map(|model| format!("model = \"{model}\"\n")).unwrap_or_default();
        let tables = format!(
            "[agents.ai]\ncount = 1\nprofile = \"real\"\nimage = \"{}\"\nnetwork = \"bridge\"\nsecrets = {names:?}\n{model}\n\
             [profiles.real]\nextends = \"{}\"\n{}\n",
            self.image,
            agent.profile,
            agent.lines.replace("{url}", &self.beyond.url(scenario)),
        );
        // Longer than any test: nothing here ends because its time is over.
        let task = human("A").replaced("role = \"ai\"\nprompt = \"Write the greeting.\"\ntimeout = \"10m\"\n");
        self.world.plan(&Plan::new([task]).tables(&tables));
    }

    /// `devstack run`, left running.
    pub(crate) fn start(&self) -> Running {
        // The stub stands for a model on a private network.
        let reach = crate::net::NETWORK;
        let run = ["run", "devstack.toml", "--runtime", "docker", "--slots", "1", "--bridge-reach", reach];
        let program = ["-u", "DOCKER_HOST", env!("CARGO_BIN_EXE_devstack")];
        self.world.spawn_program("env", &self.world.dir(), &[&program[..], &run].concat())
    }

    /// `devstack run` to its end; with the agent's output where that is not as expected.
    #[track_caller]
    pub(crate) fn run(&self, code: i32) -> Ended {
        let mut ended = self.start().wait();
        if ended.code != code {
            let log = self.world.devstack(&["task", "logs", "A"]);
            let requests = fs::read_to_string(self.beyond.gate("requests")).unwrap_or_default();
            ended.stderr += &format!("\nlog:\n{}{}\nrequests:\n{requests}", log.stdout, log.stderr);
        }
        ended.expect(code)
    }

    /// Fails unless its file is merged, once.
    #[track_caller]
    pub(crate) fn is_merged(&self) {
        let text = self.world.git(&["show", &format!("dev:{}", crate::stub::FILE)]);
        assert_eq!(text, crate::stub::TEXT);
        assert_eq!(self.world.status("A"), "COMPLETED");
        assert_eq!(self.world.git(&["rev-list", "--count", "--merges", "main..dev"]), "1");
    }

    /// What the last attempt used.
    pub(crate) fn usage(&self) -> serde_json::Value {
        let task = self.world.task("A");
        task["attempt_list"].as_array().and_then(|list| list.last()).unwrap()["usage"].clone()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What a failed test leaves running; the node is gone by now.
        let workspace = self.world.root().display().to_string();
        let all = docker(&["ps", "-aq", "--no-trunc", "--filter", "label=devstack.installation"]).unwrap_or_default();
        for id in all.split_whitespace() {
            if docker(&["inspect", id]).is_ok_and(|text| text.contains(&workspace)) {
                let _ = docker(&["rm", "-f", id]);
            }
        }
    }
}

fn docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
