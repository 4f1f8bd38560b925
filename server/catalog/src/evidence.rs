//! What a data file rests on.
//!
//! A file that nobody saw hardware or a document for may still be useful to look with, but not to write with: a
//! guess in a data file is a guess about somebody's disks. The tally is printed in the documentation so that the
//! share of guesses is never hidden.

use muster_names::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `{ captured = "sha256..." }`, `{ documented = "https://..." }`, `"synthetic"`; for a rack layout `"declared"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Recorded from a real device; the digest is that of the recording.
    Captured(Digest),
    /// Taken from a public document at this address.
    Documented(String),
    /// Made up to be plausible.
    Synthetic,
    /// The owner's word on what is theirs. Only a rack layout can rest on that: it does not describe a product, it
    /// says whose machines stand where.
    Declared,
}

/// Whether anything may be changed on the strength of this file. What is only synthetic is read-only or in shadow.
pub fn usable_for_writes(evidence: &Evidence) -> bool {
    match evidence {
        Evidence::Captured(_) | Evidence::Documented(_) | Evidence::Declared => true,
        Evidence::Synthetic => false,
    }
}

/// How many files rest on what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    pub captured: usize,
    pub documented: usize,
    pub synthetic: usize,
    pub declared: usize,
}

impl Tally {
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Evidence>) -> Self {
        let mut tally = Self::default();
        for evidence in all {
            match evidence {
                Evidence::Captured(_) => tally.captured += 1,
                Evidence::Documented(_) => tally.documented += 1,
                Evidence::Synthetic => tally.synthetic += 1,
                Evidence::Declared => tally.declared += 1,
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_synthetic_is_not_used_for_writes() {
        assert!(!usable_for_writes(&Evidence::Synthetic));
        assert!(usable_for_writes(&Evidence::Documented("https://example.org/".into())));
        assert!(usable_for_writes(&Evidence::Captured(Digest([7; 32]))));
    }
}
