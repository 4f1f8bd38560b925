//! An agent as the door hands it on: a token, a key, a boot, numbered reports.

use crate::bed::Site;
use muster_conductor::{BootAnswer, Caller, TurnedAway, fresh_id, sha256};
use muster_names::{
    BootId, Cpu, Digest, Dimm, Disk, DiskKind, Epoch, FirmwareMode, Inventory, Mac, MachineId, Nic, System,
};
use muster_wire::{
    Checked, DiskRef, Doing, Identity, InstallOrder, Installed, MayProceed, Mode, Numbered, Permission, Reply, Report,
    SPEAKS, Standing, Started, Turn, Wiped, WipedDisk,
};

pub fn mac(n: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0xaa, 0, n])
}

/// A QEMU machine of the model `qemu-q35`.
pub fn inventory(serial: &str, n: u8) -> Inventory {
    Inventory {
        system: System {
            manufacturer: Some("Muster".into()),
            product: Some("Virtual Machine Q35".into()),
            serial: Some(serial.into()),
            uuid: Some(format!("00000000-0000-4000-8000-0000000000{n:02x}")),
            ..System::default()
        },
        cpus: vec![Cpu { socket: "CPU 0".into(), model: "QEMU".into(), cores: 2, threads: 2, microcode: None }],
        dimms: vec![Dimm { slot: "DIMM 0".into(), size_mib: 2048, ..Dimm::default() }],
        disks: vec![Disk {
            name: "vda".into(),
            kind: DiskKind::Virtual,
            serial: Some(format!("DISK{n:04}")),
            size_bytes: 8_000_000_000,
            sector_bytes: 512,
            ..Disk::default()
        }],
        nics: vec![Nic {
            name: "eth0".into(),
            mac: Some(mac(n)),
            link: true,
            driver: Some("virtio_net".into()),
            ..Nic::default()
        }],
        firmware_mode: Some(FirmwareMode::Uefi),
        ..Inventory::default()
    }
}

#[derive(Clone)]
pub struct Agent {
    pub caller: Caller,
    pub token: String,
    pub boot_id: BootId,
    pub mode: Mode,
    pub seq: u64,
    pub doing: Option<Epoch>,
    pub inventory: Inventory,
}

/// The token that a boot's small initrd carries.
pub fn token_of(site: &Site, answer: &BootAnswer) -> Option<String> {
    let BootAnswer::Agent { nonce, .. } = answer else { return None };
    let file = site.me.boot_file(nonce).unwrap();
    let text = String::from_utf8_lossy(&file);
    let at = text.find(muster_wire::TOKEN_PREFIX).unwrap();
    Some(text[at..at + muster_wire::TOKEN_PREFIX.len() + 64].to_owned())
}

impl Agent {
    pub fn new(token: &str, mode: Mode, inventory: Inventory) -> Self {
        let key = fresh_id().unwrap().to_be_bytes().repeat(2);
        Self {
            caller: Caller { token: sha256(token.as_bytes()), key },
            token: token.into(),
            boot_id: BootId(fresh_id().unwrap()),
            mode,
            seq: 0,
            doing: None,
            inventory,
        }
    }

    /// Boots a machine from the network; `None` when it is sent to its disk.
    pub async fn try_boot(site: &Site, inventory: &Inventory, dedicated: bool) -> Option<Self> {
        let mac = inventory.macs().next().unwrap();
        let answer = site.me.boot_answer(mac, dedicated).await;
        token_of(site, &answer).map(|token| Self::new(&token, Mode::Ram, inventory.clone()))
    }

    /// Boots and introduces itself.
    pub async fn boot(site: &Site, inventory: &Inventory, dedicated: bool) -> (Self, Reply) {
        let mut agent = Self::try_boot(site, inventory, dedicated).await.expect("sent to its disk");
        let reply = agent.introduce(site).await.unwrap();
        (agent, reply)
    }

    pub async fn introduce(&mut self, site: &Site) -> Result<Reply, TurnedAway> {
        let started =
            Started { identity: Identity::of(&self.inventory), firmware_mode: FirmwareMode::Uefi, kernel_ms: 1500 };
        let inventory = Report::Inventory { inventory: Box::new(self.inventory.clone()) };
        self.say(site, vec![Report::Started(started), inventory]).await
    }

    pub fn turn(&mut self, reports: Vec<Report>, wait_ms: u64) -> Turn {
        let mut number = |report| {
            self.seq += 1;
            Numbered { seq: self.seq, report }
        };
        let reports = reports.into_iter().map(&mut number).collect();
        Turn {
            boot_id: self.boot_id,
            speaks: SPEAKS,
            version: "0.1.0".into(),
            mode: self.mode,
            reports,
            doing: Doing { epoch: self.doing, progress: None },
            wait_ms,
        }
    }

    pub async fn say(&mut self, site: &Site, reports: Vec<Report>) -> Result<Reply, TurnedAway> {
        let turn = self.turn(reports, 0);
        site.me.turn(self.caller.clone(), turn).await
    }

    pub async fn standing(&mut self, site: &Site) -> Standing {
        self.say(site, Vec::new()).await.unwrap().standing
    }

    pub fn ask(&self, order: &InstallOrder, epoch: Epoch) -> MayProceed {
        MayProceed {
            boot_id: self.boot_id,
            epoch,
            order: Some(order.order),
            disks: vec![order.disk.clone()],
            identity: Identity::of(&self.inventory),
        }
    }

    pub async fn may(&self, site: &Site, ask: &MayProceed) -> Permission {
        site.me.may_proceed(self.caller.clone(), ask.clone()).await.unwrap()
    }

    pub fn installed(order: &InstallOrder, epoch: Epoch) -> Report {
        Report::Installed(Installed {
            epoch,
            order: order.order,
            disk: order.disk.clone(),
            digest: order.image.digest,
            raw_digest: order.image.raw_digest,
            root_uuid: Some("5e3b9d4e-0c0b-4a57-9d29-7a0a6d1b8f10".into()),
            bytes_written: 1_500_000_000,
            bytes_skipped: 0,
            seconds: 12,
        })
    }

    /// What a system that is as ordered says of itself.
    pub fn checked(order: &InstallOrder, epoch: Epoch) -> Report {
        Report::Checked(Box::new(Checked {
            epoch,
            root_uuid: Some("5e3b9d4e-0c0b-4a57-9d29-7a0a6d1b8f10".into()),
            root_disk: Some(order.disk.clone()),
            order: Some(order.order),
            image: Some(order.image.id.clone()),
            raw_digest: Some(order.image.raw_digest),
            hostname: order.seed.hostname.clone(),
            addresses: vec!["10.0.0.50/24".into()],
            default_route: true,
            users: order.seed.users.iter().map(|user| user.name.clone()).collect(),
            kernel: "6.1".into(),
            agent_version: "0.1.0".into(),
            cloud_init: Some("done".into()),
            secure_boot: None,
        }))
    }

    pub fn wiped(disks: &[DiskRef], epoch: Epoch) -> Report {
        let disks = disks.iter().map(|disk| WipedDisk {
            disk: disk.clone(),
            method: "overwrite".into(),
            verified: true,
            error: None,
        });
        Report::Wiped(Wiped { epoch, disks: disks.collect() })
    }
}

/// From a rack layout to Ready, by a boot of its own on a network that welcomes strangers.
pub async fn ready(site: &Site, name: &str, n: u8) -> (MachineId, Agent) {
    let id = site.id(name).await;
    let serial = site.known(id).await.record.serial.unwrap();
    let (mut agent, reply) = Agent::boot(site, &inventory(&serial, n), true).await;
    let Standing::Commission { epoch, .. } = reply.standing else { panic!("{:?}", reply.standing) };
    agent.say(site, vec![Report::Commissioned { epoch, figures: Vec::new(), bmc_account: None }]).await.unwrap();
    assert_eq!(site.label(id).await, "ready");
    (id, agent)
}

/// A machine whose ordered boot has just been told to install.
pub async fn installing(site: &Site, name: &str, n: u8) -> (MachineId, Agent, Epoch, Box<InstallOrder>) {
    let (id, old) = ready(site, name, n).await;
    site.ask("operator", crate::bed::install(), &[id]).await.unwrap();
    let inventory = old.inventory.clone();
    if name != "bare1" {
        reset(site, id).await;
    }
    let (agent, reply) = Agent::boot(site, &inventory, false).await;
    let Standing::Install { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    (id, agent, epoch, order)
}

/// Waits for the courier to have reset the machine for its state.
pub async fn reset(site: &Site, id: MachineId) {
    let done = async || site.act(id, "boot").await.is_some_and(|act| act.state == muster_store::ActState::Done);
    site.when("the reset", done).await;
}

/// Installed, checked, in service; with the resident agent.
pub async fn in_service(site: &Site, name: &str, n: u8) -> (MachineId, Agent, Box<InstallOrder>) {
    let (id, mut agent, epoch, order) = installing(site, name, n).await;
    assert_eq!(agent.may(site, &agent.ask(&order, epoch)).await, Permission::Granted);
    agent.say(site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    let mut resident = Agent::new(&order.resident.token, Mode::Resident, agent.inventory.clone());
    let reply = resident.introduce(site).await.unwrap();
    let Standing::Check { epoch } = reply.standing else { panic!("{:?}", reply.standing) };
    resident.say(site, vec![Agent::checked(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "in-service");
    (id, resident, order)
}

pub fn other_disk() -> DiskRef {
    DiskRef { wwn: None, serial: Some("DISK9999".into()), size_bytes: 8_000_000_000 }
}

pub fn digest(n: u8) -> Digest {
    Digest([n; 32])
}
