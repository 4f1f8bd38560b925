//! The two cipher suites we speak (IPMI 2.0, sections 13.28 to 13.32; B8.2).
//!
//! Suite 17 is HMAC-SHA256, HMAC-SHA256-128 and AES-CBC-128; suite 3 is the same with SHA-1. The others have no
//! encryption, no integrity or no authentication (suite 0 lets anybody in), so there is no word for them here.
//! HMAC comes from ring. ring has no AES-CBC: the block cipher is RustCrypto's, the chaining is ours.

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ring::hmac;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Three,
    Seventeen,
}

impl Suite {
    /// Authentication, integrity and confidentiality algorithm, as numbered in Open Session.
    pub fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Three => [0x01, 0x01, 0x01],
            Self::Seventeen => [0x03, 0x04, 0x01],
        }
    }

    fn hash(self) -> hmac::Algorithm {
        match self {
            Self::Three => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Seventeen => hmac::HMAC_SHA256,
        }
    }

    /// Bytes of a packet's check code, and of RAKP 4's.
    pub fn code_length(self) -> usize {
        match self {
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }

    /// HMAC over the parts in a row.
    pub fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(self.hash(), key));
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

/// The keys of one session.
pub struct Keys {
    suite: Suite,
    session: Vec<u8>,
    integrity: hmac::Key,
    cipher: Aes128,
}

impl Keys {
    /// From the password and what both sides put in (13.31, 13.32). No BMC key: the password stands in for it.
    pub fn derive(suite: Suite, password: &[u8], ours: &[u8; 16], theirs: &[u8; 16], role: u8, user: &[u8]) -> Self {
        let length = [u8::try_from(user.len()).unwrap_or(u8::MAX)];
        let session = suite.mac(password, &[ours, theirs, &[role], &length, user]);
        let integrity = suite.mac(&session, &[&[0x01; 20]]);
        let confidentiality = suite.mac(&session, &[&[0x02; 20]]);
        let mut key = [0_u8; 16];
        for (to, from) in key.iter_mut().zip(&confidentiality) {
            *to = *from;
        }
        Self { suite, integrity: hmac::Key::new(suite.hash(), &integrity), cipher: Aes128::new(&key.into()), session }
    }

    pub fn code_length(&self) -> usize {
        self.suite.code_length()
    }

    pub fn sign(&self, covered: &[u8]) -> Vec<u8> {
        let mut code = hmac::sign(&self.integrity, covered).as_ref().to_vec();
        code.truncate(self.code_length());
        code
    }

    pub fn verify(&self, covered: &[u8], code: &[u8]) -> bool {
        same(&self.sign(covered), code)
    }

    /// RAKP 4's proof that the BMC came to the same session key.
    pub fn proves(&self, ours: &[u8; 16], managed: u32, guid: &[u8; 16], code: &[u8]) -> bool {
        let whole = self.suite.mac(&self.session, &[ours, &managed.to_le_bytes(), guid]);
        // Some send the whole hash, some its beginning; less than the suite's own length is no proof.
        code.len() >= self.code_length() && whole.get(..code.len()).is_some_and(|expected| same(expected, code))
    }

    /// The vector, then the blocks. The padding counts 1, 2, 3 and ends with its own length (13.29).
    pub fn encrypt(&self, iv: [u8; 16], message: &[u8]) -> Vec<u8> {
        let pad = u8::try_from(15 - message.len() % 16).unwrap_or(0);
        let mut plain = message.to_vec();
        plain.extend(1..=pad);
        plain.push(pad);
        let mut sealed = iv.to_vec();
        let mut chain = iv;
        for block in plain.chunks_exact(16) {
            for (to, from) in chain.iter_mut().zip(block) {
                *to ^= from;
            }
            let mut block = chain.into();
            self.cipher.encrypt_block(&mut block);
            chain = block.into();
            sealed.extend(chain);
        }
        sealed
    }

    /// `None` when it is not whole blocks or the padding is longer than the text.
    pub fn decrypt(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let (iv, blocks) = payload.split_at_checked(16)?;
        let mut chain: [u8; 16] = iv.try_into().ok()?;
        let mut plain = Vec::with_capacity(blocks.len());
        let (blocks, rest) = blocks.as_chunks::<16>();
        if !rest.is_empty() {
            return None;
        }
        for sealed in blocks {
            let mut block = (*sealed).into();
            self.cipher.decrypt_block(&mut block);
            plain.extend(block.iter().zip(chain).map(|(byte, before)| byte ^ before));
            chain = *sealed;
        }
        let pad = usize::from(*plain.last()?);
        plain.truncate(plain.len().checked_sub(pad + 1)?);
        Some(plain)
    }
}

/// Without a hint in time at which byte they differ.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::derive(Suite::Seventeen, b"secret", &[1; 16], &[2; 16], 0x14, b"admin")
    }

    proptest! {
        #[test]
        fn what_is_encrypted_decrypts(message in proptest::collection::vec(any::<u8>(), 0..100), iv: [u8; 16]) {
            let sealed = keys().encrypt(iv, &message);
            prop_assert_eq!(sealed.len() % 16, 0);
            prop_assert_eq!(keys().decrypt(&sealed), Some(message));
        }

        #[test]
        fn no_ciphertext_panics(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = keys().decrypt(&payload);
        }
    }

    #[test]
    fn a_proof_cut_short_proves_nothing() {
        let keys = keys();
        let whole = keys.suite.mac(&keys.session, &[&[1; 16], &7_u32.to_le_bytes(), &[9; 16]]);
        assert!(keys.proves(&[1; 16], 7, &[9; 16], &whole[..16]) && keys.proves(&[1; 16], 7, &[9; 16], &whole));
        assert!(!keys.proves(&[1; 16], 7, &[9; 16], &whole[..15]) && !keys.proves(&[1; 16], 7, &[9; 16], &[]));
        assert!(!keys.proves(&[1; 16], 8, &[9; 16], &whole[..16]));
    }
}
