//! Credentials in real in-memory handshakes: who is admitted, who is refused, and rotation.

use std::{io::ErrorKind, os::unix::fs::PermissionsExt};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::{ClusterCa, NodeName, Purpose, SigningRequest, tls::client_for_joining, tls::client_trusting};

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

fn issue(ca: &ClusterCa, key: &NodeKey, name: &str, now: i64) -> String {
    let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    ca.issue(&request, &NodeName::new(name).unwrap(), &names, Purpose::Server, HOUR, now).unwrap().certificate_pem
}

struct Node {
    dir: tempfile::TempDir,
    credentials: Credentials,
}

fn node(ca: &ClusterCa, name: &str) -> Node {
    let (dir, key) = (tempfile::tempdir().unwrap(), NodeKey::generate().unwrap());
    let certificate = issue(ca, &key, name, now());
    let credentials =
        Credentials::create(&dir.path().join("c"), &key, &certificate, ca.certificate_pem(), now()).unwrap();
    Node { dir, credentials }
}

/// A handshake and a byte in each direction; returns the names that the server and the client saw.
async fn meet(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    dialled: &'static str,
) -> io::Result<(Option<String>, String)> {
    let (near, far) = duplex(16 << 10);
    let serving = async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
        // The client answers only if it trusts us; reading makes sure that it saw our certificate.
        stream.read_exact(&mut [0]).await?;
        Ok::<_, io::Error>(chain.map(|chain| PeerCertificate::of(&chain).unwrap().name.to_string()))
    };
    let dialling = async move {
        let name = ServerName::try_from(dialled).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.read_exact(&mut [0]).await?;
        stream.write_all(b"y").await?;
        stream.flush().await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        stream.shutdown().await?;
        Ok::<_, io::Error>(PeerCertificate::of(&chain).unwrap().name.to_string())
    };
    let (server, client) = tokio::join!(serving, dialling);
    let client = client?;
    Ok((server?, client))
}

#[tokio::test]
async fn members_know_each_other() {
    let ca = ClusterCa::create("test", now()).unwrap();
    let (master, host) = (node(&ca, "master"), node(&ca, "host_a"));
    let (server, client) = (&master.credentials, &host.credentials);
    for dialled in ["localhost", "127.0.0.1", "master"] {
        let met = meet(server.server_config(), client.client_config(), dialled).await.unwrap();
        assert_eq!(met, (Some("host_a".to_owned()), "master".to_owned()));
    }
    // A member that answers for another member's name is not trusted.
    assert!(meet(server.server_config(), client.client_config(), "host_b").await.is_err());
    assert!(meet(client.server_config(), server.client_config(), "master").await.is_err());
}

#[tokio::test]
async fn names_that_are_no_dns_names_harm_nothing() {
    let ca = ClusterCa::create("test", now()).unwrap();
    for name in ["123", "a-", "a_b", "Ab"] {
        let (master, host) = (node(&ca, name), node(&ca, "host"));
        for dialled in ["127.0.0.1", "localhost"] {
            let met = meet(master.credentials.server_config(), host.credentials.client_config(), dialled).await;
            assert_eq!(met.unwrap(), (Some("host".to_owned()), name.to_owned()));
            let met = meet(host.credentials.server_config(), master.credentials.client_config(), dialled).await;
            assert_eq!(met.unwrap(), (Some(name.to_owned()), "host".to_owned()));
        }
    }
}

#[tokio::test]
async fn strangers_stay_outside() {
    let (ca, other) = (ClusterCa::create("test", now()).unwrap(), ClusterCa::create("test", now()).unwrap());
    let (master, stranger) = (node(&ca, "master"), node(&other, "master"));
    let server = &master.credentials;
    let people = client_trusting(ca.certificate_pem()).unwrap();
    assert!(meet(server.server_config(), stranger.credentials.client_config(), "localhost").await.is_err());
    assert!(meet(server.server_config(), people.clone(), "localhost").await.is_err(), "no certificate, no link");
    assert!(meet(stranger.credentials.api_server_config(), people.clone(), "localhost").await.is_err());
    // The API accepts clients without a certificate, but none with a wrong one.
    assert_eq!(meet(server.api_server_config(), people, "localhost").await.unwrap().0, None);
    let mixed = {
        // A client that trusts the server, but presents a stranger's certificate.
        let pem = fs::read_to_string(stranger.dir.path().join("c").join(NODE_FILE)).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let chain = vec![certificate(&pem).unwrap()];
        tls::client(Some(&Identity { chain, key }), &certificate(ca.certificate_pem()).unwrap()).unwrap()
    };
    assert!(meet(server.api_server_config(), mixed, "localhost").await.is_err());
}

#[tokio::test]
async fn who_joins_believes_the_fingerprint_and_nothing_else() {
    let (ca, other) = (ClusterCa::create("test", now()).unwrap(), ClusterCa::create("test", now()).unwrap());
    let (master, stranger) = (node(&ca, "master"), node(&other, "master"));
    let joining = client_for_joining(ca.fingerprint()).unwrap();
    meet(master.credentials.api_server_config(), joining.clone(), "localhost").await.unwrap();
    assert!(meet(master.credentials.api_server_config(), joining.clone(), "elsewhere").await.is_err());
    assert!(meet(stranger.credentials.api_server_config(), joining.clone(), "localhost").await.is_err());
    // Presenting the right CA next to a certificate of another CA does not help.
    let pem = fs::read_to_string(stranger.dir.path().join("c").join(NODE_FILE)).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let right = certificate(ca.certificate_pem()).unwrap();
    let chain = vec![certificate(&pem).unwrap(), right.clone()];
    let forged = tls::server(&Identity { chain, key }, &right, ClientCertificate::Optional).unwrap();
    let error = meet(forged, joining, "localhost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_after_a_restart() {
    let ca = ClusterCa::create("test", now()).unwrap();
    let master = node(&ca, "master");
    let (credentials, dir) = (&master.credentials, master.dir.path().join("c"));
    let before = credentials.certificate();
    let key = NodeKey::generate().unwrap();
    credentials.replace(&key, &issue(&ca, &key, "master", now() + 60), now()).unwrap();
    let after = credentials.certificate();
    assert!(after.serial != before.serial && after.not_after > before.not_after);
    meet(credentials.server_config(), credentials.client_config(), "master").await.unwrap();
    assert_eq!(Credentials::load(&dir).unwrap().certificate(), after);
    assert_eq!(fs::metadata(dir.join(NODE_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_certificate_that_does_not_fit_changes_nothing() {
    let (ca, other) = (ClusterCa::create("test", now()).unwrap(), ClusterCa::create("test", now()).unwrap());
    let master = node(&ca, "master");
    let before = master.credentials.certificate();
    let (key, wrong_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    for (key, certificate) in [
        (&wrong_key, issue(&ca, &key, "master", now())),
        (&key, issue(&other, &key, "master", now())),
        (&key, issue(&ca, &key, "another", now())),
        (&key, issue(&ca, &key, "master", now() - 100 * 3600)),
        (&key, "hello".to_owned()),
    ] {
        assert!(matches!(master.credentials.replace(key, &certificate, now()), Err(CredentialsError::Unusable(_))));
    }
    assert_eq!(Credentials::load(&master.dir.path().join("c")).unwrap().certificate(), before);
    let again = Credentials::create(
        &master.dir.path().join("c"),
        &key,
        &issue(&ca, &key, "master", now()),
        ca.certificate_pem(),
        now(),
    );
    assert!(matches!(again, Err(CredentialsError::Exists(_))));
}

proptest::proptest! {
    #[test]
    fn renewal_is_due_within_the_life(issued in 0..4_000_000_000i64, life in 0..4_000_000_000i64) {
        let slack = i64::try_from(SLACK.as_secs()).unwrap();
        let due = renew_at(issued - slack, issued + life);
        proptest::prop_assert!((issued..=issued + life).contains(&due));
    }
}

#[test]
fn renewal_is_due_at_two_thirds_of_the_life() {
    let slack = i64::try_from(SLACK.as_secs()).unwrap();
    assert_eq!(renew_at(1_000 - slack, 1_000 + 300), 1_200);
    assert_eq!(renew_at(1_000 - slack, 900), 1_000, "one that ended at once");
    let ca = ClusterCa::create("test", now()).unwrap();
    let credentials = node(&ca, "master").credentials;
    let end = credentials.not_after();
    assert!(!credentials.renew_due(end - 1_300) && credentials.renew_due(end - 1_199));
}

/// The owner of a host's key can dial as that host, but cannot be dialed as it. A certificate of an earlier version,
/// which was also a server's, stays valid for its purpose until it is renewed.
#[tokio::test]
async fn a_hosts_certificate_poses_as_no_server() {
    let ca = ClusterCa::create("test", now()).unwrap();
    let (taskmaster, before) = (node(&ca, "taskmaster"), node(&ca, "host-1"));
    let key = NodeKey::generate().unwrap();
    let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
    let names = ["localhost".to_owned()];
    let issued = ca.issue(&request, &NodeName::new("host-1").unwrap(), &names, Purpose::Client, HOUR, now()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let host =
        Credentials::create(&dir.path().join("c"), &key, &issued.certificate_pem, ca.certificate_pem(), now()).unwrap();
    let dials = async |client: &Credentials| {
        meet(taskmaster.credentials.server_config(), client.client_config(), "localhost")
            .await
            .map(|(client, _)| client)
    };
    assert_eq!(dials(&host).await.unwrap().as_deref(), Some("host-1"));
    assert_eq!(dials(&before.credentials).await.unwrap().as_deref(), Some("host-1"));
    let dialled = async |server: &Credentials| {
        meet(server.server_config(), taskmaster.credentials.client_config(), "localhost").await
    };
    assert!(dialled(&before.credentials).await.is_ok());
    assert!(dialled(&host).await.is_err());
}
