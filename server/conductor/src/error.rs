//! What can go wrong while conducting, sorted by what the caller does about it.

use muster_names::MachineId;
use muster_store::Kind;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database did not serve")]
    Store {
        #[source]
        source: muster_store::Error,
    },
    #[error("a stored {what} of {of} does not read")]
    Stored {
        what: &'static str,
        of: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("there is no machine {id}")]
    NoMachine { id: MachineId },
    /// The wish does not fit the state of the world; the text says what to do instead.
    #[error("{reason}")]
    Refused { reason: String },
    /// Nothing is known to be written; causes are recorded once, so asking again is safe.
    #[error("not written: the database did not take it, or the daemon is stopping; ask again")]
    Unwritten,
    #[error("this agent has said more than is written down for now; ask again in a minute")]
    TooOften,
    /// What a BMC answered to a person who waits for it.
    #[error("{reason}")]
    Bmc { reason: String, later: bool },
    #[error("what is recorded of the console does not read")]
    Tape {
        #[source]
        source: std::io::Error,
    },
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl Error {
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Store { source } => source.kind(),
            Self::Stored { .. } => Kind::Bug,
            Self::NoMachine { .. } | Self::Refused { .. } | Self::Bmc { later: false, .. } => Kind::Refused,
            Self::Unwritten | Self::TooOften | Self::Bmc { later: true, .. } => Kind::Later,
            Self::NoRandomness => Kind::Unreachable,
            Self::Tape { .. } => Kind::Bug,
        }
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Store { source } => source.label(),
            Self::Stored { .. } => "stored",
            Self::NoMachine { .. } => "no-machine",
            Self::Refused { .. } => "refused",
            Self::Unwritten => "unwritten",
            Self::TooOften => "too-often",
            Self::Bmc { .. } => "bmc",
            Self::Tape { .. } => "tape",
            Self::NoRandomness => "no-randomness",
        }
    }
}

/// Wraps a database error; a function, not `From`, so that each use is seen.
pub(crate) fn store(source: muster_store::Error) -> Error {
    Error::Store { source }
}
