//! A mistake in a data file, told so that the reader can mend it without looking anything up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Slip {
    /// The name under which the file was handed in.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
    /// The fields or words that may stand there; empty where it is not a question of words.
    pub allowed: Vec<String>,
}

impl fmt::Display for Slip {
    /// `FILE:LINE:COLUMN: MESSAGE; allowed: WORD, WORD`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Slip {}
