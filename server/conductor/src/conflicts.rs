//! Conflicts on the boot networks: another server, another host on an address of ours. Each is one event and one open
//! ticket from first sight until it is proven to be over.
//!
//! The tickets are the memory: a daemon that starts anew carries on from those that are open. How many can be open at
//! once is bounded, so that nobody fills the log by inventing servers.

use crate::error::store;
use crate::scribe::Write;
use crate::{Conductor, Error, rim};
use muster_names::{Cause, Epoch, Inventory, Mac, Millis, Subject, SwitchPort, TicketId};
use muster_netboot::{Conflict, ConflictKind};
use muster_store::{Event, Tx, machines, tickets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Tickets of this kind begin so.
const PREFIX: &str = "conflict/";
/// Open at once.
const MOST: usize = 128;
/// A ticket's body is written anew so often while a conflict lasts.
const NOTE_MS: i64 = 5 * 60_000;
/// Where nothing can be asked, so long a silence counts as the end.
const SILENCE_MS: i64 = 24 * 3_600_000;
const ROUND: Duration = Duration::from_secs(60);

/// The words of [`OpenConflict::kind`].
pub const CONFLICT_KINDS: [&str; 5] = ["dhcp-server", "boot-server", "own-address", "address", "reservation"];

/// One open conflict, as its ticket keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpenConflict {
    /// `dhcp-server`, `boot-server`, `own-address`, `address`, `reservation`.
    pub kind: String,
    pub network: String,
    pub address: Ipv4Addr,
    /// Who is there.
    pub mac: Option<Mac>,
    /// Whose lease or reservation it disturbs.
    pub holder: Option<Mac>,
    /// The name of the machine of ours that it is, where it is one.
    pub machine: Option<String>,
    /// Where its cable ends, as option 82 or LLDP told.
    pub port: Option<SwitchPort>,
    pub first: Millis,
    pub last: Millis,
    pub seen: u64,
    /// What it is, and what to do.
    pub words: String,
}

/// What is open, and the way in.
pub(crate) struct Conflicts {
    open: Mutex<BTreeMap<String, OpenConflict>>,
    noted: Mutex<BTreeMap<String, Millis>>,
    queue: mpsc::Sender<Conflict>,
}

impl Conflicts {
    pub fn new() -> (Self, mpsc::Receiver<Conflict>) {
        let (queue, receiver) = mpsc::channel(1024);
        (Self { open: Mutex::default(), noted: Mutex::default(), queue }, receiver)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, OpenConflict>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cause(kind: &str, network: &str, address: Ipv4Addr) -> String {
    format!("{PREFIX}{kind}/{network}/{address}")
}

impl Conductor {
    /// Notes a conflict or its end; never waits. What finds no room comes again within minutes.
    pub fn met(&self, conflict: Conflict) {
        if self.conflicts.queue.try_send(conflict).is_err() {
            tracing::debug!("a conflict found no room in the queue");
        }
    }

    /// What is open now.
    pub fn open_conflicts(&self) -> Vec<OpenConflict> {
        self.conflicts.open().values().cloned().collect()
    }

    async fn remember_conflicts(&self) -> Result<(), Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let found = tickets::list_open(&mut tx).await.map_err(store)?;
        let read = found.into_iter().filter(|ticket| ticket.cause.starts_with(PREFIX)).filter_map(|ticket| {
            let conflict: OpenConflict = serde_json::from_str(&ticket.body).ok()?;
            Some((ticket.cause, conflict))
        });
        self.conflicts.open().extend(read);
        Ok(())
    }

    /// One conflict that was met.
    pub async fn take_conflict(&self, conflict: Conflict) -> Result<(), Error> {
        if let Some(proof) = conflict.over {
            // The same address under either of its names: what is declined is first of all an address.
            let kinds = match conflict.kind {
                ConflictKind::Address | ConflictKind::Reservation => {
                    vec![ConflictKind::Address, ConflictKind::Reservation]
                }
                kind => vec![kind],
            };
            for kind in kinds {
                self.end_conflict(&cause(kind.word(), &conflict.network, conflict.address), proof).await?;
            }
            return Ok(());
        }
        let key = cause(conflict.kind.word(), &conflict.network, conflict.address);
        let known = self.conflicts.open().get(&key).cloned();
        if known.is_none() && self.conflicts.open().len() >= MOST {
            tracing::warn!(conflict = %conflict, "more than {MOST} conflicts are open; this one gets no ticket");
            return Ok(());
        }
        let is_new = known.is_none();
        let (machine, port) = self.whereabouts(conflict.mac).await?;
        let told = known.as_ref();
        let open = OpenConflict {
            kind: conflict.kind.word().into(),
            network: conflict.network.clone(),
            address: conflict.address,
            mac: conflict.mac.or(told.and_then(|told| told.mac)),
            holder: conflict.holder.or(told.and_then(|told| told.holder)),
            machine: machine.or(told.and_then(|told| told.machine.clone())),
            port: port.or(told.and_then(|told| told.port.clone())),
            first: told.map_or(conflict.at, |told| told.first),
            last: conflict.at,
            seen: told.map_or(1, |told| told.seen.saturating_add(1)),
            words: String::new(),
        };
        let open = OpenConflict { words: words(&conflict, &open), ..open };
        self.conflicts.open().insert(key.clone(), open.clone());
        let noted = self.conflicts.noted.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let learnt = known.is_none_or(|known| (known.mac, known.port) != (open.mac, open.port.clone()));
        if learnt || noted.is_none_or(|at| conflict.at.0.saturating_sub(at.0) >= NOTE_MS) {
            self.conflicts.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), conflict.at);
            if is_new {
                tracing::warn!(kind = open.kind, network = open.network, "{}", open.words);
            }
            self.scribe.write(move |mut w| Box::pin(async move { note(&mut w, &key, &open, is_new).await })).await?;
        }
        Ok(())
    }

    async fn end_conflict(&self, key: &str, proof: &str) -> Result<(), Error> {
        let Some(open) = self.conflicts.open().remove(key) else { return Ok(()) };
        self.conflicts.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        tracing::info!(kind = open.kind, network = open.network, address = %open.address, proof, "a conflict is over");
        let (key, proof) = (key.to_owned(), proof.to_owned());
        self.scribe.write(move |mut w| Box::pin(async move { end(&mut w, &key, &open, &proof).await })).await
    }

    /// Ends what nobody has seen for a day.
    pub async fn forget_silent_conflicts(&self, now: Millis) -> Result<(), Error> {
        let silent = |open: &OpenConflict| now.0.saturating_sub(open.last.0) >= SILENCE_MS;
        let keys: Vec<String> =
            self.conflicts.open().iter().filter(|(_, open)| silent(open)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.end_conflict(&key, "nothing was seen of it for a day").await?;
        }
        Ok(())
    }

    /// Which machine of ours a MAC belongs to, and where its cable ends.
    async fn whereabouts(&self, mac: Option<Mac>) -> Result<(Option<String>, Option<SwitchPort>), Error> {
        let Some(mac) = mac else { return Ok((None, None)) };
        let by_relay = self.relay_port(mac);
        let mut tx = self.db.read().await.map_err(store)?;
        let found = machines::by_mac(&mut tx, mac).await.map_err(store)?;
        let by_lldp = found.as_ref().and_then(|found| {
            let inventory: Inventory = serde_json::from_str(found.inventory.as_deref()?).ok()?;
            let nic = inventory.nics.into_iter().find(|nic| nic.mac == Some(mac))?;
            Some(nic.neighbor?.switch_port())
        });
        Ok((found.map(|found| found.name), by_relay.or(by_lldp)))
    }
}

fn words(conflict: &Conflict, open: &OpenConflict) -> String {
    let known = Conflict { mac: open.mac, holder: open.holder, ..conflict.clone() };
    let machine = open.machine.as_ref().map(|name| format!("; it is {name}")).unwrap_or_default();
    let place = open.port.as_ref().map(|port| format!("; it hangs on {} {}", port.switch, port.port));
    format!("{known}{machine}{}", place.unwrap_or_default())
}

async fn note(w: &mut Write<'_>, key: &str, open: &OpenConflict, is_new: bool) -> Result<(), Error> {
    let body = crate::body::write("conflict", &open.address, open)?;
    if is_new {
        let id = TicketId(rim::fresh_id()?);
        tickets::open_ticket(w.tx, id, Subject::Site, key, &open.words, &body, w.now).await.map_err(store)?;
        append(w.tx, format!("{key}/{}", open.first.0), "conflict-met", &body, w.now).await?;
    }
    tickets::note_ticket(w.tx, Subject::Site, key, &open.words, &body).await.map_err(store).map(drop)
}

async fn end(w: &mut Write<'_>, key: &str, open: &OpenConflict, proof: &str) -> Result<(), Error> {
    tickets::close_ticket(w.tx, Subject::Site, key, proof, w.now).await.map_err(store)?;
    let body = serde_json::json!({ "conflict": open, "proof": proof }).to_string();
    append(w.tx, format!("{key}/{}/over", open.first.0), "conflict-over", &body, w.now).await
}

async fn append(tx: &mut Tx, cause: String, kind: &str, body: &str, at: Millis) -> Result<(), Error> {
    let event = Event {
        subject: Subject::Site,
        cause: Cause(cause),
        kind: kind.into(),
        actor: "boot".into(),
        epoch: Epoch(0),
        body: body.into(),
        at,
    };
    tx.append(event).await.map_err(store).map(drop)
}

/// Runs until `cancel`.
pub async fn keep_conflicts(me: Arc<Conductor>, mut queue: mpsc::Receiver<Conflict>, cancel: CancellationToken) {
    let told = |done: Result<(), Error>| {
        if let Err(error) = done {
            tracing::warn!(error = %error, label = error.label(), "a conflict was not written down");
        }
    };
    told(me.remember_conflicts().await);
    let mut round = tokio::time::interval(ROUND);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = round.tick() => told(me.forget_silent_conflicts(rim::now()).await),
            conflict = queue.recv() => match conflict {
                Some(conflict) => told(me.take_conflict(conflict).await),
                None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_kinds_are_those_of_the_boot_path() {
        assert_eq!(ConflictKind::ALL.map(ConflictKind::word), CONFLICT_KINDS);
    }
}
