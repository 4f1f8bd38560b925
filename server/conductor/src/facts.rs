//! What `lifecycle` may know of a machine beside its state, read in the transaction that decides.

use crate::body::{self, Kept};
use crate::error::store;
use crate::{Error, OrderBody};
use muster_catalog::{Catalog, usable_for_writes};
use muster_lifecycle::machine::{Facts, Limits, Machine, OpenOrder};
use muster_names::{Epoch, FirmwareMode, MachineId, Subject, Way};
use muster_store::{PermitState, Stored, Tx, machines, orders, subjects};
use std::time::Duration;

/// A machine with everything a decision needs.
pub struct Known {
    pub record: muster_store::Machine,
    pub kept: Kept,
    pub stored: Stored,
    pub state: Machine,
    pub facts: Facts,
    /// The ways into it, of its model, in their order.
    pub ways: Vec<Way>,
}

/// The version of the state's JSON.
pub const STATE_VERSION: i64 = 1;

pub async fn known(tx: &mut Tx, catalog: &Catalog, id: MachineId) -> Result<Known, Error> {
    let record = machines::get(tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
    let stored = subjects::load(tx, Subject::Machine(id)).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
    let state = body::read("state", &id, &stored.state)?;
    let kept: Kept = body::read("record", &id, &record.data)?;
    let order = match orders::open_order_of(tx, id).await.map_err(store)? {
        Some(order) => {
            let frozen: OrderBody = body::read("order", &order.id, &order.body)?;
            let begun = order.permit != PermitState::Open;
            Some(OpenOrder { order: order.id, reimage: frozen.reimage, begun })
        }
        None => None,
    };
    let model = record.model.as_deref().or(kept.expected_model.as_deref());
    let ways = ways(catalog, model, kept.firmware_mode);
    let facts = Facts {
        epoch: stored.epoch,
        limits: limits(catalog, model, ways.len()),
        bmc: record.ours && record.bmc.is_some(),
        order,
        case: kept.case.as_ref().map(|fault| fault.case),
        hold: kept.hold.is_some(),
        retire: kept.retire,
    };
    Ok(Known { record, kept, stored, state, facts, ways })
}

/// Why this machine may be looked at and nothing more: what is known of its model was made up, not captured or
/// documented, so a wrong root disk or a wrong BMC's habit would be found by destroying something.
pub fn shadow(catalog: &Catalog, machine: &Known) -> Option<String> {
    let advice = "put captured or documented evidence into it (muster model learn)";
    let access: Option<crate::BmcBody> = machine.record.bmc.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let own = access.and_then(|access| access.profile).and_then(|id| catalog.bmc_profile(&id));
    if let Some(own) = own.filter(|own| !usable_for_writes(&own.evidence)) {
        return Some(format!(
            "its BMC profile {} rests on synthetic evidence, so it is only looked at; {advice}",
            own.id
        ));
    }
    let model = machine.record.model.as_deref().or(machine.kept.expected_model.as_deref())?;
    let model = catalog.model(model)?;
    if !usable_for_writes(&model.evidence) {
        return Some(format!("its model {} rests on synthetic evidence, so it is only looked at; {advice}", model.id));
    }
    let profile = catalog.bmc_profile(&model.bmc.profile)?;
    (!usable_for_writes(&profile.evidence)).then(|| {
        format!("its BMC profile {} rests on synthetic evidence, so it is only looked at; {advice}", profile.id)
    })
}

/// Reads the state alone, where only the epoch or the label matters.
pub async fn state_of(tx: &mut Tx, id: MachineId) -> Result<(Machine, Epoch), Error> {
    let stored = subjects::load(tx, Subject::Machine(id)).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
    Ok((body::read("state", &id, &stored.state)?, stored.epoch))
}

/// What came up under BIOS has no HTTP boot.
fn ways(catalog: &Catalog, model: Option<&str>, mode: Option<FirmwareMode>) -> Vec<Way> {
    let model = model.and_then(|id| catalog.model(id));
    let fits = |way: &Way| *way != Way::Http || mode != Some(FirmwareMode::Bios);
    let ways: Vec<Way> = model.map(|model| model.boot.ways.iter().copied().filter(fits).collect()).unwrap_or_default();
    if ways.is_empty() { vec![Way::Pxe] } else { ways }
}

/// Each way has at least one attempt before a person is asked.
fn limits(catalog: &Catalog, model: Option<&str>, ways: usize) -> Limits {
    let Some(model) = model.and_then(|id| catalog.model(id)) else { return Limits::default() };
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    let few = |n: u32| u8::try_from(n).unwrap_or(u8::MAX).max(1);
    let of = &model.limits;
    Limits {
        attempts: few(of.attempts.max(u32::try_from(ways).unwrap_or(u32::MAX))),
        repairs: few(of.repairs),
        discover: seconds(of.discover_seconds),
        commission: seconds(of.commission_seconds),
        install: seconds(of.install_seconds),
        check: seconds(of.check_seconds),
        drain: seconds(of.drain_seconds),
        wipe: seconds(of.release_seconds),
        ..Limits::default()
    }
}
