//! One text of a statement for two databases: two kinds of cells in, named columns out.
//!
//! Only whole numbers and texts pass: what both databases store alike. Times are milliseconds, digests and keys are hex
//! digits, flags are 0 and 1, domain values are JSON. A NUL in a text is refused here, because SQLite would take what
//! PostgreSQL does not.

use crate::error::Error;
use muster_names::{Digest, Epoch, Mac, MachineId, Millis, OrderId, Seq, Subject, TicketId};
use sqlx::Row as _;
use std::borrow::Cow;
use std::str::FromStr;

/// A statement and what it is for, as the error message says it. The text holds `$1`, `$2`, ...
#[derive(Clone, Copy)]
pub(crate) struct Sql {
    pub what: &'static str,
    pub lite: &'static str,
    pub pg: &'static str,
}

/// The same text for both.
pub(crate) const fn sql(what: &'static str, both: &'static str) -> Sql {
    Sql { what, lite: both, pg: both }
}

/// Two texts, where the dialects cannot agree: row locks and batches.
pub(crate) const fn two(what: &'static str, lite: &'static str, pg: &'static str) -> Sql {
    Sql { what, lite, pg }
}

/// A value bound to a statement.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    Int(Option<i64>),
    Text(Option<Cow<'a, str>>),
}

impl Cell<'_> {
    pub fn holds_nul(&self) -> bool {
        matches!(self, Self::Text(Some(text)) if text.contains('\0'))
    }
}

/// `cells![a, b]`: the values in the order of `$1`, `$2`.
macro_rules! cells {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Cell::from($value)),*] };
}
pub(crate) use cells;

macro_rules! cell_from {
    ($lifetime:lifetime $($kind:ty: $value:ident => $cell:expr;)*) => {
        $(impl<$lifetime> From<$kind> for Cell<$lifetime> {
            fn from($value: $kind) -> Self { $cell }
        })*
    };
}

cell_from! { 'a
    i64: v => Cell::Int(Some(v));
    Option<i64>: v => Cell::Int(v);
    bool: v => Cell::Int(Some(i64::from(v)));
    Millis: v => Cell::Int(Some(v.0));
    Option<Millis>: v => Cell::Int(v.map(|at| at.0));
    Epoch: v => Cell::Int(Some(v.0));
    Option<Epoch>: v => Cell::Int(v.map(|epoch| epoch.0));
    Seq: v => Cell::Int(Some(v.0));
    &'a str: v => Cell::Text(Some(Cow::Borrowed(v)));
    &'a String: v => Cell::Text(Some(Cow::Borrowed(v)));
    String: v => Cell::Text(Some(Cow::Owned(v)));
    Option<&'a str>: v => Cell::Text(v.map(Cow::Borrowed));
    Option<String>: v => Cell::Text(v.map(Cow::Owned));
    Subject: v => Cell::from(v.key());
    MachineId: v => Cell::from(v.to_string());
    Option<MachineId>: v => Cell::from(v.map(|id| id.to_string()));
    OrderId: v => Cell::from(v.to_string());
    Option<OrderId>: v => Cell::from(v.map(|id| id.to_string()));
    TicketId: v => Cell::from(v.to_string());
    Mac: v => Cell::from(v.to_string());
    Option<Mac>: v => Cell::from(v.map(|mac| mac.to_string()));
    Digest: v => Cell::from(v.to_string());
}

/// Binds cells to either driver's query.
macro_rules! bound {
    ($text:expr, $cells:expr) => {
        $cells.iter().fold(sqlx::query($text), |query, cell| match cell {
            $crate::sql::Cell::Int(value) => query.bind(*value),
            $crate::sql::Cell::Text(value) => query.bind(value.as_deref()),
        })
    };
}
pub(crate) use bound;

/// A row of either driver.
pub(crate) struct Row {
    what: &'static str,
    of: Of,
}

enum Of {
    Lite(sqlx::sqlite::SqliteRow),
    Pg(sqlx::postgres::PgRow),
}

impl Row {
    pub fn lite(what: &'static str, row: sqlx::sqlite::SqliteRow) -> Self {
        Self { what, of: Of::Lite(row) }
    }

    pub fn pg(what: &'static str, row: sqlx::postgres::PgRow) -> Self {
        Self { what, of: Of::Pg(row) }
    }

    pub fn damaged(&self, column: &'static str, why: impl ToString) -> Error {
        Error::Damaged { what: self.what, column, why: why.to_string() }
    }

    pub fn int_or_null(&self, column: &'static str) -> Result<Option<i64>, Error> {
        match &self.of {
            Of::Lite(row) => row.try_get(column),
            Of::Pg(row) => row.try_get(column),
        }
        .map_err(|found| self.damaged(column, found))
    }

    pub fn text_or_null(&self, column: &'static str) -> Result<Option<String>, Error> {
        match &self.of {
            Of::Lite(row) => row.try_get(column),
            Of::Pg(row) => row.try_get(column),
        }
        .map_err(|found| self.damaged(column, found))
    }

    pub fn int(&self, column: &'static str) -> Result<i64, Error> {
        self.int_or_null(column)?.ok_or_else(|| self.damaged(column, "it is null"))
    }

    pub fn text(&self, column: &'static str) -> Result<String, Error> {
        self.text_or_null(column)?.ok_or_else(|| self.damaged(column, "it is null"))
    }

    pub fn flag(&self, column: &'static str) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    pub fn millis(&self, column: &'static str) -> Result<Millis, Error> {
        self.int(column).map(Millis)
    }

    pub fn millis_or_null(&self, column: &'static str) -> Result<Option<Millis>, Error> {
        Ok(self.int_or_null(column)?.map(Millis))
    }

    /// An id, a MAC, a digest, a word: whatever reads itself from text.
    pub fn parse<T: FromStr<Err: ToString>>(&self, column: &'static str) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|found: T::Err| self.damaged(column, found.to_string()))
    }

    pub fn parse_or_null<T: FromStr<Err: ToString>>(&self, column: &'static str) -> Result<Option<T>, Error> {
        match self.text_or_null(column)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|found: T::Err| self.damaged(column, found.to_string())),
        }
    }

    pub fn subject(&self, column: &'static str) -> Result<Subject, Error> {
        let text = self.text(column)?;
        Subject::from_key(&text).ok_or_else(|| self.damaged(column, format!("{text:?} names no subject")))
    }
}

/// An enum that is one word in its column.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// The word it has in the database.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(format!("{other:?} is none of {:?}", [$($word),*])),
                }
            }
        }

        impl From<$name> for $crate::sql::Cell<'_> {
            fn from(value: $name) -> Self { Self::from(value.word()) }
        }
    };
}
pub(crate) use words;

/// Without the NUL that one of the two databases does not take: for text of machines.
pub(crate) fn whole(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads [`hex`] back.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_read_back_from_hex(bytes: Vec<u8>) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = unhex(&text);
        }
    }
}
