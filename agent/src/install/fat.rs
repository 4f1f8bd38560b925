//! A small FAT16 volume with a few files in its root folder, made in memory.
//!
//! cloud-init's NoCloud source wants a volume labelled CIDATA with long file names. That is one boot sector, two
//! tables and one folder; a library that also reads, grows and deletes would be the larger part of the agent's disk
//! code. Layout after Microsoft's FAT specification 1.03.

use crate::bytes::put;

const SECTOR: usize = 512;
/// Sectors in a cluster; with 16 MiB this gives some 16,000 clusters, well inside what makes a volume FAT16.
const CLUSTER: usize = 2;
const RESERVED: usize = 4;
const ROOT_ENTRIES: usize = 512;
/// 1980-01-01: the seed has no use for times, and the same order gives the same bytes.
const DATE: u16 = 1 << 5 | 1;

/// `None` when it does not fit or would not be FAT16. `serial` names the volume.
pub fn volume(bytes: usize, label: &str, serial: u32, files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let sectors = bytes / SECTOR;
    let root_sectors = ROOT_ENTRIES * 32 / SECTOR;
    let per_table = (sectors / CLUSTER + 2).checked_mul(2)?.div_ceil(SECTOR);
    let data = RESERVED + 2 * per_table + root_sectors;
    let clusters = sectors.checked_sub(data)? / CLUSTER;
    if !(4085..65525).contains(&clusters) || files.len() > 100 {
        return None;
    }
    let mut volume = vec![0; bytes];
    boot_sector(&mut volume, sectors, per_table, label, serial);
    let mut table = vec![0xfff8_u16, 0xffff];
    let mut folder = short_entry(&padded(label)?, 0x08, 0, 0);
    for (n, (name, content)) in files.iter().enumerate() {
        let first = table.len();
        let count = content.len().div_ceil(SECTOR * CLUSTER);
        let at = (data + (first - 2) * CLUSTER) * SECTOR;
        if first - 2 + count > clusters {
            return None;
        }
        put(&mut volume, at, content);
        table.extend((1..count).map(|n| u16::try_from(first + n).unwrap_or(u16::MAX)));
        table.extend((count > 0).then_some(0xffff));
        let start = if count > 0 { u16::try_from(first).ok()? } else { 0 };
        folder.extend(named_entry(name, n, start, u32::try_from(content.len()).ok()?)?);
    }
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    put(&mut volume, RESERVED * SECTOR, &table);
    put(&mut volume, (RESERVED + per_table) * SECTOR, &table);
    (folder.len() < ROOT_ENTRIES * 32).then(|| put(&mut volume, (data - root_sectors) * SECTOR, &folder))?;
    Some(volume)
}

fn boot_sector(volume: &mut [u8], sectors: usize, per_table: usize, label: &str, serial: u32) {
    let word = |n: usize| u16::try_from(n).unwrap_or(0).to_le_bytes();
    put(volume, 0, b"\xeb\x3c\x90MUSTER  ");
    put(volume, 11, &word(SECTOR));
    put(volume, 13, &[CLUSTER as u8]);
    put(volume, 14, &word(RESERVED));
    put(volume, 16, &[2]);
    put(volume, 17, &word(ROOT_ENTRIES));
    put(volume, 19, &word(if sectors < 65536 { sectors } else { 0 }));
    put(volume, 21, &[0xf8]);
    put(volume, 22, &word(per_table));
    put(volume, 24, &[32, 0, 2, 0]);
    let large = if sectors < 65536 { 0 } else { u32::try_from(sectors).unwrap_or(0) };
    put(volume, 32, &large.to_le_bytes());
    put(volume, 36, &[0x80, 0, 0x29]);
    put(volume, 39, &serial.to_le_bytes());
    put(volume, 43, &padded(label).unwrap_or(*b"NO NAME    "));
    put(volume, 54, b"FAT16   ");
    put(volume, 510, &[0x55, 0xaa]);
}

fn padded(label: &str) -> Option<[u8; 11]> {
    let mut padded = [b' '; 11];
    padded.get_mut(..label.len())?.copy_from_slice(label.as_bytes());
    Some(padded)
}

fn short_entry(name: &[u8; 11], attributes: u8, start: u16, size: u32) -> Vec<u8> {
    let mut entry = vec![0; 32];
    put(&mut entry, 0, name);
    put(&mut entry, 11, &[attributes]);
    for at in [16, 18, 24] {
        put(&mut entry, at, &DATE.to_le_bytes());
    }
    put(&mut entry, 26, &start.to_le_bytes());
    put(&mut entry, 28, &size.to_le_bytes());
    entry
}

/// The pieces of the long name, last first, then the short entry that only they are known by.
fn named_entry(name: &str, number: usize, start: u16, size: u32) -> Option<Vec<u8>> {
    let short = padded(&format!("SEED~{number}"))?;
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if units.is_empty() || units.len() > 255 {
        return None;
    }
    if !units.len().is_multiple_of(13) {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(13), 0xffff);
    let pieces = units.len() / 13;
    let mut entries = Vec::new();
    for (n, piece) in units.chunks_exact(13).enumerate().rev() {
        let last = if n + 1 == pieces { 0x40 } else { 0 };
        let text: Vec<u8> = piece.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let mut entry = vec![0; 32];
        put(&mut entry, 0, &[u8::try_from(n + 1).ok()? | last]);
        put(&mut entry, 1, text.get(..10)?);
        put(&mut entry, 11, &[0x0f, 0, sum]);
        put(&mut entry, 14, text.get(10..22)?);
        put(&mut entry, 28, text.get(22..26)?);
        entries.extend(entry);
    }
    entries.extend(short_entry(&short, 0x20, start, size));
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_volume_is_what_other_peoples_tools_call_sound() {
        let path = std::env::temp_dir().join(format!("muster-fat-{}", std::process::id()));
        let long = vec![b'x'; 100_000];
        let files: [(&str, &[u8]); 4] =
            [("meta-data", b"instance-id: i\n"), ("user-data", &long), ("network-config", b"n"), ("empty", b"")];
        std::fs::write(&path, volume(16 << 20, "CIDATA", 0x1234_5678, &files).unwrap()).unwrap();
        let checked = Command::new("fsck.vfat").arg("-n").arg(&path).output().expect("fsck.vfat (Debian: dosfstools)");
        let words = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success() && !words.contains("Dirty"), "{words}");
        for (name, content) in files {
            let got = Command::new("mtype").arg("-i").arg(&path).arg(format!("::{name}")).output().expect("mtype");
            assert_eq!(got.stdout, content, "{name}");
        }
        let label = Command::new("blkid").args(["-p", "-o", "export"]).arg(&path).output().unwrap();
        let label = String::from_utf8_lossy(&label.stdout).into_owned();
        assert!(label.contains("LABEL=CIDATA") && label.contains("TYPE=vfat"), "{label}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_no_volume() {
        assert_eq!(volume(16 << 20, "CIDATA", 0, &[("f", &vec![0; 17 << 20])]), None);
        assert_eq!(volume(1 << 20, "CIDATA", 0, &[]), None);
        assert_eq!(volume(16 << 20, "TOO LONG A LABEL", 0, &[]), None);
    }
}
