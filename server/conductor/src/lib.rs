//! The conductor: the one place where a state is written, and the couriers that carry out what a state asks.
//!
//! Sense (boot path, agents, BMCs) -> judge (`lifecycle`, `diagnosis`, `catalog`: pure) -> record (one transaction) ->
//! act (couriers) -> the result comes back as an event. Nothing here decides what a machine should do next.

mod adoption;
mod agents;
mod apply;
mod bios;
mod bmcs;
mod body;
mod boot;
mod clean;
mod conflicts;
pub mod console;
mod courier;
mod error;
mod facts;
mod firmware;
mod hand;
pub mod import;
mod layout;
mod leases;
mod ledger;
mod media;
mod passwords;
pub mod plans;
mod probing;
mod procedure;
mod reports;
mod resolve;
mod rim;
mod scribe;
mod seed;
mod session;
mod standing;
mod subscribing;
mod tidy;
pub mod timeline;
mod view;
mod watching;
mod ways;

pub use adoption::{
    AwaitedShown, Candidates, Entry, EntryPlanned, FindHand, FoundBmc, FoundBy, MOST_REFUSED, Manifest,
    ManifestPlanned, ManifestVerdict, Met, ScanTold, Standing, Told as BmcTold, adopt_bmcs, find_bmcs,
};
pub use agents::{Live, MOST_REPORTS};
pub use apply::{ActBody, Applied, LogBody};
pub use bmcs::BmcHand;
pub use body::{Adopted, AgentSeen, BmcBody, Fault, Kept, Medium, OrderBody};
pub use boot::BootAnswer;
pub use conflicts::{CONFLICT_KINDS, OpenConflict, keep_conflicts};
pub use courier::{couriers, deadlines};
pub use error::Error;
pub use facts::{Known, known};
pub use firmware::{FirmwareReport, MachineFirmware, weigh};
pub use hand::{BmcOf, ConsoleHand, FirmwareHand, Hand, HandError, Hands, Lead, Login, PasswordHand};
pub use leases::{commit_leases, leases_of, load_leases};
pub use muster_bmc::{Authority, Console, Firmware, Hail, Learnt, Pin, Running, Secret, WriteHabit};
pub use passwords::{PasswordAge, SiteKey, Vault, WEIGHT as PASSWORD_WEIGHT, change_old_passwords};
pub use probing::{LearntShown, ProbeHand};
pub use rim::{fresh_id, fresh_token, now, sha256};
pub use session::{Caller, TurnedAway};
pub use subscribing::{EVENTS_PATH, EventHand};
pub use tidy::tidy;
pub use view::hosts;
pub use watching::{
    Came, Grain, Heard, Hearing, Listening, Reach, Rounds, Seen, Shown, Sum, Unwell, Visit, Visits, WatchHand, Watched,
    watch_bmcs,
};

use agents::Agents;
use arc_swap::{ArcSwap, ArcSwapOption};
use boot::Tokens;
use conflicts::Conflicts;
use console::{Consoles, Tapes};
use muster_catalog::{Catalog, Image};
use muster_diagnosis::Budgets;
use muster_names::{Digest, Epoch, FirmwareMode, ImageId, Key, MachineId, OrderId, Seq, Subject};
use muster_netboot::{Conflict, Lease, Networks};
use muster_store::Store;
use muster_wire::ImageRef;
use scribe::Scribe;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timeline::{Note, Timeline};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use view::Fleet;

/// What the daemon's configuration says that a machine must be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://10.77.0.1:8443`: where agents call.
    pub agent_url: String,
    /// `http://10.77.0.1:8080`: where images lie.
    pub boot_http: String,
    /// The certificate authority agents trust.
    pub ca_pem: String,
    /// This daemon's name among couriers.
    pub name: String,
    /// A machine of ours whose BMC nobody named gets an account on it by its agent.
    pub bmc_accounts: bool,
    /// `https://10.77.0.1:8444`: where BMCs without a stream of events send them; `None`: nowhere.
    pub events_to: Option<String>,
    /// What consoles say is kept there.
    pub tapes: Tapes,
}

/// An image that is there to be installed.
#[derive(Clone, Debug)]
pub struct Built {
    pub image: Image,
    /// Version of the agent inside, where its manifest tells it.
    pub agent_version: Option<String>,
}

impl Built {
    /// The image as an order names it; the path below the boot listener's base.
    pub fn reference(&self) -> ImageRef {
        let built = &self.image.built;
        ImageRef {
            id: self.image.os.id.clone(),
            url: format!("/images/{}/{}", self.image.os.id, built.file),
            digest: built.sha256,
            bytes: built.bytes,
            raw_digest: built.raw_sha256,
            raw_bytes: built.raw_bytes,
            compression: built.compression.word().into(),
        }
    }
}

/// The agent's program as boot HTTP serves it, for images that do not carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProgram {
    /// `/boot/muster-agent`, below the boot listener's base.
    pub path: String,
    pub digest: Digest,
}

/// Everything that conducting needs, shared by all tasks of the daemon.
pub struct Conductor {
    pub db: Store,
    pub settings: Settings,
    pub(crate) scribe: Scribe,
    pub(crate) hand: Arc<dyn Hand>,
    pub(crate) passwords: Arc<dyn PasswordHand>,
    pub(crate) firmware: Arc<dyn FirmwareHand>,
    pub(crate) hands_console: Arc<dyn ConsoleHand>,
    pub(crate) consoles: Consoles,
    pub(crate) vault: Arc<Vault>,
    pub(crate) finder: Arc<dyn FindHand>,
    pub(crate) probes: Arc<dyn ProbeHand>,
    pub(crate) events: Arc<dyn EventHand>,
    pub(crate) finding: adoption::Finding,
    /// Rung when an entry may have its BMC now.
    pub(crate) adoption: Notify,
    pub(crate) watcher: Arc<dyn WatchHand>,
    pub(crate) watching: watching::Watching,
    catalog: ArcSwap<Catalog>,
    budgets: ArcSwap<Budgets>,
    images: ArcSwap<BTreeMap<ImageId, Built>>,
    program: ArcSwapOption<AgentProgram>,
    /// Every network of the configuration, those that are not answered yet included.
    networks: ArcSwap<Networks>,
    /// Leases that were written past the thread that answers, one of an address until it takes them.
    learnt: Mutex<BTreeMap<(String, Ipv4Addr), Lease>>,
    pub(crate) agents: Agents,
    pub(crate) fleet: Fleet,
    pub(crate) work: Notify,
    pub(crate) busy: Mutex<HashSet<String>>,
    /// So many passwords change at once.
    pub(crate) changes: Arc<Semaphore>,
    pub(crate) trials: Arc<Semaphore>,
    /// So many BMCs are read for people at once.
    pub(crate) looks: Semaphore,
    pub(crate) boot_files: Mutex<Tokens>,
    pub(crate) conflicts: Conflicts,
    pub(crate) timeline: Timeline,
    resident: Mutex<BTreeMap<(OrderId, Epoch), String>>,
    rails: Mutex<BTreeMap<Key, String>>,
    newest: watch::Sender<Seq>,
    pub(crate) courier: String,
}

/// Tasks that run beside the conductor; each ends when the token is cancelled.
pub struct Tasks {
    pub scribe: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    pub conflicts: mpsc::Receiver<Conflict>,
    pub timeline: mpsc::Receiver<Note>,
    pub candidates: adoption::Candidates,
    pub refresher: mpsc::UnboundedReceiver<BTreeSet<MachineId>>,
}

impl Conductor {
    pub fn new(
        db: Store,
        settings: Settings,
        hands: Hands,
        catalog: Catalog,
        budgets: Budgets,
        cancel: &CancellationToken,
    ) -> (Arc<Self>, Tasks) {
        let (conflicts, met) = Conflicts::new();
        let (timeline, notes) = Timeline::new();
        let (finding, candidates) = adoption::Finding::new();
        let (touched, refresher) = mpsc::unbounded_channel();
        let (newest, _) = watch::channel(Seq(0));
        let tell = newest.clone();
        let told: scribe::Told = Box::new(move |seq, ids| {
            tell.send_replace(seq);
            if !ids.is_empty() {
                // The receiver ends with the daemon.
                let _ = touched.send(ids.clone());
            }
        });
        let (scribe, task) = Scribe::new(db.clone(), told, cancel.clone());
        // A name for each run of the daemon: what a former run left claimed is not taken for our own.
        let run = rim::fresh_id().unwrap_or_else(|_| u128::from(rim::now().0.unsigned_abs()));
        let courier = format!("{}/{run:032x}", settings.name);
        let consoles = Consoles::new(settings.tapes.clone());
        let me = Self {
            db,
            settings,
            scribe,
            hand: hands.power,
            passwords: hands.passwords,
            firmware: hands.firmware,
            hands_console: hands.consoles,
            consoles,
            vault: hands.vault,
            finder: hands.finder,
            probes: hands.probes,
            events: hands.events,
            finding,
            adoption: Notify::new(),
            watcher: hands.watch,
            watching: Default::default(),
            catalog: ArcSwap::from_pointee(catalog),
            budgets: ArcSwap::from_pointee(budgets),
            images: ArcSwap::default(),
            program: ArcSwapOption::empty(),
            networks: ArcSwap::default(),
            learnt: Mutex::default(),
            agents: Agents::default(),
            fleet: Fleet::default(),
            work: Notify::new(),
            busy: Mutex::default(),
            changes: Arc::new(Semaphore::new(passwords::AT_ONCE)),
            trials: Arc::new(Semaphore::new(1)),
            looks: Semaphore::new(firmware::AT_ONCE),
            boot_files: Mutex::default(),
            conflicts,
            timeline,
            resident: Mutex::default(),
            rails: Mutex::default(),
            newest,
            courier,
        };
        (Arc::new(me), Tasks { scribe: Box::pin(task), conflicts: met, timeline: notes, candidates, refresher })
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Puts a whole new catalog in force.
    pub fn set_catalog(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
    }

    pub fn budgets(&self) -> Arc<Budgets> {
        self.budgets.load_full()
    }

    pub fn set_images(&self, images: Vec<Built>) {
        let map = images.into_iter().map(|built| (built.image.os.id.clone(), built)).collect();
        self.images.store(Arc::new(map));
    }

    /// What a seed may bring to an image without an agent; `None`: nothing is served.
    pub fn set_agent_program(&self, program: Option<AgentProgram>) {
        self.program.store(program.map(Arc::new));
    }

    pub(crate) fn agent_program(&self) -> Option<Arc<AgentProgram>> {
        self.program.load_full()
    }

    pub fn set_networks(&self, networks: Networks) {
        self.networks.store(Arc::new(networks));
    }

    pub fn networks(&self) -> Arc<Networks> {
        self.networks.load_full()
    }

    pub(crate) fn learn(&self, leases: Vec<Lease>) {
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.extend(leases.into_iter().map(|lease| ((lease.network.clone(), lease.address), lease)));
    }

    /// Takes the leases that the thread which answers does not know of.
    pub fn learnt(&self) -> Vec<Lease> {
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *learnt).into_values().collect()
    }

    pub fn image(&self, id: &ImageId) -> Option<Built> {
        self.images.load().get(id).cloned()
    }

    pub fn images(&self) -> Vec<Built> {
        self.images.load().values().cloned().collect()
    }

    pub fn image_ids(&self) -> Vec<String> {
        self.images.load().keys().map(|id| id.0.clone()).collect()
    }

    /// The newest number of the event log; changes wake those who follow it.
    pub fn follow(&self) -> watch::Receiver<Seq> {
        self.newest.subscribe()
    }

    pub fn live(&self, id: MachineId) -> Option<Live> {
        self.agents.live(id)
    }

    /// Which rail holds back what the subject asks for in this epoch, in words.
    pub fn rail_of(&self, of: Subject, epoch: Epoch) -> Option<String> {
        self.rails().iter().find(|(key, _)| key.of == of && key.epoch == epoch).map(|(_, rail)| rail.clone())
    }

    /// Presses or releases the red button.
    pub async fn freeze(&self, frozen: bool, by: String, why: String) -> Result<(), Error> {
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    let freeze = muster_store::Freeze { frozen, by: by.clone(), why: why.clone(), at: w.now };
                    muster_store::site::set_frozen(w.tx, &freeze).await.map_err(error::store)?;
                    let event = muster_store::Event {
                        subject: muster_names::Subject::Site,
                        cause: muster_names::Cause(format!("freeze/{:032x}", rim::fresh_id()?)),
                        kind: if frozen { "frozen".into() } else { "unfrozen".into() },
                        actor: by,
                        epoch: Epoch(0),
                        body: serde_json::json!({ "why": why }).to_string(),
                        at: w.now,
                    };
                    w.tx.append(event).await.map_err(error::store).map(drop)
                })
            })
            .await?;
        self.work.notify_one();
        Ok(())
    }

    /// Runs a write that is not about a machine's life: tokens, settings.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(scribe::Write<'t>) -> futures_core::future::BoxFuture<'t, Result<T, Error>> + Send + 'static,
    {
        self.scribe.write(work).await
    }

    pub(crate) fn resident_tokens(&self) -> MutexGuard<'_, BTreeMap<(OrderId, Epoch), String>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the newest thousand: an order that is served again makes itself another token.
    pub(crate) fn forget_resident_tokens(&self) {
        let mut tokens = self.resident_tokens();
        while tokens.len() > 1_000 && tokens.pop_first().is_some() {}
    }

    pub(crate) fn rails(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.rails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the model says of a machine that was not looked at yet.
    pub(crate) async fn firmware_mode_of(&self, id: MachineId) -> Option<FirmwareMode> {
        let mut tx = self.db.read().await.ok()?;
        let machine = known(&mut tx, &self.catalog(), id).await.ok()?;
        let model = machine.record.model.or(machine.kept.expected_model)?;
        self.catalog().model(&model)?.boot.firmware.first().copied()
    }
}

/// Refreshes view, agents and couriers after each commit.
pub async fn refresh(
    me: Arc<Conductor>,
    mut touched: mpsc::UnboundedReceiver<BTreeSet<MachineId>>,
    cancel: CancellationToken,
) {
    loop {
        let ids = tokio::select! {
            () = cancel.cancelled() => return,
            ids = touched.recv() => match ids { Some(ids) => ids, None => return },
        };
        if let Err(error) = me.refresh(&ids).await {
            tracing::warn!(error = %error, label = error.label(), "the boot path's view is stale");
        }
        me.agents.ring(&ids);
        me.work.notify_one();
    }
}
