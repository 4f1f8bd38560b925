//! BMCs before they are anybody's: those that answered on the network, those that somebody says are ours, and what proves
//! later that one is still the same.
//!
//! Bodies are JSON that the conductor reads and writes; passwords come here sealed.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, whole, words};
use crate::tx::Tx;
use muster_names::{Mac, MachineId, Millis};

/// A BMC that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRow {
    pub address: String,
    pub mac: Option<Mac>,
    pub first_seen: Millis,
    pub seen: Millis,
    /// JSON.
    pub body: String,
}

words! {
    /// Where a BMC stands that is said to be ours.
    AwaitedState {
        /// It is looked for, and adopted when it is there.
        Awaited = "awaited",
        /// It was there and is not what was said, or does not take its password: a person looks.
        Refused = "refused",
        Adopted = "adopted",
    }
}

/// A BMC that is said to be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedRow {
    /// `mac/..`, `address/..` or `serial/..`: what it is told apart by.
    pub id: String,
    pub state: AwaitedState,
    /// When it is looked at next.
    pub due: Millis,
    pub made: Millis,
    /// The machine that it was adopted for.
    pub machine: Option<MachineId>,
    /// JSON.
    pub body: String,
    /// The password that it came with; empty once it was adopted.
    pub sealed: String,
}

/// The key that a BMC is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRow {
    pub machine: MachineId,
    /// SHA-256 of its public key, in hexadecimal digits.
    pub pin: String,
    /// Of the machine that it spoke for when the key was taken down.
    pub serial: Option<String>,
    pub at: Millis,
    /// Who trusted it.
    pub actor: String,
}

const PUT_FOUND: Sql = sql(
    "keep a BMC that answered",
    "insert into bmc_found (address, mac, first_seen, seen, body) values ($1, $2, $3, $4, $5) \
     on conflict (address) do update set mac = excluded.mac, seen = excluded.seen, body = excluded.body",
);
const FREE_MAC: Sql =
    sql("forget where a BMC answered before", "delete from bmc_found where mac = $1 and address <> $2");
const FOUND: Sql =
    sql("list BMCs that answered", "select address, mac, first_seen, seen, body from bmc_found order by address");
const FOUND_AT: Sql = sql(
    "read what answered at an address",
    "select address, mac, first_seen, seen, body from bmc_found where address = $1",
);
const FOUND_MAC: Sql =
    sql("find a BMC by its MAC", "select address, mac, first_seen, seen, body from bmc_found where mac = $1");
const COUNT_FOUND: Sql = sql("count BMCs that answered", "select count(*) as n from bmc_found");
const FORGET_FOUND: Sql = sql("forget BMCs that are long gone", "delete from bmc_found where seen < $1");
const PUT_AWAITED: Sql = sql(
    "keep a BMC that is said to be ours",
    "insert into bmc_awaited (id, state, due, made, machine, body, sealed) values ($1, $2, $3, $4, $5, $6, $7) \
     on conflict (id) do update set state = excluded.state, due = excluded.due, made = excluded.made, \
     machine = excluded.machine, body = excluded.body, sealed = excluded.sealed",
);
const AWAITED: Sql = sql(
    "list BMCs that are said to be ours",
    "select id, state, due, made, machine, body, sealed from bmc_awaited order by id",
);
const AWAITED_OF: Sql = sql(
    "read a BMC that is said to be ours",
    "select id, state, due, made, machine, body, sealed from bmc_awaited where id = $1",
);
const DUE_AWAITED: Sql = sql(
    "list BMCs that are to be looked for",
    "select id, state, due, made, machine, body, sealed from bmc_awaited \
     where state = 'awaited' and due <= $1 order by due, id limit $2",
);
const COUNT_REFUSED: Sql =
    sql("count BMCs that were refused", "select count(*) as n from bmc_awaited where state = 'refused'");
const COUNT_SEALED: Sql = sql("count sealed entries", "select count(*) as n from bmc_awaited where sealed <> ''");
const DROP_AWAITED: Sql = sql("drop a BMC that was said to be ours", "delete from bmc_awaited where id = $1");
const PIN_OF: Sql = sql("read a BMC's key", "select machine, pin, serial, at, actor from bmc_pin where machine = $1");
const PUT_PIN: Sql = sql(
    "keep a BMC's key",
    "insert into bmc_pin (machine, pin, serial, at, actor) values ($1, $2, $3, $4, $5) \
     on conflict (machine) do update set pin = excluded.pin, serial = excluded.serial, at = excluded.at, \
     actor = excluded.actor",
);
const DROP_PIN: Sql = sql("forget a BMC's key", "delete from bmc_pin where machine = $1");
const LEARNT: Sql = sql("read what BMCs of a kind do", "select body from bmc_learnt where kind = $1");
const PUT_LEARNT: Sql = sql(
    "keep what BMCs of a kind do",
    "insert into bmc_learnt (kind, at, body) values ($1, $2, $3) \
     on conflict (kind) do update set at = excluded.at, body = excluded.body",
);
const PUT_KIND: Sql = sql(
    "keep a BMC's kind",
    "insert into bmc_kind (machine, kind) values ($1, $2) on conflict (machine) do update set kind = excluded.kind",
);
const LEARNT_FOR: Sql = sql(
    "read what a machine's BMC does",
    "select bmc_learnt.body from bmc_learnt join bmc_kind on bmc_kind.kind = bmc_learnt.kind where bmc_kind.machine = $1",
);
const KIND_OF: Sql = sql("read a BMC's kind", "select kind from bmc_kind where machine = $1");
const ALL_LEARNT: Sql = sql("list what BMCs do", "select kind, at, body from bmc_learnt order by kind");

/// A MAC answers at one address: where it was before is forgotten. When it was first seen stays.
pub async fn put_found(tx: &mut Tx, row: &FoundRow) -> Result<(), Error> {
    if let Some(mac) = row.mac {
        tx.run(FREE_MAC, cells![mac, row.address.as_str()]).await?;
    }
    let body = whole(&row.body);
    tx.run(PUT_FOUND, cells![row.address.as_str(), row.mac, row.first_seen, row.seen, body.as_str()]).await.map(drop)
}

pub async fn found(tx: &mut Tx) -> Result<Vec<FoundRow>, Error> {
    tx.all(FOUND, cells![]).await?.iter().map(found_row).collect()
}

pub async fn found_at(tx: &mut Tx, address: &str) -> Result<Option<FoundRow>, Error> {
    tx.one(FOUND_AT, cells![address]).await?.as_ref().map(found_row).transpose()
}

pub async fn found_by_mac(tx: &mut Tx, mac: Mac) -> Result<Option<FoundRow>, Error> {
    tx.one(FOUND_MAC, cells![mac]).await?.as_ref().map(found_row).transpose()
}

pub async fn count_found(tx: &mut Tx) -> Result<i64, Error> {
    tx.one(COUNT_FOUND, cells![]).await?.map_or(Ok(0), |row| row.int("n"))
}

pub async fn forget_found(tx: &mut Tx, before: Millis) -> Result<u64, Error> {
    tx.run(FORGET_FOUND, cells![before]).await
}

/// Keeps an entry, new or changed.
pub async fn put_awaited(tx: &mut Tx, row: &AwaitedRow) -> Result<(), Error> {
    let body = whole(&row.body);
    let cells = cells![row.id.as_str(), row.state, row.due, row.made, row.machine, body.as_str(), row.sealed.as_str(),];
    tx.run(PUT_AWAITED, cells).await.map(drop)
}

pub async fn awaited(tx: &mut Tx) -> Result<Vec<AwaitedRow>, Error> {
    tx.all(AWAITED, cells![]).await?.iter().map(awaited_row).collect()
}

pub async fn awaited_of(tx: &mut Tx, id: &str) -> Result<Option<AwaitedRow>, Error> {
    tx.one(AWAITED_OF, cells![id]).await?.as_ref().map(awaited_row).transpose()
}

/// Those to be looked for now, longest waiting first.
pub async fn due_awaited(tx: &mut Tx, now: Millis, limit: u32) -> Result<Vec<AwaitedRow>, Error> {
    tx.all(DUE_AWAITED, cells![now, i64::from(limit)]).await?.iter().map(awaited_row).collect()
}

pub async fn count_refused(tx: &mut Tx) -> Result<usize, Error> {
    let count = tx.one(COUNT_REFUSED, cells![]).await?.map_or(Ok(0), |row| row.int("n"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Entries whose password is here still.
pub async fn count_sealed(tx: &mut Tx) -> Result<usize, Error> {
    let count = tx.one(COUNT_SEALED, cells![]).await?.map_or(Ok(0), |row| row.int("n"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// `false`: there is none of this id.
pub async fn drop_awaited(tx: &mut Tx, id: &str) -> Result<bool, Error> {
    Ok(tx.run(DROP_AWAITED, cells![id]).await? == 1)
}

pub async fn pin_of(tx: &mut Tx, machine: MachineId) -> Result<Option<PinRow>, Error> {
    let row = tx.one(PIN_OF, cells![machine]).await?;
    row.map(|row| {
        Ok(PinRow {
            machine: row.parse("machine")?,
            pin: row.text("pin")?,
            serial: row.text_or_null("serial")?,
            at: row.millis("at")?,
            actor: row.text("actor")?,
        })
    })
    .transpose()
}

pub async fn put_pin(tx: &mut Tx, row: &PinRow) -> Result<(), Error> {
    let cells = cells![row.machine, row.pin.as_str(), row.serial.as_deref(), row.at, row.actor.as_str()];
    tx.run(PUT_PIN, cells).await.map(drop)
}

/// `false`: none was known.
pub async fn drop_pin(tx: &mut Tx, machine: MachineId) -> Result<bool, Error> {
    Ok(tx.run(DROP_PIN, cells![machine]).await? == 1)
}

/// JSON of what BMCs of this kind were seen to do.
pub async fn learnt(tx: &mut Tx, kind: &str) -> Result<Option<String>, Error> {
    tx.one(LEARNT, cells![kind]).await?.map(|row| row.text("body")).transpose()
}

pub async fn put_learnt(tx: &mut Tx, kind: &str, at: Millis, body: &str) -> Result<(), Error> {
    let (kind, body) = (whole(kind), whole(body));
    tx.run(PUT_LEARNT, cells![kind.as_str(), at, body.as_str()]).await.map(drop)
}

pub async fn put_kind(tx: &mut Tx, machine: MachineId, kind: &str) -> Result<(), Error> {
    let kind = whole(kind);
    tx.run(PUT_KIND, cells![machine, kind.as_str()]).await.map(drop)
}

pub async fn kind_of(tx: &mut Tx, machine: MachineId) -> Result<Option<String>, Error> {
    tx.one(KIND_OF, cells![machine]).await?.map(|row| row.text("kind")).transpose()
}

/// JSON of what the kind of this machine's BMC was seen to do.
pub async fn learnt_for(tx: &mut Tx, machine: MachineId) -> Result<Option<String>, Error> {
    tx.one(LEARNT_FOR, cells![machine]).await?.map(|row| row.text("body")).transpose()
}

/// Kind, when, and JSON of each.
pub async fn all_learnt(tx: &mut Tx) -> Result<Vec<(String, Millis, String)>, Error> {
    let rows = tx.all(ALL_LEARNT, cells![]).await?;
    rows.iter().map(|row| Ok((row.text("kind")?, row.millis("at")?, row.text("body")?))).collect()
}

fn found_row(row: &Row) -> Result<FoundRow, Error> {
    Ok(FoundRow {
        address: row.text("address")?,
        mac: row.parse_or_null("mac")?,
        first_seen: row.millis("first_seen")?,
        seen: row.millis("seen")?,
        body: row.text("body")?,
    })
}

fn awaited_row(row: &Row) -> Result<AwaitedRow, Error> {
    Ok(AwaitedRow {
        id: row.text("id")?,
        state: row.parse("state")?,
        due: row.millis("due")?,
        made: row.millis("made")?,
        machine: row.parse_or_null("machine")?,
        body: row.text("body")?,
        sealed: row.text("sealed")?,
    })
}
