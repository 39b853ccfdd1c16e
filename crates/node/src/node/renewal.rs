//! Renews a node's certificate while the node runs: it requests the next certificate at two thirds of the lifetime, and
//! uses it at once. Deliberately absent: restarting anything; every new handshake uses the current certificate.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, header::CONTENT_TYPE},
};
use devstack_cluster::{Credentials, NodeKey};
use tokio::task::JoinHandle;

use super::{
    identity::{Identity, Side, renew_own},
    unix_seconds,
};
use devstack_api::{dto, https::Https};

/// The longest sleep: a machine that was suspended, or whose clock was set, notices within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// The shortest sleep: certificates count in seconds.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait after a failure: by then a restarting Taskmaster is back.
const RETRY: Duration = Duration::from_secs(60);

impl Identity {
    /// Starts keeping the certificate fresh, until the handle is aborted or the runtime ends.
    pub fn keep_fresh(&self) -> JoinHandle<()> {
        let identity = self.clone();
        tokio::spawn(async move {
            let mut failed = false;
            loop {
                let credentials = &identity.credentials;
                let now = unix_seconds();
                tokio::time::sleep(pause(now, credentials.renew_at(), credentials.not_after(), failed)).await;
                if !credentials.renew_due(unix_seconds()) {
                    continue;
                }
                let renewed = identity.renew().await;
                failed = renewed.is_err();
                match renewed {
                    Ok(()) => {
                        let until = dto::Time(credentials.not_after().unsigned_abs().saturating_mul(1000));
                        tracing::info!(%until, "renewed the node's certificate");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot renew the node's certificate; will retry")
                    }
                }
            }
        })
    }

    /// Requests the next certificate and uses it.
    async fn renew(&self) -> Result<(), String> {
        match &self.side {
            Side::Taskmaster(members) => {
                let (members, credentials) = (members.clone(), self.credentials.clone());
                let renew = move || {
                    let names = members.present().names.clone();
                    renew_own(&members, &credentials, &names, unix_seconds())
                };
                let done = tokio::task::spawn_blocking(renew).await.map_err(|error| error.to_string())?;
                done.map_err(|error| error.to_string())
            }
            Side::Joined(api) => renew_at(api, &self.credentials).await,
        }
    }
}

async fn renew_at(api: &str, credentials: &Arc<Credentials>) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let key = NodeKey::generate().map_err(|e| text(&e))?;
    let renew = dto::Renew { request: key.request().map_err(|e| text(&e))? };
    let body = serde_json::to_vec(&renew).map_err(|e| text(&e))?;
    let request = Request::post("/v1/renew").header(CONTENT_TYPE, "application/json").body(Body::from(body));
    let https = Https::new(api, credentials.client_config()).map_err(|e| text(&e))?;
    let answer = https.answer(request.map_err(|e| text(&e))?).await.map_err(|e| text(&e))?;
    let renewed: dto::Renewed = serde_json::from_slice(&answer).map_err(|e| text(&e))?;
    let credentials = credentials.clone();
    let replace = move || credentials.replace(&key, &renewed.certificate, unix_seconds());
    tokio::task::spawn_blocking(replace).await.map_err(|e| text(&e))?.map_err(|e| text(&e))
}

/// How long to sleep. All times in seconds since 1970.
fn pause(now: i64, renew_at: i64, not_after: i64, failed: bool) -> Duration {
    let seconds = |span: i64| Duration::from_secs(span.try_into().unwrap_or_default());
    if failed {
        // A short lifetime is retried often; an expired certificate too, because its Taskmaster's clock may be
        // corrected.
        return (seconds(not_after.saturating_sub(now)) / 10).clamp(SHORTEST, RETRY);
    }
    seconds(renew_at.saturating_sub(now)).clamp(SHORTEST, LOOK_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_until_it_is_time_and_tries_again_soon() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(100, 130, 190, false), seconds(30));
        assert_eq!(pause(140, 130, 190, false), SHORTEST);
        assert_eq!(pause(0, 1_000_000, 2_000_000, false), LOOK_AGAIN);
        assert_eq!(pause(140, 130, 190, true), seconds(5));
        assert_eq!(pause(0, 0, 1_000_000, true), RETRY);
        assert_eq!(pause(1_000, 0, 500, true), SHORTEST);
    }
}
