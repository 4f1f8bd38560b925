//! A machine whole, from the resources that a walk found: pure, so that a recorded tree is read by the code that reads a BMC.

use super::fields::{Fields, items};
use super::join::{Part, View, join};
use super::parts::{self, Placed};
use super::walk::{Found, Walk};
use crate::{Controller, Firmware, Gap, Hardware, Nic, Other};
use muster_catalog::{BmcProfile, BmcSigns, Resource};
use serde_json::Value;
use std::collections::BTreeSet;

/// Parts that one resource may list inside itself.
const MOST_INSIDE: usize = 256;

/// What the BMC says of itself, by which its profile is found. Known after a walk's first round.
pub fn signs(walk: &Walk) -> BmcSigns {
    let root = walk.of(Resource::Root).next().map(|(_, found)| found);
    let system =
        walk.chosen().map(|(_, found)| found).or_else(|| walk.of(Resource::System).next().map(|(_, found)| found));
    let manager = manager(walk);
    let chassis = walk.of(Resource::Chassis).map(|(_, found)| found);
    let text = |found: Option<&Found>, name: &str| Fields(&found?.body).text(&[name]);
    let all = [root, system, manager].into_iter().flatten().chain(chassis);
    let oem: BTreeSet<String> = all.flat_map(makers).collect();
    BmcSigns {
        root_vendor: text(root, "Vendor"),
        root_product: text(root, "Product"),
        oem: oem.into_iter().collect(),
        system_manufacturer: text(system, "Manufacturer"),
        system_model: text(system, "Model"),
        manager_manufacturer: text(manager, "Manufacturer"),
        manager_model: text(manager, "Model"),
        firmware: text(manager, "FirmwareVersion"),
        maker_number: None,
        product_number: None,
    }
}

fn makers(found: &Found) -> Vec<String> {
    let oem = Fields(&found.body).get("Oem").and_then(Value::as_object);
    oem.map(|oem| oem.keys().filter(|key| !key.starts_with('@')).cloned().collect()).unwrap_or_default()
}

/// Everything the walk found of the chosen system.
pub fn tell(walk: &Walk, profile: Option<&BmcProfile>) -> Hardware {
    let mut hardware = Hardware { gaps: walk.gaps().to_vec(), ..Hardware::default() };
    let chassis = walk.around();
    if let Some(found) = walk.chosen().map(|(_, found)| found).or(chassis) {
        let fields = Fields(&found.body);
        let around = chassis.map(|found| Fields(&found.body));
        let text = |name: &str| fields.text(&[name]).or_else(|| around?.text(&[name]));
        hardware.manufacturer = text("Manufacturer");
        hardware.model = text("Model");
        hardware.serial = text("SerialNumber");
        hardware.sku = text("SKU");
        hardware.uuid = fields.text(&["UUID"]).map(|uuid| uuid.to_ascii_lowercase());
        hardware.power = fields.text(&["PowerState"]).map(|word| super::power_word(&word));
    }
    hardware.bmc = controller(walk, profile);
    hardware.processors = listed(walk, Resource::Processor, parts::processor, &[]);
    hardware.memory = listed(walk, Resource::Memory, parts::memory, &[]);
    hardware.drives = listed(walk, Resource::Drive, parts::drive, &[(Resource::SimpleStorage, "Devices")]);
    hardware.power_supplies =
        listed(walk, Resource::PowerSupply, parts::power_supply, &[(Resource::Power, "PowerSupplies")]);
    hardware.fans = listed(walk, Resource::Fan, parts::fan, &[(Resource::Thermal, "Fans")]);
    hardware.nics = nics(walk, &mut hardware.gaps);
    hardware.firmware = firmware(walk, profile, &hardware.bmc);
    hardware.systems = systems(walk);
    hardware
}

fn systems(walk: &Walk) -> Vec<Other> {
    let chosen = walk.chosen().map(|(at, _)| at);
    let other = |(at, found): (usize, &Found)| {
        let fields = Fields(&found.body);
        let uuid = fields.text(&["UUID"]).map(|uuid| uuid.to_ascii_lowercase());
        Other { serial: fields.text(&["SerialNumber"]), uuid, this: Some(at) == chosen }
    };
    walk.of(Resource::System).map(other).collect()
}

/// The manager of the chosen system: the one it names, else the first that calls itself a BMC, else the first.
fn manager(walk: &Walk) -> Option<&Found> {
    let named = walk.chosen().and_then(|(_, system)| {
        let path = Fields(&system.body).list("Links/ManagedBy").find_map(super::fields::target)?;
        walk.of(Resource::Manager).find(|(_, found)| found.path.trim_end_matches('/') == path.trim_end_matches('/'))
    });
    let bmc = |found: &Found| Fields(&found.body).text(&["ManagerType"]).as_deref() == Some("BMC");
    let found = named.or_else(|| walk.of(Resource::Manager).find(|(_, found)| bmc(found)));
    found.or_else(|| walk.of(Resource::Manager).next()).map(|(_, found)| found)
}

fn controller(walk: &Walk, profile: Option<&BmcProfile>) -> Controller {
    let manager = manager(walk);
    let text = |name: &str| Fields(&manager?.body).text(&[name]);
    let ports = || {
        let mine = walk.of(Resource::ManagerEthernet).map(|(_, found)| found);
        mine.filter(|port| {
            port.from.and_then(|at| walk.at(at)).map(|found| &found.path) == manager.map(|found| &found.path)
        })
    };
    // A BMC has ports towards its own host as well; the one people plug in has an address.
    let addressed = |port: &&Found| Fields(&port.body).get("IPv4Addresses").is_some_and(|list| !items(list).is_empty());
    let up = |port: &&Found| Fields(&port.body).text(&["LinkStatus"]).as_deref() == Some("LinkUp");
    let mac = |port: &Found| Fields(&port.body).mac(&["PermanentMACAddress", "MACAddress"]);
    Controller {
        profile: profile.map(|profile| profile.id.clone()),
        model: text("Model"),
        firmware: text("FirmwareVersion"),
        mac: ports()
            .filter(addressed)
            .filter(up)
            .find_map(mac)
            .or_else(|| ports().filter(addressed).find_map(mac))
            .or_else(|| ports().find_map(mac)),
        ..Controller::default()
    }
}

/// All parts of a kind: the resources by what they hang from, then what older resources list inside themselves.
fn listed<T: Part>(
    walk: &Walk,
    kind: Resource,
    read: fn(&Value) -> Option<Placed<T>>,
    inside: &[(Resource, &str)],
) -> Vec<T> {
    let mut views: Vec<(Option<Resource>, Option<usize>, View<T>)> = Vec::new();
    for (_, found) in walk.of(kind) {
        let Some(part) = read(&found.body) else { continue };
        let hangs_from = found.from.and_then(|at| walk.at(at)).map(|found| found.kind);
        match views.iter_mut().find(|(_, from, _)| *from == found.from) {
            Some((_, _, view)) => view.parts.push(part),
            None => views.push((hangs_from, found.from, View { kin: 0, parts: vec![part] })),
        }
    }
    let mut kins: Vec<Option<Resource>> = Vec::new();
    for (hangs_from, _, view) in &mut views {
        let known = kins.iter().position(|kin| kin == hangs_from);
        view.kin = known.unwrap_or(kins.len());
        if known.is_none() {
            kins.push(*hangs_from);
        }
    }
    let mut views: Vec<View<T>> = views.into_iter().map(|(_, _, view)| view).collect();
    views.sort_by_key(|view| view.kin);
    for (kin, (resource, list)) in (kins.len()..).zip(inside) {
        for (_, found) in walk.of(*resource) {
            views
                .push(View { kin, parts: Fields(&found.body).list(list).take(MOST_INSIDE).filter_map(read).collect() });
        }
    }
    join(views)
}

/// Ports by their address, whichever resource tells it: the system's own list, the functions of its cards, their ports.
fn nics(walk: &Walk, gaps: &mut Vec<Gap>) -> Vec<Nic> {
    let mut nics: Vec<Nic> = Vec::new();
    for kind in [Resource::Ethernet, Resource::NetworkFunction, Resource::NetworkPort, Resource::NetworkAdapter] {
        for (_, found) in walk.of(kind) {
            let ports = Fields(&found.body).list("PhysicalPorts").take(MOST_INSIDE);
            for body in std::iter::once(&found.body).chain(ports) {
                let Some(mut nic) = parts::nic(body) else { continue };
                card(walk, found, &mut nic);
                match nics.iter_mut().find(|known| same(known, &nic)) {
                    Some(known) => fill(known, nic),
                    None => nics.push(nic),
                }
            }
        }
    }
    for (at, found) in walk.of(Resource::NetworkAdapter) {
        let silent = walk.of(Resource::NetworkFunction).chain(walk.of(Resource::NetworkPort));
        let silent = silent.filter(|(_, port)| port.from == Some(at)).all(|(_, port)| parts::nic(&port.body).is_none());
        let ports = Fields(&found.body).list("PhysicalPorts").filter_map(parts::nic).next().is_some();
        if silent && !ports && !Fields(&found.body).is_absent() {
            gaps.push(Gap { at: found.path.clone(), reason: "none of its ports tells an Ethernet address".into() });
        }
    }
    nics
}

/// Model, serial number and place of the card that a port is on.
fn card(walk: &Walk, port: &Found, nic: &mut Nic) {
    let mut at = Some(port);
    while let Some(found) = at {
        if found.kind == Resource::NetworkAdapter {
            let fields = Fields(&found.body);
            let label = ["Location/PartLocation/ServiceLabel", "Controllers/Location/PartLocation/ServiceLabel", "Id"];
            nic.slot = fields.text(&label);
            nic.model = fields.text(&["Model"]);
            nic.serial = fields.text(&["SerialNumber"]);
            nic.firmware = fields.text(&["Controllers/FirmwarePackageVersion", "FirmwareVersion"]);
            return;
        }
        at = found.from.and_then(|at| walk.at(at));
    }
}

/// The burnt-in address decides where both tell it: a bond gives its address in use to all its members.
fn same(a: &Nic, b: &Nic) -> bool {
    match (a.permanent_mac, b.permanent_mac) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.mac == b.mac,
        _ => a.mac == b.mac || a.permanent_mac.or(a.mac) == b.permanent_mac.or(b.mac),
    }
}

fn fill(known: &mut Nic, nic: Nic) {
    known.permanent_mac = known.permanent_mac.or(nic.permanent_mac);
    known.port = known.port.take().or(nic.port);
    known.slot = known.slot.take().or(nic.slot);
    known.model = known.model.take().or(nic.model);
    known.serial = known.serial.take().or(nic.serial);
    known.speed_mbps = known.speed_mbps.or(nic.speed_mbps);
    known.link = known.link.or(nic.link);
    known.firmware = known.firmware.take().or(nic.firmware);
}

/// The firmware inventory without what only waits beside the running version, and BIOS and BMC where it leaves them out.
fn firmware(walk: &Walk, profile: Option<&BmcProfile>, bmc: &Controller) -> Vec<Firmware> {
    let aside = profile.map(|profile| profile.firmware_not_running.as_slice()).unwrap_or_default();
    let mut all: Vec<Firmware> = Vec::new();
    for (_, found) in walk.of(Resource::Firmware) {
        let id = Fields(&found.body).text(&["Id"]).unwrap_or_default();
        let Some(firmware) = parts::firmware(&found.body).filter(|_| !aside.iter().any(|pattern| pattern.fits(&id)))
        else {
            continue;
        };
        if !all.contains(&firmware) {
            all.push(firmware);
        }
    }
    let bios = walk.chosen().and_then(|(_, system)| Fields(&system.body).text(&["BiosVersion"]));
    for (component, version) in [("BIOS", bios), ("BMC", bmc.firmware.clone())] {
        let Some(version) = version else { continue };
        let told = |firmware: &Firmware| same_version(firmware.version.as_deref().unwrap_or_default(), &version);
        if !all.iter().any(told) {
            all.push(Firmware { component: Some(component.into()), version: Some(version), state: None });
        }
    }
    all
}

/// Whether two texts tell one version: `U58 v2.44 (01/17/2025)` and `2.44`.
fn same_version(a: &str, b: &str) -> bool {
    let numbers = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let words = words.map(|word| word.trim_start_matches(['v', 'V']).to_string());
        words.filter(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit())).collect()
    };
    a == b || !numbers(a).is_disjoint(&numbers(b))
}
