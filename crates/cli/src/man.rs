//! `man`: manual pages, generated from the definition of the command line.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{CliError, Exit, args::Args, args::Format, output::Output};

pub(super) fn run(dir: Option<&Path>, output: &Output) -> Result<Exit, CliError> {
    let mut command = Args::command();
    command.build();
    let Some(dir) = dir else {
        output.raw(&page(&command)?);
        return Ok(Exit::Ok);
    };
    let cannot = |error: std::io::Error| CliError::failure(format!("cannot write {}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(cannot)?;
    let mut files = Vec::new();
    for command in commands(&command) {
        let file = format!("{}.1", name_of(command));
        fs::write(dir.join(&file), page(command)?).map_err(cannot)?;
        files.push(file);
    }
    output.data(&match output.format {
        Format::Table => format!("wrote {} pages into {}", files.len(), dir.display()),
        Format::Json | Format::Jsonl => {
            serde_json::json!({ "apiVersion": "v1", "dir": dir, "files": files }).to_string()
        }
    });
    Ok(Exit::Ok)
}

/// `devstack-task-list`.
fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(|error| CliError::failure(error.to_string()))?;
    Ok(page)
}

/// A built command and everything below it.
pub(super) fn commands(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set()).flat_map(commands);
    std::iter::once(command).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let mut command = Args::command();
        command.build();
        let all = commands(&command);
        let names: Vec<&str> = all.iter().map(|command| name_of(command)).collect();
        for wanted in ["devstack", "devstack-cluster-restore", "devstack-event-export", "devstack-man", "devstack-top"]
        {
            assert!(names.contains(&wanted), "{wanted} in {names:?}");
        }
        for command in all {
            let text = String::from_utf8(page(command).unwrap()).unwrap();
            let name = name_of(command);
            assert!(text.contains(".TH") && text.contains("SH SYNOPSIS"), "{name}: {text}");
        }
    }
}
