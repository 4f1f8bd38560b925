//! What the records of a sensor data repository say (IPMI 2.0, section 43): pure, and total on any bytes.
//!
//! A record that is too short for its type is left out; a type that says nothing of sensors, FRUs or controllers
//! too. One compact record may stand for up to fifteen sensors; here each of them is one [`Sensor`].

use super::convert::Analog;
use super::entity::Entity;
use super::{field, states};

const FULL: u8 = 0x01;
const COMPACT: u8 = 0x02;
const EVENT_ONLY: u8 = 0x03;
const FRU_LOCATOR: u8 = 0x11;
const MC_LOCATOR: u8 = 0x12;

#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Slave address of the controller that has the sensor; odd for software.
    pub owner: u8,
    pub lun: u8,
    pub number: u8,
    pub entity: Entity,
    /// Sensor type (table 42-3).
    pub kind: u8,
    /// Event/reading type: 01h thresholds, 02h to 0ch generic, 6fh by sensor type.
    pub event: u8,
    /// Which thresholds are compared, as in the last byte of a reading: lower ones in bits 0 to 2, upper in 3 to 5.
    pub compared: u8,
    /// The raw thresholds that its record has, in that order; `None` where it says that there is none.
    pub limits: [Option<u8>; 6],
    pub units: [u8; 3],
    /// `None`: it tells states and no number.
    pub analog: Option<Analog>,
    /// Event-only sensors cannot be asked.
    pub readable: bool,
    pub name: Option<String>,
}

/// Where a field replaceable unit keeps its inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FruLocator {
    /// Slave address of the controller that gives access.
    pub access: u8,
    /// The number to ask for, of a logical device.
    pub device: u8,
    /// Read through the controller by number; otherwise a chip on a bus behind it.
    pub logical: bool,
    pub lun: u8,
    pub entity: Entity,
    pub name: Option<String>,
}

/// A management controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    pub address: u8,
    pub name: Option<String>,
}

/// A repository, sorted by what its records are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    pub sensors: Vec<Sensor>,
    pub frus: Vec<FruLocator>,
    pub controllers: Vec<Controller>,
    /// Records whose body was refused, and the completion code.
    pub unread: Vec<(u16, u8)>,
}

impl Records {
    /// What a sensor is called here: as in its record; where another is called so too, with what it belongs to. Some
    /// makers call every supply's sensor "Status". One without a name has its type's.
    pub fn name(&self, sensor: &Sensor) -> String {
        let id = |one: &Sensor| (one.owner, one.lun, one.number);
        let plain = || format!("{} {:02x}h", states::type_name(sensor.kind).unwrap_or("sensor"), sensor.number);
        let name = sensor.name.clone().unwrap_or_else(plain);
        let alike = || self.sensors.iter().filter(|one| one.name == sensor.name && id(one) != id(sensor));
        match sensor.entity {
            _ if sensor.name.is_none() || alike().next().is_none() => name,
            entity if alike().any(|one| one.entity == entity) => format!("{name} ({entity}, {:02x}h)", sensor.number),
            entity => format!("{name} ({entity})"),
        }
    }

    /// Takes one record with its five bytes of head.
    pub fn add(&mut self, record: &[u8]) {
        match record.get(3) {
            Some(&FULL) => self.sensors.extend(full(record)),
            Some(&COMPACT) => self.sensors.extend(shared(record, compact(record), 23)),
            Some(&EVENT_ONLY) => self.sensors.extend(shared(record, event_only(record), 12)),
            Some(&FRU_LOCATOR) => self.frus.extend(fru(record)),
            Some(&MC_LOCATOR) => self.controllers.extend(controller(record)),
            _ => {}
        }
    }
}

/// What full and compact records have in common.
fn common(record: &[u8]) -> Option<Sensor> {
    let mask = |at: usize| record.get(at).map(|byte| byte >> 4 & 0x07);
    Some(Sensor {
        owner: *record.get(5)?,
        lun: record.get(6)? & 0x03,
        number: *record.get(7)?,
        entity: Entity { id: *record.get(8)?, instance: *record.get(9)? },
        kind: *record.get(12)?,
        event: record.get(13)? & 0x7f,
        // The lower and the upper thresholds' comparisons that come back, and those that can be read.
        limits: [None; 6],
        compared: mask(15)? | mask(17)? << 3 | record.get(18)? & 0x3f,
        units: [*record.get(20)?, *record.get(21)?, *record.get(22)?],
        analog: None,
        readable: true,
        name: None,
    })
}

fn full(record: &[u8]) -> Option<Sensor> {
    let analog = Analog::read(record.get(20)? >> 6, *record.get(23)?, record.get(24..30)?);
    let name = record.get(47..).and_then(field::id_string);
    let sensor = common(record)?;
    // A sensor with states is a full record on some boards, its factors all zero.
    let measures = sensor.event == 0x01 || sensor.units.get(1).is_some_and(|base| *base != 0);
    // They stand from the upper non-recoverable one down to the lower non-critical, each group of three from its worst.
    let readable = record.get(18)?;
    let limit =
        |bit: u8, at: usize| record.get(at).copied().filter(|_| sensor.event == 0x01 && readable & 1 << bit != 0);
    let limits = [limit(0, 41), limit(1, 40), limit(2, 39), limit(3, 38), limit(4, 37), limit(5, 36)];
    Some(Sensor { analog: analog.filter(|_| measures), limits, name, ..sensor })
}

fn compact(record: &[u8]) -> Option<Sensor> {
    Some(Sensor { name: record.get(31..).and_then(field::id_string), ..common(record)? })
}

fn event_only(record: &[u8]) -> Option<Sensor> {
    Some(Sensor {
        owner: *record.get(5)?,
        lun: record.get(6)? & 0x03,
        number: *record.get(7)?,
        entity: Entity { id: *record.get(8)?, instance: *record.get(9)? },
        kind: *record.get(10)?,
        event: record.get(11)? & 0x7f,
        compared: 0,
        limits: [None; 6],
        units: [0; 3],
        analog: None,
        readable: false,
        name: record.get(16..).and_then(field::id_string),
    })
}

/// The sensors that one record stands for; the two bytes at `sharing` say how many, and how their names go on.
fn shared(record: &[u8], sensor: Option<Sensor>, sharing: usize) -> Vec<Sensor> {
    let Some(sensor) = sensor else { return Vec::new() };
    let (first, second) = (record.get(sharing).copied().unwrap_or(0), record.get(sharing + 1).copied().unwrap_or(0));
    let count = (first & 0x0f).max(1);
    let moves = second & 0x80 != 0;
    let numbered = |at: u8| {
        let name = sensor.name.clone()?;
        let place = u16::from(second & 0x7f) + u16::from(at);
        match first >> 4 & 0x03 {
            _ if count == 1 => Some(name),
            0b01 => Some(format!("{name}{}", letters(place))),
            _ => Some(format!("{name}{place}")),
        }
    };
    (0..count)
        .map(|at| {
            let instance = sensor.entity.instance.wrapping_add(if moves { at } else { 0 });
            Sensor {
                number: sensor.number.wrapping_add(at),
                entity: Entity { instance, ..sensor.entity },
                name: numbered(at),
                ..sensor.clone()
            }
        })
        .collect()
}

/// A to Z, then AA to ...
fn letters(place: u16) -> String {
    let letter = |at: u16| char::from(b'A' + u8::try_from(at % 26).unwrap_or(0));
    match place.checked_sub(26) {
        None => letter(place).to_string(),
        Some(beyond) => [letter(beyond / 26), letter(beyond)].iter().collect(),
    }
}

fn fru(record: &[u8]) -> Option<FruLocator> {
    let logical = *record.get(7)?;
    Some(FruLocator {
        access: *record.get(5)?,
        device: *record.get(6)?,
        logical: logical & 0x80 != 0,
        lun: logical >> 3 & 0x03,
        entity: Entity { id: *record.get(12)?, instance: *record.get(13)? },
        name: record.get(15..).and_then(field::id_string),
    })
}

fn controller(record: &[u8]) -> Option<Controller> {
    Some(Controller { address: *record.get(5)?, name: record.get(15..).and_then(field::id_string) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn read(record: &[u8]) -> Records {
        let mut records = Records::default();
        records.add(record);
        records
    }

    const FULL_RECORD: &str = "0100 51 01 33 20 00 01 03 01 67 68 01 01 800a 807a 3838 00 01 00 00 01 00 00 00 00 00 00 30 60 \
                               10 ff 00 a0 90 70 00 00 00 00 00 00 00 00 c8 435055 54454d5031";

    #[test]
    fn a_full_record_measures() {
        let [sensor] = read(&hex(FULL_RECORD)).sensors.try_into().unwrap();
        assert_eq!((sensor.owner, sensor.number, sensor.kind, sensor.event), (0x20, 1, 1, 1));
        assert_eq!(sensor.entity, Entity { id: 3, instance: 1 });
        assert_eq!(sensor.name.as_deref(), Some("CPUTEMP1"));
        assert_eq!(sensor.compared, 0b111000, "upper thresholds only");
        assert_eq!(sensor.limits, [None, None, None, Some(0x70), Some(0x90), Some(0xa0)]);
        assert_eq!(sensor.analog.unwrap().value(64), Some(64.0));
    }

    #[test]
    fn a_compact_record_stands_for_several_sensors() {
        let mut record =
            hex("0200 51 02 1e 20 00 30 0a 01 67 40 08 6f 0f00 0f00 0f00 c0 00 00 03 81 00 00 00 00 00 00");
        record.extend(b"\xc3PSU");
        let sensors = read(&record).sensors;
        let told: Vec<_> =
            sensors.iter().map(|one| (one.number, one.entity.instance, one.name.as_deref().unwrap())).collect();
        assert_eq!(told, [(0x30, 1, "PSU1"), (0x31, 2, "PSU2"), (0x32, 3, "PSU3")]);
        record[23] = 0x12;
        record[24] = 0x1a;
        let sensors = read(&record).sensors;
        let told: Vec<_> = sensors.iter().map(|one| (one.entity.instance, one.name.as_deref().unwrap())).collect();
        assert_eq!(told, [(1, "PSUAA"), (1, "PSUAB")]);
    }

    #[test]
    fn locators_and_event_only_records_are_read() {
        let mut record = hex("0300 51 11 10 20 05 80 00 00 10 02 0a 02 00");
        record.extend(b"\xc8PSU2 FRU");
        let [fru] = read(&record).frus.try_into().unwrap();
        assert_eq!((fru.access, fru.device, fru.logical), (0x20, 5, true));
        assert_eq!((fru.entity, fru.name.as_deref()), (Entity { id: 0x0a, instance: 2 }, Some("PSU2 FRU")));

        let mut record = hex("0400 51 12 0f 20 00 00 bf 00 00 00 06 01 00");
        record.extend(b"\xc4BMC1");
        let [controller] = read(&record).controllers.try_into().unwrap();
        assert_eq!((controller.address, controller.name.as_deref()), (0x20, Some("BMC1")));

        let mut record = hex("0500 51 03 11 20 00 70 06 01 12 6f 01 00 00 00");
        record.extend(b"\xc3Log");
        let [sensor] = read(&record).sensors.try_into().unwrap();
        assert_eq!((sensor.kind, sensor.readable, sensor.name.as_deref()), (0x12, false, Some("Log")));
    }

    #[test]
    fn sensors_of_one_name_are_told_apart() {
        let mut records = read(&hex(FULL_RECORD));
        let [mut one] = <[Sensor; 1]>::try_from(records.sensors.clone()).unwrap();
        assert_eq!(records.name(&one), "CPUTEMP1");
        one.number = 2;
        one.entity.instance = 2;
        records.sensors.push(one.clone());
        let names = |records: &Records| records.sensors.iter().map(|one| records.name(one)).collect::<Vec<_>>();
        assert_eq!(names(&records), ["CPUTEMP1 (processor 1)", "CPUTEMP1 (processor 2)"]);
        one.number = 3;
        records.sensors.push(one.clone());
        assert_eq!(names(&records)[1..], ["CPUTEMP1 (processor 2, 02h)", "CPUTEMP1 (processor 2, 03h)"]);
        assert_eq!(records.name(&Sensor { name: None, ..one }), "temperature 03h");
    }

    #[test]
    fn a_record_cut_short_is_left_out_or_loses_its_name() {
        let whole = hex(FULL_RECORD);
        for cut in 0..whole.len() {
            let records = read(&whole[..cut]);
            assert!(records.sensors.is_empty() || cut >= 30, "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_record_panics(kind in 0_u8..0x20, rest in proptest::collection::vec(any::<u8>(), 0..80)) {
            let records = read(&[&[1, 0, 0x51, kind, 60], &rest[..]].concat());
            prop_assert!(records.sensors.len() <= 15);
        }
    }
}
