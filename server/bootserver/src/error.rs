//! Why the boot server cannot serve.

use crate::CommitError;
use std::io;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again later.
    Later,
    /// The host said no: a right, a name or a port must change first.
    Refused,
    /// What is needed does not answer.
    Unreachable,
    /// A fault of ours.
    Bug,
}

/// A variant is the operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "port {port} on interface {interface} could not be opened; is the interface there, another server on the port, CAP_NET_BIND_SERVICE and CAP_NET_RAW given?"
    )]
    Open { interface: String, port: u16, source: io::Error },
    #[error("no socket for frames; CAP_NET_RAW is needed")]
    Frames { source: io::Error },
    #[error("cannot listen beside the server on interface {interface}; CAP_NET_RAW is needed")]
    Listen { interface: String, source: io::Error },
    #[error("the leases could not be read from the store")]
    Load { source: CommitError },
    #[error("the DHCP thread could not be started")]
    Thread { source: io::Error },
    #[error("the DHCP sockets fail")]
    Receive { source: io::Error },
    #[error("the DHCP thread panicked")]
    Panicked,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { .. } | Self::Frames { .. } | Self::Listen { .. } => ErrorKind::Refused,
            Self::Load { .. } => ErrorKind::Unreachable,
            Self::Thread { .. } | Self::Receive { .. } => ErrorKind::Later,
            Self::Panicked => ErrorKind::Bug,
        }
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Frames { .. } => "frames",
            Self::Listen { .. } => "listen",
            Self::Load { .. } => "load",
            Self::Thread { .. } => "thread",
            Self::Receive { .. } => "receive",
            Self::Panicked => "panicked",
        }
    }
}
