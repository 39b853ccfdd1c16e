//! Restrictions of a host, on a command line.

use clap::Args as ClapArgs;

use super::named;
use devstack_api::dto;

/// Restrictions of a host, without the roles: a token names these with another option.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct PinArgs {
    /// The highest number of attempts at once, even if the host claims more
    #[arg(long, value_name = "N")]
    pub(crate) max_slots: Option<u32>,
    /// Allow the host to claim this label. Repeat for more labels
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Allow no label
    #[arg(long, conflicts_with = "label")]
    pub(crate) no_labels: bool,
    /// Restrict the host to attempts of this project. Repeat for more projects
    #[arg(long, value_name = "PROJECT", value_parser = named)]
    pub(crate) project: Vec<String>,
    /// Allow attempts of every project
    #[arg(long, conflicts_with = "project")]
    pub(crate) any_project: bool,
    /// Allow the host to claim this secret. Repeat for more secrets
    #[arg(long, value_name = "NAME")]
    pub(crate) secret: Vec<String>,
    /// Allow no secret
    #[arg(long, conflicts_with = "secret")]
    pub(crate) no_secrets: bool,
}

impl PinArgs {
    /// Adds the roles that the host may run; `any_role` allows every role.
    pub(crate) fn with_roles(self, roles: Vec<String>, any_role: bool) -> dto::PinChange {
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
