//! TLS before HTTP: who we say we are, and a handshake that comes to an end.

use super::Site;
use super::counters::count;
use super::ffdhe::provider;
use crate::transfers::How;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, Error, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What firmware is shown: our certificate first, then what signed it. TLS 1.2 and 1.3, our order of suites, so that
/// what firmware without elliptic curves needs is taken by nobody else.
///
/// # Errors
/// A key that is not the certificate's, or one that cannot be used.
pub fn secured(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The handshake, within the time of a request's head; why there is none is counted.
pub async fn handshake(site: &Site, tls: &TlsAcceptor, stream: TcpStream) -> Result<Box<TlsStream<TcpStream>>, How> {
    let (counter, how) = match timeout(site.bounds.head, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Ok(Box::new(stream)),
        Err(_) => (&site.counters.slow_handshake, How::Lost),
        Ok(Err(error)) if untrusted(&error) => (&site.counters.untrusted, How::Untrusted),
        Ok(Err(_)) => (&site.counters.bad_handshake, How::NoTls),
    };
    count(counter);
    Err(how)
}

/// The client itself said that it does not take our certificate.
fn untrusted(error: &io::Error) -> bool {
    use AlertDescription as Alert;
    let told = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(
        told,
        Some(Error::AlertReceived(
            Alert::UnknownCA
                | Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate
                | Alert::AccessDenied
        ))
    )
}
