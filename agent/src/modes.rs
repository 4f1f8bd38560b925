//! The two lives of the agent: in the boot image, where it may write disks when an order stands, and resident in the
//! installed system, where it only looks and never writes one.

use crate::bmc_account;
use crate::check;
use crate::commission;
use crate::error::chain;
use crate::init;
use crate::install;
use crate::inventory::{self, Roots, disks};
use crate::kcs::Kcs;
use crate::link::desk::{Desk, Job};
use crate::link::http;
use crate::link::key::{Key, boot_id};
use crate::link::turns::{self, Backoff, Line};
use crate::lldp::{self, Ear};
use crate::syslog;
use crate::wipe;
use crate::{Error, Kind, Result};
use muster_names::{Epoch, Inventory, Neighbor, OrderId};
use muster_wire::{
    AccountMade, AgentConfig, Commission, DiskRef, Identity, InstallFailure, InstallOrder, MayProceed, Mode,
    Permission, Progress, Report, Standing, Started, Step, WipeOrder,
};
use nix::sys::reboot::RebootMode;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an image may stay away before an install is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the daemon may stay away when it is asked for permission; silence is a no.
const ASKING: Duration = Duration::from_secs(120);
/// How long cloud-init may take before a check reports that it still runs.
const CLOUD_INIT: Duration = Duration::from_secs(180);

pub fn config(path: &Path) -> Result<AgentConfig> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    serde_json::from_slice(&text).map_err(|source| Error::Config { path: path.into(), source })
}

/// What the whole agent shares.
struct Agent {
    line: Line,
    desk: Desk,
    roots: Roots,
    /// Who the other ends of the cables are, by port.
    neighbors: Mutex<BTreeMap<String, Neighbor>>,
    /// What was last reported.
    told: Mutex<Inventory>,
}

/// The boot image's agent; runs until the machine resets.
pub fn ram(path: &Path) -> Result<()> {
    init::mend_clock(path);
    run(config(path)?, Mode::Ram)
}

/// The installed system's agent. Its configuration is brought by cloud-init, perhaps after this program was started.
pub fn resident(path: &Path) -> Result<()> {
    let mut said = false;
    while !path.exists() {
        if !std::mem::replace(&mut said, true) {
            crate::say!("waiting for {}", path.display());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    run(config(path)?, Mode::Resident)
}

fn run(config: AgentConfig, mode: Mode) -> Result<()> {
    let key = match &config.key_file {
        Some(file) if mode == Mode::Resident => Key::in_file(Path::new(file))?,
        _ => Key::in_memory()?,
    };
    let line = Line { config, key, boot_id: boot_id()?, mode };
    let agent = Arc::new(Agent {
        line,
        desk: Desk::default(),
        roots: Roots::real(),
        neighbors: Mutex::default(),
        told: Mutex::default(),
    });
    if mode == Mode::Ram {
        agent.settle();
    }
    agent.introduce();
    thread("work", Arc::clone(&agent), Agent::work)?;
    if mode == Mode::Ram {
        init::stage("inventory");
        thread("watch", Arc::clone(&agent), Agent::watch)?;
    }
    turns::run(&agent.line, &agent.desk)
}

fn thread(name: &str, agent: Arc<Agent>, work: fn(&Agent)) -> Result<()> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || work(&agent));
    spawned.map(|_| ()).map_err(|source| Error::Thread { source })
}

impl Agent {
    /// Disks of slow controllers show up late; the first inventory waits until nothing new comes for a second.
    fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        let mut before = self.outline();
        let mut quiet = Instant::now();
        while Instant::now() < until && quiet.elapsed() < Duration::from_millis(700) {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.outline();
            if now != before {
                (before, quiet) = (now, Instant::now());
            }
        }
    }

    /// What is cheap to see and tells whether a new look is worth it.
    fn outline(&self) -> Vec<String> {
        let block = self.roots.path("sys/block");
        let net = self.roots.path("sys/class/net");
        let disk = |name: String| format!("{name} {:?}", inventory::number(&block.join(&name).join("size")));
        let port = |name: String| format!("{name} {:?}", inventory::number(&net.join(&name).join("carrier")));
        inventory::names(&block).into_iter().map(disk).chain(inventory::names(&net).into_iter().map(port)).collect()
    }

    fn look(&self) -> Inventory {
        let mut inventory = inventory::look(&self.roots);
        let neighbors = self.neighbors.lock().unwrap_or_else(PoisonError::into_inner);
        for nic in &mut inventory.nics {
            nic.neighbor = neighbors.get(&nic.name).cloned();
        }
        inventory
    }

    fn introduce(&self) {
        let inventory = self.look();
        self.desk.say(Report::Started(Started {
            identity: Identity::of(&inventory),
            firmware_mode: inventory::firmware_mode(&self.roots),
            kernel_ms: u64::try_from(init::uptime().as_millis()).unwrap_or(0),
        }));
        self.tell(inventory);
    }

    fn tell(&self, inventory: Inventory) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = inventory.clone();
        self.desk.say(Report::Inventory { inventory: Box::new(inventory) });
    }

    /// Listens for neighbors and looks again when something came or went.
    fn watch(&self) {
        let mut outline = self.outline();
        let mut ears: Vec<Ear> = Vec::new();
        while !self.desk.is_closed() {
            let ports = inventory::nics::find(&self.roots);
            for port in &ports {
                if !ears.iter().any(|ear| ear.name == port.name) {
                    ears.extend(Ear::open(&port.name).ok());
                }
            }
            let heard = lldp::listen(&ears, Duration::from_secs(2));
            let mut changed = false;
            for (port, neighbor) in heard {
                let mut known = self.neighbors.lock().unwrap_or_else(PoisonError::into_inner);
                changed |= known.insert(port, neighbor.clone()).as_ref() != Some(&neighbor);
            }
            let now = self.outline();
            changed |= now != outline;
            outline = now;
            if changed {
                let inventory = self.look();
                if *self.told.lock().unwrap_or_else(PoisonError::into_inner) != inventory {
                    self.tell(inventory);
                }
            }
        }
    }

    /// Does what stands, one thing at a time, for ever.
    fn work(&self) {
        while let Some(job) = self.desk.next_job() {
            if let Some(report) = self.perform(&job) {
                self.desk.say(report);
            }
            self.desk.done();
        }
    }

    fn perform(&self, job: &Job<'_>) -> Option<Report> {
        let name = serde_json::to_value(&job.standing).ok();
        let name = name.as_ref().and_then(|value| value.get("type")?.as_str()).unwrap_or("unknown");
        crate::say!("{name} stands");
        match (&job.standing, self.line.mode) {
            (Standing::Idle | Standing::Unknown, _) => None,
            (Standing::Discover { .. }, _) => {
                self.tell(self.look());
                None
            }
            (Standing::Stop { epoch }, _) => Some(Report::Stopped { epoch: *epoch }),
            (Standing::Check { epoch }, Mode::Resident) => Some(self.check(*epoch, job)),
            (Standing::Commission { epoch, commission }, Mode::Ram) => Some(self.commission(*epoch, commission, job)),
            (Standing::Install { epoch, order }, Mode::Ram) => Some(self.install(*epoch, order, job)),
            (Standing::Wipe { epoch, order }, Mode::Ram) => Some(self.wipe(*epoch, order, job)),
            (Standing::Reboot { .. }, mode) => end(mode, RebootMode::RB_AUTOBOOT, libc::SIGRTMIN() + 5),
            (Standing::PowerOff { .. }, mode) => end(mode, RebootMode::RB_POWER_OFF, libc::SIGRTMIN() + 4),
            (standing, mode) => Some(Report::Refused {
                epoch: standing.epoch(),
                reason: format!("{name} is nothing an agent in mode {mode:?} does"),
            }),
        }
    }

    fn check(&self, epoch: Epoch, job: &Job<'_>) -> Report {
        let until = Instant::now() + CLOUD_INIT;
        while check::cloud_init(&self.roots).as_deref() == Some("running") && Instant::now() < until && !job.cancelled()
        {
            job.progress(Progress { step: Step::Check, done: 0, total: 1, unit: "tests".into() });
            std::thread::sleep(Duration::from_millis(500));
        }
        Report::Checked(Box::new(check::look(&self.roots, epoch, self.line.config.written.as_ref())))
    }

    fn commission(&self, epoch: Epoch, commission: &Commission, job: &Job<'_>) -> Report {
        let disks = disks::find(&self.roots);
        let budget = Duration::from_millis(commission.budget_ms);
        let figures = commission::measure(&disks, budget, &mut |done, total| {
            job.progress(Progress { step: Step::Measure, done, total, unit: "tests".into() });
            !job.cancelled()
        });
        let bmc_account = commission.bmc_account.as_ref().map(|account| {
            let made = match Kcs::open(&self.roots.path("dev/ipmi0")) {
                Some(bus) => bmc_account::make(&bus, account),
                None => Err("there is no way to the BMC inside the machine".into()),
            };
            made.map_or_else(AccountMade::Failed, |()| AccountMade::Made)
        });
        Report::Commissioned { epoch, figures, bmc_account }
    }

    fn install(&self, epoch: Epoch, order: &InstallOrder, job: &Job<'_>) -> Report {
        let failed = |failure| Report::InstallFailed { epoch, order: order.order, failure };
        let tls = if self.line.config.ca_pem.is_empty() { None } else { http::pin(&self.line.config.ca_pem).ok() };
        let inventory = self.look();
        let identity = Identity::of(&inventory);
        crate::say!(
            "installing {} on {}",
            order.image.id,
            order.disk.serial.as_deref().unwrap_or("a disk without serial")
        );
        let efi = self.roots.path("sys/firmware/efi/efivars");
        let ground = install::Ground {
            identity: identity.clone(),
            firmware_mode: inventory::firmware_mode(&self.roots),
            disks: disks::find(&self.roots),
            may_proceed: &|disks| self.may_install(epoch, order.order, disks, &identity, job),
            progress: &|progress| job.progress(progress),
            cancel: &job.cancel,
            efi: Some(efi).filter(|folder| !inventory::names(folder).is_empty()),
            tls,
            patience: PATIENCE,
        };
        match install::run(epoch, order, &ground) {
            Ok(installed) => {
                crate::say!("installed in {} s", installed.seconds);
                Report::Installed(installed)
            }
            Err(failure) => {
                crate::say!("not installed: {failure:?}");
                syslog::tell_failure(&format!("not installed: {failure:?}"));
                failed(failure)
            }
        }
    }

    fn wipe(&self, epoch: Epoch, order: &WipeOrder, job: &Job<'_>) -> Report {
        let identity = Identity::of(&self.look());
        let ground = wipe::Ground {
            identity: identity.clone(),
            disks: disks::find(&self.roots),
            may_proceed: &|disks| self.may_proceed(epoch, None, disks, &identity, job).map_err(|no| no.to_string()),
            progress: &|progress| job.progress(progress),
            cancel: &job.cancel,
        };
        Report::Wiped(wipe::run(epoch, order, &ground))
    }

    fn may_install(
        &self,
        epoch: Epoch,
        order: OrderId,
        disks: &[DiskRef],
        identity: &Identity,
        job: &Job<'_>,
    ) -> std::result::Result<(), InstallFailure> {
        self.may_proceed(epoch, Some(order), disks, identity, job).map_err(|no| match no {
            No::Denied(reason) => InstallFailure::Denied { reason },
            No::Silence(reason) => InstallFailure::Network { reason },
        })
    }

    /// Asks until there is an answer; silence ends as a no.
    fn may_proceed(
        &self,
        epoch: Epoch,
        order: Option<OrderId>,
        disks: &[DiskRef],
        identity: &Identity,
        job: &Job<'_>,
    ) -> std::result::Result<(), No> {
        let boot_id = self.line.boot_id;
        let question = MayProceed { boot_id, epoch, order, disks: disks.to_vec(), identity: identity.clone() };
        let mut until = Instant::now() + ASKING;
        let mut backoff = Backoff::default();
        loop {
            let answer = self.line.may_proceed(&question);
            if job.cancelled() {
                return Err(No::Denied("something newer stands".into()));
            }
            match answer {
                Ok(Permission::Granted) => return Ok(()),
                Ok(Permission::Denied { reason }) => return Err(No::Denied(reason)),
                // The daemon is there and says that its turn will come; only its silence ends the asking.
                Ok(Permission::Waits { reason }) => {
                    if backoff.first() {
                        crate::say!("the write waits: {reason}");
                    }
                    until = Instant::now() + ASKING;
                    std::thread::sleep(backoff.after());
                }
                Ok(Permission::Unknown) => return Err(No::Denied("the answer is not one the agent knows".into())),
                Err(error) if error.kind() == Kind::Refused => return Err(No::Denied(chain(&error))),
                Err(error) if Instant::now() >= until => return Err(No::Silence(chain(&error))),
                Err(_) => std::thread::sleep(backoff.after()),
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum No {
    #[error("denied: {0}")]
    Denied(String),
    #[error("no answer to the question for permission: {0}")]
    Silence(String),
}

/// Ends the machine's run: in the boot image at once, in the installed system through its init.
fn end(mode: Mode, how: RebootMode, signal: i32) -> Option<Report> {
    crate::say!("this machine ends its run as ordered");
    if mode == Mode::Ram {
        init::reset(how);
    } else {
        // SAFETY: kill takes two numbers. SIGRTMIN+5 asks systemd for reboot.target, +4 for poweroff.target.
        unsafe { libc::kill(1, signal) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(mode: Mode) -> Agent {
        let config = AgentConfig {
            server: "http://127.0.0.1:1".into(),
            ca_pem: String::new(),
            token: "mstr_1".into(),
            key_file: None,
            written: None,
        };
        Agent {
            line: Line { config, key: Key::in_memory().unwrap(), boot_id: boot_id().unwrap(), mode },
            desk: Desk::default(),
            roots: Roots::at(Path::new("/nonexistent")),
            neighbors: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn does(mode: Mode, standing: Standing) -> Option<Report> {
        let agent = agent(mode);
        agent.desk.heard(&muster_wire::Reply { acked: 0, standing, ask_again_ms: 0 });
        let job = agent.desk.next_job().unwrap();
        agent.perform(&job)
    }

    #[test]
    fn the_resident_agent_writes_no_disk() {
        let epoch = Epoch(2);
        let order = Box::new(install::tests::order(b"raw"));
        let wipe = WipeOrder { machine: order.machine, identity: Identity::default(), disks: vec![] };
        for standing in [Standing::Install { epoch, order }, Standing::Wipe { epoch, order: wipe }] {
            let report = does(Mode::Resident, standing);
            assert!(matches!(report, Some(Report::Refused { epoch: Some(Epoch(2)), .. })), "{report:?}");
        }
    }

    #[test]
    fn the_boot_image_is_not_what_a_check_is_about() {
        assert!(matches!(does(Mode::Ram, Standing::Check { epoch: Epoch(2) }), Some(Report::Refused { .. })));
    }

    #[test]
    fn stopped_is_said_with_the_epoch_of_the_stop() {
        assert_eq!(does(Mode::Ram, Standing::Stop { epoch: Epoch(8) }), Some(Report::Stopped { epoch: Epoch(8) }));
    }

    #[test]
    fn a_broken_configuration_is_named() {
        let path = std::env::temp_dir().join(format!("muster-config-{}", std::process::id()));
        std::fs::write(&path, "{}").unwrap();
        assert!(chain(&config(&path).unwrap_err()).contains("server"));
        std::fs::remove_file(path).unwrap();
    }
}
