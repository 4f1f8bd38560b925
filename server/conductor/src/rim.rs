//! The rim: the clock and the dice. Everything below takes time and ids as arguments; only here are they made.

use muster_names::{Digest, Millis};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// 128 random bits for an id.
pub fn fresh_id() -> Result<u128, crate::Error> {
    let mut octets = [0u8; 16];
    SystemRandom::new().fill(&mut octets).map_err(|_| crate::Error::NoRandomness)?;
    Ok(u128::from_be_bytes(octets))
}

/// A new bearer token, 256 random bits. Only its digest is ever stored.
pub fn fresh_token() -> Result<String, crate::Error> {
    let mut octets = [0u8; 32];
    SystemRandom::new().fill(&mut octets).map_err(|_| crate::Error::NoRandomness)?;
    Ok(format!("{}{}", muster_wire::TOKEN_PREFIX, Digest(octets)))
}

pub fn sha256(bytes: &[u8]) -> Digest {
    let mut octets = [0u8; 32];
    octets
        .iter_mut()
        .zip(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
        .for_each(|(to, from)| *to = *from);
    Digest(octets)
}
