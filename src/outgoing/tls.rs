//! TLS to receivers outside, whose certificates are of the authorities in a file: the system's, or an own one.
//! Deliberately absent: the cluster's CA, and certificates of our own.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Speaks TLS with one host.
#[derive(Clone)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// Trusts the authorities of a PEM file. The error is for people.
    pub(super) fn trusting(ca_file: &Path, host: &str) -> Result<Self, String> {
        let file = ca_file.display();
        let pem = std::fs::read(ca_file).map_err(|error| {
            format!("cannot read the authorities in {file}: {error}; install ca-certificates, or name another file with `ca_file`")
        })?;
        let mut roots = RootCertStore::empty();
        // Some of a system's are in forms that are not understood; the others serve.
        let (known, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if known == 0 {
            return Err(format!("there is no certificate in {file}; it must be PEM"));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name of a host"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.config.clone()).connect(self.name.clone(), stream).await
    }
}
