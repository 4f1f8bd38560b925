//! What can be served and who knows it.

use bytes::Bytes;
use futures_core::future::BoxFuture;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The content of one path at this moment.
#[derive(Clone, Debug)]
pub enum Body {
    /// Small or made on the spot.
    Memory { bytes: Bytes, content_type: &'static str },
    /// On disk, sent without passing through this process. A file replaced in place under the same length would be
    /// served mixed: replace by renaming.
    File { path: PathBuf, length: u64, content_type: &'static str },
}

impl Body {
    pub fn length(&self) -> u64 {
        match self {
            Body::Memory { bytes, .. } => bytes.len() as u64,
            Body::File { length, .. } => *length,
        }
    }

    pub fn content_type(&self) -> &'static str {
        match self {
            Body::Memory { content_type, .. } | Body::File { content_type, .. } => content_type,
        }
    }
}

/// Who knows what lies under a path. `path` starts with one slash, has no empty, `.` or `..` part, no escape and no
/// control byte; it is a key to compare, not to be joined to a directory.
pub trait Content: Send + Sync {
    /// `None` is "not found". Given 3 s (a database may be asked), then the client is told to come again.
    /// May be dropped at any await.
    fn open<'a>(&'a self, path: &'a str, from: SocketAddr) -> BoxFuture<'a, Option<Body>>;
}

/// What firmware wants to hear for a name (B3.5).
pub fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, extension)| extension);
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("efi") => "application/efi",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") => "application/vnd.efi-img",
        Some("ipxe" | "cfg" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b3_5_firmware_is_told_what_it_fetched_whatever_stands_behind_the_name() {
        assert_eq!(content_type("boot/ipxe.efi"), "application/efi");
        assert_ne!(content_type("boot/vmlinuz"), "application/efi");
    }
}
