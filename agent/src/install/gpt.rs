//! GUID partition tables (UEFI 2.10, chapter 5): read, made larger for a larger disk, and Muster's seal in them.
//!
//! **The seal of ownership.** The seed partition at a disk's end has the type [`SEED`], which is Muster's own, and the
//! machine's id as its unique GUID (written so that its hex digits read like the id). It needs no format of its own,
//! survives what an owner does inside the filesystems, and any partition tool shows it. A disk whose seal names
//! another machine is never written.

use crate::bytes::{array, le32, le64, put, swap_guid};
use muster_names::MachineId;

pub const MIB: u64 = 1 << 20;
/// Length of the seed partition.
pub const SEED_BYTES: u64 = 16 * MIB;
/// Type of the seed partition: `6d757374-6572-4365-a1ed-5ea15ea15ea1`, on disk with the first three fields swapped.
pub const SEED: [u8; 16] =
    [0x74, 0x73, 0x75, 0x6d, 0x72, 0x65, 0x65, 0x43, 0xa1, 0xed, 0x5e, 0xa1, 0x5e, 0xa1, 0x5e, 0xa1];
/// `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`
pub const ESP: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// `4f68bce3-e8cd-4db1-96e7-fbcaf984b709`: root of x86-64 (Discoverable Partitions Specification)
pub const ROOT: [u8; 16] =
    [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09];
/// `21686148-6449-6e6f-744e-656564454649`
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// `0657fd6d-a4ab-43c4-84e5-0933c84b4f4f`
const SWAP: [u8; 16] = [0x6d, 0xfd, 0x57, 0x06, 0xab, 0xa4, 0xc4, 0x43, 0x84, 0xe5, 0x09, 0x33, 0xc8, 0x4b, 0x4f, 0x4f];

const ENTRY: usize = 128;
const HEADER: usize = 92;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: [u8; 16],
    pub guid: [u8; 16],
    /// First and last block, both inside.
    pub first: u64,
    pub last: u64,
    flags: u64,
    name: [u8; 72],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub sector: u64,
    pub disk_guid: [u8; 16],
    /// All slots, the empty ones too: a partition's number is its slot's.
    pub entries: Vec<Option<Entry>>,
    /// Where the first copy's entries lie.
    entries_at: u64,
    first_usable: u64,
}

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("no GUID partition table with this disk's sector size")]
    NoTable,
    #[error("the disk is too small for the image and the seed partition")]
    TooSmall,
    #[error("every slot of the partition table is taken")]
    Full,
    #[error("the table's entries lie outside its first MiB")]
    Scattered,
}

/// CRC-32 as Ethernet and GPT use it.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Reads the first copy, or the one at the end where the first is damaged. `read(offset, len)` gives what is there.
pub fn read(read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>, sector: u32, size: u64) -> Option<Table> {
    if !matches!(sector, 512 | 1024 | 2048 | 4096) {
        return None;
    }
    let sector = u64::from(sector);
    let last = size.checked_div(sector)?.checked_sub(1)?;
    copy(read, sector, 1).or_else(|| copy(read, sector, last))
}

fn copy(read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>, sector: u64, at: u64) -> Option<Table> {
    let header = read(at.checked_mul(sector)?, HEADER)?;
    let length = usize::try_from(le32(&header, 12)?).ok()?;
    if array(&header, 0)? != *b"EFI PART" || length != HEADER || le64(&header, 24)? != at {
        return None;
    }
    let mut blank = header.clone();
    put(&mut blank, 16, &[0; 4]);
    let (count, size) = (usize::try_from(le32(&header, 80)?).ok()?, le32(&header, 84)?);
    if le32(&header, 16)? != crc32(&blank) || size != ENTRY as u32 || count > 1024 {
        return None;
    }
    let entries_at = le64(&header, 72)?;
    let raw = read(entries_at.checked_mul(sector)?, count * ENTRY)?;
    if raw.len() != count * ENTRY || crc32(&raw) != le32(&header, 88)? {
        return None;
    }
    let entries = raw.chunks_exact(ENTRY).map(entry).collect();
    let disk_guid = array(&header, 56)?;
    // A copy at the end knows only its own entries' place; the first copy's are at block 2 on every disk we write.
    let entries_at = if at == 1 { entries_at } else { 2 };
    Some(Table { sector, disk_guid, entries, entries_at, first_usable: le64(&header, 40)? })
}

fn entry(raw: &[u8]) -> Option<Entry> {
    let kind = array(raw, 0)?;
    (kind != [0; 16]).then_some(())?;
    let (first, last) = (le64(raw, 32)?, le64(raw, 40)?);
    (first <= last).then_some(())?;
    Some(Entry { kind, guid: array(raw, 16)?, first, last, flags: le64(raw, 48)?, name: array(raw, 56)? })
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        let numbers = [self.first.to_le_bytes(), self.last.to_le_bytes(), self.flags.to_le_bytes()];
        [&self.kind[..], &self.guid, numbers.as_flattened(), &self.name].concat()
    }
}

/// What has to be written for a table: (offset, bytes), the first copy's header last.
pub type Writes = Vec<(u64, Vec<u8>)>;

impl Table {
    /// The machine that the seal names.
    pub fn owner(&self) -> Option<MachineId> {
        let seal = self.entries.iter().flatten().find(|entry| entry.kind == SEED)?;
        Some(MachineId(u128::from_be_bytes(swap_guid(seal.guid))))
    }

    /// Number (from 1), first byte and length of each partition.
    pub fn partitions(&self) -> impl Iterator<Item = (usize, &Entry, u64, u64)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            let len = (entry.last - entry.first).checked_add(1)?.checked_mul(self.sector)?;
            Some((slot + 1, entry, entry.first.checked_mul(self.sector)?, len))
        })
    }

    /// The table for a disk of `size` bytes: the last partition grown to the seed partition, which is new at the end
    /// and sealed with `machine`. Also gives the seed partition's offset.
    pub fn grown(&self, size: u64, machine: MachineId) -> Result<(Self, u64), Unfit> {
        let blocks = size / self.sector;
        let last_usable = blocks.checked_sub(2 + self.entry_blocks()).ok_or(Unfit::TooSmall)?;
        let align = MIB / self.sector;
        let seed_blocks = SEED_BYTES / self.sector;
        let seed_first = (last_usable + 1).checked_sub(seed_blocks).ok_or(Unfit::TooSmall)? / align * align;
        if seed_first < 2 * align {
            return Err(Unfit::TooSmall);
        }
        let mut grown = self.clone();
        for old in &mut grown.entries {
            if old.as_ref().is_some_and(|entry| entry.kind == SEED) {
                *old = None;
            }
        }
        if grown.entries_at.saturating_add(self.entry_blocks()).saturating_mul(self.sector) > MIB {
            return Err(Unfit::Scattered);
        }
        let last = grown.entries.iter_mut().flatten().max_by_key(|entry| entry.last);
        if let Some(last) = last {
            if last.last >= seed_first {
                return Err(Unfit::TooSmall);
            }
            if ![ESP, BIOS_BOOT, SWAP].contains(&last.kind) {
                last.last = seed_first - 1;
            }
        }
        let mut name = [0; 72];
        for (unit, place) in "muster-seed".encode_utf16().zip(name.chunks_exact_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        let seed = Entry {
            kind: SEED,
            guid: swap_guid(machine.0.to_be_bytes()),
            first: seed_first,
            last: seed_first + seed_blocks - 1,
            flags: 0,
            name,
        };
        *grown.entries.iter_mut().find(|slot| slot.is_none()).ok_or(Unfit::Full)? = Some(seed);
        Ok((grown, seed_first * self.sector))
    }

    fn entry_blocks(&self) -> u64 {
        u64::try_from(self.entries.len() * ENTRY).unwrap_or(u64::MAX).div_ceil(self.sector)
    }

    /// Both copies for a disk of `size` bytes.
    pub fn writes(&self, size: u64) -> Writes {
        let last = (size / self.sector).saturating_sub(1);
        let blank = [0; ENTRY];
        let entries: Vec<u8> =
            self.entries.iter().flat_map(|slot| slot.as_ref().map_or_else(|| blank.to_vec(), Entry::bytes)).collect();
        let backup_at = last.saturating_sub(self.entry_blocks());
        let at = |block: u64| block * self.sector;
        vec![
            (at(backup_at), entries.clone()),
            (at(last), self.header(last, 1, backup_at, last, &entries)),
            (at(self.entries_at), entries.clone()),
            (at(1), self.header(1, last, self.entries_at, last, &entries)),
        ]
    }

    fn header(&self, own: u64, other: u64, entries_at: u64, last: u64, entries: &[u8]) -> Vec<u8> {
        let mut header = vec![0; usize::try_from(self.sector).unwrap_or(512)];
        put(&mut header, 0, b"EFI PART\0\0\x01\0\x5c\0\0\0");
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &self.first_usable.to_le_bytes());
        put(&mut header, 48, &last.saturating_sub(self.entry_blocks() + 1).to_le_bytes());
        put(&mut header, 56, &self.disk_guid);
        put(&mut header, 72, &entries_at.to_le_bytes());
        put(&mut header, 80, &u32::try_from(self.entries.len()).unwrap_or(0).to_le_bytes());
        put(&mut header, 84, &(ENTRY as u32).to_le_bytes());
        put(&mut header, 88, &crc32(entries).to_le_bytes());
        let sum = crc32(header.get(..HEADER).unwrap_or_default());
        put(&mut header, 16, &sum.to_le_bytes());
        header
    }
}

/// The protective entry of the first sector shall cover the whole disk.
pub fn protect(first_sector: &mut [u8], sector: u64, size: u64) {
    let blocks = u32::try_from((size / sector).saturating_sub(1)).unwrap_or(u32::MAX);
    for at in (446..510).step_by(16) {
        if first_sector.get(at + 4) == Some(&0xee) {
            put(first_sector, at + 12, &blocks.to_le_bytes());
        }
    }
}

#[cfg(test)]
pub mod tests;
