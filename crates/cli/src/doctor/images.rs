//! Images that roles name: whether this machine's engine has them. The roles are those of the plan in this directory
//! and of the projects of a running node.
//! Deliberately absent: pulling. People build or load images.

use std::{collections::BTreeMap, path::Path};

use devstack_dag::plan::PlanSpec;

use super::{Check, Health, check};
use crate::client::{Client, escape};
use devstack_api::dto;
use devstack_config::plan_file;
use devstack_runtime::docker;

/// The plan to check.
const PLAN: &str = "devstack.toml";

/// Images by name, with a role that needs each.
type Wanted = BTreeMap<String, String>;

/// Checks the images; `None` if no role names one.
pub(super) async fn examine(socket: &Path, node: Option<&Client>, here: &Path) -> Option<Check> {
    let mut wanted = Wanted::new();
    if let Ok(plan) = plan_file::load(&here.join(PLAN)) {
        add(&mut wanted, &plan);
    }
    if let Some(node) = node {
        // Without an answer there is nothing to check.
        let _ = of_node(node, &mut wanted).await;
    }
    if wanted.is_empty() {
        return None;
    }
    let names: Vec<String> = wanted.keys().cloned().collect();
    Some(match docker::missing(socket, &names).await {
        Ok(missing) => judge(&wanted, &missing),
        Err(why) => check("images", Health::Warning, why, Some("run doctor again")),
    })
}

async fn of_node(node: &Client, wanted: &mut Wanted) -> Result<(), crate::CliError> {
    for project in node.read::<dto::ProjectList>("/v1/projects").await?.projects {
        let body: serde_json::Value = node.read(&format!("/v1/plans/{}", escape(&project.name))).await?;
        let roles = body["agents"].as_object().into_iter().flatten();
        for (role, said) in roles {
            if let Some(image) = said["image"].as_str() {
                wanted.entry(image.to_owned()).or_insert_with(|| format!("{}/{role}", project.name));
            }
        }
    }
    Ok(())
}

fn add(wanted: &mut Wanted, plan: &PlanSpec) {
    for role in &plan.project.roles {
        if let Some(image) = role.image.as_deref() {
            wanted.entry(image.to_owned()).or_insert_with(|| format!("{}/{}", plan.project.name, role.name));
        }
    }
}

fn judge(wanted: &Wanted, missing: &[String]) -> Check {
    let Some(first) = missing.first() else {
        let all: Vec<&str> = wanted.keys().map(String::as_str).collect();
        return check("images", Health::Ok, all.join(", "), None);
    };
    let role = wanted.get(first).map(String::as_str).unwrap_or_default();
    let more = if missing.len() > 1 { format!(", and {} more", missing.len() - 1) } else { String::new() };
    let message = format!("{first} of role {role} is missing{more}");
    let hint = format!("build or load the image on this machine: docker build -t {first} …, docker load");
    check("images", Health::Warning, message, Some(&hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_is_named_with_its_role_and_the_mend() {
        let wanted = Wanted::from([("a:1".into(), "shop/dev".into()), ("b:1".into(), "shop/senior".into())]);
        assert_eq!(judge(&wanted, &[]).message, "a:1, b:1");
        let found = judge(&wanted, &["b:1".into(), "a:1".into()]);
        assert_eq!(found.message, "b:1 of role shop/senior is missing, and 1 more");
        assert!(found.status == Health::Warning && found.hint.unwrap().contains("docker build -t b:1"));
    }
}
