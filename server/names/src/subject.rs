//! What the event log speaks of, and how its entries are numbered.

use crate::{CaseId, MachineId, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose life an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "id")]
pub enum Subject {
    Machine(MachineId),
    Order(OrderId),
    Case(CaseId),
    /// A machine's BMC, where it is meant and not the machine: its passwords.
    Bmc(MachineId),
    /// The site as a whole: freeze, tokens, catalog.
    Site,
}

impl Subject {
    /// The key it has in the database: `machine/0123...`.
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Reads [`Subject::key`] back.
    pub fn from_key(text: &str) -> Option<Self> {
        if text == "site" {
            return Some(Self::Site);
        }
        let (kind, id) = text.split_once('/')?;
        match kind {
            "machine" => id.parse().ok().map(Self::Machine),
            "order" => id.parse().ok().map(Self::Order),
            "case" => id.parse().ok().map(Self::Case),
            "bmc" => id.parse().ok().map(Self::Bmc),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(id) => write!(f, "machine/{id}"),
            Self::Order(id) => write!(f, "order/{id}"),
            Self::Case(id) => write!(f, "case/{id}"),
            Self::Bmc(id) => write!(f, "bmc/{id}"),
            Self::Site => f.write_str("site"),
        }
    }
}

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(pub i64);

/// Counts the states a subject has entered. A report answers one epoch; a report of another is evidence only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An entry's number in the event log: gap-free, in commit order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// What an event was caused by. The same cause twice is the same event: it is recorded once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cause(pub String);

/// One act of one state entered: re-driving it inserts nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    pub of: Subject,
    pub epoch: Epoch,
    pub slot: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.of, self.epoch.0, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_subject_reads_back_from_its_key(id: u128) {
            let bmc = Subject::Bmc(MachineId(id));
            for subject in [Subject::Machine(MachineId(id)), Subject::Order(OrderId(id)), Subject::Case(CaseId(id)), bmc, Subject::Site] {
                prop_assert_eq!(Subject::from_key(&subject.key()), Some(subject));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Subject::from_key(&text);
        }
    }
}
