//! Whole installs onto files, from an HTTP server that cuts, lies and corrupts.

use super::*;
use crate::inventory::disks::Usage;
use muster_names::{Digest, Disk, ImageId, Mac, MachineId, OrderId};
use muster_wire::{ImageRef, NetworkConfig, Resident, Seed, User};
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const DISK: u64 = 128 << 20;
const ROOT_UUID: &str = "0d5fe7a5-0b8e-4c6e-9d3b-00000000abcd";

/// An order for this raw image, compressed by zstd.
pub fn order(raw: &[u8]) -> InstallOrder {
    let packed = zstd::encode_all(raw, 1).unwrap();
    InstallOrder {
        order: OrderId(9),
        machine: MachineId(4),
        identity: identity(),
        disk: DiskRef { wwn: None, serial: Some("DISK1".into()), size_bytes: DISK },
        image: ImageRef {
            id: ImageId("debian-12".into()),
            url: String::new(),
            digest: Digest(hash(&packed)),
            bytes: packed.len() as u64,
            raw_digest: Digest(hash(raw)),
            raw_bytes: raw.len() as u64,
            compression: "zstd".into(),
        },
        seed: Seed {
            hostname: "node1".into(),
            users: vec![User { name: "ops".into(), ssh_authorized_keys: vec!["k".into()], sudo: true }],
            network: NetworkConfig::default(),
            user_data: String::new(),
        },
        resident: Resident {
            server: "https://10.0.0.1:1".into(),
            ca_pem: "pem".into(),
            token: "mstr_1".into(),
            agent_url: None,
            agent_digest: None,
        },
        firmware_mode: FirmwareMode::Bios,
    }
}

fn identity() -> Identity {
    Identity { serial: Some("S1".into()), uuid: None, macs: vec![Mac([2, 0, 0, 0, 0, 1])] }
}

/// A GPT image with an ext4 root that has data and holes.
fn image() -> Vec<u8> {
    thread_local!(static MADE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    MADE.with_borrow_mut(|made| {
        if made.is_empty() {
            let path = gpt::tests::image(&format!("install-{:?}", std::thread::current().id()), 48);
            let root = path.with_extension("root");
            std::fs::File::create(&root).unwrap().set_len(20 << 20).unwrap();
            let done = Command::new("/sbin/mke2fs").args(["-q", "-t", "ext4", "-U", ROOT_UUID]).arg(&root).status();
            assert!(done.unwrap().success());
            let mut raw = std::fs::read(&path).unwrap();
            put(&mut raw, 9 << 20, &std::fs::read(&root).unwrap());
            let noise: Vec<u8> = (0_u32..5 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
            put(&mut raw, 31 << 20, &noise);
            let (_, _) = (std::fs::remove_file(&path), std::fs::remove_file(&root));
            *made = raw;
        }
        made.clone()
    })
}

/// How the server of a test misbehaves.
#[derive(Clone, Copy)]
enum Server {
    Good,
    /// Every connection breaks after this many bytes.
    Cuts(usize),
    /// The same, and `Range` is ignored.
    CutsWithoutRange(usize),
    Missing,
}

fn serve(content: Vec<u8>, how: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image.raw.zst", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let mut reader = BufReader::new(socket.unwrap());
            let mut start = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    start = range.trim().trim_end_matches('-').parse().unwrap();
                }
                line.clear();
            }
            let (mut limit, total) = (usize::MAX, content.len());
            match how {
                Server::Good => {}
                Server::Cuts(after) => limit = after,
                Server::CutsWithoutRange(after) => (start, limit) = (0, after * (n + 1)),
                Server::Missing => {
                    let _ = reader.get_mut().write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                    continue;
                }
            }
            let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
            let range = if start > 0 {
                format!("content-range: bytes {start}-{}/{total}\r\n", total - 1)
            } else {
                String::new()
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{range}\r\n", total - start);
            let body = &content[start..(start.saturating_add(limit)).min(total)];
            let _ = reader.get_mut().write_all(&[head.as_bytes(), body].concat());
        }
    });
    url
}

/// A machine with the ordered disk and a decoy of the same size, both full of somebody's bytes.
struct Bed {
    folder: PathBuf,
    disks: Vec<Found>,
}

impl Bed {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("muster-install-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let disks = [("vda", "DISK1"), ("vdb", "DECOY")].map(|(name, serial)| {
            let path = folder.join(name);
            std::fs::write(&path, vec![0xa5; DISK as usize]).unwrap();
            let disk = Disk {
                name: name.into(),
                serial: Some(serial.into()),
                size_bytes: DISK,
                sector_bytes: 512,
                ..Disk::default()
            };
            Found { disk, path, usage: Usage::default() }
        });
        Self { folder, disks: disks.into() }
    }

    fn disk(&self) -> Vec<u8> {
        std::fs::read(&self.disks[0].path).unwrap()
    }

    fn install(&self, order: &InstallOrder) -> Result<Installed, InstallFailure> {
        self.install_if(order, &|_| Ok(()))
    }

    fn install_if(
        &self,
        order: &InstallOrder,
        may_proceed: &dyn Fn(&[DiskRef]) -> Result<(), InstallFailure>,
    ) -> Result<Installed, InstallFailure> {
        let cancel = AtomicBool::new(false);
        let ground = Ground {
            identity: identity(),
            firmware_mode: FirmwareMode::Bios,
            disks: self.disks.clone(),
            may_proceed,
            progress: &|_| {},
            cancel: &cancel,
            efi: None,
            tls: None,
            patience: Duration::from_secs(3),
        };
        run(Epoch(7), order, &ground)
    }

    fn untouched(path: &Path) -> bool {
        std::fs::read(path).unwrap().iter().all(|b| *b == 0xa5)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        assert!(Self::untouched(&self.disks[1].path), "the decoy disk was written");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn an_image_arrives_whole_grown_sealed_and_seeded() {
    let bed = Bed::new("good");
    let raw = image();
    let mut order = order(&raw);
    order.image.url = serve(zstd::encode_all(&raw[..], 1).unwrap(), Server::Good);
    let installed = bed.install(&order).unwrap();
    assert_eq!(installed.root_uuid.as_deref(), Some(ROOT_UUID));
    assert_eq!(installed.bytes_written + installed.bytes_skipped, raw.len() as u64 - HEAD as u64);
    assert!(installed.bytes_skipped > 10 << 20, "holes in the image are not written byte by byte");
    let disk = bed.disk();
    assert_eq!(
        disk[HEAD..raw.len() - 34 * 512],
        raw[HEAD..raw.len() - 34 * 512],
        "holes read as zeros on a dirty disk"
    );
    let path = &bed.disks[0].path;
    assert!(gpt::tests::verify(path).contains("muster-seed"));
    let mut at = |offset: u64, len: usize| Some(disk[offset as usize..][..len].to_vec());
    let table = gpt::read(&mut at, 512, DISK).unwrap();
    assert_eq!(table.owner(), Some(MachineId(4)));
    let (_, _, seed_at, seed_len) = table.partitions().last().unwrap();
    let seed = path.with_extension("seed");
    std::fs::write(&seed, &disk[seed_at as usize..][..seed_len as usize]).unwrap();
    let user_data = Command::new("mtype").arg("-i").arg(&seed).arg("::user-data").output().unwrap().stdout;
    assert!(user_data.starts_with(b"#cloud-config\n"));
}

#[test]
fn a_connection_that_keeps_breaking_is_taken_up_where_it_broke() {
    let raw = image();
    let packed = zstd::encode_all(&raw[..], 1).unwrap();
    let cut = packed.len() / 3 + 1;
    for (name, how) in [("cut", Server::Cuts(cut)), ("cut-all", Server::CutsWithoutRange(cut))] {
        let bed = Bed::new(name);
        let mut order = order(&raw);
        order.image.url = serve(packed.clone(), how);
        assert_eq!(bed.install(&order).unwrap().raw_digest, order.image.raw_digest);
        assert_eq!(bed.disk()[HEAD..raw.len() - 34 * 512], raw[HEAD..raw.len() - 34 * 512]);
    }
}

#[test]
fn a_corrupt_image_never_becomes_bootable() {
    let raw = image();
    let packed = zstd::encode_all(&raw[..], 1).unwrap();
    let broken = |at: usize| {
        let mut bytes = packed.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let short = packed[..packed.len() - 1000].to_vec();
    for (name, content) in
        [("late", broken(packed.len() - 5000)), ("short", short), ("middle", broken(packed.len() / 2))]
    {
        let bed = Bed::new(&format!("corrupt-{name}"));
        let mut order = order(&raw);
        order.image.url = serve(content, Server::Good);
        let failure = bed.install(&order).unwrap_err();
        assert!(matches!(failure, InstallFailure::DigestMismatch { .. }), "{name}: {failure:?}");
        let disk = bed.disk();
        assert!(is_zero(&disk[..HEAD]) && is_zero(&disk[disk.len() - HEAD..]), "{name}");
    }
}

#[test]
fn another_raw_image_than_ordered_never_becomes_bootable() {
    let bed = Bed::new("raw");
    let raw = image();
    let mut order = order(&raw);
    order.image.raw_digest = Digest([1; 32]);
    order.image.url = serve(zstd::encode_all(&raw[..], 1).unwrap(), Server::Good);
    assert!(matches!(bed.install(&order), Err(InstallFailure::DigestMismatch { .. })));
    assert!(is_zero(&bed.disk()[..HEAD]));
}

#[test]
fn an_image_longer_than_ordered_stops_at_the_bound() {
    let bed = Bed::new("long");
    let raw = image();
    let mut order = order(&raw);
    order.image.raw_bytes -= 4096;
    order.image.url = serve(zstd::encode_all(&raw[..], 1).unwrap(), Server::Good);
    assert!(bed.install(&order).is_err());
    assert!(is_zero(&bed.disk()[..HEAD]));
}

#[test]
fn a6_7_without_a_clear_yes_nothing_is_written() {
    let bed = Bed::new("denied");
    let raw = image();
    let mut order = order(&raw);
    order.image.url = serve(zstd::encode_all(&raw[..], 1).unwrap(), Server::Good);
    let asked = Cell::new(0);
    let failure = bed.install_if(&order, &|disks| {
        asked.set(asked.get() + 1);
        assert_eq!(disks, std::slice::from_ref(&order.disk));
        assert!(Bed::untouched(&bed.disks[0].path), "asked before the first write");
        Err(InstallFailure::Denied { reason: "frozen".into() })
    });
    assert_eq!(failure, Err(InstallFailure::Denied { reason: "frozen".into() }));
    assert_eq!(asked.get(), 1);
    assert!(Bed::untouched(&bed.disks[0].path));
}

#[test]
fn an_image_that_cannot_be_had_touches_no_disk() {
    let bed = Bed::new("missing");
    let mut order = order(&image());
    order.image.url = serve(Vec::new(), Server::Missing);
    assert!(matches!(bed.install(&order), Err(InstallFailure::Network { .. })));
    assert!(Bed::untouched(&bed.disks[0].path));
}

#[test]
fn an_image_without_a_partition_table_touches_no_disk() {
    let bed = Bed::new("no-table");
    let raw = vec![7; 8 << 20];
    let mut order = order(&raw);
    order.image.url = serve(zstd::encode_all(&raw[..], 1).unwrap(), Server::Good);
    assert!(matches!(bed.install(&order), Err(InstallFailure::Other { .. })));
    assert!(Bed::untouched(&bed.disks[0].path));
}

/// What `choose` says when `change` was done to order and disk.
fn refusal(change: impl Fn(&mut InstallOrder, &mut Found)) -> Option<InstallFailure> {
    let mut order = order(b"raw");
    let disk = Disk { name: "vda".into(), serial: Some("DISK1".into()), size_bytes: DISK, ..Disk::default() };
    let mut found = Found { disk, path: PathBuf::new(), usage: Usage::default() };
    change(&mut order, &mut found);
    choose(&order, &identity(), FirmwareMode::Bios, &[found]).err()
}

#[test]
fn a5_2_any_difference_from_the_order_is_refused() {
    assert_eq!(refusal(|_, _| {}), None);
    type Change = fn(&mut InstallOrder, &mut Found);
    let changes: [Change; 7] = [
        |order, _| order.identity.serial = Some("S2".into()),
        |order, _| order.identity.macs.clear(),
        |order, _| order.firmware_mode = FirmwareMode::Uefi,
        |_, found| found.disk.size_bytes += 512,
        |_, found| found.disk.serial = Some("DISK2".into()),
        |_, found| found.disk.wwn = Some("0x5".into()),
        |order, _| order.disk.serial = None,
    ];
    for change in changes {
        assert!(matches!(refusal(change), Some(InstallFailure::WrongMachine { .. })));
    }
}

#[test]
fn a5_2_two_disks_of_the_same_name_are_no_choice() {
    let order = order(b"raw");
    let disk = Disk { serial: Some("DISK1".into()), size_bytes: DISK, ..Disk::default() };
    let found = Found { disk, path: PathBuf::new(), usage: Usage::default() };
    let twins = [found.clone(), found];
    assert!(choose(&order, &identity(), FirmwareMode::Bios, &twins).is_err());
}

#[test]
fn a6_11_a_disk_of_somebody_else_or_in_use_is_refused() {
    let foreign = |failure| matches!(failure, Some(InstallFailure::ForeignDisk { .. }));
    let ours = MachineId(4).to_string();
    assert!(foreign(refusal(|_, found| found.disk.owner = Some(MachineId(5).to_string()))));
    assert!(foreign(refusal(|_, found| found.usage.live = Some("mounted".into()))));
    assert!(foreign(refusal(|_, found| found.usage.member = Some("ZFS".into()))));
    assert!(matches!(refusal(|_, found| found.disk.read_only = true), Some(InstallFailure::Disk { .. })));
    assert_eq!(refusal(|_, found| found.disk.owner = Some(ours.clone())), None);
    assert_eq!(
        refusal(|_, found| {
            found.disk.owner = Some(ours.clone());
            found.usage.member = Some("LVM".into());
        }),
        None,
        "what our own earlier install left is ours"
    );
    assert!(foreign(refusal(|_, found| {
        found.disk.owner = Some(ours.clone());
        found.usage.live = Some("mounted".into());
    })));
}
