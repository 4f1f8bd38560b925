//! A model file from a known-good machine: everything the machine tells becomes a claim.
//!
//! The result is strict on purpose. A person loosens it (`exact` to `one-of`, `min`, `any`) where the fleet differs;
//! the other way round, a loose first draft would never be tightened.

use crate::compare::{size_gb, told, total_mib, versions_of};
use crate::root_disk::picked;
use crate::{
    Boot, CpuClaim, DiskClaim, Evidence, Identify, Limits, MemoryClaim, Model, ModelBmc, NicClaim, Number, Others,
    Pick, Role, RootDisk, SystemClaim, Text, TpmClaim, Version,
};
use muster_names::{Disk, DiskKind, FirmwareMode, Inventory, Nic};
use std::collections::{BTreeMap, BTreeSet};

/// What the machine cannot say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Also the file's name without `.toml`.
    pub id: String,
    pub title: String,
    pub role: Role,
    /// `Captured` with the digest of the inventory's JSON, for a machine that is really there.
    pub evidence: Evidence,
    /// A BMC profile by id.
    pub bmc_profile: String,
}

/// The TOML of a model that this machine fits, or why no model can be learnt from it.
pub fn learn(inventory: &Inventory, about: &About) -> Result<String, String> {
    let system = &inventory.system;
    let manufacturer = text([system.manufacturer.as_deref()]);
    let product = text([system.product.as_deref()]);
    if manufacturer.is_any() || product.is_any() {
        return Err("the machine does not tell its manufacturer and product, and a model must claim both".into());
    }
    let model = Model {
        id: about.id.clone(),
        title: about.title.clone(),
        role: about.role,
        evidence: about.evidence.clone(),
        identify: Identify {
            system: SystemClaim {
                manufacturer,
                product,
                chassis_manufacturer: text([system.chassis_manufacturer.as_deref()]),
            },
            cpu: cpu(inventory),
            memory: memory(inventory),
            disks: disks(inventory),
            other_disks: Others::Refused,
            nics: nics(inventory),
            other_nics: Others::Refused,
            firmware: firmware(inventory),
            tpm: tpm(inventory),
        },
        root_disk: root_rule(inventory)?,
        limits: Limits::default(),
        boot: Boot {
            firmware: vec![inventory.firmware_mode.unwrap_or(FirmwareMode::Uefi)],
            ways: vec![muster_names::Way::Pxe],
            loader: None,
            console: None,
            kernel_args: Vec::new(),
        },
        bmc: ModelBmc { profile: about.bmc_profile.clone(), quirks: Vec::new() },
        firmware: Vec::new(),
        bios: crate::BiosWants::default(),
    };
    let text = toml::to_string(&model).map_err(|error| format!("the model cannot be written as TOML: {error}"))?;
    Ok(format!("# Learnt from one machine: loosen what may differ between machines of this model.\n{text}"))
}

/// A claim for values that all parts tell; none where a single one is silent.
fn text<'v>(values: impl IntoIterator<Item = Option<&'v str>>) -> Text {
    let trimmed = values.into_iter().map(|value| value.map(str::trim).filter(|value| !value.is_empty()));
    let Some(told) = trimmed.collect::<Option<BTreeSet<&str>>>() else { return Text::Any };
    let mut told: Vec<String> = told.into_iter().map(str::to_owned).collect();
    match told.len() {
        0 => Text::Any,
        1 => told.pop().map_or(Text::Any, Text::Exact),
        _ => Text::OneOf(told),
    }
}

/// As [`text`]. TOML's integers end at 2^63 - 1.
fn number(values: impl IntoIterator<Item = Option<u64>>) -> Number {
    let writable = values.into_iter().map(|value| value.filter(|value| i64::try_from(*value).is_ok()));
    let Some(told) = writable.collect::<Option<BTreeSet<u64>>>() else { return Number::Any };
    let told: Vec<u64> = told.into_iter().collect();
    match told.as_slice() {
        [] => Number::Any,
        [one] => Number::Exact(*one),
        _ => Number::OneOf(told),
    }
}

fn cpu(inventory: &Inventory) -> CpuClaim {
    let cpus = &inventory.cpus;
    CpuClaim {
        model: text(cpus.iter().map(|cpu| Some(cpu.model.as_str()))),
        sockets: number([told(cpus.len() as u64)]),
        cores: number(cpus.iter().map(|cpu| told(cpu.cores.into()))),
        threads: number(cpus.iter().map(|cpu| told(cpu.threads.into()))),
    }
}

fn memory(inventory: &Inventory) -> MemoryClaim {
    let dimms = &inventory.dimms;
    MemoryClaim {
        total_mib: number([total_mib(inventory)]),
        dimms: number([told(dimms.len() as u64)]),
        dimm_mib: number(dimms.iter().map(|dimm| told(dimm.size_mib))),
        speed_mts: number(dimms.iter().map(|dimm| dimm.speed_mts.and_then(|speed| told(speed.into())))),
        kind: text(dimms.iter().map(|dimm| dimm.kind.as_deref())),
    }
}

/// Groups of like parts, the ones that tell more first: a group that claims little must not take another's parts.
fn grouped<P, K: Ord>(parts: &[P], key: impl Fn(&P) -> K, claims: impl Fn(&K) -> usize) -> Vec<(K, Vec<&P>)> {
    let mut groups: BTreeMap<K, Vec<&P>> = BTreeMap::new();
    for part in parts {
        groups.entry(key(part)).or_default().push(part);
    }
    let mut groups: Vec<(K, Vec<&P>)> = groups.into_iter().collect();
    groups.sort_by_key(|(key, _)| std::cmp::Reverse(claims(key)));
    groups
}

fn trimmed(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|value| !value.is_empty())
}

fn disks(inventory: &Inventory) -> Vec<DiskClaim> {
    let key = |disk: &Disk| (disk.kind, size_gb(disk), trimmed(&disk.model).map(str::to_owned));
    let groups =
        grouped(&inventory.disks, key, |(_, size, model)| usize::from(size.is_some()) + usize::from(model.is_some()));
    let name = |at: usize, kind: DiskKind| format!("{}-{}", crate::compare::kind_word(kind), at + 1);
    groups
        .into_iter()
        .enumerate()
        .map(|(at, ((kind, size, model), disks))| DiskClaim {
            name: name(at, kind),
            kind,
            count: Number::Exact(disks.len() as u64),
            size_gb: size.map_or(Number::Any, Number::Exact),
            model: model.map_or(Text::Any, Text::Exact),
            firmware: Version::Any,
        })
        .collect()
}

fn nics(inventory: &Inventory) -> Vec<NicClaim> {
    let key = |nic: &Nic| (trimmed(&nic.model).map(str::to_owned), trimmed(&nic.driver).map(str::to_owned));
    let groups =
        grouped(&inventory.nics, key, |(model, driver)| usize::from(model.is_some()) + usize::from(driver.is_some()));
    groups
        .into_iter()
        .enumerate()
        .map(|(at, ((model, driver), nics))| {
            let linked = nics.iter().filter(|nic| nic.link);
            NicClaim {
                name: format!("nic-{}", at + 1),
                count: Number::Exact(nics.len() as u64),
                model: model.map_or(Text::Any, Text::Exact),
                driver: driver.map_or(Text::Any, Text::Exact),
                speed_mbps: number(linked.clone().map(|nic| nic.speed_mbps.and_then(|speed| told(speed.into())))),
                linked: Number::Min(linked.count() as u64),
                firmware: Version::Any,
            }
        })
        .collect()
}

/// At least what the machine runs; where parts of one name differ, what they run.
fn firmware(inventory: &Inventory) -> BTreeMap<String, Version> {
    let bmc = inventory.bmc.iter().map(|_| "bmc");
    let components: BTreeSet<&str> = inventory.firmware.iter().map(|part| part.component.as_str()).chain(bmc).collect();
    components
        .into_iter()
        .filter_map(|component| {
            let version = match text(versions_of(inventory, component).into_iter().map(Some)) {
                Text::Exact(one) => Version::Min(one),
                Text::OneOf(several) => Version::OneOf(several),
                Text::Any | Text::Pattern(_) => return None,
            };
            Some((component.to_owned(), version))
        })
        .collect()
}

fn tpm(inventory: &Inventory) -> TpmClaim {
    match &inventory.tpm {
        None => TpmClaim::Any,
        Some(tpm) => trimmed(&tpm.version).map_or(TpmClaim::Present, |version| TpmClaim::Version(version.to_owned())),
    }
}

/// The narrowest rule that names one disk: the machine's only one, its one smallest, or the first of the smallest kind.
fn root_rule(inventory: &Inventory) -> Result<RootDisk, String> {
    let smallest = inventory
        .disks
        .iter()
        .filter(|disk| disk.kind != DiskKind::Unknown)
        .min_by_key(|disk| (disk.size_bytes, disk.kind));
    let Some(smallest) = smallest else {
        return Err("the machine tells no disk of a known kind, and a model must say where an install goes".into());
    };
    let size_gb = size_gb(smallest).map_or(Number::Any, Number::Exact);
    let mut why = String::new();
    for (pick, size_gb) in [(Pick::Only, Number::Any), (Pick::Smallest, Number::Any), (Pick::FirstSerial, size_gb)] {
        let rule = RootDisk { kind: smallest.kind, pick, size_gb, model: Text::Any, serial: Text::Any };
        match picked(&rule, inventory) {
            Ok(_) => return Ok(rule),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}
