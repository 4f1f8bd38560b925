//! A BMC's password is changed so that a crash at any moment leaves one that works and is written down.
//!
//! The next one is written down first (made), then it is written down that the BMC may hear of it (sent), then it is set,
//! then it has to log in, and only then is it the one in force. Whoever finds one that was sent and not settled asks the
//! BMC which of the two it takes. Turned down: setting it and then writing down what was set.

mod schedule;
mod vault;

pub use schedule::{PasswordAge, change_old_passwords};
pub use vault::{SiteKey, Vault};

use crate::apply;
use crate::courier::postpone;
use crate::error::store;
use crate::facts::Known;
use crate::scribe::Write;
use crate::{BmcBody, BmcOf, Conductor, Error, HandError, body};
use futures_core::future::BoxFuture;
use muster_names::{Epoch, Key, MachineId, Millis, Subject, TicketId};
use muster_store::passwords::{self, Password, PasswordState};
use muster_store::{ActRow, Again, Claim, End, NewAct, Owner, acts, machines, tickets};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The weight of these acts. They touch nothing that a machine runs, so that no budget counts them; the red button and
/// the queue of the BMC hold them all the same.
pub(crate) const WEIGHT: &str = "password";
const SLOT: &str = "change-password";
const TICKET: &str = "bmc-password";
const CLAIM_MS: i64 = 180_000;
/// A BMC that does not answer is asked again after this, and given up after an hour if it never heard of the password.
const LATER_MS: i64 = 60_000;
const PATIENCE_MS: i64 = 3_600_000;
/// Some BMCs say that it is done and take it a moment later.
const SETTLE: Duration = Duration::from_secs(1);
/// A password that did not take is set once more: the first order may never have arrived.
const ROUNDS: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct ChangeBody {
    requester: String,
}

/// Why it cannot be asked of this machine now.
pub(crate) fn obstacle(machine: &Known) -> Option<String> {
    if !machine.record.ours {
        return Some("claim it first: nobody marked it as ours".into());
    }
    machine.record.bmc.is_none().then(|| "its rack layout names no BMC".into())
}

/// Records that its password shall be changed; `false` when that is under way already.
pub(crate) async fn ask(w: &mut Write<'_>, machine: &Known, by: &str, cause: &str) -> Result<bool, Error> {
    let id = machine.record.id;
    if let Some(why) = obstacle(machine) {
        return Err(Error::refused(why));
    }
    let subject = Subject::Bmc(id);
    let former = acts::acts_of(w.tx, subject).await.map_err(store)?;
    if former.iter().any(|row| row.finished.is_none()) {
        return Ok(false);
    }
    let bmc: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
    let number = former.iter().map(|row| row.key.epoch.0).max().unwrap_or(0);
    let key = Key { of: subject, epoch: Epoch(number).next(), slot: SLOT.into() };
    let row = NewAct {
        body: body::write("act", &key, &ChangeBody { requester: by.to_string() })?,
        again: Again::AfterProbe,
        target: bmc.address.clone(),
        owner: Owner::Person,
        weight: WEIGHT.into(),
        due: w.now,
        key,
    };
    acts::record_act(w.tx, &row, w.now).await.map_err(store)?;
    let detail = serde_json::json!({ "bmc": bmc.address, "account": bmc.user });
    apply::note(w, id, cause, "bmc-password-asked", by, detail).await?;
    Ok(true)
}

/// From now on the BMC is asked with its password file again: after a person has set that password there.
pub(crate) async fn forget(w: &mut Write<'_>, id: MachineId, by: &str, cause: &str) -> Result<(), Error> {
    let subject = Subject::Bmc(id);
    if acts::acts_of(w.tx, subject).await.map_err(store)?.iter().any(|row| row.finished.is_none()) {
        return Err(Error::refused("its password is being changed; wait until that has ended"));
    }
    if !passwords::forget(w.tx, id, w.now).await.map_err(store)? {
        return Err(Error::refused("its password is that of its password file already"));
    }
    tickets::close_ticket(w.tx, subject, TICKET, "its password is that of its file again", w.now)
        .await
        .map_err(store)?;
    apply::note(w, id, cause, "bmc-password-forgotten", by, serde_json::Value::Null).await.map(drop)
}

/// What came of a change.
enum Outcome {
    Changed(i64),
    /// The one in force is what it was.
    Unchanged(String),
    /// Neither logs in.
    Unclear,
    /// The BMC does not answer, or not now.
    Later(String),
    /// Another courier has it, or everything is frozen.
    Lost,
}

impl From<HandError> for Outcome {
    fn from(error: HandError) -> Self {
        Self::Later(error.reason)
    }
}

struct Work {
    row: ActRow,
    bmc: BmcOf,
    open: Option<Password>,
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let work = match claim(me, &row).await? {
        Claimed::Yes(work) => work,
        Claimed::No => return Ok(()),
        Claimed::Frozen => return postpone(me, row.key).await,
    };
    me.rails().remove(&work.row.key);
    let outcome = match change(me, &work).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    settle(me, *work, outcome).await
}

enum Claimed {
    Yes(Box<Work>),
    No,
    Frozen,
}

/// Freeze and claim, in one transaction.
async fn claim(me: &Arc<Conductor>, row: &ActRow) -> Result<Claimed, Error> {
    let Subject::Bmc(id) = row.key.of else { return Ok(Claimed::No) };
    let (me, row) = (me.clone(), row.clone());
    me.clone()
        .scribe
        .write(move |w| {
            Box::pin(async move {
                let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
                if freeze.frozen {
                    me.rails().insert(row.key.clone(), format!("frozen by {} ({})", freeze.by, freeze.why));
                    return Ok(Claimed::Frozen);
                }
                let until = Millis(w.now.0.saturating_add(CLAIM_MS));
                let row = match acts::claim(w.tx, &row.key, &me.courier, until, w.now).await.map_err(store)? {
                    Claim::Claimed(row) | Claim::Reclaimed(row) => *row,
                    Claim::Lost => return Ok(Claimed::No),
                };
                let record = machines::get(w.tx, id).await.map_err(store)?;
                let text = record.filter(|record| record.ours).and_then(|record| record.bmc);
                let Some(text) = text else {
                    let why =
                        serde_json::json!({ "why": "the machine is not ours any more, or has no BMC" }).to_string();
                    acts::finish(w.tx, &row.key, &me.courier, End::Failed, &why, w.now).await.map_err(store)?;
                    return Ok(Claimed::No);
                };
                let bmc = BmcOf { machine: id, access: body::read("bmc", &id, &text)? };
                let rows = passwords::of(w.tx, id).await.map_err(store)?;
                let open = rows.into_iter().find(|row| matches!(row.state, PasswordState::Made | PasswordState::Sent));
                Ok(Claimed::Yes(Box::new(Work { row, bmc, open })))
            })
        })
        .await
}

/// Both arms are outcomes: an error of the BMC or of ours ends the change for now, wherever it was.
async fn change(me: &Arc<Conductor>, work: &Work) -> Result<Outcome, Outcome> {
    let (hand, bmc) = (me.passwords.as_ref(), &work.bmc);
    let mut open = match &work.open {
        Some(open) => open.clone(),
        None => make(me, work).await?,
    };
    let next = me.vault.open(&open).map_err(Outcome::Unchanged)?;
    for _ in 0..ROUNDS {
        if open.state == PasswordState::Made {
            mark(me, work, open.number, (PasswordState::Made, PasswordState::Sent)).await?;
            if let Err(error) = hand.set_password(bmc, &next).await
                && !error.may_have_happened
            {
                // The BMC never heard of it: what is written down says so again.
                mark(me, work, open.number, (PasswordState::Sent, PasswordState::Made)).await?;
                return Err(if error.later { Outcome::Later(error.reason) } else { Outcome::Unchanged(error.reason) });
            }
        }
        tokio::time::sleep(SETTLE).await;
        if hand.logs_in(bmc, Some(&next)).await? {
            return Ok(Outcome::Changed(open.number));
        }
        if !hand.logs_in(bmc, None).await? {
            return Ok(Outcome::Unclear);
        }
        mark(me, work, open.number, (PasswordState::Sent, PasswordState::Made)).await?;
        open.state = PasswordState::Made;
    }
    Ok(Outcome::Unchanged("it says that the new password was set, and takes the old one still".into()))
}

/// A new password, no longer than this BMC takes, written down before anybody hears of it.
async fn make(me: &Arc<Conductor>, work: &Work) -> Result<Password, Outcome> {
    let limit = me.passwords.password_limit(&work.bmc).await.map_err(|error| match error.later {
        true => Outcome::Later(error.reason),
        false => Outcome::Unchanged(error.reason),
    })?;
    let secret = vault::fresh_password(limit).map_err(Outcome::Unchanged)?;
    let (machine, account) = (work.bmc.machine, work.bmc.access.user.clone());
    let (me, scribe) = (me.clone(), me.scribe.clone());
    let made = scribe.write(move |w| {
        Box::pin(async move {
            let rows = passwords::of(w.tx, machine).await.map_err(store)?;
            let number = rows.last().map_or(0, |row| row.number).saturating_add(1);
            let sealed = me.vault.seal(machine, number, &account, &secret)?;
            if !passwords::put(w.tx, machine, number, &account, &sealed, w.now).await.map_err(store)? {
                return Ok(None);
            }
            let (made, state) = (w.now, PasswordState::Made);
            Ok(Some(Password { machine, number, account, state, sealed, made, settled: None }))
        })
    });
    made.await.map_err(ours)?.ok_or(Outcome::Lost)
}

/// Moves what is written down, renews the claim and looks at the red button, in one transaction.
async fn mark(
    me: &Arc<Conductor>,
    work: &Work,
    number: i64,
    step: (PasswordState, PasswordState),
) -> Result<(), Outcome> {
    let (me, scribe) = (me.clone(), me.scribe.clone());
    let (key, machine) = (work.row.key.clone(), work.bmc.machine);
    let moved = scribe.write(move |w| -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
            let sends = step.1 == PasswordState::Sent;
            if sends && freeze.frozen {
                return Ok(false);
            }
            let until = Millis(w.now.0.saturating_add(CLAIM_MS));
            if !acts::extend(w.tx, &key, &me.courier, until).await.map_err(store)? {
                return Ok(false);
            }
            let word = step.1.word();
            if sends {
                acts::mark_sent(w.tx, &key, &me.courier, word, w.now).await.map_err(store)?;
            } else {
                acts::set_phase(w.tx, &key, &me.courier, word).await.map_err(store)?;
            }
            passwords::step(w.tx, machine, number, step, None).await.map_err(store)
        })
    });
    match moved.await.map_err(ours)? {
        true => Ok(()),
        false => Err(Outcome::Lost),
    }
}

fn ours(error: Error) -> Outcome {
    Outcome::Later(error.to_string())
}

async fn settle(me: &Arc<Conductor>, work: Work, outcome: Outcome) -> Result<(), Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let (key, machine) = (work.row.key.clone(), work.bmc.machine);
                let outcome = match outcome {
                    Outcome::Later(why) => match given_up(&mut w, &work, &why).await? {
                        Some(outcome) => outcome,
                        None => {
                            me.rails().insert(key.clone(), format!("its BMC at {}: {why}", work.bmc.access.address));
                            let later = Millis(w.now.0.saturating_add(LATER_MS));
                            return acts::extend(w.tx, &key, &me.courier, later).await.map_err(store).map(drop);
                        }
                    },
                    other => other,
                };
                let (end, kind, detail) = match outcome {
                    Outcome::Changed(number) => {
                        passwords::settle(w.tx, machine, number, w.now).await.map_err(store)?;
                        let proof = "a new password logged in";
                        tickets::close_ticket(w.tx, key.of, TICKET, proof, w.now).await.map_err(store)?;
                        let detail = serde_json::json!({ "number": number, "account": work.bmc.access.user });
                        (End::Done, "bmc-password-changed", detail)
                    }
                    Outcome::Unchanged(why) => {
                        drop_open(&mut w, machine).await?;
                        (End::Failed, "bmc-password-unchanged", serde_json::json!({ "why": why }))
                    }
                    Outcome::Unclear => {
                        open_ticket(&mut w, key.of).await?;
                        let why = "neither the password in force nor the new one logs in";
                        (End::Unknown, "bmc-password-unclear", serde_json::json!({ "why": why }))
                    }
                    Outcome::Later(_) | Outcome::Lost => return Ok(()),
                };
                tracing::info!(machine = %machine, kind, "a BMC's password");
                if acts::finish(w.tx, &key, &me.courier, end, &detail.to_string(), w.now).await.map_err(store)? {
                    let cause = format!("{kind}/{}", key.epoch.0);
                    apply::note(&mut w, machine, &cause, kind, "courier", detail).await?;
                }
                Ok(())
            })
        })
        .await
}

/// A BMC that has not answered for an hour and never heard of the password keeps what it has. One that may have heard of
/// it is asked for ever: it takes one of the two.
async fn given_up(w: &mut Write<'_>, work: &Work, why: &str) -> Result<Option<Outcome>, Error> {
    let waited = w.now.0.saturating_sub(work.row.created.0);
    let rows = passwords::of(w.tx, work.bmc.machine).await.map_err(store)?;
    let heard = rows.iter().any(|row| row.state == PasswordState::Sent);
    let over = waited > PATIENCE_MS && !heard;
    Ok(over.then(|| Outcome::Unchanged(format!("given up after an hour: {why}"))))
}

async fn drop_open(w: &mut Write<'_>, machine: MachineId) -> Result<(), Error> {
    for row in passwords::of(w.tx, machine).await.map_err(store)? {
        if row.state == PasswordState::Made {
            let step = (PasswordState::Made, PasswordState::Dropped);
            passwords::step(w.tx, machine, row.number, step, Some(w.now)).await.map_err(store)?;
        }
    }
    Ok(())
}

async fn open_ticket(w: &mut Write<'_>, subject: Subject) -> Result<(), Error> {
    let id = TicketId(crate::rim::fresh_id()?);
    let title = "Its BMC takes neither its recorded password nor the new one: set the password of its password file \
                 there by hand, then `muster machine forget-bmc-password`";
    tickets::open_ticket(w.tx, id, subject, TICKET, title, "{}", w.now).await.map_err(store).map(drop)
}
