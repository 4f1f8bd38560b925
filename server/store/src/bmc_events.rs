//! Subscriptions of ours on BMCs: where their events go, and which machine a token stands for.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql};
use crate::tx::Tx;
use muster_names::{MachineId, Millis};

/// What is known of the subscription on one BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    pub machine: MachineId,
    /// Of the BMC.
    pub address: String,
    /// The end of the address that the BMC sends to.
    pub token: String,
    /// `None`: there is none.
    pub destination: Option<String>,
    /// When that was found out.
    pub at: Millis,
    /// Why there is none, though it was asked for.
    pub why: Option<String>,
}

const PUT: Sql = sql(
    "keep where a BMC sends its events",
    "insert into bmc_subscription (machine, address, token, destination, at, why) values ($1, $2, $3, $4, $5, $6) \
     on conflict (machine) do update set address = excluded.address, token = excluded.token, destination = excluded.destination, \
     at = excluded.at, why = excluded.why",
);
const OF: Sql = sql(
    "read where a BMC sends its events",
    "select machine, address, token, destination, at, why from bmc_subscription where machine = $1",
);
const BEHIND: Sql = sql(
    "read whose events these are",
    "select bmc_subscription.machine from bmc_subscription join machine on machine.id = bmc_subscription.machine \
     where bmc_subscription.token = $1 and machine.ours <> 0",
);
const FORGET: Sql = sql("forget where a BMC sends its events", "delete from bmc_subscription where machine = $1");

pub async fn put_subscription(tx: &mut Tx, row: &SubscriptionRow) -> Result<(), Error> {
    let (address, token, destination) = (row.address.as_str(), row.token.as_str(), row.destination.as_deref());
    tx.run(PUT, cells![row.machine, address, token, destination, row.at, row.why.as_deref()]).await.map(drop)
}

pub async fn subscription_of(tx: &mut Tx, machine: MachineId) -> Result<Option<SubscriptionRow>, Error> {
    let row = tx.one(OF, cells![machine]).await?;
    row.as_ref().map(subscription).transpose()
}

/// The machine of ours that a token stands for.
pub async fn machine_behind(tx: &mut Tx, token: &str) -> Result<Option<MachineId>, Error> {
    tx.one(BEHIND, cells![token]).await?.as_ref().map(|row| row.parse("machine")).transpose()
}

pub async fn forget_subscription(tx: &mut Tx, machine: MachineId) -> Result<(), Error> {
    tx.run(FORGET, cells![machine]).await.map(drop)
}

fn subscription(row: &Row) -> Result<SubscriptionRow, Error> {
    Ok(SubscriptionRow {
        machine: row.parse("machine")?,
        address: row.text("address")?,
        token: row.text("token")?,
        destination: row.text_or_null("destination")?,
        at: row.millis("at")?,
        why: row.text_or_null("why")?,
    })
}
