//! Making a machine's disks forget their owner: every disk the order names, and no other.
//!
//! A disk is overwritten with zeros in full, unless it promises a secure discard; the promise of a plain discard (that
//! it reads as zeros) says nothing about the medium and is only used to give the space back afterwards.

use crate::bytes::is_zero;
use crate::disk::{Aligned, Target};
use crate::inventory::disks::Found;
use crate::link::key::random;
use muster_names::Epoch;
use muster_wire::{DiskRef, Identity, Progress, Step, WipeOrder, Wiped, WipedDisk};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks read back: the first, the last, and this many at random.
const SAMPLES: u64 = 64;
const SAMPLE: usize = 64 * 1024;

pub struct Ground<'a> {
    pub identity: Identity,
    pub disks: Vec<Found>,
    /// Asks the daemon once, immediately before the first write; the error is the reason of the no.
    pub may_proceed: &'a dyn Fn(&[DiskRef]) -> Result<(), String>,
    pub progress: &'a dyn Fn(Progress),
    pub cancel: &'a AtomicBool,
}

/// The disk that `wanted` names, or why it must not be wiped.
pub fn choose<'a>(wanted: &DiskRef, machine: &str, disks: &'a [Found]) -> Result<&'a Found, String> {
    let mut named = disks.iter().filter(|found| wanted.names(&found.disk));
    let (Some(found), None) = (named.next(), named.next()) else {
        return Err("not exactly one disk of this machine has that name and size".into());
    };
    if found.disk.owner.as_deref().is_some_and(|owner| owner != machine) {
        return Err(format!("sealed for another machine: {}", found.disk.owner.clone().unwrap_or_default()));
    }
    if let Some(live) = &found.usage.live {
        return Err(live.clone());
    }
    // A released machine's own arrays are its owner's leavings; on a disk that others reach they may be theirs.
    if let Some(member) = found.usage.member.as_ref().filter(|_| found.usage.shared && found.disk.owner.is_none()) {
        return Err(format!("{member}, on a disk that other machines may reach"));
    }
    if found.disk.read_only {
        return Err("read-only".into());
    }
    Ok(found)
}

/// Wipes all or nothing begins: one disk that must not be wiped keeps the others as they are too.
pub fn run(epoch: Epoch, order: &WipeOrder, ground: &Ground<'_>) -> Wiped {
    let report = |disk: &DiskRef, error: String| WipedDisk {
        disk: disk.clone(),
        method: "none".into(),
        verified: false,
        error: Some(error),
    };
    let refuse =
        |reason: &str| Wiped { epoch, disks: order.disks.iter().map(|disk| report(disk, reason.to_owned())).collect() };
    let differences = order.identity.differences(&ground.identity);
    if !differences.is_empty() {
        return refuse(&format!("not the machine of the order: {}", differences.join("; ")));
    }
    let machine = order.machine.to_string();
    let chosen: Vec<_> = order.disks.iter().map(|wanted| (wanted, choose(wanted, &machine, &ground.disks))).collect();
    if chosen.iter().any(|(_, choice)| choice.is_err()) {
        let disks = chosen.iter().map(|(wanted, choice)| {
            report(wanted, choice.as_ref().err().cloned().unwrap_or_else(|| "left because another was refused".into()))
        });
        return Wiped { epoch, disks: disks.collect() };
    }
    if let Err(reason) = (ground.may_proceed)(&order.disks) {
        return refuse(&reason);
    }
    let total = order.disks.iter().fold(0_u64, |sum, disk| sum.saturating_add(disk.size_bytes));
    let mut before = 0;
    let mut disks = Vec::new();
    for (wanted, choice) in chosen {
        let Ok(found) = choice else { continue };
        let mut carry_on = |done: u64| {
            (ground.progress)(Progress { step: Step::Wipe, done: before + done, total, unit: "bytes".into() });
            !ground.cancel.load(Ordering::Relaxed)
        };
        disks.push(match wipe(found, &mut carry_on) {
            Ok((method, verified)) => WipedDisk { disk: wanted.clone(), method: method.into(), verified, error: None },
            Err(error) => report(wanted, error.to_string()),
        });
        before += wanted.size_bytes;
    }
    Wiped { epoch, disks }
}

/// How it was wiped, and whether samples read as zeros.
fn wipe(found: &Found, carry_on: &mut dyn FnMut(u64) -> bool) -> io::Result<(&'static str, bool)> {
    let mut target = Target::open(&found.path)?;
    if target.size() != found.disk.size_bytes {
        return Err(io::Error::other("its size changed a moment ago"));
    }
    if target.secure_discard().is_ok() && verify(&mut target)? {
        return Ok(("secure-erase", true));
    }
    let size = target.size();
    if !target.overwrite(0, size, carry_on)? {
        return Err(io::Error::other("broken off because something newer stands"));
    }
    target.sync()?;
    let verified = verify(&mut target)?;
    if verified {
        // Not vital, and not promised to read as anything: after the proof.
        let _ = target.discard();
    }
    Ok(("overwrite", verified))
}

fn verify(target: &mut Target) -> io::Result<bool> {
    let size = target.size();
    let len = usize::try_from(size).unwrap_or(SAMPLE).min(SAMPLE);
    let last = size - len as u64;
    let mut block = Aligned::new(len);
    let random_place = || random().map(|bytes| u64::from_le_bytes(bytes) % (last + 1) / 4096 * 4096);
    for n in 0..SAMPLES + 2 {
        let place = match n {
            0 => 0,
            1 => last,
            _ => random_place().map_err(io::Error::other)?,
        };
        target.read(place, &mut block)?;
        if !is_zero(block.as_slice()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::disks::Usage;
    use muster_names::{Disk, MachineId};
    use std::path::PathBuf;

    const SIZE: u64 = 9 << 20;

    fn disk(folder: &str, serial: &str) -> Found {
        let folder = std::env::temp_dir().join(format!("muster-wipe-{folder}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(serial);
        std::fs::write(&path, vec![0xa5; SIZE as usize]).unwrap();
        let disk = Disk { serial: Some(serial.into()), size_bytes: SIZE, ..Disk::default() };
        Found { disk, path, usage: Usage::default() }
    }

    fn order(serials: &[&str]) -> WipeOrder {
        let disk = |serial: &&str| DiskRef { wwn: None, serial: Some((*serial).into()), size_bytes: SIZE };
        WipeOrder { machine: MachineId(4), identity: Identity::default(), disks: serials.iter().map(disk).collect() }
    }

    fn wipe(order: &WipeOrder, disks: &[Found], may: Result<(), String>) -> Wiped {
        let cancel = AtomicBool::new(false);
        let may_proceed = |_: &[DiskRef]| may.clone();
        let identity = Identity::default();
        let ground =
            Ground { identity, disks: disks.to_vec(), may_proceed: &may_proceed, progress: &|_| {}, cancel: &cancel };
        run(Epoch(3), order, &ground)
    }

    fn untouched(path: &PathBuf) -> bool {
        std::fs::read(path).unwrap().iter().all(|b| *b == 0xa5)
    }

    #[test]
    fn every_named_disk_is_zero_and_the_decoy_is_not() {
        let disks = [disk("all", "A"), disk("all", "B"), disk("all", "DECOY")];
        let order = order(&["A", "B"]);
        let wiped = wipe(&order, &disks, Ok(()));
        assert!(wiped.ok(&order.disks), "{wiped:?}");
        for found in &disks[..2] {
            assert!(is_zero(&std::fs::read(&found.path).unwrap()));
        }
        assert!(untouched(&disks[2].path));
        std::fs::remove_dir_all(disks[0].path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a6_11_one_refused_disk_leaves_all_as_they_are() {
        type Change = fn(&mut Found);
        let changes: [Change; 5] = [
            |found| found.disk.owner = Some(MachineId(5).to_string()),
            |found| found.usage.live = Some("mounted".into()),
            |found| found.disk.read_only = true,
            |found| found.disk.size_bytes -= 512,
            |found| found.usage = Usage { member: Some("LVM".into()), shared: true, live: None },
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut disks = [disk(&format!("one{n}"), "A"), disk(&format!("one{n}"), "B")];
            change(&mut disks[1]);
            let order = order(&["A", "B"]);
            let wiped = wipe(&order, &disks, Ok(()));
            assert!(!wiped.ok(&order.disks) && wiped.disks.iter().all(|disk| disk.error.is_some()));
            assert!(disks.iter().all(|found| untouched(&found.path)), "{n}");
            std::fs::remove_dir_all(disks[0].path.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a6_7_a_no_and_another_machine_write_nothing() {
        let disks = [disk("no", "A")];
        let mut order = order(&["A"]);
        assert!(!wipe(&order, &disks, Err("frozen".into())).ok(&order.disks));
        order.identity.serial = Some("other".into());
        assert!(!wipe(&order, &disks, Ok(())).ok(&order.disks));
        assert!(untouched(&disks[0].path));
        std::fs::remove_dir_all(disks[0].path.parent().unwrap()).unwrap();
    }
}
