//! Rack layouts: which machine stands where, on which switch port, behind which BMC.

use crate::{Catalog, Protocol};
use muster_names::{Mac, Place, SwitchPort};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `rack-layouts/SITE/RACK.toml`. Whoever writes one says "these are ours": it is what allows power and installs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rack {
    pub site: String,
    pub rack: String,
    pub evidence: crate::Evidence,
    /// Height in U.
    pub units: u8,
    #[serde(default, rename = "machine")]
    pub machines: Vec<RackMachine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RackMachine {
    pub name: String,
    /// The lowest U it fills, from 1 at the bottom.
    pub u: u8,
    #[serde(default = "one")]
    pub height: u8,
    /// A [`crate::Model`] by id.
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<Mac>,
    /// The switch ports its network ports hang on, as option 82 or LLDP name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<SwitchPort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcAccess>,
    /// What it does for its owner: free text for people and selections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How the BMC is reached. The password is never here: layouts are kept in version control and shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BmcAccess {
    pub protocol: Protocol,
    /// `10.0.0.5`, `10.0.0.5:623`, `bmc-r1-14.example.org`, `https://...`
    pub address: String,
    pub user: String,
    /// A file in the daemon's directory of secrets; left out, the password came with a manifest of BMCs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// A [`crate::BmcProfile`] by id, where it is known better than by the machine's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

fn one() -> u8 {
    1
}

/// A machine of a layout with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    pub rack: &'a Rack,
    pub machine: &'a RackMachine,
}

impl Placed<'_> {
    pub fn place(&self) -> Place {
        Place { site: self.rack.site.clone(), rack: self.rack.rack.clone(), u: self.machine.u }
    }
}

impl Catalog {
    /// Every machine of every layout.
    pub fn machines(&self) -> impl Iterator<Item = Placed<'_>> {
        self.racks.iter().flat_map(|rack| rack.machines.iter().map(move |machine| Placed { rack, machine }))
    }

    pub fn rack(&self, site: &str, rack: &str) -> Option<&Rack> {
        self.racks.iter().find(|found| found.site == site && found.rack == rack)
    }

    pub fn machine_by_name(&self, name: &str) -> Option<Placed<'_>> {
        self.machines().find(|placed| placed.machine.name == name)
    }

    pub fn machine_by_serial(&self, serial: &str) -> Option<Placed<'_>> {
        self.machines().find(|placed| placed.machine.serial.as_deref() == Some(serial))
    }

    pub fn machine_by_mac(&self, mac: Mac) -> Option<Placed<'_>> {
        self.machines().find(|placed| placed.machine.macs.contains(&mac))
    }

    pub fn machine_by_port(&self, port: &SwitchPort) -> Option<Placed<'_>> {
        self.machines().find(|placed| placed.machine.ports.contains(port))
    }

    /// The machine whose lowest U is this one.
    pub fn machine_at(&self, place: &Place) -> Option<Placed<'_>> {
        self.machines().find(|placed| {
            placed.machine.u == place.u && placed.rack.site == place.site && placed.rack.rack == place.rack
        })
    }
}
