//! The exporters of a node, made from its configuration: webhook and traces. Deliberately absent: what they export.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use super::NodeError;
use crate::{
    actor::Address,
    taskmaster::message::TaskmasterMessage,
    traces::{Resource, Traces},
    webhook::Webhook,
};
use devstack_api::outgoing::Receiver;
use devstack_config::{
    node::{NodeConfig, WebhookConfig},
    secrets::Secret,
};

/// The largest secret of a webhook, in bytes.
const SECRET_MAX: usize = 4096;

/// How long a collector may take to answer.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts exporting traces, if configured.
pub(super) fn traces(config: &NodeConfig, installation: &str) -> Result<Option<(Traces, JoinHandle<()>)>, NodeError> {
    let Some(url) = &config.telemetry.otlp_endpoint else { return Ok(None) };
    let outside = |error| NodeError::Outside(format!("cannot export traces: {error}"));
    let collector = Receiver::new(url, &config.telemetry.ca_file, COLLECTOR_TIMEOUT).map_err(outside)?;
    let resource = Resource { node: config.name.to_string(), installation: installation.to_owned() };
    let queue = usize::try_from(config.limits.trace_queue).unwrap_or(usize::MAX);
    Ok(Some(Traces::start(collector, resource, queue)))
}

/// Starts the webhook for tasks that wait for a user.
pub(super) async fn webhook(
    config: &NodeConfig,
    webhook: &WebhookConfig,
    installation: String,
    taskmaster: Address<TaskmasterMessage>,
    news: watch::Receiver<u64>,
) -> Result<JoinHandle<()>, NodeError> {
    let outside = |why: String| NodeError::Outside(format!("cannot use the webhook: {why}"));
    let timeout = Duration::from_millis(config.limits.webhook_timeout);
    let receiver =
        Receiver::new(&webhook.url, &webhook.ca_file, timeout).map_err(|error| outside(error.to_string()))?;
    let secret = webhook.secret_file.as_ref().map(|file| {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        match text.trim() {
            "" => Err(format!("{} is empty", file.display())),
            text if text.len() > SECRET_MAX => Err(format!("{} has more than {SECRET_MAX} bytes", file.display())),
            text => Ok(Secret::new(text)),
        }
    });
    let webhook = Webhook {
        receiver,
        secret: secret.transpose().map_err(outside)?,
        attempts: config.limits.webhook_attempts,
        file: config.state_dir.join("webhook.json"),
        installation,
        taskmaster,
        news,
    };
    webhook.start().await.map_err(|error| outside(error.to_string()))
}
