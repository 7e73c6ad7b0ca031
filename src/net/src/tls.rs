//! TLS by rustls, and the rule that plain HTTP stays on loopback.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read.
    #[error("cannot read {path}: {reason}")]
    Pem {
        /// File.
        path: String,
        /// Why.
        reason: String,
    },
    /// rustls refused the certificate or key.
    #[error("TLS configuration refused: {0}")]
    Config(#[from] rustls::Error),
}

fn pem_error(path: &Path, e: impl std::fmt::Display) -> TlsError {
    TlsError::Pem { path: path.display().to_string(), reason: e.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|e| pem_error(path, e))?.collect();
    match certs {
        Ok(certs) if certs.is_empty() => Err(pem_error(path, "it holds no certificate")),
        other => other.map_err(|e| pem_error(path, e)),
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Server side: certificate chain and private key from PEM files.
pub fn server(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| pem_error(key, e))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates(cert)?, key_der)?;
    Ok(Arc::new(config))
}

/// Client side: trusts the certificates in `ca`, or the web's roots when there is none.
pub fn client(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for cert in certificates(path)? {
                roots.add(cert)?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// When the first certificate of a PEM file ends, Unix seconds; `None` if that cannot be read from it.
///
/// # Errors
/// [`TlsError::Pem`].
pub fn file_expiry(path: &Path) -> Result<Option<u64>, TlsError> {
    Ok(certificates(path)?.first().and_then(|c| expiry(c)))
}

/// When the certificate of a server ends, Unix seconds, after it was believed by `ca` or the web's roots.
///
/// # Errors
/// [`std::io::Error`]: it does not answer, or its certificate is refused.
pub async fn server_expiry(host: &str, port: u16, ca: Option<&Path>) -> std::io::Result<Option<u64>> {
    let config = client(ca).map_err(std::io::Error::other)?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(std::io::Error::other)?;
    let tcp = tokio::net::TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    Ok(stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| expiry(c)))
}

/// `notAfter` of an X.509 certificate: SEQUENCE { SEQUENCE { [0] version?, serial, algorithm, issuer, SEQUENCE { notBefore,
/// notAfter } … (RFC 5280, 4.1).
fn expiry(der: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, at, _) = element(element(validity)?.2)?;
    unix_time(tag, at)
}

/// Tag and content of a DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match usize::from(first) {
        short @ ..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80).filter(|(b, _)| (1..=4).contains(&b.len()))?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Of a UTCTime (23) or a GeneralizedTime (24), both to the second and in UTC.
fn unix_time(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let number =
        |at: usize, n: usize| -> Option<u64> { std::str::from_utf8(digits.get(at..at + n)?).ok()?.parse().ok() };
    let (year, at) = match tag {
        23 => (number(0, 2).map(|y| if y < 50 { 2000 + y } else { 1900 + y })?, 2),
        24 => (number(0, 4)?, 4),
        _ => return None,
    };
    let (month, day) = (number(at, 2).filter(|m| (1..=12).contains(m))?, number(at + 2, 2)?);
    // Days since 1970, the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = (y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day).checked_sub(719_469)?;
    Some(days * 86_400 + number(at + 4, 2)? * 3600 + number(at + 6, 2)? * 60 + number(at + 8, 2)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_read() {
        assert_eq!(unix_time(23, b"700101000000Z"), Some(0));
        assert_eq!(unix_time(23, b"261121145200Z"), Some(1_795_272_720));
        assert_eq!(unix_time(24, b"20500301000001Z"), Some(2_529_705_601));
        assert_eq!([unix_time(23, b"261321145200Z"), unix_time(23, b"2611"), unix_time(12, b"x")], [None; 3]);
        assert_eq!(expiry(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
