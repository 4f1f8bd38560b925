//! Machines as known, and their MACs. A MAC belongs to at most one machine; a serial or a UUID may be cloned.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql};
use crate::tx::Tx;
use muster_names::{Mac, MachineId, Millis, Place};
use serde::{Deserialize, Serialize};

/// A machine's facts; its state is in [`crate::subjects`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub id: MachineId,
    /// Unique; how people call it.
    pub name: String,
    pub serial: Option<String>,
    pub uuid: Option<String>,
    /// Marked as ours by a manifest, a layout or a person; what is not is only watched.
    pub ours: bool,
    pub place: Option<Place>,
    /// The model file it was identified by.
    pub model: Option<String>,
    /// JSON: how to reach its BMC.
    pub bmc: Option<String>,
    /// JSON: the newest inventory.
    pub inventory: Option<String>,
    pub inventory_at: Option<Millis>,
    /// JSON: last boot id, mode, version, seen at.
    pub agent: Option<String>,
    pub created: Millis,
    /// JSON: what the caller keeps besides.
    pub data: String,
}

macro_rules! machine_select {
    ($rest:literal) => {
        concat!(
            "select machine.id, machine.name, machine.serial, machine.uuid, machine.ours, machine.site, ",
            "machine.rack, machine.u, machine.model, machine.bmc, machine.inventory, machine.inventory_at, ",
            "machine.agent, machine.created, machine.data from machine ",
            $rest
        )
    };
}

const PUT: Sql = sql(
    "keep a machine",
    "insert into machine (id, name, serial, uuid, ours, site, rack, u, model, bmc, inventory, inventory_at, agent, \
     created, data) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     on conflict (id) do update set name = excluded.name, serial = excluded.serial, uuid = excluded.uuid, \
     ours = excluded.ours, site = excluded.site, rack = excluded.rack, u = excluded.u, model = excluded.model, \
     bmc = excluded.bmc, inventory = excluded.inventory, inventory_at = excluded.inventory_at, \
     agent = excluded.agent, data = excluded.data",
);
const GET: Sql = sql("read a machine", machine_select!("where id = $1"));
const BY_NAME: Sql = sql("find a machine by name", machine_select!("where name = $1"));
const BY_MAC: Sql = sql(
    "find a machine by MAC",
    machine_select!("join machine_mac on machine_mac.machine = machine.id where machine_mac.mac = $1"),
);
const BY_SERIAL: Sql = sql("find machines by serial", machine_select!("where serial = $1 order by id"));
const BY_UUID: Sql = sql("find machines by UUID", machine_select!("where uuid = $1 order by id"));
const BY_PLACE: Sql =
    sql("find machines by place", machine_select!("where site = $1 and rack = $2 and u = $3 order by id"));
const LIST: Sql = sql("list machines", machine_select!("where name > $1 order by name limit $2"));
const COUNT: Sql = sql("count machines", "select count(*) as n from machine");
const COUNT_OURS: Sql = sql("count our machines", "select count(*) as n from machine where ours <> 0");
const OURS_WITH_BMC: Sql = sql(
    "list our machines that have a BMC",
    "select machine.id, machine.bmc from machine join subject on subject.subject = 'machine/' || machine.id \
     where machine.ours <> 0 and machine.bmc is not null and subject.label <> 'retired' order by machine.id",
);
const MACS_OF: Sql = sql("list a machine's MACs", "select mac from machine_mac where machine = $1 order by mac");
const ALL_MACS: Sql = sql("list all MACs", "select mac, machine from machine_mac order by mac");
const OWNER_OF: Sql = sql("find a MAC's machine", "select machine from machine_mac where mac = $1");
const DROP_MACS: Sql = sql("drop a machine's MACs", "delete from machine_mac where machine = $1");
const ADD_MAC: Sql = sql("keep a MAC", "insert into machine_mac (mac, machine) values ($1, $2) on conflict do nothing");

/// Keeps a machine, new or changed. `created` stays as it was first. A name another machine has is [`Error::Exists`].
pub async fn put(tx: &mut Tx, machine: &Machine) -> Result<(), Error> {
    if by_name(tx, &machine.name).await?.is_some_and(|other| other.id != machine.id) {
        return Err(Error::Exists { what: "machine", key: machine.name.clone() });
    }
    let place = machine.place.as_ref();
    let row = cells![
        machine.id,
        &machine.name,
        machine.serial.as_deref(),
        machine.uuid.as_deref(),
        machine.ours,
        place.map(|place| place.site.as_str()),
        place.map(|place| place.rack.as_str()),
        place.map(|place| i64::from(place.u)),
        machine.model.as_deref(),
        machine.bmc.as_deref(),
        machine.inventory.as_deref(),
        machine.inventory_at,
        machine.agent.as_deref(),
        machine.created,
        &machine.data,
    ];
    tx.run(PUT, row).await.map(drop)
}

pub async fn get(tx: &mut Tx, id: MachineId) -> Result<Option<Machine>, Error> {
    tx.one(GET, cells![id]).await?.as_ref().map(machine).transpose()
}

pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<Machine>, Error> {
    tx.one(BY_NAME, cells![name]).await?.as_ref().map(machine).transpose()
}

pub async fn by_mac(tx: &mut Tx, mac: Mac) -> Result<Option<Machine>, Error> {
    tx.one(BY_MAC, cells![mac]).await?.as_ref().map(machine).transpose()
}

/// All machines that claim this serial: cloned ones exist.
pub async fn by_serial(tx: &mut Tx, serial: &str) -> Result<Vec<Machine>, Error> {
    tx.all(BY_SERIAL, cells![serial]).await?.iter().map(machine).collect()
}

/// All machines that claim this UUID: cloned ones exist.
pub async fn by_uuid(tx: &mut Tx, uuid: &str) -> Result<Vec<Machine>, Error> {
    tx.all(BY_UUID, cells![uuid]).await?.iter().map(machine).collect()
}

/// All machines in one U: nodes of one chassis share it.
pub async fn by_place(tx: &mut Tx, place: &Place) -> Result<Vec<Machine>, Error> {
    tx.all(BY_PLACE, cells![&place.site, &place.rack, i64::from(place.u)]).await?.iter().map(machine).collect()
}

/// Machines by name, after a name; begin with `""`.
pub async fn list(tx: &mut Tx, after_name: &str, limit: u32) -> Result<Vec<Machine>, Error> {
    tx.all(LIST, cells![after_name, i64::from(limit)]).await?.iter().map(machine).collect()
}

pub async fn count(tx: &mut Tx) -> Result<i64, Error> {
    tx.one(COUNT, cells![]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// Machines that somebody marked as ours: strangers, of which anybody can make many, are none of them.
/// Those that are ours, have a BMC and are not retired, with how it is reached (JSON).
pub async fn ours_with_bmc(tx: &mut Tx) -> Result<Vec<(MachineId, String)>, Error> {
    tx.all(OURS_WITH_BMC, cells![]).await?.iter().map(|row| Ok((row.parse("id")?, row.text("bmc")?))).collect()
}

pub async fn count_ours(tx: &mut Tx) -> Result<i64, Error> {
    tx.one(COUNT_OURS, cells![]).await?.map_or(Ok(0), |row| row.int("n"))
}

pub async fn macs_of(tx: &mut Tx, id: MachineId) -> Result<Vec<Mac>, Error> {
    tx.all(MACS_OF, cells![id]).await?.iter().map(|row| row.parse("mac")).collect()
}

/// Every MAC that belongs to a machine, for the boot path's view in memory.
pub async fn all_macs(tx: &mut Tx) -> Result<Vec<(Mac, MachineId)>, Error> {
    let rows = tx.all(ALL_MACS, cells![]).await?;
    rows.iter().map(|row| Ok((row.parse("mac")?, row.parse("machine")?))).collect()
}

/// Sets a machine's MACs as a whole. A MAC of another machine is [`Error::MacTaken`], and nothing changes.
pub async fn set_macs(tx: &mut Tx, id: MachineId, macs: &[Mac]) -> Result<(), Error> {
    for mac in macs {
        owner_is(tx, *mac, id).await?;
    }
    tx.run(DROP_MACS, cells![id]).await?;
    for mac in macs {
        if tx.run(ADD_MAC, cells![*mac, id]).await? == 0 {
            // Twice in the list, or another daemon was faster.
            owner_is(tx, *mac, id).await?;
        }
    }
    Ok(())
}

async fn owner_is(tx: &mut Tx, mac: Mac, id: MachineId) -> Result<(), Error> {
    match tx.one(OWNER_OF, cells![mac]).await? {
        None => Ok(()),
        Some(row) => match row.parse("machine")? {
            by if by == id => Ok(()),
            by => Err(Error::MacTaken { mac, by }),
        },
    }
}

fn machine(row: &Row) -> Result<Machine, Error> {
    let place = match (row.text_or_null("site")?, row.text_or_null("rack")?, row.int_or_null("u")?) {
        (Some(site), Some(rack), Some(u)) => {
            Some(Place { site, rack, u: u8::try_from(u).map_err(|found| row.damaged("u", found))? })
        }
        _ => None,
    };
    Ok(Machine {
        id: row.parse("id")?,
        name: row.text("name")?,
        serial: row.text_or_null("serial")?,
        uuid: row.text_or_null("uuid")?,
        ours: row.flag("ours")?,
        place,
        model: row.text_or_null("model")?,
        bmc: row.text_or_null("bmc")?,
        inventory: row.text_or_null("inventory")?,
        inventory_at: row.millis_or_null("inventory_at")?,
        agent: row.text_or_null("agent")?,
        created: row.millis("created")?,
        data: row.text("data")?,
    })
}
