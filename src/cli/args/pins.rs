//! What a host is held to, on a command line.

use clap::Args as ClapArgs;

use super::named;
use crate::gateway::dto;

/// Without roles, which a token has one of its own.
#[derive(Debug, Default, ClapArgs)]
pub(in crate::cli) struct PinArgs {
    /// It gets at most so many attempts at once, whatever it claims
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_slots: Option<u32>,
    /// It may claim this label. Again for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(in crate::cli) label: Vec<(String, String)>,
    /// It may claim no label
    #[arg(long, conflicts_with = "label")]
    pub(in crate::cli) no_labels: bool,
    /// It may get attempts of this project, and of those named so alone. Again for more
    #[arg(long, value_name = "PROJECT", value_parser = named)]
    pub(in crate::cli) project: Vec<String>,
    /// It may get attempts of every project
    #[arg(long, conflicts_with = "project")]
    pub(in crate::cli) any_project: bool,
    /// It may claim this secret. Again for more
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) secret: Vec<String>,
    /// It may claim no secret
    #[arg(long, conflicts_with = "secret")]
    pub(in crate::cli) no_secrets: bool,
}

impl PinArgs {
    /// With the roles that it may get attempts of; `any_role`: of every one.
    pub(in crate::cli) fn with_roles(self, roles: Vec<String>, any_role: bool) -> dto::PinChange {
        let given = |list: Vec<String>, none: bool| (none || !list.is_empty()).then_some(list);
        dto::PinChange {
            max_slots: self.max_slots,
            labels: (self.no_labels || !self.label.is_empty()).then(|| self.label.into_iter().collect()),
            roles: given(roles, any_role),
            projects: given(self.project, self.any_project),
            secrets: given(self.secret, self.no_secrets),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be written NAME=VALUE")?;
    if name.is_empty() { Err("the name is missing".to_owned()) } else { Ok((name.to_owned(), value.to_owned())) }
}
