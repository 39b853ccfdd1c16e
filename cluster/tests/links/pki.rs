//! Certificates of a cluster for tests, and TLS configurations that use them. Deliberately absent: the code that issues
//! certificates in the product; links take their configurations from outside.

use std::{path::Path, sync::Arc};

use devstack_cluster::TlsSource;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

/// The CA of one cluster.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A node's certificate, its key and its CA.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test cluster");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Issues a node's certificate, valid for links on loopback.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.sign(name, |_| {})
    }

    /// Issues an expired certificate.
    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        self.sign(name, |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        })
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.der().to_vec(), key: key.serialize_der(), ca: self.0.der().to_vec() }
    }
}

impl Identity {
    /// Saves the CA for another process.
    pub(crate) fn save(&self, dir: &Path) {
        for (name, bytes) in [("certificate", &self.certificate), ("key", &self.key), ("ca", &self.ca)] {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }

    pub(crate) fn load(dir: &Path) -> Self {
        let read = |name| std::fs::read(dir.join(name)).unwrap();
        Self { certificate: read("certificate"), key: read("key"), ca: read("ca") }
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, Arc<RootCertStore>) {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone().into()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        (vec![self.certificate.clone().into()], key, Arc::new(roots))
    }

    pub(crate) fn server(&self) -> TlsSource<ServerConfig> {
        let (chain, key, roots) = self.parts();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        Arc::new(move || config.clone())
    }

    pub(crate) fn client(&self) -> TlsSource<ClientConfig> {
        let (chain, key, roots) = self.parts();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        Arc::new(move || config.clone())
    }
}
