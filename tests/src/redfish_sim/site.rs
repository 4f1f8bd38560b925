//! A site's own certificate authority, and the certificates that it makes for BMCs.

use super::Identity;

/// The authority.
pub struct Site {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Site {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(vec![]).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the site");
        let key = rcgen::KeyPair::generate().expect("a key");
        Self { issuer: rcgen::CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// Its certificate, as a site hands it out.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A new key with a certificate for this name or address.
    pub fn signs(&self, name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec![name.into()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity::of(&certificate, &key)
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}
