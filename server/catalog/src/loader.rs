//! Boot loaders: which file a firmware of which architecture is given first.
//!
//! The files themselves come from Debian's packages and are never in this repository; a loader only says where its
//! package puts it and under which name it is served.

use crate::{Catalog, Evidence};
use muster_names::{Digest, FirmwareMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    Tftp,
    Http,
}

/// How it is brought to firmware on a network where another server gives the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyStyle {
    /// The file stands in the offer on port 67.
    #[default]
    Pxe10,
    /// The offer names the server alone; firmware asks on port 4011 for the file.
    Binl4011,
}

/// `pxe-images/loaders/ID.toml`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Loader {
    pub id: String,
    pub title: String,
    pub evidence: Evidence,
    /// Client architectures (DHCP option 93) that this loader is the first answer for. Empty: only by name, because
    /// a model or another loader asks for it.
    #[serde(default)]
    pub arch: Vec<u16>,
    /// Serves firmware that says `HTTPClient` instead of `PXEClient`.
    #[serde(default)]
    pub http_client: bool,
    pub transport: Transport,
    pub firmware: FirmwareMode,
    #[serde(default)]
    pub proxy_style: ProxyStyle,
    /// Passes Secure Boot: signed by Microsoft or by what such a loader carries.
    #[serde(default)]
    pub secure_boot: bool,
    /// The name under which it is served.
    pub file: String,
    pub source: Source,
    /// Files that this loader fetches next, by the names it asks for.
    #[serde(default)]
    pub companions: Vec<Companion>,
}

/// Where the file comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// The Debian package.
    pub package: String,
    /// The file in it, from the root.
    pub path: String,
    /// Pins one build of it; without it any version of the package will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Companion {
    pub file: String,
    pub source: Source,
}

impl Catalog {
    /// The first answer for a firmware of this architecture; `http` for one that says `HTTPClient`. `None`: do not
    /// netboot it.
    pub fn loader_for(&self, arch: u16, http: bool) -> Option<&Loader> {
        self.loaders.iter().find(|loader| loader.http_client == http && loader.arch.contains(&arch))
    }

    pub fn loader(&self, id: &str) -> Option<&Loader> {
        self.loaders.iter().find(|loader| loader.id == id)
    }
}
