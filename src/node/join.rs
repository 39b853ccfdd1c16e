//! `devstack-node join`: a machine becomes a member. What can be checked is checked before the token is used up.
//! Deliberately absent: starting the node.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, header::CONTENT_TYPE},
};
use devstack_cluster::{Credentials, Fingerprint, JoinToken, NodeKey, NodeName, credentials::NODE_FILE, files, tls};

use super::{identity::API_FILE, unix_seconds};
use crate::{
    cli::{CliError, Exit},
    config::{
        node::{self, NodeConfig},
        problem::Problem,
    },
    gateway::{
        dto,
        https::{Https, HttpsError},
    },
    members,
};

/// Codes of joining; stable.
mod code {
    /// This machine is a member, or has a configuration.
    pub(super) const TAKEN: &str = "DS0505";
    /// The cluster's answer is not what the token promised.
    pub(super) const BAD_ANSWER: &str = "DS0506";
}

/// How often the request is sent when the connection is lost on the way: the token lets the same key in again.
const TRIES: u32 = 3;
/// Between tries: a Taskmaster that restarts needs about as long.
const PAUSE: Duration = Duration::from_secs(1);

/// What a person orders.
#[derive(Debug)]
pub struct Order {
    /// The token.
    pub token: JoinToken,
    /// The name that this machine wants; `None`: its own.
    pub name: Option<String>,
    /// Where `node.toml` is written.
    pub config: PathBuf,
    /// Where the node's state will lie.
    pub state_dir: PathBuf,
}

/// A machine that has joined.
#[derive(Debug)]
pub struct Joined {
    /// As what.
    pub name: NodeName,
    /// What people call the cluster.
    pub cluster: String,
    /// Where it will dial, `HOST:PORT`.
    pub taskmaster: String,
}

/// Joins: asks the cluster whose CA the token names for a certificate, and writes it and a `node.toml`.
///
/// # Errors
/// This machine has joined before, nobody answers, it is not the cluster of the token, it refuses, or the disk fails. The
/// token is used up only when the cluster has let this machine in.
pub async fn join(order: &Order) -> Result<Joined, CliError> {
    let name = checked_name(order)?;
    check_room(order)?;
    let key = NodeKey::generate().map_err(|error| CliError::failure(error.to_string()))?;
    let joined = ask(order, &name, &key).await?;
    let bad = |why: &str| {
        let message = format!("the answer of {} is refused: {why}", order.token.address());
        let hint = format!("remove the machine there (`devstack host remove {name}`) and join with a new token");
        CliError::new(Exit::Failure, Problem::new(code::BAD_ANSWER, message).hint(hint))
    };
    if Fingerprint::of_pem(&joined.ca) != Some(order.token.ca) {
        return Err(bad("its CA is another than the token's"));
    }
    let text = node::joiner(name.as_str(), &order.state_dir, &joined.link);
    if NodeConfig::parse("node.toml", &text).is_err() {
        return Err(bad(&format!("it names `{}` as the address to dial", joined.link)));
    }
    let dir = order.state_dir.join(members::DIR);
    // The address first: whoever finds the certificate finds it, too.
    let keep =
        || files::private_dir(&dir).and_then(|()| files::replace(&dir.join(API_FILE), address(order).as_bytes()));
    keep().map_err(|error| cannot_write(&dir, &error))?;
    Credentials::create(&dir, &key, &joined.certificate, &joined.ca, unix_seconds())
        .map_err(|error| bad(&error.to_string()))?;
    members::hand_over(&order.state_dir).map_err(|error| cannot_write(&dir, &error))?;
    let write = || io::Write::write_all(&mut fs::File::create_new(&order.config)?, text.as_bytes());
    write().map_err(|error| cannot_write(&order.config, &error).hint(format!("write it yourself:\n{text}")))?;
    Ok(Joined { name, cluster: joined.cluster, taskmaster: joined.link })
}

fn address(order: &Order) -> String {
    format!("{}\n", order.token.address())
}

fn checked_name(order: &Order) -> Result<NodeName, CliError> {
    let own = || NodeConfig::embedded(&order.state_dir).name.to_string();
    let text = order.name.clone().unwrap_or_else(own);
    let bad = |why: String| CliError::usage(why).hint("choose another with --name");
    devstack_dag::ids::HostName::new(&text).map_err(|error| bad(error.to_string()))?;
    NodeName::new(&text).map_err(|error| bad(error.to_string()))
}

/// Is there room for what will be written?
fn check_room(order: &Order) -> Result<(), CliError> {
    let taken =
        |message: String, hint: &str| Err(CliError::new(Exit::Refused, Problem::new(code::TAKEN, message).hint(hint)));
    if order.config.exists() {
        let hint = "choose another --config; or, if this machine is to leave what it was, move the file away";
        return taken(format!("{} is there already", order.config.display()), hint);
    }
    let dir = order.state_dir.join(members::DIR);
    if dir.join(NODE_FILE).exists() {
        let hint = "choose another --state-dir; or, if it was removed from that cluster, move the directory away";
        return taken(format!("this machine is a member of a cluster already: {}", dir.display()), hint);
    }
    fs::create_dir_all(&order.state_dir).map_err(|error| cannot_write(&order.state_dir, &error))?;
    let parent = order.config.parent().unwrap_or(Path::new("/"));
    let probe = parent.join(format!(".devstack-{}", std::process::id()));
    let try_it = || {
        fs::create_dir_all(parent)?;
        fs::File::create_new(&probe)?;
        fs::remove_file(&probe)
    };
    try_it().map_err(|error| cannot_write(parent, &error))
}

async fn ask(order: &Order, name: &NodeName, key: &NodeKey) -> Result<dto::Joined, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failure(error.to_string());
    let wanted = dto::Join {
        token: order.token.id.to_string(),
        secret: order.token.secret.reveal(),
        name: name.to_string(),
        request: key.request().map_err(|e| failed(&e))?,
    };
    let body = serde_json::to_vec(&wanted).map_err(|e| failed(&e))?;
    let config = tls::client_for_joining(order.token.ca).map_err(|e| failed(&e))?;
    let https = Https::new(order.token.address(), config)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let request = Request::post("/v1/join").header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.clone())).map_err(|e| failed(&e))?;
        match https.answer(request).await {
            Ok(body) => return serde_json::from_slice(&body).map_err(|e| failed(&e)),
            Err(HttpsError::Lost { .. }) if tries < TRIES => tokio::time::sleep(PAUSE).await,
            Err(error @ HttpsError::Untrusted { .. }) => {
                let hint = "the token is of another cluster, or somebody stands in between; the secret was not sent";
                return Err(CliError::from(error).hint(hint));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::failure(format!("cannot write {}: {error}", path.display()))
}
