//! A site for a test: a store in a folder of its own, the repository's own models and images, racks of the test's own,
//! BMCs that remember, and all of the conductor's tasks.

use crate::nobodys::{Greets, Peculiar};
use futures_core::future::BoxFuture;
use muster_bmc::{Console, Log, LogEntry, LogMark, PaceTold, Reading, Since, Subscription, Target};
use muster_catalog::{BiosSetting, BiosTold, BmcAccess, Catalog, Image, Manifest, read};
use muster_conductor::console::Tapes;
use muster_conductor::plans::{Action, Executed, PlanRequest};
use muster_conductor::{
    BmcOf, Built, Conductor, ConsoleHand, Error, EventHand, FirmwareHand, Hand, HandError, Hands, Heard, Hearing,
    Known, Lead, Listening, Login, PasswordHand, Running, Secret, Settings, Shown, SiteKey, Vault, Visit, WatchHand,
    known,
};
use muster_diagnosis::Budgets;
use muster_names::{FirmwareMode, ImageId, MachineId, Power, Seq, Subject, TargetSet, Way};
use muster_store::{ActRow, Logged, Order, Place, Store, Ticket, acts, events, machines, orders, tickets};
use muster_tests::data_files::data_files;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Twelve machines in one rack, two in another; `bare1` has no BMC.
const RACKS: [(&str, u32); 2] = [("r1", 12), ("r2", 2)];

fn rack(name: &str, machines: u32) -> String {
    let mut text = format!("site = \"test\"\nrack = \"{name}\"\nevidence = \"declared\"\nunits = 42\n");
    for n in 1..=machines {
        text.push_str(&format!(
            "[[machine]]\nname = \"{name}-n{n}\"\nu = {n}\nmodel = \"qemu-q35\"\nserial = \"{name}-S{n}\"\n\
             bmc = {{ protocol = \"{}\", address = \"127.0.0.1:{}\", user = \"admin\", password-file = \"secret-file\" }}\n",
            if name == "r2" { "redfish" } else { "ipmi" },
            6000 + n + 100 * u32::from(name == "r2"),
        ));
    }
    if name == "r2" {
        text.push_str("[[machine]]\nname = \"bare1\"\nu = 20\nmodel = \"qemu-q35\"\nserial = \"bare-S1\"\n");
    }
    text
}

/// What the machines' model wants of their settings, and what these are called: C-states, turbo, and NUMA by a guess.
const WISHES: &str = r#"
[[firmware]]
name = "bios"
component = ["BIOS"]
reported = '(\d+\.\d+)'
wanted = "2.4"
order = 1
reset = "machine"
evidence = { documented = "https://example.org/" }

[bios]
c-states = "off"
turbo = "on"
numa = "on"
"#;
const NAMES: &str = r#"
[[bios]]
attribute = "c-states"
name = "CStates"
values = { on = "Enabled", off = "Disabled" }
evidence = { documented = "https://example.org/" }

[[bios]]
attribute = "turbo"
name = "Turbo"
values = { on = "Enabled", off = "Disabled" }
evidence = { documented = "https://example.org/" }

[[bios]]
attribute = "numa"
name = "Numa"
values = { on = "Enabled", off = "Disabled" }
evidence = "synthetic"
"#;

pub fn catalog() -> Catalog {
    catalog_with(&[])
}

/// With more files: their names and texts.
pub fn catalog_with(more: &[(String, String)]) -> Catalog {
    let mut files = data_files();
    for (name, text) in &mut files {
        if name.ends_with("models/qemu-q35.toml") {
            text.push_str(WISHES);
        } else if name.ends_with("bmcs/openipmi-sim.toml") {
            text.push_str(NAMES);
        }
    }
    for (name, machines) in RACKS {
        files.push((format!("rack-layouts/test/{name}.toml"), rack(name, machines)));
    }
    files.extend_from_slice(more);
    read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

pub fn image(catalog: &Catalog) -> Built {
    let os = catalog.image(&ImageId("debian-12".into())).unwrap();
    let manifest: Manifest = serde_json::from_value(serde_json::json!({
        "id": "debian-12", "version": "12.11-0123456789abcdef", "file": os.file,
        "sha256": "11".repeat(32), "bytes": 200_000_000, "raw_sha256": "22".repeat(32), "raw_bytes": 1_500_000_000,
        "root_uuid": "5e3b9d4e-0c0b-4a57-9d29-7a0a6d1b8f10", "compression": "zstd"
    }))
    .unwrap();
    Built { image: Image::from_manifest(os, manifest).unwrap(), agent_version: Some("0.1.0".into()) }
}

/// One BMC's machine.
#[derive(Clone, Debug)]
pub struct Fake {
    pub power: Power,
    pub silent: bool,
    pub hides: bool,
    /// Each order holds its caller this long.
    pub slow: Duration,
    pub boot: Option<Lead>,
    /// Ways that it refuses, in these words.
    pub refuses: Vec<(Way, String)>,
    /// The disc that it shows.
    pub disc: Option<String>,
    /// How many orders to eject it refuses.
    pub clings: u32,
    pub readings: u32,
    /// `boot agent`, `off`, `on`: what really happened, in order.
    pub log: Vec<String>,
    pub password: String,
    /// What becomes of the next orders to set a password; well without.
    pub fates: Vec<Fate>,
    /// A password that comes in force after so many logins more.
    pub late: Option<(String, u32)>,
    /// The next login hangs for ever.
    pub deaf: bool,
    /// Its password file does not read.
    pub file_gone: bool,
    /// Logins that it refused.
    pub refused: u32,
    /// What it tells the next one who watches.
    pub readings_told: Vec<Reading>,
    pub log_told: Vec<LogEntry>,
    /// The marks that it was asked to read on from, a list a visit.
    pub asked_after: Vec<Vec<LogMark>>,
    pub bios: BiosTold,
    pub runs: Running,
    pub peculiar: Peculiar,
    /// The key that it shows to the watch.
    pub shown: Option<Shown>,
    /// What it says to whoever finds it.
    pub greets: Option<Greets>,
    /// By this it tells of events; without, it has no stream.
    pub events: Option<Arc<Notify>>,
    /// Where it sends events.
    pub sends_to: Option<String>,
    /// Where it was told to.
    pub told_to_send: Vec<Option<String>>,
    /// It takes no subscriptions.
    pub mute: bool,
    /// Where a BMC with a console answers for it.
    pub console: Option<std::net::SocketAddr>,
}

/// What a BMC makes of the order to set its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It says that it is done, and it is not.
    Swallowed,
    AnswerLost,
    /// It takes the password after two logins more.
    Late,
    /// It never answers, and did nothing.
    HangsBefore,
    /// It never answers, and did it.
    HangsAfter,
    Refused,
    /// It takes another password than it was told.
    Garbled,
}

/// What the password file says.
pub const FACTORY: &str = "factory";

impl Default for Fake {
    fn default() -> Self {
        Self {
            power: Power::On,
            silent: false,
            hides: false,
            slow: Duration::ZERO,
            boot: None,
            refuses: Vec::new(),
            disc: None,
            clings: 0,
            readings: 0,
            log: Vec::new(),
            password: FACTORY.into(),
            fates: Vec::new(),
            late: None,
            file_gone: false,
            deaf: false,
            refused: 0,
            readings_told: Vec::new(),
            log_told: Vec::new(),
            asked_after: Vec::new(),
            bios: settings(&[("CStates", "Enabled"), ("Turbo", "Enabled"), ("Numa", "Disabled")]),
            runs: Running::default(),
            peculiar: Peculiar::default(),
            shown: None,
            greets: None,
            events: None,
            sends_to: None,
            told_to_send: Vec::new(),
            mute: false,
            console: None,
        }
    }
}

#[derive(Default)]
pub struct Bmcs(Mutex<BTreeMap<String, Fake>>, Mutex<Option<Arc<Vault>>>);

impl Bmcs {
    pub fn of<T>(&self, address: &str, look: impl FnOnce(&mut Fake) -> T) -> T {
        look(self.0.lock().unwrap().entry(address.to_owned()).or_default())
    }

    /// As it is, where there is one.
    pub fn at(&self, address: &str) -> Option<Fake> {
        self.0.lock().unwrap().get(address).cloned()
    }

    pub fn all(&self) -> Vec<(String, Fake)> {
        self.0.lock().unwrap().iter().map(|(address, fake)| (address.clone(), fake.clone())).collect()
    }
}

impl Bmcs {
    /// The password in force, as whoever changes it finds it.
    async fn before(&self, bmc: &BmcOf) -> Result<String, HandError> {
        let vault = self.1.lock().unwrap().clone().unwrap();
        let own = vault.before(bmc).await?;
        Ok(own.map_or_else(|| FACTORY.to_owned(), |secret| secret.reveal().to_owned()))
    }
}

/// A simulated BMC for consoles, where a test has one.
impl ConsoleHand for Bmcs {
    fn console<'a>(&'a self, bmc: &'a BmcOf, take_over: bool) -> BoxFuture<'a, Result<Console, HandError>> {
        let at = self.of(&bmc.access.address, |fake| fake.console);
        Box::pin(async move {
            let at = at.ok_or_else(silence)?;
            let target = Target::new(muster_bmc::Protocol::Ipmi, at.to_string(), "admin", Secret::new("secret"));
            let opened = muster_bmc::Bmcs::new(muster_bmc::Settings::default()).console(&target, take_over).await;
            opened.map_err(|error| HandError {
                reason: error.fault().to_string(),
                may_have_happened: false,
                later: error.kind() == muster_bmc::Kind::Later,
            })
        })
    }
}

fn tapes_of(place: &Place) -> Tapes {
    let folder = match place {
        Place::Sqlite(folder) => folder.join("console"),
        Place::Postgres(_) => std::env::temp_dir().join(format!("muster-consoles-{}", std::process::id())),
    };
    Tapes { folder, kept: 1 << 20 }
}

impl PasswordHand for Bmcs {
    fn password_limit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<usize, HandError>> {
        let silent = self.of(&bmc.access.address, |fake| fake.silent);
        Box::pin(async move { if silent { Err(silence()) } else { Ok(16) } })
    }

    fn set_password<'a>(&'a self, bmc: &'a BmcOf, next: &'a Secret) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let before = self.before(bmc).await?;
            let (known, fate) = self.of(&bmc.access.address, |fake| {
                fake.log.push("set-password".into());
                let fate = (!fake.fates.is_empty()).then(|| fake.fates.remove(0));
                (fake.password == before, fate)
            });
            let fault = |may_have_happened, later| HandError { reason: format!("{fate:?}"), may_have_happened, later };
            if !known || fate == Some(Fate::Refused) {
                return Err(fault(false, false));
            }
            if fate == Some(Fate::Late) {
                self.of(&bmc.access.address, |fake| fake.late = Some((next.reveal().to_owned(), 1)));
            }
            let taken = match fate {
                Some(Fate::Swallowed | Fate::HangsBefore | Fate::Late) => before,
                Some(Fate::Garbled) => "something else".into(),
                _ => next.reveal().to_owned(),
            };
            self.of(&bmc.access.address, |fake| fake.password = taken);
            match fate {
                Some(Fate::HangsBefore | Fate::HangsAfter) => std::future::pending().await,
                Some(Fate::AnswerLost) => Err(fault(true, true)),
                _ => Ok(()),
            }
        })
    }

    fn logs_in<'a>(&'a self, bmc: &'a BmcOf, with: Login<'a>) -> BoxFuture<'a, Result<bool, HandError>> {
        Box::pin(async move {
            let tried = match with {
                Login::With(secret) => secret.reveal().to_owned(),
                Login::InForce => self.before(bmc).await?,
            };
            if self.of(&bmc.access.address, |fake| std::mem::take(&mut fake.deaf)) {
                self.of(&bmc.access.address, |fake| fake.log.push("deaf".into()));
                std::future::pending::<()>().await;
            }
            let right = self.of(&bmc.access.address, |fake| {
                let right = fake.password == tried;
                fake.refused += u32::from(!right);
                fake.late = fake.late.take().and_then(|(password, logins)| match logins {
                    0 => {
                        fake.password = password;
                        None
                    }
                    logins => Some((password, logins - 1)),
                });
                right
            });
            Ok(right)
        })
    }

    fn of_file<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Secret, HandError>> {
        let gone = self.of(&bmc.access.address, |fake| fake.file_gone);
        let error = HandError { reason: "no such file".into(), may_have_happened: false, later: false };
        Box::pin(async move { if gone { Err(error) } else { Ok(Secret::new(FACTORY)) } })
    }
}

/// Settings with these values and nothing pending.
pub fn settings(all: &[(&str, &str)]) -> BiosTold {
    let one = |(name, value): &(&str, &str)| {
        let value = (*value).to_owned();
        ((*name).to_owned(), BiosSetting { value, ..BiosSetting::default() })
    };
    BiosTold { settings: all.iter().map(one).collect(), boot_order: None }
}

impl FirmwareHand for Bmcs {
    fn firmware<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Running, HandError>> {
        let read =
            self.of(&bmc.access.address, |fake| if fake.silent { Err(silence()) } else { Ok(fake.runs.clone()) });
        Box::pin(async move { read })
    }

    fn bios<'a>(&'a self, bmc: &'a BmcOf, _: bool) -> BoxFuture<'a, Result<BiosTold, HandError>> {
        let read = self.of(&bmc.access.address, |fake| {
            fake.log.push("read-bios".into());
            if fake.silent { Err(silence()) } else { Ok(fake.bios.clone()) }
        });
        Box::pin(async move { read })
    }

    fn set_bios<'a>(
        &'a self,
        bmc: &'a BmcOf,
        values: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let fate = self.of(&bmc.access.address, |fake| {
                let told: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
                fake.log.push(format!("set {}", told.join(" ")));
                (!fake.fates.is_empty()).then(|| fake.fates.remove(0))
            });
            let fault = |may_have_happened, later| HandError { reason: format!("{fate:?}"), may_have_happened, later };
            if fate == Some(Fate::Refused) {
                return Err(fault(false, false));
            }
            if !matches!(fate, Some(Fate::Swallowed | Fate::HangsBefore)) {
                self.of(&bmc.access.address, |fake| {
                    for (name, value) in values {
                        let setting = fake.bios.settings.get_mut(name).unwrap();
                        setting.pending = Some(value.clone());
                    }
                });
            }
            match fate {
                Some(Fate::HangsBefore | Fate::HangsAfter) => std::future::pending().await,
                Some(Fate::AnswerLost) => Err(fault(true, true)),
                Some(Fate::Swallowed) => Err(fault(true, false)),
                _ => Ok(()),
            }
        })
    }
}

pub fn silence() -> HandError {
    HandError { reason: "no answer".into(), may_have_happened: false, later: true }
}

impl Hand for Bmcs {
    fn power<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Power, HandError>> {
        let read = self.of(&bmc.access.address, |fake| {
            fake.readings += 1;
            match (fake.silent, fake.hides) {
                (true, _) => Err(silence()),
                (false, true) => Ok(Power::Unknown),
                (false, false) => Ok(fake.power),
            }
        });
        Box::pin(async move { read })
    }

    fn set_power<'a>(&'a self, bmc: &'a BmcOf, power: Power) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            tokio::time::sleep(self.of(&bmc.access.address, |fake| fake.slow)).await;
            self.of(&bmc.access.address, |fake| {
                if fake.silent {
                    return Err(silence());
                }
                fake.log.push(format!("{power:?}").to_lowercase());
                fake.power = power;
                Ok(())
            })
        })
    }

    fn set_boot<'a>(
        &'a self,
        bmc: &'a BmcOf,
        lead: &'a Lead,
        _: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            tokio::time::sleep(self.of(&bmc.access.address, |fake| fake.slow)).await;
            self.of(&bmc.access.address, |fake| {
                if let Some((_, reason)) = fake.refuses.iter().find(|(way, _)| Some(*way) == lead.way()) {
                    return Err(HandError { reason: reason.clone(), may_have_happened: false, later: false });
                }
                fake.log.push(match lead {
                    Lead::Disk => "boot disk".into(),
                    Lead::Pxe => "boot agent".into(),
                    Lead::Http(loader) => format!("boot {loader}"),
                    Lead::Disc(image) => format!("boot {image}"),
                });
                if let Lead::Disc(image) = lead {
                    fake.disc = Some(image.clone());
                }
                fake.boot = Some(lead.clone());
                Ok(())
            })
        })
    }

    fn holds_boot<'a>(&'a self, _: &'a BmcOf, _: &'a Lead) -> BoxFuture<'a, Result<Option<bool>, HandError>> {
        Box::pin(async { Ok(None) })
    }

    fn eject<'a>(&'a self, bmc: &'a BmcOf, disc: &'a str) -> BoxFuture<'a, Result<(), HandError>> {
        let ended = self.of(&bmc.access.address, |fake| {
            if fake.clings > 0 {
                fake.clings -= 1;
                let reason = "the drive is stuck".into();
                return Err(HandError { reason, may_have_happened: false, later: false });
            }
            fake.log.push("eject".into());
            fake.disc.take_if(|shown| shown == disc);
            Ok(())
        });
        Box::pin(async move { ended })
    }
}

impl EventHand for Bmcs {
    fn subscribed<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<bool, HandError>> {
        let there = self.of(&bmc.access.address, |fake| fake.sends_to == wanted.destination);
        Box::pin(async move { Ok(there) })
    }

    fn subscribe<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<(), HandError>> {
        let ended = self.of(&bmc.access.address, |fake| {
            fake.told_to_send.push(wanted.destination.clone());
            if fake.mute {
                let reason = "it has no event service".into();
                return Err(HandError { reason, may_have_happened: false, later: false });
            }
            fake.sends_to.clone_from(&wanted.destination);
            Ok(())
        });
        Box::pin(async move { ended })
    }
}

impl WatchHand for Bmcs {
    fn visit<'a>(&'a self, bmc: &'a BmcOf, after: &'a [LogMark]) -> BoxFuture<'a, Visit> {
        let visit = self.of(&bmc.access.address, |fake| {
            fake.asked_after.push(after.to_vec());
            if fake.silent || fake.file_gone {
                let error = HandError { later: fake.silent, ..silence() };
                return Visit {
                    power: Err(error.clone()),
                    readings: Err(error.clone()),
                    logs: Err(error),
                    shown: None,
                };
            }
            // As a BMC has it: what follows the mark, in the order of its ids.
            let entries: Vec<LogEntry> = match after.first() {
                Some(mark) => fake.log_told.iter().skip_while(|one| one.id != mark.id).skip(1).cloned().collect(),
                None => fake.log_told.clone(),
            };
            let mark = entries.last().map(|last| LogMark { log: "SEL".into(), id: last.id.clone(), print: "p".into() });
            let log = Log {
                name: "SEL".into(),
                entries,
                since: if after.is_empty() { Since::Beginning } else { Since::Mark },
                mark: mark.or_else(|| after.first().cloned()),
                more: false,
                clock_offset: Some(0),
                overflowed: false,
                gap: None,
            };
            Visit {
                power: Ok(fake.power),
                readings: Ok(fake.readings_told.clone()),
                logs: Ok(vec![log]),
                shown: fake.shown.clone(),
            }
        });
        Box::pin(async move { visit })
    }

    fn listen<'a>(&'a self, bmc: &'a BmcOf, listening: Listening<'a>) -> Hearing<'a> {
        let events = self.of(&bmc.access.address, |fake| fake.events.clone());
        Box::pin(async move {
            let Some(events) = events else { return Ok(Heard::NoStream) };
            let Ok(_place) = listening.places.try_acquire() else { return Ok(Heard::NoPlace) };
            while let Some(()) = listening.cancel.run_until_cancelled(events.notified()).await {
                (listening.pushed)();
            }
            Ok(Heard::Ended)
        })
    }

    fn pace(&self) -> PaceTold {
        PaceTold { at_once: 16, answers: 0, late: 0 }
    }
}

pub struct Site {
    pub me: Arc<Conductor>,
    pub bmcs: Arc<Bmcs>,
    pub vault: Arc<Vault>,
    pub place: Place,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

/// Removes a test's folder when it ends.
pub struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn folder() -> (Folder, Place) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("muster-conduct-{}-{count}", std::process::id()));
    (Folder(dir.clone()), Place::Sqlite(dir))
}

impl Site {
    pub async fn sqlite() -> (Folder, Self) {
        let (folder, place) = folder();
        (folder, Self::open(place, Arc::default(), Budgets::default(), true).await)
    }

    /// `couriers`: whether acts are carried out at all.
    pub async fn open(place: Place, bmcs: Arc<Bmcs>, budgets: Budgets, couriers: bool) -> Self {
        let db = Store::open(&place).await.unwrap();
        let settings = Settings {
            agent_url: "https://10.0.0.1:8443".into(),
            boot_http: "http://10.0.0.1:8080".into(),
            ca_pem: "a certificate".into(),
            bmc_accounts: true,
            events_to: Some("https://10.0.0.1:8444".into()),
            name: "daemon-a".into(),
            tapes: tapes_of(&place),
        };
        let cancel = CancellationToken::new();
        let catalog = catalog();
        let built = image(&catalog);
        let vault = Arc::new(Vault::new(db.clone(), SiteKey::read(&"5a".repeat(32)).unwrap()));
        *bmcs.1.lock().unwrap() = Some(vault.clone());
        let hands = Hands::of(bmcs.clone(), vault.clone());
        let (me, tasks) = Conductor::new(db, settings, hands, catalog, budgets, &cancel);
        let mut running = JoinSet::new();
        running.spawn(tasks.scribe);
        running.spawn(muster_conductor::refresh(me.clone(), tasks.refresher, cancel.clone()));
        running.spawn(muster_conductor::keep_conflicts(me.clone(), tasks.conflicts, cancel.clone()));
        running.spawn(muster_conductor::timeline::keep_timeline(me.clone(), tasks.timeline, cancel.clone()));
        running.spawn(muster_conductor::deadlines(me.clone(), cancel.clone()));
        running.spawn(muster_conductor::find_bmcs(me.clone(), tasks.candidates, vec![], None, cancel.clone()));
        me.take_over().await.unwrap();
        if couriers {
            running.spawn(muster_conductor::couriers(me.clone(), cancel.clone()));
        }
        me.set_images(vec![built]);
        me.fill_view().await.unwrap();
        me.follow_layouts().await.unwrap();
        Self { me, bmcs, vault, place, cancel, tasks: running }
    }

    /// Kills the daemon: nothing is told, nothing is finished.
    pub async fn kill(mut self) -> (Place, Arc<Bmcs>) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.cancel.cancel();
        self.me.db.close().await;
        (self.place, self.bmcs)
    }

    pub async fn restarted(self) -> Self {
        let (place, bmcs) = self.kill().await;
        Self::open(place, bmcs, Budgets::default(), true).await
    }

    pub async fn id(&self, name: &str) -> MachineId {
        let mut tx = self.me.db.read().await.unwrap();
        machines::by_name(&mut tx, name).await.unwrap().unwrap_or_else(|| panic!("no machine {name}")).id
    }

    pub async fn known(&self, id: MachineId) -> Known {
        let mut tx = self.me.db.read().await.unwrap();
        known(&mut tx, &self.me.catalog(), id).await.unwrap()
    }

    pub async fn label(&self, id: MachineId) -> &'static str {
        self.known(id).await.state.label()
    }

    /// Waits until the machine is in a state of this name.
    pub async fn until(&self, id: MachineId, label: &str) {
        self.when(&format!("state {label}"), async || self.label(id).await == label).await;
    }

    pub async fn when(&self, what: &str, is: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !is().await {
            if begun.elapsed() > Duration::from_secs(40) {
                let log: Vec<String> = self.log(None).await.iter().rev().take(12).map(line).collect();
                panic!("waited 40 s for {what}; the log's end: {log:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn log(&self, id: Option<MachineId>) -> Vec<Logged> {
        let mut tx = self.me.db.read().await.unwrap();
        events::events(&mut tx, Seq(0), 10_000, id.map(Subject::Machine)).await.unwrap()
    }

    pub async fn kinds(&self, id: MachineId) -> Vec<String> {
        self.log(Some(id)).await.into_iter().map(|row| row.kind).collect()
    }

    /// The states the machine went through, in order.
    pub async fn states(&self, id: MachineId) -> Vec<String> {
        let to = |row: &Logged| {
            let body: serde_json::Value = serde_json::from_str(&row.body).unwrap();
            Some(body.get("to")?.get("at")?.get("state")?.as_str()?.to_owned())
        };
        self.log(Some(id)).await.iter().filter_map(to).collect()
    }

    pub async fn tickets(&self, id: MachineId) -> Vec<Ticket> {
        let mut tx = self.me.db.read().await.unwrap();
        let all = tickets::list_open(&mut tx).await.unwrap();
        all.into_iter().filter(|ticket| ticket.subject == Subject::Machine(id)).collect()
    }

    pub async fn orders(&self, id: MachineId) -> Vec<Order> {
        let mut tx = self.me.db.read().await.unwrap();
        orders::list_of(&mut tx, id, 100).await.unwrap()
    }

    pub async fn acts(&self, id: MachineId) -> Vec<ActRow> {
        let mut tx = self.me.db.read().await.unwrap();
        acts::acts_of(&mut tx, Subject::Machine(id)).await.unwrap()
    }

    pub async fn act(&self, id: MachineId, slot: &str) -> Option<ActRow> {
        let epoch = self.known(id).await.facts.epoch;
        self.acts(id).await.into_iter().find(|row| row.key.slot == slot && row.key.epoch == epoch)
    }

    pub async fn in_flight(&self) -> Vec<ActRow> {
        let mut tx = self.me.db.read().await.unwrap();
        acts::in_flight(&mut tx).await.unwrap()
    }

    /// A person's wish, planned and executed.
    pub async fn ask(&self, by: &str, what: Action, ids: &[MachineId]) -> Result<Executed, Error> {
        let targets = TargetSet::new(ids.to_vec()).unwrap();
        let planned = self.me.plan(by.into(), PlanRequest { what, targets }).await?;
        self.me.execute(by.into(), planned.digest).await
    }

    pub fn bmc_of(known: &Known) -> String {
        let access: BmcAccess = serde_json::from_str(known.record.bmc.as_deref().unwrap()).unwrap();
        access.address
    }

    /// What really happened to a machine's power.
    pub async fn power_log(&self, id: MachineId) -> Vec<String> {
        let address = Self::bmc_of(&self.known(id).await);
        self.bmcs.of(&address, |fake| fake.log.clone())
    }

    pub async fn with_bmc<T>(&self, id: MachineId, set: impl FnOnce(&mut Fake) -> T) -> T {
        let address = Self::bmc_of(&self.known(id).await);
        self.bmcs.of(&address, set)
    }

    /// Gap-free, whole, and without a word of what must stay secret.
    pub async fn log_is_sound(&self) {
        let log = self.log(None).await;
        for (at, row) in log.iter().enumerate() {
            assert_eq!(row.seq.0, i64::try_from(at).unwrap() + 1, "a gap");
            assert!(!row.body.contains(muster_wire::TOKEN_PREFIX), "a token in the log: {}", row.body);
        }
        let mut tx = self.me.db.read().await.unwrap();
        let checked = events::verify(&mut tx, Seq(0), 100_000).await.unwrap().unwrap();
        assert!(checked.whole);
    }
}

/// Changes the database behind the conductor's back: time passes there.
pub async fn raw(place: &Place, text: &str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let Place::Sqlite(dir) = place else { panic!("SQLite alone") };
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("muster.db"));
    let mut connection = options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn line(row: &Logged) -> String {
    format!("{} {} e{} {} {}", row.seq.0, row.kind, row.epoch.0, row.cause.0, row.body)
}

pub fn install() -> Action {
    Action::Install {
        image: ImageId("debian-12".into()),
        users: Vec::new(),
        network: muster_wire::NetworkConfig::default(),
        user_data: String::new(),
        reimage: false,
    }
}
