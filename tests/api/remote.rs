//! The API on TCP, of a cluster in a scratch directory, and its callers.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request},
};
use devstack::{
    audit::Audit,
    config::node::Limits,
    gateway::{
        Cluster,
        https::{Https, HttpsError},
        router_of,
        server::TlsServer,
    },
    members::{Bearer, Joining, Members, NewCluster, NewToken, Role},
};
use devstack_cluster::{Credentials, NodeKey, NodeName, tls};
use devstack_dag::ids::Timestamp;
use http_body_util::BodyExt;
use rustls::ClientConfig;
use tokio::sync::watch;

use crate::{client::Answer, fake::Fake};

pub struct RemoteApi {
    pub fake: Arc<Fake>,
    pub members: Arc<Members>,
    pub credentials: Arc<Credentials>,
    pub address: String,
    pub stop: watch::Sender<bool>,
    pub serving: tokio::task::JoinHandle<()>,
    pub dir: tempfile::TempDir,
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as u64)
}

pub fn seconds() -> i64 {
    (now().0 / 1000) as i64
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

impl RemoteApi {
    pub async fn start() -> Self {
        Self::with_life(Duration::from_secs(3600)).await
    }

    /// One whose certificates are valid this long.
    pub async fn with_life(certificate_life: Duration) -> Self {
        Self::built(certificate_life, Limits { connections: 8, ..Limits::default() }).await
    }

    /// One with these limits.
    pub async fn limited(limits: Limits) -> Self {
        Self::built(Duration::from_secs(3600), limits).await
    }

    async fn built(certificate_life: Duration, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let new = NewCluster {
            name: "test".to_owned(),
            taskmaster: name("master"),
            names: vec!["127.0.0.1".to_owned()],
            certificate_life,
        };
        let members = Arc::new(Members::create(dir.path(), &new, seconds()).unwrap());
        let credentials = Arc::new(Credentials::load(members.dir()).unwrap());
        let server = TlsServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().to_string();
        let cluster = Cluster::new(members.clone(), Some(address.clone()), Some("127.0.0.1:1".to_owned()), now);
        let fake = Fake::new(0);
        let audit = Arc::new(Audit::new(dir.path(), 1 << 20));
        let router = router_of(fake.clone(), Some(Arc::new(cluster)), Some(audit), limits);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server.serve(router, credentials.clone(), limits, stopped));
        Self { fake, members, credentials, address, stop, serving, dir }
    }

    pub fn token(&self, role: Role) -> Bearer {
        let new = NewToken { name: None, role, life: role.default_life(), pins: None };
        self.members.create_token(&new, seconds()).unwrap().0
    }

    /// Somebody without a certificate.
    pub fn people(&self) -> Https {
        self.with(tls::client_trusting(self.members.ca_pem()).unwrap())
    }

    pub fn with(&self, config: Arc<ClientConfig>) -> Https {
        Https::new(&self.address, config).unwrap()
    }

    /// A machine that joined.
    pub fn member(&self, member: &str) -> (Credentials, Https) {
        self.member_since(member, seconds())
    }

    /// A machine that joined at this time, in seconds since 1970.
    pub fn member_since(&self, member: &str, now: i64) -> (Credentials, Https) {
        let (token, key, dir) =
            (self.token(Role::AgentHost), NodeKey::generate().unwrap(), self.dir.path().join(member));
        let request = key.request().unwrap();
        let joining = Joining { token: token.id, secret: &token.secret, name: &name(member), request: &request };
        let admission = self.members.join(&joining, now).unwrap();
        let ca = self.members.ca_pem();
        let credentials = Credentials::create(&dir, &key, &admission.certificate_pem, ca, now).unwrap();
        let https = self.with(credentials.client_config());
        (credentials, https)
    }
}

pub fn request(method: &str, path: &str, token: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(body.into()).unwrap()
}

pub async fn ask(https: &Https, request: Request<Body>) -> Result<Answer, HttpsError> {
    let response = https.send(request).await?;
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(Answer { status, kind: kind.unwrap_or_default(), tag: None, request: None, retry_after: None, body })
}

pub async fn get(https: &Https, path: &str, token: Option<&str>) -> Result<Answer, HttpsError> {
    ask(https, request("GET", path, token, Body::empty())).await
}
