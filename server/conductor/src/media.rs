//! A boot disc of ours is ejected when nobody boots from it any more: its agent has arrived, or the state that ordered the
//! boot is over.
//!
//! An act of its own, so that a freeze holds it back and a daemon that dies leaves it to the next one. It holds nothing up and
//! moves no life: where a BMC does not eject, that is written down and shown, and the next state tries again.

use crate::apply;
use crate::courier::{conclude, let_go, overtaken, postpone, sends};
use crate::error::store;
use crate::facts::{Known, known};
use crate::hand::HandError;
use crate::scribe::Write;
use crate::{BmcBody, BmcOf, Conductor, Error, body};
use muster_names::{Epoch, Key, MachineId, Millis, Subject};
use muster_store::{ActRow, Again, Claim, End, NewAct, Owner, acts};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const WEIGHT: &str = "media";
const SLOT: &str = "eject";
const SENT: &str = "eject";
/// Longer than the one operation that is asked of a BMC.
const CLAIM_MS: i64 = 240_000;
/// A BMC that is busy or silent is asked again after this, so many times.
const LATER_MS: i64 = 30_000;
const ATTEMPTS: i64 = 10;

#[derive(Debug, Serialize, Deserialize)]
struct EjectBody {
    requester: String,
    image: String,
}

/// Records that the disc shall be ejected, once a state; nothing where there is none.
pub(crate) async fn ask(w: &mut Write<'_>, machine: &Known) -> Result<(), Error> {
    let id = machine.record.id;
    let (Some(medium), Some(bmc)) = (&machine.kept.medium, &machine.record.bmc) else { return Ok(()) };
    let bmc: BmcBody = body::read("bmc", &id, bmc)?;
    let key = Key { of: Subject::Machine(id), epoch: machine.facts.epoch, slot: SLOT.into() };
    let frozen = EjectBody { requester: machine.kept.requester.clone(), image: medium.image.clone() };
    let row = NewAct {
        body: body::write("act", &key, &frozen)?,
        again: Again::Freely,
        target: bmc.address,
        owner: Owner::Install,
        weight: WEIGHT.into(),
        due: w.now,
        key,
    };
    acts::record_act(w.tx, &row, w.now).await.map_err(store).map(drop)
}

/// Ejects it within another act that has its leave already.
pub(crate) async fn clear(me: &Arc<Conductor>, id: MachineId, bmc: &BmcOf) {
    let Ok(mut tx) = me.db.read().await else { return };
    let found = known(&mut tx, &me.catalog(), id).await;
    drop(tx);
    let Ok(Some((image, epoch))) = found.map(|found| Some((found.kept.medium?.image, found.facts.epoch))) else {
        return;
    };
    let ended = me.hand.eject(bmc, &image).await;
    let mine = me.clone();
    let written =
        me.scribe.write(move |mut w| Box::pin(async move { told(&mut w, &mine, (id, epoch), &image, ended).await }));
    if let Err(error) = written.await {
        tracing::warn!(machine = %id, error = %error, label = error.label(), "what became of its boot disc is not kept");
    }
}

/// What came of it, for the machine's log and its page.
async fn told(
    w: &mut Write<'_>,
    me: &Conductor,
    (id, epoch): (MachineId, Epoch),
    image: &str,
    ended: Result<(), HandError>,
) -> Result<(), Error> {
    let mut machine = known(w.tx, &me.catalog(), id).await?;
    let Some(medium) = machine.kept.medium.as_mut().filter(|medium| medium.image == image) else { return Ok(()) };
    let (kind, detail) = match ended {
        Ok(()) => {
            machine.kept.medium = None;
            ("medium-ejected", serde_json::json!({ "image": image }))
        }
        Err(error) => {
            tracing::warn!(machine = %id, image, reason = error.reason, "a boot disc was not ejected");
            medium.left = Some(error.reason.clone());
            ("medium-left", serde_json::json!({ "image": image, "why": error.reason }))
        }
    };
    apply::keep(w, &mut machine.record, &machine.kept).await?;
    let cause = format!("{kind}/{}/{}", epoch.0, w.now.0);
    apply::note(w, id, &cause, kind, "courier", detail).await.map(drop)
}

struct Work {
    id: MachineId,
    row: ActRow,
    image: String,
    bmc: BmcOf,
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let Subject::Machine(id) = row.key.of else { return Ok(()) };
    let Some(work) = claim(me, id, row).await? else { return Ok(()) };
    me.rails().remove(&work.row.key);
    let (mine, key) = (me.clone(), work.row.key.clone());
    let may = me
        .scribe
        .write(move |mut w| Box::pin(async move { sends(&mut w, id, &key, &mine.courier, (SENT, CLAIM_MS)).await }));
    if may.await? != Some(true) {
        return let_go(me, id, work.row.key).await;
    }
    let ended = me.hand.eject(&work.bmc, &work.image).await;
    settle(me, work, ended).await
}

/// Epoch and freeze, looked at in the transaction that claims.
async fn claim(me: &Arc<Conductor>, id: MachineId, row: ActRow) -> Result<Option<Box<Work>>, Error> {
    let (mine, key) = (me.clone(), row.key.clone());
    let claimed = me.scribe.write(move |mut w| {
        Box::pin(async move {
            let me = mine;
            let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
            let machine = known(w.tx, &me.catalog(), id).await?;
            let until = Millis(w.now.0.saturating_add(CLAIM_MS));
            if machine.facts.epoch != row.key.epoch {
                acts::supersede(w.tx, row.key.of, machine.facts.epoch, w.now).await.map_err(store)?;
                let claimed = acts::claim(w.tx, &row.key, &me.courier, until, w.now).await.map_err(store)?;
                if let Claim::Reclaimed(row) = claimed {
                    overtaken(&mut w, &me.courier, &row).await?;
                }
                return Ok(Ok(None));
            }
            if freeze.frozen {
                return Ok(Err(format!("frozen by {} ({})", freeze.by, freeze.why)));
            }
            let row = match acts::claim(w.tx, &row.key, &me.courier, until, w.now).await.map_err(store)? {
                Claim::Claimed(row) | Claim::Reclaimed(row) => *row,
                Claim::Lost => return Ok(Ok(None)),
            };
            let EjectBody { image, .. } = body::read("act", &row.key, &row.body)?;
            let Some(text) = machine.record.bmc.as_deref().filter(|_| machine.record.ours) else {
                acts::finish(w.tx, &row.key, &me.courier, End::Failed, "{}", w.now).await.map_err(store)?;
                return Ok(Ok(None));
            };
            let bmc = BmcOf { machine: id, access: body::read("bmc", &id, text)? };
            Ok(Ok(Some(Box::new(Work { id, row, image, bmc }))))
        })
    });
    match claimed.await? {
        Ok(work) => Ok(work),
        Err(rail) => {
            me.rails().insert(key.clone(), rail);
            postpone(me, key).await.map(|()| None)
        }
    }
}

async fn settle(me: &Arc<Conductor>, work: Box<Work>, ended: Result<(), HandError>) -> Result<(), Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let Work { id, row, image, .. } = *work;
                if !conclude(&mut w, &me, &row, &ended, (LATER_MS, ATTEMPTS)).await? {
                    return Ok(());
                }
                told(&mut w, &me, (id, row.key.epoch), &image, ended).await
            })
        })
        .await
}
