//! What the simulated BMC keeps: sensor data records, sensors, FRU inventories, its event log and its clock.
//!
//! The commands are written from the tables of IPMI 2.0, sections 31, 33, 34 and 35, beside the product's and without
//! a look at them. Reservations are as strict as the specification: whoever reserves takes it from everybody else.

use std::collections::BTreeMap;

const DONE: u8 = 0x00;
const RESERVATION_CANCELLED: u8 = 0xc5;
const CANNOT_RETURN: u8 = 0xca;
const NOT_PRESENT: u8 = 0xcb;

#[derive(Clone)]
pub struct Store {
    /// Whole records with their heads, in the order in which they are linked.
    pub records: Vec<Vec<u8>>,
    /// What Get Sensor Reading answers, by sensor number.
    pub readings: BTreeMap<u8, Vec<u8>>,
    /// What Get Sensor Reading Factors answers.
    pub factors: BTreeMap<u8, Vec<u8>>,
    pub frus: BTreeMap<u8, Vec<u8>>,
    pub log: Vec<[u8; 16]>,
    /// Times of the last addition to and erasure from the record repository.
    pub changed: (u32, u32),
    pub log_erased: u32,
    pub overflowed: bool,
    pub clock: u32,
    pub mac: Option<[u8; 6]>,
    /// No more bytes of a record or FRU fit into one answer.
    pub longest: usize,
    /// So many pieces of records find their reservation cancelled.
    pub cancels: usize,
    /// Bends one bit of every second answer; which one follows from this number.
    pub bends: Option<u32>,
    /// It counts so many records more than it has.
    pub counts_more: u16,
    /// The last record leads on to this one, which is not there.
    pub leads_on: Option<u16>,
    /// Answers as a BMC without a record repository of the system's, with its own sensors only.
    pub device_records: bool,
    pub(super) reservation: u16,
    pub(super) log_reservation: u16,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            readings: BTreeMap::new(),
            factors: BTreeMap::new(),
            frus: BTreeMap::new(),
            log: Vec::new(),
            changed: (0x5000_0000, 0x4f00_0000),
            log_erased: 0x4f00_0000,
            overflowed: false,
            clock: 0x6000_0000,
            mac: None,
            longest: 32,
            cancels: 0,
            bends: None,
            counts_more: 0,
            leads_on: None,
            device_records: false,
            reservation: 0,
            log_reservation: 0,
        }
    }
}

fn pair(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Store {
    /// Completion code and data, or `None` for what belongs to other parts of the BMC.
    pub fn answer(&mut self, net_fn: u8, command: u8, data: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (code, mut answer) = self.straight(net_fn, command, data)?;
        if let Some(number) = &mut self.bends {
            *number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = *number as usize >> 9;
            if *number & 0x0100_0000 != 0 && !answer.is_empty() {
                let length = answer.len();
                answer[at / 8 % length] ^= 1 << (at % 8);
            }
        }
        Some((code, answer))
    }

    fn straight(&mut self, net_fn: u8, command: u8, data: &[u8]) -> Option<(u8, Vec<u8>)> {
        match (net_fn, command, data) {
            (0x0a, 0x20, _) if !self.device_records => Some((DONE, self.repository_info())),
            (0x0a, 0x22, _) if !self.device_records => Some((DONE, self.reserve())),
            (0x0a, 0x23, [..]) if data.len() == 6 && !self.device_records => Some(self.record(data)),
            (0x04, 0x20, _) if self.device_records => Some((DONE, vec![self.readings.len() as u8, 0x01])),
            (0x04, 0x22, _) if self.device_records => Some((DONE, self.reserve())),
            (0x04, 0x21, [..]) if data.len() == 6 && self.device_records => Some(self.record(data)),
            (0x04, 0x2d, [number]) => Some(present(self.readings.get(number))),
            (0x04, 0x23, [number, _]) => Some(present(self.factors.get(number))),
            (0x0a, 0x10, [device]) => Some(self.fru_info(*device)),
            (0x0a, 0x11, [device, low, high, count]) => {
                Some(self.fru_piece(*device, u16::from_le_bytes([*low, *high]), usize::from(*count)))
            }
            (0x0a, 0x40, _) => Some((DONE, self.log_info())),
            (0x0a, 0x42, _) => {
                self.log_reservation += 1;
                Some((DONE, self.log_reservation.to_le_bytes().to_vec()))
            }
            (0x0a, 0x43, [..]) if data.len() == 6 => Some(self.log_entry(data)),
            (0x0a, 0x48, _) => Some((DONE, self.clock.to_le_bytes().to_vec())),
            (0x0c, 0x02, [_, 0x05, ..]) => {
                Some(self.mac.map_or((0x80, Vec::new()), |mac| (DONE, [&[0x11], &mac[..]].concat())))
            }
            _ => None,
        }
    }

    /// Clears the log as Clear SEL does: what is written next gets id 1.
    pub fn clear_log(&mut self, at: u32) {
        self.log.clear();
        self.log_erased = at;
        self.log_reservation += 1;
    }

    /// Somebody adds a record or takes one away: reservations are void.
    pub fn change_records(&mut self, records: Vec<Vec<u8>>) {
        self.records = records;
        self.changed.0 += 1;
        self.reservation += 1;
    }

    fn reserve(&mut self) -> Vec<u8> {
        self.reservation += 1;
        self.reservation.to_le_bytes().to_vec()
    }

    fn repository_info(&self) -> Vec<u8> {
        let mut info = vec![0x51];
        info.extend((self.records.len() as u16 + self.counts_more).to_le_bytes());
        info.extend(0x1000_u16.to_le_bytes());
        info.extend(self.changed.0.to_le_bytes());
        info.extend(self.changed.1.to_le_bytes());
        info.push(0x22);
        info
    }

    fn record(&mut self, ask: &[u8]) -> (u8, Vec<u8>) {
        let (reservation, id, offset, count) = (pair(ask, 0), pair(ask, 2), usize::from(ask[4]), usize::from(ask[5]));
        if offset > 0 && self.cancels > 0 {
            self.cancels -= 1;
            self.reservation += 1;
        }
        if offset > 0 && reservation != self.reservation {
            return (RESERVATION_CANCELLED, Vec::new());
        }
        let found = self.records.iter().position(|record| id == 0 || pair(record, 0) == id);
        let Some(at) = found else { return (NOT_PRESENT, Vec::new()) };
        let end = self.leads_on.unwrap_or(0xffff);
        let next = self.records.get(at + 1).map_or(end, |record| pair(record, 0));
        let rest = self.records[at].get(offset..).unwrap_or_default();
        let length = if count == 0xff { rest.len() } else { count.min(rest.len()) };
        if length > self.longest {
            return (CANNOT_RETURN, Vec::new());
        }
        (DONE, [&next.to_le_bytes(), &rest[..length]].concat())
    }

    fn fru_info(&self, device: u8) -> (u8, Vec<u8>) {
        match self.frus.get(&device) {
            Some(bytes) => {
                let [low, high] = (bytes.len() as u16).to_le_bytes();
                (DONE, vec![low, high, 0])
            }
            None => (NOT_PRESENT, Vec::new()),
        }
    }

    fn fru_piece(&self, device: u8, offset: u16, count: usize) -> (u8, Vec<u8>) {
        let Some(bytes) = self.frus.get(&device) else { return (NOT_PRESENT, Vec::new()) };
        if count > self.longest {
            return (CANNOT_RETURN, Vec::new());
        }
        let piece: Vec<u8> = bytes.iter().skip(usize::from(offset)).take(count).copied().collect();
        (DONE, [&[piece.len() as u8], &piece[..]].concat())
    }

    fn log_info(&self) -> Vec<u8> {
        let mut info = vec![0x51];
        info.extend((self.log.len() as u16).to_le_bytes());
        info.extend(0x2000_u16.to_le_bytes());
        info.extend(self.clock.to_le_bytes());
        info.extend(self.log_erased.to_le_bytes());
        info.push(0x02 | u8::from(self.overflowed) << 7);
        info
    }

    fn log_entry(&self, ask: &[u8]) -> (u8, Vec<u8>) {
        let (id, last) = (pair(ask, 2), self.log.len().checked_sub(1));
        let found = match id {
            0x0000 => last.map(|_| 0),
            0xffff => last,
            id => self.log.iter().position(|record| pair(record, 0) == id),
        };
        let Some(at) = found else { return (NOT_PRESENT, Vec::new()) };
        let next = self.log.get(at + 1).map_or(0xffff, |record| pair(record, 0));
        (DONE, [&next.to_le_bytes(), &self.log[at][..]].concat())
    }
}

fn present(answer: Option<&Vec<u8>>) -> (u8, Vec<u8>) {
    answer.map_or((NOT_PRESENT, Vec::new()), |answer| (DONE, answer.clone()))
}
