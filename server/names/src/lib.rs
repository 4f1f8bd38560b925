//! The vocabulary of Muster: the names of things, and nothing that acts.
//!
//! Every room speaks in these words, so a thing has one shape from the wire to the database. Ids are made at the
//! rim (they need randomness) and only carried here.

mod ids;
mod inventory;
mod mac;
mod subject;
mod targets;

pub use ids::{BootId, CaseId, Digest, ImageId, MachineId, OrderId, TicketId};
pub use inventory::{Bmc, Cpu, Dimm, Disk, DiskKind, Firmware, Inventory, Neighbor, Nic, PciDevice, System, Tpm};
pub use mac::{Mac, NotAMac};
pub use subject::{Cause, Epoch, Key, Millis, Seq, Subject};
pub use targets::{BadTargets, MOST_TARGETS, TargetSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a BMC, or silence, says of a machine's power. Unknown is never Off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    On,
    Off,
    #[default]
    Unknown,
}

impl std::fmt::Display for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        })
    }
}

/// Where a machine's next boot shall lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootTarget {
    /// Its own disk: the answer whenever nothing better is known.
    #[default]
    Disk,
    /// The boot image with the agent in RAM.
    Agent,
}

/// How a machine that shall come into the agent gets there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its firmware asks the network for a boot file.
    #[default]
    Pxe,
    /// UEFI HTTP boot: its firmware fetches the loader from an address.
    Http,
    /// Its BMC shows it a small boot disc of ours.
    VirtualMedia,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pxe => "PXE",
            Self::Http => "HTTP",
            Self::VirtualMedia => "virtual media",
        })
    }
}

/// How the machine's firmware came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareMode {
    Bios,
    Uefi,
}

/// The instruction set that a machine runs, and so which boot image and which operating system images it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    #[default]
    X86_64,
    Arm64,
}

impl Architecture {
    pub fn word(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A machine's place: one U of one rack of one site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Place {
    pub site: String,
    pub rack: String,
    /// The lowest U the machine fills, counted from 1 at the bottom.
    pub u: u8,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/U{}", self.site, self.rack, self.u)
    }
}

/// A switch port as the outside names it: by option 82, by LLDP, by the switch's tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwitchPort {
    pub switch: String,
    pub port: String,
}

impl std::fmt::Display for SwitchPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {}", self.switch, self.port)
    }
}
