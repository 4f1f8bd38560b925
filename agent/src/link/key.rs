//! The agent's Ed25519 key. In the boot image it lives in memory and dies with the machine's next reset; the resident
//! agent keeps it in a file so that a restarted service is still the one its token was bound to.

use crate::bytes::hex;
use crate::{Error, Result};
use muster_names::BootId;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub struct Key(Ed25519KeyPair);

impl Key {
    pub fn in_memory() -> Result<Self> {
        Self::read(Self::fresh()?.as_ref())
    }

    /// Reads the key in `path`, or makes one there that only its owner can read.
    pub fn in_file(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(kept) => Self::read(&kept),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::keep(path),
            Err(source) => Err(Error::Read { path: path.into(), source }),
        }
    }

    fn keep(path: &Path) -> Result<Self> {
        let fresh = Self::fresh()?;
        let write = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let beside = path.with_extension("new");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(fresh.as_ref())?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().map_err(|source| Error::Write { path: path.into(), source })?;
        Self::read(fresh.as_ref())
    }

    fn fresh() -> Result<ring::pkcs8::Document> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error::Key { reason: "the kernel gave no randomness" })
    }

    fn read(pkcs8: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_pkcs8(pkcs8).map(Self).map_err(|_| Error::Key { reason: "the kept key is damaged" })
    }

    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    pub fn sign(&self, path: &str, body: &[u8]) -> String {
        hex(self.0.sign(&muster_wire::signed_bytes(path, body)).as_ref())
    }
}

pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Key { reason: "the kernel gave no randomness" })?;
    Ok(bytes)
}

pub fn boot_id() -> Result<BootId> {
    random().map(|bytes| BootId(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_kept_key_is_the_same_and_nobody_elses() {
        let folder = std::env::temp_dir().join(format!("muster-key-{:x}", boot_id().unwrap().0));
        let path = folder.join("agent.key");
        let first = Key::in_file(&path).unwrap();
        assert_eq!(Key::in_file(&path).unwrap().public(), first.public());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(Key::in_memory().unwrap().public(), first.public());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_signature_covers_path_and_body() {
        let key = Key::in_memory().unwrap();
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0.public_key());
        let signature = key.0.sign(&muster_wire::signed_bytes("/a", b"x"));
        assert_eq!(key.sign("/a", b"x"), hex(signature.as_ref()));
        assert!(public.verify(b"/a\nx", signature.as_ref()).is_ok());
        assert!(public.verify(b"/b\nx", signature.as_ref()).is_err());
    }
}
