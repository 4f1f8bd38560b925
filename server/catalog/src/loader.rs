//! Boot loaders: which file a firmware of which architecture is given first.
//!
//! The files themselves come from Debian's packages and are never in this repository; a loader only says where its
//! package puts it and under which name it is served.

use crate::{Catalog, Evidence, Model};
use muster_names::{Architecture, Digest, FirmwareMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// a model asks for it.
    #[serde(default)]
    pub arch: Vec<u16>,
    /// Serves firmware that says `HTTPClient` instead of `PXEClient`.
    #[serde(default)]
    pub http_client: bool,
    pub transport: Transport,
    pub firmware: FirmwareMode,
    #[serde(default)]
    pub architecture: Architecture,
    #[serde(default)]
    pub proxy_style: ProxyStyle,
    /// Passes Secure Boot: signed by Microsoft or by what such a loader carries. It is the first answer where a network
    /// is for such firmware, and wherever its architectures have no other.
    #[serde(default)]
    pub secure_boot: bool,
    /// A whole boot disc that leads to our boot scripts: a BMC shows it to its machine (virtual media), firmware is never
    /// sent to it.
    #[serde(default)]
    pub disc: bool,
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
    /// The first answer for a firmware of this architecture; `http` for one that says `HTTPClient`, `secure` for one
    /// that starts nothing unsigned. `None`: do not netboot it.
    pub fn loader_for(&self, arch: u16, http: bool, secure: bool) -> Option<&Loader> {
        let of = |signed: bool| {
            self.loaders.iter().find(|loader| {
                loader.http_client == http && loader.secure_boot == signed && loader.arch.contains(&arch)
            })
        };
        if secure { of(true) } else { of(false).or_else(|| of(true)) }
    }

    pub fn loader(&self, id: &str) -> Option<&Loader> {
        self.loaders.iter().find(|loader| loader.id == id)
    }

    /// What firmware of this architecture fetches by UEFI HTTP boot.
    pub fn http_loader(&self, architecture: Architecture) -> Option<&Loader> {
        let arch = match architecture {
            Architecture::X86_64 => 16,
            Architecture::Arm64 => 19,
        };
        self.loader_for(arch, true, false)
    }

    /// The boot disc for machines of this architecture.
    pub fn disc(&self, architecture: Architecture) -> Option<&Loader> {
        self.loaders.iter().find(|loader| loader.disc && loader.architecture == architecture)
    }

    /// The first answer for each client architecture that has one.
    pub fn first_loaders(&self, secure: bool) -> BTreeMap<u16, &Loader> {
        let archs = self.loaders.iter().flat_map(|loader| loader.arch.iter().map(|arch| (*arch, loader.http_client)));
        archs.filter_map(|(arch, http)| Some((arch, self.loader_for(arch, http, secure)?))).collect()
    }

    /// What a model that asks for a loader by id gets in place of the usual ones: that loader for every client
    /// architecture of its kind. Empty for a model that asks for none.
    pub fn own_loaders(&self, model: &Model) -> BTreeMap<u16, &str> {
        let Some(own) = model.boot.loader.as_deref().and_then(|id| self.loader(id)) else { return BTreeMap::new() };
        let alike = |loader: &&Loader| {
            (loader.firmware, loader.architecture, loader.http_client)
                == (own.firmware, own.architecture, own.http_client)
        };
        let archs = self.loaders.iter().filter(alike).flat_map(|loader| &loader.arch);
        archs.map(|arch| (*arch, own.file.as_str())).collect()
    }
}
