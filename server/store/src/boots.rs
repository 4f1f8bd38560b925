//! The boot timeline's rows: for each port that boots the boot it is in, and the entries of its last boots.
//!
//! Who writes decides which boot and which slot an entry has; a slot that is written again is replaced. So no batch pays
//! for a count or a scan, and a boot is bounded by the number of its slots.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two, whole};
use crate::tx::Tx;
use muster_names::{Mac, Millis};
use std::collections::BTreeMap;

/// The boot that a port is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPort {
    pub mac: Mac,
    /// Number of the boot, from 1.
    pub n: i64,
    pub newest: Millis,
    /// JSON.
    pub course: String,
    /// Entries of this boot so far, kept or not: of its way, and lines of its log.
    pub seen: i64,
    pub logged: i64,
}

/// One entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    pub mac: Mac,
    pub n: i64,
    pub ring: i64,
    pub slot: i64,
    pub at: Millis,
    /// JSON.
    pub body: String,
}

const PORTS: Sql = two(
    "read the boots of ports",
    "select mac, n, newest, course, seen, logged from boot_port where mac in (select value from json_each($1))",
    "select mac, n, newest, course, seen, logged from boot_port \
     where mac in (select json_array_elements_text($1::json)) order by mac for update",
);
const KEEP_PORTS: Sql = two(
    "keep the boots of ports",
    "insert into boot_port (mac, n, newest, course, seen, logged) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 from json_each($1) where true \
     on conflict (mac) do update set n = excluded.n, newest = excluded.newest, course = excluded.course, \
     seen = excluded.seen, logged = excluded.logged",
    "insert into boot_port (mac, n, newest, course, seen, logged) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, v->>3, (v->>4)::bigint, (v->>5)::bigint \
     from json_array_elements($1::json) as rows(v) \
     on conflict (mac) do update set n = excluded.n, newest = excluded.newest, course = excluded.course, \
     seen = excluded.seen, logged = excluded.logged",
);
const KEEP_ENTRIES: Sql = two(
    "keep entries of boots",
    "insert into boot_entry (mac, n, ring, slot, at, body) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 from json_each($1) where true \
     on conflict (mac, n, ring, slot) do update set at = excluded.at, body = excluded.body",
    "insert into boot_entry (mac, n, ring, slot, at, body) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, (v->>3)::bigint, (v->>4)::bigint, v->>5 \
     from json_array_elements($1::json) as rows(v) \
     on conflict (mac, n, ring, slot) do update set at = excluded.at, body = excluded.body",
);
const FORGET_BOOTS: Sql = sql("forget a port's oldest boots", "delete from boot_entry where mac = $1 and n <= $2");
const OF_MAC: Sql = sql(
    "read the boots of a port",
    "select mac, n, ring, slot, at, body from boot_entry where mac = $1 order by n, at, ring, slot",
);
const FORGET_ENTRIES: Sql =
    sql("forget old boots", "delete from boot_entry where mac in (select mac from boot_port where newest < $1)");
const FORGET_PORTS: Sql = sql("forget old ports", "delete from boot_port where newest < $1");
const NTH_NEWEST: Sql =
    sql("find the oldest port to keep", "select newest from boot_port order by newest desc limit 1 offset $1");

/// The boots that these ports are in; on PostgreSQL nobody else moves them until the transaction ends.
pub async fn ports(tx: &mut Tx, macs: impl IntoIterator<Item = Mac>) -> Result<BTreeMap<Mac, BootPort>, Error> {
    let macs: Vec<String> = macs.into_iter().map(|mac| mac.to_string()).collect();
    let rows = tx.all(PORTS, cells![serde_json::json!(macs).to_string()]).await?;
    rows.iter().map(|row| port(row).map(|port| (port.mac, port))).collect()
}

/// Writes the boots of ports, each port once.
pub async fn keep_ports(tx: &mut Tx, ports: &[BootPort]) -> Result<(), Error> {
    let rows: Vec<_> =
        ports.iter().map(|p| serde_json::json!([p.mac, p.n, p.newest.0, whole(&p.course), p.seen, p.logged])).collect();
    tx.run(KEEP_PORTS, cells![serde_json::Value::Array(rows).to_string()]).await.map(drop)
}

/// Writes entries; of several with one place the last stays.
pub async fn keep_entries(tx: &mut Tx, entries: &[BootEntry]) -> Result<(), Error> {
    let mut last: BTreeMap<(Mac, i64, i64, i64), serde_json::Value> = BTreeMap::new();
    for e in entries {
        let row = serde_json::json!([e.mac, e.n, e.ring, e.slot, e.at.0, whole(&e.body)]);
        last.insert((e.mac, e.n, e.ring, e.slot), row);
    }
    let rows = serde_json::Value::Array(last.into_values().collect());
    tx.run(KEEP_ENTRIES, cells![rows.to_string()]).await.map(drop)
}

/// Forgets a port's boots up to a number.
pub async fn forget_boots(tx: &mut Tx, mac: Mac, upto: i64) -> Result<(), Error> {
    tx.run(FORGET_BOOTS, cells![mac, upto]).await.map(drop)
}

/// What is kept of a port's boots, oldest first.
pub async fn of_mac(tx: &mut Tx, mac: Mac) -> Result<Vec<BootEntry>, Error> {
    tx.all(OF_MAC, cells![mac]).await?.iter().map(entry).collect()
}

/// Forgets all but about the `most` ports seen last.
pub async fn keep_newest(tx: &mut Tx, most: u32) -> Result<u64, Error> {
    match tx.one(NTH_NEWEST, cells![i64::from(most)]).await? {
        Some(row) => {
            let before = row.millis("newest")?;
            forget(tx, Millis(before.0.saturating_add(1))).await
        }
        None => Ok(0),
    }
}

/// Forgets the ports that were not seen since `before`: a flood of made-up ones must not stay for ever.
pub async fn forget(tx: &mut Tx, before: Millis) -> Result<u64, Error> {
    tx.run(FORGET_ENTRIES, cells![before]).await?;
    tx.run(FORGET_PORTS, cells![before]).await
}

fn port(row: &Row) -> Result<BootPort, Error> {
    Ok(BootPort {
        mac: row.parse("mac")?,
        n: row.int("n")?,
        newest: row.millis("newest")?,
        course: row.text("course")?,
        seen: row.int("seen")?,
        logged: row.int("logged")?,
    })
}

fn entry(row: &Row) -> Result<BootEntry, Error> {
    Ok(BootEntry {
        mac: row.parse("mac")?,
        n: row.int("n")?,
        ring: row.int("ring")?,
        slot: row.int("slot")?,
        at: row.millis("at")?,
        body: row.text("body")?,
    })
}
