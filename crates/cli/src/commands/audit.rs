//! `cluster audit`: the log of changes.

use super::Context;
use crate::{
    CliError, Exit,
    args::AuditArgs,
    client::{escape, parse},
    output::{Paint, clean},
    table::Table,
};
use devstack_api::dto;

pub(super) async fn run(context: &Context<'_>, args: AuditArgs) -> Result<Exit, CliError> {
    let AuditArgs { who, refused, limit, all } = args;
    let who = who.map(|who| format!("&who={}", escape(&who))).unwrap_or_default();
    let refused = if refused { "&refused=true" } else { "" };
    let limit = if all { 1000 } else { limit };
    let path = format!("/v1/audit?limit={limit}{who}{refused}");
    let table = |body: &[u8]| {
        let mut table = Table::new(&["AT", "WHO", "ROLE", "STATUS", "CODE", "WHAT"]);
        for change in parse::<dto::ChangeList>(body)?.changes {
            let user = change.uid.map(|uid| format!("uid {uid}"));
            let from = change.address.map(|address| format!("{} {address}", change.via));
            let who = change.who.or(user).or(from).unwrap_or(change.via);
            let left_out = match change.left_out {
                0 => String::new(),
                more => format!(" (and {more} more refusals before it)"),
            };
            let what = format!("{} {}{left_out}", clean(&change.method), clean(&change.target));
            let (role, code) = (change.role.unwrap_or_default(), change.code.unwrap_or_default());
            table.row([change.at, who, role, change.status.to_string(), code, what]);
            if change.status >= 400 {
                table.paint(3, Paint::Red);
            }
        }
        Ok(table.render(context.output))
    };
    if all { context.show_all(&path, "changes", table).await } else { context.show(&path, table).await }
}
