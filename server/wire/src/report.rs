//! What the agent reports. A report that answers an order carries that order's epoch.

use crate::{DiskRef, Identity};
use muster_names::{Digest, Epoch, FirmwareMode, ImageId, Inventory, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the boot image.
    Ram,
    /// In the installed system, booted from its own disk.
    Resident,
    #[serde(other)]
    Unknown,
}

/// A report and its number in this boot, from 1. (boot id, number) names it for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Numbered {
    pub seq: u64,
    pub report: Report,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Report {
    Started(Started),
    Inventory {
        inventory: Box<Inventory>,
    },
    Commissioned {
        epoch: Epoch,
        figures: Vec<Figure>,
        /// What became of the account that the BMC was to have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bmc_account: Option<AccountMade>,
    },
    Installed(Installed),
    InstallFailed {
        epoch: Epoch,
        order: OrderId,
        failure: InstallFailure,
    },
    Wiped(Wiped),
    Checked(Box<Checked>),
    /// Nothing is being written any more.
    Stopped {
        epoch: Epoch,
    },
    /// The agent does not know or will not do what stands.
    Refused {
        epoch: Option<Epoch>,
        reason: String,
    },
    #[serde(other)]
    Unknown,
}

/// Whether a BMC has the account that it was to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccountMade {
    Made,
    /// Why not, in words.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    pub identity: Identity,
    pub firmware_mode: FirmwareMode,
    /// From the kernel's start to the agent's.
    pub kernel_ms: u64,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// `memory.copy`, `disk.read:WWN`, ...
    pub name: String,
    pub value: f64,
    /// `MiB/s`, `events/s`, ...
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Installed {
    pub epoch: Epoch,
    pub order: OrderId,
    pub disk: DiskRef,
    pub digest: Digest,
    pub raw_digest: Digest,
    /// UUID of the root filesystem as read back from the disk.
    pub root_uuid: Option<String>,
    pub bytes_written: u64,
    pub bytes_skipped: u64,
    pub seconds: u64,
}

/// Why an install ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum InstallFailure {
    /// The file is not what the order says. Trying again does not help.
    DigestMismatch {
        expected: Digest,
        found: Digest,
    },
    /// The machine or the disk is not the one of the order.
    WrongMachine {
        differences: Vec<String>,
    },
    /// The disk carries the seal of another machine, or is in use.
    ForeignDisk {
        owner: String,
    },
    /// The daemon denied the first write.
    Denied {
        reason: String,
    },
    Disk {
        reason: String,
    },
    Network {
        reason: String,
    },
    Other {
        reason: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wiped {
    pub epoch: Epoch,
    /// Per disk: how it was wiped (`sanitize`, `secure-erase`, `overwrite`, `discard`) or why it was not.
    pub disks: Vec<WipedDisk>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WipedDisk {
    pub disk: DiskRef,
    pub method: String,
    /// Sampled blocks read back as wiped.
    pub verified: bool,
    pub error: Option<String>,
}

impl Wiped {
    /// Wiped means every disk of the order, verified, and at least one.
    pub fn ok(&self, ordered: &[DiskRef]) -> bool {
        !ordered.is_empty()
            && ordered.iter().all(|disk| {
                self.disks.iter().any(|wiped| wiped.disk == *disk && wiped.verified && wiped.error.is_none())
            })
    }
}

/// What the installed system says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    pub epoch: Epoch,
    pub root_uuid: Option<String>,
    /// Serial and WWN of the disk that holds the root filesystem.
    pub root_disk: Option<DiskRef>,
    pub order: Option<OrderId>,
    pub image: Option<ImageId>,
    pub raw_digest: Option<Digest>,
    pub hostname: String,
    /// `10.77.0.50/24`
    pub addresses: Vec<String>,
    pub default_route: bool,
    pub users: Vec<String>,
    pub kernel: String,
    pub agent_version: String,
    /// cloud-init's own word: `done`, `error`, ...; `None` where it is not there.
    pub cloud_init: Option<String>,
    /// Whether its firmware starts nothing unsigned; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
}

/// What the agent is at just now; the newest one counts, none is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doing {
    pub epoch: Option<Epoch>,
    pub progress: Option<Progress>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    pub step: Step,
    pub done: u64,
    pub total: u64,
    /// `bytes`, `disks`, `tests`
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Inventory,
    Measure,
    Image,
    Verify,
    Partition,
    Seed,
    BootOrder,
    Wipe,
    Check,
    #[serde(other)]
    Unknown,
}
