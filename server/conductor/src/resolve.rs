//! Which machine is this? An agent's inventory names a serial, a UUID, MACs and a switch port; none of them alone is
//! proof, as vendors clone UUIDs, boards are swapped and layouts name what they know.
//!
//! Turned down: the UUID as key (cloned by vendors), and "first come" (two machines with one serial would share a life).

use crate::apply::{self, Happened};
use crate::body::{self, Kept};
use crate::error::store;
use crate::scribe::Write;
use crate::{Error, rim};
use muster_catalog::{Catalog, Placed, Witness};
use muster_lifecycle::machine::{At, Event, Machine};
use muster_names::{Inventory, Mac, MachineId, SwitchPort};
use muster_store::machines;

/// What an inventory says of who the machine is.
#[derive(Debug, PartialEq, Eq)]
pub enum Who {
    /// This record, as before.
    Known(MachineId),
    /// A record of ours that was waiting for this machine.
    Awaited(MachineId),
    /// Another machine claims what belongs to this record.
    Clash {
        with: MachineId,
        why: String,
    },
    Stranger,
}

/// What the records say: all that `who` decides on.
#[derive(Debug, Default)]
pub struct Records {
    /// The machine each of its MACs belongs to.
    pub by_mac: Vec<MachineId>,
    /// Ours with this serial, with the MACs known of it.
    pub by_serial: Vec<(MachineId, Vec<Mac>)>,
    /// Ours at the switch port it hangs on, when the layout tells neither serial nor MAC of it.
    pub by_port: Option<(MachineId, Vec<Mac>)>,
}

/// Pure: who is it, by what the records say?
pub fn who(records: &Records, macs: &[Mac]) -> Who {
    let mut owners = records.by_mac.clone();
    owners.sort_unstable();
    owners.dedup();
    match owners.as_slice() {
        [one] => {
            return match records.by_serial.iter().find(|(id, _)| id != one) {
                Some((other, _)) => Who::Clash {
                    with: *other,
                    why: format!("its MACs belong to machine {one}, its serial to machine {other}"),
                },
                None => Who::Known(*one),
            };
        }
        [one, two, ..] => {
            return Who::Clash { with: *one, why: format!("its MACs belong to two machines, {one} and {two}") };
        }
        [] => {}
    }
    let waiting = |known: &[Mac]| known.is_empty() || known.iter().any(|mac| macs.contains(mac));
    match records.by_serial.as_slice() {
        [(id, known)] if waiting(known) => Who::Awaited(*id),
        [(id, _)] => Who::Clash {
            with: *id,
            why: format!(
                "machine {id} has the same serial and other MACs: two machines with one identity, or a swapped board"
            ),
        },
        [(id, _), ..] => Who::Clash { with: *id, why: "several machines of ours carry its serial".into() },
        [] => match &records.by_port {
            Some((id, known)) if waiting(known) => Who::Awaited(*id),
            _ => Who::Stranger,
        },
    }
}

/// Finds or makes the record for an inventory. `Err` in the pair is a clash: the machine gets no record of its own life
/// until a person has looked.
pub async fn resolve(
    w: &mut Write<'_>,
    catalog: &Catalog,
    inventory: &Inventory,
    ports: &[(Witness, SwitchPort)],
    token_of: Option<MachineId>,
    cause: &str,
) -> Result<Result<MachineId, (Option<MachineId>, String)>, Error> {
    let mut macs: Vec<Mac> = inventory.macs().collect();
    macs.sort_unstable();
    macs.dedup();
    let records = records(w, catalog, inventory, ports, &macs).await?;
    let who = match who(&records, &macs) {
        Who::Known(id) => {
            doubted(w, inventory, id, token_of).await?.map_or(Who::Known(id), |why| Who::Clash { with: id, why })
        }
        who => who,
    };
    Ok(match who {
        Who::Known(id) | Who::Awaited(id) => {
            let held = machines::macs_of(w.tx, id).await.map_err(store)?;
            if held != macs && !macs.is_empty() {
                let mut all = held;
                all.extend(&macs);
                all.sort_unstable();
                all.dedup();
                machines::set_macs(w.tx, id, &all).await.map_err(store)?;
            }
            Ok(id)
        }
        Who::Clash { with, why } => {
            // Each time anew: a second attempt after a person has looked is news.
            let cause = format!("{cause}/clash");
            let detail = serde_json::json!({ "why": why, "macs": macs });
            let event = Happened { cause, actor: "agent", event: Event::ImpostorSeen, detail };
            apply::apply(w, catalog, with, event).await?;
            Err((Some(with), why))
        }
        Who::Stranger if strangers(w).await? >= MOST_STRANGERS => {
            Err((None, format!("{MOST_STRANGERS} machines that nobody marked as ours are known already")))
        }
        Who::Stranger => Ok(observe(w, inventory, &macs).await?),
    })
}

/// Anybody can make strangers, one with each invented MAC.
const MOST_STRANGERS: i64 = 4_096;

async fn strangers(w: &mut Write<'_>) -> Result<i64, Error> {
    let all = machines::count(w.tx).await.map_err(store)?;
    Ok(all.saturating_sub(machines::count_ours(w.tx).await.map_err(store)?))
}

/// Why a machine that names a record's MACs is not it all the same. Its MACs and serial stand on its lid; a boot that
/// this machine's MAC never asked for can become it only while it waits to be looked at.
async fn doubted(
    w: &mut Write<'_>,
    inventory: &Inventory,
    id: MachineId,
    token_of: Option<MachineId>,
) -> Result<Option<String>, Error> {
    let Some(record) = machines::get(w.tx, id).await.map_err(store)? else { return Ok(None) };
    if let (true, Some(known), Some(said)) = (record.ours, &record.serial, &inventory.system.serial)
        && known != said
    {
        return Ok(Some(format!(
            "its MACs are those of machine {id}, whose serial is {known}, and it says {said}: a swapped board, or another machine"
        )));
    }
    if token_of.is_some() {
        return Ok(None);
    }
    let (state, _) = crate::facts::state_of(w.tx, id).await?;
    let waits = matches!(state.at, At::Observed | At::Expected | At::Discovering { .. } | At::Unidentified);
    Ok((!waits)
        .then(|| format!("it booted as a stranger and says that it is machine {id}, which is {}", state.label())))
}

async fn records(
    w: &mut Write<'_>,
    catalog: &Catalog,
    inventory: &Inventory,
    ports: &[(Witness, SwitchPort)],
    macs: &[Mac],
) -> Result<Records, Error> {
    let mut records = Records::default();
    for mac in macs {
        if let Some(found) = machines::by_mac(w.tx, *mac).await.map_err(store)? {
            records.by_mac.push(found.id);
        }
    }
    if let Some(serial) = &inventory.system.serial {
        for found in machines::by_serial(w.tx, serial).await.map_err(store)? {
            if found.ours {
                let known = machines::macs_of(w.tx, found.id).await.map_err(store)?;
                records.by_serial.push((found.id, known));
            }
        }
    }
    let placed: Option<Placed<'_>> = ports.iter().find_map(|(_, port)| catalog.machine_by_port(port));
    if let Some(placed) = placed.filter(|p| p.machine.serial.is_none() && p.machine.macs.is_empty())
        && let Some(found) = machines::by_name(w.tx, &placed.machine.name).await.map_err(store)?
    {
        let known = machines::macs_of(w.tx, found.id).await.map_err(store)?;
        records.by_port = Some((found.id, known));
    }
    Ok(records)
}

/// A record for a machine nobody marked as ours.
async fn observe(w: &mut Write<'_>, inventory: &Inventory, macs: &[Mac]) -> Result<MachineId, Error> {
    let id = MachineId(rim::fresh_id()?);
    let mac = macs.first().map_or_else(|| id.to_string(), Mac::dashed);
    let record = muster_store::Machine {
        id,
        name: format!("observed-{mac}"),
        serial: inventory.system.serial.clone(),
        uuid: inventory.system.uuid.clone(),
        ours: false,
        place: None,
        model: None,
        bmc: None,
        inventory: None,
        inventory_at: None,
        agent: None,
        created: w.now,
        data: body::write("record", &id, &Kept::default())?,
    };
    apply::begin(w, &record, Machine::observed(), "agent").await?;
    machines::set_macs(w.tx, id, macs).await.map_err(store)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MachineId = MachineId(1);
    const B: MachineId = MachineId(2);

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_machine_is_known_by_its_macs() {
        let records = Records { by_mac: vec![A, A], by_serial: vec![(A, vec![mac(1)])], by_port: None };
        assert_eq!(who(&records, &[mac(1), mac(2)]), Who::Known(A));
    }

    #[test]
    fn a_layout_entry_with_a_serial_and_no_mac_waits_for_its_machine() {
        let records = Records { by_serial: vec![(A, vec![])], ..Records::default() };
        assert_eq!(who(&records, &[mac(1)]), Who::Awaited(A));
    }

    #[test]
    fn two_machines_with_one_serial_clash_instead_of_sharing_a_life() {
        let records = Records { by_serial: vec![(A, vec![mac(1)])], ..Records::default() };
        assert!(matches!(who(&records, &[mac(2)]), Who::Clash { with: A, .. }));
        let records = Records { by_mac: vec![B], by_serial: vec![(A, vec![])], by_port: None };
        assert!(matches!(who(&records, &[mac(2)]), Who::Clash { with: A, .. }));
        let records = Records { by_mac: vec![A, B], ..Records::default() };
        assert!(matches!(who(&records, &[mac(1), mac(2)]), Who::Clash { with: A, .. }));
    }

    #[test]
    fn a_port_names_a_machine_only_where_the_layout_knows_nothing_better() {
        let records = Records { by_port: Some((A, vec![])), ..Records::default() };
        assert_eq!(who(&records, &[mac(1)]), Who::Awaited(A));
        let records = Records { by_port: Some((A, vec![mac(9)])), ..Records::default() };
        assert_eq!(who(&records, &[mac(1)]), Who::Stranger);
        assert_eq!(who(&Records::default(), &[mac(1)]), Who::Stranger);
    }
}
