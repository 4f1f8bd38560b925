//! The data files: hardware models, BMC profiles, boot loaders and clients, operating system images, rack layouts.
//!
//! Text in, catalog or slips out: this crate opens no file and knows no clock, so that everything it decides can be
//! tried on plain text. What differs between models, vendors and sites is data; a reader of the data is shown every
//! slip of every file at once, with the place and the words allowed, because mending a fleet's files one error a run
//! is how wrong ones stay.

mod bios;
mod bmc;
mod check;
mod client;
mod compare;
mod document;
mod evidence;
mod firmware;
mod image;
mod learn;
mod loader;
mod locate;
mod model;
mod policy;
mod rack;
mod read;
mod recognise;
mod root_disk;
mod slip;
mod version;

pub use bios::{BiosAttribute, BiosRow, BiosSetting, BiosTold, BiosWants, BootSource, PowerProfile, Switch};
pub use bmc::{BmcDhcp, BmcProfile, Link, Protocol, Quirk, Resource};
pub use check::is_name;
pub use client::BootClient;
pub use compare::{Difference, Identified, compare, identify};
pub use document::Document;
pub use evidence::{Evidence, Tally, usable_for_writes};
pub use firmware::{FirmwareWant, Form, Reset};
pub use image::{Compression, Image, Manifest, OsImage};
pub use learn::{About, learn};
pub use loader::{Companion, Loader, ProxyStyle, Source, Transport};
pub use locate::{Located, Signs, Spot, Witness, locate};
pub use model::{
    Boot, CpuClaim, DiskClaim, Identify, Limits, MemoryClaim, Model, ModelBmc, NicClaim, Others, Pick, Role, RootDisk,
    SystemClaim, TpmClaim,
};
pub use policy::{Number, Text, Version};
pub use rack::{BmcAccess, Placed, Rack, RackMachine};
pub use read::read;
pub use recognise::{BmcSigns, Pattern, Recognise};
pub use root_disk::root_disk;
pub use slip::Slip;
pub use version::compare as compare_versions;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything the data files say, each list sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Catalog {
    pub models: Vec<Model>,
    pub bmcs: Vec<BmcProfile>,
    pub loaders: Vec<Loader>,
    #[serde(default)]
    pub clients: Vec<BootClient>,
    pub images: Vec<OsImage>,
    pub racks: Vec<Rack>,
}

impl Catalog {
    /// How many data files rest on what.
    pub fn tally(&self) -> Tally {
        let models = self.models.iter().map(|model| &model.evidence);
        let bmcs = self.bmcs.iter().map(|profile| &profile.evidence);
        let loaders = self.loaders.iter().map(|loader| &loader.evidence);
        let clients = self.clients.iter().map(|client| &client.evidence);
        let images = self.images.iter().map(|image| &image.evidence);
        let racks = self.racks.iter().map(|rack| &rack.evidence);
        Tally::of(models.chain(bmcs).chain(loaders).chain(clients).chain(images).chain(racks))
    }
}

#[cfg(test)]
mod tests;
