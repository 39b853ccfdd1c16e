//! `devstack-node join`: makes a machine a member. Everything that can be checked is checked before the token is used
//! up. Deliberately absent: starting the node.

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
use devstack_api::{
    dto,
    https::{Https, HttpsError},
};
use devstack_cli::{CliError, Exit};
use devstack_config::{
    node::{self, NodeConfig},
    problem::Problem,
};
use devstack_members as members;

/// Error codes of joining; stable.
mod code {
    /// This machine is already a member, or has a configuration.
    pub(super) const TAKEN: &str = "DS0505";
    /// The cluster's answer does not match the token.
    pub(super) const BAD_ANSWER: &str = "DS0506";
}

/// How often the request is sent if the connection is lost: the token admits the same key again.
const TRIES: u32 = 3;
/// The pause between tries: a Taskmaster needs about this long to restart.
const PAUSE: Duration = Duration::from_secs(1);

/// The user's order.
#[derive(Debug)]
pub struct Order {
    /// The token.
    pub token: JoinToken,
    /// The requested name of this machine; `None` for its hostname.
    pub name: Option<String>,
    /// Where `node.toml` is written.
    pub config: PathBuf,
    /// The directory of the node's state.
    pub state_dir: PathBuf,
}

/// The result of joining.
#[derive(Debug)]
pub struct Joined {
    /// The machine's name.
    pub name: NodeName,
    /// The cluster's name for users.
    pub cluster: String,
    /// The address to dial, `HOST:PORT`.
    pub taskmaster: String,
}

/// Joins: requests a certificate from the cluster whose CA the token names, and writes it and a `node.toml`.
///
/// # Errors
/// This machine has already joined, nobody answers, the answer is not from the token's cluster, the cluster refuses, or
/// the disk fails. The token is used up only when the cluster has admitted this machine.
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
        return Err(bad("its CA differs from the token's"));
    }
    let text = node::joiner(name.as_str(), &order.state_dir, &joined.link);
    if NodeConfig::parse("node.toml", &text).is_err() {
        return Err(bad(&format!("it gives `{}` as the address to dial", joined.link)));
    }
    let dir = order.state_dir.join(members::DIR);
    // The address is written first: if the certificate exists, the address exists too.
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

/// Checks that the files to be written do not exist.
fn check_room(order: &Order) -> Result<(), CliError> {
    let taken =
        |message: String, hint: &str| Err(CliError::new(Exit::Refused, Problem::new(code::TAKEN, message).hint(hint)));
    if order.config.exists() {
        let hint = "choose another --config, or move the file away to replace this machine's configuration";
        return taken(format!("{} already exists", order.config.display()), hint);
    }
    let dir = order.state_dir.join(members::DIR);
    if dir.join(NODE_FILE).exists() {
        let hint = "choose another --state-dir; or, if it was removed from that cluster, move the directory away";
        return taken(format!("this machine is already a member of a cluster: {}", dir.display()), hint);
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
                let hint =
                    "the token is from another cluster, or the connection is intercepted; the secret was not sent";
                return Err(CliError::from(error).hint(hint));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::failure(format!("cannot write {}: {error}", path.display()))
}
