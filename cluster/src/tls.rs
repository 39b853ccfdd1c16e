//! The TLS settings: version 1.3, only the cluster's own CA, no resumption. Deliberately absent: what a peer may do
//! once its certificate is verified (the registry decides).

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};

use crate::Fingerprint;

/// Why a configuration cannot be made: the certificates do not match.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refused the certificates or the key.
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The CA is invalid.
    #[error("the cluster's CA cannot be used: {0}")]
    Ca(String),
}

/// A certificate with its chain, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Whether a client must present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    Required,
    /// A presented certificate must be valid; users have none.
    Optional,
}

/// The one cryptography provider.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Makes [`provider`] the default of this process, for libraries that use the default. May be called repeatedly.
pub fn install_provider() {
    // Refused if a default exists: it is the same one, because no other is compiled in.
    let _ = aws_lc_rs::default_provider().install_default();
}

fn roots(ca: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    Ok(Arc::new(roots))
}

pub(crate) fn server(
    identity: &Identity,
    ca: &CertificateDer<'static>,
    clients: ClientCertificate,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider());
    let verifier = match clients {
        ClientCertificate::Required => verifier,
        ClientCertificate::Optional => verifier.allow_unauthenticated(),
    };
    let verifier = verifier.build().map_err(|error| TlsError::Ca(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    // A resumed session would not check the client's certificate again, which may have expired meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

pub(crate) fn client(identity: Option<&Identity>, ca: &CertificateDer<'static>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca)?);
    let mut config = match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// For users and programs that have a token and no certificate: trusts only servers of the cluster with this CA (PEM).
///
/// # Errors
/// The text is not a certificate.
pub fn client_trusting(ca_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| TlsError::Ca(error.to_string()))?;
    client(None, &ca)
}

/// For a joining machine, which trusts nobody yet. It trusts a server whose chain contains the CA with this fingerprint
/// and is signed by it, for the dialed name. Otherwise the handshake fails before anything secret is sent.
///
/// # Errors
/// Only errors of the library; none is known.
pub fn client_for_joining(ca: Fingerprint) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(FingerprintVerifier { ca, provider: provider() });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct FingerprintVerifier {
    ca: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates.iter().find(|shown| Fingerprint::of(shown) == self.ca);
        let ca = ca.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
