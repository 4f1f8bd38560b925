//! The wanted BIOS attributes of a machine that serves nobody are set, for its next boot.
//!
//! An act of the machine's epoch: what it asks for is dropped when the machine moves on before anything was sent. What is
//! wanted is frozen in it in the BMC's words; what of that differs is looked at immediately before it is sent, so that a
//! courier that died leaves nothing to settle but a look. Nothing here restarts a machine, and nothing writes firmware.

use crate::apply;
use crate::courier::{let_go, overtaken, postpone, put_off, sends};
use crate::error::store;
use crate::facts::{Known, known, shadow};
use crate::hand::HandError;
use crate::scribe::Write;
use crate::{BmcBody, BmcOf, Conductor, Error, body, ledger, rim};
use muster_catalog::{Catalog, Protocol};
use muster_diagnosis::{Asked, BiosAim, BiosVerdict, Rail, Weight, admit, bios_aims, bios_writes, judge_bios};
use muster_lifecycle::machine::{At, Data};
use muster_names::{Epoch, Key, MachineId, Millis, Power, Subject, TicketId};
use muster_store::{ActRow, Again, Claim, End, NewAct, Owner, acts, tickets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const SLOT: &str = "bios";
const TICKET: &str = "bios-settings";
/// Longer than the one operation that is asked of a BMC.
const CLAIM_MS: i64 = 240_000;
/// A BMC that is busy or silent is asked again after this, so many times.
const LATER_MS: i64 = 30_000;
const ATTEMPTS: i64 = 40;
/// One that says success and holds nothing is believed to do nothing after so many tries.
const TRIES: i64 = 3;
const SENT: &str = "set";

#[derive(Debug, Serialize, Deserialize)]
struct SettingsBody {
    requester: String,
    model: String,
    /// Whose names the aims are.
    profile: String,
    aims: Vec<BiosAim>,
}

/// A model, the profile of its BMC, and what of the model's wishes is called there.
type Aims = (String, String, Vec<BiosAim>);

/// What of the machine's model may be set there, or why nothing may.
pub(crate) fn aims(catalog: &Catalog, machine: &Known) -> Result<Aims, String> {
    if !machine.record.ours {
        return Err("claim it first: nobody marked it as ours".into());
    }
    let text = machine.record.bmc.as_deref().ok_or("nobody named its BMC")?;
    let at_rest = matches!(machine.state.at, At::Ready | At::Held { .. });
    let label = machine.state.label();
    match machine.state.at {
        At::InService => return Err("it is in service: release it first, or let its owner leave".into()),
        At::Expected | At::Held { .. } if machine.record.inventory.is_none() => {
            return Err("what runs on it is not known: discover it first".into());
        }
        At::Retired => return Err("it is retired".into()),
        _ if machine.state.data == Data::Owned => return Err("it holds an owner's data: release it first".into()),
        _ if !at_rest => return Err(format!("it is {label}: wait until it is ready, then ask again")),
        _ => {}
    }
    if let Some(why) = shadow(catalog, machine) {
        return Err(why);
    }
    let model = machine.record.model.as_deref().or(machine.kept.expected_model.as_deref());
    let model = model.and_then(|id| catalog.model(id)).ok_or("no hardware model fits it: discover it first")?;
    let aims = bios_aims(&model.bios, catalog.bmc_profile(&model.bmc.profile));
    if aims.is_empty() {
        return Err(format!("its model {} wants no BIOS attribute; name some under [bios]", model.id));
    }
    if !aims.iter().any(|aim| aim.there.as_ref().is_some_and(|there| there.may_be_written)) {
        return Err(format!(
            "the BMC profile {} has no name and value for any wanted attribute that rests on more than synthetic evidence",
            model.bmc.profile
        ));
    }
    let bmc: BmcBody = body::read("bmc", &machine.record.id, text).map_err(|error| error.to_string())?;
    if bmc.protocol == Protocol::Ipmi {
        return Err(
            "its BMC is reached over IPMI, which has no word for BIOS attributes: name it with protocol redfish".into(),
        );
    }
    Ok((model.id.clone(), model.bmc.profile.clone(), aims))
}

/// Each aim that may be written, for a person: `c-states off (ProcCStates = Disabled)`.
pub(crate) fn told(aims: &[BiosAim]) -> Vec<String> {
    let aims = aims.iter().filter_map(|aim| {
        let there = aim.there.as_ref().filter(|there| there.may_be_written)?;
        Some(format!("{} {} ({} = {})", aim.attribute, aim.wanted, there.name.0, there.value))
    });
    aims.collect()
}

/// What would be set, as far as it is known without asking the BMC; or why nothing may be now.
pub(crate) async fn obstacle(
    w: &mut Write<'_>,
    catalog: &Catalog,
    machine: &Known,
) -> Result<Result<Vec<String>, String>, Error> {
    let aims = match aims(catalog, machine) {
        Ok((.., aims)) => aims,
        Err(why) => return Ok(Err(why)),
    };
    let rows = acts::acts_of(w.tx, Subject::Machine(machine.record.id)).await.map_err(store)?;
    if rows.iter().any(|row| row.weight == Weight::Bios.label() && row.finished.is_none()) {
        return Ok(Err("its BIOS attributes are being set; wait until that has ended".into()));
    }
    Ok(Ok(told(&aims)))
}

/// Records that they shall be set.
pub(crate) async fn ask(
    w: &mut Write<'_>,
    catalog: &Catalog,
    machine: &Known,
    (by, cause): (&str, &str),
) -> Result<(), Error> {
    if let Err(why) = obstacle(w, catalog, machine).await? {
        return Err(Error::refused(why));
    }
    let (model, profile, aims) = aims(catalog, machine).map_err(Error::refused)?;
    let id = machine.record.id;
    let subject = Subject::Machine(id);
    let bmc: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
    let rows = acts::acts_of(w.tx, subject).await.map_err(store)?;
    let epoch = machine.facts.epoch;
    let former = rows.iter().filter(|row| row.key.epoch == epoch && row.weight == Weight::Bios.label()).count();
    let slot = if former == 0 { SLOT.to_owned() } else { format!("{SLOT}-{}", former + 1) };
    let key = Key { of: subject, epoch, slot };
    let what = told(&aims);
    let row = NewAct {
        body: body::write("act", &key, &SettingsBody { requester: by.to_string(), model, profile, aims })?,
        again: Again::AfterProbe,
        target: bmc.address.clone(),
        owner: Owner::Person,
        weight: Weight::Bios.label().into(),
        due: w.now,
        key,
    };
    acts::record_act(w.tx, &row, w.now).await.map_err(store)?;
    let detail = serde_json::json!({ "bmc": bmc.address, "aims": what });
    apply::note(w, id, cause, "bios-asked", by, detail).await.map(drop)
}

/// What came of it.
enum Outcome {
    /// Held for the next boot, and what of the aims could not be set.
    Set {
        values: BTreeMap<String, String>,
        left: Vec<String>,
    },
    Unchanged(String),
    /// Looked at again.
    Later(String, i64),
    /// The state has moved on, everything is frozen, or another courier has it.
    Lost,
}

struct Work {
    id: MachineId,
    row: ActRow,
    profile: String,
    aims: Vec<BiosAim>,
    bmc: BmcOf,
}

enum Claimed {
    Yes(Box<Work>),
    No,
    Waits(Rail),
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let Subject::Machine(id) = row.key.of else { return Ok(()) };
    let work = match claim(me, id, row.key.clone()).await? {
        Claimed::Yes(work) => work,
        Claimed::No => {
            me.rails().remove(&row.key);
            return Ok(());
        }
        Claimed::Waits(rail) => {
            me.rails().insert(row.key.clone(), rail.to_string());
            return postpone(me, row.key).await;
        }
    };
    me.rails().remove(&row.key);
    let outcome = match set(me, &work).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    match outcome {
        Outcome::Lost => let_go(me, id, work.row.key).await,
        outcome => settle(me, *work, outcome).await,
    }
}

/// Epoch, state, freeze, owner and budgets, looked at in the transaction that claims.
async fn claim(me: &Arc<Conductor>, id: MachineId, key: Key) -> Result<Claimed, Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
                let Some(row) = acts::get_act(w.tx, &key).await.map_err(store)? else { return Ok(Claimed::No) };
                let machine = known(w.tx, &me.catalog(), id).await?;
                let until = Millis(w.now.0.saturating_add(CLAIM_MS));
                if machine.facts.epoch != key.epoch {
                    acts::supersede(w.tx, key.of, machine.facts.epoch, w.now).await.map_err(store)?;
                    if let Claim::Reclaimed(row) =
                        acts::claim(w.tx, &key, &me.courier, until, w.now).await.map_err(store)?
                    {
                        overtaken(&mut w, &me.courier, &row).await?;
                    }
                    return Ok(Claimed::No);
                }
                let frozen: SettingsBody = body::read("act", &key, &row.body)?;
                let book = ledger::read(&mut w, &freeze, &key).await?;
                let asked = Asked {
                    machine: id,
                    rack: machine.record.place.as_ref().map(|place| format!("{}/{}", place.site, place.rack)),
                    requester: frozen.requester,
                    weight: Weight::Bios,
                    owner: row.owner.word().to_string(),
                    power: Power::Unknown,
                    now: w.now,
                };
                if let Err(rail) = admit(&book, &me.budgets(), &asked) {
                    return Ok(Claimed::Waits(rail));
                }
                let row = match acts::claim(w.tx, &key, &me.courier, until, w.now).await.map_err(store)? {
                    Claim::Claimed(row) | Claim::Reclaimed(row) => *row,
                    Claim::Lost => return Ok(Claimed::No),
                };
                if let Err(why) = aims(&me.catalog(), &machine) {
                    end(&mut w, &me.courier, &row, Outcome::Unchanged(why)).await?;
                    return Ok(Claimed::No);
                }
                let access = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
                let bmc = BmcOf { machine: id, access };
                Ok(Claimed::Yes(Box::new(Work { id, row, profile: frozen.profile, aims: frozen.aims, bmc })))
            })
        })
        .await
}

/// Both arms are outcomes: an error of the BMC ends it for now, wherever it was.
async fn set(me: &Arc<Conductor>, work: &Work) -> Result<Outcome, Outcome> {
    // A name of one maker's may be something else of another's: what the BMC is known as has to be what the model says.
    let known_as = me.firmware.firmware(&work.bmc).await.map_err(failed)?.profile;
    if let Some(other) = known_as.filter(|other| *other != work.profile) {
        return Ok(Outcome::Unchanged(format!(
            "its BMC is known as {other}, and the names are those of {}, which its model says: mend one of them",
            work.profile
        )));
    }
    let told = me.firmware.bios(&work.bmc, false).await.map_err(failed)?;
    let lines = judge_bios(&work.aims, &[], Ok(&told));
    let fine = [BiosVerdict::AsWanted, BiosVerdict::Pending, BiosVerdict::Differs];
    let left: Vec<String> =
        lines.iter().filter(|line| !fine.contains(&line.verdict)).map(|line| line.words.clone()).collect();
    let values = bios_writes(&lines);
    if values.is_empty() {
        // What waits for the next boot already, of this act's own making perhaps, is as good as set.
        let held = lines.iter().any(|line| fine.contains(&line.verdict));
        return if held { Ok(Outcome::Set { values, left }) } else { Ok(Outcome::Unchanged(left.join("; "))) };
    }
    if !durable(me, work).await.map_err(|error| Outcome::Later(error.to_string(), ATTEMPTS))? {
        return Err(Outcome::Lost);
    }
    me.firmware.set_bios(&work.bmc, &values).await.map_err(failed)?;
    Ok(Outcome::Set { values, left })
}

fn failed(error: HandError) -> Outcome {
    match (error.later, error.may_have_happened) {
        (true, _) => Outcome::Later(error.reason, ATTEMPTS),
        (false, true) => Outcome::Later(error.reason, TRIES),
        (false, false) => Outcome::Unchanged(error.reason),
    }
}

/// Writes that it is being sent, renews the claim, and looks whether the state still stands.
async fn durable(me: &Arc<Conductor>, work: &Work) -> Result<bool, Error> {
    let (courier, key, id) = (me.courier.clone(), work.row.key.clone(), work.id);
    me.scribe
        .write(move |mut w| {
            Box::pin(async move { Ok(sends(&mut w, id, &key, &courier, (SENT, CLAIM_MS)).await?.unwrap_or(false)) })
        })
        .await
}

async fn settle(me: &Arc<Conductor>, work: Work, outcome: Outcome) -> Result<(), Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                // The row is as it was before this one.
                let tries = work.row.attempts.saturating_add(1);
                let outcome = match outcome {
                    Outcome::Later(why, most) if tries < most => {
                        return put_off(&mut w, &me, &work.row.key, (why, LATER_MS)).await;
                    }
                    Outcome::Later(why, _) => Outcome::Unchanged(format!("given up after {tries} tries: {why}")),
                    outcome => outcome,
                };
                end(&mut w, &me.courier, &work.row, outcome).await
            })
        })
        .await
}

/// The act ends first: who has lost it changes nothing. No state of the machine depends on it.
async fn end(w: &mut Write<'_>, courier: &str, row: &ActRow, outcome: Outcome) -> Result<(), Error> {
    let Subject::Machine(id) = row.key.of else { return Ok(()) };
    let (end, kind, detail) = match &outcome {
        Outcome::Set { values, left } => {
            let detail = serde_json::json!({ "set": values, "left": left, "effect": "at the next boot" });
            (End::Done, "bios-set", detail)
        }
        Outcome::Unchanged(why) => (End::Failed, "bios-unchanged", serde_json::json!({ "why": why })),
        Outcome::Later(..) | Outcome::Lost => return Ok(()),
    };
    if !acts::finish(w.tx, &row.key, courier, end, &detail.to_string(), w.now).await.map_err(store)? {
        return Ok(());
    }
    let subject = Subject::Bmc(id);
    match &outcome {
        Outcome::Unchanged(why) => {
            let title = format!(
                "Its BIOS attributes are not as its model wants them: {why}. `muster firmware plan` shows them; mend what \
                 is in the way, then `muster firmware apply-bios` again"
            );
            let ticket = TicketId(rim::fresh_id()?);
            tickets::open_ticket(w.tx, ticket, subject, TICKET, &title, "{}", w.now).await.map_err(store)?;
        }
        _ => {
            let proof = "its BIOS attributes were set";
            tickets::close_ticket(w.tx, subject, TICKET, proof, w.now).await.map_err(store)?;
        }
    }
    tracing::info!(machine = %id, kind, "a machine's BIOS attributes");
    let Epoch(epoch) = row.key.epoch;
    apply::note(w, id, &format!("{kind}/{epoch}/{}", row.key.slot), kind, "courier", detail).await.map(drop)
}
