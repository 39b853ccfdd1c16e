//! The cluster's own certificate authority (CA): one key, on the Taskmaster's machine, that signs every member's
//! certificate. Deliberately absent: the decision whom to issue to (the registry decides), and revocation lists (the
//! registry is asked instead).

use std::{fmt, io, net::IpAddr, path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKey, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::{Fingerprint, NodeName, Serial, files, hex};

/// The CA's certificate in a node's directory; not secret.
pub const CA_FILE: &str = "ca.pem";
/// The CA's key, on the Taskmaster only.
pub const CA_KEY_FILE: &str = "ca-key.pem";

/// Lifetime of the CA's certificate. Replacing it means joining every machine again, so it outlives the machines.
const CA_LIFE: Duration = Duration::from_secs(30 * 365 * 86_400);
/// A certificate is valid from this long before it was issued: the clock of a joining machine may be behind by a time
/// zone, and the Taskmaster's own clock may be set back later.
pub(crate) const SLACK: Duration = Duration::from_secs(86_400);
/// The largest signing request, in bytes: ours have about 400.
const REQUEST_MAX: usize = 4 << 10;

/// The cluster's certificate authority.
pub struct ClusterCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its serial number.
    pub serial: Serial,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// The key in a certificate request; the signature proves that the requester has it. The rest of the request is
/// discarded: the cluster decides which names a certificate carries.
#[derive(Debug, Clone)]
pub struct SigningRequest(PublicKey);

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To dial others. A stolen client certificate cannot pose as a server, not even under its own name.
    Client,
    /// To dial and to be dialed: the Taskmaster's.
    Server,
}

/// Why the CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Its files cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A CA already exists: use it.
    #[error("a cluster's CA already exists in {0}")]
    Exists(String),
    /// The files do not contain a CA.
    #[error("the cluster's CA in {path} is damaged: {reason}; restore it from a backup")]
    Damaged {
        /// The directory.
        path: String,
        /// The cause.
        reason: String,
    },
    /// The signing request is invalid, or has another kind of key.
    #[error("the signing request is refused: {0}")]
    Request(String),
    /// A name that is not allowed in a certificate.
    #[error("`{0}` is not allowed in a certificate; use a DNS name or an IP address")]
    Name(String),
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The machine provides no random numbers.
    #[error("the machine provides no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl SigningRequest {
    /// Reads a PKCS #10 request, PEM, and checks its signature. Its key must be ECDSA P-256, like all of ours.
    ///
    /// # Errors
    /// The text is not a request, is too large, or has a key of another kind.
    pub fn parse(pem: &str) -> Result<Self, CaError> {
        if pem.len() > REQUEST_MAX {
            return Err(CaError::Request(format!("it has more than {REQUEST_MAX} bytes")));
        }
        let request =
            CertificateSigningRequestParams::from_pem(pem).map_err(|error| CaError::Request(error.to_string()))?;
        if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::Request("its key is not ECDSA P-256".to_owned()));
        }
        Ok(Self(request.public_key))
    }

    /// SHA-256 of the key, in hexadecimal. It identifies the requester.
    pub fn key_hash(&self) -> String {
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.der_bytes()).as_ref())
    }
}

impl ClusterCa {
    /// Makes a CA for a cluster of this name; `now` in seconds since 1970. Nothing is written.
    ///
    /// # Errors
    /// The machine provides no random numbers.
    pub fn create(cluster: &str, now: i64) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("devstack cluster {cluster}"));
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now, CA_LIFE);
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate: certificate.der().clone(), pem })
    }

    /// Reads the CA of a directory.
    ///
    /// # Errors
    /// There is no CA, or it is damaged.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).map_err(io_error(&dir.join(name)));
        let damaged = |reason: String| CaError::Damaged { path: dir.display().to_string(), reason };
        let (pem, key) = (read(CA_FILE)?, Zeroizing::new(read(CA_KEY_FILE)?));
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        let key = KeyPair::from_pem(&key).map_err(|error| damaged(error.to_string()))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|error| damaged(error.to_string()))?;
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(damaged("its key belongs to another certificate".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { issuer, certificate, pem })
    }

    /// Writes the CA into a directory: the key first, so that a certificate never exists without its key.
    ///
    /// # Errors
    /// A CA already exists, or the disk fails.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        files::private_dir(dir).map_err(io_error(dir))?;
        if dir.join(CA_FILE).exists() {
            return Err(CaError::Exists(dir.display().to_string()));
        }
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        for (name, text) in [(CA_KEY_FILE, key.as_str()), (CA_FILE, &self.pem)] {
            files::replace(&dir.join(name), text.as_bytes()).map_err(io_error(&dir.join(name)))?;
        }
        Ok(())
    }

    /// The CA's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The CA's fingerprint, as in join tokens.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Issues a certificate for a node's key, valid from now for `life`. `names` are additional DNS names and IP
    /// addresses at which clients reach the node; `now` in seconds since 1970.
    ///
    /// # Errors
    /// A name is not allowed in a certificate, or the machine provides no random numbers.
    pub fn issue(
        &self,
        request: &SigningRequest,
        name: &NodeName,
        names: &[String],
        purpose: Purpose,
        life: Duration,
        now: i64,
    ) -> Result<Issued, CaError> {
        let serial = random_serial()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        params.subject_alt_names = vec![san(name.as_str())?];
        for other in names.iter().filter(|other| *other != name.as_str()) {
            params.subject_alt_names.push(san(other)?);
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match purpose {
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let not_after = valid(&mut params, now, life);
        let certificate = params.signed_by(&request.0, &self.issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), serial: Serial::new(&serial), not_after })
    }
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterCa").field(&self.fingerprint()).finish()
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.display().to_string();
    |source| CaError::Io { path, source }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn san(name: &str) -> Result<SanType, CaError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => name.try_into().map(SanType::DnsName).map_err(|_| CaError::Name(name.to_owned())),
    }
}

/// Sets the validity; returns its end in seconds since 1970. `now` before 1970 counts as 1970.
fn valid(params: &mut CertificateParams, now: i64, life: Duration) -> i64 {
    let now = Duration::from_secs(now.try_into().unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SLACK);
    params.not_after = epoch + Duration::from_secs(now.saturating_add(life).as_secs());
    params.not_after.unix_timestamp()
}

/// 16 random bytes, positive and of constant length as a number.
fn random_serial() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{NodeKey, PeerCertificate};

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn issue(ca: &ClusterCa, request: &str, name: &str, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (request, name) = (SigningRequest::parse(request).unwrap(), NodeName::new(name).unwrap());
        ca.issue(&request, &name, &names, Purpose::Client, DAY, NOW).unwrap()
    }

    #[test]
    fn only_a_server_gets_a_certificate_of_a_server() {
        let ca = ClusterCa::create("test", NOW).unwrap();
        let request = SigningRequest::parse(&NodeKey::generate().unwrap().request().unwrap()).unwrap();
        let good_for = |purpose| {
            let issued = ca.issue(&request, &NodeName::new("a").unwrap(), &[], purpose, DAY, NOW).unwrap();
            let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
            let usage = parsed.extended_key_usage().unwrap().unwrap().value.clone();
            (usage.server_auth, usage.client_auth)
        };
        assert_eq!((good_for(Purpose::Client), good_for(Purpose::Server)), ((false, true), (true, true)));
    }

    #[test]
    fn a_certificate_carries_the_name_that_the_cluster_gave() {
        let ca = ClusterCa::create("test", NOW).unwrap();
        // The name in the request is ignored.
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["taskmaster".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let issued = issue(&ca, &request, "node-1", &["10.0.0.1", "api.example"]);
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        let peer = PeerCertificate::of(std::slice::from_ref(&der)).unwrap();
        assert_eq!((peer.name.as_str(), peer.serial, peer.not_after), ("node-1", issued.serial, NOW + 86_400));
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let text = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value.general_names);
        assert!(!text.contains("taskmaster") && text.contains("api.example"), "{text}");
        assert!(!parsed.is_ca());
    }

    #[test]
    fn serials_differ() {
        let ca = ClusterCa::create("test", NOW).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        assert_ne!(issue(&ca, &request, "a", &[]).serial, issue(&ca, &request, "a", &[]).serial);
    }

    #[test]
    fn it_is_kept_private_and_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("cluster");
        let ca = ClusterCa::create("test", NOW).unwrap();
        ca.save(&dir).unwrap();
        assert!(matches!(ca.save(&dir), Err(CaError::Exists(_))));
        let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode(CA_KEY_FILE)), (0o700, 0o600));
        let again = ClusterCa::load(&dir).unwrap();
        assert_eq!(again.fingerprint(), ca.fingerprint());
        let request = NodeKey::generate().unwrap().request().unwrap();
        issue(&again, &request, "a", &[]);
        std::fs::write(dir.join(CA_KEY_FILE), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(matches!(ClusterCa::load(&dir), Err(CaError::Damaged { .. })));
        assert!(matches!(ClusterCa::load(scratch.path()), Err(CaError::Io { .. })));
    }

    #[test]
    fn requests_of_other_kinds_are_refused() {
        let of = |key: KeyPair| CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let other = of(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
        let long = of(KeyPair::generate().unwrap()) + &" ".repeat(REQUEST_MAX);
        let mut altered = of(KeyPair::generate().unwrap());
        altered.replace_range(60..61, if &altered[60..61] == "A" { "B" } else { "A" });
        for bad in ["", "hello", &other, &long, &altered] {
            assert!(matches!(SigningRequest::parse(bad), Err(CaError::Request(_))), "{bad}");
        }
    }
}
