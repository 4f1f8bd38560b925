//! Asking sensors, and what their answers mean (IPMI 2.0, section 35.14).
//!
//! A sensor that is not scanned, has no reading, refuses, or belongs to another controller is told with no value and
//! unknown health. Thresholds are believed only as far as its record says that they are compared: some boards fill
//! the rest of that byte with noise.

use super::record::{Records, Sensor};
use super::session::Command;
use super::visit::Visit;
use super::{Turn, convert, sdr, states};
use crate::{Fault, Health, Reading, Thresholds};
use std::collections::BTreeSet;

const SENSORS: u8 = 0x04;
const BMC: u8 = 0x20;
const THRESHOLDS: u8 = 0x01;
const SCANNED: u8 = 0x40;
const NO_READING: u8 = 0x20;

/// Asked in one turn.
const AT_ONCE: usize = 32;

/// Every sensor that can be asked.
pub async fn sensors(visit: Visit<'_>) -> Result<Vec<Reading>, Fault> {
    let records = visit.turn(sdr::records).await?;
    let answers = ask_all(visit, askable(&records, |_| true)).await?;
    Ok(answers.into_iter().map(|(sensor, answer)| answer.reading(sensor, records.name(sensor))).collect())
}

pub async fn ask_all<'a>(visit: Visit<'_>, sensors: Vec<&'a Sensor>) -> Result<Vec<(&'a Sensor, Answer)>, Fault> {
    let mut answers = Vec::with_capacity(sensors.len());
    for some in sensors.chunks(AT_ONCE) {
        let asked = visit.turn(async |turn| {
            let mut answers = Vec::with_capacity(some.len());
            for sensor in some {
                answers.push((*sensor, ask(turn, sensor).await?));
            }
            Ok(answers)
        });
        answers.extend(asked.await?);
    }
    Ok(answers)
}

/// Each sensor once, though two records may speak of it.
pub fn askable(records: &Records, wanted: impl Fn(&Sensor) -> bool) -> Vec<&Sensor> {
    let mut seen = BTreeSet::new();
    let own = records.sensors.iter().filter(|sensor| sensor.readable && wanted(sensor));
    own.filter(|sensor| seen.insert((sensor.owner, sensor.lun, sensor.number))).collect()
}

/// What a sensor answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    value: Option<f64>,
    /// `None`: no reading.
    bits: Option<u16>,
    /// Why there is no reading.
    silence: Option<String>,
}

async fn ask(turn: &mut Turn<'_>, sensor: &Sensor) -> Result<Answer, Fault> {
    if sensor.owner != BMC {
        return Ok(Answer::silent(format!("not asked: it belongs to controller {:02x}h", sensor.owner)));
    }
    let number = [sensor.number];
    let command = |code, data| Command::new(SENSORS, code, data).at(sensor.lun);
    let (code, data) = turn.reply(command(0x2d, &number)).await?;
    if code != 0 {
        return Ok(Answer::refused(code));
    }
    let (Some(analog), Some(raw)) = (sensor.analog, data.first()) else { return Ok(Answer::read(&data, |_| None)) };
    if !analog.varies() {
        return Ok(Answer::read(&data, |raw| analog.value(raw)));
    }
    let factors = turn.reply(command(0x23, &[sensor.number, *raw])).await?;
    let analog = Some(factors).filter(|(code, _)| *code == 0).and_then(|(_, factors)| analog.with_factors(&factors));
    Ok(Answer::read(&data, |raw| analog.and_then(|analog| analog.value(raw))))
}

impl Answer {
    fn silent(why: impl Into<String>) -> Self {
        Self { silence: Some(why.into()), ..Self::default() }
    }

    fn refused(code: u8) -> Self {
        match code {
            0xcb => Self::silent("not there"),
            _ => Self::silent(format!("refused with completion code {code:02x}h")),
        }
    }

    /// The data of Get Sensor Reading: raw value, flags, then fifteen bits of thresholds or states, of which some BMCs
    /// leave bytes out.
    fn read(data: &[u8], value: impl FnOnce(u8) -> Option<f64>) -> Self {
        let [raw, flags, bits @ ..] = data else { return Self::silent("its answer is too short") };
        if flags & SCANNED == 0 {
            return Self::silent("not scanned");
        }
        if flags & NO_READING != 0 {
            return Self::silent("no reading");
        }
        let byte = |at: usize| bits.get(at).copied().unwrap_or(0);
        let bits = u16::from_le_bytes([byte(0), byte(1) & 0x7f]);
        Self { value: value(*raw), bits: Some(bits), silence: None }
    }

    pub fn is_silent(&self) -> bool {
        self.bits.is_none()
    }

    pub fn value(&self) -> Option<f64> {
        self.value
    }

    /// Whether a sensor of states has this one; `None` where it does not say.
    pub fn has(&self, offset: u8) -> Option<bool> {
        self.bits.map(|bits| bits & 1 << offset != 0)
    }

    /// It answers, and no state stands.
    pub fn has_nothing(&self) -> bool {
        self.bits == Some(0)
    }

    /// The states or crossed thresholds that stand, and how bad the worst is.
    pub fn states(&self, sensor: &Sensor) -> (Vec<String>, Health) {
        let Some(bits) = self.bits else {
            return (self.silence.iter().cloned().collect(), Health::Unknown);
        };
        let standing: Vec<(String, Health)> = if sensor.event == THRESHOLDS {
            let crossed = states::crossed(bits.to_le_bytes()[0] & sensor.compared);
            crossed.map(|(words, health)| (words.to_string(), health)).collect()
        } else {
            let told = (0_u8..15).filter(|offset| bits & 1 << offset != 0);
            told.map(|offset| {
                let known = states::state(sensor.kind, sensor.event, offset);
                known.unwrap_or_else(|| (format!("state {offset}"), Health::Unknown))
            })
            .collect()
        };
        let worst = standing.iter().map(|(_, health)| *health).max().unwrap_or(Health::Ok);
        (standing.into_iter().map(|(words, _)| words).collect(), worst)
    }

    pub fn reading(&self, sensor: &Sensor, name: String) -> Reading {
        let unit = sensor.analog.and_then(|_| convert::unit(sensor.units));
        let (state, health) = self.states(sensor);
        Reading {
            name,
            kind: states::reading_kind(sensor.kind, unit.as_deref()),
            value: self.value,
            unit,
            state,
            health,
            thresholds: thresholds(sensor),
        }
    }
}

/// As its record has them; where the factors differ with the reading they are not known.
fn thresholds(sensor: &Sensor) -> Thresholds {
    let analog = sensor.analog.filter(|analog| !analog.varies());
    let [lower_warning, lower_critical, lower_fatal, upper_warning, upper_critical, upper_fatal] =
        sensor.limits.map(|raw| analog.and_then(|analog| analog.value(raw?)));
    Thresholds { lower_fatal, lower_critical, lower_warning, upper_warning, upper_critical, upper_fatal }
}

/// For the fuzzer: every reader of this file on any record and any answer.
pub fn parse(bytes: &[u8]) {
    let mut records = Records::default();
    records.add(bytes);
    for sensor in &records.sensors {
        let answer = Answer::read(bytes, |raw| sensor.analog.and_then(|analog| analog.value(raw)));
        let _ = answer.reading(sensor, records.name(sensor));
        let _ = sensor.analog.and_then(|analog| analog.with_factors(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::super::entity::Entity;
    use super::*;
    use crate::ReadingKind;
    use crate::ipmi::convert::Analog;

    fn sensor(kind: u8, event: u8) -> Sensor {
        Sensor {
            owner: BMC,
            lun: 0,
            number: 7,
            entity: Entity { id: 3, instance: 1 },
            kind,
            event,
            compared: 0b011011,
            limits: [None, Some(0xf6), None, None, Some(85), None],
            units: [0, 1, 0],
            analog: (event == THRESHOLDS).then(|| Analog::read(2, 0, &[1, 0, 0, 0, 0, 0]).unwrap()),
            readable: true,
            name: Some("CPU1".into()),
        }
    }

    fn read(sensor: &Sensor, data: &[u8]) -> Reading {
        Answer::read(data, |raw| sensor.analog.and_then(|analog| analog.value(raw))).reading(sensor, "CPU1".into())
    }

    #[test]
    fn a_measuring_sensor_tells_value_unit_and_what_is_crossed() {
        let reading = read(&sensor(1, 1), &[0xfb, 0xc0, 0xc0]);
        assert_eq!((reading.value, reading.unit.as_deref()), (Some(-5.0), Some("celsius")));
        assert_eq!((reading.kind, reading.health), (ReadingKind::Temperature, Health::Ok));
        let expected = Thresholds { lower_critical: Some(-10.0), upper_critical: Some(85.0), ..Thresholds::default() };
        assert_eq!(reading.thresholds, expected);
        let reading = read(&sensor(1, 1), &[90, 0xc0, 0xd8]);
        assert_eq!(reading.state, ["above upper non-critical", "above upper critical"]);
        assert_eq!(reading.health, Health::Critical);
        let reading = read(&sensor(1, 1), &[90, 0xc0, 0b1110_0100]);
        assert_eq!(reading.health, Health::Ok, "non-recoverable thresholds are not compared by this one");
    }

    #[test]
    fn no_reading_is_neither_zero_nor_fine() {
        for (data, why) in [
            (&[0, 0x80, 0xc0][..], "not scanned"),
            (&[0, 0xe0, 0xc0], "no reading"),
            (&[0], "its answer is too short"),
            (&[], "its answer is too short"),
        ] {
            for kind in [sensor(1, 1), sensor(8, 0x6f)] {
                let reading = read(&kind, data);
                assert_eq!((reading.value, reading.health), (None, Health::Unknown), "{data:?}");
                assert_eq!(reading.state, [why]);
            }
        }
        assert_eq!(Answer::refused(0xcb).reading(&sensor(1, 1), "CPU1".into()).state, ["not there"]);
    }

    #[test]
    fn a_sensor_of_states_tells_them_and_the_worst_counts() {
        let supply = sensor(8, 0x6f);
        let reading = read(&supply, &[0, 0xc0, 0x0b, 0x80]);
        assert_eq!(reading.state, ["present", "failure", "input lost"]);
        assert_eq!((reading.health, reading.kind), (Health::Critical, ReadingKind::PowerSupply));
        assert_eq!(read(&supply, &[0, 0xc0, 0x01]).health, Health::Ok);
        let none = read(&supply, &[0, 0xc0, 0x00, 0x80]);
        assert_eq!((none.health, none.state.is_empty()), (Health::Ok, true), "bit 15 is no state");
        let oem = read(&sensor(0xc0, 0x70), &[0, 0xc0, 0x02]);
        assert_eq!((oem.health, oem.state), (Health::Unknown, vec!["state 1".to_string()]));
    }

    #[test]
    fn a_sensor_with_two_records_is_asked_once() {
        let records = Records { sensors: vec![sensor(1, 1), sensor(8, 0x6f)], ..Records::default() };
        assert_eq!(askable(&records, |_| true).len(), 1);
        assert_eq!(askable(&records, |sensor| sensor.kind == 8).len(), 1);
    }
}
