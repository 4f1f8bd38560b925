//! What a memory module's own chip says: JEDEC's serial presence detect for DDR3, DDR4 and DDR5 (annexes K, L and
//! JESD400-5). Some BMCs hand its bytes out as they are, under a FRU number.
//!
//! The check codes are not looked at: a chip that was read in part still tells the module's size, and what it does not
//! tell is left out.

use super::field;
use crate::Memory;

const DDR3: u8 = 0x0b;
const DDR4: u8 = 0x0c;
const DDR5: u8 = 0x12;

type Reader<T> = fn(&[u8]) -> Option<T>;

/// Where a generation keeps its fields.
struct Layout {
    kind: &'static str,
    maker: usize,
    serial: usize,
    part: std::ops::Range<usize>,
    size_mib: Reader<u64>,
    /// The shortest clock period, in picoseconds.
    period: Reader<i32>,
}

impl Layout {
    fn of(generation: u8) -> Option<Self> {
        let (kind, maker, part) = match generation {
            DDR3 => ("DDR3", 117, 128..146),
            DDR4 => ("DDR4", 320, 329..349),
            DDR5 => ("DDR5", 512, 521..551),
            _ => return None,
        };
        let (size_mib, period): (Reader<u64>, Reader<i32>) = match generation {
            DDR3 => (ddr3_size, ddr3_period),
            DDR4 => (ddr4_size, ddr4_period),
            _ => (ddr5_size, ddr5_period),
        };
        // Maker, place and date of making, then the serial number.
        Some(Self { kind, maker, serial: maker + 5, part, size_mib, period })
    }
}

/// How many bytes are worth reading of a chip that begins so; `None` where it is none that we can read.
pub fn extent(bytes: &[u8]) -> Option<usize> {
    Layout::of(*bytes.get(2)?).map(|layout| layout.part.end)
}

/// `None`: no module of a generation we can read.
pub fn read(bytes: &[u8]) -> Option<Memory> {
    let layout = Layout::of(*bytes.get(2)?)?;
    let serial = bytes.get(layout.serial..layout.serial + 4);
    let serial = serial.filter(|bytes| !matches!(bytes, [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff]));
    Some(Memory {
        slot: None,
        manufacturer: bytes.get(layout.maker..layout.maker + 2).and_then(maker),
        part_number: bytes.get(layout.part).and_then(|text| field::text(0b11, text)),
        serial: serial.map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect()),
        size_mib: (layout.size_mib)(bytes).filter(|size| *size > 0),
        speed_mts: (layout.period)(bytes).and_then(speed),
        kind: Some(layout.kind.into()),
        health: None,
    })
}

fn bits(bytes: &[u8], at: usize, shift: u8, mask: u8) -> Option<u32> {
    bytes.get(at).map(|byte| u32::from(byte >> shift & mask))
}

fn looked_up(table: &[u64], at: u32) -> Option<u64> {
    table.get(usize::try_from(at).ok()?).copied().filter(|value| *value != 0)
}

/// Megabytes of one die times the dies that fill the bus, times ranks.
fn size(die_mib: u64, bus: u32, width: u32, ranks: u32) -> Option<u64> {
    let dies = (8_u64 << bus).checked_div(4 << width)?;
    Some(die_mib * dies * u64::from(ranks))
}

fn ddr3_size(bytes: &[u8]) -> Option<u64> {
    let die = 32 << bits(bytes, 4, 0, 0x07)?;
    size(die, bits(bytes, 8, 0, 0x07)?, bits(bytes, 7, 0, 0x07)?, bits(bytes, 7, 3, 0x07)? + 1)
}

fn ddr4_size(bytes: &[u8]) -> Option<u64> {
    const DIE_MIB: [u64; 10] = [32, 64, 128, 256, 512, 1024, 2048, 4096, 1536, 3072];
    let die = looked_up(&DIE_MIB, bits(bytes, 4, 0, 0x0f)?)?;
    // In a stack that shows one load each die is a rank of its own.
    let stacked = bits(bytes, 6, 0, 0x03)? == 0b10;
    let dies = if stacked { bits(bytes, 6, 4, 0x07)? + 1 } else { 1 };
    let ranks = (bits(bytes, 12, 3, 0x07)? + 1) * dies;
    size(die, bits(bytes, 13, 0, 0x07)?, bits(bytes, 12, 0, 0x07)?, ranks)
}

fn ddr5_size(bytes: &[u8]) -> Option<u64> {
    const DIE_MIB: [u64; 9] = [0, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192];
    const STACK: [u64; 6] = [1, 1, 2, 4, 8, 16];
    let die = looked_up(&DIE_MIB, bits(bytes, 4, 0, 0x1f)?)? * looked_up(&STACK, bits(bytes, 4, 5, 0x07)?)?;
    let channels = u64::from(bits(bytes, 235, 5, 0x03)? + 1);
    let ranks = bits(bytes, 234, 3, 0x07)? + 1;
    Some(size(die, bits(bytes, 235, 0, 0x07)?, bits(bytes, 6, 5, 0x07)?, ranks)? * channels)
}

/// In eighths of a nanosecond, and a correction in picoseconds.
fn ddr3_period(bytes: &[u8]) -> Option<i32> {
    Some(i32::from(*bytes.get(12)?) * 125 + i32::from(bytes.get(34)?.cast_signed()))
}

fn ddr4_period(bytes: &[u8]) -> Option<i32> {
    Some(i32::from(*bytes.get(18)?) * 125 + i32::from(bytes.get(125)?.cast_signed()))
}

fn ddr5_period(bytes: &[u8]) -> Option<i32> {
    Some(i32::from(u16::from_le_bytes([*bytes.get(20)?, *bytes.get(21)?])))
}

/// Two transfers a clock, as the speed on the label: periods are rounded to picoseconds, labels to what sells.
fn speed(period: i32) -> Option<u32> {
    const LABELS: [u32; 24] = [
        800, 1066, 1333, 1600, 1866, 2133, 2400, 2666, 2933, 3200, 3600, 4000, 4400, 4800, 5200, 5600, 6000, 6400,
        6800, 7200, 7600, 8000, 8400, 8800,
    ];
    let exact = 2_000_000_u32.checked_div(u32::try_from(period).ok()?)?;
    let nearest = LABELS.into_iter().min_by_key(|label| label.abs_diff(exact))?;
    (nearest.abs_diff(exact) * 50 <= nearest).then_some(nearest)
}

/// JEDEC's makers (JEP106) by bank and code, those whose modules are in servers. Another one is told by its numbers.
fn maker(bytes: &[u8]) -> Option<String> {
    const MAKERS: [(u8, u8, &str); 15] = [
        (0x00, 0xce, "Samsung"),
        (0x00, 0xad, "SK hynix"),
        (0x00, 0x2c, "Micron"),
        (0x00, 0xc1, "Infineon"),
        (0x01, 0x98, "Kingston"),
        (0x01, 0x94, "SMART"),
        (0x01, 0x4f, "Transcend"),
        (0x01, 0x7a, "Apacer"),
        (0x02, 0xfe, "Elpida"),
        (0x03, 0x0b, "Nanya"),
        (0x04, 0x43, "Ramaxel"),
        (0x04, 0xcb, "ADATA"),
        (0x05, 0x9b, "Crucial"),
        (0x06, 0xf1, "Innodisk"),
        (0x0a, 0x91, "CXMT"),
    ];
    let [bank, code] = bytes else { return None };
    if matches!(bytes, [0, 0] | [0xff, 0xff]) {
        return None;
    }
    let known = MAKERS.iter().find(|(of, number, _)| (of, number) == (&(bank & 0x7f), code));
    Some(known.map_or_else(|| format!("JEP106 {}-{code:02X}h", (bank & 0x7f) + 1), |(_, _, name)| (*name).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chip<const N: usize>(length: usize, bytes: [(usize, u8); N], maker: usize, part: usize, text: &str) -> Vec<u8> {
        let mut chip = vec![0; length];
        for (at, byte) in bytes {
            chip[at] = byte;
        }
        chip[maker..maker + 2].copy_from_slice(&[0x80, 0xce]);
        chip[maker + 5..maker + 9].copy_from_slice(&[0x35, 0x9a, 0x0c, 0xf1]);
        chip[part..part + text.len()].copy_from_slice(text.as_bytes());
        chip
    }

    #[test]
    fn modules_of_three_generations_tell_size_speed_part_and_serial() {
        // 4 Gbit dies x4 in two ranks on 64 data bits: 16 GiB.
        let ddr3 = chip(256, [(2, DDR3), (4, 0x04), (7, 0x08), (8, 0x0b), (12, 0x0a)], 117, 128, "M393B2G70QH0-YK0  ");
        // 8 Gbit dies x4 in two ranks: 32 GiB.
        let ddr4 = chip(
            512,
            [(2, DDR4), (4, 0x85), (6, 0x00), (12, 0x08), (13, 0x0b), (18, 0x06)],
            320,
            329,
            "M393A4K40CB2-CTD    ",
        );
        // 16 Gbit dies x4 in two ranks on two channels of 32: 64 GiB.
        let ddr5 = chip(
            1024,
            [(2, DDR5), (4, 0x04), (6, 0x00), (20, 0xa0), (21, 0x01), (234, 0x08), (235, 0x22)],
            512,
            521,
            "M321R8GA0BB0-CQKZJ            ",
        );
        let rows = [
            (ddr3, "DDR3", "M393B2G70QH0-YK0", 16, 1600),
            (ddr4, "DDR4", "M393A4K40CB2-CTD", 32, 2666),
            (ddr5, "DDR5", "M321R8GA0BB0-CQKZJ", 64, 4800),
        ];
        for (bytes, kind, part, gib, speed) in rows {
            let memory = read(&bytes).unwrap();
            assert_eq!(memory.kind.as_deref(), Some(kind));
            assert_eq!(memory.part_number.as_deref(), Some(part));
            assert_eq!((memory.size_mib, memory.speed_mts), (Some(gib * 1024), Some(speed)), "{kind}");
            assert_eq!((memory.serial.as_deref(), memory.manufacturer.as_deref()), (Some("359A0CF1"), Some("Samsung")));
        }
    }

    #[test]
    fn a_stack_of_dies_counts_each_and_a_package_of_two_loads_does_not() {
        let with = |package: u8| {
            let bytes = [(2, DDR4), (4, 0x85), (6, package), (12, 0x08), (13, 0x0b)];
            read(&chip(512, bytes, 320, 329, "X")).unwrap().size_mib
        };
        assert_eq!(with(0x92), Some(65536), "3DS, two dies");
        assert_eq!(with(0x91), Some(32768), "dual die, two loads: told as ranks already");
    }

    #[test]
    fn what_a_chip_does_not_tell_is_left_out() {
        let memory = read(&[0x23, 0x11, DDR4]).unwrap();
        assert_eq!((memory.size_mib, memory.serial, memory.part_number), (None, None, None));
        assert_eq!(read(&[1, 2, 0x08]), None);
        assert_eq!((extent(&[0x23, 0x11, DDR4]), extent(&[0; 8]), extent(&[])), (Some(349), None, None));
        assert_eq!(maker(&[0x8b, 0x01]).as_deref(), Some("JEP106 12-01h"));
    }

    proptest! {
        #[test]
        fn no_chip_panics(kind in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let _ = read(&[&[0x30, 0x10, [DDR3, DDR4, DDR5][kind]], &bytes[..]].concat());
        }
    }
}
