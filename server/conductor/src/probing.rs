//! What BMCs of a kind do, found out once by trying one of them: how they want to be written to, and which keys they hide
//! until they are restarted. It is kept for maker, model and firmware, and holds for all of that kind.
//!
//! An act of the BMC's, for machines that serve nobody: it writes the boot override that is there already, and restarts a
//! BMC that hides keys. Whether an override outlives an off machine is seen at each boot that Muster orders.

use crate::apply;
use crate::courier::{Held, Taken, goes_out, next_key, put_off, take};
use crate::error::store;
use crate::facts::{Known, shadow};
use crate::scribe::Write;
use crate::{BmcBody, BmcOf, Conductor, Error, HandError, body};
use futures_core::future::BoxFuture;
use muster_bmc::{Learnt, WriteHabit};
use muster_catalog::Catalog;
use muster_lifecycle::machine::{At, Data};
use muster_names::{MachineId, Millis, Subject};
use muster_store::{ActRow, Again, End, NewAct, Owner, acts, bmc_adoption};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The weight of these acts.
pub(crate) const WEIGHT: &str = "probe";
const SLOT: &str = "probe";
/// Longer than a BMC takes to start, and all that is asked of it besides.
const CLAIM_MS: i64 = 900_000;
const LATER_MS: i64 = 60_000;
const ATTEMPTS: i64 = 20;
/// How long a BMC may take to come back, and how often it is looked at meanwhile.
const RESTART: Duration = Duration::from_secs(480);
const LOOK: Duration = Duration::from_secs(2);
const RESTARTED: &str = "restarted";
const WRITES: &str = "writes";

/// What a probe asks of a BMC.
pub trait ProbeHand: Send + Sync {
    /// Maker, model and firmware.
    fn kind<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<String, HandError>>;
    /// The keys we need that it does not show.
    fn missing<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Vec<String>, HandError>>;
    /// Writes what is there already, in each way there is.
    fn write_habit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<WriteHabit, HandError>>;
    fn restart<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<(), HandError>>;
}

#[derive(Debug, Serialize, Deserialize)]
struct ProbeBody {
    requester: String,
    /// What is known of the kind already is found out again.
    #[serde(default)]
    anew: bool,
}

/// What is known of a kind of BMC, for people.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LearntShown {
    /// Maker, model and firmware.
    pub kind: String,
    pub at: Millis,
    /// `if-match`, `survives-off`, `keys-after-reset`, each as far as it was tried.
    pub learnt: serde_json::Value,
}

/// Why this machine's BMC may not be tried.
pub(crate) fn obstacle(catalog: &Catalog, machine: &Known) -> Option<String> {
    if !machine.record.ours {
        return Some("claim it first: nobody marked it as ours".into());
    }
    if machine.record.bmc.is_none() {
        return Some("nobody named its BMC".into());
    }
    if machine.state.data == Data::Owned {
        return Some("it holds an owner's data: release it first".into());
    }
    if !matches!(machine.state.at, At::Expected | At::Ready | At::Held { .. } | At::Unidentified) {
        return Some(format!("it is {}: wait until it is ready, then ask again", machine.state.label()));
    }
    shadow(catalog, machine)
}

/// Records that it shall be tried; nothing when that is under way already.
pub(crate) async fn ask(
    w: &mut Write<'_>,
    catalog: &Catalog,
    machine: &Known,
    (by, cause): (&str, &str),
    anew: bool,
) -> Result<(), Error> {
    if let Some(why) = obstacle(catalog, machine) {
        return Err(Error::refused(why));
    }
    let id = machine.record.id;
    let subject = Subject::Bmc(id);
    let former = acts::acts_of(w.tx, subject).await.map_err(store)?;
    if former.iter().any(|row| row.weight == WEIGHT && row.finished.is_none()) {
        return Ok(());
    }
    let bmc: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
    let key = next_key(&former, subject, SLOT);
    let row = NewAct {
        body: body::write("act", &key, &ProbeBody { requester: by.to_owned(), anew })?,
        again: Again::AfterProbe,
        target: bmc.address.clone(),
        owner: Owner::Person,
        weight: WEIGHT.into(),
        due: w.now,
        key,
    };
    acts::record_act(w.tx, &row, w.now).await.map_err(store)?;
    apply::note(w, id, &format!("{cause}/probe"), "bmc-probe-asked", by, serde_json::json!({ "bmc": bmc.address }))
        .await
        .map(drop)
}

/// What came of a probe.
enum Outcome {
    Learnt(String, Learnt),
    Later(String),
    Unchanged(String),
    Lost,
}

impl From<HandError> for Outcome {
    fn from(error: HandError) -> Self {
        if error.later || error.may_have_happened { Self::Later(error.reason) } else { Self::Unchanged(error.reason) }
    }
}

struct Work {
    anew: bool,
    row: ActRow,
    bmc: BmcOf,
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let Held { row, bmc } = match take(me, row, CLAIM_MS, obstacle).await? {
        Taken::Yes(held) => *held,
        Taken::Unfit(row, why) => return settle(me, *row, Outcome::Unchanged(why)).await,
        Taken::No => return Ok(()),
    };
    let ProbeBody { anew, .. } = body::read("act", &row.key, &row.body)?;
    let work = Work { anew, row, bmc };
    let outcome = match probe(me, &work).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    settle(me, work.row, outcome).await
}

/// Both arms are outcomes: an error of the BMC ends it for now, wherever it was.
async fn probe(me: &Arc<Conductor>, work: &Work) -> Result<Outcome, Outcome> {
    let hand = me.probes.as_ref();
    let kind = hand.kind(&work.bmc).await?;
    let mut learnt = me.learnt_of(&kind).await.map_err(|error| Outcome::Later(error.to_string()))?;
    if work.anew {
        learnt = Learnt { survives_off: learnt.survives_off, ..Learnt::default() };
    }
    // After a restart that nobody saw the end of, what was missing before is not known any more.
    if learnt.keys_after_reset.is_none() && work.row.phase != RESTARTED {
        let before = hand.missing(&work.bmc).await?;
        learnt.keys_after_reset = Some(match before.is_empty() {
            true => Vec::new(),
            false => hidden(me, work, before).await?,
        });
    }
    if learnt.if_match.is_none() {
        durable(me, work, WRITES).await?;
        learnt.if_match = Some(hand.write_habit(&work.bmc).await?);
    }
    Ok(Outcome::Learnt(kind, learnt))
}

/// Which of the missing keys are there once the BMC was restarted.
async fn hidden(me: &Arc<Conductor>, work: &Work, before: Vec<String>) -> Result<Vec<String>, Outcome> {
    let hand = me.probes.as_ref();
    durable(me, work, RESTARTED).await?;
    if let Err(error) = hand.restart(&work.bmc).await
        && !error.may_have_happened
    {
        return Err(Outcome::Unchanged(format!(
            "it hides {} and was not restarted: {}",
            before.join(", "),
            error.reason
        )));
    }
    let until = tokio::time::Instant::now() + RESTART;
    let mut why = String::new();
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        match hand.missing(&work.bmc).await {
            Ok(after) => return Ok(before.into_iter().filter(|key| !after.contains(key)).collect()),
            Err(error) if error.later => why = error.reason,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Outcome::Later(format!("it has not come back from its restart: {why}")))
}

/// Written down before it is sent.
async fn durable(me: &Arc<Conductor>, work: &Work, word: &'static str) -> Result<(), Outcome> {
    match goes_out(me, &work.row.key, (word, CLAIM_MS)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Outcome::Lost),
        Err(error) => Err(Outcome::Later(error.to_string())),
    }
}

async fn settle(me: &Arc<Conductor>, row: ActRow, outcome: Outcome) -> Result<(), Error> {
    let (scribe, me) = (me.scribe.clone(), me.clone());
    let settled = scribe.write(move |mut w| {
        Box::pin(async move {
            match outcome {
                Outcome::Later(why) if row.attempts < ATTEMPTS => put_off(&mut w, &me, &row.key, (why, LATER_MS)).await,
                Outcome::Later(why) => {
                    let why = format!("given up after {ATTEMPTS} tries: {why}");
                    end(&mut w, &me, &row, Outcome::Unchanged(why)).await
                }
                outcome => end(&mut w, &me, &row, outcome).await,
            }
        })
    });
    settled.await
}

/// The act ends first: who has lost it changes nothing.
async fn end(w: &mut Write<'_>, me: &Conductor, row: &ActRow, outcome: Outcome) -> Result<(), Error> {
    let Subject::Bmc(machine) = row.key.of else { return Ok(()) };
    let (end, kind, detail) = match &outcome {
        Outcome::Learnt(kind, learnt) => {
            (End::Done, "bmc-probed", serde_json::json!({ "kind": kind, "learnt": learnt }))
        }
        Outcome::Unchanged(why) => (End::Failed, "bmc-not-probed", serde_json::json!({ "why": why })),
        Outcome::Later(_) | Outcome::Lost => return Ok(()),
    };
    if !acts::finish(w.tx, &row.key, &me.courier, end, &detail.to_string(), w.now).await.map_err(store)? {
        return Ok(());
    }
    if let Outcome::Learnt(kind, learnt) = &outcome {
        keep(w, machine, kind, learnt).await?;
    }
    tracing::info!(%machine, kind, "a BMC was tried");
    apply::note(w, machine, &format!("{kind}/{}", row.key.epoch.0), kind, "courier", detail).await.map(drop)
}

async fn keep(w: &mut Write<'_>, machine: MachineId, kind: &str, learnt: &Learnt) -> Result<(), Error> {
    bmc_adoption::put_learnt(w.tx, kind, w.now, &body::write("learnt", &kind, learnt)?).await.map_err(store)?;
    bmc_adoption::put_kind(w.tx, machine, kind).await.map_err(store)
}

/// Whether an override was there still once the machine was off: kept for the kind of its BMC, where that is known.
pub(crate) async fn outlived(me: &Arc<Conductor>, machine: MachineId, held: bool) -> Result<(), Error> {
    let kept = me.scribe.write(move |w| {
        Box::pin(async move {
            let Some(kind) = bmc_adoption::kind_of(w.tx, machine).await.map_err(store)? else { return Ok(()) };
            let text = bmc_adoption::learnt(w.tx, &kind).await.map_err(store)?;
            let known: Learnt = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            if known.survives_off == Some(held) {
                return Ok(());
            }
            let learnt = body::write("learnt", &kind, &Learnt { survives_off: Some(held), ..known })?;
            bmc_adoption::put_learnt(w.tx, &kind, w.now, &learnt).await.map_err(store)
        })
    });
    kept.await
}

impl Conductor {
    async fn learnt_of(&self, kind: &str) -> Result<Learnt, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let text = bmc_adoption::learnt(&mut tx, kind).await.map_err(store)?;
        // What a newer program wrote is learnt anew.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// What is known of every kind of BMC that was tried.
    ///
    /// # Errors
    /// The database's.
    pub async fn learnt_bmcs(&self) -> Result<Vec<LearntShown>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let rows = bmc_adoption::all_learnt(&mut tx).await.map_err(store)?;
        let shown = |(kind, at, body): (String, Millis, String)| LearntShown {
            kind,
            at,
            learnt: serde_json::from_str(&body).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(shown).collect())
    }
}
