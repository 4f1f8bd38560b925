//! The site as a whole: the freeze flag, and settings by name.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two};
use crate::tx::Tx;
use muster_names::Millis;
use serde::{Deserialize, Serialize};

/// The one flag that stops every act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub frozen: bool,
    pub by: String,
    pub why: String,
    pub at: Millis,
}

const FROZEN: Sql = sql("read the freeze flag", "select frozen, author, why, at from brake where one = 1");
const LOCK: Sql = two(
    "lock the ledger",
    "select frozen, author, why, at from brake where one = 1",
    "select frozen, author, why, at from brake where one = 1 for update",
);
const FREEZE: Sql =
    sql("set the freeze flag", "update brake set frozen = $1, author = $2, why = $3, at = $4 where one = 1");
const SETTING: Sql = sql("read a setting", "select value from setting where name = $1");
const SET: Sql = sql(
    "keep a setting",
    "insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
);

/// The freeze flag as it stands.
pub async fn frozen(tx: &mut Tx) -> Result<Freeze, Error> {
    let row = tx.one(FROZEN, cells![]).await?;
    freeze(row)
}

/// The freeze flag, and the right to claim until the commit: every transaction that claims begins with this, so that
/// claims come one after another, budgets count each one, and a freeze that is committed is seen by all that follow.
pub async fn lock_ledger(tx: &mut Tx) -> Result<Freeze, Error> {
    if !tx.writes() {
        return Err(Error::ReadOnly { what: "lock the ledger" });
    }
    let row = tx.one(LOCK, cells![]).await?;
    freeze(row)
}

pub async fn set_frozen(tx: &mut Tx, freeze: &Freeze) -> Result<(), Error> {
    tx.run(FREEZE, cells![freeze.frozen, &freeze.by, &freeze.why, freeze.at]).await.map(drop)
}

fn freeze(row: Option<Row>) -> Result<Freeze, Error> {
    // Without its row nobody can tell that the site is not frozen.
    let row = row.ok_or_else(|| Error::Missing { what: "the freeze flag", key: "row".into() })?;
    Ok(Freeze { frozen: row.flag("frozen")?, by: row.text("author")?, why: row.text("why")?, at: row.millis("at")? })
}

pub async fn setting(tx: &mut Tx, name: &str) -> Result<Option<String>, Error> {
    tx.one(SETTING, cells![name]).await?.map(|row| row.text("value")).transpose()
}

pub async fn set_setting(tx: &mut Tx, name: &str, value: &str) -> Result<(), Error> {
    tx.run(SET, cells![name, value]).await.map(drop)
}
