//! Adopting: a BMC that is said to be ours is logged in to, has to be whose it was said to be, and gets a machine and a
//! password of its own.
//!
//! The password it came with is in force, sealed, in the same transaction that makes it ours; the change of it is an act
//! like any other. A crash before that transaction has changed nothing, one after it has forgotten nothing.

use super::judge::{Candidate, Found, Said, Signs, Where, Whose, host, protocols, serial_of, whereabouts, whose};
use super::{Met, Ours, find};
use crate::apply::{self, Happened};
use crate::body::{self, Adopted, Kept};
use crate::error::store;
use crate::facts::{known, state_of};
use crate::passwords as change;
use crate::scribe::Write;
use crate::watching::REFUSED;
use crate::{BmcBody, Conductor, Error, probing, rim};
use muster_bmc::{Hail, Pin, Secret};
use muster_catalog::{BmcAccess, Protocol};
use muster_lifecycle::machine::{At, Event, Machine};
use muster_names::{Epoch, MachineId, Millis, Subject, TicketId};
use muster_store::bmc_adoption::{self, AwaitedRow, AwaitedState, PinRow};
use muster_store::passwords::{self, PasswordState};
use muster_store::{Tx, acts, machines, tickets};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(30);
/// Logins at BMCs that are nobody's yet: a manifest with a slip in it shall show at a few.
const AT_ONCE: usize = 4;
/// What was refused at so many may be refused at all: a person looks first.
pub const MOST_REFUSED: usize = 5;
/// An entry is one courier's for so long, and is looked at again after it.
const CLAIM_MS: i64 = 900_000;
const SOON_MS: i64 = 60_000;
const LATEST_MS: i64 = 3_600_000;

/// What came of a look at an entry.
#[derive(Debug)]
enum Outcome {
    Met(Box<(BmcAccess, Secret, Met)>),
    /// It is looked at again later.
    Later(String),
    /// A person looks first: the same again would come to the same, and a wrong password is one of the few that it allows.
    Refused(String),
}

/// Adopts what is awaited and there, until `cancel`.
pub async fn adopt_bmcs(me: Arc<Conductor>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        if let Err(error) = me.adopt_bmcs_once().await {
            tracing::warn!(error = %error, label = error.label(), "BMCs that are awaited were not looked at");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = me.adoption.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Conductor {
    /// One round; says how many entries it looked at.
    ///
    /// # Errors
    /// The database's.
    pub async fn adopt_bmcs_once(self: &Arc<Self>) -> Result<usize, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        if muster_store::site::frozen(&mut tx).await.map_err(store)?.frozen {
            return Ok(0);
        }
        let due = bmc_adoption::due_awaited(&mut tx, rim::now(), u32::MAX).await.map_err(store)?;
        if due.is_empty() || bmc_adoption::count_refused(&mut tx).await.map_err(store)? >= MOST_REFUSED {
            return Ok(0);
        }
        let rows = bmc_adoption::found(&mut tx).await.map_err(store)?;
        drop(tx);
        let found: Vec<Found> = rows.iter().map(find::of_row).collect();
        let (mut going, mut looked) = (JoinSet::new(), 0);
        for row in due {
            let ours: Ours = match body::read("awaited bmc", &row.id, &row.body) {
                Ok(ours) => ours,
                Err(error) => {
                    tracing::error!(entry = %row.id, error = %error, "an entry does not read");
                    continue;
                }
            };
            let place = whereabouts(&ours, &found);
            if place == Where::Nowhere {
                continue;
            }
            looked += 1;
            if going.len() >= AT_ONCE {
                told(going.join_next().await);
                let mut tx = self.db.read().await.map_err(store)?;
                if bmc_adoption::count_refused(&mut tx).await.map_err(store)? >= MOST_REFUSED {
                    break;
                }
            }
            let me = self.clone();
            going.spawn(async move { me.look_at(row, ours, place).await });
        }
        while let Some(done) = going.join_next().await {
            told(Some(done));
        }
        self.work.notify_one();
        Ok(looked)
    }

    async fn look_at(self: &Arc<Self>, row: AwaitedRow, ours: Ours, place: Where) -> Result<(), Error> {
        let (outcome, found) = match place {
            Where::Nowhere => return Ok(()),
            Where::Unclear(why) => (Outcome::Refused(why), None),
            Where::At { address, found } => {
                // Written down before anything is sent: a crash, or a second daemon, makes no second try of it.
                if !self.begin_look(&row).await? {
                    return Ok(());
                }
                (self.meet(&row, &ours, &address, found.as_deref()).await, found)
            }
        };
        let me = self.clone();
        let written = self.scribe.write(move |mut w| {
            Box::pin(async move { settle(&mut w, &me, row, ours, outcome, found.as_deref()).await })
        });
        written.await
    }

    /// Claims the entry, with the red button looked at in the same transaction.
    async fn begin_look(&self, row: &AwaitedRow) -> Result<bool, Error> {
        let row = row.clone();
        let claimed = self.scribe.write(move |w| {
            Box::pin(async move {
                let frozen = muster_store::site::lock_ledger(w.tx).await.map_err(store)?.frozen;
                let now = bmc_adoption::awaited_of(w.tx, &row.id).await.map_err(store)?;
                let same = now.is_some_and(|now| {
                    (now.state, now.due, &now.sealed) == (AwaitedState::Awaited, row.due, &row.sealed)
                });
                if frozen || !same {
                    return Ok(false);
                }
                let due = Millis(w.now.0.saturating_add(CLAIM_MS));
                bmc_adoption::put_awaited(w.tx, &AwaitedRow { due, ..row }).await.map_err(store)?;
                Ok(true)
            })
        });
        claimed.await
    }

    /// Greets it first: the password goes to what speaks like a BMC, and to the protocol that it speaks.
    async fn meet(&self, row: &AwaitedRow, ours: &Ours, address: &str, found: Option<&Found>) -> Outcome {
        let secret = match self.vault.open_awaited(&row.id, &ours.user, &row.sealed) {
            Ok(secret) => secret,
            Err(why) => return Outcome::Refused(format!("the password of its entry: {why}; enter it again")),
        };
        let mut why = String::new();
        for protocol in protocols(ours, found) {
            let address = reached(protocol, address);
            let hail = match self.finder.hail(protocol, &address).await {
                Ok(hail) => hail,
                Err(error) => {
                    why = error.reason;
                    continue;
                }
            };
            match self.in_the_way(&row.id, ours, &hail, &address).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(error) => return Outcome::Later(error.to_string()),
            }
            let profile = match self.expected_profile(ours, found).await {
                Ok(profile) => profile,
                Err(error) => return Outcome::Later(error.to_string()),
            };
            let access = BmcAccess { protocol, address, user: ours.user.clone(), password_file: None, profile };
            return match self.finder.meet(&access, &secret, &hail).await {
                Ok(met) => {
                    let access = BmcAccess { profile: met.profile.clone().or(access.profile), ..access };
                    Outcome::Met(Box::new((access, secret, met)))
                }
                Err(error) if error.later => Outcome::Later(error.reason),
                Err(error) => Outcome::Refused(error.reason),
            };
        }
        Outcome::Later(format!("nothing answers there as a BMC does: {why}"))
    }
}

impl Conductor {
    /// Why no password of an entry is sent there: the BMC is one of ours already, and known by another key, or its password
    /// is its own.
    async fn in_the_way(&self, entry: &str, ours: &Ours, hail: &Hail, address: &str) -> Result<Option<Outcome>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let mut ids = at_host(&mut tx, address).await?;
        if let Some(name) = &ours.machine {
            ids.extend(machines::by_name(&mut tx, name).await.map_err(store)?.map(|record| record.id));
        }
        for id in ids {
            let Some(record) = machines::get(&mut tx, id).await.map_err(store)? else { continue };
            let name = &record.name;
            let rows = acts::acts_of(&mut tx, Subject::Bmc(id)).await.map_err(store)?;
            if change::under_way(&rows) {
                return Ok(Some(Outcome::Later(format!("the password of the BMC of {name} is being changed"))));
            }
            let catalog = self.catalog();
            let named = catalog.machine_by_name(name).and_then(|placed| placed.machine.bmc.as_ref());
            if let Some(named) = named.filter(|named| named.user != ours.user) {
                let (wanted, said) = (&named.user, &ours.user);
                let why =
                    format!("the rack layout says that the BMC of {name} is used as {wanted:?}, its entry {said:?}");
                return Ok(Some(Outcome::Refused(why)));
            }
            let kept: Kept = body::read("record", &id, &record.data)?;
            let own = passwords::of(&mut tx, id).await.map_err(store)?;
            let own = own.iter().any(|row| row.state == PasswordState::Current);
            if own && kept.adopted.as_ref().is_none_or(|adopted| adopted.entry != entry) {
                let first = match &kept.adopted {
                    Some(adopted) => {
                        format!("it was adopted as {}, so forget that and enter it as that", adopted.entry)
                    }
                    None => "`muster machine restore-bmc-password` first".into(),
                };
                let why = format!("the BMC of {name} has a password of its own: {first}");
                return Ok(Some(Outcome::Refused(why)));
            }
            let pin = bmc_adoption::pin_of(&mut tx, id).await.map_err(store)?;
            if let Some(why) = foreign_key(name, pin.as_ref(), hail.tls_pin) {
                return Ok(Some(Outcome::Refused(why)));
            }
        }
        Ok(None)
    }

    /// What the model of the machine says that the signs lead to, for a BMC that does not tell what it is.
    async fn expected_profile(&self, ours: &Ours, found: Option<&Found>) -> Result<Option<String>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let by_agent = ours.agent.map(|agent| agent.machine).or(found.and_then(|found| found.body.machine));
        let mut record = match by_agent {
            Some(id) => machines::get(&mut tx, id).await.map_err(store)?,
            None => None,
        };
        if let (None, Some(name)) = (&record, &ours.machine) {
            record = machines::by_name(&mut tx, name).await.map_err(store)?;
        }
        if let (None, Some(serial)) = (&record, &ours.serial) {
            record = machines::by_serial(&mut tx, serial).await.map_err(store)?.into_iter().find(|record| record.ours);
        }
        let Some(record) = record else { return Ok(None) };
        let kept: Kept = body::read("record", &record.id, &record.data)?;
        let catalog = self.catalog();
        let model = record.model.or(kept.expected_model).and_then(|id| catalog.model(&id).cloned());
        Ok(model.map(|model| model.bmc.profile))
    }
}

/// Those of ours whose BMC is at this host.
async fn at_host(tx: &mut Tx, address: &str) -> Result<Vec<MachineId>, Error> {
    let wanted = host(address);
    let all = machines::ours_with_bmc(tx).await.map_err(store)?;
    let here = |(id, text): (MachineId, String)| {
        // One that does not read is that machine's trouble, and no other's.
        let access: BmcBody = serde_json::from_str(&text).ok()?;
        (host(&access.address) == wanted).then_some(id)
    };
    Ok(all.into_iter().filter_map(here).collect())
}

/// Why this key is not the one that the machine's BMC is known by.
fn foreign_key(name: &str, known: Option<&PinRow>, shown: Option<Pin>) -> Option<String> {
    let shown = shown.map(|pin| pin.to_string());
    let known = &known.filter(|known| shown.as_ref() != Some(&known.pin))?.pin;
    let shown = shown.as_deref().unwrap_or("none");
    Some(match known.strip_prefix(REFUSED) {
        Some(serial) => format!(
            "the BMC of {name} spoke for the machine with serial number {serial}: `muster bmc trust {name} --next` asks it again"
        ),
        None => format!(
            "the BMC of {name} is known by the key {known}, and shows {shown}: `muster bmc trust {name}` says which holds"
        ),
    })
}

fn told(done: Option<Result<Result<(), Error>, tokio::task::JoinError>>) {
    match done {
        Some(Ok(Err(error))) => tracing::warn!(error = %error, label = error.label(), "a BMC was not adopted"),
        Some(Err(error)) => tracing::error!(%error, "looking at a BMC failed"),
        Some(Ok(Ok(()))) | None => {}
    }
}

/// Redfish is asked over TLS unless a person wrote something else.
fn reached(protocol: Protocol, address: &str) -> String {
    match protocol {
        Protocol::Redfish if !address.contains("://") => format!("https://{address}"),
        Protocol::Redfish | Protocol::Ipmi => address.to_owned(),
    }
}

async fn settle(
    w: &mut Write<'_>,
    me: &Arc<Conductor>,
    row: AwaitedRow,
    ours: Ours,
    outcome: Outcome,
    found: Option<&Found>,
) -> Result<(), Error> {
    // Entered anew, or dropped, while its BMC was being looked at.
    let now = bmc_adoption::awaited_of(w.tx, &row.id).await.map_err(store)?;
    if now.is_none_or(|now| now.state != AwaitedState::Awaited || now.sealed != row.sealed) {
        return Ok(());
    }
    let outcome = match outcome {
        Outcome::Met(met) => match adopt(w, me, &row, &ours, &met, found).await? {
            Ok(()) => return Ok(()),
            Err(outcome) => outcome,
        },
        outcome => outcome,
    };
    match outcome {
        Outcome::Later(why) => {
            let wait = SOON_MS.saturating_mul(1 << ours.tries.min(10)).min(LATEST_MS);
            let tries = ours.tries.saturating_add(1);
            let body = body::write("awaited bmc", &row.id, &Ours { why: Some(why), tries, ..ours })?;
            let due = Millis(w.now.0.saturating_add(wait));
            bmc_adoption::put_awaited(w.tx, &AwaitedRow { due, body, ..row }).await.map_err(store)
        }
        Outcome::Refused(why) => refuse(w, row, ours, why).await,
        Outcome::Met(_) => Ok(()),
    }
}

/// A person looks at it: nothing is tried again by itself.
pub(super) async fn refuse(w: &mut Write<'_>, row: AwaitedRow, ours: Ours, why: String) -> Result<(), Error> {
    let title = format!(
        "The BMC {} was not adopted: {why}. Put its entry right and enter it again (`muster bmc manifest`), or drop it \
         (`muster bmc forget {}`)",
        row.id, row.id
    );
    let id = TicketId(rim::fresh_id()?);
    tickets::open_ticket(w.tx, id, Subject::Site, &ticket(&row.id), &title, "{}", w.now).await.map_err(store)?;
    let detail = serde_json::json!({ "entry": row.id, "why": why });
    site(w, &format!("bmc-entry-refused/{}/{}", row.id, w.now.0), "bmc-entry-refused", "adoption", detail).await?;
    let tries = ours.tries.saturating_add(1);
    let body = body::write("awaited bmc", &row.id, &Ours { why: Some(why), tries, ..ours })?;
    bmc_adoption::put_awaited(w.tx, &AwaitedRow { state: AwaitedState::Refused, body, ..row }).await.map_err(store)
}

/// What the ticket of an entry is called.
pub(super) fn ticket(entry: &str) -> String {
    format!("bmc-entry/{entry}")
}

pub(super) async fn site(
    w: &mut Write<'_>,
    cause: &str,
    kind: &str,
    actor: &str,
    detail: serde_json::Value,
) -> Result<(), Error> {
    let event = muster_store::Event {
        subject: Subject::Site,
        cause: muster_names::Cause(cause.to_owned()),
        kind: kind.to_owned(),
        actor: actor.to_owned(),
        epoch: Epoch(0),
        body: detail.to_string(),
        at: w.now,
    };
    w.tx.append(event).await.map_err(store).map(drop)
}

async fn candidate(w: &mut Write<'_>, record: muster_store::Machine) -> Result<Candidate, Error> {
    let kept: Kept = body::read("record", &record.id, &record.data)?;
    let bmc: Option<BmcBody> = record.bmc.as_deref().map(|text| body::read("bmc", &record.id, text)).transpose()?;
    w.touched.insert(record.id);
    Ok(Candidate {
        id: record.id,
        name: record.name,
        ours: record.ours,
        serial: record.serial,
        uuid: record.uuid,
        bmc: bmc.map(|bmc| bmc.address),
        adopted: kept.adopted.and_then(|adopted| adopted.mac),
    })
}

async fn signs(
    w: &mut Write<'_>,
    ours: &Ours,
    serials: &[String],
    address: &str,
    found: Option<&Found>,
) -> Result<Signs, Error> {
    let mut signs = Signs::default();
    if let Some(name) = &ours.machine
        && let Some(record) = machines::by_name(w.tx, name).await.map_err(store)?
    {
        signs.named = Some(candidate(w, record).await?);
    }
    let serials: BTreeSet<&String> = serials.iter().chain(&ours.serial).collect();
    for serial in serials {
        for record in machines::by_serial(w.tx, serial).await.map_err(store)? {
            // One that is gone for good may have given its serial number to another.
            if !matches!(state_of(w.tx, record.id).await?.0.at, At::Retired) {
                signs.by_serial.push(candidate(w, record).await?);
            }
        }
    }
    if let Some(id) = found.and_then(|found| found.body.machine)
        && let Some(record) = machines::get(w.tx, id).await.map_err(store)?
    {
        signs.by_agent = Some(candidate(w, record).await?);
    }
    for id in at_host(w.tx, address).await? {
        if let Some(record) = machines::get(w.tx, id).await.map_err(store)? {
            signs.by_address.push(candidate(w, record).await?);
        }
    }
    Ok(signs)
}

/// Makes it ours. The inner error is what keeps it from that.
async fn adopt(
    w: &mut Write<'_>,
    me: &Arc<Conductor>,
    row: &AwaitedRow,
    ours: &Ours,
    (access, secret, met): &(BmcAccess, Secret, Met),
    found: Option<&Found>,
) -> Result<Result<(), Outcome>, Error> {
    if muster_store::site::lock_ledger(w.tx).await.map_err(store)?.frozen {
        return Ok(Err(Outcome::Later("everything is frozen".into())));
    }
    let serials: Vec<String> = [&met.identity.serial, &met.identity.sku].into_iter().flatten().cloned().collect();
    let said = Said { serials: &serials, uuids: &met.identity.uuids };
    let signs = signs(w, ours, &serials, &access.address, found).await?;
    let serial = serial_of(ours, &said);
    let whose = whose(ours, &said, &access.address, &signs);
    let id = match whose {
        Whose::Conflict(why) => return Ok(Err(Outcome::Refused(why))),
        Whose::Known(id) if matches!(state_of(w.tx, id).await?.0.at, At::Retired) => {
            return Ok(Err(Outcome::Refused("the machine it belongs to is retired".into())));
        }
        Whose::Known(id) => id,
        Whose::New { name } => {
            if machines::by_name(w.tx, &name).await.map_err(store)?.is_some() {
                let why = format!("another machine is called {name}; name its own one in the entry");
                return Ok(Err(Outcome::Refused(why)));
            }
            let record = crate::import::blank(name, w.now)?;
            apply::begin(w, &record, Machine::expected(), &ours.by).await?;
            record.id
        }
    };
    if change::under_way(&acts::acts_of(w.tx, Subject::Bmc(id)).await.map_err(store)?) {
        return Ok(Err(Outcome::Later("its machine's BMC has a password that is being changed".into())));
    }
    let name = machines::get(w.tx, id).await.map_err(store)?.map(|record| record.name).unwrap_or_default();
    let pin = bmc_adoption::pin_of(w.tx, id).await.map_err(store)?;
    if let Some(why) = foreign_key(&name, pin.as_ref(), met.identity.tls_pin) {
        return Ok(Err(Outcome::Refused(why)));
    }
    let (claim, access) = &own(w, id, access, serial, ours, &row.id).await?;
    keep_password(w, me, id, access, secret).await?;
    if let Some(pin) = met.identity.tls_pin {
        let row = PinRow {
            machine: id,
            pin: pin.to_string(),
            serial: serial.map(str::to_owned),
            at: w.now,
            actor: ours.by.clone(),
        };
        bmc_adoption::put_pin(w.tx, &row).await.map_err(store)?;
    }
    let done = AwaitedRow {
        state: AwaitedState::Adopted,
        machine: Some(id),
        sealed: String::new(),
        body: body::write("awaited bmc", &row.id, &Ours { why: None, ..ours.clone() })?,
        ..row.clone()
    };
    bmc_adoption::put_awaited(w.tx, &done).await.map_err(store)?;
    tickets::close_ticket(w.tx, Subject::Site, &ticket(&row.id), "it was adopted", w.now).await.map_err(store)?;
    let cause = format!("bmc-adopted/{}/{}", row.id, w.now.0);
    let detail = serde_json::json!({ "entry": row.id, "address": access.address, "protocol": access.protocol,
        "serial": serial, "manufacturer": met.identity.manufacturer, "model": met.identity.model,
        "firmware": met.identity.firmware, "profile": access.profile, "tls-pin": met.identity.tls_pin.map(|pin| pin.to_string()) });
    apply::note(w, id, &cause, "bmc-adopted", &ours.by, detail.clone()).await?;
    if *claim {
        let happened = Happened { cause: format!("{cause}/claimed"), actor: &ours.by, event: Event::Claimed, detail };
        apply::apply(w, &me.catalog(), id, happened).await?;
    }
    let machine = known(w.tx, &me.catalog(), id).await?;
    match change::obstacle(w, &me.catalog(), &machine, change::Goal::Own).await? {
        Some(why) => {
            let detail = serde_json::json!({ "why": why });
            apply::note(w, id, &format!("{cause}/kept"), "bmc-password-kept", "adoption", detail).await?;
        }
        None => {
            let catalog = me.catalog();
            change::ask(w, &catalog, &machine, change::Goal::Own, (&ours.by, &cause)).await?;
        }
    }
    if probing::obstacle(&me.catalog(), &machine).is_none() {
        probing::ask(w, &me.catalog(), &machine, (&ours.by, &cause), false).await?;
    }
    Ok(Ok(()))
}

/// Writes down whose it is; says whether the machine has to be told that it is ours now, and how the BMC is reached.
async fn own(
    w: &mut Write<'_>,
    id: MachineId,
    access: &BmcAccess,
    serial: Option<&str>,
    ours: &Ours,
    entry: &str,
) -> Result<(bool, BmcAccess), Error> {
    let mut record = machines::get(w.tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
    let mut kept: Kept = body::read("record", &id, &record.data)?;
    let claim = !record.ours;
    record.ours = true;
    // As its rack layout writes it, where that names it: the same again must not look like a move.
    let named: Option<BmcAccess> = record.bmc.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let same = |named: &BmcAccess| named.protocol == access.protocol && host(&named.address) == host(&access.address);
    let access = match named.filter(same) {
        Some(named) => BmcAccess { address: named.address, password_file: named.password_file, ..access.clone() },
        None => access.clone(),
    };
    record.bmc = Some(body::write("bmc", &id, &access)?);
    if record.serial.is_none() {
        record.serial = serial.map(str::to_owned);
    }
    kept.adopted = Some(Adopted { mac: ours.mac, entry: entry.to_owned() });
    apply::keep(w, &mut record, &kept).await?;
    Ok((claim, access))
}

/// The password that it came with has logged in: it is the one in force, whatever was before.
async fn keep_password(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    access: &BmcAccess,
    secret: &Secret,
) -> Result<(), Error> {
    passwords::forget(w.tx, id, w.now).await.map_err(store)?;
    let rows = passwords::of(w.tx, id).await.map_err(store)?;
    let number = rows.last().map_or(0, |row| row.number).saturating_add(1);
    let sealed = me.vault.seal(id, number, &access.user, secret)?;
    let at = (access.address.as_str(), access.user.as_str());
    passwords::put(w.tx, id, number, at, &sealed, w.now).await.map_err(store)?;
    passwords::step(w.tx, id, number, (PasswordState::Made, PasswordState::Sent), None).await.map_err(store)?;
    passwords::settle(w.tx, id, number, w.now).await.map_err(store).map(drop)
}
