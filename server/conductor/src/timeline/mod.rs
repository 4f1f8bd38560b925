//! What goes into the boot timeline and comes out of it. The rules are `muster_netboot::timeline`; here entries are
//! gathered without ever making a packet wait, kept in the database, and read together with the machine's own events.

mod figures;
mod keeper;
mod read;

pub use figures::{Figures, Histogram, SECONDS, judge_boots};
pub use keeper::keep_timeline;
pub(crate) use read::noted_port;
pub use read::{ConsoleOfBoot, Told};

use crate::leases::Holding;
use crate::{Conductor, rim};
use muster_names::{Mac, MachineId, Millis};
use muster_netboot::Sighting;
use muster_netboot::timeline::{Entry, Fetch, File, How, LogLine, Running, Via, What};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::mpsc;

/// Addresses remembered with who has them; a site's networks hold fewer.
const MOST_HOLDERS: usize = 200_000;
/// Transfers under way that are remembered; the boot server itself allows fewer.
const MOST_RUNNING: usize = 20_000;
/// A restart must not take a machine's lines for a stranger's: a lease that ended this long ago still tells who it was.
const GRACE_MS: i64 = 60_000;

/// What waits to be kept.
pub enum Note {
    Seen(Sighting),
    Entry(Entry),
}

/// A transfer that has begun, for whoever reports it.
pub struct Began {
    pub via: Via,
    pub peer: SocketAddr,
    pub path: String,
    pub size: u64,
    /// Bytes that the client has, or that left for it; moved on by the boot server.
    pub gone: Arc<AtomicU64>,
}

/// How a transfer ended.
pub struct Ended {
    pub via: Via,
    pub peer: SocketAddr,
    pub path: String,
    pub bytes: u64,
    pub took_ms: u64,
    pub repeats: u64,
    pub how: How,
}

struct Under {
    mac: Mac,
    running: Running,
    gone: Arc<AtomicU64>,
}

/// The memory behind the timeline; all of it is bounded, and none of it is needed after a restart.
pub(crate) struct Timeline {
    notes: mpsc::Sender<Note>,
    dropped: AtomicU64,
    holders: RwLock<HashMap<IpAddr, (Mac, Millis)>>,
    running: Mutex<BTreeMap<(Via, SocketAddr), Under>>,
    pub(crate) figures: Mutex<Figures>,
}

impl Timeline {
    pub fn new() -> (Self, mpsc::Receiver<Note>) {
        let (notes, waiting) = mpsc::channel(8192);
        let (dropped, figures) = (AtomicU64::new(0), Mutex::default());
        (Self { notes, dropped, holders: RwLock::default(), running: Mutex::default(), figures }, waiting)
    }

    fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<(Via, SocketAddr), Under>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has an address by a lease of ours.
    fn holder(&self, address: IpAddr, now: Millis) -> Option<Mac> {
        let holders = self.holders.read().unwrap_or_else(PoisonError::into_inner);
        let (mac, until) = holders.get(&address)?;
        (until.0.saturating_add(GRACE_MS) > now.0).then_some(*mac)
    }

    pub fn leased(&self, changes: impl IntoIterator<Item = Holding>) {
        let mut holders = self.holders.write().unwrap_or_else(PoisonError::into_inner);
        for (address, holder) in changes {
            match holder {
                None => drop(holders.remove(&address)),
                Some(holder) if holders.len() < MOST_HOLDERS || holders.contains_key(&address) => {
                    holders.insert(address, holder);
                }
                Some(_) => {}
            }
        }
    }

    /// Which of these ports fetch something just now.
    fn running(&self, macs: &[Mac]) -> Vec<Running> {
        let live = |under: &Under| {
            let bytes = under.gone.load(Ordering::Relaxed).min(under.running.size);
            Running { bytes, ..under.running.clone() }
        };
        self.under_way().values().filter(|under| macs.contains(&under.mac)).map(live).collect()
    }
}

impl Conductor {
    /// Notes what the boot path saw; never waits. What finds no room in the queue is counted and lost.
    pub(crate) fn note_seen(&self, mut sighting: Sighting) {
        // One clock for all of the timeline, whatever the boot server's own says.
        sighting.at = rim::now();
        self.timeline.note(Note::Seen(sighting));
    }

    pub fn dropped_sightings(&self) -> u64 {
        self.timeline.dropped.load(Ordering::Relaxed)
    }

    pub fn transfer_began(&self, began: Began) {
        let now = rim::now();
        let Some(mac) = self.timeline.holder(began.peer.ip(), now) else { return };
        let Began { via, peer, path, size, gone } = began;
        let (file, path) = named(path);
        let running = Running { began: now, via, file, path, bytes: 0, size };
        let mut all = self.timeline.under_way();
        if all.len() < MOST_RUNNING {
            all.insert((via, peer), Under { mac, running, gone });
        }
    }

    pub fn transfer_ended(&self, ended: Ended) {
        let now = rim::now();
        let under = self.timeline.under_way().remove(&(ended.via, ended.peer));
        let Some(mac) = under.as_ref().map(|under| under.mac).or_else(|| self.timeline.holder(ended.peer.ip(), now))
        else {
            return;
        };
        let Ended { via, path, bytes, took_ms, repeats, how, .. } = ended;
        let (file, path) = named(path);
        // A script that came tells itself, with the reason in it.
        if file == File::Script && how == How::Whole {
            return;
        }
        let size = under.map(|under| under.running.size);
        let at = Millis(now.0.saturating_sub(i64::try_from(took_ms).unwrap_or(0)));
        let fetch = Fetch { via, file, path, bytes, size, took_ms, repeats, how };
        self.timeline.note(Note::Entry(Entry::of(at, Some(mac), What::Fetch(fetch))));
    }

    /// Whether lines from this address are taken at all: it has a lease of ours.
    pub fn may_log(&self, address: IpAddr) -> bool {
        self.timeline.holder(address, rim::now()).is_some()
    }

    /// Notes a line of a system log.
    pub fn logged(&self, address: IpAddr, line: LogLine) {
        let now = rim::now();
        if let Some(mac) = self.timeline.holder(address, now) {
            self.timeline.note(Note::Entry(Entry::of(now, Some(mac), What::Log(line))));
        }
    }

    /// A machine that was switched on is looked after even when it never says a word.
    pub(crate) fn switched_on(&self, id: MachineId) {
        let hosts = self.fleet.macs_of(id);
        self.timeline.figures.lock().unwrap_or_else(PoisonError::into_inner).touched(hosts, rim::now());
    }
}

/// The path of a boot's token is a secret while the token waits to be fetched: a reader of the list must not fetch it.
fn named(path: String) -> (File, String) {
    match File::of(&path) {
        File::Token => (File::Token, "agent.cpio".into()),
        file => (file, path),
    }
}
