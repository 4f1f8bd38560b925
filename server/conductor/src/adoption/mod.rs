//! From a BMC that answers somewhere to a BMC of ours.
//!
//! Finding looks and nothing more: what asked for an address and looks like a BMC, what a configured range holds and what
//! agents tell of is greeted without a login and written down. Ours is what a manifest or a person says is ours. That one is
//! logged in to with the password it came with, has to be whose it was said to be, gets a machine, and then a password that
//! nobody knows, by the steps of every change of a password.

mod adopt;
pub(crate) mod by_agent;
mod find;
mod judge;
mod manifest;

pub use adopt::{MOST_REFUSED, adopt_bmcs};
pub use find::{FoundBmc, ScanTold, Standing, find_bmcs};
pub use manifest::{AwaitedShown, Entry, EntryPlanned, Manifest, ManifestPlanned, ManifestVerdict};

pub use find::Candidates;

pub(crate) use find::{Finding, forget};
pub(crate) use judge::{Said, host, is_same};

use crate::hand::HandError;
use futures_core::future::BoxFuture;
use muster_bmc::{Hail, Identity, Secret};
use muster_catalog::{BmcAccess, Protocol};
use muster_names::{Mac, MachineId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What finding and adopting ask of a BMC that is nobody's yet.
pub trait FindHand: Send + Sync {
    /// What it tells anybody, without a login.
    fn hail<'a>(&'a self, protocol: Protocol, address: &'a str) -> BoxFuture<'a, Result<Hail, HandError>>;
    /// The key that was proved there counts no more: the next one is as good as the first.
    fn forget_key(&self, address: &str);
    /// Logs in to the one that greeted so, and reads who it is.
    fn meet<'a>(
        &'a self,
        access: &'a BmcAccess,
        secret: &'a Secret,
        hail: &'a Hail,
    ) -> BoxFuture<'a, Result<Met, HandError>>;
}

/// Who a BMC says it is, once it has taken a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    pub identity: Identity,
    /// The profile that knows it, by id.
    pub profile: Option<String>,
}

/// By which way a BMC was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It asked for an address, and its packet looks like a BMC's.
    Dhcp,
    Scan,
    /// The agent of its machine asked it over the bus between them.
    Agent,
}

/// What is kept of a BMC that answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct FoundBody {
    pub found_by: BTreeSet<FoundBy>,
    pub told: Vec<Told>,
    /// Of DHCP's option 60.
    pub class: Option<String>,
    /// Whose agent told of it, and that machine's serial number.
    pub machine: Option<MachineId>,
    pub serial: Option<String>,
}

/// What a BMC told over one protocol before any login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    pub protocol: Protocol,
    #[serde(default)]
    pub vendor: Option<String>,
    #[serde(default)]
    pub product: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub uuids: Vec<String>,
    /// IANA enterprise number of its maker.
    #[serde(default)]
    pub maker_number: Option<u32>,
    /// SHA-256 of its public key.
    #[serde(default)]
    pub tls_pin: Option<String>,
    /// What it lets anybody do that it should not, by the words of `muster_bmc::Exposure`.
    #[serde(default)]
    pub exposures: Vec<String>,
}

impl From<Hail> for Told {
    fn from(hail: Hail) -> Self {
        let word = |exposure| serde_json::to_value(exposure).ok().and_then(|word| word.as_str().map(str::to_owned));
        Self {
            protocol: hail.protocol,
            vendor: hail.vendor,
            product: hail.product,
            version: hail.version,
            uuids: hail.uuids,
            maker_number: hail.maker_number,
            tls_pin: hail.tls_pin.map(|pin| pin.to_string()),
            exposures: hail.exposures.into_iter().filter_map(word).collect(),
        }
    }
}

/// What a manifest or a person says of a BMC that is ours; its password apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Ours {
    pub mac: Option<Mac>,
    /// Of its machine.
    pub serial: Option<String>,
    pub address: Option<String>,
    pub protocol: Option<Protocol>,
    pub user: String,
    /// Name of the machine that it belongs to.
    pub machine: Option<String>,
    /// Who says so.
    pub by: String,
    /// What stood in its way when it was last looked at.
    pub why: Option<String>,
    pub tries: u32,
    /// Its account is made by the agent of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<ByAgent>,
}

/// Whose agent makes the account of an entry, and whether it says that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ByAgent {
    pub machine: MachineId,
    pub made: bool,
}
