//! One part of a machine from one Redfish resource: what of it is told, and every name its place may have.
//!
//! A reader answers `None` for a place with nothing in it. BMCs list empty sockets, bays and fan slots beside full
//! ones, most as `Absent`, some as enabled with a size of zero; a part of which only its place is told counts where
//! the BMC says that it is enabled.

use super::fields::Fields;
use crate::{Drive, Fan, Firmware, Memory, Nic, PowerSupply, Processor};
use serde_json::Value;

/// A part, and what its place may be called, the best name first.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    pub part: T,
    pub names: Vec<Option<String>>,
}

/// The names that a place has in the standard, oldest last; `own` are a kind's own fields, which come first.
fn places(fields: Fields<'_>, own: &[&str]) -> Vec<Option<String>> {
    let ordinal = |at: &str| {
        let number = fields.count(&[&format!("{at}/LocationOrdinalValue")])?;
        let kind = fields.text(&[&format!("{at}/LocationType")]).unwrap_or_else(|| "Slot".into());
        Some(format!("{kind} {number}"))
    };
    let bay = fields.oem("BayNumber").map(|number| format!("Bay {number}"));
    let mut names: Vec<Option<String>> = own.iter().map(|name| fields.text(&[name])).collect();
    names.extend([
        fields.text(&["Location/PartLocation/ServiceLabel", "PhysicalLocation/PartLocation/ServiceLabel"]),
        fields.text(&["PhysicalLocation/Info", "Location/Info"]),
        bay,
        ordinal("PhysicalLocation/PartLocation").or_else(|| ordinal("Location/PartLocation")),
        fields.text(&["Name"]),
        fields.text(&["Id", "MemberId"]),
    ]);
    names
}

/// Whether something is there: told in so many words, or by what is known of it.
fn is_there(fields: Fields<'_>, size: Option<u64>, known: &[&Option<String>]) -> bool {
    let known = known.iter().any(|text| text.is_some());
    match size {
        _ if fields.is_absent() => false,
        Some(0) => known,
        Some(_) => true,
        None => known || fields.is_enabled(),
    }
}

pub fn processor(body: &Value) -> Option<Placed<Processor>> {
    let fields = Fields(body);
    let part = Processor {
        slot: None,
        kind: fields.text(&["ProcessorType"]),
        manufacturer: fields.text(&["Manufacturer"]),
        model: fields.text(&["Model", "ProcessorId/ModelName"]),
        serial: fields.text(&["SerialNumber"]),
        cores: fields.small(&["TotalCores", "TotalEnabledCores"]),
        threads: fields.small(&["TotalThreads"]),
        health: fields.health(),
    };
    let known = [&part.model, &part.serial, &part.manufacturer];
    is_there(fields, None, &known).then(|| Placed { part, names: places(fields, &["Socket"]) })
}

pub fn memory(body: &Value) -> Option<Placed<Memory>> {
    let fields = Fields(body);
    let part = Memory {
        slot: None,
        manufacturer: fields.text(&["Manufacturer"]),
        part_number: fields.text(&["PartNumber"]),
        serial: fields.text(&["SerialNumber"]),
        size_mib: fields.count(&["CapacityMiB", "SizeMB"]),
        speed_mts: fields.small(&["OperatingSpeedMhz", "MaximumFrequencyMHz"]),
        kind: fields.text(&["MemoryDeviceType", "DIMMType"]),
        health: fields.health(),
    };
    let known = [&part.part_number, &part.serial];
    let there = is_there(fields, part.size_mib, &known);
    there.then(|| {
        let mut names = places(fields, &["DeviceLocator", "SocketLocator", "DIMMLocation"]);
        names.insert(names.len().saturating_sub(1), channel(fields));
        Placed { part, names }
    })
}

/// The place as a memory controller counts it.
fn channel(fields: Fields<'_>) -> Option<String> {
    let [socket, channel, slot] =
        ["Socket", "Channel", "Slot"].map(|name| fields.count(&[&format!("MemoryLocation/{name}")]));
    Some(format!("Socket {} Channel {} Slot {}", socket?, channel?, slot?))
}

pub fn drive(body: &Value) -> Option<Placed<Drive>> {
    let fields = Fields(body);
    let scaled = |name: &str, by: u64| fields.count(&[name]).and_then(|count| count.checked_mul(by));
    let size = fields.count(&["CapacityBytes"]);
    let size = size.or_else(|| scaled("CapacityMiB", 1 << 20)).or_else(|| scaled("CapacityGB", 1_000_000_000));
    let part = Drive {
        bay: None,
        manufacturer: fields.text(&["Manufacturer"]),
        model: fields.text(&["Model", "PartNumber"]),
        serial: fields.text(&["SerialNumber"]),
        size_bytes: size,
        kind: fields.text(&["MediaType"]),
        protocol: fields.text(&["Protocol", "InterfaceType"]),
        firmware: fields.text(&["Revision", "FirmwareVersion/Current/VersionString", "FirmwareVersion"]),
        health: fields.health(),
    };
    let known = [&part.model, &part.serial];
    is_there(fields, part.size_bytes, &known).then(|| Placed { part, names: places(fields, &["Location"]) })
}

pub fn power_supply(body: &Value) -> Option<Placed<PowerSupply>> {
    let fields = Fields(body);
    let part = PowerSupply {
        slot: None,
        manufacturer: fields.text(&["Manufacturer"]),
        model: fields.text(&["Model"]),
        part_number: fields.text(&["PartNumber", "SparePartNumber"]),
        serial: fields.text(&["SerialNumber"]),
        watts: fields.small(&["PowerCapacityWatts", "InputRanges/CapacityWatts", "InputRanges/OutputWattage"]),
        firmware: fields.text(&["FirmwareVersion"]),
        health: fields.health(),
    };
    let known = [&part.model, &part.serial, &part.part_number];
    is_there(fields, None, &known).then(|| {
        let mut names = places(fields, &[]);
        // A name that is spelled out beats that of the sensor that watches it.
        let id = fields.text(&["Id", "MemberId"]).filter(|id| id.contains(|c: char| c.is_ascii_alphabetic()));
        names.insert(names.len().saturating_sub(2), id);
        Placed { part, names }
    })
}

pub fn fan(body: &Value) -> Option<Placed<Fan>> {
    let fields = Fields(body);
    let percent = fields.text(&["ReadingUnits"]).is_some_and(|unit| unit.eq_ignore_ascii_case("percent"));
    let reading = fields.small(&["Reading", "CurrentReading"]);
    let part = Fan {
        slot: None,
        rpm: fields.small(&["SpeedPercent/SpeedRPM"]).or(reading.filter(|_| !percent)),
        percent: fields.small(&["SpeedPercent/Reading"]).or(reading.filter(|_| percent)),
        health: fields.health(),
    };
    let told = reading.is_some() || part.rpm.is_some() || part.health.is_some();
    let there = !fields.is_absent() && (told || fields.is_enabled());
    there.then(|| Placed { part, names: places(fields, &["FanName"]) })
}

pub fn firmware(body: &Value) -> Option<Firmware> {
    let fields = Fields(body);
    let state = fields.state().filter(|state| !state.eq_ignore_ascii_case("enabled"));
    let component = fields.text(&["Name", "SoftwareId", "Id"]);
    let version = fields.text(&["Version", "VersionString"]);
    (!fields.is_absent() && version.is_some()).then_some(Firmware { component, version, state })
}

/// One port from whichever resource tells its address; the card's own fields come from the adapter.
pub fn nic(body: &Value) -> Option<Nic> {
    let fields = Fields(body);
    let mac = fields.mac(&[
        "MACAddress",
        "MacAddress",
        "Ethernet/MACAddress",
        "Ethernet/AssociatedMACAddresses",
        "AssociatedNetworkAddresses",
    ]);
    let permanent_mac = fields.mac(&["PermanentMACAddress", "Ethernet/PermanentMACAddress"]);
    let link = fields.text(&["LinkStatus"]).and_then(|word| match word.to_ascii_lowercase().as_str() {
        "linkup" | "up" => Some(true),
        "linkdown" | "nolink" | "down" => Some(false),
        _ => None,
    });
    let speed = fields.small(&["SpeedMbps", "CurrentLinkSpeedMbps"]);
    let speed = speed.or_else(|| fields.small(&["CurrentSpeedGbps"]).and_then(|speed| speed.checked_mul(1000)));
    let port = fields.text(&["Id", "Name"]);
    let nic = Nic {
        port,
        mac: mac.or(permanent_mac),
        permanent_mac,
        link,
        speed_mbps: speed.filter(|speed| *speed > 0),
        ..Nic::default()
    };
    nic.mac.is_some().then_some(nic)
}
