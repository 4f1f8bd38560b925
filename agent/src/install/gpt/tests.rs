//! Partition tables on image files, judged by `sgdisk`.

use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image of `mib` MiB as `sgdisk` makes it: ESP (8 MiB), then root. It is the reference for our reading.
pub fn image(name: &str, mib: u64) -> PathBuf {
    let path = std::env::temp_dir().join(format!("muster-gpt-{name}-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(mib * MIB).unwrap();
    let made = Command::new("sgdisk")
        .args(["-n1:2048:+8M", "-t1:ef00", "-n2:0:0", "-t2:8304", "-c2:root"])
        .arg(&path)
        .output()
        .expect("sgdisk (Debian: gdisk)");
    assert!(made.status.success(), "{made:?}");
    path
}

pub fn verify(path: &Path) -> String {
    let checked = Command::new("sgdisk").arg("-v").arg(path).output().unwrap();
    let words = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(words.contains("No problems found"), "{words}");
    let shown = Command::new("sgdisk").arg("-p").arg(path).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

fn of(bytes: &[u8]) -> Option<Table> {
    let mut at = |offset: u64, len: usize| {
        let offset = usize::try_from(offset).ok()?;
        bytes.get(offset..offset.checked_add(len)?).map(Into::into)
    };
    read(&mut at, 512, bytes.len() as u64)
}

fn apply(disk: &mut [u8], writes: &Writes) {
    for (at, bytes) in writes {
        put(disk, usize::try_from(*at).unwrap(), bytes);
    }
}

#[test]
fn a_small_image_on_a_large_disk_is_what_sgdisk_calls_sound() {
    let path = image("grown", 32);
    let mut disk = std::fs::read(&path).unwrap();
    let table = of(&disk).unwrap();
    assert_eq!(table.owner(), None);
    let size = 100 * MIB + 512 * 3;
    disk.resize(size as usize, 0);
    let machine = MachineId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let (grown, seed_at) = table.grown(size, machine).unwrap();
    protect(&mut disk, 512, size);
    apply(&mut disk, &grown.writes(size));
    std::fs::write(&path, &disk).unwrap();
    let shown = verify(&path);
    assert!(shown.contains("muster-seed"), "{shown}");
    let info = Command::new("sgdisk").arg("-i3").arg(&path).output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).to_lowercase();
    assert!(info.contains("01234567-89ab-cdef-0123-456789abcdef"), "the seal reads like the id: {info}");
    assert!(info.contains("6d757374-6572-4365-a1ed-5ea15ea15ea1"), "{info}");
    let read_back = of(&disk).unwrap();
    assert_eq!((read_back.owner(), &read_back), (Some(machine), &grown));
    let (_, _, root_at, root_len) = read_back.partitions().nth(1).unwrap();
    assert_eq!((root_at + root_len, seed_at % MIB), (seed_at, 0));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_seal_is_read_from_the_copy_at_the_end_when_the_first_is_gone() {
    let path = image("backup", 64);
    let mut disk = std::fs::read(&path).unwrap();
    let size = 100 * MIB;
    disk.resize(size as usize, 0);
    let (grown, _) = of(&disk).unwrap().grown(size, MachineId(5)).unwrap();
    apply(&mut disk, &grown.writes(size));
    disk[..MIB as usize].fill(0);
    assert_eq!(of(&disk).unwrap().owner(), Some(MachineId(5)));
    let len = disk.len();
    disk[len - 512..].fill(0);
    assert_eq!(of(&disk), None);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_reinstall_replaces_the_old_seal() {
    let path = image("again", 40);
    let table = of(&std::fs::read(&path).unwrap()).unwrap();
    let (once, _) = table.grown(100 * MIB, MachineId(5)).unwrap();
    let (twice, _) = once.grown(200 * MIB, MachineId(6)).unwrap();
    assert_eq!(twice.owner(), Some(MachineId(6)));
    assert_eq!(twice.partitions().count(), 3);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_disk_without_room_for_the_seed_is_refused() {
    let path = image("small", 32);
    let table = of(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(table.grown(40 * MIB, MachineId(5)), Err(Unfit::TooSmall));
    assert_eq!(table.grown(MIB, MachineId(5)), Err(Unfit::TooSmall));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_flipped_bit_is_no_table() {
    let path = image("flip", 32);
    let mut disk = std::fs::read(&path).unwrap();
    let len = disk.len();
    disk[len - 512..].fill(0);
    for at in [512 + 40, 1024 + 3, 512 + 16] {
        disk[at] ^= 1;
        assert_eq!(of(&disk), None, "{at}");
        disk[at] ^= 1;
    }
    assert!(of(&disk).is_some());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_checksum_is_the_common_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

proptest! {
    #[test]
    fn no_bytes_panic(head in proptest::collection::vec(any::<u8>(), 0..4096), size: u64, sector: u32) {
        let mut at = |offset: u64, len: usize| {
            let offset = usize::try_from(offset).ok()?;
            head.get(offset..offset.checked_add(len)?).map(Into::into)
        };
        let _ = read(&mut at, sector, size);
    }

    #[test]
    fn no_sound_header_with_wild_numbers_panics(first: u64, last: u64, usable: u64, size: u64) {
        let entry = Entry { kind: ROOT, guid: [1; 16], first: first.min(last), last: first.max(last), flags: 0, name: [0; 72] };
        let table = Table { sector: 512, disk_guid: [2; 16], entries: vec![Some(entry), None], entries_at: 2, first_usable: usable };
        let _ = table.grown(size, MachineId(1));
        prop_assert!(table.partitions().count() <= 1);
    }
}
