//! What the running system says of itself: the quality check's evidence. It judges nothing; the daemon compares.

use crate::install::filesystem;
use crate::inventory::{Roots, disks, names, secure_boot, word};
use muster_names::Epoch;
use muster_wire::{Checked, DiskRef, Written};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn look(roots: &Roots, epoch: Epoch, written: Option<&Written>) -> Checked {
    let text = |file: &str| String::from_utf8_lossy(&roots.bytes(file)).into_owned();
    let root = root_device(roots, &text("proc/self/mountinfo"));
    let root_uuid = root.as_ref().and_then(|name| {
        let device = File::open(roots.path("dev").join(name)).ok()?;
        filesystem::uuid(&crate::disk::peek(&device, 0, filesystem::LOOK)?)
    });
    let below = root.map(|name| disks_below(roots, &name)).unwrap_or_default();
    let root_disk = match below.as_slice() {
        // A root on several disks is on none that an order could have named.
        [one] => disks::find(roots).iter().find(|found| found.disk.name == *one).and_then(|f| DiskRef::of(&f.disk)),
        _ => None,
    };
    Checked {
        epoch,
        root_uuid,
        root_disk,
        order: written.map(|written| written.order),
        image: written.map(|written| written.image.clone()),
        raw_digest: written.map(|written| written.raw_digest),
        hostname: word(&roots.path("proc/sys/kernel/hostname")).unwrap_or_default(),
        addresses: addresses(),
        default_route: has_default_route(&text("proc/net/route"), &text("proc/net/ipv6_route")),
        users: people(&text("etc/passwd")),
        kernel: word(&roots.path("proc/sys/kernel/osrelease")).unwrap_or_default(),
        agent_version: crate::VERSION.into(),
        cloud_init: cloud_init(roots),
        secure_boot: secure_boot(roots),
    }
}

/// The kernel's name of the device that `/` is on.
fn root_device(roots: &Roots, mounts: &str) -> Option<String> {
    // The last one wins: it hides what was mounted there before.
    let (number, source) = mounts
        .lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut front = front.split(' ').skip(2);
            let (number, _root, place) = (front.next()?, front.next()?, front.next()?);
            (place == "/").then_some((number, back.split(' ').nth(1)?))
        })
        .next_back()?;
    let block = roots.path("sys/block");
    for disk in names(&block) {
        let folder = block.join(&disk);
        if word(&folder.join("dev")).as_deref() == Some(number) {
            return Some(disk);
        }
        let part =
            names(&folder).into_iter().find(|part| word(&folder.join(part).join("dev")).as_deref() == Some(number));
        if part.is_some() {
            return part;
        }
    }
    // A filesystem with a number of its own (btrfs) names its device.
    source.strip_prefix("/dev/").filter(|name| !name.contains('/')).map(Into::into)
}

/// The disks that a device lies on, through partitions and layers.
fn disks_below(roots: &Roots, device: &str) -> Vec<String> {
    let block = roots.path("sys/block");
    let mut found = BTreeSet::new();
    let mut look = vec![device.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(name) = look.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let slaves = names(&block.join(&name).join("slaves"));
        if !slaves.is_empty() {
            look.extend(slaves);
        } else if block.join(&name).exists() {
            found.insert(name);
        } else {
            look.extend(names(&block).into_iter().filter(|disk| block.join(disk).join(&name).exists()));
        }
    }
    found.into_iter().collect()
}

/// People's accounts: uid 1000 and above, without `nobody`.
fn people(passwd: &str) -> Vec<String> {
    let person = |line: &str| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
        (1000..65534).contains(&uid).then(|| name.to_owned())
    };
    passwd.lines().filter_map(person).collect()
}

fn has_default_route(v4: &str, v6: &str) -> bool {
    let v4 = v4.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, "00000000", _, _, _, _, _, "00000000", ..])
    });
    v4 || v6.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let nowhere = "00000000000000000000000000000000";
        matches!(fields.as_slice(), [to, "00", .., name] if *to == nowhere && *name != "lo")
    })
}

/// cloud-init's word for how it stands: it writes `status.json` from its start and `result.json` at its end.
pub fn cloud_init(roots: &Roots) -> Option<String> {
    let result = roots.bytes("run/cloud-init/result.json");
    if let Ok(result) = serde_json::from_slice::<Value>(&result) {
        let errors = result.pointer("/v1/errors").and_then(Value::as_array).is_some_and(|errors| !errors.is_empty());
        return Some(if errors { "error" } else { "done" }.into());
    }
    let started = roots.path("run/cloud-init/status.json").exists() || roots.path("run/cloud-init/enabled").exists();
    started.then(|| "running".into())
}

/// Addresses of all interfaces but loopback and link-local ones, as `10.77.0.50/24`.
fn addresses() -> Vec<String> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: on success the list is ours until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    let mut next = list;
    // SAFETY: the list ends with a null pointer, and its entries live until freeifaddrs below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & (libc::IFF_LOOPBACK as u32) == 0 {
            // SAFETY: as above; a socket address has its family's size.
            found.extend(unsafe { one_address(entry) });
        }
    }
    // SAFETY: from getifaddrs, freed once.
    unsafe { libc::freeifaddrs(list) };
    found.into_iter().collect()
}

/// # Safety
/// `entry` is from `getifaddrs` and not yet freed.
unsafe fn one_address(entry: &libc::ifaddrs) -> Option<String> {
    // SAFETY: the caller's promise; the family says how large an address is.
    unsafe {
        let family = i32::from(entry.ifa_addr.as_ref()?.sa_family);
        if entry.ifa_netmask.is_null() || CStr::from_ptr(entry.ifa_name).is_empty() {
            return None;
        }
        if family == libc::AF_INET {
            let read = |at: *mut libc::sockaddr| u32::from_be((*at.cast::<libc::sockaddr_in>()).sin_addr.s_addr);
            let (address, mask) = (Ipv4Addr::from(read(entry.ifa_addr)), read(entry.ifa_netmask));
            return (!address.is_link_local()).then(|| format!("{address}/{}", mask.count_ones()));
        }
        if family == libc::AF_INET6 {
            let read = |at: *mut libc::sockaddr| (*at.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
            let (address, mask) = (Ipv6Addr::from(read(entry.ifa_addr)), read(entry.ifa_netmask));
            let len: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            return (!address.is_unicast_link_local()).then(|| format!("{address}/{len}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::PathBuf;

    fn tree(name: &str, files: &[(&str, &str)]) -> (Roots, PathBuf) {
        let root = std::env::temp_dir().join(format!("muster-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (file, words) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, words).unwrap();
        }
        (Roots::at(&root), root)
    }

    const VDA: [(&str, &str); 4] = [
        ("sys/block/vda/dev", "254:0"),
        ("sys/block/vda/size", "8192"),
        ("sys/block/vda/serial", "DISK1"),
        ("sys/block/vda/vda2/dev", "254:2"),
    ];

    #[test]
    fn the_roots_disk_is_found_by_number() {
        let mounts =
            ("proc/self/mountinfo", "1 0 0:1 / / rw - rootfs rootfs rw\n26 1 254:2 / / rw - ext4 /dev/root rw\n");
        let (roots, root) = tree("number", &[&VDA[..], &[mounts]].concat());
        let checked = look(&roots, Epoch(3), None);
        let disk = DiskRef { wwn: None, serial: Some("DISK1".into()), size_bytes: 8192 * 512 };
        assert_eq!(checked.root_disk, Some(disk));
        assert_eq!(root_device(&roots, mounts.1).as_deref(), Some("vda2"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_root_on_layers_leads_to_its_disks() {
        let layers = [
            ("sys/block/dm-0/dev", "253:0"),
            ("sys/block/dm-0/slaves/vda2/dev", "254:2"),
            ("proc/self/mountinfo", "26 1 253:0 / / rw - ext4 /dev/mapper/root rw\n"),
        ];
        let (roots, root) = tree("layers", &[&VDA[..], &layers].concat());
        assert_eq!(disks_below(&roots, "dm-0"), ["vda"]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn cloud_inits_word_is_its_own() {
        let (roots, root) = tree("cloud", &[("x", "")]);
        assert_eq!(cloud_init(&roots), None);
        fs::create_dir_all(root.join("run/cloud-init")).unwrap();
        fs::write(root.join("run/cloud-init/status.json"), "{}").unwrap();
        assert_eq!(cloud_init(&roots).as_deref(), Some("running"));
        let result = root.join("run/cloud-init/result.json");
        fs::write(&result, r#"{"v1":{"datasource":"NoCloud","errors":[]}}"#).unwrap();
        assert_eq!(cloud_init(&roots).as_deref(), Some("done"));
        fs::write(&result, r#"{"v1":{"errors":["no"]}}"#).unwrap();
        assert_eq!(cloud_init(&roots).as_deref(), Some("error"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn people_are_told_from_services() {
        let passwd = "root:x:0:0::/:/bin/sh\nops:x:1000:1000::/home/ops:/bin/sh\nnobody:x:65534:65534::/:/\n";
        assert_eq!(people(passwd), ["ops"]);
    }

    #[test]
    fn a_default_route_is_one_to_everywhere() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
        let default = format!("{head}eth0\t00000000\t01004D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        let local = format!("{head}eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
        assert!(has_default_route(&default, ""));
        assert!(!has_default_route(&local, ""));
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = people(&text);
            let _ = has_default_route(&text, &text);
            let _ = root_device(&Roots::at(std::path::Path::new("/nonexistent")), &text);
        }
    }
}
