//! Which passwords are old enough to be changed by themselves.

use crate::adoption::host;
use crate::error::store;
use crate::facts::known;
use crate::{BmcBody, Conductor, Error, body, rim};
use muster_names::{MachineId, Millis, Subject};
use muster_store::passwords::{self, Password};
use muster_store::{acts, machines, tickets};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;
const MOST: usize = super::AT_ONCE;

/// When a password is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordAge {
    pub days: u32,
}

/// One BMC as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    machine: MachineId,
    /// When its own password came in force; `None`: it has that of its password file.
    since: Option<Millis>,
    /// When a change was last begun, whatever came of it.
    tried: Option<Millis>,
    under_way: bool,
}

/// The next to be changed: those with a password from a file before those with the oldest. Who was tried within a day
/// waits, and while so many are under way nobody new begins.
fn next(fleet: &[Seen], age: PasswordAge, now: Millis) -> Vec<MachineId> {
    let under_way = fleet.iter().filter(|seen| seen.under_way).count();
    let old = |since: Millis| now.0.saturating_sub(since.0) >= i64::from(age.days).saturating_mul(DAY_MS);
    let rested = |seen: &&Seen| seen.tried.is_none_or(|tried| now.0.saturating_sub(tried.0) >= DAY_MS);
    let mut wanted: Vec<&Seen> =
        fleet.iter().filter(|seen| !seen.under_way && seen.since.is_none_or(old)).filter(rested).collect();
    wanted.sort_by_key(|seen| (seen.since, seen.machine));
    wanted.iter().take(MOST.saturating_sub(under_way)).map(|seen| seen.machine).collect()
}

/// Runs until `cancel`.
pub async fn change_old_passwords(me: Arc<Conductor>, age: PasswordAge, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        if let Err(error) = me.change_old_passwords_once(age).await {
            tracing::warn!(error = %error, label = error.label(), "old passwords of BMCs were not looked at");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Conductor {
    /// One round; says how many changes it began.
    ///
    /// # Errors
    /// The database's.
    pub async fn change_old_passwords_once(self: &Arc<Self>, age: PasswordAge) -> Result<usize, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        // What went wrong at one BMC may go wrong at all: a person looks first.
        let tickets = tickets::list_open(&mut tx).await.map_err(store)?;
        let asked_for = tickets.iter().any(|ticket| ticket.cause == super::TICKET);
        if asked_for || muster_store::site::frozen(&mut tx).await.map_err(store)?.frozen {
            return Ok(0);
        }
        let own = passwords::current(&mut tx).await.map_err(store)?;
        let own: BTreeMap<MachineId, Password> = own.into_iter().map(|row| (row.machine, row)).collect();
        let mut fleet = Vec::new();
        for (machine, text) in machines::ours_with_bmc(&mut tx).await.map_err(store)? {
            let own = own.get(&machine);
            let here = |bmc: &BmcBody| {
                own.is_none_or(|own| host(&own.address) == host(&bmc.address) && own.account == bmc.user)
            };
            // Another address or account than it was set for is tried when a person asks for it.
            if !body::read("bmc", &machine, &text).is_ok_and(|bmc| here(&bmc)) {
                continue;
            }
            let rows = acts::acts_of(&mut tx, Subject::Bmc(machine)).await.map_err(store)?;
            fleet.push(Seen {
                machine,
                since: own.map(|own| own.settled.unwrap_or(own.made)),
                tried: rows.iter().rfind(|row| row.weight == super::WEIGHT).map(|row| row.created),
                under_way: super::under_way(&rows),
            });
        }
        drop(tx);
        let mut begun = 0;
        for id in next(&fleet, age, rim::now()) {
            let me = self.clone();
            let asked = self
                .scribe
                .write(move |mut w| {
                    Box::pin(async move {
                        let machine = known(w.tx, &me.catalog(), id).await?;
                        let cause = format!("bmc-password-old/{}", w.now.0);
                        let told = ("schedule", cause.as_str());
                        super::ask(&mut w, &me.catalog(), &machine, super::Goal::Own, told).await
                    })
                })
                .await;
            match asked {
                Ok(new) => begun += usize::from(new),
                // One machine that may not be asked must not keep all that come after it from their turn.
                Err(error) => tracing::warn!(machine = %id, error = %error, "its old password stays"),
            }
        }
        self.work.notify_one();
        Ok(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: PasswordAge = PasswordAge { days: 30 };
    const NOW: Millis = Millis(100 * DAY_MS);

    fn seen(machine: u128, since: Option<i64>) -> Seen {
        Seen {
            machine: MachineId(machine),
            since: since.map(|day| Millis(day * DAY_MS)),
            tried: None,
            under_way: false,
        }
    }

    fn ids(fleet: &[Seen]) -> Vec<u128> {
        next(fleet, AGE, NOW).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn passwords_of_files_go_first_and_then_the_oldest() {
        assert_eq!(ids(&[seen(1, Some(60)), seen(2, Some(10)), seen(3, None), seen(4, Some(99))]), [3, 2, 1]);
    }

    #[test]
    fn no_more_than_five_are_under_way() {
        let mut fleet: Vec<Seen> = (0..20).map(|machine| seen(machine, None)).collect();
        assert_eq!(ids(&fleet), [0, 1, 2, 3, 4]);
        for begun in fleet.iter_mut().take(4) {
            begun.under_way = true;
        }
        assert_eq!(ids(&fleet), [4]);
    }

    #[test]
    fn what_was_tried_today_waits_for_tomorrow() {
        let mut tried = seen(1, None);
        tried.tried = Some(Millis(NOW.0 - DAY_MS + 1));
        assert_eq!(ids(&[tried]), Vec::<u128>::new());
        tried.tried = Some(Millis(NOW.0 - DAY_MS));
        assert_eq!(ids(&[tried]), [1]);
    }
}
