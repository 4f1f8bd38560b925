//! Where a machine stands, by what several witnesses say at once.
//!
//! A cable is swapped sooner than a label, and a layout is wrong sooner than both. So one witness alone is only
//! single evidence; two that agree verify a place; two that contradict each other are told to a person, both by name.
//! Serial and MAC are the machine's own word and count as one witness together: they say which machine it is, not
//! that it stands where the layout has it. A place is therefore verified only with a switch port among the witnesses.

use crate::{Catalog, Placed};
use muster_names::{Mac, Place, SwitchPort};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// A DHCP relay's circuit and remote id.
    Option82,
    /// The machine's own look at the other end of its cable.
    Lldp,
    /// The switch's tables of addresses or neighbours.
    SwitchTables,
    Serial,
    Mac,
}

impl Witness {
    fn is_port(self) -> bool {
        matches!(self, Self::Option82 | Self::Lldp | Self::SwitchTables)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Option82 => "option 82",
            Self::Lldp => "LLDP",
            Self::SwitchTables => "the switch's tables",
            Self::Serial => "the serial number",
            Self::Mac => "the MAC address",
        })
    }
}

/// What is known of a machine's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Signs {
    /// Switch ports it was seen at, and by whom.
    pub ports: Vec<(Witness, SwitchPort)>,
    pub serial: Option<String>,
    pub macs: Vec<Mac>,
}

/// A machine of a layout, and who says that it is this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Spot {
    /// The machine's name in the layout.
    pub name: String,
    pub place: Place,
    /// Sorted, without duplicates.
    pub witnesses: Vec<Witness>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Located {
    /// At least two witnesses agree, a switch port among them.
    Verified(Spot),
    /// One witness only.
    Single(Spot),
    /// The witnesses contradict each other: a sentence that names both sides.
    Conflict(String),
    Unknown,
}

pub fn locate(catalog: &Catalog, signs: &Signs) -> Located {
    let said = statements(catalog, signs);
    let Some((first_witness, first_words, first)) = said.first() else { return Located::Unknown };
    if let Some((witness, words, other)) = said.iter().find(|(.., placed)| placed.place() != first.place()) {
        return Located::Conflict(format!(
            "{first_witness} says {first_words}, which is {} at {}, but {witness} says {words}, which is {} at {}; \
             mend the cabling, move the machine or mend the layout",
            first.machine.name,
            first.place(),
            other.machine.name,
            other.place(),
        ));
    }
    if let Some(conflict) = at_a_foreign_port(signs, first, *first_witness, first_words) {
        return Located::Conflict(conflict);
    }
    let mut witnesses: Vec<Witness> = said.iter().map(|(witness, ..)| *witness).collect();
    witnesses.sort_unstable();
    witnesses.dedup();
    let ports = witnesses.iter().filter(|witness| witness.is_port()).count();
    let itself = usize::from(witnesses.len() > ports);
    let spot = Spot { name: first.machine.name.clone(), place: first.place(), witnesses };
    if ports >= 1 && ports + itself >= 2 { Located::Verified(spot) } else { Located::Single(spot) }
}

/// Every sign that some layout knows: who says it, what, and which machine that is.
fn statements<'c>(catalog: &'c Catalog, signs: &Signs) -> Vec<(Witness, String, Placed<'c>)> {
    let ports = signs
        .ports
        .iter()
        .filter_map(|(witness, port)| Some((*witness, port.to_string(), catalog.machine_by_port(port)?)));
    let serial = signs.serial.as_deref().map(str::trim).filter(|serial| !serial.is_empty());
    let serial =
        serial.and_then(|serial| Some((Witness::Serial, serial.to_owned(), catalog.machine_by_serial(serial)?)));
    let macs = signs.macs.iter().filter_map(|mac| Some((Witness::Mac, mac.to_string(), catalog.machine_by_mac(*mac)?)));
    ports.chain(serial).chain(macs).collect()
}

/// The machine is known, but it was also seen at a port of one of its own switches that the layout does not give it.
fn at_a_foreign_port(signs: &Signs, placed: &Placed<'_>, by: Witness, words: &str) -> Option<String> {
    let ports = &placed.machine.ports;
    let (witness, port) = signs
        .ports
        .iter()
        .find(|(_, seen)| !ports.contains(seen) && ports.iter().any(|port| port.switch == seen.switch))?;
    let own: Vec<String> = ports.iter().map(ToString::to_string).collect();
    Some(format!(
        "{by} says {words}, which is {} at {} on {}, but {witness} says {port}, which the layout gives to no machine; \
         mend the cabling or add the port to the layout",
        placed.machine.name,
        placed.place(),
        own.join(", "),
    ))
}
