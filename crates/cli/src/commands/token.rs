//! `token …`: tokens for machines that join, and for people and programs.

use super::Context;
use crate::{
    CliError, Exit,
    args::TokenCommand,
    client::{escape, parse},
    output::Paint,
    table::Table,
};
use devstack_api::dto;
use devstack_members::Role;

pub(super) async fn run(context: &Context<'_>, command: TokenCommand) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Create { role, name, expires, for_role, pins } => {
            let pins = pins.with_roles(for_role, false);
            let wanted = dto::NewToken {
                role: role.as_str().to_owned(),
                name,
                expires_in: expires.map(|life| life.as_secs()),
                pins: (pins != dto::PinChange::default()).then_some(pins),
            };
            create(context, role, wanted).await
        }
        TokenCommand::List => list(context).await,
        TokenCommand::Revoke { token } => revoke(context, &token).await,
    }
}

/// Prints only the token to stdout, so that it can be redirected into a file.
async fn create(context: &Context<'_>, role: Role, wanted: dto::NewToken) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let body = session.client.change("/v1/tokens", &wanted).await;
    session.close().await?;
    let body = body?;
    let created = parse::<dto::CreatedToken>(&body)?;
    let dto::Token { name, expires_at, .. } = &created.details;
    context.output.note(&match role {
        Role::AgentHost => {
            format!("run on the new machine: devstack-node join TOKEN; valid for one use, until {expires_at}")
        }
        _ => format!("token {name} with the role {role}, valid until {expires_at}; it is shown only once"),
    });
    context.print(&body, |_| Ok(created.token.clone()))?;
    Ok(Exit::Ok)
}

async fn list(context: &Context<'_>) -> Result<Exit, CliError> {
    let table = |body: &[u8]| {
        let mut table = Table::new(&["ID", "NAME", "ROLE", "STATE", "EXPIRES", "USED BY"]);
        for token in parse::<dto::TokenList>(body)?.tokens {
            let live = token.state == "live";
            let expires = token.expires_at.to_string();
            table.row([token.id, token.name, token.role, token.state, expires, token.used_by.unwrap_or_default()]);
            if !live {
                table.paint(3, Paint::Dim);
            }
        }
        Ok(table.render(context.output))
    };
    context.show("/v1/tokens", table).await
}

async fn revoke(context: &Context<'_>, token: &str) -> Result<Exit, CliError> {
    let session = context.session().await?;
    let body = session.client.change(&format!("/v1/tokens/{}/revoke", escape(token)), &serde_json::json!({})).await;
    session.close().await?;
    context.print(&body?, |body| {
        let token = parse::<dto::TokenPage>(body)?.token;
        Ok(format!("revoked token {} of {}", token.id, token.name))
    })?;
    Ok(Exit::Ok)
}
