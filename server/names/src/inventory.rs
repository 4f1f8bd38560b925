//! What a machine consists of, as its agent sees it in-band or its BMC out-of-band.
//!
//! A part that was not told is `None` or an empty text's absence, never a guess: judgement needs to tell "none" from
//! "not said".

use crate::{Architecture, FirmwareMode, Mac, SwitchPort};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything one look at a machine found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Inventory {
    pub system: System,
    /// One entry a populated socket.
    pub cpus: Vec<Cpu>,
    /// One entry a populated slot.
    pub dimms: Vec<Dimm>,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub pci: Vec<PciDevice>,
    pub bmc: Option<Bmc>,
    /// Firmware other than disks' and NICs', which carry their own: BIOS, BMC, CPLD.
    pub firmware: Vec<Firmware>,
    pub tpm: Option<Tpm>,
    pub firmware_mode: Option<FirmwareMode>,
    /// Whether the firmware started nothing but what is signed. `None` where it does not say: BIOS, or no variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
}

/// SMBIOS types 1 and 3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct System {
    pub manufacturer: Option<String>,
    pub product: Option<String>,
    pub serial: Option<String>,
    /// Lower-case with dashes. Vendors clone them: never an identity by itself.
    pub uuid: Option<String>,
    pub chassis_manufacturer: Option<String>,
    pub chassis_serial: Option<String>,
    pub asset_tag: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cpu {
    pub socket: String,
    pub model: String,
    pub cores: u16,
    pub threads: u16,
    pub microcode: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Dimm {
    pub slot: String,
    pub size_mib: u64,
    /// Configured speed in MT/s.
    pub speed_mts: Option<u32>,
    pub kind: Option<String>,
    pub manufacturer: Option<String>,
    pub part_number: Option<String>,
    pub serial: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    Nvme,
    Ssd,
    Hdd,
    /// A paravirtual disk: a test bed, not a datacentre.
    Virtual,
    #[default]
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Disk {
    /// The kernel's name in this boot (`sda`): for people's eyes, never an identity.
    pub name: String,
    pub kind: DiskKind,
    pub model: Option<String>,
    pub serial: Option<String>,
    /// World-wide name, `0x` and hex digits, or NVMe's `eui.`/`nvme.` form, as the kernel prints it.
    pub wwn: Option<String>,
    pub size_bytes: u64,
    pub sector_bytes: u32,
    pub firmware: Option<String>,
    /// Bay or slot where the machine tells it.
    pub bay: Option<String>,
    /// The machine that the disk's Muster seal names, where it has one.
    pub owner: Option<String>,
    pub read_only: bool,
    /// Why this disk must not be written (mounted, member of a foreign array, ...); empty when nothing speaks against.
    pub in_use: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Nic {
    pub name: String,
    pub mac: Option<Mac>,
    /// Negotiated speed in Mbit/s; `None` while the link is down or does not say.
    pub speed_mbps: Option<u32>,
    pub link: bool,
    pub driver: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    pub pci_address: Option<String>,
    pub neighbor: Option<Neighbor>,
}

/// What the other end of the cable says of itself over LLDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Neighbor {
    pub chassis: String,
    pub port: String,
    pub system_name: Option<String>,
    pub port_description: Option<String>,
}

impl Neighbor {
    /// The port as a rack layout names it: by the switch's name where it told one.
    pub fn switch_port(&self) -> SwitchPort {
        let switch = self.system_name.clone().unwrap_or_else(|| self.chassis.clone());
        SwitchPort { switch, port: self.port.clone() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct PciDevice {
    /// `0000:00:1f.2`
    pub address: String,
    /// Four lower-case hex digits each.
    pub vendor: String,
    pub device: String,
    /// Class code, six lower-case hex digits.
    pub class: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Bmc {
    pub address: Option<String>,
    pub mac: Option<Mac>,
    pub firmware: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Firmware {
    /// `bios`, `bmc`, ...
    pub component: String,
    pub version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Tpm {
    /// `2` or `1.2`.
    pub version: Option<String>,
}

impl Inventory {
    /// All MACs that name this machine, without group addresses.
    pub fn macs(&self) -> impl Iterator<Item = Mac> + '_ {
        self.nics.iter().filter_map(|nic| nic.mac).filter(Mac::is_unicast)
    }
}

impl Disk {
    /// How an order names this disk: WWN where there is one, else serial. A disk with neither cannot be ordered.
    pub fn identity(&self) -> Option<&str> {
        self.wwn.as_deref().or(self.serial.as_deref())
    }
}
