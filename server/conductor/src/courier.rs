//! Couriers carry acts to BMCs: one queue a BMC, a breaker for BMCs that do not answer, every act claimed in one
//! transaction with the rails.
//!
//! A courier that dies leaves its claim to expire; the next one reads the phase and looks before it acts.

use crate::apply::{self, ActBody, Happened};
use crate::error::store;
use crate::facts::{Known, known, shadow, state_of};
use crate::hand::HandError;
use crate::procedure::{Patience, Phase, Procedure, Stop};
use crate::scribe::Write;
use crate::ways::{Journey, Led, led};
use crate::{BmcOf, Conductor, Error, bios, body, ledger, media, passwords, probing, rim, subscribing};
use muster_catalog::Catalog;
use muster_diagnosis::{Asked, Rail, Weight, admit};
use muster_lifecycle::What;
use muster_lifecycle::machine::{At, Event};
use muster_names::{Epoch, FirmwareMode, Key, MachineId, Millis, Power, Subject};
use muster_store::{ActRow, ActState, Claim, End, acts, machines};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A claim is renewed at each phase; takeover waits at least this long.
const CLAIM_MS: i64 = 120_000;
/// An act that a rail or its BMC turned away is looked at again after this.
const LATER_MS: i64 = 3_000;
/// What a daemon sent just before it died may take a BMC so long to carry out.
const AFTERMATH_MS: i64 = 15_000;
const LOOK: Duration = Duration::from_millis(500);
const MOST: u32 = 256;
/// What couriers carry.
const WEIGHTS: [&str; 6] = [
    Weight::Power.label(),
    passwords::WEIGHT,
    probing::WEIGHT,
    Weight::Bios.label(),
    media::WEIGHT,
    subscribing::WEIGHT,
];

/// What the claiming transaction said.
enum Claimed {
    Yes(Box<Work>),
    /// Superseded, taken by another, finished.
    No,
    Waits(Rail),
    /// This machine is never to be powered as things are.
    Never(String),
}

struct Work {
    id: MachineId,
    row: ActRow,
    what: What,
    led: Led,
    bmc: BmcOf,
    mode: Option<FirmwareMode>,
    phase: Phase,
}

impl Conductor {
    /// Takes over what a former run left claimed, without waiting for its claims to run out: a machine must not stand
    /// still for two minutes whenever its daemon starts anew. Call it before the couriers, and only where no other daemon
    /// can be at work. Says how many acts it was.
    pub async fn take_over(&self) -> Result<u64, Error> {
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    let later = Millis(w.now.0.saturating_add(AFTERMATH_MS));
                    let mut acts = 0;
                    for weight in WEIGHTS {
                        for (state, until) in [(ActState::Claimed, w.now), (ActState::Sent, later)] {
                            acts += acts::cut(w.tx, state, weight, until).await.map_err(store)?;
                        }
                    }
                    Ok(acts)
                })
            })
            .await
    }
}

/// Runs until `cancel`; ends after the acts under way.
pub async fn couriers(me: Arc<Conductor>, cancel: CancellationToken) {
    let mut running = JoinSet::new();
    while !cancel.is_cancelled() {
        if let Err(error) = dispatch(&me, &mut running).await {
            tracing::warn!(error = %error, label = error.label(), "couriers could not look at the acts");
        }
        tokio::select! {
            () = cancel.cancelled() => break,
            () = me.work.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            Some(ended) = running.join_next() => if let Err(error) = ended && error.is_panic() {
                // A panic in a courier is a bug of ours: end, and let the next start carry on from the database.
                // A courier that was cancelled ended with the whole runtime.
                tracing::error!(error = %error, "a courier ended by a panic");
                std::process::abort();
            }
        }
    }
    while running.join_next().await.is_some() {}
}

async fn dispatch(me: &Arc<Conductor>, running: &mut JoinSet<()>) -> Result<(), Error> {
    let now = rim::now();
    let mut tx = me.db.read().await.map_err(store)?;
    let mut rows: Vec<ActRow> = Vec::new();
    for weight in WEIGHTS {
        rows.extend(acts::expired_acts(&mut tx, weight, now, MOST).await.map_err(store)?);
        let due = acts::due_acts(&mut tx, weight, now, MOST).await.map_err(store)?;
        rows.extend(due.into_iter().map(|due| due.act));
    }
    drop(tx);
    for row in rows {
        // One at a time: the next of the same kind shall know what this one found out.
        let room = match row.weight.as_str() {
            passwords::WEIGHT => Some(&me.changes),
            probing::WEIGHT => Some(&me.trials),
            _ => None,
        };
        let permit = room.map(|room| room.clone().try_acquire_owned());
        if matches!(permit, Some(Err(_))) {
            continue;
        }
        let mut busy = me.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.insert(row.target.clone()) {
            drop(busy);
            let me = me.clone();
            running.spawn(async move {
                let _permit = permit;
                let target = row.target.clone();
                let carried = match row.weight.as_str() {
                    passwords::WEIGHT => passwords::carry(&me, row).await,
                    probing::WEIGHT => probing::carry(&me, row).await,
                    media::WEIGHT => media::carry(&me, row).await,
                    subscribing::WEIGHT => subscribing::carry(&me, row).await,
                    weight if weight == Weight::Bios.label() => bios::carry(&me, row).await,
                    _ => carry(&me, row).await,
                };
                if let Err(error) = carried {
                    tracing::warn!(error = %error, label = error.label(), %target, "an act waits");
                    // What the database refuses now it refuses again at once: not as fast as it can.
                    tokio::time::sleep(LOOK * 6).await;
                }
                me.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&target);
                me.work.notify_one();
            });
        }
    }
    Ok(())
}

async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let Subject::Machine(id) = row.key.of else { return Ok(()) };
    let Some(bmc) = bmc_of(me, id).await? else {
        return give_up(me, id, row.key, "the machine has no BMC any more".into(), false).await;
    };
    let power = match me.hand.power(&bmc).await {
        Ok(power) => power,
        Err(error) => {
            me.rails().insert(row.key.clone(), format!("its BMC at {} does not answer: {error}", bmc.access.address));
            return postpone(me, row.key).await;
        }
    };
    match claim(me, id, row.key.clone(), bmc, power).await? {
        Claimed::No => {
            me.rails().remove(&row.key);
            Ok(())
        }
        Claimed::Waits(rail) => {
            me.rails().insert(row.key.clone(), rail.to_string());
            postpone(me, row.key).await
        }
        Claimed::Never(why) => give_up(me, id, row.key, why, false).await,
        Claimed::Yes(work) => {
            me.rails().remove(&row.key);
            let key = work.row.key.clone();
            match perform(me, &work).await {
                Ok(()) => done(me, id, key, &work.what).await,
                Err(Stop::Lost) => let_go(me, id, key).await,
                Err(Stop::Failed(why)) => give_up(me, id, key, why, false).await,
                Err(Stop::Uncertain(why)) => give_up(me, id, key, why, true).await,
            }
        }
    }
}

async fn bmc_of(me: &Conductor, id: MachineId) -> Result<Option<BmcOf>, Error> {
    let mut tx = me.db.read().await.map_err(store)?;
    let record = machines::get(&mut tx, id).await.map_err(store)?;
    let text = record.filter(|record| record.ours).and_then(|record| record.bmc);
    text.map(|text| Ok(BmcOf { machine: id, access: body::read("bmc", &id, &text)? })).transpose()
}

/// Epoch, freeze, owner, budgets and power, looked at in the transaction that claims.
async fn claim(me: &Arc<Conductor>, id: MachineId, key: Key, bmc: BmcOf, power: Power) -> Result<Claimed, Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
                let Some(row) = acts::get_act(w.tx, &key).await.map_err(store)? else { return Ok(Claimed::No) };
                let machine = known(w.tx, &me.catalog(), id).await?;
                if machine.facts.epoch != key.epoch {
                    acts::supersede(w.tx, key.of, machine.facts.epoch, w.now).await.map_err(store)?;
                    // Left behind by a courier that is gone: nobody will carry it on, and it must not hold a budget.
                    let until = Millis(w.now.0.saturating_add(CLAIM_MS));
                    if let Claim::Reclaimed(row) =
                        acts::claim(w.tx, &key, &me.courier, until, w.now).await.map_err(store)?
                    {
                        overtaken(&mut w, &me.courier, &row).await?;
                    }
                    return Ok(Claimed::No);
                }
                if let Some(why) = shadow(&me.catalog(), &machine) {
                    return Ok(Claimed::Never(why));
                }
                let frozen: ActBody = body::read("act", &key, &row.body)?;
                let book = ledger::read(&mut w, &freeze, &key).await?;
                let asked = Asked {
                    machine: id,
                    rack: machine.record.place.as_ref().map(|place| format!("{}/{}", place.site, place.rack)),
                    requester: frozen.requester.clone(),
                    weight: Weight::Power,
                    owner: row.owner.word().to_string(),
                    power,
                    now: w.now,
                };
                if let Err(rail) = admit(&book, &me.budgets(), &asked) {
                    apply::stop_clock(&mut w, &machine, &rail).await?;
                    return Ok(Claimed::Waits(rail));
                }
                let until = Millis(w.now.0.saturating_add(CLAIM_MS));
                let row = match acts::claim(w.tx, &key, &me.courier, until, w.now).await.map_err(store)? {
                    Claim::Claimed(row) | Claim::Reclaimed(row) => *row,
                    Claim::Lost => return Ok(Claimed::No),
                };
                let cause = format!("claimed/{}/{}/{}", key.epoch.0, key.slot, row.attempts);
                let detail = serde_json::json!({ "act": frozen.what, "bmc": bmc.access.address, "phase": row.phase });
                apply::note(&mut w, id, &cause, "act-claimed", "courier", detail).await?;
                let (phase, mode) = (Phase::from_word(&row.phase), machine.kept.firmware_mode);
                let led = led(&me, &machine, &frozen);
                Ok(Claimed::Yes(Box::new(Work { id, row, what: frozen.what, led, bmc, mode, phase })))
            })
        })
        .await
}

/// An act that belongs to a BMC and to no state of its machine, taken, and that BMC as it is known now.
pub(crate) struct Held {
    pub row: ActRow,
    pub bmc: BmcOf,
}

/// What became of taking such an act.
pub(crate) enum Taken {
    Yes(Box<Held>),
    /// Nothing of the kind may be done there: it is taken to be ended.
    Unfit(Box<ActRow>, String),
    /// Another courier has it, it has ended, or it waits.
    No,
}

/// Takes such an act, in the transaction that looks at the red button, which alone can hold it back.
pub(crate) async fn take(
    me: &Arc<Conductor>,
    row: ActRow,
    claim: i64,
    unfit: fn(&Catalog, &Known) -> Option<String>,
) -> Result<Taken, Error> {
    me.rails().remove(&row.key);
    let Subject::Bmc(id) = row.key.of else { return Ok(Taken::No) };
    let (mine, key) = (me.clone(), row.key.clone());
    let taken = me.scribe.write(move |w| {
        Box::pin(async move {
            let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
            if freeze.frozen {
                mine.rails().insert(key, format!("frozen by {} ({})", freeze.by, freeze.why));
                return Ok(None);
            }
            let until = Millis(w.now.0.saturating_add(claim));
            let row = match acts::claim(w.tx, &key, &mine.courier, until, w.now).await.map_err(store)? {
                Claim::Claimed(row) | Claim::Reclaimed(row) => row,
                Claim::Lost => return Ok(Some(Taken::No)),
            };
            let machine = known(w.tx, &mine.catalog(), id).await?;
            if let Some(why) = unfit(&mine.catalog(), &machine) {
                return Ok(Some(Taken::Unfit(row, why)));
            }
            let access = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
            Ok(Some(Taken::Yes(Box::new(Held { row: *row, bmc: BmcOf { machine: id, access } }))))
        })
    });
    match taken.await? {
        Some(taken) => Ok(taken),
        None => postpone(me, row.key).await.map(|()| Taken::No),
    }
}

/// That such an act's order is about to leave is written, with the claim renewed and the red button looked at.
pub(crate) async fn goes_out(
    me: &Arc<Conductor>,
    key: &Key,
    (phase, claim): (&'static str, i64),
) -> Result<bool, Error> {
    let (courier, key) = (me.courier.clone(), key.clone());
    me.scribe
        .write(move |w| {
            Box::pin(async move {
                if muster_store::site::lock_ledger(w.tx).await.map_err(store)?.frozen {
                    return Ok(false);
                }
                let until = Millis(w.now.0.saturating_add(claim));
                if !acts::extend(w.tx, &key, &courier, until).await.map_err(store)? {
                    return Ok(false);
                }
                acts::mark_sent(w.tx, &key, &courier, phase, w.now).await.map_err(store).map(|_| true)
            })
        })
        .await
}

/// The key of the next act of a BMC: its acts are counted, since no state of a machine numbers them.
pub(crate) fn next_key(former: &[ActRow], of: Subject, slot: &str) -> Key {
    let number = former.iter().map(|row| row.key.epoch.0).max().unwrap_or(0);
    Key { of, epoch: Epoch(number).next(), slot: slot.into() }
}

/// Ends an act whose state is over. What was sent may still have happened: the state in force looks before it acts.
pub(crate) async fn overtaken(w: &mut Write<'_>, courier: &str, row: &ActRow) -> Result<(), Error> {
    let end = if row.state == ActState::Sent { End::Unknown } else { End::Failed };
    let evidence = serde_json::json!({ "why": "the machine has left the state that asked for it" }).to_string();
    acts::finish(w.tx, &row.key, courier, end, &evidence, w.now).await.map_err(store).map(drop)
}

/// A courier that may not go on gives its act back: at once when the state is over, else for the next look.
pub(crate) async fn let_go(me: &Arc<Conductor>, id: MachineId, key: Key) -> Result<(), Error> {
    let courier = me.courier.clone();
    me.scribe
        .write(move |mut w| {
            Box::pin(async move {
                let (_, epoch) = state_of(w.tx, id).await?;
                let Some(row) = acts::get_act(w.tx, &key).await.map_err(store)? else { return Ok(()) };
                if epoch != key.epoch {
                    return overtaken(&mut w, &courier, &row).await;
                }
                let until = Millis(w.now.0.saturating_add(LATER_MS));
                acts::extend(w.tx, &key, &courier, until).await.map_err(store).map(drop)
            })
        })
        .await
}

async fn perform(me: &Arc<Conductor>, work: &Work) -> Result<(), Stop> {
    let key = work.row.key.clone();
    let mark = |phase: Phase| -> futures_core::future::BoxFuture<'_, bool> {
        let (me, key, id) = (me.clone(), key.clone(), work.id);
        Box::pin(async move {
            let sent = durable(&me, id, key, phase).await.unwrap_or(false);
            if sent && phase == Phase::On {
                me.switched_on(id);
            }
            sent
        })
    };
    let model = me.firmware_mode_of(work.id).await;
    let log = Journey { me, id: work.id, key: &work.row.key, bmc: &work.bmc, led: &work.led };
    let procedure = Procedure {
        hand: me.hand.as_ref(),
        bmc: &work.bmc,
        mode: work.mode.or(model),
        leads: &work.led.leads,
        mark: &mark,
        log: &log,
        patience: Patience::default(),
    };
    procedure.run(&work.what, work.phase).await
}

/// That an order is about to leave is written, and the claim holds for so long more. `None`: the state has moved on,
/// everything is frozen, or another courier has it.
pub(crate) async fn sends(
    w: &mut Write<'_>,
    id: MachineId,
    key: &Key,
    courier: &str,
    (phase, claim): (&str, i64),
) -> Result<Option<bool>, Error> {
    // The ledger before the machine, as in every claim: two daemons must not wait for one another.
    let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
    let (_, epoch) = state_of(w.tx, id).await?;
    let until = Millis(w.now.0.saturating_add(claim));
    if epoch != key.epoch || freeze.frozen || !acts::extend(w.tx, key, courier, until).await.map_err(store)? {
        return Ok(None);
    }
    let first = acts::mark_sent(w.tx, key, courier, phase, w.now).await.map_err(store)?;
    Ok(Some(first || acts::set_phase(w.tx, key, courier, phase).await.map_err(store)?))
}

/// It stays claimed and is looked at again in a while; people see why.
pub(crate) async fn put_off(
    w: &mut Write<'_>,
    me: &Conductor,
    key: &Key,
    (why, wait): (String, i64),
) -> Result<(), Error> {
    me.rails().insert(key.clone(), why);
    let later = Millis(w.now.0.saturating_add(wait));
    acts::extend(w.tx, key, &me.courier, later).await.map_err(store).map(drop)
}

/// Ends an act by what its BMC said of its one order, or puts it off where the same may go well later, so many times. True: it
/// has ended now.
pub(crate) async fn conclude(
    w: &mut Write<'_>,
    me: &Conductor,
    row: &ActRow,
    said: &Result<(), HandError>,
    (wait, attempts): (i64, i64),
) -> Result<bool, Error> {
    if let Err(error) = said
        && (error.later || error.may_have_happened)
        && row.attempts < attempts
    {
        return put_off(w, me, &row.key, (error.reason.clone(), wait)).await.map(|()| false);
    }
    let end = if said.is_ok() { End::Done } else { End::Failed };
    acts::finish(w.tx, &row.key, &me.courier, end, "{}", w.now).await.map_err(store)
}

/// Writes the phase before its order is sent, renews the claim, and looks whether the state still stands.
async fn durable(me: &Arc<Conductor>, id: MachineId, key: Key, phase: Phase) -> Result<bool, Error> {
    let courier = me.courier.clone();
    me.scribe
        .write(move |mut w| {
            Box::pin(async move {
                let Some(sent) = sends(&mut w, id, &key, &courier, (phase.word(), CLAIM_MS)).await? else {
                    return Ok(false);
                };
                let cause = format!("phase/{}/{}/{}", key.epoch.0, key.slot, phase.word());
                let detail = serde_json::json!({ "slot": key.slot, "phase": phase.word() });
                apply::note(&mut w, id, &cause, "act-phase", "courier", detail).await?;
                Ok(sent)
            })
        })
        .await
}

async fn done(me: &Arc<Conductor>, id: MachineId, key: Key, what: &What) -> Result<(), Error> {
    let (me, what) = (me.clone(), what.clone());
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                if !acts::finish(w.tx, &key, &me.courier, End::Done, "{}", w.now).await.map_err(store)? {
                    return Ok(());
                }
                let cause = format!("act/{}/{}/done", key.epoch.0, key.slot);
                let detail = serde_json::json!({ "slot": key.slot, "act": what });
                let (state, current) = state_of(w.tx, id).await?;
                let epoch = key.epoch;
                let event = match (&what, &state.at) {
                    (What::PowerOff, At::Stopping { .. }) if current == epoch => {
                        crate::reports::end_all_writes(&mut w, id).await?;
                        Some(Event::Stopped { epoch })
                    }
                    (What::PowerCycle, At::Repairing { case, .. }) if current == epoch => {
                        let mut machine = known(w.tx, &me.catalog(), id).await?;
                        machine.kept.repaired = Some(*case);
                        apply::keep(&mut w, &mut machine.record, &machine.kept).await?;
                        Some(Event::RungDone { epoch, case: *case, ok: true })
                    }
                    _ => None,
                };
                match event {
                    Some(event) => {
                        let happened = Happened { cause, actor: "courier", event, detail };
                        apply::apply(&mut w, &me.catalog(), id, happened).await.map(drop)
                    }
                    None => apply::note(&mut w, id, &cause, "act-done", "courier", detail).await.map(drop),
                }
            })
        })
        .await
}

async fn give_up(me: &Arc<Conductor>, id: MachineId, key: Key, why: String, uncertain: bool) -> Result<(), Error> {
    let me = me.clone();
    tracing::warn!(%key, %why, uncertain, "an act was not done");
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let end = if uncertain { End::Unknown } else { End::Failed };
                let evidence = serde_json::json!({ "why": why }).to_string();
                // One that nobody holds is taken first; one that another courier holds is that courier's to judge.
                let until = Millis(w.now.0.saturating_add(CLAIM_MS));
                acts::claim(w.tx, &key, &me.courier, until, w.now).await.map_err(store)?;
                if !acts::finish(w.tx, &key, &me.courier, end, &evidence, w.now).await.map_err(store)? {
                    return Ok(());
                }
                let cause = format!("act/{}/{}/failed", key.epoch.0, key.slot);
                let detail = serde_json::json!({ "slot": key.slot, "why": why, "uncertain": uncertain });
                let event = Event::ActFailed { epoch: key.epoch };
                apply::apply(&mut w, &me.catalog(), id, Happened { cause, actor: "courier", event, detail })
                    .await
                    .map(drop)
            })
        })
        .await
}

pub(crate) async fn postpone(me: &Arc<Conductor>, key: Key) -> Result<(), Error> {
    me.scribe
        .write(move |w| {
            Box::pin(async move {
                let later = Millis(w.now.0.saturating_add(LATER_MS));
                if acts::postpone(w.tx, &key, later).await.map_err(store)? {
                    return Ok(());
                }
                // Sent by a courier that is gone: it stays sent, and is looked at again later, not at once for ever.
                let row = acts::get_act(w.tx, &key).await.map_err(store)?;
                if let Some(row) = row.filter(|row| row.until.is_some_and(|until| until <= w.now)) {
                    let courier = row.courier.unwrap_or_default();
                    acts::extend(w.tx, &key, &courier, later).await.map_err(store)?;
                }
                Ok(())
            })
        })
        .await
}

/// Watches deadlines: their expiry is an event like any other.
pub async fn deadlines(me: Arc<Conductor>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        if let Err(error) = expire(&me).await {
            tracing::warn!(error = %error, label = error.label(), "deadlines could not be looked at");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn expire(me: &Arc<Conductor>) -> Result<(), Error> {
    let now = rim::now();
    let mut tx = me.db.read().await.map_err(store)?;
    let due: Vec<(Subject, Epoch)> = muster_store::subjects::due(&mut tx, now, MOST).await.map_err(store)?;
    drop(tx);
    let ids: BTreeSet<(MachineId, Epoch)> = due
        .into_iter()
        .filter_map(|(subject, epoch)| if let Subject::Machine(id) = subject { Some((id, epoch)) } else { None })
        .collect();
    for (id, epoch) in ids {
        let me = me.clone();
        let written = me
            .clone()
            .scribe
            .write(move |mut w| {
                Box::pin(async move {
                    muster_store::subjects::clear_deadline(w.tx, Subject::Machine(id), epoch).await.map_err(store)?;
                    let cause = format!("deadline/{}", epoch.0);
                    let event = Event::DeadlinePassed { epoch };
                    let happened = Happened { cause, actor: "clock", event, detail: serde_json::Value::Null };
                    apply::apply(&mut w, &me.catalog(), id, happened).await.map(drop)
                })
            })
            .await;
        // One machine whose record does not read must not stop the clocks of all others.
        if let Err(error) = written {
            tracing::error!(machine = %id, error = %error, label = error.label(), "its deadline passed unheard");
        }
    }
    Ok(())
}
