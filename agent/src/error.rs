//! What can fail at the agent's rim, by the operation that failed.

use std::io;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ask again later.
    Later,
    /// The other side said no; asking again changes nothing.
    Refused,
    /// The other side cannot be reached.
    Unreachable,
    /// Ours to mend.
    Bug,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("could not write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not an agent configuration")]
    Config { path: PathBuf, source: serde_json::Error },
    #[error("{url:?} is not a URL the agent can use; write http(s)://ADDRESS[:PORT]/path with an IP address")]
    Url { url: String },
    #[error("the configuration's ca_pem holds no certificate the agent can use")]
    Authority { reason: String },
    #[error("could not connect to {to}")]
    Connect { to: String, source: io::Error },
    #[error("lost the connection to {to}")]
    Exchange { to: String, source: io::Error },
    #[error("{to} answered what is not HTTP: {reason}")]
    NotHttp { to: String, reason: &'static str },
    #[error("{to} answered {status}: {said}")]
    Status { to: String, status: u16, said: String },
    #[error("{to} answered what the agent does not understand")]
    Answer { to: String, source: serde_json::Error },
    #[error("could not make a message")]
    Message { source: serde_json::Error },
    #[error("no key: {reason}")]
    Key { reason: &'static str },
    #[error("no address by DHCP: {reason}")]
    Dhcp { reason: String },
    #[error("network interface {name}: {what}")]
    Interface { name: String, what: &'static str, source: io::Error },
    #[error("could not mount {path}")]
    Mount { path: PathBuf, source: io::Error },
    #[error("could not start a thread")]
    Thread { source: io::Error },
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Exchange { .. } => Kind::Unreachable,
            Self::Status { status: 500.., .. } | Self::Dhcp { .. } | Self::NotHttp { .. } => Kind::Later,
            Self::Status { status: 408 | 425 | 429, .. } => Kind::Later,
            Self::Status { .. } | Self::Config { .. } | Self::Url { .. } | Self::Authority { .. } => Kind::Refused,
            Self::Read { .. } | Self::Write { .. } | Self::Interface { .. } | Self::Mount { .. } => Kind::Later,
            Self::Answer { .. } => Kind::Refused,
            Self::Message { .. } | Self::Key { .. } | Self::Thread { .. } => Kind::Bug,
        }
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Config { .. } => "config",
            Self::Url { .. } => "url",
            Self::Authority { .. } => "authority",
            Self::Connect { .. } => "connect",
            Self::Exchange { .. } => "exchange",
            Self::NotHttp { .. } => "not-http",
            Self::Status { .. } => "status",
            Self::Answer { .. } => "answer",
            Self::Message { .. } => "message",
            Self::Key { .. } => "key",
            Self::Dhcp { .. } => "dhcp",
            Self::Interface { .. } => "interface",
            Self::Mount { .. } => "mount",
            Self::Thread { .. } => "thread",
        }
    }
}

/// The error and everything below it, for a person at the console.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_the_whole_chain_once() {
        let error = Error::Connect { to: "10.0.0.1:1".into(), source: io::Error::other("no route") };
        assert_eq!(chain(&error), "could not connect to 10.0.0.1:1: no route");
        assert_eq!(error.kind(), Kind::Unreachable);
    }

    #[test]
    fn a_refusal_is_not_retried_like_a_fault() {
        let status = |status| Error::Status { to: "x".into(), status, said: String::new() }.kind();
        assert_eq!(status(403), Kind::Refused);
        assert_eq!(status(404), Kind::Refused);
        assert_eq!(status(429), Kind::Later);
        assert_eq!(status(503), Kind::Later);
    }
}
