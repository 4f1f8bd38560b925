//! Rack layouts become records: what a layout names is ours, and waits to be seen.
//!
//! Nothing is ever removed by a layout that forgot it: a person retires machines.

use crate::adoption::{host, is_same};
use crate::apply::{self, Happened};
use crate::body::{self, Kept};
use crate::error::store;
use crate::scribe::Write;
use crate::watching::{FOREIGN, REFUSED};
use crate::{Conductor, Error, rim};
use muster_catalog::{BmcAccess, Catalog, Placed};
use muster_lifecycle::machine::{Event, Machine};
use muster_names::{MachineId, Subject};
use muster_store::{bmc_adoption, machines, tickets};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Conductor {
    /// Brings the records up to the layouts in force. Answers how many machines are new.
    pub async fn follow_layouts(self: &Arc<Self>) -> Result<usize, Error> {
        let me = self.clone();
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let catalog = me.catalog();
                    let adopted = adopted(&mut w).await?;
                    let mut new = 0;
                    for placed in catalog.machines() {
                        new += usize::from(follow(&mut w, &catalog, &adopted, placed).await?);
                    }
                    Ok(new)
                })
            })
            .await
    }
}

async fn follow(
    w: &mut Write<'_>,
    catalog: &Catalog,
    adopted: &BTreeMap<String, MachineId>,
    placed: Placed<'_>,
) -> Result<bool, Error> {
    let found = find(w, adopted, placed).await?;
    let new = found.is_none();
    let mut record = match found {
        Some(record) => record,
        None => blank(placed, w.now)?,
    };
    let mut kept: Kept = body::read("record", &record.id, &record.data)?;
    let before = (record.clone(), kept.clone());
    let was_ours = record.ours;
    record.ours = true;
    record.name.clone_from(&placed.machine.name);
    record.place = Some(placed.place());
    if placed.machine.serial.is_some() {
        record.serial.clone_from(&placed.machine.serial);
    }
    let reached = |text: Option<&str>| {
        let access: Option<BmcAccess> = text.and_then(|text| serde_json::from_str(text).ok());
        access.map(|access| host(&access.address))
    };
    let was_at = reached(record.bmc.as_deref());
    // One that was adopted is ours without the layout.
    if placed.machine.bmc.is_some() || kept.adopted.is_none() {
        record.bmc = placed.machine.bmc.as_ref().map(|bmc| body::write("bmc", &record.id, bmc)).transpose()?;
    }
    if !new && was_at != reached(record.bmc.as_deref()) {
        forget_refusal(w, record.id).await?;
    }
    kept.expected_model = Some(placed.machine.model.clone());
    if new {
        record.data = body::write("record", &record.id, &kept)?;
        apply::begin(w, &record, Machine::expected(), "layout").await?;
    } else if before != (record.clone(), kept.clone()) {
        apply::keep(w, &mut record, &kept).await?;
    }
    if !placed.machine.macs.is_empty() {
        let mut macs = machines::macs_of(w.tx, record.id).await.map_err(store)?;
        let known = macs.len();
        macs.extend(&placed.machine.macs);
        macs.sort_unstable();
        macs.dedup();
        if macs.len() != known {
            machines::set_macs(w.tx, record.id, &macs).await.map_err(store)?;
        }
    }
    if !new && !was_ours {
        let cause = format!("layout/{}", record.name);
        let event = Happened { cause, actor: "layout", event: Event::Claimed, detail: serde_json::Value::Null };
        apply::apply(w, catalog, record.id, event).await?;
    }
    Ok(new)
}

/// A BMC that was refused for speaking for another machine is asked again once the layout names another address.
async fn forget_refusal(w: &mut Write<'_>, id: MachineId) -> Result<(), Error> {
    let row = bmc_adoption::pin_of(w.tx, id).await.map_err(store)?;
    if row.is_some_and(|row| row.pin.starts_with(REFUSED)) {
        bmc_adoption::drop_pin(w.tx, id).await.map_err(store)?;
        let proof = "the layout names another address";
        tickets::close_ticket(w.tx, Subject::Bmc(id), FOREIGN, proof, w.now).await.map_err(store)?;
    }
    Ok(())
}

/// By MAC, by serial, by name, by a BMC that was adopted: whatever the layout tells.
async fn find(
    w: &mut Write<'_>,
    adopted: &BTreeMap<String, MachineId>,
    placed: Placed<'_>,
) -> Result<Option<muster_store::Machine>, Error> {
    for mac in &placed.machine.macs {
        if let Some(found) = machines::by_mac(w.tx, *mac).await.map_err(store)? {
            return Ok(Some(found));
        }
    }
    if let Some(found) = machines::by_name(w.tx, &placed.machine.name).await.map_err(store)? {
        return Ok(Some(found));
    }
    if let Some(serial) = &placed.machine.serial
        && let [one] = machines::by_serial(w.tx, serial).await.map_err(store)?.as_slice()
    {
        return Ok(Some(one.clone()));
    }
    let at = placed.machine.bmc.as_ref().and_then(|bmc| adopted.get(&host(&bmc.address)));
    let Some(id) = at else { return Ok(None) };
    let record = machines::get(w.tx, *id).await.map_err(store)?;
    let another = |record: &muster_store::Machine| match (&record.serial, &placed.machine.serial) {
        (Some(known), Some(said)) => !is_same(known, said),
        (None, _) | (_, None) => false,
    };
    Ok(record.filter(|record| !another(record)))
}

/// Machines whose BMC came without a layout, by its host: two machines with one BMC would switch one another off.
async fn adopted(w: &mut Write<'_>) -> Result<BTreeMap<String, MachineId>, Error> {
    let all = machines::ours_with_bmc(w.tx).await.map_err(store)?;
    let of = |(id, text): (MachineId, String)| {
        let access: BmcAccess = serde_json::from_str(&text).ok()?;
        access.password_file.is_none().then(|| (host(&access.address), id))
    };
    Ok(all.into_iter().filter_map(of).collect())
}

fn blank(placed: Placed<'_>, now: muster_names::Millis) -> Result<muster_store::Machine, Error> {
    let id = MachineId(rim::fresh_id()?);
    Ok(muster_store::Machine {
        id,
        name: placed.machine.name.clone(),
        serial: None,
        uuid: None,
        ours: true,
        place: None,
        model: None,
        bmc: None,
        inventory: None,
        inventory_at: None,
        agent: None,
        created: now,
        data: body::write("record", &id, &Kept::default())?,
    })
}
