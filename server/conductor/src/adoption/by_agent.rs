//! An account on a BMC whose password nobody knows: the agent inside its machine makes it, and the BMC is adopted with it.
//!
//! The password is written down, sealed, before the agent hears of it. What the agent says is that it was made; what
//! proves it is the login over the network, as with every other entry.

use super::adopt::refuse;
use super::{ByAgent, Ours};
use crate::error::store;
use crate::facts::Known;
use crate::passwords::fresh_password;
use crate::scribe::Write;
use crate::{Conductor, Error, body};
use muster_names::{Inventory, MachineId};
use muster_store::Tx;
use muster_store::bmc_adoption::{self, AwaitedRow, AwaitedState};
use muster_wire::{AccountMade, BmcAccount};

/// What our accounts are called.
const USER: &str = "muster";
/// What every BMC takes over its bus.
const LONGEST: usize = 16;

fn id_of(machine: MachineId) -> String {
    format!("agent/{machine}")
}

/// Pure: whether this machine's BMC is to get an account of ours by its agent.
fn wanted(machine: &Known, inventory: &Inventory) -> bool {
    let reached = inventory.bmc.as_ref().is_some_and(|bmc| bmc.address.is_some());
    machine.record.ours && machine.record.bmc.is_none() && reached
}

/// Makes an entry for the BMC that the machine's agent told of, if the site wants that and nobody named the BMC.
pub(crate) async fn begin(
    w: &mut Write<'_>,
    me: &Conductor,
    machine: &Known,
    inventory: &Inventory,
) -> Result<(), Error> {
    let id = id_of(machine.record.id);
    if !me.settings.bmc_accounts || !wanted(machine, inventory) {
        return Ok(());
    }
    if bmc_adoption::awaited_of(w.tx, &id).await.map_err(store)?.is_some() {
        return Ok(());
    }
    let secret = fresh_password(LONGEST).map_err(Error::refused)?;
    let ours = Ours {
        user: USER.into(),
        machine: Some(machine.record.name.clone()),
        serial: machine.record.serial.clone(),
        by: "agent".into(),
        agent: Some(ByAgent { machine: machine.record.id, made: false }),
        ..Ours::default()
    };
    let sealed = me.vault.seal_awaited(&id, USER, &secret)?;
    let row = AwaitedRow {
        state: AwaitedState::Awaited,
        due: w.now,
        made: w.now,
        machine: None,
        body: body::write("awaited bmc", &id, &ours)?,
        sealed,
        id,
    };
    bmc_adoption::put_awaited(w.tx, &row).await.map_err(store)
}

/// The account that a machine's agent shall make, until it has said what became of it.
pub(crate) async fn account(tx: &mut Tx, me: &Conductor, machine: MachineId) -> Result<Option<BmcAccount>, Error> {
    let row = bmc_adoption::awaited_of(tx, &id_of(machine)).await.map_err(store)?;
    let Some(row) = row.filter(|row| row.state == AwaitedState::Awaited) else { return Ok(None) };
    let ours: Ours = body::read("awaited bmc", &row.id, &row.body)?;
    if ours.agent.is_none_or(|agent| agent.made) {
        return Ok(None);
    }
    // One that does not open is made anew by whoever drops the entry.
    let opened = me.vault.open_awaited(&row.id, &ours.user, &row.sealed);
    Ok(opened.ok().map(|secret| BmcAccount { user: ours.user, password: secret.reveal().to_owned() }))
}

/// What its agent says of it.
pub(crate) async fn answered(
    w: &mut Write<'_>,
    me: &Conductor,
    machine: MachineId,
    made: AccountMade,
) -> Result<(), Error> {
    let row = bmc_adoption::awaited_of(w.tx, &id_of(machine)).await.map_err(store)?;
    let Some(row) = row.filter(|row| row.state == AwaitedState::Awaited) else { return Ok(()) };
    let mut ours: Ours = body::read("awaited bmc", &row.id, &row.body)?;
    match made {
        AccountMade::Failed(why) => refuse(w, row, ours, format!("its agent made no account: {why}")).await,
        AccountMade::Made => {
            ours.agent = Some(ByAgent { machine, made: true });
            let body = body::write("awaited bmc", &row.id, &ours)?;
            bmc_adoption::put_awaited(w.tx, &AwaitedRow { body, due: w.now, ..row }).await.map_err(store)?;
            me.adoption.notify_one();
            Ok(())
        }
    }
}
