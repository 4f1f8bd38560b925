//! The ledger as `diagnosis` reads it: acts under way and those of the last hour, with rack and requester.

use crate::error::store;
use crate::scribe::Write;
use crate::{Error, body};
use muster_diagnosis::{Ledger, Spent, Weight};
use muster_names::{Key, MachineId, Millis, Subject};
use muster_store::{ActRow, Freeze, acts, machines};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const HOUR_MS: i64 = 3_600_000;

#[derive(Deserialize)]
struct Requested {
    #[serde(default)]
    requester: String,
}

/// Call after `lock_ledger`, in the transaction that claims. `except`: taking over an act is not a second one.
pub(crate) async fn read(w: &mut Write<'_>, freeze: &Freeze, except: &Key) -> Result<Ledger, Error> {
    let mut rows = acts::in_flight(w.tx).await.map_err(store)?;
    let running = rows.len();
    rows.extend(acts::finished_since(w.tx, Millis(w.now.0.saturating_sub(HOUR_MS))).await.map_err(store)?);
    let mut racks: BTreeMap<MachineId, Option<String>> = BTreeMap::new();
    let mut spent = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let (Subject::Machine(machine), Some(weight)) = (row.key.of, Weight::from_label(&row.weight)) else { continue };
        // An act that was superseded or turned away before it was sent cost nothing.
        if row.attempts == 0 || row.key == *except {
            continue;
        }
        if let Entry::Vacant(free) = racks.entry(machine) {
            let place = machines::get(w.tx, machine).await.map_err(store)?.and_then(|record| record.place);
            free.insert(place.map(|place| format!("{}/{}", place.site, place.rack)));
        }
        let rack = racks.get(&machine).cloned().flatten();
        spent.push(entry(row, machine, rack, weight, index < running)?);
    }
    let fleet = u32::try_from(machines::count_ours(w.tx).await.map_err(store)?).unwrap_or(u32::MAX);
    Ok(Ledger { frozen: freeze.frozen.then(|| freeze.why.clone()), spent, fleet })
}

fn entry(
    row: &ActRow,
    machine: MachineId,
    rack: Option<String>,
    weight: Weight,
    in_flight: bool,
) -> Result<Spent, Error> {
    let requested: Requested = body::read("act", &row.key, &row.body)?;
    let owner = row.owner.word().to_string();
    Ok(Spent { machine, rack, requester: requested.requester, weight, owner, began: row.created, in_flight })
}
