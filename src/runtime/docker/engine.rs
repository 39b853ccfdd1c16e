//! The engine's API, one bounded call each. The only place that talks to bollard's client.
//!
//! Architecture invariants: every call has a deadline, since bollard's covers only the head of an answer; an engine that
//! is gone is told apart from one that refuses; a socket that appears later is found without a restart.

use std::{collections::HashMap, future::Future, path::PathBuf, sync::OnceLock, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker, body_full,
    errors::Error,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, EventMessage,
        ImageInspect, ImageSummary, Network, NetworkCreateRequest, NetworkInspect, SystemInfo,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, ListImagesOptions, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures::{Stream, StreamExt};

/// For an image's transport into the engine.
const IMAGE: Duration = Duration::from_secs(300);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// Nobody answers at the socket, or not in time: what was asked may or may not have happened.
    #[error("the Docker engine at {socket} does not answer: {why}")]
    Gone {
        /// Where it was looked for.
        socket: String,
        /// Why.
        why: String,
    },
    /// There is no such container, network or image.
    #[error("{0}")]
    Missing(String),
    /// The name is taken, or the thing is in use.
    #[error("{0}")]
    Conflict(String),
    /// The engine refuses.
    #[error("the Docker engine refuses: {0}")]
    Refused(String),
}

/// One engine behind a unix socket.
pub(super) struct Engine {
    socket: PathBuf,
    client: OnceLock<Docker>,
    /// For what an engine answers from memory.
    quick: Duration,
    /// For what waits for a process to begin or end.
    slow: Duration,
}

/// Which containers, by label.
pub(super) type Labels<'a> = &'a [String];

impl Engine {
    /// An engine that need not be there yet.
    pub(super) fn new(socket: PathBuf, quick: Duration, slow: Duration) -> Self {
        Self { socket, client: OnceLock::new(), quick, slow }
    }

    fn client(&self) -> Result<&Docker, EngineError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // bollard wants the socket to exist now; afterwards it connects anew for every call.
        let path = self.socket.to_string_lossy();
        let made = Docker::connect_with_unix(&path, IMAGE.as_secs(), API_DEFAULT_VERSION);
        let made = made.map_err(|error| self.error("connecting", error))?;
        Ok(self.client.get_or_init(|| made))
    }

    async fn call<T>(
        &self,
        what: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map_err(|error| self.error(what, error)),
            Err(_) => Err(self.gone(format!("{what} took longer than {} s", limit.as_secs()))),
        }
    }

    fn gone(&self, why: String) -> EngineError {
        EngineError::Gone { socket: self.socket.display().to_string(), why }
    }

    fn error(&self, what: &str, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code: 404, message } => EngineError::Missing(message),
            Error::DockerResponseServerError { status_code: 409, message } => EngineError::Conflict(message),
            Error::DockerResponseServerError { message, .. } => EngineError::Refused(format!("{what}: {message}")),
            Error::DockerStreamError { error } => EngineError::Refused(format!("{what}: {error}")),
            Error::SocketNotFoundError(_) => self.gone("there is no such socket".into()),
            other => self.gone(format!("{what}: {}", chain(&other))),
        }
    }

    /// What it is.
    pub(super) async fn info(&self) -> Result<SystemInfo, EngineError> {
        self.call("asking for its information", self.quick, self.client()?.info()).await
    }

    /// Does it answer?
    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.call("a ping", self.quick, self.client()?.ping()).await.map(drop)
    }

    /// A container; `None`: there is none of this name.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let found = self.call("looking at a container", self.quick, self.client()?.inspect_container(name, None)).await;
        absent(found)
    }

    /// Every container with these labels, whatever its state.
    pub(super) async fn list(&self, labels: Labels<'_>) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.call("listing containers", self.quick, self.client()?.list_containers(Some(options))).await
    }

    /// Makes a container, not running.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.client()?.create_container(Some(options), body);
        self.call("making a container", self.slow, made).await.map(drop)
    }

    /// Starts a container; one that runs is left alone.
    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.call("starting a container", self.slow, self.client()?.start_container(name, None)).await
    }

    /// Sends a signal; nothing that could get one is no error.
    pub(super) async fn kill(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.call("ending a container", self.slow, self.client()?.kill_container(name, Some(options))).await {
            // 409: it is not running.
            Err(EngineError::Missing(_) | EngineError::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// Removes a container, running or not; none is no error.
    pub(super) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.call("removing a container", self.slow, self.client()?.remove_container(name, Some(options))).await {
            Err(EngineError::Missing(_)) => Ok(()),
            // "removal of container … is already in progress": whether it is gone shows at the next look.
            Err(EngineError::Conflict(why)) => match self.inspect(name).await? {
                None => Ok(()),
                Some(_) => Err(EngineError::Conflict(why)),
            },
            other => other,
        }
    }

    /// What happens to containers with these labels, as it happens. What it misses, a list shows.
    pub(super) fn events(
        &self,
        labels: Labels<'_>,
    ) -> Result<impl Stream<Item = Result<EventMessage, EngineError>> + Send + '_, EngineError> {
        let filters = HashMap::from([
            ("label", labels.to_vec()),
            ("type", vec!["container".to_owned()]),
            ("event", ["die", "destroy", "oom"].map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let stream = self.client()?.events(Some(options));
        Ok(stream.map(|event| event.map_err(|error| self.error("watching its events", error))))
    }

    /// An image; `None`: the engine has none of this name.
    pub(super) async fn image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        absent(self.call("looking at an image", self.quick, self.client()?.inspect_image(name)).await)
    }

    /// Every image that a container could be of.
    pub(super) async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let all = self.client()?.list_images(None::<ListImagesOptions>);
        self.call("listing images", self.quick, all).await
    }

    /// Makes an image of a tar archive with a file system, as `docker import` does. `changes` are lines of a Dockerfile.
    pub(super) async fn import(&self, tag: &str, tar: Vec<u8>, changes: Vec<String>) -> Result<(), EngineError> {
        let (repo, tag) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).changes(changes).build();
        let answers = self.client()?.create_image(Some(options), Some(body_full(tar.into())), None);
        let all = async {
            futures::pin_mut!(answers);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        };
        self.call("importing an image", IMAGE, all).await
    }

    /// A network; `None`: there is none of this name.
    pub(super) async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
        absent(self.call("looking at a network", self.quick, self.client()?.inspect_network(name, None)).await)
    }

    /// Every network with these labels.
    pub(super) async fn networks(&self, labels: Labels<'_>) -> Result<Vec<Network>, EngineError> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        self.call("listing networks", self.quick, self.client()?.list_networks(Some(options))).await
    }

    /// Makes a network.
    pub(super) async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        self.call("making a network", self.slow, self.client()?.create_network(request)).await.map(drop)
    }

    /// Removes a network; none is no error.
    pub(super) async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        match self.call("removing a network", self.slow, self.client()?.remove_network(name)).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Made and never started.
    Created,
    /// Something of it runs, or is frozen.
    Running,
    /// It is over.
    Over,
}

/// The phase of an inspected container.
pub(super) fn phase(container: &ContainerInspectResponse) -> Phase {
    match container.state.as_ref().and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::CREATED) => Phase::Created,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => Phase::Over,
        // Also one that is being removed or that the engine knows no word for: it is not over yet.
        _ => Phase::Running,
    }
}

fn absent<T>(found: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error with what caused it: hyper's own text leaves that out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
