//! What a BMC tells of the machine behind it, whatever protocol it speaks: the out-of-band twin of the agent's inventory.
//!
//! It is a thing of its own and not `names::Inventory`: a BMC knows power supplies, fans and bays and no disk by its
//! world-wide name, the agent the other way round, and the two are compared rather than mixed. What was not told is
//! `None` and stands as null in JSON; a list is as long as what was told, and [`Hardware::gaps`] says what could not be
//! read, so that an empty list is never taken for an empty machine.

use muster_names::{Mac, Power};
use serde::Serialize;
use std::cmp::Ordering;

/// One machine, as its BMC tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hardware {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    /// As the BMC names it. Where the maker's SMBIOS has another number, that one is in `sku`.
    pub serial: Option<String>,
    pub sku: Option<String>,
    /// Lower case. IPMI leaves the byte order open; then it is SMBIOS's.
    pub uuid: Option<String>,
    /// `None`: not told. `unknown`: told, and neither on nor off.
    pub power: Option<Power>,
    pub bmc: Controller,
    pub processors: Vec<Processor>,
    pub memory: Vec<Memory>,
    pub drives: Vec<Drive>,
    pub nics: Vec<Nic>,
    pub power_supplies: Vec<PowerSupply>,
    pub fans: Vec<Fan>,
    pub firmware: Vec<Firmware>,
    /// Every system that the BMC serves, this one among them.
    pub systems: Vec<Other>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
}

/// The BMC itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Controller {
    /// The id of the profile that knows this kind of BMC; `None` where none does.
    pub profile: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    /// IANA enterprise number of its maker (IPMI).
    pub maker_number: Option<u32>,
    /// The maker's own number for it (IPMI).
    pub product_number: Option<u16>,
    pub mac: Option<Mac>,
    /// SHA-256 of the public key behind the address: what to pin.
    pub tls_pin: Option<String>,
}

/// A populated socket, or an accelerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Processor {
    pub slot: Option<String>,
    /// `CPU`, `GPU`, `FPGA`: the BMC's word.
    pub kind: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub cores: Option<u32>,
    pub threads: Option<u32>,
    pub health: Option<String>,
}

/// A populated memory slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    pub slot: Option<String>,
    pub manufacturer: Option<String>,
    pub part_number: Option<String>,
    pub serial: Option<String>,
    pub size_mib: Option<u64>,
    pub speed_mts: Option<u32>,
    /// `DDR4`, ...
    pub kind: Option<String>,
    pub health: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drive {
    pub bay: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub size_bytes: Option<u64>,
    /// `SSD`, `HDD`: the BMC's word.
    pub kind: Option<String>,
    /// `SATA`, `SAS`, `NVMe`.
    pub protocol: Option<String>,
    pub firmware: Option<String>,
    pub health: Option<String>,
}

/// One port with an Ethernet address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// The address in use.
    pub mac: Option<Mac>,
    /// The one it was made with, where the BMC tells it.
    pub permanent_mac: Option<Mac>,
    /// The port, as the BMC names it.
    pub port: Option<String>,
    /// Of the card that it is on, and so are model, serial number and firmware.
    pub slot: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub speed_mbps: Option<u32>,
    pub link: Option<bool>,
    pub firmware: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PowerSupply {
    pub slot: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub part_number: Option<String>,
    pub serial: Option<String>,
    pub watts: Option<u32>,
    pub firmware: Option<String>,
    pub health: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fan {
    pub slot: Option<String>,
    pub rpm: Option<u32>,
    pub percent: Option<u32>,
    pub health: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Firmware {
    pub component: Option<String>,
    pub version: Option<String>,
    /// Where it is not the one that runs: `StandbySpare` and the like.
    pub state: Option<String>,
}

/// A system that the same BMC serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Other {
    pub serial: Option<String>,
    pub uuid: Option<String>,
    /// The one that was read.
    pub this: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The resource, record or sensor.
    pub at: String,
    pub reason: String,
}

/// Whether a place comes before another as people count: `DIMM A2` before `DIMM A10`, what has no place last.
pub(crate) fn by_place(a: &Option<String>, b: &Option<String>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => pieces(a).cmp(&pieces(b)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Text and numbers in turn.
fn pieces(text: &str) -> Vec<(String, u64)> {
    let mut pieces: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut in_number = false;
    for c in text.chars() {
        let digit = c.to_digit(10).map(u64::from);
        if digit.is_none() && in_number {
            pieces.push((String::new(), 0));
        }
        in_number = digit.is_some();
        let Some((word, number)) = pieces.last_mut() else { continue };
        match digit {
            Some(digit) => *number = number.saturating_mul(10).saturating_add(digit),
            None => word.push(c),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_as_people_count() {
        let mut places =
            ["B1", "A10", "A2", "A1", "Slot 3 Bay 10", "Slot 3 Bay 9"].map(|place| Some(place.to_string()));
        places.sort_by(by_place);
        assert_eq!(places.map(Option::unwrap), ["A1", "A2", "A10", "B1", "Slot 3 Bay 9", "Slot 3 Bay 10"]);
        let mut one = [None, Some("A".to_string())];
        one.sort_by(by_place);
        assert_eq!(one, [Some("A".to_string()), None]);
    }
}
