//! A whole server for the simulated BMC: a board with two processors' worth of sensors, fans, supplies and modules.
//!
//! The records are put together byte by byte from tables 43-1 to 43-8 and the FRU storage definition, so that
//! `ipmitool` and the product read the same thing or one of the three is wrong.

use super::Store;

/// How the numbers of a measuring sensor are made: M, B, and the exponents of result and B.
#[derive(Clone, Copy)]
pub struct Factors(pub i16, pub i16, pub i8, pub i8);

/// Number, sensor type and event/reading type of a sensor; entity and its instance.
pub type Identity = (u8, u8, u8, u8, u8);

fn record(id: u16, kind: u8, body: &[u8], name: &str) -> Vec<u8> {
    let mut record = id.to_le_bytes().to_vec();
    record.extend([0x51, kind, (body.len() + 1 + name.len()) as u8]);
    record.extend(body);
    record.push(0xc0 | name.len() as u8);
    record.extend(name.as_bytes());
    record
}

/// A full record. The first byte of `unit` has the number format in its upper two bits and the percent sign in the
/// lowest; `limits` are the raw lower and upper critical thresholds.
pub fn full(id: u16, of: Identity, name: &str, unit: (u8, u8), factors: Factors, limits: (u8, u8)) -> Vec<u8> {
    let ((how, unit), (lower, upper)) = (unit, limits);
    let (number, kind, event, entity, instance) = of;
    let Factors(m, b, result, exponent) = factors;
    let ([m_low, m_high], [b_low, b_high]) = (m.to_le_bytes(), b.to_le_bytes());
    let mut body = vec![0x20, 0x00, number, entity, instance, 0x7f, 0x68, kind, event];
    // Lower critical going low, upper critical going high; both are compared and readable.
    body.extend([0x04, 0x22, 0x00, 0x22, 0x12, 0x12]);
    body.extend([how, unit, 0x00, 0x00, m_low, m_high << 6, b_low, b_high << 6, 0x00]);
    body.push((result as u8) << 4 | (exponent as u8) & 0x0f);
    body.extend([0x00, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, upper, 0x00, 0x00, lower, 0x00, 0x01, 0x01, 0, 0, 0]);
    record(id, 0x01, &body, name)
}

/// A compact record; with a count above one its sensors are numbered from 1.
pub fn compact(id: u16, of: Identity, name: &str, count: u8) -> Vec<u8> {
    let (number, kind, event, entity, instance) = of;
    let mut body = vec![0x20, 0x00, number, entity, instance, 0x63, 0x40, kind, event];
    body.extend([0xff, 0x01, 0x00, 0x00, 0xff, 0x01, 0xc0, 0x00, 0x00]);
    body.extend([count, if count > 1 { 0x81 } else { 0x00 }, 0, 0, 0, 0, 0, 0]);
    record(id, 0x02, &body, name)
}

pub fn fru_locator(id: u16, device: u8, entity: u8, instance: u8, name: &str) -> Vec<u8> {
    record(id, 0x11, &[0x20, device, 0x80, 0x00, 0x00, 0x10, 0x02, entity, instance, 0x00], name)
}

pub fn controller(id: u16, name: &str) -> Vec<u8> {
    record(id, 0x12, &[0x20, 0x00, 0x00, 0xbf, 0x00, 0x00, 0x00, 0x06, 0x01, 0x00], name)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

fn area(head: &[u8], texts: &[&str]) -> Vec<u8> {
    let mut area = head.to_vec();
    for text in texts {
        area.push(0xc0 | text.len() as u8);
        area.extend(text.as_bytes());
    }
    area.push(0xc1);
    area.resize((area.len() + 1).next_multiple_of(8) - 1, 0);
    area[1] = ((area.len() + 1) / 8) as u8;
    let check = sum(&area);
    area.push(check);
    area
}

/// A FRU with a product area (maker, name, part number, version, serial number) and, for a supply, its capacity.
pub fn fru(product: &[&str], watts: Option<u16>) -> Vec<u8> {
    let area = area(&[0x01, 0x00, 0x19], product);
    let multi = watts.map_or(0, |_| 1 + (area.len() / 8) as u8);
    let mut head = vec![0x01, 0x00, 0x00, 0x00, 0x01, multi, 0x00];
    head.push(sum(&head));
    let mut bytes = [head, area].concat();
    if let Some(watts) = watts {
        let mut body = watts.to_le_bytes().to_vec();
        body.resize(24, 0);
        let mut head = vec![0x00, 0x82, body.len() as u8, sum(&body)];
        head.push(sum(&head));
        bytes.extend(head);
        bytes.extend(body);
    }
    // A chip of 2 KiB with nothing more in it.
    bytes.resize(2048, 0xff);
    bytes
}

/// The chip of a DDR4 module: 8 Gbit dies of four bits, two ranks on 64 data and 8 check bits, 2666 MT/s: 32 GiB.
pub fn ddr4(serial: u32, part: &str) -> Vec<u8> {
    let mut chip = vec![0; 512];
    for (at, byte) in [(0, 0x23), (1, 0x11), (2, 0x0c), (3, 0x01), (4, 0x85), (12, 0x08), (13, 0x0b), (18, 0x06)] {
        chip[at] = byte;
    }
    chip[320..322].copy_from_slice(&[0x80, 0xce]);
    chip[325..329].copy_from_slice(&serial.to_be_bytes());
    chip[329..349].fill(b' ');
    chip[329..329 + part.len()].copy_from_slice(part.as_bytes());
    chip
}

/// One record of the event log: a system event by the BMC.
pub fn event(id: u16, at: u32, sensor_type: u8, sensor: u8, event: u8, data: [u8; 3]) -> [u8; 16] {
    let ([low, high], [a, b, c, d]) = (id.to_le_bytes(), at.to_le_bytes());
    [low, high, 0x02, a, b, c, d, 0x20, 0x00, 0x04, sensor_type, sensor, event, data[0], data[1], data[2]]
}

/// The server: its log has three events, one from before the clock was set.
pub fn store() -> Store {
    let plain = Factors(1, 0, 0, 0);
    let records = vec![
        controller(1, "BMC"),
        full(2, (1, 0x01, 0x01, 0x03, 1), "CPU1 Temp", (0x00, 1), plain, (5, 95)),
        full(4, (2, 0x01, 0x01, 0x37, 1), "Inlet Temp", (0x80, 1), plain, (0xf6, 45)),
        full(7, (3, 0x02, 0x01, 0x07, 1), "P12V", (0x00, 4), Factors(60, 0, -3, 0), (180, 220)),
        full(9, (4, 0x04, 0x01, 0x1d, 1), "FAN1", (0x00, 18), Factors(100, 0, 0, 0), (5, 0xff)),
        full(10, (5, 0x04, 0x01, 0x1d, 2), "FAN2", (0x00, 18), Factors(100, 0, 0, 0), (5, 0xff)),
        full(11, (6, 0x0b, 0x01, 0x0a, 1), "PS1 Input Power", (0x00, 6), Factors(4, 0, 0, 0), (0, 0xff)),
        full(12, (7, 0x04, 0x01, 0x1d, 3), "FAN3", (0x01, 0), plain, (0, 0xff)),
        compact(0x20, (0x30, 0x08, 0x6f, 0x0a, 1), "PSU", 2),
        compact(0x21, (0x40, 0x07, 0x6f, 0x03, 1), "CPU", 2),
        compact(0x22, (0x50, 0x0d, 0x6f, 0x04, 1), "HDD1_Status", 1),
        compact(0x23, (0x60, 0x05, 0x6f, 0x17, 1), "Intrusion", 1),
        fru_locator(0x30, 0, 0x07, 1, "Board FRU"),
        fru_locator(0x31, 1, 0x0a, 1, "PSU1 FRU"),
        fru_locator(0x32, 2, 0x0a, 2, "PSU2 FRU"),
        fru_locator(0x33, 3, 0x20, 1, "DIMM_A1"),
        fru_locator(0x34, 4, 0x20, 2, "DIMM_B1"),
        fru_locator(0x35, 5, 0x20, 3, "DIMM_C1"),
    ];
    let readings = [
        (1, vec![0x3d, 0xc0, 0xc0]),
        (2, vec![0xfb, 0xc0, 0xc0]),
        (3, vec![0xc8, 0xc0, 0xc0]),
        (4, vec![0x36, 0xc0, 0xc0]),
        (5, vec![0x00, 0xe0, 0xc0]),
        (6, vec![0x37, 0xc0, 0xc0]),
        (7, vec![0x28, 0xc0, 0xc0]),
        (0x30, vec![0x00, 0xc0, 0x01, 0x80]),
        (0x31, vec![0x00, 0xc0, 0x09, 0x80]),
        (0x40, vec![0x00, 0xc0, 0x80, 0x80]),
        (0x41, vec![0x00, 0xc0, 0x00, 0x80]),
        (0x50, vec![0x00, 0xc0, 0x01, 0x80]),
        (0x60, vec![0x00, 0xc0, 0x01, 0x80]),
    ];
    let frus = [
        (0, fru(&["ACME", "R-2", "PN", "1.0", "SN-0042"], None)),
        (1, fru(&["Supplies Inc", "PWS-920P", "P-1", "1.2", "PS-SN-1"], Some(920))),
        (2, fru(&["Supplies Inc", "PWS-920P", "P-1", "1.2", "PS-SN-2"], Some(920))),
        (3, ddr4(0x359a_0cf1, "M393A4K40CB2-CTD")),
        (4, ddr4(0x359a_0cf2, "M393A4K40CB2-CTD")),
    ];
    Store {
        records,
        readings: readings.into(),
        frus: frus.into(),
        log: vec![
            event(1, 0x0000_0012, 0x10, 0x71, 0x6f, [0x02, 0xff, 0xff]),
            event(2, 0x6000_0100, 0x08, 0x31, 0x6f, [0x03, 0xff, 0xff]),
            event(4, 0x6000_0200, 0x01, 0x01, 0x01, [0x59, 0x60, 0x5f]),
        ],
        mac: Some([0x02, 0x10, 0x20, 0x30, 0x40, 0x50]),
        ..Store::default()
    }
}
