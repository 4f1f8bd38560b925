//! The JSON that conductor keeps in the store's text columns. Old JSON must read for ever: fields are added with a
//! default, never renamed.

use crate::Error;
use muster_catalog::{BmcAccess, Difference, Located, Witness};
use muster_diagnosis::Ordered;
use muster_lifecycle::Tried;
use muster_names::{BootId, CaseId, FirmwareMode, Mac, Millis, SwitchPort};
use muster_wire::{Figure, Identity, ImageRef, Mode, NetworkConfig, User};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is kept of a machine beside its inventory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Kept {
    /// Standing facts.
    pub hold: Option<String>,
    pub retire: bool,
    pub case: Option<Fault>,
    /// The case whose repair was carried out and waits for its proof.
    pub repaired: Option<CaseId>,
    /// Model the layout expects, before the machine was looked at.
    pub expected_model: Option<String>,
    /// Model that fits, or the nearest and where it differs.
    pub differences: Vec<Difference>,
    /// Where it was seen to hang, newest word of each witness.
    pub ports: Vec<(Witness, SwitchPort)>,
    pub located: Option<Located>,
    pub figures: Vec<Figure>,
    /// Of the newest order, kept for the quality check and shown afterwards.
    pub quality: Vec<Difference>,
    pub firmware_mode: Option<FirmwareMode>,
    /// The port it last booted from.
    pub boot_mac: Option<Mac>,
    /// The way of the last boot into the agent that was ordered, and whether the machine came in by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Tried>,
    /// The boot disc of ours that its BMC shows, from before the order to insert it until it is ejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// Who asked for what the machine is doing.
    pub requester: String,
    pub why: Option<String>,
    /// How its BMC came to us, where no rack layout names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
}

/// A BMC that was adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Adopted {
    /// Its own port's, where it was known.
    pub mac: Option<Mac>,
    /// The entry that said it is ours.
    pub entry: String,
}

/// A disc of ours in a BMC's virtual media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Medium {
    pub image: String,
    pub since: Millis,
    /// Why it is still there although it was to be ejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    pub case: CaseId,
    pub text: String,
    pub by: String,
}

/// The last word of the machine's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentSeen {
    pub boot_id: BootId,
    pub mode: Mode,
    pub version: String,
    pub at: Millis,
}

/// An order, frozen when it was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderBody {
    pub identity: Identity,
    /// `url` is a path below the boot listener's base: the base is known when the order is served.
    pub image: ImageRef,
    pub root_uuid: Option<String>,
    pub agent_version: Option<String>,
    pub disk: muster_wire::DiskRef,
    pub hostname: String,
    pub users: Vec<User>,
    pub network: NetworkConfig,
    pub user_data: String,
    pub firmware_mode: FirmwareMode,
    pub reimage: bool,
}

impl OrderBody {
    /// What the installed machine will be compared with.
    pub fn ordered(&self, order: muster_names::OrderId) -> Ordered {
        Ordered {
            order,
            raw_digest: self.image.raw_digest,
            root_uuid: self.root_uuid.clone(),
            disk: self.disk.clone(),
            hostname: self.hostname.clone(),
            users: self.users.iter().map(|user| user.name.clone()).collect(),
            network: self.network.clone(),
            agent_version: self.agent_version.clone(),
        }
    }
}

/// How the BMC is reached, as the rack layout says.
pub type BmcBody = BmcAccess;

pub(crate) fn read<T: DeserializeOwned>(
    what: &'static str,
    of: &dyn std::fmt::Display,
    text: &str,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Stored { what, of: of.to_string(), source })
}

pub(crate) fn write<T: Serialize>(what: &'static str, of: &dyn std::fmt::Display, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|source| Error::Stored { what, of: of.to_string(), source })
}
