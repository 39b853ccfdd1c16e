//! The credentials of a node: its key and certificate, and the CA that it trusts. The certificate can be replaced while
//! the node runs: every new handshake uses the current certificate. Deliberately absent: requests for a certificate
//! (joining and renewing send them, over HTTPS).

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

use zeroize::Zeroizing;

use crate::{
    Fingerprint, PeerCertificate,
    ca::{CA_FILE, SLACK},
    files,
    tls::{self, ClientCertificate, Identity, TlsError},
};

/// Key and certificate in one file, so that they are replaced in one step.
pub const NODE_FILE: &str = "node.pem";

/// A node's key: ECDSA P-256. Each certificate gets a new key: a stolen key expires with its certificate.
pub struct NodeKey(KeyPair);

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The files cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Credentials already exist: this machine is a member.
    #[error("{0} exists: this machine is already a member of a cluster")]
    Exists(PathBuf),
    /// The files do not match each other, or are not from the cluster's CA.
    #[error("the node's certificate is not usable: {0}")]
    Unusable(String),
}

impl From<TlsError> for CredentialsError {
    fn from(error: TlsError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl NodeKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// The machine provides no random numbers.
    pub fn generate() -> Result<Self, CredentialsError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(unusable)
    }

    /// A certificate request, PEM. It contains only the key: the cluster decides the name.
    ///
    /// # Errors
    /// Only errors of the library; none is known.
    pub fn request(&self) -> Result<String, CredentialsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&self.0).and_then(|request| request.pem()).map_err(unusable)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

/// A node's own key, certificate and CA.
pub struct Credentials {
    dir: PathBuf,
    ca: CertificateDer<'static>,
    present: RwLock<Arc<Present>>,
}

/// The current credentials, ready to use.
struct Present {
    links: Arc<ServerConfig>,
    api: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    own: PeerCertificate,
    not_before: i64,
}

impl Credentials {
    /// Reads the credentials of a directory. An expired certificate is accepted: the Taskmaster renews its own.
    ///
    /// # Errors
    /// The directory has no credentials, or they do not match each other.
    pub fn load(dir: &Path) -> Result<Self, CredentialsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| CredentialsError::Io { path, source })
        };
        let ca = certificate(&read(CA_FILE)?)?;
        let present = Present::read(&Zeroizing::new(read(NODE_FILE)?), &ca)?;
        Ok(Self { dir: dir.to_owned(), ca, present: RwLock::new(Arc::new(present)) })
    }

    /// Writes a first certificate and the CA that issued it into a directory; `now` in seconds since 1970.
    ///
    /// # Errors
    /// Credentials already exist, the new ones do not match each other, or the disk fails. Nothing changed then, except
    /// when the disk fails.
    pub fn create(
        dir: &Path,
        key: &NodeKey,
        certificate_pem: &str,
        ca_pem: &str,
        now: i64,
    ) -> Result<Self, CredentialsError> {
        let (ca, text) = (certificate(ca_pem)?, node_file(key, certificate_pem));
        let present = Present::read(&text, &ca)?;
        present.verify(&ca, &text, now)?;
        let path = dir.join(NODE_FILE);
        if path.exists() {
            return Err(CredentialsError::Exists(path));
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| CredentialsError::Io { path, source }
        };
        files::private_dir(dir).map_err(failed(dir))?;
        // The node's file is written last: if it exists, the CA exists too.
        files::replace(&dir.join(CA_FILE), ca_pem.as_bytes()).map_err(failed(&dir.join(CA_FILE)))?;
        files::replace(&path, text.as_bytes()).map_err(failed(&path))?;
        Ok(Self { dir: dir.to_owned(), ca, present: RwLock::new(Arc::new(present)) })
    }

    /// Replaces key and certificate durably, and uses the new ones from now on. Open connections are unchanged. `now`
    /// in seconds since 1970.
    ///
    /// # Errors
    /// The certificate is not for this key, not from the cluster's CA, not valid now, or for another name; or the disk
    /// fails. The old one stays in use then.
    pub fn replace(&self, key: &NodeKey, certificate_pem: &str, now: i64) -> Result<(), CredentialsError> {
        let text = node_file(key, certificate_pem);
        let present = Present::read(&text, &self.ca)?;
        present.verify(&self.ca, &text, now)?;
        if present.own.name != self.certificate().name {
            return Err(CredentialsError::Unusable(format!("it is for {}", present.own.name)));
        }
        let path = self.dir.join(NODE_FILE);
        files::replace(&path, text.as_bytes()).map_err(|source| CredentialsError::Io { path, source })?;
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(present);
        Ok(())
    }

    /// For the listener of links: a client must present a certificate of the cluster. Call this for each handshake.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.present().links.clone()
    }

    /// For the API on TCP: a client may present a certificate of the cluster, or later a token. Call this for each
    /// handshake.
    pub fn api_server_config(&self) -> Arc<ServerConfig> {
        self.present().api.clone()
    }

    /// For dialing: presents this node's certificate, and trusts servers of the cluster for the dialed name. Call this
    /// for each handshake.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.present().client.clone()
    }

    /// The content of this node's certificate.
    pub fn certificate(&self) -> PeerCertificate {
        self.present().own.clone()
    }

    /// The CA's fingerprint, as in join tokens.
    pub fn ca_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.ca)
    }

    /// The end of the certificate's validity, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.present().own.not_after
    }

    /// When to request the next certificate, in seconds since 1970: after two thirds of the lifetime, which leaves a
    /// third in case the Taskmaster is away.
    pub fn renew_at(&self) -> i64 {
        let present = self.present();
        renew_at(present.not_before, present.own.not_after)
    }

    /// Whether it is time to request the next certificate. `now` in seconds since 1970.
    pub fn renew_due(&self, now: i64) -> bool {
        now >= self.renew_at()
    }

    fn present(&self) -> Arc<Present> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("dir", &self.dir).field("certificate", &self.certificate()).finish()
    }
}

impl Present {
    fn read(node_pem: &str, ca: &CertificateDer<'static>) -> Result<Self, CredentialsError> {
        let key = PrivateKeyDer::from_pem_slice(node_pem.as_bytes()).map_err(unusable)?;
        let leaf = certificate(node_pem)?;
        let own = PeerCertificate::of(std::slice::from_ref(&leaf)).map_err(unusable)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(unusable)?;
        let not_before = parsed.validity().not_before.timestamp();
        // The CA is sent along: a joining machine knows its fingerprint and must see it.
        let identity = Identity { chain: vec![leaf, ca.clone()], key };
        Ok(Self {
            links: tls::server(&identity, ca, ClientCertificate::Required)?,
            api: tls::server(&identity, ca, ClientCertificate::Optional)?,
            client: tls::client(Some(&identity), ca)?,
            own,
            not_before,
        })
    }

    /// Checks that the certificate is from this CA and valid now.
    fn verify(&self, ca: &CertificateDer<'static>, node_pem: &str, now: i64) -> Result<(), CredentialsError> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).map_err(unusable)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build().map_err(unusable)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap_or_default()));
        verifier.verify_client_cert(&certificate(node_pem)?, &[], now).map(drop).map_err(unusable)
    }
}

fn node_file(key: &NodeKey, certificate_pem: &str) -> Zeroizing<String> {
    let key = Zeroizing::new(key.0.serialize_pem());
    let mut text = Zeroizing::new(String::with_capacity(key.len() + certificate_pem.len()));
    text.extend([key.as_str(), certificate_pem]);
    text
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, CredentialsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unusable)
}

fn unusable(error: impl fmt::Display) -> CredentialsError {
    CredentialsError::Unusable(error.to_string())
}

/// Two thirds between the issue (the certificate's validity begins [`SLACK`] earlier) and the end.
fn renew_at(not_before: i64, not_after: i64) -> i64 {
    let issued = not_before.saturating_add(SLACK.as_secs().try_into().unwrap_or_default());
    issued.saturating_add(not_after.saturating_sub(issued).max(0) / 3 * 2)
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
