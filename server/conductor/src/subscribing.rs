//! BMCs that have no stream of events are told to send them to us, where the site says that they reach us. That is a change
//! on the BMC and so an act; what comes by it is a hint like that of a stream (B7.14).
//!
//! It is found again by its context and looked at once a day, because BMCs drop subscriptions whose other end was away.

use crate::apply;
use crate::courier::{Held, Taken, conclude, goes_out, next_key, take};
use crate::error::store;
use crate::facts::{Known, known, shadow};
use crate::{BmcOf, Conductor, Error, HandError, body, rim};
use futures_core::future::BoxFuture;
use muster_bmc::Subscription;
use muster_catalog::{Catalog, Protocol};
use muster_names::{Millis, Subject};
use muster_store::bmc_events::{self, SubscriptionRow};
use muster_store::{ActRow, Again, End, NewAct, Owner, acts};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Below this path BMCs tell of events; what follows it is the token of one of them.
pub const EVENTS_PATH: &str = "/bmc-events/";

/// The weight of these acts.
pub(crate) const WEIGHT: &str = "events";
const SLOT: &str = "events";
const PHASE: &str = "subscribe";
/// By this our subscriptions are known among those of others.
const CONTEXT: &str = "muster";
const CLAIM_MS: i64 = 240_000;
const LATER_MS: i64 = 300_000;
const ATTEMPTS: i64 = 12;
const DAY_MS: i64 = 86_400_000;

/// What is asked of a BMC for it.
pub trait EventHand: Send + Sync {
    /// Whether exactly the wanted subscription of this context is there.
    fn subscribed<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<bool, HandError>>;
    /// Leaves exactly the wanted subscription of this context there. To do so twice does no harm.
    fn subscribe<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<(), HandError>>;
}

/// A subscription that shall be there, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    token: String,
    destination: Option<String>,
}

impl Wish {
    fn wanted(&self) -> Subscription {
        Subscription { context: CONTEXT.into(), destination: self.destination.clone() }
    }
}

/// What is to be done, by what is known of this BMC and by where BMCs shall send to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// It was there: whether it is still.
    Look(Wish),
    Ask(Wish),
}

fn next(known: Option<&SubscriptionRow>, base: Option<&str>, now: Millis, fresh: &str) -> Next {
    let token = known.map_or(fresh, |row| row.token.as_str()).to_owned();
    let destination = base.map(|base| format!("{}{EVENTS_PATH}{token}", base.trim_end_matches('/')));
    let age = known.map_or(i64::MAX, |row| now.0.saturating_sub(row.at.0));
    let there = known.and_then(|row| row.destination.as_ref());
    // What failed is tried again a day later, and a new one that was refused after a week.
    let failed = known.is_some_and(|row| row.why.is_some());
    let rested = !failed || age >= if there.is_some() { DAY_MS } else { 7 * DAY_MS };
    let wish = Wish { token, destination };
    match (there, &wish.destination) {
        (None, None) => Next::Nothing,
        (Some(there), Some(wanted)) if there == wanted => {
            if age >= DAY_MS {
                Next::Look(wish)
            } else {
                Next::Nothing
            }
        }
        _ if rested => Next::Ask(wish),
        _ => Next::Nothing,
    }
}

/// Why nothing of the kind is asked of this machine's BMC.
fn obstacle(catalog: &Catalog, machine: &Known) -> Option<String> {
    if !machine.record.ours || machine.record.bmc.is_none() {
        return Some("it is not ours, or nobody named its BMC".into());
    }
    shadow(catalog, machine)
}

impl Conductor {
    /// Sees to it that a BMC that was listened to in vain sends its events, or that one sends them no more: once a day.
    pub(crate) async fn settle_events(&self, bmc: &BmcOf, has_stream: bool) -> Result<(), Error> {
        if bmc.access.protocol != Protocol::Redfish {
            return Ok(());
        }
        let mut tx = self.db.read().await.map_err(store)?;
        let row = bmc_events::subscription_of(&mut tx, bmc.machine).await.map_err(store)?;
        drop(tx);
        // What another BMC had is not known of this one.
        let row = row.filter(|row| row.address == bmc.access.address);
        let base = self.settings.events_to.as_deref().filter(|_| !has_stream);
        match next(row.as_ref(), base, rim::now(), &format!("{:032x}", rim::fresh_id()?)) {
            Next::Nothing => Ok(()),
            Next::Ask(wish) => self.ask_for(bmc, wish).await,
            Next::Look(wish) => match self.events.subscribed(bmc, &wish.wanted()).await {
                Ok(true) => {
                    let Some(row) = row else { return Ok(()) };
                    let write = self.scribe.write(move |w| {
                        Box::pin(async move {
                            let row = SubscriptionRow { at: w.now, why: None, ..row };
                            bmc_events::put_subscription(w.tx, &row).await.map_err(store)
                        })
                    });
                    write.await
                }
                Ok(false) => self.ask_for(bmc, wish).await,
                Err(error) => {
                    tracing::debug!(machine = %bmc.machine, %error, "whether its BMC sends events still is not known");
                    Ok(())
                }
            },
        }
    }

    /// Nothing is asked for while everything is frozen: it comes to that again.
    async fn ask_for(&self, bmc: &BmcOf, wish: Wish) -> Result<(), Error> {
        let (catalog, id, address) = (self.catalog(), bmc.machine, bmc.access.address.clone());
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    let frozen = muster_store::site::lock_ledger(w.tx).await.map_err(store)?.frozen;
                    let machine = known(w.tx, &catalog, id).await?;
                    let former = acts::acts_of(w.tx, Subject::Bmc(id)).await.map_err(store)?;
                    let under_way = former.iter().any(|row| row.weight == WEIGHT && row.finished.is_none());
                    if frozen || under_way || obstacle(&catalog, &machine).is_some() {
                        return Ok(());
                    }
                    let key = next_key(&former, Subject::Bmc(id), SLOT);
                    let row = NewAct {
                        body: body::write("act", &key, &wish)?,
                        again: Again::Freely,
                        target: address,
                        owner: Owner::Person,
                        weight: WEIGHT.into(),
                        due: w.now,
                        key,
                    };
                    acts::record_act(w.tx, &row, w.now).await.map_err(store).map(drop)
                })
            })
            .await
    }

    /// A BMC sent something to the address with this token: `false` where nobody knows the token.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_pushed(&self, token: &str) -> Result<bool, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let machine = bmc_events::machine_behind(&mut tx, token).await.map_err(store)?;
        if let Some(machine) = machine {
            self.watching.pushed(machine);
        }
        Ok(machine.is_some())
    }
}

struct Work {
    row: ActRow,
    wish: Wish,
    bmc: BmcOf,
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let Held { row, bmc } = match take(me, row, CLAIM_MS, obstacle).await? {
        Taken::Yes(held) => *held,
        Taken::Unfit(row, _) => return let_be(me, *row).await,
        Taken::No => return Ok(()),
    };
    if !goes_out(me, &row.key, (PHASE, CLAIM_MS)).await? {
        return Ok(());
    }
    let wish: Wish = body::read("act", &row.key, &row.body)?;
    let ended = me.events.subscribe(&bmc, &wish.wanted()).await;
    settle(me, Work { row, wish, bmc }, ended).await
}

/// Its machine is nobody's to ask any more.
async fn let_be(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let (scribe, me) = (me.scribe.clone(), me.clone());
    let ended = scribe.write(move |w| {
        Box::pin(async move {
            acts::finish(w.tx, &row.key, &me.courier, End::Failed, "{}", w.now).await.map_err(store).map(drop)
        })
    });
    ended.await
}

async fn settle(me: &Arc<Conductor>, work: Work, ended: Result<(), HandError>) -> Result<(), Error> {
    let (scribe, me) = (me.scribe.clone(), me.clone());
    let settled = scribe.write(move |mut w| {
        Box::pin(async move {
            let Work { row, wish, bmc } = work;
            if !conclude(&mut w, &me, &row, &ended, (LATER_MS, ATTEMPTS)).await? {
                return Ok(());
            }
            let before = bmc_events::subscription_of(w.tx, bmc.machine).await.map_err(store)?;
            let before = before.filter(|row| row.address == bmc.access.address);
            let after = outcome(before.as_ref(), &bmc, wish, ended, w.now);
            match &after {
                Some(after) => bmc_events::put_subscription(w.tx, after).await.map_err(store)?,
                None => bmc_events::forget_subscription(w.tx, bmc.machine).await.map_err(store)?,
            }
            let Some((kind, detail)) = news(before.as_ref(), after.as_ref()) else { return Ok(()) };
            let cause = format!("{kind}/{}", row.key.epoch.0);
            apply::note(&mut w, bmc.machine, &cause, kind, "courier", detail).await.map(drop)
        })
    });
    settled.await
}

/// What is known afterwards. After a failure what was there may be there still.
fn outcome(
    before: Option<&SubscriptionRow>,
    bmc: &BmcOf,
    wish: Wish,
    ended: Result<(), HandError>,
    at: Millis,
) -> Option<SubscriptionRow> {
    let Wish { token, destination } = wish;
    let (machine, address) = (bmc.machine, bmc.access.address.clone());
    let row = |destination, why| SubscriptionRow { machine, address, token, destination, at, why };
    match ended {
        Ok(()) => destination.map(|there| row(Some(there), None)),
        Err(error) => Some(row(before.and_then(|row| row.destination.clone()), Some(error.reason))),
    }
}

/// For the machine's log: what is as it was is no news.
fn news(
    before: Option<&SubscriptionRow>,
    after: Option<&SubscriptionRow>,
) -> Option<(&'static str, serde_json::Value)> {
    let there = |row: Option<&SubscriptionRow>| row.and_then(|row| row.destination.clone());
    let why = |row: Option<&SubscriptionRow>| row.and_then(|row| row.why.clone());
    match (there(before), there(after)) {
        (old, Some(new)) if old.as_ref() != Some(&new) => {
            let host = new.split(EVENTS_PATH).next().unwrap_or_default();
            Some(("bmc-events-subscribed", serde_json::json!({ "to": host })))
        }
        (Some(_), None) if after.is_none() => Some(("bmc-events-unsubscribed", serde_json::Value::Null)),
        _ if why(after).is_some() && why(before) != why(after) => {
            Some(("bmc-events-refused", serde_json::json!({ "why": why(after) })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::MachineId;

    const NOW: Millis = Millis(1_000_000_000_000);
    const BASE: Option<&str> = Some("https://10.0.0.1:8444/");
    const THERE: &str = "https://10.0.0.1:8444/bmc-events/t";

    fn row(destination: Option<&str>, why: Option<&str>, age: i64) -> SubscriptionRow {
        let text = |text: Option<&str>| text.map(str::to_owned);
        SubscriptionRow {
            machine: MachineId(1),
            address: "https://b".into(),
            token: "t".into(),
            destination: text(destination),
            at: Millis(NOW.0 - age),
            why: text(why),
        }
    }

    fn asks(token: &str, destination: Option<&str>) -> Next {
        Next::Ask(Wish { token: token.into(), destination: destination.map(str::to_owned) })
    }

    #[test]
    fn a_subscription_is_asked_for_once_and_looked_at_once_a_day() {
        let next = |row: Option<&SubscriptionRow>, base| next(row, base, NOW, "f");
        assert_eq!(next(None, BASE), asks("f", Some("https://10.0.0.1:8444/bmc-events/f")));
        assert_eq!(next(None, None), Next::Nothing, "the site has not said where BMCs reach us");
        assert_eq!(next(Some(&row(Some(THERE), None, 1000)), BASE), Next::Nothing);
        let look = Wish { token: "t".into(), destination: Some(THERE.into()) };
        assert_eq!(next(Some(&row(Some(THERE), None, DAY_MS)), BASE), Next::Look(look));
        assert_eq!(next(Some(&row(Some("https://old/bmc-events/t"), None, 0)), BASE), asks("t", Some(THERE)));
        assert_eq!(
            next(Some(&row(Some(THERE), None, 0)), None),
            asks("t", None),
            "it is taken back where it is not wanted"
        );
        for (age, then) in [(1000, Next::Nothing), (DAY_MS, asks("t", None))] {
            assert_eq!(next(Some(&row(Some(THERE), Some("no"), age)), None), then, "again a day after that failed");
        }
        for (age, then) in [(DAY_MS, Next::Nothing), (7 * DAY_MS, asks("t", Some(THERE)))] {
            assert_eq!(next(Some(&row(None, Some("no"), age)), BASE), then, "who refused is left alone for a week");
        }
    }

    #[test]
    fn what_failed_does_not_make_what_was_there_undone() {
        let access = muster_catalog::BmcAccess {
            protocol: Protocol::Redfish,
            address: "https://b".into(),
            user: "u".into(),
            password_file: None,
            profile: None,
        };
        let bmc = BmcOf { machine: MachineId(1), access };
        let before = row(Some(THERE), None, 9);
        let failed = || Err(HandError { reason: "no".into(), may_have_happened: false, later: false });
        let wish = |to: Option<&str>| Wish { token: "t".into(), destination: to.map(str::to_owned) };
        let after = outcome(Some(&before), &bmc, wish(None), failed(), NOW);
        assert_eq!(after, Some(row(Some(THERE), Some("no"), 0)));
        assert_eq!(outcome(None, &bmc, wish(Some(THERE)), failed(), NOW), Some(row(None, Some("no"), 0)));
        assert_eq!(outcome(Some(&before), &bmc, wish(None), Ok(()), NOW), None);
    }

    #[test]
    fn the_log_is_told_what_changed_and_no_token() {
        let (there, refused) = (row(Some("https://h/bmc-events/t"), None, 0), row(None, Some("no"), 0));
        let kind = |before, after| news(before, after).map(|(kind, _)| kind);
        assert_eq!(news(None, Some(&there)).unwrap().1, serde_json::json!({ "to": "https://h" }));
        assert_eq!(kind(Some(&there), Some(&there)), None);
        assert_eq!(kind(Some(&there), None), Some("bmc-events-unsubscribed"));
        assert_eq!(kind(None, Some(&refused)), Some("bmc-events-refused"));
        let unsure = row(Some("https://h/bmc-events/t"), Some("no"), 0);
        assert_eq!(kind(Some(&there), Some(&unsure)), Some("bmc-events-refused"));
        assert_eq!(kind(Some(&refused), Some(&refused)), None);
        assert_eq!(kind(None, None), None);
    }
}
