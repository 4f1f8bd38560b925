//! Whom to believe behind a Redfish address (A5.9).
//!
//! A BMC's certificate is self-made, names nobody and is renewed at will, so that names and dates say nothing. What
//! stays is the key. It is compared inside the handshake, before a byte of HTTP: with a foreign key no credential
//! leaves this host. The usual way out, to accept any certificate, is not offered.
//!
//! A site that signs its BMCs' certificates itself names its authority. What that vouches for, for the very name or
//! address that is called, may come with a new key; everything else goes by the key, as if there were no authority.

use crate::{Fault, Pin, Trust};
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who signs the certificates of a site's BMCs.
#[derive(Clone)]
pub struct Authority(Arc<WebPkiServerVerifier>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// From one or more certificates of authorities in PEM. The error is for a person.
    pub fn read(pem: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem.as_bytes())) {
            let certificate =
                certificate.map_err(|error| format!("certificate {number} of the authority is no PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("certificate {number} of the authority: {error}"))?;
        }
        if roots.is_empty() {
            return Err("it has no certificate; expected PEM, from -----BEGIN CERTIFICATE----- on".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(Self).map_err(|error| format!("no certificate can be checked with it: {error}"))
    }
}

/// What was seen behind one address; it outlives connections.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Keys>);

#[derive(Debug, Default, Clone, Copy)]
struct Keys {
    /// Proved last. It changes by another pin or by the authority's word alone.
    proved: Option<Pin>,
    /// The one that the site's authority vouches for here, as shown last; whoever shows it has not proved it yet.
    vouched: Option<Pin>,
    /// Expected and found, when a handshake ended over it.
    foreign: Option<(Pin, Pin)>,
    /// A session was had: from then on nothing less is taken (A5.10).
    session: bool,
}

impl Seen {
    /// The next key is as good as the first.
    pub fn forget(&self) {
        let mut keys = self.keys();
        (keys.proved, keys.vouched) = (None, None);
    }

    pub fn pin(&self) -> Option<Pin> {
        self.keys().proved
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

pub fn config(trust: Trust, seen: Arc<Seen>, authority: Option<Authority>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = match trust {
        Trust::Pinned(pin) => Some(pin),
        Trust::FirstUse | Trust::Plain => None,
    };
    let verifier = Arc::new(KeyVerifier { pinned, seen, authority, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Broken(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct KeyVerifier {
    pinned: Option<Pin>,
    seen: Arc<Seen>,
    authority: Option<Authority>,
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
    /// The rule of the pin: the key that was named, else the one proved before, else any.
    fn expect(&self, keys: &mut Keys, found: Pin) -> Result<(), rustls::Error> {
        match self.pinned.or(keys.proved) {
            Some(expected) if expected != found => {
                keys.foreign = Some((expected, found));
                Err(rustls::Error::General("another key than the pinned one".into()))
            }
            _ => Ok(()),
        }
    }

    /// The peer has signed with its key: from now on it is the one. Asked again, since another may have proved itself
    /// while this one shook hands.
    fn proved(
        &self,
        certificate: &CertificateDer<'_>,
        valid: HandshakeSignatureValid,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let pin = pin_of(certificate)?;
        let mut keys = self.seen.keys();
        if keys.vouched != Some(pin) {
            self.expect(&mut keys, pin)?;
        }
        keys.proved = Some(pin);
        Ok(valid)
    }
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = pin_of(certificate)?;
        let vouches = |authority: &Authority| authority.0.verify_server_cert(certificate, others, name, status, now);
        let vouched = self.authority.as_ref().is_some_and(|authority| vouches(authority).is_ok());
        let mut keys = self.seen.keys();
        match vouched {
            true => keys.vouched = Some(found),
            false => {
                keys.vouched.take_if(|key| *key == found);
                self.expect(&mut keys, found)?;
            }
        }
        Ok(ServerCertVerified::assertion())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_authority_is_refused_in_words() {
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
        let odd = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (pem, word) in [("", "no certificate"), ("hello", "no certificate"), (cut, "PEM"), (odd, "certificate 1")] {
            let said = Authority::read(pem).unwrap_err();
            assert!(said.contains(word), "{pem:?}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", framed: bool) {
            let pem = if framed { format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----") } else { text };
            prop_assert!(Authority::read(&pem).is_err());
        }
    }
}
