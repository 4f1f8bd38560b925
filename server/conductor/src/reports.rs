//! What each report of an agent means for the machine's life. Reports are evidence; `lifecycle` decides.

use crate::adoption::by_agent;
use crate::apply::{self, Happened, WRITE_SLOT};
use crate::body::{self, OrderBody};
use crate::error::store;
use crate::facts::known;
use crate::scribe::Write;
use crate::session::Session;
use crate::{Conductor, Error, clean, resolve};
use muster_catalog::{Difference, Identified, Located, Signs, Witness, identify, locate};
use muster_lifecycle::machine::{At, Check, Event, Outcome};
use muster_names::{Digest, Epoch, Inventory, Key, MachineId, OrderId, Subject};
use muster_store::{End, acts, boot_tokens, machines, orders};
use muster_wire::{Checked, InstallFailure, Installed, Mode, Numbered, Report, Turn, Wiped};
use serde_json::json;

pub(crate) async fn take(
    w: &mut Write<'_>,
    me: &Conductor,
    session: &mut Session,
    token: Digest,
    turn: &Turn,
    numbered: Numbered,
) -> Result<(), Error> {
    let cause = format!("boot/{}/{}", turn.boot_id, numbered.seq);
    if let Report::Inventory { inventory } = numbered.report {
        return inventory_reported(w, me, session, token, turn.mode, &cause, *inventory).await;
    }
    // Without a record there is nothing to report about: the agent's first inventory makes one.
    let Some(id) = session.machine else { return Ok(()) };
    if let Err(why) = heard(w, me, id, session, turn.mode, &numbered.report).await? {
        let detail = json!({ "why": why, "mode": turn.mode, "report": numbered.report });
        return apply::note(w, id, &cause, "report-refused", "agent", detail).await.map(drop);
    }
    match numbered.report {
        Report::Started(started) => {
            let detail = json!({ "mode": turn.mode, "version": turn.version, "kernel-ms": started.kernel_ms,
                "firmware-mode": started.firmware_mode });
            apply::note(w, id, &cause, "agent-started", "agent", detail).await.map(drop)
        }
        Report::Inventory { .. } | Report::Unknown => {
            apply::note(w, id, &cause, "report-unknown", "agent", json!(null)).await.map(drop)
        }
        Report::Commissioned { epoch, figures, bmc_account } => {
            if let Some(made) = bmc_account {
                by_agent::answered(w, me, id, made).await?;
            }
            commissioned(w, me, id, cause, epoch, figures).await
        }
        Report::Installed(installed) => installed_reported(w, me, id, cause, installed).await,
        Report::InstallFailed { epoch, order, failure } => {
            end_write(w, id, epoch).await?;
            let outcome = outcome_of(&failure);
            let detail = json!({ "failure": failure });
            report(w, me, id, cause, Event::InstallReported { epoch, order, outcome }, detail).await
        }
        Report::Wiped(wiped) => wiped_reported(w, me, id, token, cause, wiped).await,
        Report::Checked(checked) => checked_reported(w, me, id, cause, *checked).await,
        Report::Stopped { epoch } => {
            // The word of an agent for a state that is over says nothing of what is written now.
            if crate::facts::state_of(w.tx, id).await?.1 == epoch {
                end_all_writes(w, id).await?;
            }
            report(w, me, id, cause, Event::Stopped { epoch }, json!(null)).await
        }
        Report::Refused { epoch, reason } => {
            let detail = json!({ "epoch": epoch, "reason": reason });
            apply::note(w, id, &cause, "agent-refused", "agent", detail).await.map(drop)
        }
    }
}

/// Whether a report counts, or why it does not.
async fn heard(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    session: &Session,
    mode: Mode,
    report: &Report,
) -> Result<Result<(), &'static str>, Error> {
    if !believed(mode, report) {
        return Ok(Err("this agent cannot know it"));
    }
    if session.doubted {
        return Ok(Err("a later boot of this machine has called, or this one claimed to be another machine"));
    }
    let (Report::Installed(Installed { epoch, .. })
    | Report::InstallFailed { epoch, .. }
    | Report::Wiped(Wiped { epoch, .. })) = report
    else {
        return Ok(Ok(()));
    };
    let machine = known(w.tx, &me.catalog(), id).await?;
    // An agent of an earlier boot was never given this order: what it says of it, somebody made up.
    let ordered = !machine.facts.bmc || session.boot_epoch == Some(*epoch);
    Ok(if ordered { Ok(()) } else { Err("this boot was not ordered for that") })
}

/// An installed system can be its owner's to forge: it cannot say that a disk was wiped or written.
fn believed(mode: Mode, report: &Report) -> bool {
    match report {
        Report::Commissioned { .. }
        | Report::Installed(_)
        | Report::InstallFailed { .. }
        | Report::Wiped(_)
        | Report::Stopped { .. } => mode == Mode::Ram,
        Report::Checked(_) => mode == Mode::Resident,
        Report::Started(_) | Report::Inventory { .. } | Report::Refused { .. } | Report::Unknown => true,
    }
}

async fn report(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    cause: String,
    event: Event,
    detail: serde_json::Value,
) -> Result<(), Error> {
    let happened = Happened { cause, actor: "agent", event, detail };
    apply::apply(w, &me.catalog(), id, happened).await.map(drop)
}

async fn inventory_reported(
    w: &mut Write<'_>,
    me: &Conductor,
    session: &mut Session,
    token: Digest,
    mode: Mode,
    cause: &str,
    inventory: Inventory,
) -> Result<(), Error> {
    if mode != Mode::Ram {
        return resident_inventory(w, me, session, cause, &inventory).await;
    }
    if inventory.nics.len() > clean::MOST_NICS {
        tracing::warn!(nics = inventory.nics.len(), "an inventory with more ports than any machine has is left alone");
        return Ok(());
    }
    let catalog = me.catalog();
    for nic in &inventory.nics {
        if let Some(neighbor) = &nic.neighbor {
            session.ports.retain(|(witness, _)| *witness != Witness::Lldp);
            session.ports.push((Witness::Lldp, neighbor.switch_port()));
        }
    }
    // The port it booted from: its script was asked for in this MAC's name.
    let booted = boot_tokens::lookup(w.tx, token).await.map_err(store)?.map(|row| row.mac);
    let booted = booted.filter(|mac| inventory.macs().any(|own| own == *mac));
    let relayed = match (inventory.macs().find_map(|mac| me.relay_port(mac)), booted) {
        (None, Some(mac)) => crate::timeline::noted_port(w.tx, mac).await?,
        (port, _) => port,
    };
    if let Some(port) = relayed {
        session.ports.retain(|(witness, _)| *witness != Witness::Option82);
        session.ports.push((Witness::Option82, port));
    }
    let id = match resolve::resolve(w, &catalog, &inventory, &session.ports, session.machine, cause).await? {
        Ok(id) => id,
        Err((with, why)) => {
            tracing::warn!(%why, "an agent claims an identity that belongs to another machine; it gets nothing to do");
            return match session.machine {
                Some(mine) if Some(mine) != with => doubt(w, me, session, token, mine, cause, why).await,
                Some(_) => distrust(w, session, token).await,
                None => Ok(()),
            };
        }
    };
    if let Some(other) = session.machine.filter(|other| *other != id) {
        // The token was made for one machine and its bearer says it is another: it gets nothing to do, and the machine
        // whose token it is waits for a person.
        let why = format!("its token was used by a machine that says it is {id}");
        return doubt(w, me, session, token, other, cause, why).await;
    }
    if session.machine.is_none() {
        session.machine = Some(id);
        boot_tokens::assign(w.tx, token, id).await.map_err(store)?;
        if session.boot_epoch.is_none() {
            let (_, epoch) = crate::facts::state_of(w.tx, id).await?;
            session.boot_epoch = Some(epoch);
        }
    }
    let mut machine = known(w.tx, &catalog, id).await?;
    let identified = identify(&catalog, &inventory);
    let (model, differences) = told(&identified, machine.kept.expected_model.as_deref());
    machine.kept.firmware_mode = inventory.firmware_mode;
    machine.kept.boot_mac = booted.or(machine.kept.boot_mac);
    machine.kept.differences.clone_from(&differences);
    machine.record.model = model.clone();
    machine.kept.ports.clone_from(&session.ports);
    machine.record.uuid.clone_from(&inventory.system.uuid);
    if machine.record.serial.is_none() {
        machine.record.serial.clone_from(&inventory.system.serial);
    }
    let signs = Signs {
        ports: session.ports.clone(),
        serial: inventory.system.serial.clone(),
        macs: inventory.macs().collect(),
    };
    let located = locate(&catalog, &signs);
    let detail = json!({ "model": model, "differences": differences, "located": located,
        "summary": summary(&inventory) });
    machine.kept.located = Some(located);
    // A stranger's agent may say what it likes: it shall not lead anybody's password to a place of its choice.
    if let Some(bmc) = inventory.bmc.as_ref().filter(|_| machine.record.ours) {
        me.agent_told_of_bmc(id, inventory.system.serial.clone(), bmc);
    }
    by_agent::begin(w, me, &machine, &inventory).await?;
    machine.record.inventory = Some(body::write("inventory", &id, &inventory)?);
    machine.record.inventory_at = Some(w.now);
    apply::keep(w, &mut machine.record, &machine.kept).await?;
    if machine.state.at == At::Expected {
        report(w, me, id, format!("{cause}/seen"), Event::Seen { dedicated: true }, json!(null)).await?;
    }
    report(w, me, id, cause.to_string(), Event::Identified { known: model.is_some() }, detail).await
}

/// What an installed system says of its hardware is evidence and no more: its owner may forge it, and orders name the
/// disks and the identity of the newest inventory. That comes from our own boot image alone.
async fn resident_inventory(
    w: &mut Write<'_>,
    me: &Conductor,
    session: &Session,
    cause: &str,
    inventory: &Inventory,
) -> Result<(), Error> {
    let Some(id) = session.machine else { return Ok(()) };
    let held = machines::macs_of(w.tx, id).await.map_err(store)?;
    if !held.is_empty() && !inventory.macs().any(|mac| held.contains(&mac)) {
        let detail = json!({ "why": "its installed system runs in a machine with other MACs", "macs": inventory.macs()
            .take(clean::MOST_NICS).collect::<Vec<_>>() });
        return report(w, me, id, format!("{cause}/impostor"), Event::ImpostorSeen, detail).await;
    }
    let detail = json!({ "summary": summary(inventory) });
    apply::note(w, id, cause, "inventory-reported", "agent", detail).await.map(drop)
}

/// The bearer of a machine's token says that it is another machine.
async fn doubt(
    w: &mut Write<'_>,
    me: &Conductor,
    session: &mut Session,
    token: Digest,
    machine: MachineId,
    cause: &str,
    why: String,
) -> Result<(), Error> {
    distrust(w, session, token).await?;
    report(w, me, machine, format!("{cause}/impostor"), Event::ImpostorSeen, json!({ "why": why })).await
}

/// From its next request on the token is turned away, after a restart too.
async fn distrust(w: &mut Write<'_>, session: &mut Session, token: Digest) -> Result<(), Error> {
    session.doubted = true;
    boot_tokens::revoke(w.tx, token, w.now).await.map(drop).map_err(store)
}

/// The model that fits, or where the nearest differs. A machine whose layout expects another model does not fit.
fn told(identified: &Identified, expected: Option<&str>) -> (Option<String>, Vec<Difference>) {
    match identified {
        Identified::Model(id) => match expected {
            Some(expected) if expected != id => {
                let difference =
                    Difference { path: "model".into(), expected: expected.into(), actual: Some(id.clone()) };
                (None, vec![difference])
            }
            _ => (Some(id.clone()), Vec::new()),
        },
        Identified::None { nearest: Some((_, differences)) } => (None, differences.clone()),
        Identified::None { nearest: None } => (None, Vec::new()),
        Identified::Ambiguous(ids) => {
            let difference =
                Difference { path: "model".into(), expected: "exactly one model".into(), actual: Some(ids.join(", ")) };
            (None, vec![difference])
        }
    }
}

fn summary(inventory: &Inventory) -> String {
    let memory: u64 = inventory.dimms.iter().map(|dimm| dimm.size_mib).sum();
    let threads: u32 = inventory.cpus.iter().map(|cpu| u32::from(cpu.threads)).sum();
    format!(
        "{} CPUs ({threads} threads), {} DIMMs ({memory} MiB), {} disks, {} NICs",
        inventory.cpus.len(),
        inventory.dimms.len(),
        inventory.disks.len(),
        inventory.nics.len()
    )
}

async fn commissioned(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    cause: String,
    epoch: Epoch,
    figures: Vec<muster_wire::Figure>,
) -> Result<(), Error> {
    let mut machine = known(w.tx, &me.catalog(), id).await?;
    let conflict = match &machine.kept.located {
        Some(Located::Conflict(text)) => Some(text.clone()),
        _ => None,
    };
    machine.kept.figures.clone_from(&figures);
    // Measuring proves a repair where no owner's system can: the case ends before it is offered again as a standing
    // fact. A case that nobody has repaired yet stays.
    let repaired = machine.kept.case.as_ref().is_some_and(|fault| machine.kept.repaired == Some(fault.case));
    let answered = matches!(machine.state.at, At::Commissioning { .. }) && machine.facts.epoch == epoch;
    if conflict.is_none() && answered && repaired {
        machine.kept.case = None;
        machine.kept.repaired = None;
    }
    apply::keep(w, &mut machine.record, &machine.kept).await?;
    let detail = json!({ "figures": figures, "located": machine.kept.located });
    report(w, me, id, cause, Event::Commissioned { epoch, passed: conflict.is_none() }, detail).await
}

async fn order_of(w: &mut Write<'_>, order: OrderId) -> Result<Option<OrderBody>, Error> {
    match orders::get(w.tx, order).await.map_err(store)? {
        Some(found) => body::read("order", &order, &found.body).map(Some),
        None => Ok(None),
    }
}

async fn installed_reported(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    cause: String,
    installed: Installed,
) -> Result<(), Error> {
    end_write(w, id, installed.epoch).await?;
    let (epoch, order) = (installed.epoch, installed.order);
    // What was written without asking first was written past every rail: it does not pass as installed.
    let permitted = orders::get(w.tx, order)
        .await
        .map_err(store)?
        .is_some_and(|row| row.machine == id && row.permit == muster_store::PermitState::Started);
    let as_ordered = permitted
        && order_of(w, order).await?.is_some_and(|body| {
            body.image.digest == installed.digest
                && body.image.raw_digest == installed.raw_digest
                && body.disk == installed.disk
                && (body.root_uuid.is_none() || body.root_uuid == installed.root_uuid)
        });
    let outcome = if as_ordered { Outcome::Ok } else { Outcome::Refused };
    report(w, me, id, cause, Event::InstallReported { epoch, order, outcome }, json!({ "installed": installed })).await
}

/// What trying again cannot mend is refused at once.
fn outcome_of(failure: &InstallFailure) -> Outcome {
    match failure {
        InstallFailure::DigestMismatch { .. }
        | InstallFailure::WrongMachine { .. }
        | InstallFailure::ForeignDisk { .. }
        | InstallFailure::Denied { .. } => Outcome::Refused,
        InstallFailure::Disk { .. }
        | InstallFailure::Network { .. }
        | InstallFailure::Other { .. }
        | InstallFailure::Unknown => Outcome::Failed,
    }
}

async fn wiped_reported(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    token: Digest,
    cause: String,
    wiped: Wiped,
) -> Result<(), Error> {
    end_write(w, id, wiped.epoch).await?;
    let (state, epoch) = crate::facts::state_of(w.tx, id).await?;
    let record = machines::get(w.tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
    let ordered = crate::standing::wipe_disks(&record)?;
    // What was wiped without asking first was wiped past every rail, or not at all.
    let key = Key { of: Subject::Machine(id), epoch: wiped.epoch, slot: WRITE_SLOT.into() };
    let permitted = acts::get_act(w.tx, &key).await.map_err(store)?.is_some();
    let ok = permitted && wiped.ok(&ordered);
    if ok && epoch == wiped.epoch && matches!(state.at, At::Releasing { .. } | At::Retiring { .. }) {
        // No token of the machine's former life leads anywhere. The wiping boot's own stays: its agent is in RAM, and a
        // machine without a BMC is told through it what comes next.
        let own = boot_tokens::lookup(w.tx, token).await.map_err(store)?.map_or(w.now, |row| row.created);
        boot_tokens::revoke_boot_tokens(w.tx, id, own, w.now).await.map_err(store)?;
    }
    report(w, me, id, cause, Event::WipeReported { epoch: wiped.epoch, ok }, json!({ "wiped": wiped })).await
}

async fn checked_reported(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    cause: String,
    checked: Checked,
) -> Result<(), Error> {
    let mut machine = known(w.tx, &me.catalog(), id).await?;
    let order = match machine.state.at {
        At::Checking { of: Check::Order(order), .. } => Some(order),
        // Proof of a repair: the system that served before is there again.
        At::Checking { .. } => checked.order,
        _ => None,
    };
    let differences = match order {
        Some(order) => match order_of(w, order).await? {
            Some(body) => muster_diagnosis::judge(&body.ordered(order), &checked),
            None => vec![Difference {
                path: "order".into(),
                expected: "an order of this site".into(),
                actual: Some(order.to_string()),
            }],
        },
        None => Vec::new(),
    };
    let asked = matches!(machine.state.at, At::Checking { .. }) && machine.facts.epoch == checked.epoch;
    if asked {
        machine.kept.quality.clone_from(&differences);
    }
    if asked && differences.is_empty() && matches!(machine.state.at, At::Checking { of: Check::Case(_), .. }) {
        // The case is proved closed before its standing fact is offered again.
        machine.kept.case = None;
        machine.kept.repaired = None;
    }
    apply::keep(w, &mut machine.record, &machine.kept).await?;
    let event = Event::CheckJudged { epoch: checked.epoch, passed: differences.is_empty() };
    report(w, me, id, cause, event, json!({ "checked": checked, "differences": differences })).await
}

/// The row of the write in flight ends with the agent's word.
async fn end_write(w: &mut Write<'_>, id: MachineId, epoch: Epoch) -> Result<(), Error> {
    let key = Key { of: Subject::Machine(id), epoch, slot: WRITE_SLOT.into() };
    if let Some(row) = acts::get_act(w.tx, &key).await.map_err(store)? {
        let courier = row.courier.unwrap_or_default();
        acts::finish(w.tx, &key, &courier, End::Done, "{}", w.now).await.map_err(store)?;
    }
    Ok(())
}

pub(crate) async fn end_all_writes(w: &mut Write<'_>, id: MachineId) -> Result<(), Error> {
    for row in acts::in_flight_of(w.tx, Subject::Machine(id)).await.map_err(store)? {
        if row.key.slot == WRITE_SLOT {
            let courier = row.courier.unwrap_or_default();
            acts::finish(w.tx, &row.key, &courier, End::Done, "{}", w.now).await.map_err(store)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kept;

    #[test]
    fn what_trying_again_cannot_mend_is_refused() {
        let reason = || "r".to_string();
        assert_eq!(outcome_of(&InstallFailure::Denied { reason: reason() }), Outcome::Refused);
        assert_eq!(outcome_of(&InstallFailure::Network { reason: reason() }), Outcome::Failed);
        let digest = Digest([0; 32]);
        assert_eq!(outcome_of(&InstallFailure::DigestMismatch { expected: digest, found: digest }), Outcome::Refused);
    }

    #[test]
    fn a_machine_that_is_another_model_than_its_layout_says_does_not_fit() {
        let (model, differences) = told(&Identified::Model("storage".into()), Some("compute"));
        assert_eq!(model, None);
        assert_eq!(differences[0].path, "model");
        assert_eq!(told(&Identified::Model("compute".into()), Some("compute")), (Some("compute".into()), vec![]));
        assert_eq!(told(&Identified::None { nearest: None }, None), (None, vec![]));
        assert!(told(&Identified::Ambiguous(vec!["a".into(), "b".into()]), None).0.is_none());
    }

    #[test]
    fn what_is_kept_of_a_machine_reads_from_an_empty_object() {
        assert_eq!(serde_json::from_str::<Kept>("{}").unwrap(), Kept::default());
    }
}
