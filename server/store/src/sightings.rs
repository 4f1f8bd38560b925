//! What each MAC was seen doing on the boot path, and what it was answered: the newest 500 and a few more.
//!
//! Rows of a MAC are numbered from 1. So the oldest go by a range of the primary key, once in 64 rows, and no batch
//! pays for a scan.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two};
use crate::tx::Tx;
use muster_names::{Mac, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One sighting as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub mac: Mac,
    pub at: Millis,
    pub network: String,
    /// `discover`, `request`, `tftp`, `http`, ...
    pub what: String,
    /// The answer, or the reason of silence, in words.
    pub answer: String,
    /// JSON.
    pub body: String,
}

/// Rows kept of each MAC.
const KEPT: i64 = 500;
/// Old rows of a MAC are deleted once in so many.
const EVERY: i64 = 64;

const COUNT: Sql = two(
    "count sightings",
    "insert into sighting_count (mac, n, newest) \
     select value->>0, value->>1, value->>2 from json_each($1) where true \
     on conflict (mac) do update set n = sighting_count.n + excluded.n, newest = excluded.newest returning mac, n",
    "insert into sighting_count (mac, n, newest) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint from json_array_elements($1::json) as rows(v) \
     on conflict (mac) do update set n = sighting_count.n + excluded.n, newest = excluded.newest returning mac, n",
);
const NOTE: Sql = two(
    "note sightings",
    "insert into sighting (mac, n, at, network, what, answer, body) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 from json_each($1)",
    "insert into sighting (mac, n, at, network, what, answer, body) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, v->>3, v->>4, v->>5, v->>6 \
     from json_array_elements($1::json) as rows(v)",
);
const PRUNE: Sql = sql("forget a MAC's oldest sightings", "delete from sighting where mac = $1 and n <= $2");
const OF_MAC: Sql = sql(
    "read a MAC's sightings",
    "select mac, at, network, what, answer, body from sighting where mac = $1 order by n desc limit $2",
);
const FORGET_ROWS: Sql =
    sql("forget old sightings", "delete from sighting where mac in (select mac from sighting_count where newest < $1)");
const NTH_NEWEST: Sql =
    sql("find the oldest MAC to keep", "select newest from sighting_count order by newest desc limit 1 offset $1");
const FORGET_COUNTS: Sql = sql("forget old MACs", "delete from sighting_count where newest < $1");

/// Notes a batch, in order.
pub async fn note_batch(tx: &mut Tx, batch: &[Sighting]) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut by_mac: BTreeMap<Mac, Vec<&Sighting>> = BTreeMap::new();
    for sighting in batch {
        by_mac.entry(sighting.mac).or_default().push(sighting);
    }
    let counts: Vec<_> = by_mac
        .iter()
        .map(|(mac, of)| serde_json::json!([mac, of.len(), of.iter().map(|sighting| sighting.at.0).max()]))
        .collect();
    let counted = tx.all(COUNT, cells![serde_json::Value::Array(counts).to_string()]).await?;
    let mut rows = Vec::with_capacity(batch.len());
    let mut full = Vec::new();
    for row in counted {
        let (mac, last): (Mac, i64) = (row.parse("mac")?, row.int("n")?);
        let of = by_mac.remove(&mac).unwrap_or_default();
        let first = last - of.len() as i64;
        if last / EVERY > first / EVERY {
            full.push((mac, last - KEPT));
        }
        for (n, seen) in (first + 1..).zip(of) {
            let text = |text: &str| text.replace('\0', "\u{fffd}");
            let (network, what) = (text(&seen.network), text(&seen.what));
            let (answer, body) = (text(&seen.answer), text(&seen.body));
            rows.push(serde_json::json!([mac, n, seen.at.0, network, what, answer, body]));
        }
    }
    tx.run(NOTE, cells![serde_json::Value::Array(rows).to_string()]).await?;
    for (mac, upto) in full {
        tx.run(PRUNE, cells![mac, upto]).await?;
    }
    Ok(())
}

/// The newest sightings of a MAC, newest first.
pub async fn of_mac(tx: &mut Tx, mac: Mac, limit: u32) -> Result<Vec<Sighting>, Error> {
    let limit = i64::from(limit).min(KEPT);
    tx.all(OF_MAC, cells![mac, limit]).await?.iter().map(sighting).collect()
}

/// Forgets all but about the `most` MACs seen last.
pub async fn keep_newest(tx: &mut Tx, most: u32) -> Result<u64, Error> {
    match tx.one(NTH_NEWEST, cells![i64::from(most)]).await? {
        Some(row) => {
            let before = row.millis("newest")?;
            forget(tx, Millis(before.0.saturating_add(1))).await
        }
        None => Ok(0),
    }
}

/// Forgets the MACs that were not seen since `before`: a flood of made-up ones must not stay for ever.
pub async fn forget(tx: &mut Tx, before: Millis) -> Result<u64, Error> {
    tx.run(FORGET_ROWS, cells![before]).await?;
    tx.run(FORGET_COUNTS, cells![before]).await
}

fn sighting(row: &Row) -> Result<Sighting, Error> {
    Ok(Sighting {
        mac: row.parse("mac")?,
        at: row.millis("at")?,
        network: row.text("network")?,
        what: row.text("what")?,
        answer: row.text("answer")?,
        body: row.text("body")?,
    })
}
