//! Whom to believe behind a Redfish address (A5.9).
//!
//! A BMC's certificate is self-made, names nobody and is renewed at will, so that names and dates say nothing. What
//! stays is the key. It is compared inside the handshake, before a byte of HTTP: with a foreign key no credential
//! leaves this host. The usual way out, to accept any certificate, is not offered.

use crate::{Fault, Pin, Trust};
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was seen behind one address; it outlives connections.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Keys>);

#[derive(Debug, Default, Clone, Copy)]
struct Keys {
    /// Proved first.
    first: Option<Pin>,
    /// Expected and found, when a handshake ended over it.
    foreign: Option<(Pin, Pin)>,
    /// A session was had: from then on nothing less is taken (A5.10).
    session: bool,
}

impl Seen {
    pub fn pin(&self) -> Option<Pin> {
        self.keys().first
    }

    /// Why the last handshake failed, if it was the key. Asked once.
    pub fn foreign(&self) -> Option<Fault> {
        self.keys().foreign.take().map(|(expected, found)| Fault::ForeignKey { expected, found })
    }

    pub fn had_session(&self) -> bool {
        self.keys().session
    }

    pub fn session_made(&self) {
        self.keys().session = true;
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn config(trust: Trust, seen: Arc<Seen>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = match trust {
        Trust::Pinned(pin) => Some(pin),
        Trust::FirstUse | Trust::Plain => None,
    };
    let verifier = Arc::new(KeyVerifier { pinned, seen, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Broken(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct KeyVerifier {
    pinned: Option<Pin>,
    seen: Arc<Seen>,
    provider: Arc<CryptoProvider>,
}

fn pin_of(certificate: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let mut pin = [0; 32];
    for (to, from) in pin.iter_mut().zip(digest(&SHA256, &key).as_ref()) {
        *to = *from;
    }
    Ok(Pin(pin))
}

impl KeyVerifier {
    /// The peer has signed with its key: from now on it is the one.
    fn proved(
        &self,
        certificate: &CertificateDer<'_>,
        valid: HandshakeSignatureValid,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let pin = pin_of(certificate)?;
        self.seen.keys().first.get_or_insert(pin);
        Ok(valid)
    }
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = pin_of(certificate)?;
        let mut keys = self.seen.keys();
        match self.pinned.or(keys.first) {
            Some(expected) if expected != found => {
                keys.foreign = Some((expected, found));
                Err(rustls::Error::General("another key than the pinned one".into()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proved(certificate, verify_tls12_signature(message, certificate, signed, algorithms)?)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proved(certificate, verify_tls13_signature(message, certificate, signed, algorithms)?)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
