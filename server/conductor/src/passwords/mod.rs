//! A BMC's password is changed so that a crash at any moment leaves one that works and is written down.
//!
//! The next one is written down first (made), then it is written down that the BMC may hear of it (sent), then it is set,
//! then it has to log in, and only then is it the one in force. What the BMC may have heard of is never taken for unheard
//! again: a slow one may take it minutes later. Turned down: setting it and then writing down what was set.

mod schedule;
mod vault;

pub use schedule::{PasswordAge, change_old_passwords};
pub(crate) use vault::fresh_password;
pub use vault::{SiteKey, Vault};

use crate::apply;
use crate::courier::{Held, Taken, next_key, put_off, take};
use crate::error::store;
use crate::facts::{Known, shadow};
use crate::hand::Login;
use crate::scribe::Write;
use crate::{BmcBody, BmcOf, Conductor, Error, HandError, body, rim};
use futures_core::future::BoxFuture;
use muster_catalog::Catalog;
use muster_names::{MachineId, Millis, Subject, TicketId};
use muster_store::passwords::{self, Password, PasswordState};
use muster_store::{ActRow, Again, End, NewAct, Owner, acts, machines, tickets};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The weight of these acts. They touch nothing that a machine runs, so that no budget of machines counts them; the red
/// button, the queue of the BMC and [`AT_ONCE`] hold them all the same.
pub const WEIGHT: &str = "password";
/// A fault of ours, or of one firmware, shall show at a few BMCs and not at all of them.
pub(crate) const AT_ONCE: usize = 5;
const SLOT: &str = "password";
pub(crate) const TICKET: &str = "bmc-password";
/// Longer than all that is asked of a BMC between two renewals.
const CLAIM_MS: i64 = 360_000;
/// A BMC that does not answer is asked again after this, so many times.
const LATER_MS: i64 = 60_000;
const ATTEMPTS: i64 = 60;
/// One that takes the old password still is looked at again after this; after so long it will not take the new one.
const STILL_OLD_MS: i64 = 300_000;
const GIVE_UP_MS: i64 = 600_000;
/// Most BMCs have done it by then.
const SETTLE: Duration = Duration::from_secs(1);
/// It is set once more in one go: the first order may never have arrived.
const ROUNDS: u32 = 2;
/// The phase of an act whose new password was refused last: the next look begins with the old one, for two wrong logins in
/// a row are too many.
const REFUSED: &str = "new-refused";

/// What shall be in force in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// One that nobody knows.
    Own,
    /// That of its password file.
    File,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChangeBody {
    requester: String,
    goal: Goal,
}

/// Why nothing of the kind may be done to this machine's BMC.
fn unfit(catalog: &Catalog, machine: &Known) -> Option<String> {
    if !machine.record.ours {
        return Some("claim it first: nobody marked it as ours".into());
    }
    if machine.record.bmc.is_none() {
        return Some("nobody named its BMC".into());
    }
    shadow(catalog, machine)
}

/// Why it cannot be asked of this machine now.
pub(crate) async fn obstacle(
    w: &mut Write<'_>,
    catalog: &Catalog,
    machine: &Known,
    goal: Goal,
) -> Result<Option<String>, Error> {
    if let Some(why) = unfit(catalog, machine) {
        return Ok(Some(why));
    }
    let id = machine.record.id;
    if goal == Goal::File && under_way(&acts::acts_of(w.tx, Subject::Bmc(id)).await.map_err(store)?) {
        return Ok(Some("its password is being changed; wait until that has ended".into()));
    }
    let access: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
    if goal == Goal::File && access.password_file.is_none() {
        return Ok(Some("it has no password file: its BMC came with a manifest".into()));
    }
    let own = |row: &Password| matches!(row.state, PasswordState::Sent | PasswordState::Current);
    if goal == Goal::File && !passwords::of(w.tx, id).await.map_err(store)?.iter().any(own) {
        return Ok(Some("its password is that of its password file already".into()));
    }
    Ok(None)
}

/// Of all acts of a BMC.
pub(crate) fn under_way<'a>(rows: impl IntoIterator<Item = &'a ActRow>) -> bool {
    rows.into_iter().any(|row| row.weight == WEIGHT && row.finished.is_none())
}

/// Records that its password shall be changed; `false` when that is under way already.
pub(crate) async fn ask(
    w: &mut Write<'_>,
    catalog: &Catalog,
    machine: &Known,
    goal: Goal,
    (by, cause): (&str, &str),
) -> Result<bool, Error> {
    let id = machine.record.id;
    if let Some(why) = obstacle(w, catalog, machine, goal).await? {
        return Err(Error::refused(why));
    }
    let subject = Subject::Bmc(id);
    let former = acts::acts_of(w.tx, subject).await.map_err(store)?;
    if under_way(&former) {
        return Ok(false);
    }
    let bmc: BmcBody = body::read("bmc", &id, machine.record.bmc.as_deref().unwrap_or_default())?;
    let key = next_key(&former, subject, SLOT);
    let row = NewAct {
        body: body::write("act", &key, &ChangeBody { requester: by.to_string(), goal })?,
        again: Again::AfterProbe,
        target: bmc.address.clone(),
        owner: Owner::Person,
        weight: WEIGHT.into(),
        due: w.now,
        key,
    };
    acts::record_act(w.tx, &row, w.now).await.map_err(store)?;
    let detail = serde_json::json!({ "bmc": bmc.address, "account": bmc.user, "goal": goal });
    apply::note(w, id, cause, "bmc-password-asked", by, detail).await?;
    Ok(true)
}

/// What came of a change.
enum Outcome {
    Changed(i64),
    /// That of the password file is in force.
    Restored,
    /// It was not told of a new one: the one in force is what it was.
    Unchanged(String),
    /// It was told, and still takes the one in force long after.
    StillOld(String),
    /// Nobody knows which one it takes, and why that is.
    Unclear(String),
    /// Looked at again after so many milliseconds.
    Later(String, i64),
    /// Another courier has it, or everything is frozen.
    Lost,
}

impl From<HandError> for Outcome {
    fn from(error: HandError) -> Self {
        Self::Later(error.reason, LATER_MS)
    }
}

struct Work {
    row: ActRow,
    goal: Goal,
    bmc: BmcOf,
    open: Option<Password>,
}

pub(crate) async fn carry(me: &Arc<Conductor>, row: ActRow) -> Result<(), Error> {
    let goal = |row: &ActRow| body::read("act", &row.key, &row.body).map(|body: ChangeBody| body.goal);
    let Held { row, bmc } = match take(me, row, CLAIM_MS, unfit).await? {
        Taken::Yes(held) => *held,
        Taken::Unfit(row, why) => return settle(me, (goal(&row)?, *row), Outcome::Unchanged(why)).await,
        Taken::No => return Ok(()),
    };
    let mut tx = me.db.read().await.map_err(store)?;
    let rows = passwords::of(&mut tx, bmc.machine).await.map_err(store)?;
    drop(tx);
    let open = rows.into_iter().find(|row| matches!(row.state, PasswordState::Made | PasswordState::Sent));
    let work = Work { goal: goal(&row)?, row, bmc, open };
    let outcome = match change(me, &work).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    settle(me, (work.goal, work.row), outcome).await
}

/// Both arms are outcomes: an error of the BMC or of ours ends the change for now, wherever it was.
async fn change(me: &Arc<Conductor>, work: &Work) -> Result<Outcome, Outcome> {
    let (hand, bmc) = (me.passwords.as_ref(), &work.bmc);
    let open = match (&work.open, work.goal) {
        (Some(open), Goal::Own) => open.clone(),
        // Of this act itself: it was begun before the daemon died.
        (Some(open), Goal::File) if open.made >= work.row.created => open.clone(),
        (open, Goal::File) => {
            let file = hand.of_file(bmc).await.map_err(|error| Outcome::Unchanged(error.reason))?;
            if hand.logs_in(bmc, Login::With(&file)).await? {
                return Ok(Outcome::Restored);
            }
            if open.is_some() {
                let why = "the password of its file does not log in, and what was set there last is not settled: set the \
                           password of its file there by hand first";
                return Ok(Outcome::Unclear(why.into()));
            }
            make(me, work, file).await?
        }
        (None, Goal::Own) => {
            let limit = hand.password_limit(bmc).await.map_err(refused)?;
            make(me, work, vault::fresh_password(limit).map_err(Outcome::Unchanged)?).await?
        }
    };
    let sent = open.state == PasswordState::Sent;
    let next = me.vault.open(&open).map_err(|why| match sent {
        true => Outcome::Unclear(format!("a new password may be in force, and {why}")),
        false => Outcome::Unchanged(why),
    })?;
    if !sent {
        mark(me, work, open.number, (PasswordState::Made, PasswordState::Sent)).await?;
        if let Err(error) = hand.set_password(bmc, &next).await
            && !error.may_have_happened
        {
            // It was never told before: this is the one time that what is written down goes back.
            mark(me, work, open.number, (PasswordState::Sent, PasswordState::Made)).await?;
            return Err(refused(error));
        }
    }
    prove(me, work, &open, &next).await
}

/// The new password has to log in; while the old one does, it is set again.
async fn prove(
    me: &Arc<Conductor>,
    work: &Work,
    open: &Password,
    next: &muster_bmc::Secret,
) -> Result<Outcome, Outcome> {
    let (hand, bmc) = (me.passwords.as_ref(), &work.bmc);
    let mut old_first = work.row.phase == REFUSED;
    let mut old_refused = false;
    for round in 0..ROUNDS {
        if !old_first {
            tokio::time::sleep(SETTLE).await;
            if hand.logs_in(bmc, Login::With(next)).await? {
                return Ok(Outcome::Changed(open.number));
            }
            phase(me, work, REFUSED).await?;
        }
        if old_refused || !hand.logs_in(bmc, Login::InForce).await? {
            if !old_first {
                return Ok(Outcome::Unclear("its BMC takes neither its recorded password nor the new one".into()));
            }
            (old_first, old_refused) = (false, true);
            continue;
        }
        old_first = false;
        if round + 1 < ROUNDS
            && let Err(error) = hand.set_password(bmc, next).await
            && error.later
            && !error.may_have_happened
        {
            return Err(error.into());
        }
    }
    let why = "it says that the new password was set, and takes the old one still";
    match rim::now().0.saturating_sub(open.made.0) >= GIVE_UP_MS {
        true => Ok(Outcome::StillOld(why.into())),
        false => Ok(Outcome::Later(why.into(), STILL_OLD_MS)),
    }
}

/// An error before the BMC was told anything.
fn refused(error: HandError) -> Outcome {
    if error.later { error.into() } else { Outcome::Unchanged(error.reason) }
}

fn ours(error: Error) -> Outcome {
    Outcome::Later(error.to_string(), LATER_MS)
}

/// Written down before anybody hears of it.
async fn make(me: &Arc<Conductor>, work: &Work, secret: muster_bmc::Secret) -> Result<Password, Outcome> {
    let closed = me.vault.closed().await.map_err(ours)?;
    if let Some((_, why)) = closed.first() {
        let said = format!("no new password is made while those of {} BMCs do not open: {why}", closed.len());
        return Err(Outcome::Unchanged(said));
    }
    let (machine, access) = (work.bmc.machine, work.bmc.access.clone());
    let (me, scribe) = (me.clone(), me.scribe.clone());
    let made = scribe.write(move |w| {
        Box::pin(async move {
            let rows = passwords::of(w.tx, machine).await.map_err(store)?;
            let number = rows.last().map_or(0, |row| row.number).saturating_add(1);
            let sealed = me.vault.seal(machine, number, &access.user, &secret)?;
            let at = (access.address.as_str(), access.user.as_str());
            if !passwords::put(w.tx, machine, number, at, &sealed, w.now).await.map_err(store)? {
                return Ok(None);
            }
            let (made, state, settled) = (w.now, PasswordState::Made, None);
            let (address, account) = (access.address, access.user);
            Ok(Some(Password { machine, number, address, account, state, sealed, made, settled }))
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

/// Keeps how far it has come, and the claim.
async fn phase(me: &Arc<Conductor>, work: &Work, word: &'static str) -> Result<(), Outcome> {
    let (courier, key, scribe) = (me.courier.clone(), work.row.key.clone(), me.scribe.clone());
    let kept = scribe.write(move |w| {
        Box::pin(async move {
            let until = Millis(w.now.0.saturating_add(CLAIM_MS));
            acts::extend(w.tx, &key, &courier, until).await.map_err(store)?;
            acts::set_phase(w.tx, &key, &courier, word).await.map_err(store)
        })
    });
    if kept.await.map_err(ours)? { Ok(()) } else { Err(Outcome::Lost) }
}

async fn settle(me: &Arc<Conductor>, (goal, row): (Goal, ActRow), outcome: Outcome) -> Result<(), Error> {
    let me = me.clone();
    me.clone()
        .scribe
        .write(move |mut w| {
            Box::pin(async move {
                let outcome = match outcome {
                    Outcome::Later(why, wait) if row.attempts < ATTEMPTS => {
                        return put_off(&mut w, &me, &row.key, (why, wait)).await;
                    }
                    Outcome::Later(why, _) => Outcome::Unchanged(format!("given up after {ATTEMPTS} tries: {why}")),
                    outcome => outcome,
                };
                end(&mut w, &me.courier, (&row, goal), outcome).await
            })
        })
        .await
}

/// The act ends first: who has lost it changes nothing.
async fn end(w: &mut Write<'_>, courier: &str, (row, goal): (&ActRow, Goal), outcome: Outcome) -> Result<(), Error> {
    let Subject::Bmc(machine) = row.key.of else { return Ok(()) };
    let rows = passwords::of(w.tx, machine).await.map_err(store)?;
    let heard = rows.iter().any(|row| row.state == PasswordState::Sent);
    let (end, kind, why) = match &outcome {
        Outcome::Changed(_) if goal == Goal::Own => (End::Done, "bmc-password-changed", None),
        Outcome::Changed(_) | Outcome::Restored => (End::Done, "bmc-password-restored", None),
        // Of what it may have heard of nobody says that it was not done.
        Outcome::Unchanged(why) if heard => (End::Unknown, "bmc-password-unclear", Some(why)),
        Outcome::Unchanged(why) | Outcome::StillOld(why) => (End::Failed, "bmc-password-unchanged", Some(why)),
        Outcome::Unclear(why) => (End::Unknown, "bmc-password-unclear", Some(why)),
        Outcome::Later(..) | Outcome::Lost => return Ok(()),
    };
    let detail = why.map_or(serde_json::Value::Null, |why| serde_json::json!({ "why": why }));
    if !acts::finish(w.tx, &row.key, courier, end, &detail.to_string(), w.now).await.map_err(store)? {
        return Ok(());
    }
    match end {
        End::Done => {
            if let Outcome::Changed(number) = outcome {
                passwords::settle(w.tx, machine, number, w.now).await.map_err(store)?;
            }
            if goal == Goal::File {
                passwords::forget(w.tx, machine, w.now).await.map_err(store)?;
            }
        }
        End::Failed => drop_open(w, machine, rows).await?,
        End::Unknown => {
            let record = machines::get(w.tx, machine).await.map_err(store)?;
            let access: Option<BmcBody> =
                record.and_then(|record| record.bmc).and_then(|text| serde_json::from_str(&text).ok());
            let from_file = access.is_some_and(|access| access.password_file.is_some());
            open_ticket(w, row.key.of, why.map(String::as_str).unwrap_or_default(), from_file).await?;
        }
    }
    if end != End::Unknown {
        let proof = "it is known which password it takes";
        tickets::close_ticket(w.tx, row.key.of, TICKET, proof, w.now).await.map_err(store)?;
    }
    tracing::info!(machine = %machine, kind, "a BMC's password");
    apply::note(w, machine, &format!("{kind}/{}", row.key.epoch.0), kind, "courier", detail).await.map(drop)
}

/// It has what it had: the old one logged in long after the new one was set, or the new one was never told.
async fn drop_open(w: &mut Write<'_>, machine: MachineId, rows: Vec<Password>) -> Result<(), Error> {
    for row in rows {
        if matches!(row.state, PasswordState::Made | PasswordState::Sent) {
            let step = (row.state, PasswordState::Dropped);
            passwords::step(w.tx, machine, row.number, step, Some(w.now)).await.map_err(store)?;
        }
    }
    Ok(())
}

async fn open_ticket(w: &mut Write<'_>, subject: Subject, why: &str, from_file: bool) -> Result<(), Error> {
    let id = TicketId(rim::fresh_id()?);
    let by_hand = match from_file {
        true => "set the password of its password file there by hand, then `muster machine restore-bmc-password`",
        false => "set one there by hand, then `muster bmc forget` its entry and enter it again with that one",
    };
    let title = format!(
        "Its password is not settled: {why}. If the account may be locked, wait an hour and `muster machine \
         change-bmc-password` again; else {by_hand}"
    );
    tickets::open_ticket(w.tx, id, subject, TICKET, &title, "{}", w.now).await.map_err(store).map(drop)
}
