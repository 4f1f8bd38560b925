//! Install orders and their permit: Open -> Started(disk) -> Closed, asked for before the first write.
//!
//! The permit is the fence that keeps data safe when everything else is late: it moves only here, and the database
//! itself refuses to reopen a closed one.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two, words};
use crate::tx::Tx;
use muster_names::{Epoch, ImageId, MachineId, Millis, OrderId};

words! {
    /// How far an order may go.
    PermitState {
        Open = "open",
        /// Writing has begun on one disk; writing it again is free.
        Started = "started",
        /// For ever.
        Closed = "closed",
    }
}

/// An order as stored. [`put`] writes what the caller decides (machine, image, body, author); the permit's fields move
/// only through [`permit_start`] and [`permit_close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub machine: MachineId,
    pub image: ImageId,
    /// JSON.
    pub body: String,
    pub permit: PermitState,
    /// JSON of the disk that is being written.
    pub started_disk: Option<String>,
    pub started_epoch: Option<Epoch>,
    pub started_at: Option<Millis>,
    /// How it ended: `installed`, `failed: ...`, `revoked`.
    pub outcome: Option<String>,
    pub created: Millis,
    pub closed_at: Option<Millis>,
    pub by: String,
}

/// The answer to "may I write now?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes, from now on.
    Started,
    /// Yes, still: the same disk as before.
    Again,
    Refused(String),
}

macro_rules! order_select {
    ($rest:literal) => {
        concat!(
            "select id, machine, image, body, permit, started_disk, started_epoch, started_at, outcome, created, ",
            "closed_at, author from install_order ",
            $rest
        )
    };
}

const CREATE: Sql = sql(
    "keep an order",
    "insert into install_order (id, machine, image, body, permit, created, author) \
     values ($1, $2, $3, $4, 'open', $5, $6) on conflict do nothing",
);
const CHANGE: Sql = sql(
    "change an order",
    "update install_order set image = $2, body = $3 where id = $1 and machine = $4 and permit = 'open'",
);
const GET: Sql = sql("read an order", order_select!("where id = $1"));
const GET_LOCKED: Sql = two("read an order", GET.lite, order_select!("where id = $1 for update"));
const OPEN_OF: Sql = sql("find a machine's open order", order_select!("where machine = $1 and permit <> 'closed'"));
const LIST_OF: Sql =
    sql("list a machine's orders", order_select!("where machine = $1 order by created desc, id desc limit $2"));
const ALL_OPEN: Sql = sql("list open orders", order_select!("where permit <> 'closed' order by created, id"));
const START: Sql = sql(
    "start a permit",
    "update install_order set permit = 'started', started_disk = $2, started_epoch = $3, started_at = $4 \
     where id = $1 and permit = 'open'",
);
const CLOSE: Sql = sql(
    "close a permit",
    "update install_order set permit = 'closed', outcome = $2, closed_at = $3 where id = $1 and permit <> 'closed'",
);

/// Keeps a new order with an open permit, or changes image and body of one that has not started. A machine has one
/// order at a time: another open one is [`Error::OrderOpen`].
pub async fn put(tx: &mut Tx, order: &Order) -> Result<(), Error> {
    let row = cells![order.id, order.machine, &order.image.0, &order.body, order.created, &order.by];
    if tx.run(CREATE, row).await? == 1
        || tx.run(CHANGE, cells![order.id, &order.image.0, &order.body, order.machine]).await? == 1
    {
        return Ok(());
    }
    if get(tx, order.id).await?.is_none()
        && let Some(other) = open_order_of(tx, order.machine).await?
    {
        return Err(Error::OrderOpen { machine: order.machine, by: other.id });
    }
    Err(Error::Exists { what: "order", key: order.id.to_string() })
}

pub async fn get(tx: &mut Tx, id: OrderId) -> Result<Option<Order>, Error> {
    tx.one(GET, cells![id]).await?.as_ref().map(order).transpose()
}

/// The machine's order whose permit is open or started.
pub async fn open_order_of(tx: &mut Tx, machine: MachineId) -> Result<Option<Order>, Error> {
    tx.one(OPEN_OF, cells![machine]).await?.as_ref().map(order).transpose()
}

/// A machine's orders, newest first.
pub async fn list_of(tx: &mut Tx, machine: MachineId, limit: u32) -> Result<Vec<Order>, Error> {
    tx.all(LIST_OF, cells![machine, i64::from(limit)]).await?.iter().map(order).collect()
}

/// All orders whose permit is open or started, oldest first.
pub async fn list_open(tx: &mut Tx) -> Result<Vec<Order>, Error> {
    tx.all(ALL_OPEN, cells![]).await?.iter().map(order).collect()
}

/// Starts writing `disk` (JSON), or confirms that this very disk is being written. Anything else is refused.
pub async fn permit_start(tx: &mut Tx, id: OrderId, disk: &str, epoch: Epoch, now: Millis) -> Result<Permit, Error> {
    let row = tx.one(GET_LOCKED, cells![id]).await?;
    let Some(found) = row.as_ref().map(order).transpose()? else {
        return Ok(Permit::Refused(format!("order {id} is not known")));
    };
    Ok(match found.permit {
        PermitState::Open => match tx.run(START, cells![id, disk, epoch, now]).await? {
            1 => Permit::Started,
            _ => Permit::Refused(format!("order {id} was started or closed a moment ago")),
        },
        PermitState::Started if found.started_disk.as_deref().is_some_and(|started| same(started, disk)) => {
            Permit::Again
        }
        PermitState::Started => Permit::Refused(format!(
            "order {id} is writing the disk {}, not {disk}",
            found.started_disk.unwrap_or_default()
        )),
        PermitState::Closed => Permit::Refused(format!(
            "order {id} is closed: {}",
            found.outcome.unwrap_or_else(|| "without outcome".into())
        )),
    })
}

/// The same JSON value, however it is spaced.
fn same(a: &str, b: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || read(a).is_some_and(|value| read(b) == Some(value))
}

/// Closes the permit for ever; `false` when it was closed before.
pub async fn permit_close(tx: &mut Tx, id: OrderId, outcome: &str, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(CLOSE, cells![id, outcome, now]).await? == 1)
}

fn order(row: &Row) -> Result<Order, Error> {
    Ok(Order {
        id: row.parse("id")?,
        machine: row.parse("machine")?,
        image: ImageId(row.text("image")?),
        body: row.text("body")?,
        permit: row.parse("permit")?,
        started_disk: row.text_or_null("started_disk")?,
        started_epoch: row.int_or_null("started_epoch")?.map(Epoch),
        started_at: row.millis_or_null("started_at")?,
        outcome: row.text_or_null("outcome")?,
        created: row.millis("created")?,
        closed_at: row.millis_or_null("closed_at")?,
        by: row.text("author")?,
    })
}
