//! SMBIOS as the kernel shows it in `/sys/firmware/dmi/tables` (DMTF DSP0134): types 0, 1, 3, 4 and 17.
//!
//! Firmware lies and truncates; every read is bounded, and what is not there, or is one of the fillers that board
//! makers leave in, is `None`.

use crate::bytes::{byte, dashed, le16, le32, swap_guid, text};
use muster_names::{Dimm, Firmware, System};

/// What the agent takes from the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub system: System,
    /// The populated CPU sockets, in table order.
    pub sockets: Vec<Socket>,
    pub dimms: Vec<Dimm>,
    pub bios: Option<Firmware>,
}

/// What type 4 says of a socket: its designation, and the processor's version, which is its name in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    pub name: String,
    pub version: Option<String>,
}

/// One structure: its formatted part and its strings.
struct Structure<'a> {
    kind: u8,
    body: &'a [u8],
    strings: &'a [u8],
}

impl Structure<'_> {
    /// The string whose number stands at `at`.
    fn string(&self, at: usize) -> Option<String> {
        let number = usize::from(byte(self.body, at)?);
        let raw = self.strings.split(|b| *b == 0).nth(number.checked_sub(1)?)?;
        text(raw).filter(|words| !is_filler(words))
    }
}

/// Texts that say nothing, as seen in the field.
fn is_filler(words: &str) -> bool {
    let plain: String = words.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    plain.is_empty()
        || plain.bytes().all(|b| b == b'0')
        || plain.bytes().all(|b| b == b'f')
        || plain.bytes().all(|b| b == b'x')
        || matches!(
            plain.as_str(),
            "none"
                | "na"
                | "notspecified"
                | "notavailable"
                | "notapplicable"
                | "unknown"
                | "defaultstring"
                | "oem"
                | "tobefilledbyoem"
                | "systemserialnumber"
                | "systemmanufacturer"
                | "systemproductname"
                | "chassisserialnumber"
                | "chassismanufacturer"
                | "noassettag"
                | "noassetinformation"
                | "assettag"
                | "0123456789"
                | "123456789"
                | "nodimm"
                | "noserial"
                | "empty"
                | "bad"
                | "undefined"
        )
}

fn structures(table: &[u8]) -> impl Iterator<Item = Structure<'_>> {
    let mut rest = table;
    std::iter::from_fn(move || {
        let (kind, length) = (byte(rest, 0)?, usize::from(byte(rest, 1)?));
        if length < 4 || kind == 127 {
            return None;
        }
        let (body, after) = rest.split_at_checked(length)?;
        let end = after.windows(2).position(|pair| pair == [0, 0])?;
        let (strings, next) = after.split_at_checked(end)?;
        rest = next.get(2..)?;
        Some(Structure { kind, body, strings })
    })
}

/// `(major, minor)` from the entry point of either form.
fn version(entry: &[u8]) -> Option<(u8, u8)> {
    let at = if entry.starts_with(b"_SM3_") {
        7
    } else if entry.starts_with(b"_SM_") {
        6
    } else {
        return None;
    };
    Some((byte(entry, at)?, byte(entry, at + 1)?))
}

/// Reads both files. Total: any bytes give what can be read of them.
pub fn read(entry: &[u8], table: &[u8]) -> Tables {
    let mixed_endian = version(entry).is_none_or(|version| version >= (2, 6));
    let mut found = Tables::default();
    for structure in structures(table) {
        match structure.kind {
            0 if found.bios.is_none() => {
                found.bios = structure.string(5).map(|version| Firmware { component: "bios".into(), version });
            }
            1 => {
                found.system.manufacturer = structure.string(4);
                found.system.product = structure.string(5);
                found.system.serial = structure.string(7);
                found.system.uuid = crate::bytes::array(structure.body, 8).and_then(|raw| uuid(raw, mixed_endian));
            }
            3 if found.system.chassis_serial.is_none() && found.system.chassis_manufacturer.is_none() => {
                found.system.chassis_manufacturer = structure.string(4);
                found.system.chassis_serial = structure.string(7);
                found.system.asset_tag = structure.string(8);
            }
            // Type 3 = central processor; bit 6 of the status: socket populated.
            4 if byte(structure.body, 5) == Some(3) && byte(structure.body, 0x18).is_some_and(|s| s & 0x40 != 0) => {
                let number = found.sockets.len();
                let name = structure.string(4).unwrap_or_else(|| format!("CPU {number}"));
                found.sockets.push(Socket { name, version: structure.string(0x10) });
            }
            17 => found.dimms.extend(dimm(&structure)),
            _ => {}
        }
    }
    found
}

fn uuid(raw: [u8; 16], mixed_endian: bool) -> Option<String> {
    if raw == [0; 16] || raw == [0xff; 16] {
        return None;
    }
    Some(dashed(if mixed_endian { swap_guid(raw) } else { raw }))
}

/// `None` for an empty slot.
fn dimm(structure: &Structure<'_>) -> Option<Dimm> {
    let body = structure.body;
    let size_mib = match le16(body, 0x0c)? {
        0 => return None,
        0xffff => 0,
        0x7fff => u64::from(le32(body, 0x1c)? & 0x7fff_ffff),
        kib if kib & 0x8000 != 0 => u64::from(kib & 0x7fff) / 1024,
        mib => u64::from(mib),
    };
    let speed = |at, extended| match le16(body, at) {
        None | Some(0) => None,
        Some(0xffff) => le32(body, extended).map(|mts| mts & 0x7fff_ffff),
        Some(mts) => Some(u32::from(mts)),
    };
    Some(Dimm {
        slot: structure.string(0x10).or_else(|| structure.string(0x11)).unwrap_or_default(),
        size_mib,
        speed_mts: speed(0x20, 0x58).or_else(|| speed(0x15, 0x54)),
        kind: byte(body, 0x12).and_then(kind).map(Into::into),
        manufacturer: structure.string(0x17),
        part_number: structure.string(0x1a),
        serial: structure.string(0x18),
    })
}

/// DSP0134 table 78.
fn kind(code: u8) -> Option<&'static str> {
    Some(match code {
        0x07 => "RAM",
        0x0f => "SDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x14 => "DDR2 FB-DIMM",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x1f => "non-volatile",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A structure with `body` after the four header bytes, and its strings.
    fn structure(kind: u8, body: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, u8::try_from(body.len() + 4).unwrap(), 0, 0];
        bytes.extend(body);
        for string in strings {
            bytes.extend(string.as_bytes());
            bytes.push(0);
        }
        if strings.is_empty() {
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    fn system(uuid: [u8; 16]) -> Vec<u8> {
        let mut body = vec![1, 2, 0, 3];
        body.extend(uuid);
        body.extend([6, 0, 0]);
        structure(1, &body, &["Acme", "Node 1", "SN-77"])
    }

    fn memory(size: u16, extended: u32, locator: &str) -> Vec<u8> {
        let mut body = vec![0; 0x5c - 4];
        body[0x0c - 4..0x0e - 4].copy_from_slice(&size.to_le_bytes());
        body[0x1c - 4..0x20 - 4].copy_from_slice(&extended.to_le_bytes());
        body[0x10 - 4] = 1;
        body[0x12 - 4] = 0x22;
        body[0x15 - 4..0x17 - 4].copy_from_slice(&5600u16.to_le_bytes());
        body[0x20 - 4..0x22 - 4].copy_from_slice(&4800u16.to_le_bytes());
        body[0x18 - 4] = 2;
        structure(17, &body, &[locator, "D1"])
    }

    #[test]
    fn the_uuid_reads_as_the_vendor_prints_it() {
        let uuid: [u8; 16] = std::array::from_fn(|i| i as u8);
        let new = read(b"_SM3_\0\x18\x03\x00\0", &system(uuid)).system;
        assert_eq!(new.uuid.as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        assert_eq!(new.serial.as_deref(), Some("SN-77"));
        let old = read(b"_SM_\0\0\x02\x05", &system(uuid)).system;
        assert_eq!(old.uuid.as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(read(b"", &system([0xff; 16])).system.uuid, None);
    }

    #[test]
    fn an_empty_slot_is_no_dimm_and_a_large_one_reads_its_second_size() {
        let table = [memory(0, 0, "A1"), memory(16384, 0, "A2"), memory(0x7fff, 65536, "A3")].concat();
        let dimms = read(b"", &table).dimms;
        let told: Vec<_> = dimms.iter().map(|d| (d.slot.as_str(), d.size_mib)).collect();
        assert_eq!(told, [("A2", 16384), ("A3", 65536)]);
        assert_eq!((dimms[0].speed_mts, dimms[0].kind.as_deref()), (Some(4800), Some("DDR5")));
        assert_eq!(dimms[0].serial.as_deref(), Some("D1"));
    }

    #[test]
    fn fillers_say_nothing() {
        for filler in ["To Be Filled By O.E.M.", "Default string", "00000000", "Not Specified", "N/A", "0123456789"] {
            let table = structure(1, &[0, 0, 0, 1], &[filler]);
            assert_eq!(read(b"", &table).system.serial, None, "{filler}");
        }
    }

    #[test]
    fn an_empty_socket_is_not_counted() {
        let socket = |status| {
            let mut body = vec![0; 0x30 - 4];
            (body[0], body[1], body[0x10 - 4], body[0x18 - 4]) = (1, 3, 2, status);
            structure(4, &body, &["P1", "Fast CPU"])
        };
        let table = [socket(0x41), socket(0)].concat();
        let sockets = read(b"", &table).sockets;
        assert_eq!(sockets, [Socket { name: "P1".into(), version: Some("Fast CPU".into()) }]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(entry: Vec<u8>, table: Vec<u8>) {
            let _ = read(&entry, &table);
        }

        #[test]
        fn no_torn_table_panics(cut in 0usize..400, flip in 0usize..400, to: u8) {
            let mut table = [system([7; 16]), memory(0x7fff, 1, "A"), memory(1, 1, "B")].concat();
            if let Some(byte) = table.get_mut(flip) {
                *byte = to;
            }
            table.truncate(cut);
            let _ = read(b"_SM3_\0\x18\x03\x00\0", &table);
        }
    }
}
