//! The identity of the peer, as its certificate states it. rustls verified the chain before this code reads it.
//! Deliberately absent: verification.

use std::fmt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::NodeName;

/// A certificate's serial number: random, 20 bytes at most, unique within a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// Makes a serial from its bytes, big-endian; leading zeros do not count.
    pub fn new(bytes: &[u8]) -> Self {
        let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        Self(bytes[from..].into())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The content of a member's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The machine: the one DNS name of the certificate that is a node's name.
    pub name: NodeName,
    /// The serial of the certificate.
    pub serial: Serial,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// The certificate is not a member's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer presented no certificate.
    #[error("the peer showed no certificate")]
    None,
    /// The certificate cannot be parsed.
    #[error("the peer's certificate cannot be read: {0}")]
    Unreadable(String),
    /// The certificate contains no node name.
    #[error("the peer's certificate has no node name")]
    NoName,
}

impl PeerCertificate {
    /// Reads the first certificate of a verified chain. The name is the common name of its subject, which must also be
    /// among its DNS names.
    ///
    /// # Errors
    /// There is no certificate, or it is not a node's.
    pub fn of(chain: &[CertificateDer<'_>]) -> Result<Self, PeerError> {
        let first = chain.first().ok_or(PeerError::None)?;
        let (_, certificate) =
            X509Certificate::from_der(first).map_err(|error| PeerError::Unreadable(error.to_string()))?;
        let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let name = common.and_then(|name| NodeName::new(name).ok()).ok_or(PeerError::NoName)?;
        let names = certificate.subject_alternative_name().ok().flatten().ok_or(PeerError::NoName)?;
        let listed = |other: &GeneralName<'_>| matches!(other, GeneralName::DNSName(dns) if *dns == name.as_str());
        if !names.value.general_names.iter().any(listed) {
            return Err(PeerError::NoName);
        }
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self { name, serial: Serial::new(certificate.raw_serial()), not_after })
    }

    /// Reads the first certificate of a PEM text that comes from the cluster's CA.
    ///
    /// # Errors
    /// Same as [`PeerCertificate::of`].
    pub fn from_pem(pem: &str) -> Result<Self, PeerError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        Self::of(&[der.map_err(|error| PeerError::Unreadable(error.to_string()))?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(common: &str, dns: &[&str]) -> CertificateDer<'static> {
        let mut params =
            rcgen::CertificateParams::new(dns.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0, 1, 2]));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_name_stands_twice() {
        let peer = PeerCertificate::of(&[certificate("node-1", &["node-1", "api.example"])]).unwrap();
        assert_eq!((peer.name.as_str(), peer.serial.to_string().as_str()), ("node-1", "0102"));
        assert!(peer.not_after > 0);
        let refused = |common, dns: &[&str]| PeerCertificate::of(&[certificate(common, dns)]).unwrap_err();
        assert_eq!(refused("node-1", &["node-2"]), PeerError::NoName);
        assert_eq!(refused("a b", &["a b"]), PeerError::NoName);
        assert_eq!(PeerCertificate::of(&[]), Err(PeerError::None));
        assert!(matches!(PeerCertificate::of(&[b"x".to_vec().into()]), Err(PeerError::Unreadable(_))));
    }
}
