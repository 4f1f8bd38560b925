//! Addresses kept for the network cards of machines. The table itself holds that an address has one MAC and a MAC one
//! address: two people who import at once cannot give one address away twice.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql};
use crate::tx::Tx;
use muster_names::{Mac, MachineId};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub address: Ipv4Addr,
    pub mac: Mac,
    pub machine: MachineId,
}

const PUT: Sql = sql(
    "keep a reservation",
    "insert into reservation (address, mac, machine) values ($1, $2, $3) on conflict do nothing",
);
const DROP_MAC: Sql = sql("drop a MAC's reservation", "delete from reservation where mac = $1");
const DROP_OF: Sql = sql("drop a machine's reservations", "delete from reservation where machine = $1");
const AT: Sql =
    sql("find an address's reservation", "select address, mac, machine from reservation where address = $1");
const OF_MAC: Sql = sql("find a MAC's reservation", "select address, mac, machine from reservation where mac = $1");
const OF_MACHINE: Sql = sql(
    "list a machine's reservations",
    "select address, mac, machine from reservation where machine = $1 order by address",
);
const ALL: Sql = sql("list all reservations", "select address, mac, machine from reservation order by address");

/// Keeps the address for this MAC in place of the one it had. `false` when another MAC has it: nothing changed.
pub async fn put(tx: &mut Tx, kept: &Reservation) -> Result<bool, Error> {
    if at(tx, kept.address).await?.is_some_and(|found| found.mac != kept.mac) {
        return Ok(false);
    }
    tx.run(DROP_MAC, cells![kept.mac]).await?;
    let added = tx.run(PUT, cells![i64::from(kept.address.to_bits()), kept.mac, kept.machine]).await?;
    Ok(added == 1)
}

/// What a machine had is free again.
pub async fn drop_of(tx: &mut Tx, machine: MachineId) -> Result<(), Error> {
    tx.run(DROP_OF, cells![machine]).await.map(drop)
}

pub async fn at(tx: &mut Tx, address: Ipv4Addr) -> Result<Option<Reservation>, Error> {
    tx.one(AT, cells![i64::from(address.to_bits())]).await?.as_ref().map(reservation).transpose()
}

pub async fn of_mac(tx: &mut Tx, mac: Mac) -> Result<Option<Reservation>, Error> {
    tx.one(OF_MAC, cells![mac]).await?.as_ref().map(reservation).transpose()
}

pub async fn of_machine(tx: &mut Tx, machine: MachineId) -> Result<Vec<Reservation>, Error> {
    tx.all(OF_MACHINE, cells![machine]).await?.iter().map(reservation).collect()
}

pub async fn all(tx: &mut Tx) -> Result<Vec<Reservation>, Error> {
    tx.all(ALL, cells![]).await?.iter().map(reservation).collect()
}

fn reservation(row: &Row) -> Result<Reservation, Error> {
    let address = u32::try_from(row.int("address")?).map_err(|found| row.damaged("address", found))?;
    Ok(Reservation { address: address.into(), mac: row.parse("mac")?, machine: row.parse("machine")? })
}
