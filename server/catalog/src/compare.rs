//! Is this machine one of that model? Every claimed field is compared, and each one that does not fit is named.
//!
//! A value the machine did not tell is a difference wherever the model claims one: a half-read inventory must not
//! pass for a whole machine. There is no score and no "close enough": the nearest model is told to people only.

use crate::{Catalog, DiskClaim, Model, NicClaim, Number, Others, Text, TpmClaim, Version};
use muster_names::{Disk, DiskKind, Inventory, Nic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One claimed field that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// `memory.dimms`, `cpu.CPU0.model`, `disks.data.count`
    pub path: String,
    /// What the model claims, in words.
    pub expected: String,
    /// `None`: the machine did not tell.
    pub actual: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actual = self.actual.as_deref().unwrap_or("nothing: the machine did not tell");
        write!(f, "{}: expected {}, found {actual}", self.path, self.expected)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identified {
    /// Exactly this one fits in every claimed field.
    Model(String),
    None {
        /// The model with the fewest differences, the same manufacturer and product going first.
        nearest: Option<(String, Vec<Difference>)>,
    },
    /// Several fit in every claimed field: the models must be told apart by a person.
    Ambiguous(Vec<String>),
}

pub fn identify(catalog: &Catalog, inventory: &Inventory) -> Identified {
    let mut fitting = Vec::new();
    let mut nearest: Option<((bool, usize), &Model, Vec<Difference>)> = None;
    for model in &catalog.models {
        let differences = compare(model, inventory);
        if differences.is_empty() {
            fitting.push(model.id.clone());
            continue;
        }
        let foreign = differences.iter().any(|difference| difference.path.starts_with("system."));
        let distance = (foreign, differences.len());
        if nearest.as_ref().is_none_or(|(least, ..)| distance < *least) {
            nearest = Some((distance, model, differences));
        }
    }
    match fitting.as_slice() {
        [] => Identified::None { nearest: nearest.map(|(_, model, differences)| (model.id.clone(), differences)) },
        [one] => Identified::Model(one.clone()),
        _ => Identified::Ambiguous(fitting),
    }
}

/// Every claimed field that does not fit; empty: the machine is one of this model.
pub fn compare(model: &Model, inventory: &Inventory) -> Vec<Difference> {
    let claim = &model.identify;
    let mut found = Found::default();
    let system = &inventory.system;
    found.text("system.manufacturer", &claim.system.manufacturer, system.manufacturer.as_deref());
    found.text("system.product", &claim.system.product, system.product.as_deref());
    found.text(
        "system.chassis-manufacturer",
        &claim.system.chassis_manufacturer,
        system.chassis_manufacturer.as_deref(),
    );
    cpu(model, inventory, &mut found);
    memory(model, inventory, &mut found);
    disks(model, inventory, &mut found);
    nics(model, inventory, &mut found);
    for (component, version) in &claim.firmware {
        let told = versions_of(inventory, component);
        let path = format!("firmware.{component}");
        if told.is_empty() {
            found.version(&path, version, None);
        }
        for told in told {
            found.version(&path, version, Some(told));
        }
    }
    tpm(&claim.tpm, inventory, &mut found);
    found.0
}

/// The versions a machine tells for a component; the BMC's stands in two places.
pub fn versions_of<'i>(inventory: &'i Inventory, component: &str) -> Vec<&'i str> {
    let listed = inventory.firmware.iter().filter(|part| part.component == component).map(|part| part.version.as_str());
    let bmc = inventory.bmc.as_ref().filter(|_| component == "bmc").and_then(|bmc| bmc.firmware.as_deref());
    listed.chain(bmc).collect()
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn push(&mut self, path: &str, expected: String, actual: Option<String>) {
        self.0.push(Difference { path: path.to_owned(), expected, actual });
    }

    fn text(&mut self, path: &str, claim: &Text, told: Option<&str>) {
        if !claim.admits(told) {
            self.push(path, claim.to_string(), told.filter(|told| !told.trim().is_empty()).map(str::to_owned));
        }
    }

    fn number(&mut self, path: &str, claim: &Number, told: Option<u64>) {
        if !claim.admits(told) {
            self.push(path, claim.to_string(), told.map(|told| told.to_string()));
        }
    }

    fn version(&mut self, path: &str, claim: &Version, told: Option<&str>) {
        if !claim.admits(told) {
            self.push(path, claim.to_string(), told.filter(|told| !told.trim().is_empty()).map(str::to_owned));
        }
    }
}

/// A count or size of zero is what a reader writes that could not read it.
pub fn told(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn cpu(model: &Model, inventory: &Inventory, found: &mut Found) {
    let claim = &model.identify.cpu;
    found.number("cpu.sockets", &claim.sockets, told(inventory.cpus.len() as u64));
    if inventory.cpus.is_empty() {
        found.text("cpu.model", &claim.model, None);
        found.number("cpu.cores", &claim.cores, None);
        found.number("cpu.threads", &claim.threads, None);
    }
    for cpu in &inventory.cpus {
        let at = |field: &str| format!("cpu.{}.{field}", cpu.socket);
        found.text(&at("model"), &claim.model, Some(&cpu.model));
        found.number(&at("cores"), &claim.cores, told(cpu.cores.into()));
        found.number(&at("threads"), &claim.threads, told(cpu.threads.into()));
    }
}

fn memory(model: &Model, inventory: &Inventory, found: &mut Found) {
    let claim = &model.identify.memory;
    let dimms = &inventory.dimms;
    found.number("memory.total-mib", &claim.total_mib, total_mib(inventory));
    found.number("memory.dimms", &claim.dimms, told(dimms.len() as u64));
    if dimms.is_empty() {
        found.number("memory.dimm-mib", &claim.dimm_mib, None);
        found.number("memory.speed-mts", &claim.speed_mts, None);
        found.text("memory.kind", &claim.kind, None);
    }
    for dimm in dimms {
        let at = |field: &str| format!("memory.{}.{field}", dimm.slot);
        found.number(&at("dimm-mib"), &claim.dimm_mib, told(dimm.size_mib));
        found.number(&at("speed-mts"), &claim.speed_mts, dimm.speed_mts.and_then(|speed| told(speed.into())));
        found.text(&at("kind"), &claim.kind, dimm.kind.as_deref());
    }
}

pub fn total_mib(inventory: &Inventory) -> Option<u64> {
    told(inventory.dimms.iter().fold(0u64, |sum, dimm| sum.saturating_add(dimm.size_mib)))
}

/// In units of 10^9 bytes, rounded down.
pub fn size_gb(disk: &Disk) -> Option<u64> {
    told(disk.size_bytes).map(|bytes| bytes / 1_000_000_000)
}

pub fn kind_word(kind: DiskKind) -> &'static str {
    match kind {
        DiskKind::Nvme => "nvme",
        DiskKind::Ssd => "ssd",
        DiskKind::Hdd => "hdd",
        DiskKind::Virtual => "virtual",
        DiskKind::Unknown => "unknown",
    }
}

impl DiskClaim {
    /// Whether a disk belongs to this group, if to no earlier one.
    pub fn takes(&self, disk: &Disk) -> bool {
        self.kind == disk.kind && self.size_gb.admits(size_gb(disk)) && self.model.admits(disk.model.as_deref())
    }
}

impl NicClaim {
    /// Whether a port belongs to this group, if to no earlier one.
    pub fn takes(&self, nic: &Nic) -> bool {
        self.model.admits(nic.model.as_deref()) && self.driver.admits(nic.driver.as_deref())
    }
}

/// Each part goes to the first group that takes it: the groups' members, and the parts that no group takes.
fn sort_into<'p, P, C>(parts: &'p [P], claims: &[C], takes: impl Fn(&C, &P) -> bool) -> (Vec<Vec<&'p P>>, Vec<&'p P>) {
    let mut groups: Vec<Vec<&P>> = claims.iter().map(|_| Vec::new()).collect();
    let mut others = Vec::new();
    for part in parts {
        match claims.iter().zip(groups.iter_mut()).find(|(claim, _)| takes(claim, part)) {
            Some((_, group)) => group.push(part),
            None => others.push(part),
        }
    }
    (groups, others)
}

fn disks(model: &Model, inventory: &Inventory, found: &mut Found) {
    let claims = &model.identify.disks;
    let (groups, others) = sort_into(&inventory.disks, claims, DiskClaim::takes);
    for (claim, group) in claims.iter().zip(groups) {
        found.number(&format!("disks.{}.count", claim.name), &claim.count, Some(group.len() as u64));
        for disk in group {
            let path = format!("disks.{}.{}.firmware", claim.name, disk.name);
            found.version(&path, &claim.firmware, disk.firmware.as_deref());
        }
    }
    if claims.is_empty() || model.identify.other_disks == Others::Allowed {
        return;
    }
    for disk in others {
        let size = size_gb(disk).map_or_else(|| "of unknown size".into(), |gb| format!("of {gb} GB"));
        let what = disk.model.as_deref().unwrap_or("model not told");
        let actual = format!("{} {size}, {what}", kind_word(disk.kind));
        found.push(&format!("disks.{}", disk.name), no_other(claims.iter().map(|claim| &claim.name)), Some(actual));
    }
}

fn nics(model: &Model, inventory: &Inventory, found: &mut Found) {
    let claims = &model.identify.nics;
    let (groups, others) = sort_into(&inventory.nics, claims, NicClaim::takes);
    for (claim, group) in claims.iter().zip(groups) {
        let at = |field: &str| format!("nics.{}.{field}", claim.name);
        found.number(&at("count"), &claim.count, Some(group.len() as u64));
        let linked = group.iter().filter(|nic| nic.link).count();
        found.number(&at("linked"), &claim.linked, Some(linked as u64));
        if linked == 0 {
            found.number(&at("speed-mbps"), &claim.speed_mbps, None);
        }
        for nic in group {
            if nic.link {
                let path = at(&format!("{}.speed-mbps", nic.name));
                found.number(&path, &claim.speed_mbps, nic.speed_mbps.and_then(|speed| told(speed.into())));
            }
            found.version(&at(&format!("{}.firmware", nic.name)), &claim.firmware, nic.firmware.as_deref());
        }
    }
    if claims.is_empty() || model.identify.other_nics == Others::Allowed {
        return;
    }
    for nic in others {
        let told = |what: &Option<String>| what.clone().unwrap_or_else(|| "not told".into());
        let actual = format!("model {}, driver {}", told(&nic.model), told(&nic.driver));
        found.push(&format!("nics.{}", nic.name), no_other(claims.iter().map(|claim| &claim.name)), Some(actual));
    }
}

fn no_other<'c>(names: impl Iterator<Item = &'c String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    format!("none besides {}", names.join(", "))
}

fn tpm(claim: &TpmClaim, inventory: &Inventory, found: &mut Found) {
    let told = inventory.tpm.as_ref();
    let version = told.and_then(|tpm| tpm.version.as_deref()).map(str::trim);
    let (fits, expected) = match claim {
        TpmClaim::Any => (true, String::new()),
        TpmClaim::Absent => (told.is_none(), "none".to_owned()),
        TpmClaim::Present => (told.is_some(), "any TPM".to_owned()),
        TpmClaim::Version(want) => (version == Some(want.trim()), format!("version {want}")),
    };
    if !fits {
        let actual =
            told.map(|_| version.map_or_else(|| "a TPM of unknown version".into(), |v| format!("version {v}")));
        found.push("tpm", expected, actual);
    }
}
