//! What can go wrong with the database, sorted by what the caller does about it.
//!
//! A driver's error is never shown raw: the variant names the operation, [`Error::kind`] decides between retry, refusal
//! and ticket. A statement's failure poisons its transaction on both databases alike (see [`crate::Tx`]).

use muster_names::{Mac, MachineId, OrderId};
use std::path::PathBuf;

/// What the caller does with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Run the whole transaction again.
    Later,
    /// The wish itself is refused; the same wish again is refused again.
    Refused,
    /// The database cannot be reached or cannot write; nothing is known about the wish.
    Unreachable,
    /// The program or the stored data is wrong.
    Bug,
}

/// Every failed operation of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make the data folder {dir}: check that the path exists and is writable")]
    Folder {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open the database {place}")]
    Open {
        place: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the database's {part} schema is version {found}, this program knows versions up to {known}: \
         start the newer program, or restore a backup made by this one"
    )]
    Newer { part: &'static str, found: i64, known: i64 },
    #[error("the database's {part} schema is version {found}, this program wants {known}: `muster serve` brings it up")]
    Older { part: &'static str, found: i64, known: i64 },
    #[error("cannot begin a transaction")]
    Begin {
        #[source]
        source: sqlx::Error,
    },
    #[error("the database failed to {what}")]
    Query {
        what: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// Whether the transaction took effect is unknown when the connection died. Run it again: causes and keys are
    /// recorded once.
    #[error("the database failed to commit")]
    Commit {
        #[source]
        source: sqlx::Error,
    },
    #[error("cannot {what}: an earlier statement of this transaction failed or was cut short")]
    Poisoned { what: &'static str },
    #[error("cannot {what} in a transaction opened for reading")]
    ReadOnly { what: &'static str },
    #[error("cannot {what}: no savepoint is open")]
    NoSavepoint { what: &'static str },
    /// A trigger of the database refused what must never be.
    #[error("refused by the database: {rule}")]
    Rail { rule: String },
    #[error("cannot {what}: a text holds a NUL character, which no database column takes")]
    Nul { what: &'static str },
    #[error("a stored row does not read: column {column}, to {what}: {why}")]
    Damaged { what: &'static str, column: &'static str, why: String },
    #[error("{what} {key} is not stored")]
    Missing { what: &'static str, key: String },
    #[error("{what} {key} is stored already")]
    Exists { what: &'static str, key: String },
    #[error("MAC {mac} belongs to machine {by} already: remove it there first, or merge the two machines")]
    MacTaken { mac: Mac, by: MachineId },
    #[error("machine {machine} has the open order {by}: close that one first")]
    OrderOpen { machine: MachineId, by: OrderId },
}

impl Error {
    /// Sorts a driver's error of one statement: what a trigger says is a rail, not a failure.
    pub(crate) fn query(what: &'static str, source: sqlx::Error) -> Self {
        let rule = source
            .as_database_error()
            .and_then(|found| found.message().split_once("rail: ").map(|(_, rule)| rule.to_owned()));
        match rule {
            Some(rule) => Self::Rail { rule },
            None => Self::Query { what, source },
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Folder { .. } => Kind::Unreachable,
            Self::Open { source, .. }
            | Self::Begin { source }
            | Self::Query { source, .. }
            | Self::Commit { source } => kind_of(source),
            Self::Newer { .. }
            | Self::Older { .. }
            | Self::Rail { .. }
            | Self::Nul { .. }
            | Self::Missing { .. }
            | Self::MacTaken { .. }
            | Self::OrderOpen { .. } => Kind::Refused,
            // Two daemons created the same thing at once: the second finds it there when it looks again.
            Self::Exists { .. } => Kind::Later,
            Self::Poisoned { .. } | Self::ReadOnly { .. } | Self::NoSavepoint { .. } | Self::Damaged { .. } => {
                Kind::Bug
            }
        }
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "folder",
            Self::Open { .. } => "open",
            Self::Newer { .. } => "newer",
            Self::Older { .. } => "older",
            Self::Begin { .. } => "begin",
            Self::Query { .. } => "query",
            Self::Commit { .. } => "commit",
            Self::Poisoned { .. } => "poisoned",
            Self::ReadOnly { .. } => "read-only",
            Self::NoSavepoint { .. } => "no-savepoint",
            Self::Rail { .. } => "rail",
            Self::Nul { .. } => "nul",
            Self::Damaged { .. } => "damaged",
            Self::Missing { .. } => "missing",
            Self::Exists { .. } => "exists",
            Self::MacTaken { .. } => "mac-taken",
            Self::OrderOpen { .. } => "order-open",
        }
    }

    /// The database is away: degrade to what is known, allocate nothing, destroy nothing.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == Kind::Unreachable
    }
}

fn kind_of(source: &sqlx::Error) -> Kind {
    match source {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            Kind::Unreachable
        }
        sqlx::Error::WorkerCrashed | sqlx::Error::Configuration(_) => Kind::Unreachable,
        sqlx::Error::Database(found) if found.is_unique_violation() => Kind::Later,
        sqlx::Error::Database(found) => found.code().map_or(Kind::Bug, |code| kind_of_code(&code)),
        _ => Kind::Bug,
    }
}

/// SQLSTATE of PostgreSQL (five characters) or SQLite's extended result code (a number; its low byte is the class).
fn kind_of_code(code: &str) -> Kind {
    if code.len() == 5 {
        return match code {
            // serialization failure, deadlock, lock time-out, cancelled
            "40001" | "40P01" | "55P03" | "57014" | "25P03" => Kind::Later,
            // read-only primary after a failover
            "25006" => Kind::Unreachable,
            _ => match code.get(..2) {
                // connection, authorisation, no such database, out of resources, shut down, system error
                Some("08" | "28" | "3D" | "53" | "57" | "58") => Kind::Unreachable,
                _ => Kind::Bug,
            },
        };
    }
    match code.parse::<i64>().map(|number| number & 0xff) {
        // busy, locked
        Ok(5 | 6) => Kind::Later,
        // permission, out of memory, read-only, I/O, full, cannot open
        Ok(3 | 7 | 8 | 10 | 13 | 14) => Kind::Unreachable,
        _ => Kind::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_without_answer_is_unavailable() {
        let error = Error::Begin { source: sqlx::Error::PoolTimedOut };
        assert!(error.is_unavailable());
        assert_eq!(error.label(), "begin");
    }

    #[test]
    fn codes_of_both_databases_are_sorted_by_what_to_do() {
        for (code, kind) in [
            ("40P01", Kind::Later),
            ("40001", Kind::Later),
            ("5", Kind::Later),
            ("517", Kind::Later),
            ("57P01", Kind::Unreachable),
            ("08006", Kind::Unreachable),
            ("53300", Kind::Unreachable),
            ("13", Kind::Unreachable),
            ("778", Kind::Unreachable),
            ("42601", Kind::Bug),
            ("1", Kind::Bug),
            ("", Kind::Bug),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
