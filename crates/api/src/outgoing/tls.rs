//! TLS to external receivers. The authorities come from a file: the system's, or an own file.
//! Deliberately absent: the cluster's CA, and client certificates.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// TLS connections to one host.
#[derive(Clone)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// Trusts the authorities in a PEM file. The error is a message for users.
    pub(super) fn trusting(ca_file: &Path, host: &str) -> Result<Self, String> {
        let file = ca_file.display();
        let pem = std::fs::read(ca_file).map_err(|error| {
            format!(
                "cannot read the certificate authorities in {file}: {error}; install ca-certificates, or set `ca_file`"
            )
        })?;
        let mut roots = RootCertStore::empty();
        // Some certificates of a system have unsupported forms; the others are sufficient.
        let (known, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if known == 0 {
            return Err(format!("{file} has no certificate in PEM format"));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is not a host name"))?;
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
