//! The engine's API, one bounded call each. The only place that uses bollard's client.
//!
//! Architecture invariants: every call has a deadline, because bollard's deadline covers only the head of an answer; an
//! engine that is gone is distinguished from an engine that refuses; a socket that appears later is found without a
//! restart.

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

/// Deadline for transferring an image into the engine.
const IMAGE: Duration = Duration::from_secs(300);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// No answer at the socket, or not in time: the request may or may not have been carried out.
    #[error("the Docker engine at {socket} does not answer: {why}")]
    Gone {
        /// The socket.
        socket: String,
        /// The cause.
        why: String,
    },
    /// There is no such container, network or image.
    #[error("{0}")]
    Missing(String),
    /// The name is taken, or the object is in use.
    #[error("{0}")]
    Conflict(String),
    /// The engine refused the request.
    #[error("the Docker engine refused the request: {0}")]
    Refused(String),
}

/// One engine behind a unix socket.
pub(super) struct Engine {
    socket: PathBuf,
    client: OnceLock<Docker>,
    /// Deadline for calls that the engine answers from memory.
    quick: Duration,
    /// Deadline for calls that wait for a process to begin or end.
    slow: Duration,
}

/// A filter of containers by label.
pub(super) type Labels<'a> = &'a [String];

impl Engine {
    /// An engine that need not exist yet.
    pub(super) fn new(socket: PathBuf, quick: Duration, slow: Duration) -> Self {
        Self { socket, client: OnceLock::new(), quick, slow }
    }

    fn client(&self) -> Result<&Docker, EngineError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // bollard requires that the socket exists now; later it connects anew for every call.
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
            Error::SocketNotFoundError(_) => self.gone("the socket does not exist".into()),
            other => self.gone(format!("{what}: {}", chain(&other))),
        }
    }

    /// The engine's description.
    pub(super) async fn info(&self) -> Result<SystemInfo, EngineError> {
        self.call("reading its information", self.quick, self.client()?.info()).await
    }

    /// Checks that the engine answers.
    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.call("a ping", self.quick, self.client()?.ping()).await.map(drop)
    }

    /// A container; `None` if none has this name.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let found = self.call("inspecting a container", self.quick, self.client()?.inspect_container(name, None)).await;
        absent(found)
    }

    /// Every container with these labels, whatever its state.
    pub(super) async fn list(&self, labels: Labels<'_>) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.call("listing containers", self.quick, self.client()?.list_containers(Some(options))).await
    }

    /// Creates a container without starting it.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.client()?.create_container(Some(options), body);
        self.call("creating a container", self.slow, made).await.map(drop)
    }

    /// Starts a container; a running container is left alone.
    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.call("starting a container", self.slow, self.client()?.start_container(name, None)).await
    }

    /// Sends a signal; it is not an error if there is nothing to signal.
    pub(super) async fn kill(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.call("killing a container", self.slow, self.client()?.kill_container(name, Some(options))).await {
            // 409: it is not running.
            Err(EngineError::Missing(_) | EngineError::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// Removes a container, running or not; it is not an error if there is none.
    pub(super) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.call("removing a container", self.slow, self.client()?.remove_container(name, Some(options))).await {
            Err(EngineError::Missing(_)) => Ok(()),
            // "removal of container … is already in progress": the next check shows whether it is gone.
            Err(EngineError::Conflict(why)) => match self.inspect(name).await? {
                None => Ok(()),
                Some(_) => Err(EngineError::Conflict(why)),
            },
            other => other,
        }
    }

    /// A stream of events of containers with these labels. A list shows what the stream misses.
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

    /// An image; `None` if the engine has none of this name.
    pub(super) async fn image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        absent(self.call("inspecting an image", self.quick, self.client()?.inspect_image(name)).await)
    }

    /// Every image that can be used for a container.
    pub(super) async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let all = self.client()?.list_images(None::<ListImagesOptions>);
        self.call("listing images", self.quick, all).await
    }

    /// Makes an image from a tar archive with a file system, like `docker import`. `changes` are lines of a Dockerfile.
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

    /// A network; `None` if none has this name.
    pub(super) async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
        absent(self.call("inspecting a network", self.quick, self.client()?.inspect_network(name, None)).await)
    }

    /// Every network with these labels.
    pub(super) async fn networks(&self, labels: Labels<'_>) -> Result<Vec<Network>, EngineError> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        self.call("listing networks", self.quick, self.client()?.list_networks(Some(options))).await
    }

    /// Creates a network.
    pub(super) async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        self.call("creating a network", self.slow, self.client()?.create_network(request)).await.map(drop)
    }

    /// Removes a network; it is not an error if there is none.
    pub(super) async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        match self.call("removing a network", self.slow, self.client()?.remove_network(name)).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }
}

/// The phase of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Created but never started.
    Created,
    /// Running or frozen.
    Running,
    /// Ended.
    Over,
}

/// The phase of an inspected container.
pub(super) fn phase(container: &ContainerInspectResponse) -> Phase {
    match container.state.as_ref().and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::CREATED) => Phase::Created,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => Phase::Over,
        // Also a container that is being removed, or in an unknown state: it has not ended yet.
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

/// An error with its causes: hyper's own text leaves them out.
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
