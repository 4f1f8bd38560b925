//! Every life's current state: JSON to this crate, with the label that people and triggers read.
//!
//! The epoch counts states entered. Entering sets the deadline; looking again ([`settle`]) never moves it, only a rail that
//! holds the state's work back does ([`put_off_deadline`]).

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two};
use crate::tx::Tx;
use muster_names::{Epoch, Millis, Subject};

/// A subject's state as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// JSON of the domain type, of shape `version`.
    pub state: String,
    /// The state's plain name: `installing`.
    pub label: String,
    pub version: i64,
    pub epoch: Epoch,
    /// When this epoch began.
    pub entered: Millis,
    pub deadline: Option<Millis>,
}

const LOAD: Sql =
    sql("load a state", "select state, label, version, epoch, entered, deadline from subject where subject = $1");
const LOAD_LOCKED: Sql = two(
    "load a state",
    "select state, label, version, epoch, entered, deadline from subject where subject = $1",
    "select state, label, version, epoch, entered, deadline from subject where subject = $1 for update",
);
const CREATE: Sql = sql(
    "create a subject",
    "insert into subject (subject, kind, label, state, version, epoch, entered, deadline) \
     values ($1, $2, $3, $4, $5, 1, $6, $7) on conflict do nothing",
);
const ENTER: Sql = sql(
    "enter a state",
    "update subject set label = $2, state = $3, version = $4, deadline = $5, entered = $6, epoch = epoch + 1 \
     where subject = $1 returning epoch",
);
const SETTLE: Sql =
    sql("settle a state", "update subject set state = $2, version = $3 where subject = $1 returning epoch");
const DUE: Sql = sql(
    "find passed deadlines",
    "select subject, epoch from subject where deadline is not null and deadline <= $1 order by deadline, subject limit $2",
);
const CLEAR: Sql = sql("clear a deadline", "update subject set deadline = null where subject = $1 and epoch = $2");
const PUT_OFF: Sql =
    sql("put off a deadline", "update subject set deadline = $3 where subject = $1 and epoch = $2 and deadline < $3");
const LIST: Sql = sql(
    "list states",
    "select subject, state, label, version, epoch, entered, deadline from subject \
     where kind = $1 and subject > $2 order by subject limit $3",
);
const COUNT: Sql =
    sql("count states", "select label, count(*) as n from subject where kind = $1 group by label order by label");

/// The part of a key before its id: `machine`, `order`, `case`, `bmc`, `site`.
fn kind_of(subject: Subject) -> &'static str {
    match subject {
        Subject::Machine(_) => "machine",
        Subject::Order(_) => "order",
        Subject::Case(_) => "case",
        Subject::Bmc(_) => "bmc",
        Subject::Site => "site",
    }
}

/// The state, or `None` for a subject that was never created. In a writing transaction the row is locked until the
/// commit, so that nobody decides on the same state twice.
pub async fn load(tx: &mut Tx, subject: Subject) -> Result<Option<Stored>, Error> {
    let text = if tx.writes() { LOAD_LOCKED } else { LOAD };
    tx.one(text, cells![subject]).await?.as_ref().map(stored).transpose()
}

/// Creates a subject in its first state, epoch 1.
pub async fn create(
    tx: &mut Tx,
    subject: Subject,
    label: &str,
    state: &str,
    version: i64,
    deadline: Option<Millis>,
    now: Millis,
) -> Result<Epoch, Error> {
    match tx.run(CREATE, cells![subject, kind_of(subject), label, state, version, now, deadline]).await? {
        0 => Err(Error::Exists { what: "subject", key: subject.key() }),
        _ => Ok(Epoch(1)),
    }
}

/// Enters a state: the next epoch begins, with its deadline.
pub async fn enter(
    tx: &mut Tx,
    subject: Subject,
    label: &str,
    state: &str,
    version: i64,
    deadline: Option<Millis>,
    now: Millis,
) -> Result<Epoch, Error> {
    let row = tx.one(ENTER, cells![subject, label, state, version, deadline, now]).await?;
    epoch_of(row, subject)
}

/// Changes what the state holds without entering another: epoch, label and deadline stay.
pub async fn settle(tx: &mut Tx, subject: Subject, state: &str, version: i64) -> Result<Epoch, Error> {
    let row = tx.one(SETTLE, cells![subject, state, version]).await?;
    epoch_of(row, subject)
}

fn epoch_of(row: Option<Row>, subject: Subject) -> Result<Epoch, Error> {
    let row = row.ok_or_else(|| Error::Missing { what: "subject", key: subject.key() })?;
    Ok(Epoch(row.int("epoch")?))
}

/// Subjects whose deadline has passed, the longest overdue first.
pub async fn due(tx: &mut Tx, now: Millis, limit: u32) -> Result<Vec<(Subject, Epoch)>, Error> {
    let rows = tx.all(DUE, cells![now, i64::from(limit)]).await?;
    rows.iter().map(|row| Ok((row.subject("subject")?, Epoch(row.int("epoch")?)))).collect()
}

/// Takes a deadline off after its event was recorded; `false` when another epoch has begun meanwhile.
pub async fn clear_deadline(tx: &mut Tx, subject: Subject, epoch: Epoch) -> Result<bool, Error> {
    Ok(tx.run(CLEAR, cells![subject, epoch]).await? == 1)
}

/// Moves the deadline of `epoch` to `until`, never to an earlier time; `false` when there is none to move.
pub async fn put_off_deadline(tx: &mut Tx, subject: Subject, epoch: Epoch, until: Millis) -> Result<bool, Error> {
    Ok(tx.run(PUT_OFF, cells![subject, epoch, until]).await? == 1)
}

/// Subjects of one kind (`machine`, `order`, `case`) by key, after a key; begin with `""`.
pub async fn list(tx: &mut Tx, kind: &str, after_key: &str, limit: u32) -> Result<Vec<(Subject, Stored)>, Error> {
    let rows = tx.all(LIST, cells![kind, after_key, i64::from(limit)]).await?;
    rows.iter().map(|row| Ok((row.subject("subject")?, stored(row)?))).collect()
}

/// How many subjects of one kind are in each state, by label.
pub async fn count_by_label(tx: &mut Tx, kind: &str) -> Result<Vec<(String, i64)>, Error> {
    let rows = tx.all(COUNT, cells![kind]).await?;
    rows.iter().map(|row| Ok((row.text("label")?, row.int("n")?))).collect()
}

fn stored(row: &Row) -> Result<Stored, Error> {
    Ok(Stored {
        state: row.text("state")?,
        label: row.text("label")?,
        version: row.int("version")?,
        epoch: Epoch(row.int("epoch")?),
        entered: row.millis("entered")?,
        deadline: row.millis_or_null("deadline")?,
    })
}
