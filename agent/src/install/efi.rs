//! UEFI's boot order after an install: the entry that booted this time (the network) stays first, the new disk comes
//! right after it (PROTOCOLS B6.4, B6.5), everything else keeps its order.
//!
//! The next boot must come past the server again, which then says "your own disk"; a firmware that puts the disk first
//! by itself is why the server never relies on this order and sets its one-time override.

use super::gpt::{ESP, Table};
use crate::bytes::{le16, put};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// `EFI_GLOBAL_VARIABLE`
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, for boot services and the running system.
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();
const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";
/// What our entries are called, so that the next install finds and replaces them.
const NAME: &str = "Muster disk";

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// An `EFI_LOAD_OPTION` (UEFI 2.10, 3.1.3) for the fallback loader on the disk's ESP. `None` without an ESP.
pub fn load_option(table: &Table) -> Option<Vec<u8>> {
    let (number, esp, _, _) = table.partitions().find(|(_, entry, _, _)| entry.kind == ESP)?;
    let mut disk = vec![4, 1, 42, 0];
    disk.extend(u32::try_from(number).ok()?.to_le_bytes());
    disk.extend(esp.first.to_le_bytes());
    disk.extend((esp.last - esp.first + 1).to_le_bytes());
    disk.extend(esp.guid);
    disk.extend([2, 2]);
    let loader = utf16(LOADER);
    let mut path = disk;
    path.extend([4, 4]);
    path.extend(u16::try_from(loader.len() + 4).ok()?.to_le_bytes());
    path.extend(loader);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).ok()?.to_le_bytes());
    option.extend(utf16(NAME));
    option.extend(path);
    Some(option)
}

fn is_ours(option: &[u8]) -> bool {
    option.get(6..).is_some_and(|rest| rest.starts_with(&utf16(NAME)))
}

/// The new order: what booted now, the disk, then the rest as it was.
pub fn order(booted: Option<u16>, disk: u16, before: &[u16]) -> Vec<u16> {
    let mut order: Vec<u16> = booted.into_iter().filter(|booted| *booted != disk).collect();
    for entry in std::iter::once(&disk).chain(before) {
        if !order.contains(entry) {
            order.push(*entry);
        }
    }
    order
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).filter_map(|pair| le16(pair, 0)).collect()
}

/// Writes entry and order below `folder` (efivarfs), and reads the order back.
pub fn set_boot_order(folder: &Path, table: &Table) -> io::Result<()> {
    let Some(option) = load_option(table) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the image has no EFI system partition"));
    };
    let before = read(folder, "BootOrder").map(|bytes| words(&bytes)).unwrap_or_default();
    let booted = read(folder, "BootCurrent").and_then(|bytes| le16(&bytes, 0));
    let mut free = None;
    for number in 0..0x100_u16 {
        match read(folder, &format!("Boot{number:04X}")) {
            Some(old) if is_ours(&old) => {
                free = Some(number);
                break;
            }
            None if free.is_none() && !before.contains(&number) => free = Some(number),
            _ => {}
        }
    }
    let number = free.ok_or_else(|| io::Error::other("no free boot entry"))?;
    write(folder, &format!("Boot{number:04X}"), &option)?;
    let wanted = order(booted, number, &before);
    let bytes: Vec<u8> = wanted.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    write(folder, "BootOrder", &bytes)?;
    match read(folder, "BootOrder") {
        Some(found) if words(&found) == wanted => Ok(()),
        _ => Err(io::Error::other("the firmware does not keep the boot order")),
    }
}

/// A variable without its four bytes of attributes.
fn read(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(folder.join(format!("{name}-{GLOBAL}"))).ok()?.take(65_536).read_to_end(&mut bytes).ok()?;
    bytes.get(4..).map(Into::into)
}

/// efivarfs wants attributes and value in one write, and guards what exists against removal by accident.
fn write(folder: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = folder.join(format!("{name}-{GLOBAL}"));
    unguard(&path);
    let mut bytes = vec![0; 4 + value.len()];
    put(&mut bytes, 0, &ATTRIBUTES);
    put(&mut bytes, 4, value);
    if read(folder, name).is_some_and(|old| old.len() > value.len()) {
        fs::remove_file(&path)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(&path)?.write_all(&bytes)
}

/// Takes away `FS_IMMUTABLE_FL`.
fn unguard(path: &Path) {
    const GET: u64 = 0x8008_6601;
    const SET: u64 = 0x4008_6602;
    const IMMUTABLE: libc::c_long = 0x10;
    let Ok(file) = File::open(path) else { return };
    let mut flags: libc::c_long = 0;
    // SAFETY: both requests take one long that outlives the calls.
    unsafe {
        if libc::ioctl(file.as_raw_fd(), GET as _, &raw mut flags) == 0 && flags & IMMUTABLE != 0 {
            flags &= !IMMUTABLE;
            libc::ioctl(file.as_raw_fd(), SET as _, &raw const flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::gpt;

    #[test]
    fn b6_5_what_booted_stays_first_and_the_disk_is_second() {
        assert_eq!(order(Some(3), 9, &[0, 9, 3, 1]), [3, 9, 0, 1]);
        assert_eq!(order(None, 9, &[0, 1]), [9, 0, 1]);
        assert_eq!(order(Some(9), 9, &[0]), [9, 0]);
        assert_eq!(order(Some(3), 9, &[]), [3, 9]);
    }

    #[test]
    fn b6_5_the_entry_is_made_once_and_replaced_by_the_next_install() {
        let folder = std::env::temp_dir().join(format!("muster-efi-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        write(&folder, "BootOrder", &[0, 0, 2, 0]).unwrap();
        write(&folder, "BootCurrent", &[2, 0]).unwrap();
        write(&folder, "Boot0000", b"firmware's own").unwrap();
        let image = gpt::tests::image("efi", 32);
        let bytes = fs::read(&image).unwrap();
        let mut at = |offset: u64, len: usize| bytes.get(offset as usize..offset as usize + len).map(Into::into);
        let table = gpt::read(&mut at, 512, bytes.len() as u64).unwrap();
        for _ in 0..2 {
            set_boot_order(&folder, &table).unwrap();
            assert_eq!(words(&read(&folder, "BootOrder").unwrap()), [2, 1, 0]);
        }
        let option = read(&folder, "Boot0001").unwrap();
        assert!(is_ours(&option));
        assert_eq!(option.len(), 6 + utf16(NAME).len() + usize::from(le16(&option, 4).unwrap()));
        fs::remove_dir_all(folder).unwrap();
        fs::remove_file(image).unwrap();
    }
}
