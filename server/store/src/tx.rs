//! A transaction on either database, with the events it will append.
//!
//! Events wait in memory until [`Tx::commit`], because their numbers must be in commit order: `log_head` is locked as
//! the last step before the commit, so that no reader ever sees seq 8 before seq 7, on neither database.
//!
//! A statement that fails, or whose future is dropped half-way, poisons the transaction until [`Tx::rollback_to`]:
//! PostgreSQL behaves so by itself (and would answer `COMMIT` with a silent rollback), SQLite would commit the half.

use crate::error::Error;
use crate::events::{self, Appended, Committed, Event};
use crate::sql::{Cell, Row, Sql, bound};
use muster_names::Millis;
use sqlx::{Postgres, Sqlite, Transaction};

/// An open transaction. Dropping it rolls back.
pub struct Tx {
    on: On,
    writes: bool,
    sound: bool,
    pub(crate) pending: Vec<Event>,
    /// How many events were pending when each open savepoint was set.
    marks: Vec<usize>,
}

enum On {
    Lite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) fn lite(on: Transaction<'static, Sqlite>, writes: bool) -> Self {
        Self { on: On::Lite(on), writes, sound: true, pending: Vec::new(), marks: Vec::new() }
    }

    pub(crate) fn pg(on: Transaction<'static, Postgres>, writes: bool) -> Self {
        Self { on: On::Pg(on), writes, sound: true, pending: Vec::new(), marks: Vec::new() }
    }

    /// Whether this transaction may write.
    pub fn writes(&self) -> bool {
        self.writes
    }

    pub(crate) async fn all(&mut self, sql: Sql, cells: &[Cell<'_>]) -> Result<Vec<Row>, Error> {
        self.enter(sql.what, cells)?;
        let rows: Result<Vec<Row>, sqlx::Error> = match &mut self.on {
            On::Lite(tx) => bound!(sql.lite, cells)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(|row| Row::lite(sql.what, row)).collect()),
            On::Pg(tx) => bound!(sql.pg, cells)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(|row| Row::pg(sql.what, row)).collect()),
        };
        self.leave(sql.what, rows)
    }

    pub(crate) async fn one(&mut self, sql: Sql, cells: &[Cell<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.all(sql, cells).await?.into_iter().next())
    }

    /// How many rows the statement changed.
    pub(crate) async fn run(&mut self, sql: Sql, cells: &[Cell<'_>]) -> Result<u64, Error> {
        self.enter(sql.what, cells)?;
        let changed = match &mut self.on {
            On::Lite(tx) => bound!(sql.lite, cells).execute(&mut **tx).await.map(|done| done.rows_affected()),
            On::Pg(tx) => bound!(sql.pg, cells).execute(&mut **tx).await.map(|done| done.rows_affected()),
        };
        self.leave(sql.what, changed)
    }

    /// Several statements without values, one text for each database.
    pub(crate) async fn script(&mut self, sql: Sql) -> Result<(), Error> {
        self.enter(sql.what, &[])?;
        let done = match &mut self.on {
            On::Lite(tx) => sqlx::raw_sql(sql.lite).execute(&mut **tx).await.map(drop),
            On::Pg(tx) => sqlx::raw_sql(sql.pg).execute(&mut **tx).await.map(drop),
        };
        self.leave(sql.what, done)
    }

    /// Marks the transaction unsound until the statement has answered, so that a dropped future cannot go unnoticed.
    fn enter(&mut self, what: &'static str, cells: &[Cell<'_>]) -> Result<(), Error> {
        if !self.sound {
            return Err(Error::Poisoned { what });
        }
        if cells.iter().any(Cell::holds_nul) {
            return Err(Error::Nul { what });
        }
        self.sound = false;
        Ok(())
    }

    fn leave<T>(&mut self, what: &'static str, answer: Result<T, sqlx::Error>) -> Result<T, Error> {
        let value = answer.map_err(|source| Error::query(what, source))?;
        self.sound = true;
        Ok(value)
    }

    /// Opens a savepoint; they nest.
    pub async fn savepoint(&mut self) -> Result<(), Error> {
        self.script(crate::sql::sql("open a savepoint", "savepoint muster")).await?;
        self.marks.push(self.pending.len());
        Ok(())
    }

    /// Keeps what happened since the newest savepoint, and closes it.
    pub async fn release(&mut self) -> Result<(), Error> {
        if self.marks.is_empty() {
            return Err(Error::NoSavepoint { what: "release" });
        }
        self.script(crate::sql::sql("release a savepoint", "release savepoint muster")).await?;
        self.marks.pop();
        Ok(())
    }

    /// Undoes what happened since the newest savepoint, events included, and closes it. The transaction is sound again.
    pub async fn rollback_to(&mut self) -> Result<(), Error> {
        let Some(mark) = self.marks.pop() else { return Err(Error::NoSavepoint { what: "roll back" }) };
        self.pending.truncate(mark);
        self.sound = true;
        let both = "rollback to savepoint muster; release savepoint muster";
        self.script(crate::sql::sql("roll back to a savepoint", both)).await
    }

    /// Appends an event, unless its (subject, cause) is in the log or in this transaction already: then nothing must
    /// be done again.
    pub async fn append(&mut self, event: Event) -> Result<Appended, Error> {
        events::append(self, event).await
    }

    /// Numbers and chains the events, then commits. `now` is the commit's own time.
    ///
    /// After an error nothing is known to be written; run the whole transaction again: causes are recorded once.
    pub async fn commit(mut self, now: Millis) -> Result<Committed, Error> {
        // Reading the head also shows that the transaction is not aborted behind our back.
        let committed = events::write(&mut self, now).await?;
        self.end().await?;
        Ok(committed)
    }

    /// Commits without looking at the event log.
    pub(crate) async fn end(self) -> Result<(), Error> {
        if !self.sound {
            return Err(Error::Poisoned { what: "commit" });
        }
        match self.on {
            On::Lite(tx) => tx.commit().await,
            On::Pg(tx) => tx.commit().await,
        }
        .map_err(|source| Error::Commit { source })
    }
}
