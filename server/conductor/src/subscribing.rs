//! BMCs that have no stream of events are told to send them to us, where the site says that they reach us. That is a change
//! on the BMC and so an act; what comes by it is a hint like that of a stream (B7.14).
//!
//! It is found again by its context and looked at once a day, because BMCs drop subscriptions whose other end was away.

use crate::apply;
use crate::courier::{Taken, goes_out, next_key, postpone, put_off, take};
use crate::error::store;
use crate::facts::{Known, known, shadow};
use crate::{BmcBody, BmcOf, Conductor, Error, HandError, body, rim};
use futures_core::future::BoxFuture;
use muster_bmc::Subscription;
use muster_catalog::{Catalog, Protocol};
use muster_names::{MachineId, Millis, Subject};
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
    /// Leaves exactly the wanted subscription of this context there. To do so twice does no harm.
    fn subscribe<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<(), HandError>>;
}

/// A subscription that shall be there, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    token: String,
    destination: Option<String>,
}

/// What is to be done, if anything, by what is known and by where BMCs shall send to.
fn wish(known: Option<&SubscriptionRow>, base: Option<&str>, now: Millis, fresh: &str) -> Option<Wish> {
    let token = known.map_or(fresh, |row| row.token.as_str()).to_owned();
    let destination = base.map(|base| format!("{}{EVENTS_PATH}{token}", base.trim_end_matches('/')));
    let due = match (known, &destination) {
        (None, wanted) => wanted.is_some(),
        (Some(row), None) => row.destination.is_some(),
        (Some(row), Some(wanted)) => {
            let age = now.0.saturating_sub(row.at.0);
            match &row.destination {
                Some(there) => there != wanted || age >= DAY_MS,
                None => age >= 7 * DAY_MS,
            }
        }
    };
    due.then_some(Wish { token, destination })
}

/// Why nothing of the kind is asked of this machine's BMC.
fn obstacle(catalog: &Catalog, machine: &Known) -> Option<String> {
    if !machine.record.ours || machine.record.bmc.is_none() {
        return Some("it is not ours, or nobody named its BMC".into());
    }
    shadow(catalog, machine)
}

impl Conductor {
    /// Asks for a subscription on a BMC that was listened to in vain, or for the end of one, if that is due.
    pub(crate) async fn settle_events(&self, bmc: &BmcOf, has_stream: bool) -> Result<(), Error> {
        if bmc.access.protocol != Protocol::Redfish {
            return Ok(());
        }
        let mut tx = self.db.read().await.map_err(store)?;
        let row = bmc_events::subscription_of(&mut tx, bmc.machine).await.map_err(store)?;
        drop(tx);
        let base = self.settings.events_to.as_deref().filter(|_| !has_stream);
        let Some(wish) = wish(row.as_ref(), base, rim::now(), &format!("{:032x}", rim::fresh_id()?)) else {
            return Ok(());
        };
        let (catalog, id, address) = (self.catalog(), bmc.machine, bmc.access.address.clone());
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    let machine = known(w.tx, &catalog, id).await?;
                    let former = acts::acts_of(w.tx, Subject::Bmc(id)).await.map_err(store)?;
                    let under_way = former.iter().any(|row| row.weight == WEIGHT && row.finished.is_none());
                    if under_way || obstacle(&catalog, &machine).is_some() {
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
    me.rails().remove(&row.key);
    let work = match claim(me, &row).await? {
        Taken::Yes(work) => work,
        Taken::No => return Ok(()),
        Taken::Frozen => return postpone(me, row.key).await,
    };
    if !goes_out(me, &work.row.key, (PHASE, CLAIM_MS)).await? {
        return Ok(());
    }
    let wanted = Subscription { context: CONTEXT.into(), destination: work.wish.destination.clone() };
    let ended = me.events.subscribe(&work.bmc, &wanted).await;
    settle(me, *work, ended).await
}

async fn claim(me: &Arc<Conductor>, row: &ActRow) -> Result<Taken<Work>, Error> {
    let Subject::Bmc(id) = row.key.of else { return Ok(Taken::No) };
    let (scribe, me, row) = (me.scribe.clone(), me.clone(), row.clone());
    let claimed = scribe.write(move |mut w| {
        Box::pin(async move {
            let row = match take(&mut w, &me, &row.key, CLAIM_MS).await? {
                Taken::Yes(row) => *row,
                Taken::No => return Ok(Taken::No),
                Taken::Frozen => return Ok(Taken::Frozen),
            };
            let machine = known(w.tx, &me.catalog(), id).await?;
            if obstacle(&me.catalog(), &machine).is_some() {
                acts::finish(w.tx, &row.key, &me.courier, End::Failed, "{}", w.now).await.map_err(store)?;
                return Ok(Taken::No);
            }
            let access: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
            let wish = body::read("act", &row.key, &row.body)?;
            Ok(Taken::Yes(Box::new(Work { wish, row, bmc: BmcOf { machine: id, access } })))
        })
    });
    claimed.await
}

async fn settle(me: &Arc<Conductor>, work: Work, ended: Result<(), HandError>) -> Result<(), Error> {
    let (scribe, me) = (me.scribe.clone(), me.clone());
    let settled = scribe.write(move |mut w| {
        Box::pin(async move {
            let Work { row, wish, bmc } = work;
            if let Err(error) = &ended
                && (error.later || error.may_have_happened)
                && row.attempts < ATTEMPTS
            {
                return put_off(&mut w, &me, &row.key, (error.reason.clone(), LATER_MS)).await;
            }
            let end = if ended.is_ok() { End::Done } else { End::Failed };
            if !acts::finish(w.tx, &row.key, &me.courier, end, "{}", w.now).await.map_err(store)? {
                return Ok(());
            }
            let before = bmc_events::subscription_of(w.tx, bmc.machine).await.map_err(store)?;
            let after = outcome(bmc.machine, wish, ended, w.now);
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

/// What is known afterwards. One that was to go and did not is asked for its end again, at the next visit but a day later.
fn outcome(machine: MachineId, wish: Wish, ended: Result<(), HandError>, at: Millis) -> Option<SubscriptionRow> {
    let Wish { token, destination } = wish;
    match ended {
        Ok(()) => destination.map(|there| SubscriptionRow { machine, token, destination: Some(there), at, why: None }),
        Err(error) => Some(SubscriptionRow { machine, token, destination: None, at, why: Some(error.reason) }),
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
        (_, None) if why(after).is_some() && why(before) != why(after) => {
            Some(("bmc-events-refused", serde_json::json!({ "why": why(after) })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000_000_000);
    const BASE: Option<&str> = Some("https://10.0.0.1:8444/");

    fn row(destination: Option<&str>, age: i64) -> SubscriptionRow {
        let why = destination.is_none().then(|| "no".to_owned());
        let destination = destination.map(str::to_owned);
        SubscriptionRow { machine: MachineId(1), token: "t".into(), destination, at: Millis(NOW.0 - age), why }
    }

    #[test]
    fn a_subscription_is_asked_for_once_and_looked_at_once_a_day() {
        let there = "https://10.0.0.1:8444/bmc-events/t";
        let asks = |row: Option<&SubscriptionRow>, base| wish(row, base, NOW, "f").map(|wish| wish.destination);
        assert_eq!(asks(None, BASE), Some(Some("https://10.0.0.1:8444/bmc-events/f".to_owned())));
        assert_eq!(asks(None, None), None, "the site has not said where BMCs reach us");
        assert_eq!(asks(Some(&row(Some(there), 1000)), BASE), None);
        assert_eq!(asks(Some(&row(Some(there), DAY_MS)), BASE), Some(Some(there.to_owned())), "with the same token");
        assert_eq!(asks(Some(&row(Some("https://old/bmc-events/t"), 0)), BASE), Some(Some(there.to_owned())));
        assert_eq!(asks(Some(&row(Some(there), 0)), None), Some(None), "it is taken back where it is not wanted");
        assert_eq!(asks(Some(&row(None, DAY_MS)), BASE), None, "who refused is left alone for a week");
        assert_eq!(asks(Some(&row(None, 7 * DAY_MS)), BASE), Some(Some(there.to_owned())));
    }

    #[test]
    fn the_log_is_told_what_changed_and_no_token() {
        let (there, refused) = (row(Some("https://h/bmc-events/t"), 0), row(None, 0));
        let kind = |before, after| news(before, after).map(|(kind, _)| kind);
        assert_eq!(news(None, Some(&there)).unwrap().1, serde_json::json!({ "to": "https://h" }));
        assert_eq!(kind(Some(&there), Some(&there)), None);
        assert_eq!(kind(Some(&there), None), Some("bmc-events-unsubscribed"));
        assert_eq!(kind(None, Some(&refused)), Some("bmc-events-refused"));
        assert_eq!(kind(Some(&refused), Some(&refused)), None);
        assert_eq!(kind(None, None), None);
    }
}
