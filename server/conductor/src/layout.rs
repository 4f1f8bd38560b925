//! Rack layouts become records: what a layout names is ours, and waits to be seen.
//!
//! Nothing is ever removed by a layout that forgot it: a person retires machines.

use crate::apply::{self, Happened};
use crate::body::{self, Kept};
use crate::error::store;
use crate::scribe::Write;
use crate::{Conductor, Error, rim};
use muster_catalog::{Catalog, Placed};
use muster_lifecycle::machine::{Event, Machine};
use muster_names::MachineId;
use muster_store::machines;
use std::sync::Arc;

impl Conductor {
    /// Brings the records up to the layouts in force. Answers how many machines are new.
    pub async fn follow_layouts(self: &Arc<Self>) -> Result<usize, Error> {
        let me = self.clone();
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let catalog = me.catalog();
                    let mut new = 0;
                    for placed in catalog.machines() {
                        new += usize::from(follow(&mut w, &catalog, placed).await?);
                    }
                    Ok(new)
                })
            })
            .await
    }
}

async fn follow(w: &mut Write<'_>, catalog: &Catalog, placed: Placed<'_>) -> Result<bool, Error> {
    let found = find(w, placed).await?;
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
    // One that was adopted is ours without the layout.
    if placed.machine.bmc.is_some() || kept.adopted.is_none() {
        record.bmc = placed.machine.bmc.as_ref().map(|bmc| body::write("bmc", &record.id, bmc)).transpose()?;
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

/// By MAC, by serial, by name: whatever the layout tells.
async fn find(w: &mut Write<'_>, placed: Placed<'_>) -> Result<Option<muster_store::Machine>, Error> {
    for mac in &placed.machine.macs {
        if let Some(found) = machines::by_mac(w.tx, *mac).await.map_err(store)? {
            return Ok(Some(found));
        }
    }
    if let Some(found) = machines::by_name(w.tx, &placed.machine.name).await.map_err(store)? {
        return Ok(Some(found));
    }
    let Some(serial) = &placed.machine.serial else { return Ok(None) };
    Ok(match machines::by_serial(w.tx, serial).await.map_err(store)?.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    })
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
