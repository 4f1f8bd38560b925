//! Diffie-Hellman without elliptic curves, for firmware that has none: edk2 was built without them for years, Debian 12's
//! OVMF among it. It then offers TLS 1.2 with DHE or plain RSA key exchange, and rustls has neither of its own.
//!
//! rustls knows the messages of DHE and leaves the arithmetic to its provider: one group (RFC 7919's ffdhe2048) in
//! constant time, with a key made for each handshake. Cipher, hash and signature are ring's, as for every other suite.
//! Plain RSA key exchange was turned down: whoever gets the key later reads what went before, and its padding has been
//! broken again and again.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U2048};
use rustls::crypto::ring::cipher_suite::{
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
};
use rustls::crypto::{
    ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, KeyExchangeAlgorithm, SharedSecret, SupportedKxGroup, ring,
};
use rustls::ffdhe_groups::{FFDHE2048, FfdheGroup};
use rustls::{CipherSuite, Error, NamedGroup, PeerMisbehaved, ProtocolVersion, SupportedCipherSuite, Tls12CipherSuite};
use std::sync::{Arc, LazyLock};

/// Bytes of the prime, and so of every public value.
const SIZE: usize = 256;
/// Bytes of a private key: RFC 7919 (section 5.2) wants 225 bits or more for this group.
const KEY: usize = 32;

static MODULUS: LazyLock<Option<FixedMontyParams<{ U2048::LIMBS }>>> = LazyLock::new(|| {
    let prime = number(FFDHE2048.p)?;
    Some(FixedMontyParams::new_vartime(Option::<Odd<U2048>>::from(Odd::new(prime))?))
});

/// With the names they have on the wire; a suite with elliptic curves gives everything but the key exchange.
static SUITES: LazyLock<Vec<Tls12CipherSuite>> = LazyLock::new(|| {
    let pairs = [
        (TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, CipherSuite::TLS_DHE_RSA_WITH_AES_256_GCM_SHA384),
        (TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256),
    ];
    pairs
        .into_iter()
        .filter_map(|(like, suite)| {
            let SupportedCipherSuite::Tls12(like) = like else { return None };
            let CipherSuiteCommon { hash_provider, confidentiality_limit, .. } = like.common;
            Some(Tls12CipherSuite {
                common: CipherSuiteCommon { suite, hash_provider, confidentiality_limit },
                prf_provider: like.prf_provider,
                kx: KeyExchangeAlgorithm::DHE,
                sign: like.sign,
                aead_alg: like.aead_alg,
            })
        })
        .collect()
});

/// ring's, and behind all of it what firmware without elliptic curves can speak.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.extend(SUITES.iter().map(SupportedCipherSuite::Tls12));
    provider.kx_groups.push(&Group);
    Arc::new(provider)
}

#[derive(Debug)]
struct Group;

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; KEY];
        ring::default_provider().secure_random.fill(&mut bytes)?;
        let key = U256::from_be_slice(&bytes);
        let generator = number(FFDHE2048.g).ok_or_else(broken)?;
        Ok(Box::new(Begun { public: raise(&generator, &key)?, key }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::FFDHE2048
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(FFDHE2048)
    }

    /// Whoever speaks TLS 1.3 has elliptic curves.
    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_2
    }
}

struct Begun {
    key: U256,
    public: [u8; SIZE],
}

impl ActiveKeyExchange for Begun {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let foul = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let theirs = number(peer).ok_or_else(foul)?;
        let prime = number(FFDHE2048.p).ok_or_else(broken)?;
        // 0, 1 and p - 1 make a secret that everybody knows (RFC 7919, section 5.1).
        if theirs <= U2048::ONE || theirs >= prime.wrapping_sub(&U2048::ONE) {
            return Err(foul());
        }
        Ok(SharedSecret::from(raise(&theirs, &self.key)?.as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::FFDHE2048
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(FFDHE2048)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        zeroize(&mut self.key);
    }
}

fn zeroize(key: &mut U256) {
    crypto_bigint::zeroize::Zeroize::zeroize(key);
}

/// Big-endian, with or without the zeros before it.
fn number(bytes: &[u8]) -> Option<U2048> {
    let mut whole = [0; SIZE];
    whole.get_mut(SIZE.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(U2048::from_be_slice(&whole))
}

fn raise(base: &U2048, exponent: &U256) -> Result<[u8; SIZE], Error> {
    let modulus = MODULUS.as_ref().ok_or_else(broken)?;
    let power = FixedMontyForm::new(base, modulus).pow(exponent).retrieve();
    power.to_be_bytes().as_ref().try_into().map_err(|_| broken())
}

fn broken() -> Error {
    Error::General("the group ffdhe2048 does not read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_come_to_one_secret_and_to_another_one_each_time() {
        let secret = || {
            let (ours, theirs) = (Group.start().unwrap(), Group.start().unwrap());
            let (to_us, to_them) = (theirs.pub_key().to_vec(), ours.pub_key().to_vec());
            let (one, other) = (ours.complete(&to_us).unwrap(), theirs.complete(&to_them).unwrap());
            assert_eq!(one.secret_bytes(), other.secret_bytes());
            assert_eq!(one.secret_bytes().len(), SIZE, "TLS strips the zeros, not we");
            one.secret_bytes().to_vec()
        };
        assert_ne!(secret(), secret());
    }

    /// Against a number worked out elsewhere (Python's `pow(2, 3**100, p)`, its first and last eight bytes).
    #[test]
    fn a_power_is_what_others_say_it_is() {
        let mut exponent = U256::ONE;
        for _ in 0..100 {
            exponent = exponent.wrapping_mul(&U256::from(3_u8));
        }
        let power = raise(&U2048::from(2_u8), &exponent).unwrap();
        assert_eq!(power[..8], [0x61, 0x90, 0x49, 0x5b, 0x56, 0xa3, 0xc5, 0xc1]);
        assert_eq!(power[SIZE - 8..], [0xf1, 0x4c, 0x4f, 0xad, 0x6b, 0x6d, 0x5a, 0x6f]);
    }

    #[test]
    fn values_that_give_the_secret_away_are_refused() {
        let one_less = number(FFDHE2048.p).unwrap().wrapping_sub(&U2048::ONE).to_be_bytes().as_ref().to_vec();
        let long = vec![1; SIZE + 1];
        for foul in [&[][..], &[0], &[1], &[0; SIZE], FFDHE2048.p, &one_less, &[0xff; SIZE], &long] {
            let refused = Group.start().unwrap().complete(foul);
            assert!(matches!(refused, Err(Error::PeerMisbehaved(_))), "{} bytes", foul.len());
        }
        assert!(Group.start().unwrap().complete(&[2]).is_ok(), "zeros before it may be left out");
    }
}
