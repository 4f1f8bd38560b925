//! What BMCs say while they are watched: the last look at each, the numbers of its sensors over time, and what it logged.
//!
//! Bodies are JSON that the conductor reads and writes. Sensors are numbered by a list that is kept once, because the names
//! of sixty sensors beside every number would be most of the database.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two, whole};
use crate::tx::Tx;
use muster_names::{MachineId, Millis};

/// The last look at one BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRow {
    pub machine: MachineId,
    pub at: Millis,
    /// JSON.
    pub body: String,
}

/// Numbers of a BMC's sensors for one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    pub machine: MachineId,
    /// How long the span is, in milliseconds.
    pub grain: i64,
    /// When it begins.
    pub at: Millis,
    /// Which list of sensors the numbers follow.
    pub sensors: i64,
    /// JSON.
    pub body: String,
}

/// One entry of a BMC's log as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BmcLogRow {
    /// Counts the machine's entries from 1.
    pub n: i64,
    /// When it was read.
    pub at: Millis,
    /// JSON.
    pub body: String,
}

const SEEN: Sql = sql("read what BMCs said last", "select machine, at, body from bmc_seen order by machine");
const KEEP_SEEN: Sql = sql(
    "keep what a BMC said",
    "insert into bmc_seen (machine, at, body) values ($1, $2, $3) \
     on conflict (machine) do update set at = excluded.at, body = excluded.body",
);
const SENSORS: Sql =
    sql("read the lists of a BMC's sensors", "select number, body from bmc_sensors where machine = $1 order by number");
const NEWEST_SENSORS: Sql = sql(
    "read the newest list of a BMC's sensors",
    "select number, body from bmc_sensors where machine = $1 order by number desc limit 1",
);
const FORGET_SENSORS: Sql =
    sql("forget a BMC's oldest lists of sensors", "delete from bmc_sensors where machine = $1 and number <= $2");
const SEEN_OF: Sql = sql("read what a BMC said last", "select machine, at, body from bmc_seen where machine = $1");
const KEEP_SENSORS: Sql = sql(
    "keep a list of sensors",
    "insert into bmc_sensors (machine, number, body) values ($1, $2, $3) on conflict do nothing",
);
const KEEP_SERIES: Sql = two(
    "keep numbers of sensors",
    "insert into bmc_series (machine, grain, at, sensors, body) \
     select value->>0, value->>1, value->>2, value->>3, value->>4 from json_each($1) where true \
     on conflict (machine, grain, at, sensors) do update set body = excluded.body",
    "insert into bmc_series (machine, grain, at, sensors, body) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, (v->>3)::bigint, v->>4 from json_array_elements($1::json) as rows(v) \
     on conflict (machine, grain, at, sensors) do update set body = excluded.body",
);
const SERIES: Sql = sql(
    "read numbers of sensors",
    "select machine, grain, at, sensors, body from bmc_series \
     where machine = $1 and grain = $2 and at >= $3 and at < $4 order by at, sensors limit 10000",
);
const FORGET_SERIES: Sql = sql("forget old numbers of sensors", "delete from bmc_series where grain = $1 and at < $2");
const NEWEST_LOGGED: Sql =
    sql("count a BMC's entries", "select coalesce(max(n), 0) as n from bmc_log where machine = $1");
const KEEP_LOGGED: Sql = two(
    "keep entries of a BMC's log",
    "insert into bmc_log (machine, n, at, body) select value->>0, value->>1, value->>2, value->>3 from json_each($1)",
    "insert into bmc_log (machine, n, at, body) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, v->>3 from json_array_elements($1::json) as rows(v)",
);
const FORGET_LOGGED: Sql = sql("forget a BMC's oldest entries", "delete from bmc_log where machine = $1 and n <= $2");
const LOGGED: Sql =
    sql("read a BMC's log", "select n, at, body from bmc_log where machine = $1 and n > $2 order by n limit $3");

/// Of every BMC that was ever looked at.
pub async fn seen(tx: &mut Tx) -> Result<Vec<SeenRow>, Error> {
    tx.all(SEEN, cells![]).await?.iter().map(seen_row).collect()
}

/// Of one BMC.
pub async fn seen_of(tx: &mut Tx, machine: MachineId) -> Result<Option<SeenRow>, Error> {
    tx.one(SEEN_OF, cells![machine]).await?.as_ref().map(seen_row).transpose()
}

pub async fn keep_seen(tx: &mut Tx, row: &SeenRow) -> Result<(), Error> {
    let body = whole(&row.body);
    tx.run(KEEP_SEEN, cells![row.machine, row.at, body.as_str()]).await.map(drop)
}

/// Every list of sensors that this BMC's numbers follow, with its number.
pub async fn sensors(tx: &mut Tx, machine: MachineId) -> Result<Vec<(i64, String)>, Error> {
    tx.all(SENSORS, cells![machine]).await?.iter().map(|row| Ok((row.int("number")?, row.text("body")?))).collect()
}

/// The list that this BMC's numbers follow now.
pub async fn newest_sensors(tx: &mut Tx, machine: MachineId) -> Result<Option<(i64, String)>, Error> {
    let row = tx.one(NEWEST_SENSORS, cells![machine]).await?;
    row.map(|row| Ok((row.int("number")?, row.text("body")?))).transpose()
}

/// Keeps a list, and the newest `most` of this BMC: numbers that follow one that is gone are not told any more.
pub async fn keep_sensors(tx: &mut Tx, machine: MachineId, number: i64, body: &str, most: i64) -> Result<(), Error> {
    let body = whole(body);
    if tx.run(KEEP_SENSORS, cells![machine, number, body.as_str()]).await? > 0 {
        tx.run(FORGET_SENSORS, cells![machine, number.saturating_sub(most)]).await?;
    }
    Ok(())
}

/// A span that is kept again is replaced.
pub async fn keep_series(tx: &mut Tx, rows: &[SeriesRow]) -> Result<(), Error> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| serde_json::json!([row.machine.to_string(), row.grain, row.at.0, row.sensors, row.body]))
        .collect();
    tx.run(KEEP_SERIES, cells![serde_json::Value::Array(rows).to_string()]).await.map(drop)
}

/// Ten thousand spans of one length at most, oldest first.
pub async fn series(
    tx: &mut Tx,
    machine: MachineId,
    grain: i64,
    (from, until): (Millis, Millis),
) -> Result<Vec<SeriesRow>, Error> {
    tx.all(SERIES, cells![machine, grain, from, until]).await?.iter().map(series_row).collect()
}

pub async fn forget_series(tx: &mut Tx, grain: i64, before: Millis) -> Result<u64, Error> {
    tx.run(FORGET_SERIES, cells![grain, before]).await
}

/// Appends entries and keeps the newest `most` of this BMC.
pub async fn keep_logged(
    tx: &mut Tx,
    machine: MachineId,
    at: Millis,
    bodies: &[String],
    most: i64,
) -> Result<(), Error> {
    let newest = tx.one(NEWEST_LOGGED, cells![machine]).await?.map_or(Ok(0), |row| row.int("n"))?;
    let rows: Vec<_> = (newest + 1..)
        .zip(bodies)
        .map(|(n, body)| serde_json::json!([machine.to_string(), n, at.0, whole(body)]))
        .collect();
    let last = newest.saturating_add(i64::try_from(rows.len()).unwrap_or(i64::MAX));
    tx.run(KEEP_LOGGED, cells![serde_json::Value::Array(rows).to_string()]).await?;
    tx.run(FORGET_LOGGED, cells![machine, last.saturating_sub(most)]).await.map(drop)
}

/// What follows entry `after`, oldest first.
pub async fn logged(tx: &mut Tx, machine: MachineId, after: i64, limit: u32) -> Result<Vec<BmcLogRow>, Error> {
    let rows = tx.all(LOGGED, cells![machine, after, i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(BmcLogRow { n: row.int("n")?, at: row.millis("at")?, body: row.text("body")? })).collect()
}

fn seen_row(row: &Row) -> Result<SeenRow, Error> {
    Ok(SeenRow { machine: row.parse("machine")?, at: row.millis("at")?, body: row.text("body")? })
}

fn series_row(row: &Row) -> Result<SeriesRow, Error> {
    Ok(SeriesRow {
        machine: row.parse("machine")?,
        grain: row.int("grain")?,
        at: row.millis("at")?,
        sensors: row.int("sensors")?,
        body: row.text("body")?,
    })
}
