//! What the daemon orders. Every order names the machine and the disks it is for, so that the agent can refuse.

use muster_names::{Digest, Disk, FirmwareMode, ImageId, Inventory, Mac, MachineId, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who a machine is, by everything it says of itself at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    pub serial: Option<String>,
    pub uuid: Option<String>,
    /// Sorted, without duplicates.
    pub macs: Vec<Mac>,
}

impl Identity {
    pub fn of(inventory: &Inventory) -> Self {
        let mut macs: Vec<Mac> = inventory.macs().collect();
        macs.sort_unstable();
        macs.dedup();
        Self { serial: inventory.system.serial.clone(), uuid: inventory.system.uuid.clone(), macs }
    }

    /// What differs from `other`, in words; empty when both are the same machine.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        if self.serial != other.serial {
            found.push(format!("serial: expected {}, found {}", text(&self.serial), text(&other.serial)));
        }
        if self.uuid != other.uuid {
            found.push(format!("uuid: expected {}, found {}", text(&self.uuid), text(&other.uuid)));
        }
        if self.macs != other.macs {
            found.push(format!("MACs: expected {:?}, found {:?}", self.macs, other.macs));
        }
        found
    }
}

/// A disk by what is engraved in it, never by the kernel's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskRef {
    pub wwn: Option<String>,
    pub serial: Option<String>,
    pub size_bytes: u64,
}

impl DiskRef {
    /// `None` for a disk that has neither WWN nor serial: it cannot be told from another.
    pub fn of(disk: &Disk) -> Option<Self> {
        disk.identity()?;
        Some(Self { wwn: disk.wwn.clone(), serial: disk.serial.clone(), size_bytes: disk.size_bytes })
    }

    /// Everything this reference names must be the same.
    pub fn names(&self, disk: &Disk) -> bool {
        (self.wwn.is_some() || self.serial.is_some())
            && self.wwn == disk.wwn
            && self.serial == disk.serial
            && self.size_bytes == disk.size_bytes
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageRef {
    pub id: ImageId,
    /// `http://` URL of the compressed image; the digest makes plain HTTP safe.
    pub url: String,
    /// Digest and length of the file at `url`.
    pub digest: Digest,
    pub bytes: u64,
    /// Digest and length of the disk image inside.
    pub raw_digest: Digest,
    pub raw_bytes: u64,
    /// `zstd` or `none`.
    pub compression: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstallOrder {
    pub order: OrderId,
    pub machine: MachineId,
    /// The machine the order was approved for; the agent refuses on any difference.
    pub identity: Identity,
    pub disk: DiskRef,
    pub image: ImageRef,
    pub seed: Seed,
    pub resident: Resident,
    pub firmware_mode: FirmwareMode,
}

/// What cloud-init's NoCloud source finds on the seed partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seed {
    pub hostname: String,
    pub users: Vec<User>,
    pub network: NetworkConfig,
    /// The site's own cloud-config, merged after ours; empty for none.
    pub user_data: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    #[serde(default)]
    pub ssh_authorized_keys: Vec<String>,
    #[serde(default)]
    pub sudo: bool,
}

/// Network of the installed system: interfaces by MAC, never by kernel name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    pub interfaces: Vec<Interface>,
    pub bonds: Vec<Bond>,
    pub vlans: Vec<Vlan>,
    pub nameservers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    pub name: String,
    pub mac: Mac,
    #[serde(default)]
    pub dhcp4: bool,
    /// `10.0.0.5/24`
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub gateway4: Option<String>,
    #[serde(default)]
    pub mtu: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    pub name: String,
    pub interfaces: Vec<String>,
    /// `802.3ad`, `active-backup`, ...
    pub mode: String,
    #[serde(default)]
    pub dhcp4: bool,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub gateway4: Option<String>,
    #[serde(default)]
    pub mtu: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    pub name: String,
    pub id: u16,
    pub link: String,
    #[serde(default)]
    pub dhcp4: bool,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub gateway4: Option<String>,
}

/// How the installed system's agent finds its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resident {
    pub server: String,
    pub ca_pem: String,
    pub token: String,
    /// `http://` URL of the agent's program, for an image that does not carry it; never without its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_digest: Option<Digest>,
}

/// Every disk named here is overwritten; no disk that is not named is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WipeOrder {
    pub machine: MachineId,
    pub identity: Identity,
    pub disks: Vec<DiskRef>,
}

/// What to measure before the machine counts as Ready; none of it writes to a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commission {
    /// How long the agent may measure, in milliseconds.
    pub budget_ms: u64,
    /// An account that the BMC beside the agent shall have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc_account: Option<BmcAccount>,
}

/// A user and a password for a machine's own BMC.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BmcAccount {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for BmcAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BmcAccount({:?}, ***)", self.user)
    }
}
