//! Writes an image the way an install does, digests, reading back and all, onto a disk that is named by hand:
//! `write DISK URL BYTES DIGEST RAW_BYTES RAW_DIGEST`. The disk loses what is on it. For `tests/bench/image.sh`.

use muster_agent::install::{self, Ground};
use muster_agent::inventory::disks::{Found, Usage};
use muster_names::{Disk, Epoch, FirmwareMode, ImageId, MachineId, OrderId};
use muster_wire::{DiskRef, Identity, ImageRef, InstallOrder, NetworkConfig, Resident, Seed};
use std::error::Error;
use std::io::{Seek as _, SeekFrom};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [disk, url, bytes, digest, raw_bytes, raw_digest] = words.as_slice() else {
        return Err("usage: write DISK URL BYTES DIGEST RAW_BYTES RAW_DIGEST".into());
    };
    let size_bytes = std::fs::File::open(disk)?.seek(SeekFrom::End(0))?;
    let identity = Identity { serial: Some("bench".into()), uuid: None, macs: Vec::new() };
    let order = InstallOrder {
        order: OrderId(1),
        machine: MachineId(1),
        identity: identity.clone(),
        disk: DiskRef { wwn: None, serial: Some("bench".into()), size_bytes },
        image: ImageRef {
            id: ImageId("bench".into()),
            url: url.clone(),
            digest: digest.parse()?,
            bytes: bytes.parse()?,
            raw_digest: raw_digest.parse()?,
            raw_bytes: raw_bytes.parse()?,
            compression: "zstd".into(),
        },
        seed: Seed {
            hostname: "bench".into(),
            users: Vec::new(),
            network: NetworkConfig::default(),
            user_data: String::new(),
        },
        resident: Resident {
            server: "https://192.0.2.1:1".into(),
            ca_pem: String::new(),
            token: String::new(),
            agent_url: None,
            agent_digest: None,
        },
        firmware_mode: FirmwareMode::Bios,
    };
    let named =
        Disk { name: disk.clone(), serial: Some("bench".into()), size_bytes, sector_bytes: 512, ..Disk::default() };
    let ground = Ground {
        identity,
        firmware_mode: FirmwareMode::Bios,
        disks: vec![Found { disk: named, path: disk.into(), usage: Usage::default() }],
        may_proceed: &|_| Ok(()),
        progress: &|_| {},
        cancel: &AtomicBool::new(false),
        efi: None,
        tls: None,
        patience: Duration::from_secs(10),
    };
    let installed = install::run(Epoch(1), &order, &ground).map_err(|failure| format!("{failure:?}"))?;
    muster_agent::say!("{} bytes written, {} made as holes", installed.bytes_written, installed.bytes_skipped);
    Ok(())
}
