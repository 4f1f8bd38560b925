//! Finding: greeting what may be a BMC, and writing down what answered. No password leaves this host here.

use super::adopt::site;
use super::judge::{Found, Where, host, whereabouts};
use super::{FoundBody, FoundBy, Ours, Told};
use crate::apply;
use crate::error::store;
use crate::scribe::Write;
use crate::{BmcBody, Conductor, Error, Kept, body, rim};
use muster_catalog::{BmcAccess, Protocol};
use muster_names::{Mac, MachineId, Millis, Subject, TicketId};
use muster_netboot::{ReplyKind, Said, Sighting};
use muster_store::bmc_adoption::{self, AwaitedState, FoundRow};
use muster_store::{machines, passwords, tickets};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Addresses greeted at once: most of a range are nobody's, and each of those takes its whole patience.
const AT_ONCE: usize = 128;
/// What may be waiting to be greeted; more are dropped, and come again with their next packet.
const MOST_WAITING: usize = 4_096;
/// BMCs that are written down; anybody can make some up.
const MOST_FOUND: i64 = 16_384;
/// One that asks for its address again and again is greeted once in so long.
const AGAIN_MS: i64 = 600_000;
/// What has not answered for so long is gone.
const GONE_MS: i64 = 30 * DAY_MS;
const DAY_MS: i64 = 86_400_000;

/// An address where a BMC may be.
#[derive(Clone, Debug)]
pub struct Candidate {
    address: String,
    mac: Option<Mac>,
    way: FoundBy,
    class: Option<String>,
    /// Whose agent told of it, and that machine's serial number.
    machine: Option<(MachineId, Option<String>)>,
}

/// What finding keeps in memory.
pub(crate) struct Finding {
    queue: mpsc::Sender<Candidate>,
    scan: Mutex<ScanTold>,
    greeted: Mutex<BTreeMap<String, Millis>>,
    asked: tokio::sync::Notify,
}

/// What waits to be greeted.
pub type Candidates = mpsc::Receiver<Candidate>;

impl Finding {
    pub fn new() -> (Self, Candidates) {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let (scan, greeted, asked) = Default::default();
        (Self { queue, scan, greeted, asked }, waiting)
    }

    fn scan(&self) -> MutexGuard<'_, ScanTold> {
        self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to greet this address, and notes that it is done.
    fn may_greet(&self, address: &str, now: Millis) -> bool {
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        if greeted.get(address).is_some_and(|at| now.0.saturating_sub(at.0) < AGAIN_MS) {
            return false;
        }
        if greeted.len() >= MOST_WAITING * 4 {
            greeted.retain(|_, at| now.0.saturating_sub(at.0) < AGAIN_MS);
            if greeted.len() >= MOST_WAITING * 4 {
                return false;
            }
        }
        greeted.insert(address.to_owned(), now);
        true
    }
}

/// How far the newest scan is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ScanTold {
    /// The ranges that the configuration names.
    pub ranges: Vec<String>,
    pub running: bool,
    /// Addresses in those ranges, and how many of them were greeted.
    pub addresses: usize,
    pub greeted: usize,
    /// BMCs that answered.
    pub answered: usize,
    pub began: Option<Millis>,
    pub ended: Option<Millis>,
}

/// What is to be made of a BMC that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nobody said that it is ours.
    Observed,
    /// A manifest or a person said so; it is being adopted.
    Awaited,
    /// It was not what was said, or did not take its password.
    Refused,
    /// It belongs to a machine of ours.
    Ours,
}

/// A BMC that answered, for people.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FoundBmc {
    pub address: String,
    pub mac: Option<Mac>,
    pub standing: Standing,
    /// The machine of ours that it belongs to, or whose agent told of it.
    pub machine: Option<MachineId>,
    pub name: Option<String>,
    pub found_by: BTreeSet<FoundBy>,
    /// What it told over each protocol it answers.
    pub told: Vec<Told>,
    /// DHCP option 60.
    pub class: Option<String>,
    pub first_seen: Millis,
    pub seen: Millis,
}

/// Greets what may be a BMC until `cancel`: what asked for an address and looks like one, what agents tell of, and the
/// ranges, each `every`, or when a person asks.
pub async fn find_bmcs(
    me: Arc<Conductor>,
    mut waiting: Candidates,
    ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    every: Option<Duration>,
    cancel: CancellationToken,
) {
    me.finding.scan().ranges = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let (room, ranges) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(ranges));
    let (mut greeting, mut scanning) = (JoinSet::new(), JoinSet::new());
    let begin = |scanning: &mut JoinSet<()>| {
        if scanning.is_empty() {
            scanning.spawn(scan(me.clone(), ranges.clone()));
        }
    };
    let mut next = every.map(|_| tokio::time::Instant::now());
    loop {
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(candidate) = waiting.recv() => {
                if me.finding.may_greet(&candidate.address, rim::now()) {
                    let (me, room) = (me.clone(), room.clone());
                    greeting.spawn(async move {
                        let _room = room.acquire_owned().await;
                        me.greet(candidate).await
                    });
                }
            }
            Some(_) = greeting.join_next() => {}
            Some(_) = scanning.join_next() => {}
            () = me.finding.asked.notified() => begin(&mut scanning),
            () = due => {
                next = every.map(|every| tokio::time::Instant::now() + every);
                begin(&mut scanning);
            }
        }
    }
}

/// Greets every address of the ranges once.
async fn scan(me: Arc<Conductor>, ranges: Arc<Vec<(Ipv4Addr, Ipv4Addr)>>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let count = |(first, last): &(Ipv4Addr, Ipv4Addr)| last.to_bits().saturating_sub(first.to_bits()) as usize + 1;
    let addresses = ranges.iter().map(count).sum();
    if addresses == 0 {
        return;
    }
    {
        let mut told = me.finding.scan();
        *told = ScanTold { ranges: std::mem::take(&mut told.ranges), running: true, addresses, ..Default::default() };
        told.began = Some(rim::now());
    }
    let all = ranges.iter().flat_map(|(first, last)| first.to_bits()..=last.to_bits());
    let mut greeting = JoinSet::new();
    for address in all {
        let Ok(room) = room.clone().acquire_owned().await else { break };
        let me = me.clone();
        let address = Ipv4Addr::from_bits(address).to_string();
        greeting.spawn(async move {
            let _room = room;
            let answered =
                me.greet(Candidate { address, mac: None, way: FoundBy::Scan, class: None, machine: None }).await;
            let mut told = me.finding.scan();
            told.greeted += 1;
            told.answered += usize::from(answered);
        });
        while greeting.try_join_next().is_some() {}
    }
    while greeting.join_next().await.is_some() {}
    let mut told = me.finding.scan();
    told.running = false;
    told.ended = Some(rim::now());
    tracing::info!(addresses = told.addresses, answered = told.answered, "the ranges were scanned for BMCs");
}

impl Conductor {
    /// What the boot path saw: an address was given to what looks like a BMC.
    pub(crate) fn may_be_bmc(&self, sighting: &Sighting) {
        let Said::Dhcp { kind: ReplyKind::Ack, address, .. } = &sighting.said else { return };
        if address.is_unspecified()
            || self.catalog().bmc_heard(sighting.vendor_class.as_deref(), sighting.mac).is_none()
        {
            return;
        }
        let class = sighting.vendor_class.as_deref().map(|class| class.chars().take(80).collect());
        self.note_candidate(Candidate {
            address: address.to_string(),
            mac: Some(sighting.mac),
            way: FoundBy::Dhcp,
            class,
            machine: None,
        });
    }

    /// What an agent told of the BMC beside it.
    pub(crate) fn agent_told_of_bmc(&self, machine: MachineId, serial: Option<String>, bmc: &muster_names::Bmc) {
        let Some(address) = bmc.address.as_deref().filter(|text| text.parse::<std::net::IpAddr>().is_ok()) else {
            return;
        };
        let (address, machine) = (address.to_owned(), Some((machine, serial)));
        self.note_candidate(Candidate { address, mac: bmc.mac, way: FoundBy::Agent, class: None, machine });
    }

    fn note_candidate(&self, candidate: Candidate) {
        if self.finding.queue.try_send(candidate).is_err() {
            tracing::debug!("more BMCs to greet than there is room for");
        }
    }

    /// Starts a scan of the configured ranges; where one is running it goes on.
    ///
    /// # Errors
    /// No ranges are configured.
    pub fn scan_for_bmcs(&self) -> Result<ScanTold, Error> {
        let told = self.scan_told();
        if told.ranges.is_empty() {
            let why = "no range is configured: name some under `scan` in [bmc], like [\"10.0.8.0/24\"]";
            return Err(Error::refused(why));
        }
        if !told.running {
            self.finding.asked.notify_one();
        }
        Ok(told)
    }

    pub fn scan_told(&self) -> ScanTold {
        self.finding.scan().clone()
    }

    /// Greets one address; says whether a BMC answered.
    async fn greet(self: &Arc<Self>, candidate: Candidate) -> bool {
        let address = candidate.address.clone();
        let secured = format!("https://{address}");
        let (redfish, ipmi) =
            tokio::join!(self.finder.hail(Protocol::Redfish, &secured), self.finder.hail(Protocol::Ipmi, &address));
        let told: Vec<Told> = [redfish, ipmi].into_iter().flatten().map(Told::from).collect();
        if told.is_empty() {
            return false;
        }
        let me = self.clone();
        let kept = self.scribe.write(move |mut w| Box::pin(async move { keep(&mut w, &me, candidate, told).await }));
        match kept.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%address, error = %error, label = error.label(), "a BMC that answered was not written down");
                false
            }
        }
    }

    /// Every BMC that answered, with what is to be made of it.
    ///
    /// # Errors
    /// The database's.
    pub async fn found_bmcs(&self) -> Result<Vec<FoundBmc>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let rows = bmc_adoption::found(&mut tx).await.map_err(store)?;
        let awaited = bmc_adoption::awaited(&mut tx).await.map_err(store)?;
        let mut by_host = BTreeMap::new();
        for (machine, text) in machines::ours_with_bmc(&mut tx).await.map_err(store)? {
            let Ok(access) = body::read::<BmcBody>("bmc", &machine, &text) else { continue };
            by_host.insert(host(&access.address), machine);
        }
        let mut all = Vec::with_capacity(rows.len());
        let found: Vec<Found> = rows.iter().map(of_row).collect();
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for row in awaited.iter().filter(|row| row.state != AwaitedState::Adopted) {
            let ours: Ours = body::read("awaited bmc", &row.id, &row.body)?;
            if let Where::At { address, .. } = whereabouts(&ours, &found) {
                let refused = row.state == AwaitedState::Refused;
                let standing = if refused { Standing::Refused } else { Standing::Awaited };
                standings.insert(host(&address), standing);
            }
        }
        for (row, found) in rows.into_iter().zip(found) {
            let of_ours = by_host.get(&host(&row.address)).copied();
            let machine = of_ours.or(found.body.machine);
            let record = match machine {
                Some(id) => machines::get(&mut tx, id).await.map_err(store)?,
                None => None,
            };
            let standing = match of_ours {
                Some(_) => Standing::Ours,
                None => standings.get(&host(&row.address)).copied().unwrap_or(Standing::Observed),
            };
            all.push(FoundBmc {
                address: row.address,
                mac: row.mac,
                standing,
                machine,
                name: record.map(|record| record.name),
                found_by: found.body.found_by,
                told: found.body.told,
                class: found.body.class,
                first_seen: row.first_seen,
                seen: row.seen,
            });
        }
        Ok(all)
    }
}

pub(super) fn of_row(row: &FoundRow) -> Found {
    let body = serde_json::from_str(&row.body).unwrap_or_default();
    Found { address: row.address.clone(), mac: row.mac, body }
}

/// Whether what answers now is another BMC than what answered before: another key, or another machine's UUID.
fn is_other(before: &FoundBody, told: &[Told]) -> bool {
    let pairs = told.iter().filter_map(|new| {
        let old = before.told.iter().find(|old| old.protocol == new.protocol)?;
        Some((old, new))
    });
    pairs.into_iter().any(|(old, new)| {
        let key = old.tls_pin.is_some() && new.tls_pin.is_some() && old.tls_pin != new.tls_pin;
        let told = !old.uuids.is_empty() && !new.uuids.is_empty();
        key || (told && old.uuids.iter().all(|uuid| !new.uuids.contains(uuid)))
    })
}

/// What is known already is kept, what was told anew goes before it.
fn merged(before: FoundBody, candidate: &Candidate, told: Vec<Told>) -> FoundBody {
    let mut after = before;
    after.found_by.insert(candidate.way);
    let silent = after.told.into_iter().filter(|old| told.iter().all(|new| new.protocol != old.protocol));
    after.told = told.iter().cloned().chain(silent).collect();
    if candidate.class.is_some() {
        after.class.clone_from(&candidate.class);
    }
    if let Some((machine, serial)) = &candidate.machine {
        (after.machine, after.serial) = (Some(*machine), serial.clone());
    }
    after
}

async fn keep(w: &mut Write<'_>, me: &Conductor, candidate: Candidate, told: Vec<Told>) -> Result<(), Error> {
    let at_address = bmc_adoption::found_at(w.tx, &candidate.address).await.map_err(store)?;
    // Another MAC at this address is another BMC: nothing of the former holds.
    let at_address = at_address.filter(|row| row.mac.is_none() || candidate.mac.is_none() || row.mac == candidate.mac);
    let before = match (at_address, candidate.mac) {
        (Some(row), _) => Some(row),
        (None, Some(mac)) => bmc_adoption::found_by_mac(w.tx, mac).await.map_err(store)?,
        (None, None) => None,
    };
    let new = before.is_none();
    if new && bmc_adoption::count_found(w.tx).await.map_err(store)? >= MOST_FOUND {
        tracing::warn!(address = %candidate.address, "{MOST_FOUND} BMCs are found already; this one is not written down");
        return Ok(());
    }
    let moved_from = before.as_ref().map(|row| row.address.clone()).filter(|address| *address != candidate.address);
    let before = before.filter(|row| !is_other(&of_row(row).body, &told));
    let mac = candidate.mac.or(before.as_ref().and_then(|row| row.mac));
    let first_seen = before.as_ref().map_or(w.now, |row| row.first_seen);
    let mut known = before.map(|row| of_row(&row).body).unwrap_or_default();
    if moved_from.is_some() {
        // What another address told proves nothing of this one.
        known.told.clear();
    }
    let body = merged(known, &candidate, told);
    let row = FoundRow {
        address: candidate.address.clone(),
        mac,
        first_seen,
        seen: w.now,
        body: body::write("found bmc", &candidate.address, &body)?,
    };
    bmc_adoption::put_found(w.tx, &row).await.map_err(store)?;
    if new {
        let detail = serde_json::json!({ "address": row.address, "mac": mac, "way": candidate.way, "told": body.told });
        let cause = format!("bmc-found/{}/{}", row.address, w.now.0 / DAY_MS);
        site(w, &cause, "bmc-found", "bmc", detail).await?;
        me.adoption.notify_one();
    }
    if moved_from.is_some() {
        me.adoption.notify_one();
        follow(w, &of_row(&row)).await?;
    }
    Ok(())
}

/// A BMC that we adopted by its MAC answers somewhere else. With its own key it is followed there; without one nobody can
/// tell, and a person says so.
async fn follow(w: &mut Write<'_>, found: &Found) -> Result<(), Error> {
    let Some(mac) = found.mac else { return Ok(()) };
    let entry = bmc_adoption::awaited_of(w.tx, &format!("mac/{mac}")).await.map_err(store)?;
    let Some(id) = entry.and_then(|entry| entry.machine) else { return Ok(()) };
    let Some(mut record) = machines::get(w.tx, id).await.map_err(store)? else { return Ok(()) };
    let kept: Kept = body::read("record", &id, &record.data)?;
    let (Some(text), Some(adopted)) = (&record.bmc, &kept.adopted) else { return Ok(()) };
    let access: BmcBody = body::read("bmc", &id, text)?;
    if adopted.mac != Some(mac) || host(&access.address) == host(&found.address) {
        return Ok(());
    }
    let pin = bmc_adoption::pin_of(w.tx, id).await.map_err(store)?;
    let same = found.body.told.iter().any(|told| {
        told.protocol == Protocol::Redfish && pin.as_ref().is_some_and(|pin| told.tls_pin.as_ref() == Some(&pin.pin))
    });
    let followed = same && access.protocol == Protocol::Redfish;
    let detail = serde_json::json!({ "from": access.address, "to": found.address, "followed": followed });
    if followed {
        let moved = BmcAccess { address: format!("https://{}", found.address), ..access };
        record.bmc = Some(body::write("bmc", &id, &moved)?);
        apply::keep(w, &mut record, &kept).await?;
        passwords::move_to(w.tx, id, &moved.address).await.map_err(store)?;
    } else {
        let title = format!(
            "Its BMC, known at {}, may answer at {} now and did not prove that it is the same. Look, then `muster bmc \
             moved {} {}`",
            access.address, found.address, record.name, found.address
        );
        let ticket = TicketId(rim::fresh_id()?);
        let subject = Subject::Bmc(id);
        tickets::open_ticket(w.tx, ticket, subject, MOVED, &title, "{}", w.now).await.map_err(store)?;
    }
    let cause = format!("bmc-moved/{}/{}", found.address, w.now.0 / DAY_MS);
    apply::note(w, id, &cause, "bmc-moved", "bmc", detail).await.map(drop)
}

/// The ticket of a BMC that may have moved.
pub(super) const MOVED: &str = "bmc-moved";

/// What has not answered for long goes.
pub(crate) async fn forget(w: &mut Write<'_>) -> Result<(), Error> {
    bmc_adoption::forget_found(w.tx, Millis(w.now.0.saturating_sub(GONE_MS))).await.map_err(store).map(drop)
}
