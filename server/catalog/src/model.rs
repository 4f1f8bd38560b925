//! Hardware models: what a machine must consist of to be one, and how such a machine is treated.

use crate::{BiosWants, Catalog, Evidence, FirmwareWant, Number, Quirk, Text, Version};
use muster_names::{DiskKind, FirmwareMode, Way};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Compute,
    Storage,
    Memory,
    HighIo,
    Test,
}

/// `firmware-profiles/models/ID.toml`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Model {
    pub id: String,
    pub title: String,
    pub role: Role,
    pub evidence: Evidence,
    pub identify: Identify,
    pub root_disk: RootDisk,
    #[serde(default)]
    pub limits: Limits,
    pub boot: Boot,
    pub bmc: ModelBmc,
    /// The firmware its parts shall have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<FirmwareWant>,
    /// What its firmware shall be set to.
    #[serde(default, skip_serializing_if = "BiosWants::is_empty")]
    pub bios: BiosWants,
}

/// What a machine of this model consists of. A field left out is `"any"`: not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identify {
    pub system: SystemClaim,
    #[serde(default)]
    pub cpu: CpuClaim,
    #[serde(default)]
    pub memory: MemoryClaim,
    #[serde(default)]
    pub disks: Vec<DiskClaim>,
    /// Disks that no claim above fits.
    #[serde(default)]
    pub other_disks: Others,
    #[serde(default)]
    pub nics: Vec<NicClaim>,
    /// Network ports that no claim above fits.
    #[serde(default)]
    pub other_nics: Others,
    /// By component: `bios`, `bmc`, ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firmware: BTreeMap<String, Version>,
    #[serde(default)]
    pub tpm: TpmClaim,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SystemClaim {
    pub manufacturer: Text,
    pub product: Text,
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub chassis_manufacturer: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CpuClaim {
    /// Of every processor.
    #[serde(skip_serializing_if = "Text::is_any")]
    pub model: Text,
    /// Populated sockets.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub sockets: Number,
    /// Of every processor.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub cores: Number,
    /// Of every processor.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub threads: Number,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MemoryClaim {
    #[serde(skip_serializing_if = "Number::is_any")]
    pub total_mib: Number,
    /// Populated slots.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub dimms: Number,
    /// Of every DIMM.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub dimm_mib: Number,
    /// Configured speed of every DIMM.
    #[serde(skip_serializing_if = "Number::is_any")]
    pub speed_mts: Number,
    /// Of every DIMM: `DDR4`, `DDR5`.
    #[serde(skip_serializing_if = "Text::is_any")]
    pub kind: Text,
}

/// A group of like disks. A disk belongs to the first group whose kind, size and model it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskClaim {
    /// Names the group in differences: `system`, `data`.
    pub name: String,
    pub kind: DiskKind,
    pub count: Number,
    /// In units of 10^9 bytes, as on the label, rounded down.
    #[serde(default, skip_serializing_if = "Number::is_any")]
    pub size_gb: Number,
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub model: Text,
    /// Of every disk in the group.
    #[serde(default, skip_serializing_if = "Version::is_any")]
    pub firmware: Version,
}

/// A group of like network ports. A port belongs to the first group whose model and driver it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NicClaim {
    /// Names the group in differences: `fabric`, `onboard`.
    pub name: String,
    pub count: Number,
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub model: Text,
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub driver: Text,
    /// Negotiated speed, of every port of the group whose link is up.
    #[serde(default, skip_serializing_if = "Number::is_any")]
    pub speed_mbps: Number,
    /// How many ports of the group have a link.
    #[serde(default, skip_serializing_if = "Number::is_any")]
    pub linked: Number,
    /// Of every port in the group.
    #[serde(default, skip_serializing_if = "Version::is_any")]
    pub firmware: Version,
}

/// Whether parts beyond the claimed ones make it another model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    #[default]
    Refused,
    Allowed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TpmClaim {
    #[default]
    Any,
    Absent,
    Present,
    /// `2` or `1.2`
    Version(String),
}

/// Which disk an install goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RootDisk {
    pub kind: DiskKind,
    pub pick: Pick,
    #[serde(default, skip_serializing_if = "Number::is_any")]
    pub size_gb: Number,
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub model: Text,
    /// For machines whose serials tell what a disk is for.
    #[serde(default, skip_serializing_if = "Text::is_any")]
    pub serial: Text,
}

/// How one disk is picked where several fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// There must be only one.
    Only,
    /// The smallest; two of the same smallest size are refused.
    Smallest,
    /// The lowest serial in byte order; stable over reboots and slots, unlike the kernel's names.
    FirstSerial,
}

/// How long a state may take on this model before a person or a repair is next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    pub discover_seconds: u32,
    pub commission_seconds: u32,
    pub install_seconds: u32,
    pub check_seconds: u32,
    pub drain_seconds: u32,
    pub release_seconds: u32,
    /// Boots into the agent or installs tried before a person is next.
    pub attempts: u32,
    /// Repairs without a person between two of a person's decisions.
    pub repairs: u32,
}

impl Default for Limits {
    /// For server hardware whose self-test takes minutes.
    fn default() -> Self {
        Self {
            discover_seconds: 1200,
            commission_seconds: 3600,
            install_seconds: 3600,
            check_seconds: 1200,
            drain_seconds: 3600,
            release_seconds: 86_400,
            attempts: 3,
            repairs: 3,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Boot {
    /// Firmware modes this model is run in, preferred first.
    pub firmware: Vec<FirmwareMode>,
    /// How such a machine is led into the agent, in the order in which they are tried: the next one when a boot by the one
    /// before was not seen, or its BMC refused it.
    #[serde(default = "pxe_alone", skip_serializing_if = "is_pxe_alone")]
    pub ways: Vec<Way>,
    /// A loader other than the architecture's usual one, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
    /// `ttyS0,115200`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// One argument an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
}

fn pxe_alone() -> Vec<Way> {
    vec![Way::Pxe]
}

fn is_pxe_alone(ways: &[Way]) -> bool {
    ways == [Way::Pxe]
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelBmc {
    /// A [`crate::BmcProfile`] by id.
    pub profile: String,
    /// Switched on besides the profile's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quirks: Vec<Quirk>,
}

impl Catalog {
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.id == id)
    }

    pub fn bmc_profile(&self, id: &str) -> Option<&crate::BmcProfile> {
        self.bmcs.iter().find(|profile| profile.id == id)
    }

    /// The profile of a model's BMC with the quirks that are in force, the model's own among them.
    pub fn bmc_of(&self, model: &Model) -> Option<crate::BmcProfile> {
        let mut profile = self.bmc_profile(&model.bmc.profile)?.clone();
        profile.quirks = profile.quirks_in_force();
        for quirk in &model.bmc.quirks {
            if !profile.quirks.contains(quirk) {
                profile.quirks.push(*quirk);
            }
        }
        Some(profile)
    }
}
