//! FRU inventories: maker, model and serial number of the machine and its parts (IPMI FRU Information Storage
//! Definition 1.2; B8.6).
//!
//! Read in small pieces, since some BMCs cannot answer with more, and only as far as its areas reach: many a chip says
//! 2 KiB and fills 200 bytes. A field that cannot be read, or says what a factory says that wrote nothing
//! ("Default string"), is left out rather than passed on.

use super::session::Command;
use super::{STORAGE, Turn, field, packet, sdr, spd};
use crate::{Fault, Identity};
use std::time::Duration;

const PIECE: usize = 16;
const SMALLEST_PIECE: usize = 4;
/// Far above what areas or a memory module's own chip fill.
const MOST: usize = 4096;
const MOST_RECORDS: usize = 32;
/// Custom fields follow the ones with a meaning.
const NO_MORE: u8 = 0xc1;
const BUSY: u8 = 0x81;
const BUSY_TRIES: usize = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
const POWER_SUPPLY: u8 = 0x00;

/// What came of asking for a device's inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// As far as it could be read.
    Bytes(Vec<u8>),
    /// The BMC says that there is no such thing now.
    Absent,
    /// It is there, and cannot be read.
    Unread(String),
}

/// The inventory of a device of the BMC's own.
pub async fn read(turn: &mut Turn<'_>, device: u8, lun: u8) -> Result<Store, Fault> {
    let info = match turn.reply(Command::new(STORAGE, 0x10, &[device]).at(lun)).await? {
        (0x00, info) => info,
        (code, _) => return Ok(refused(code)),
    };
    let [low, high, access, ..] = info.as_slice() else { return Ok(Store::Unread("its size is not told".into())) };
    if access & 0x01 != 0 {
        return Ok(Store::Unread("it is read by words, which nothing we know does".into()));
    }
    let size = usize::from(u16::from_le_bytes([*low, *high])).min(MOST);
    let (mut bytes, mut piece, mut busy) = (Vec::new(), PIECE, 0);
    while bytes.len() < extent(&bytes, size) {
        let [low, high] = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        let count = piece.min(size - bytes.len());
        let asked = [device, low, high, u8::try_from(count).unwrap_or(u8::MAX)];
        match turn.reply(Command::new(STORAGE, 0x11, &asked).at(lun)).await? {
            (0x00, answer) => match answer.split_first() {
                Some((told, data)) if *told > 0 && !data.is_empty() => {
                    bytes.extend(data.iter().take(usize::from(*told).min(count)));
                }
                _ => break,
            },
            (BUSY, _) if busy < BUSY_TRIES => {
                busy += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            (code, _) if sdr::TOO_LONG.contains(&code) && piece > SMALLEST_PIECE => piece /= 2,
            (code, _) if bytes.is_empty() => return Ok(refused(code)),
            _ => break,
        }
    }
    Ok(Store::Bytes(bytes))
}

fn refused(code: u8) -> Store {
    match code {
        0xcb => Store::Absent,
        _ => Store::Unread(format!("completion code {code:02x}h")),
    }
}

/// How many bytes are worth reading, as far as those read tell.
fn extent(bytes: &[u8], size: usize) -> usize {
    let Some(head) = packet::array::<8>(bytes, 0) else { return size.min(8) };
    let [version, _, areas @ .., multi, _, _] = head;
    if version & 0x0f != 0x01 {
        return spd::extent(bytes).unwrap_or(size).min(size);
    }
    let mut end = 8;
    for offset in areas.into_iter().filter(|offset| *offset != 0) {
        let at = usize::from(offset) * 8;
        end = end.max(at + bytes.get(at + 1).map_or(2, |length| usize::from(*length) * 8));
    }
    end = multi_records(bytes, multi).map(|record| record.end).chain([end]).max().unwrap_or(end);
    end.min(size)
}

/// One record of the multi-record area; one whose head is not there yet reaches to the end of that head.
struct MultiRecord {
    kind: Option<u8>,
    start: usize,
    end: usize,
}

fn multi_records(bytes: &[u8], offset: u8) -> impl Iterator<Item = MultiRecord> {
    let mut at = Some(usize::from(offset) * 8).filter(|at| *at != 0);
    let records = std::iter::from_fn(move || {
        let start = at? + 5;
        let Some([kind, format, length, _, _]) = packet::array::<5>(bytes, at?) else {
            at = None;
            return Some(MultiRecord { kind: None, start, end: start });
        };
        let end = start + usize::from(length);
        at = (format & 0x80 == 0).then_some(end);
        Some(MultiRecord { kind: Some(kind), start, end })
    });
    records.take(MOST_RECORDS)
}

/// What an inventory tells. The product is what is sold, the board is what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fru {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub part_number: Option<String>,
    pub serial: Option<String>,
    pub version: Option<String>,
    /// Of the sheet metal.
    pub chassis_serial: Option<String>,
    /// A power supply's capacity.
    pub watts: Option<u32>,
}

impl Fru {
    /// `None`: not the format, or not a word in it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [version, _, chassis, board, product, multi, ..] = bytes else { return None };
        if version & 0x0f != 0x01 {
            return None;
        }
        // Chassis, after its type: part number, serial number.
        let chassis = fields(bytes, *chassis, 3);
        // Product: maker, name, part number, version, serial number.
        let product = fields(bytes, *product, 3);
        // Board, after the date: maker, name, serial number, part number.
        let board = fields(bytes, *board, 6);
        let pick = |from: &[Option<String>], at: usize| from.get(at).cloned().flatten();
        let fru = Self {
            manufacturer: pick(&product, 0).or_else(|| pick(&board, 0)),
            model: pick(&product, 1).or_else(|| pick(&board, 1)),
            part_number: pick(&product, 2).or_else(|| pick(&board, 3)),
            serial: pick(&product, 4).or_else(|| pick(&board, 2)),
            version: pick(&product, 3),
            chassis_serial: pick(&chassis, 1),
            watts: multi_records(bytes, *multi).find_map(|record| watts(bytes, &record)),
        };
        (fru != Self::default()).then_some(fru)
    }

    pub fn tell(self, identity: &mut Identity) {
        identity.manufacturer = self.manufacturer;
        identity.model = self.model;
        identity.serial = self.serial;
    }
}

fn watts(bytes: &[u8], record: &MultiRecord) -> Option<u32> {
    let body = packet::array(bytes, record.start).filter(|_| record.kind == Some(POWER_SUPPLY))?;
    Some(u32::from(u16::from_le_bytes(body) & 0x0fff)).filter(|watts| !matches!(watts, 0 | 0x0fff))
}

/// The fields of the area at `offset` (in units of eight bytes, 0 for none), after `skip` bytes of its head.
fn fields(bytes: &[u8], offset: u8, skip: usize) -> Vec<Option<String>> {
    let start = usize::from(offset) * 8;
    let Some(area) = bytes.get(start..).filter(|_| offset != 0) else { return Vec::new() };
    let length = area.get(1).map_or(0, |units| usize::from(*units) * 8);
    let mut rest = area.get(skip..length.min(area.len())).unwrap_or_default();
    let mut fields = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let length = usize::from(kind & 0x3f);
        if *kind == NO_MORE || length > after.len() {
            break;
        }
        let (value, after) = after.split_at_checked(length).unwrap_or_default();
        fields.push(field::text(kind >> 6, value).filter(|text| !is_filler(text)));
        rest = after;
    }
    fields
}

/// What stands in a field that nobody filled in.
fn is_filler(text: &str) -> bool {
    const FILLERS: [&str; 11] = [
        "default string",
        "to be filled by o.e.m.",
        "to be filled by o.e.m",
        "not specified",
        "not available",
        "not applicable",
        "unknown",
        "none",
        "null",
        "n/a",
        "na",
    ];
    let lower = text.to_ascii_lowercase();
    FILLERS.contains(&lower.as_str()) || text.chars().all(|c| matches!(c, '0' | '.' | '-' | '_' | ' ' | '*' | '?'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn area(head: &[u8], texts: &[&str]) -> Vec<u8> {
        let mut area = head.to_vec();
        for text in texts {
            area.push(0xc0 | text.len() as u8);
            area.extend(text.as_bytes());
        }
        area.push(NO_MORE);
        area.resize(area.len().next_multiple_of(8), 0);
        area[1] = (area.len() / 8) as u8;
        area
    }

    /// Head, chassis, board, product and the power supply's record.
    fn whole() -> Vec<u8> {
        let chassis = area(&[1, 0, 23], &["CH-PN", "CH-SN"]);
        let board = area(&[1, 0, 25, 0, 0, 0], &["Boards Inc", "B-1", "B-SN", "B-PN"]);
        let product = area(&[1, 0, 25], &["ACME", "R-2", "PN", "1.0", "SN0042  ", ""]);
        let mut at = 1;
        let starts = [&chassis, &board, &product].map(|area| {
            let start = at;
            at += (area.len() / 8) as u8;
            start
        });
        let supply = [&[0x01, 0x02, 2, 0, 0, 9, 9][..], &[0x00, 0x82, 4, 0, 0, 0x20, 0xf3, 0, 0]].concat();
        let head = [1, 0, starts[0], starts[1], starts[2], at, 0, 0];
        [&head[..], &chassis, &board, &product, &supply].concat()
    }

    #[test]
    fn the_product_area_names_the_machine_and_the_others_fill_in() {
        let fru = Fru::read(&whole()).unwrap();
        assert_eq!(fru.manufacturer.as_deref(), Some("ACME"));
        assert_eq!((fru.model.as_deref(), fru.part_number.as_deref()), (Some("R-2"), Some("PN")));
        assert_eq!(fru.serial.as_deref(), Some("SN0042"));
        assert_eq!(fru.chassis_serial.as_deref(), Some("CH-SN"));
        assert_eq!(fru.watts, Some(0x320));
        let mut without = whole();
        without[4] = 0;
        let fru = Fru::read(&without).unwrap();
        assert_eq!((fru.model.as_deref(), fru.serial.as_deref()), (Some("B-1"), Some("B-SN")));
        assert_eq!(fru.part_number.as_deref(), Some("B-PN"));
    }

    #[test]
    fn what_nobody_filled_in_is_left_out() {
        let product = area(&[1, 0, 25], &["To Be Filled By O.E.M.", "R-2", "N/A", "", "0000000000"]);
        let fru = Fru::read(&[&[1, 0, 0, 0, 1, 0, 0, 0][..], &product].concat()).unwrap();
        assert_eq!((fru.manufacturer, fru.serial, fru.part_number), (None, None, None));
        assert_eq!(fru.model.as_deref(), Some("R-2"));
        assert_eq!(Fru::read(&[1, 0, 0, 0, 0, 0, 0, 0xff]), None);
    }

    #[test]
    fn b8_6_no_more_is_read_than_the_areas_fill() {
        let (bytes, mut read) = (whole(), 0);
        for _ in 0..20 {
            let end = extent(&bytes[..read], 2048);
            if end <= read {
                break;
            }
            read = (read + PIECE).min(bytes.len());
        }
        assert_eq!(read, bytes.len());
        assert_eq!(extent(&bytes, 2048), bytes.len());
        assert_eq!(extent(&[0x23; 16], 512), 512, "whatever this is");
        assert_eq!(extent(&[0x23, 0x11, 0x0c, 0, 0, 0, 0, 0], 512), 349, "a memory module's own chip");
        assert_eq!(extent(&[0; 4], 6), 6);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_reading_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 0_usize..MOST) {
            let bytes = [&[1][..], &bytes].concat();
            let _ = Fru::read(&bytes);
            prop_assert!(extent(&bytes, size) <= size);
        }
    }
}
