//! How one claimed value is compared with what a machine says: exactly, at least, within a range, one of, or not at all.
//!
//! Each policy is written out in the data file (`{ min = 900 }`), so a reader sees how strict a model is without
//! knowing defaults. A value that the machine did not tell fits no policy but `any`: silence is never a pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A policy over words: vendor names, product names, part models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Text {
    /// Not compared.
    #[default]
    Any,
    Exact(String),
    OneOf(Vec<String>),
    /// `*` stands for any run of characters, everything else for itself.
    Pattern(String),
}

/// A policy over numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Number {
    /// Not compared.
    #[default]
    Any,
    Exact(u64),
    Min(u64),
    /// From the first to the second, both included.
    Range(u64, u64),
    OneOf(Vec<u64>),
}

/// A policy over versions: compared piece by piece, numbers as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// Not compared.
    #[default]
    Any,
    Exact(String),
    Min(String),
    OneOf(Vec<String>),
}

impl Text {
    /// Whether this claims anything at all.
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Blanks at both ends do not count: firmware pads its strings.
    pub fn admits(&self, told: Option<&str>) -> bool {
        let told = told.map(str::trim).filter(|told| !told.is_empty());
        match (self, told) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(want), Some(told)) => want.trim() == told,
            (Self::OneOf(wants), Some(told)) => wants.iter().any(|want| want.trim() == told),
            (Self::Pattern(pattern), Some(told)) => fits(pattern.trim(), told),
        }
    }
}

impl Number {
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub fn admits(&self, told: Option<u64>) -> bool {
        match (self, told) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(want), Some(told)) => *want == told,
            (Self::Min(least), Some(told)) => told >= *least,
            (Self::Range(least, most), Some(told)) => (*least..=*most).contains(&told),
            (Self::OneOf(wants), Some(told)) => wants.contains(&told),
        }
    }
}

impl Version {
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub fn admits(&self, told: Option<&str>) -> bool {
        let told = told.map(str::trim).filter(|told| !told.is_empty());
        match (self, told) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(want), Some(told)) => want.trim() == told,
            (Self::Min(least), Some(told)) => pieces(told) >= pieces(least),
            (Self::OneOf(wants), Some(told)) => wants.iter().any(|want| want.trim() == told),
        }
    }
}

/// Matches from the left, going back to the last star only: linear in practice, no recursion on hostile text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
    }
    match last {
        None => rest.is_empty(),
        Some(part) => rest.ends_with(part),
    }
}

/// One piece of a version; a number is above a word, so that `2.1` is above `2.rc1`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Word(String),
    /// Without leading zeros: length first, then digits, so that no number is too long to compare.
    Number(usize, String),
}

fn pieces(version: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    for run in version.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty()) {
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            found.push(if digits {
                let plain = piece.trim_start_matches('0');
                Piece::Number(plain.len(), plain.to_owned())
            } else {
                Piece::Word(piece.to_ascii_lowercase())
            });
            rest = after;
        }
    }
    // `2.0` and `2.0.0` are one version.
    while found.last().is_some_and(|piece| *piece == Piece::Number(0, String::new())) {
        found.pop();
    }
    found
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(want) => write!(f, "{want:?}"),
            Self::OneOf(wants) => write!(f, "one of {wants:?}"),
            Self::Pattern(pattern) => write!(f, "like {pattern:?}"),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(want) => write!(f, "{want}"),
            Self::Min(least) => write!(f, "at least {least}"),
            Self::Range(least, most) => write!(f, "{least} to {most}"),
            Self::OneOf(wants) => write!(f, "one of {wants:?}"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(want) => write!(f, "version {want}"),
            Self::Min(least) => write!(f, "at least version {least}"),
            Self::OneOf(wants) => write!(f, "a version of {wants:?}"),
        }
    }
}
