//! Disks as the kernel sees them, with what is engraved in them and what speaks against writing to them.

use super::{Roots, names, number, signatures, word};
use crate::bytes::{be16, byte, text};
use crate::install::gpt;
use muster_names::{Disk, DiskKind};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A disk and the way to it in this boot.
#[derive(Clone, Debug)]
pub struct Found {
    pub disk: Disk,
    pub path: PathBuf,
    pub usage: Usage,
}

/// What speaks against writing to a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Mounted, swapped to or held in this very boot: never written.
    pub live: Option<String>,
    /// Marked as part of an array or pool that may belong to others.
    pub member: Option<String>,
    /// Other machines may reach this disk too: Fibre Channel, iSCSI, a SAS expander.
    pub shared: bool,
}

impl Usage {
    fn words(&self) -> Option<String> {
        self.live.clone().or_else(|| self.member.clone())
    }
}

/// Everything that is a disk of its own: no partitions, no layers above disks, no drive without a medium.
pub fn find(roots: &Roots) -> Vec<Found> {
    let mounts = String::from_utf8_lossy(&roots.bytes("proc/self/mountinfo")).into_owned();
    let swaps = String::from_utf8_lossy(&roots.bytes("proc/swaps")).into_owned();
    names(&roots.path("sys/block")).iter().filter_map(|name| one(roots, name, &mounts, &swaps)).collect()
}

fn one(roots: &Roots, name: &str, mounts: &str, swaps: &str) -> Option<Found> {
    let folder = roots.path("sys/block").join(name);
    let layered = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "rbd", "drbd", "zd", "bcache"];
    let hidden = name.contains("boot") || name.contains("rpmb");
    if layered.iter().any(|prefix| name.starts_with(prefix)) || (name.starts_with("mmcblk") && hidden) {
        return None;
    }
    let size_bytes = number(&folder.join("size"))?.checked_mul(512).filter(|size| *size > 0)?;
    let sector = number(&folder.join("queue/logical_block_size")).and_then(|n| u32::try_from(n).ok()).unwrap_or(512);
    let device = folder.join("device");
    let way = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
    let path = roots.path("dev").join(name.replace('!', "/"));
    let parts = partitions(&folder, name);
    let opened = File::open(&path).ok();
    let usage = Usage {
        live: live(&folder, name, &parts, mounts, swaps),
        member: opened.as_ref().and_then(|disk| member(disk, size_bytes, &parts)),
        shared: is_shared(&way),
    };
    let owner = opened.as_ref().and_then(|disk| {
        let mut read = |offset, len| crate::disk::peek(disk, offset, len);
        gpt::read(&mut read, sector, size_bytes)?.owner().map(|machine| machine.to_string())
    });
    let disk = Disk {
        name: name.to_owned(),
        kind: kind(name, &folder, &way),
        model: word(&device.join("model")),
        serial: serial(&folder, &device),
        wwn: [folder.join("wwid"), device.join("wwid")].iter().find_map(|file| wwn(&word(file)?)),
        size_bytes,
        sector_bytes: sector,
        firmware: word(&device.join("firmware_rev")).or_else(|| word(&device.join("rev"))),
        bay: names(&device).iter().find_map(|n| n.strip_prefix("enclosure_device:")).and_then(|n| text(n.as_bytes())),
        owner,
        read_only: number(&folder.join("ro")) == Some(1),
        in_use: usage.words(),
    };
    Some(Found { disk, path, usage })
}

/// Name, first byte and length.
struct Partition {
    name: String,
    offset: u64,
    len: u64,
}

fn partitions(folder: &Path, disk: &str) -> Vec<Partition> {
    let of = |name: String| {
        let part = folder.join(&name);
        number(&part.join("partition"))?;
        let (start, size) = (number(&part.join("start"))?, number(&part.join("size"))?);
        Some(Partition { name, offset: start.checked_mul(512)?, len: size.checked_mul(512)? })
    };
    names(folder).into_iter().filter(|name| name.starts_with(disk)).filter_map(of).collect()
}

fn live(folder: &Path, name: &str, parts: &[Partition], mounts: &str, swaps: &str) -> Option<String> {
    let of_parts = parts.iter().map(|part| (part.name.clone(), folder.join(&part.name)));
    for (name, folder) in std::iter::once((name.to_owned(), folder.to_owned())).chain(of_parts) {
        if let Some(holder) = names(&folder.join("holders")).first() {
            return Some(format!("{name} is held by {holder}"));
        }
        if let Some(place) = word(&folder.join("dev")).and_then(|dev| mounted(mounts, &dev, &name)) {
            return Some(format!("{name} is mounted on {place}"));
        }
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&format!("/dev/{name}"))) {
            return Some(format!("{name} is swapped to"));
        }
    }
    None
}

/// Where `/proc/self/mountinfo` says that a device is mounted, by number or, for filesystems with a number of their
/// own, by source.
fn mounted(mounts: &str, number: &str, name: &str) -> Option<String> {
    let source = format!("/dev/{name}");
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (dev, _root, place) = (front.next()?, front.next()?, front.next()?);
        (dev == number || back.split(' ').nth(1) == Some(&source)).then(|| place.to_owned())
    })
}

fn member(disk: &File, size: u64, parts: &[Partition]) -> Option<String> {
    if let Some(of) = signatures::member(disk, 0, size) {
        return Some(format!("member of a {of}"));
    }
    parts.iter().find_map(|part| {
        signatures::member(disk, part.offset, part.len).map(|of| format!("{} is a member of a {of}", part.name))
    })
}

fn is_shared(way: &Path) -> bool {
    way.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.starts_with("rport-") || part.starts_with("session") || part.starts_with("expander-")
    })
}

fn kind(name: &str, folder: &Path, way: &Path) -> DiskKind {
    let way = way.to_string_lossy();
    if name.starts_with("nvme") {
        DiskKind::Nvme
    } else if ["vd", "xvd"].iter().any(|prefix| name.starts_with(prefix)) || way.contains("/virtio") {
        DiskKind::Virtual
    } else {
        match number(&folder.join("queue/rotational")) {
            Some(0) => DiskKind::Ssd,
            Some(_) => DiskKind::Hdd,
            None => DiskKind::Unknown,
        }
    }
}

fn serial(folder: &Path, device: &Path) -> Option<String> {
    word(&folder.join("serial"))
        .or_else(|| word(&device.join("serial")))
        .or_else(|| unit_serial(&fs::read(device.join("vpd_pg80")).ok()?))
}

/// SCSI vital product data page 0x80 (SPC-4 7.8.18).
pub fn unit_serial(page: &[u8]) -> Option<String> {
    let len = usize::from(be16(page, 2)?);
    (byte(page, 1)? == 0x80).then_some(())?;
    text(page.get(4..)?.get(..len).or_else(|| page.get(4..))?)
}

/// The kernel's `wwid` where it is one that the maker engraved; `t10` ones only repeat model and serial.
pub fn wwn(wwid: &str) -> Option<String> {
    match wwid.split_once('.')? {
        ("naa", hex) => Some(format!("0x{}", hex.to_lowercase())),
        ("eui" | "nvme" | "uuid", _) => Some(wwid.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A machine with one virtual disk `vda` and one partition, in a folder.
    fn machine(name: &str) -> (Roots, PathBuf) {
        let root = std::env::temp_dir().join(format!("muster-disks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let put = |file: &str, words: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, words).unwrap();
        };
        put("sys/block/vda/size", "8192\n");
        put("sys/block/vda/serial", "DISK1\n");
        put("sys/block/vda/dev", "254:0\n");
        put("sys/block/vda/ro", "0\n");
        put("sys/block/vda/queue/logical_block_size", "512\n");
        put("sys/block/vda/vda1/partition", "1\n");
        put("sys/block/vda/vda1/start", "2048\n");
        put("sys/block/vda/vda1/size", "4096\n");
        put("sys/block/vda/vda1/dev", "254:1\n");
        put("sys/block/loop0/size", "8\n");
        put("sys/block/sr0/size", "8\n");
        put("dev/vda", &"\0".repeat(8192 * 512));
        put("proc/self/mountinfo", "22 1 0:5 / /dev rw - devtmpfs dev rw\n");
        (Roots::at(&root), root)
    }

    #[test]
    fn only_disks_are_disks() {
        let (roots, root) = machine("plain");
        let found = find(&roots);
        assert_eq!(found.len(), 1);
        let disk = &found[0].disk;
        assert_eq!(
            (disk.serial.as_deref(), disk.size_bytes, disk.kind),
            (Some("DISK1"), 8192 * 512, DiskKind::Virtual)
        );
        assert_eq!((disk.in_use.as_deref(), disk.owner.as_deref()), (None, None));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_mounted_partition_or_a_holder_makes_the_disk_live() {
        let (roots, root) = machine("live");
        fs::write(root.join("proc/self/mountinfo"), "30 1 254:1 / / rw - ext4 /dev/vda1 rw\n").unwrap();
        assert_eq!(find(&roots)[0].usage.live.as_deref(), Some("vda1 is mounted on /"));
        fs::write(root.join("proc/self/mountinfo"), "30 1 0:40 / /data rw - btrfs /dev/vda1 rw\n").unwrap();
        assert_eq!(find(&roots)[0].usage.live.as_deref(), Some("vda1 is mounted on /data"));
        fs::create_dir_all(root.join("sys/block/vda/holders/dm-0")).unwrap();
        assert_eq!(find(&roots)[0].disk.in_use.as_deref(), Some("vda is held by dm-0"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_array_member_in_a_partition_is_seen() {
        let (roots, root) = machine("member");
        let mut bytes = fs::read(root.join("dev/vda")).unwrap();
        crate::bytes::put(&mut bytes, 2048 * 512 + 4096, &0xa92b_4efcu32.to_le_bytes());
        fs::write(root.join("dev/vda"), bytes).unwrap();
        let found = find(&roots);
        assert_eq!(found[0].usage.live, None);
        assert_eq!(found[0].usage.member.as_deref(), Some("vda1 is a member of a Linux software RAID"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn engraved_names_keep_the_kernels_form() {
        assert_eq!(wwn("naa.5000C500A1B2C3D4").as_deref(), Some("0x5000c500a1b2c3d4"));
        assert_eq!(wwn("eui.0025388b71b2c3d4").as_deref(), Some("eui.0025388b71b2c3d4"));
        assert_eq!(wwn("t10.ATA     QEMU HARDDISK   QM00001"), None);
        assert_eq!(unit_serial(b"\0\x80\0\x08  SN42  ").as_deref(), Some("SN42"));
        assert_eq!(unit_serial(b"\0\x83\0\x04SN42"), None);
    }

    #[test]
    fn a_disk_that_others_may_reach_is_told_apart() {
        assert!(is_shared(Path::new("/sys/devices/pci0000:00/host1/rport-1:0-2/target/sda")));
        assert!(!is_shared(Path::new("/sys/devices/pci0000:00/ata1/host0/target0:0:0/sda")));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, words: String) {
            let _ = unit_serial(&bytes);
            let _ = wwn(&words);
            let _ = mounted(&words, "8:1", "sda1");
        }
    }
}
