//! TLS for probes: the certificate is checked against the system's roots, against those of a file, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::told;
use crate::health::probe::Verify;

/// What certificates are checked against, for each way that some probe names; what could not be read is told instead.
#[derive(Debug, Clone, Default)]
pub struct Certificates(BTreeMap<Verify, Result<Arc<ClientConfig>, String>>);

impl Certificates {
    /// Reads what these ways need. Blocks: files are read.
    pub fn read<'v>(ways: impl IntoIterator<Item = &'v Verify>) -> Self {
        let mut certificates = Self::default();
        for way in ways {
            if !certificates.0.contains_key(way) {
                certificates.0.insert(way.clone(), config(way).map(Arc::new));
            }
        }
        certificates
    }
}

/// Shakes hands; the name is the host's, or the address.
pub(super) async fn connect(
    verify: &Verify,
    host: Option<&str>,
    address: IpAddr,
    stream: TcpStream,
    certificates: &Certificates,
) -> Result<TlsStream<TcpStream>, String> {
    let config = match certificates.0.get(verify) {
        Some(Ok(config)) => config.clone(),
        Some(Err(fault)) => return Err(fault.clone()),
        None => return Err("no certificates were read".to_owned()),
    };
    let name = match host.map(without_port) {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is no name for TLS"))?,
        None => ServerName::IpAddress(address.into()),
    };
    let connector = TlsConnector::from(config);
    connector.connect(name, stream).await.map_err(|error| {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        cause.map_or_else(|| told(&error), fault)
    })
}

/// A port may stand in a Host header, and is no part of the name; nor are the brackets of an IPv6 address (RFC 3986 3.2.2).
fn without_port(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
    match (bracketed, host.split_once(':')) {
        (Some((address, _)), _) => address,
        (None, Some((name, port))) if !port.contains(':') => name,
        _ => host,
    }
}

fn config(verify: &Verify) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let roots = match verify {
        Verify::No => {
            let anyone = Arc::new(Anyone(provider));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(anyone)
                .with_no_client_auth());
        }
        Verify::System => system()?,
        Verify::File(path) => roots_of(path).map_err(|fault| format!("{}: {fault}", path.display()))?,
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("the system has no root certificates".to_owned()),
        false => Ok(roots),
    }
}

/// The certificates of a file, to check others against.
pub fn roots_of(path: &Path) -> Result<RootCertStore, String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    // A pipe would be waited for, and a device read without end.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let octets = fs::read(path).map_err(unread)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&octets) {
        let certificate = certificate.map_err(|_| "it is not in PEM form".to_owned())?;
        let faulty = |_| "a certificate in it cannot be read".to_owned();
        roots.add(certificate).map_err(faulty)?;
    }
    match roots.is_empty() {
        true => Err("no certificate is in it".to_owned()),
        false => Ok(roots),
    }
}

/// What is wrong with a certificate, in few words.
fn fault(error: &Error) -> String {
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::InvalidMessage(_) => return "not TLS".to_owned(),
        other => return format!("TLS: {other}"),
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate of an unknown issuer".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate for another name".to_owned()
        }
        CertificateError::Revoked => "certificate revoked".to_owned(),
        other => format!("certificate: {other}"),
    }
}

/// Takes any certificate, as `verify = false` wants it; that whoever shows it has its key is checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
