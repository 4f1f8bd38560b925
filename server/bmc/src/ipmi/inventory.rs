//! What IPMI tells of the machine: who it is, and which of its parts have an inventory, a presence sensor or a reading.
//!
//! Parts are told apart by their entity (kind and instance), which FRU records and sensors share: a power supply with
//! an inventory *and* a presence sensor is one power supply. Presence sensors count for a kind of part only where the
//! BMC keeps no inventory of that kind, since not every board numbers both alike. IPMI has no words for network
//! ports, capacities of disks or cores; what a list leaves open stands in the gaps.

use super::entity::Entity;
use super::fru::{Fru, Store};
use super::record::{FruLocator, Records, Sensor};
use super::sensors::{Answer, askable};
use super::visit::{Visit, is_answer};
use super::{APP, TRANSPORT, Turn, convert, fru, guid, packet, power, sdr, sensors, spd};
use crate::ipmi::session::Command;
use crate::{Controller, Drive, Fan, Fault, Firmware, Gap, Hardware, Health, Memory, Other, PowerSupply, Processor};
use muster_names::Mac;
use std::collections::{BTreeMap, BTreeSet};

const BMC: u8 = 0x20;
const THRESHOLDS: u8 = 0x01;
const SPECIFIC: u8 = 0x6f;

const FAN: u8 = 0x04;
const ENTITY_PRESENCE: u8 = 0x25;

/// A kind of part: its entities, the type of sensor that tells its presence, and at which offset.
struct Part {
    what: &'static str,
    entities: &'static [u8],
    sensor: u8,
    present: u8,
}

const PROCESSOR: Part = Part { what: "processors", entities: &[0x03, 0x09, 0x41], sensor: 0x07, present: 7 };
const MEMORY: Part = Part { what: "memory", entities: &[0x08, 0x20], sensor: 0x0c, present: 6 };
const DRIVE: Part = Part { what: "drives", entities: &[0x04, 0x1a], sensor: 0x0d, present: 0 };
const SUPPLY: Part = Part { what: "power_supplies", entities: &[0x0a], sensor: 0x08, present: 0 };
const PARTS: [&Part; 4] = [&PROCESSOR, &MEMORY, &DRIVE, &SUPPLY];

pub async fn inspect(visit: Visit<'_>) -> Result<Hardware, Fault> {
    let mut found = Found::default();
    let (mut hardware, machine) = visit.turn(whole).await?;
    found.machine = found.inventory("FRU 0", machine).and_then(|bytes| Fru::read(&bytes));
    let records = match visit.turn(sdr::records).await {
        Err(fault) if is_answer(&fault) => {
            found.gap("sensor data repository", fault.to_string());
            Default::default()
        }
        read => read?,
    };
    for (id, code) in &records.unread {
        found.gap(&format!("sensor data record {id:04x}h"), format!("completion code {code:02x}h"));
    }
    found.answers = sensors::ask_all(visit, askable(&records, tells_of_parts)).await?;
    for locator in devices(&records) {
        let name = locator.name.clone().unwrap_or_else(|| format!("FRU {:02x}h", locator.device));
        if found.is_absent(locator.entity) {
            continue;
        }
        if locator.access != BMC || !locator.logical {
            found.gap(&name, format!("its inventory is behind controller {:02x}h", locator.access));
            continue;
        }
        let store = visit.turn(async |turn| fru::read(turn, locator.device, locator.lun).await).await?;
        if let Some(bytes) = found.inventory(&name, store) {
            found.devices.push((locator, bytes));
        }
    }
    found.tell(&records, &mut hardware);
    Ok(hardware)
}

/// What is told of the machine as a whole, and its own inventory.
async fn whole(turn: &mut Turn<'_>) -> Result<(Hardware, Store), Fault> {
    let power = Some(power(turn).await?);
    let device = turn.ask(Command::new(APP, 0x01, &[]), "its device id").await?;
    let (maker_number, product_number) = maker(&device);
    let mac = mac(turn).await?;
    let bmc = Controller { firmware: version(&device), maker_number, product_number, mac, ..Controller::default() };
    let hardware = Hardware { power, uuid: uuid(turn).await?, bmc, ..Hardware::default() };
    Ok((hardware, fru::read(turn, 0x00, 0).await?))
}

/// Get System GUID; a BMC without one is no error.
async fn uuid(turn: &mut Turn<'_>) -> Result<Option<String>, Fault> {
    let (code, told) = turn.reply(Command::new(APP, 0x37, &[])).await?;
    Ok(packet::array(&told, 0).filter(|_| code == 0).and_then(guid::likely))
}

pub fn version(device: &[u8]) -> Option<String> {
    match device {
        [_, _, major, minor, ..] => Some(format!("{}.{minor:02x}", major & 0x7f)),
        _ => None,
    }
}

/// The maker's enterprise number and its own number for the product, from Get Device ID.
fn maker(device: &[u8]) -> (Option<u32>, Option<u16>) {
    match device {
        [_, _, _, _, _, _, low, middle, high, product, more, ..] => {
            (Some(u32::from_le_bytes([*low, *middle, high & 0x0f, 0])), Some(u16::from_le_bytes([*product, *more])))
        }
        _ => (None, None),
    }
}

/// Get LAN Configuration, parameter 5, of the channel we came by; where that has no name, of channel 1.
async fn mac(turn: &mut Turn<'_>) -> Result<Option<Mac>, Fault> {
    for channel in [0x0e, 0x01] {
        if let (0x00, answer) = turn.reply(Command::new(TRANSPORT, 0x02, &[channel, 0x05, 0, 0])).await?
            && let Some(mac) = packet::array(&answer, 1)
        {
            return Ok(Some(Mac(mac)).filter(|mac| mac.0 != [0; 6] && mac.0 != [0xff; 6]));
        }
    }
    Ok(None)
}

fn tells_of_parts(sensor: &Sensor) -> bool {
    match sensor.kind {
        FAN => sensor.event == THRESHOLDS,
        ENTITY_PRESENCE => sensor.event == SPECIFIC,
        kind => sensor.event == SPECIFIC && PARTS.iter().any(|part| part.sensor == kind),
    }
}

/// Each device once; the machine's own has been read. Entities 0 to 2 and 0bh are what boards call anything.
fn devices(records: &Records) -> Vec<&FruLocator> {
    let mut seen = BTreeSet::from([(BMC, 0, 0)]);
    let told = |locator: &&FruLocator| {
        let id = locator.entity.id;
        id <= 0x02 || id == 0x0b || PARTS.iter().any(|part| part.entities.contains(&id))
    };
    let unlike = |locator: &&FruLocator| seen.insert((locator.access, locator.lun, locator.device));
    records.frus.iter().filter(told).filter(unlike).collect()
}

/// What was read, before it is sorted into lists.
#[derive(Default)]
struct Found<'a> {
    machine: Option<Fru>,
    answers: Vec<(&'a Sensor, Answer)>,
    devices: Vec<(&'a FruLocator, Vec<u8>)>,
    gaps: Vec<Gap>,
}

impl Found<'_> {
    fn gap(&mut self, at: &str, reason: impl Into<String>) {
        self.gaps.push(Gap { at: at.into(), reason: reason.into() });
    }

    /// The bytes of an inventory, or a gap; what is absent is neither.
    fn inventory(&mut self, at: &str, store: Store) -> Option<Vec<u8>> {
        match store {
            Store::Bytes(bytes) => return Some(bytes),
            Store::Absent => {}
            Store::Unread(why) => self.gap(at, why),
        }
        None
    }

    /// A sensor says that there is no such thing now: one of entity presence, or the part's own.
    fn is_absent(&self, entity: Entity) -> bool {
        let says = |(sensor, answer): &(&Sensor, Answer)| {
            let own = PARTS.iter().find(|part| part.sensor == sensor.kind && part.entities.contains(&entity.id));
            let told = match (sensor.kind, own) {
                (ENTITY_PRESENCE, _) => answer.has(1),
                (_, Some(part)) => answer.has(part.present).map(|present| !present && answer.has_nothing()),
                _ => None,
            };
            sensor.entity == entity && told == Some(true)
        };
        self.answers.iter().any(says)
    }

    /// How the entity's sensors of this kind say it is.
    fn health(&self, part: &Part, entity: Entity) -> Option<String> {
        let own = self.answers.iter().filter(|(sensor, _)| sensor.kind == part.sensor && sensor.entity == entity);
        own.filter(|(_, answer)| !answer.is_silent())
            .map(|(sensor, answer)| answer.states(sensor).1)
            .max()
            .and_then(word)
    }

    /// The places whose own sensor says that something is in them.
    fn present(&self, part: &Part) -> Vec<(Entity, String)> {
        let mut places = BTreeMap::new();
        for (sensor, answer) in &self.answers {
            let own = sensor.kind == part.sensor && part.entities.contains(&sensor.entity.id);
            if own && answer.has(part.present) == Some(true) && !self.is_absent(sensor.entity) {
                places.entry(sensor.entity).or_insert_with(|| slot(sensor.name.as_deref(), sensor.entity));
            }
        }
        places.into_iter().collect()
    }

    fn tell(mut self, records: &Records, hardware: &mut Hardware) {
        if let Some(machine) = self.machine.take() {
            hardware.serial = machine.serial.or(machine.chassis_serial);
            (hardware.manufacturer, hardware.model) = (machine.manufacturer, machine.model);
        }
        let own = records.controllers.iter().find(|controller| controller.address == BMC);
        hardware.bmc.model = own.and_then(|controller| controller.name.clone());
        let version = hardware.bmc.firmware.clone();
        hardware.firmware.push(Firmware { component: Some("BMC".into()), version, state: None });
        let (serial, uuid) = (hardware.serial.clone(), hardware.uuid.clone());
        hardware.systems.push(Other { serial, uuid, this: true });
        self.tell_devices(hardware);
        self.tell_presence(hardware);
        self.tell_fans(records, hardware);
        let empty = [
            (PROCESSOR.what, hardware.processors.is_empty()),
            (MEMORY.what, hardware.memory.is_empty()),
            (DRIVE.what, hardware.drives.is_empty()),
            (SUPPLY.what, hardware.power_supplies.is_empty()),
            ("fans", hardware.fans.is_empty() && !self.gaps.iter().any(|gap| gap.at == "fans")),
        ];
        for (what, _) in empty.into_iter().filter(|(_, empty)| *empty) {
            self.gap(what, "neither an inventory nor a sensor of this BMC tells of any");
        }
        self.gap("nics", "IPMI tells of no network ports but the BMC's own");
        hardware.gaps.append(&mut self.gaps);
    }

    fn tell_devices(&mut self, hardware: &mut Hardware) {
        let mut serials = BTreeSet::new();
        let devices = std::mem::take(&mut self.devices);
        let alike = |one: &FruLocator| devices.iter().filter(|(other, _)| other.name == one.name).count() > 1;
        for (locator, bytes) in &devices {
            let name = locator.name.as_deref().filter(|_| !alike(locator));
            let slot = slot(name, locator.entity);
            let id = locator.entity.id;
            let of = |part: &Part| part.entities.contains(&id);
            let known = Fru::read(bytes);
            if let Some(memory) = spd::read(bytes).filter(|_| known.is_none()) {
                if new(&mut serials, MEMORY.what, memory.serial.as_ref()) {
                    let health = self.health(&MEMORY, locator.entity);
                    hardware.memory.push(Memory { slot: Some(slot), health, ..memory });
                }
                continue;
            }
            let Some(fru) = known else {
                if PARTS.iter().any(|part| of(part)) {
                    self.gap(&slot, "its inventory is in no format we know");
                }
                continue;
            };
            let part = PARTS.into_iter().find(|part| of(part)).or(fru.watts.is_some().then_some(&SUPPLY));
            let Some(part) = part.filter(|part| new(&mut serials, part.what, fru.serial.as_ref())) else { continue };
            let health = self.health(part, locator.entity);
            push(hardware, part, Some(slot), fru, health);
        }
    }

    fn tell_presence(&self, hardware: &mut Hardware) {
        let without = [
            (&PROCESSOR, hardware.processors.is_empty()),
            (&MEMORY, hardware.memory.is_empty()),
            (&DRIVE, hardware.drives.is_empty()),
            (&SUPPLY, hardware.power_supplies.is_empty()),
        ];
        for (part, _) in without.into_iter().filter(|(_, empty)| *empty) {
            for (entity, slot) in self.present(part) {
                push(hardware, part, Some(slot), Fru::default(), self.health(part, entity));
            }
        }
    }

    /// Many boards have a sensor for each place where a fan could be; one without a reading is no fan.
    fn tell_fans(&mut self, records: &Records, hardware: &mut Hardware) {
        let mut silent = Vec::new();
        for (sensor, answer) in self.answers.iter().filter(|(sensor, _)| sensor.kind == FAN) {
            let name = records.name(sensor);
            let Some(value) = answer.value() else {
                silent.push(name);
                continue;
            };
            let percent = convert::unit(sensor.units).as_deref() == Some("percent");
            let whole = Some(value).filter(|value| (0.0..1e9).contains(value)).map(|value| value.round() as u32);
            let health = word(answer.states(sensor).1);
            let (rpm, percent) = if percent { (None, whole) } else { (whole, None) };
            hardware.fans.push(Fan { slot: Some(name), rpm, percent, health });
        }
        if !silent.is_empty() {
            self.gap("fans", format!("no reading from {}", silent.join(", ")));
        }
    }
}

/// Whether this is the first part of its kind with this serial number.
fn new(serials: &mut BTreeSet<(&'static str, String)>, what: &'static str, serial: Option<&String>) -> bool {
    serial.is_none_or(|serial| serials.insert((what, serial.clone())))
}

fn push(hardware: &mut Hardware, part: &Part, slot: Option<String>, fru: Fru, health: Option<String>) {
    let Fru { manufacturer, model, part_number, serial, watts, .. } = fru;
    match part.sensor {
        0x07 => {
            let kind = Some("CPU".into());
            let processor = Processor { slot, kind, manufacturer, model, serial, health, ..Processor::default() };
            hardware.processors.push(processor);
        }
        0x0c => {
            let part_number = part_number.or(model);
            let memory = Memory { slot, manufacturer, part_number, serial, health, ..Memory::default() };
            hardware.memory.push(memory);
        }
        0x0d => {
            hardware.drives.push(Drive { bay: slot, manufacturer, model, serial, health, ..Drive::default() });
        }
        _ => hardware.power_supplies.push(PowerSupply {
            slot,
            manufacturer,
            model,
            part_number,
            serial,
            watts,
            health,
            firmware: None,
        }),
    }
}

/// As Redfish says it; unknown is not said.
fn word(health: Health) -> Option<String> {
    match health {
        Health::Ok => Some("OK".into()),
        Health::Warning => Some("Warning".into()),
        Health::Critical => Some("Critical".into()),
        Health::Unknown => None,
    }
}

/// The place in the name of its sensor or inventory: `PS1` of `PS1 Status`, `DIMM_A1` of `DIMM_A1 FRU`. A name that says
/// nothing of a place leaves the entity's.
fn slot(name: Option<&str>, entity: Entity) -> String {
    const TAILS: [&str; 9] = ["fru", "status", "stat", "presence", "present", "prsnt", "state", "inventory", "detect"];
    let is_between = |c: char| matches!(c, ' ' | '_' | '-' | '.' | ':');
    let is_tail = |word: &str| TAILS.contains(&word.to_ascii_lowercase().as_str());
    let mut place = name.unwrap_or_default();
    while let Some((head, _)) = place.rsplit_once(is_between).filter(|(_, tail)| is_tail(tail)) {
        place = head.trim_end_matches(is_between);
    }
    match place.is_empty() || is_tail(place) {
        true => entity.to_string(),
        false => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_place_in_a_name_or_the_entity() {
        let told = |name| slot(name, Entity { id: 0x0a, instance: 1 });
        let rows = [
            (Some("PS1 Status"), "PS1"),
            (Some("PSU2_FRU"), "PSU2"),
            (Some("DIMM_A1"), "DIMM_A1"),
            (Some("PSU1 FRU Presence"), "PSU1"),
            (Some("Status"), "power supply 1"),
            (Some(" FRU"), "power supply 1"),
            (None, "power supply 1"),
        ];
        for (name, expected) in rows {
            assert_eq!(told(name), expected, "{name:?}");
        }
    }
}
