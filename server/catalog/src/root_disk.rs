//! Which disk an install goes to.
//!
//! The rule must resolve to exactly one disk that can be named by what is engraved in it, or say why it does not: a
//! rule that quietly takes the next best disk one day takes one with somebody's data on it.

use crate::compare::{kind_word, size_gb};
use crate::{Pick, RootDisk};
use muster_names::{Disk, Inventory, MachineId};

/// The one disk of this machine that the rule means and that may be written, or the reason in words why there is not
/// one. `reimage` is the machine whose running system is to be overwritten: a disk that carries its seal may then be in
/// use, by just that system. The agent looks again from RAM before it writes.
pub fn root_disk<'i>(
    rule: &RootDisk,
    inventory: &'i Inventory,
    reimage: Option<MachineId>,
) -> Result<&'i Disk, String> {
    writable(picked(rule, inventory)?, inventory, reimage)
}

/// The one disk that the rule means, whatever is on it.
pub fn picked<'i>(rule: &RootDisk, inventory: &'i Inventory) -> Result<&'i Disk, String> {
    let kind = kind_word(rule.kind);
    let fitting: Vec<&Disk> = inventory
        .disks
        .iter()
        .filter(|disk| {
            disk.kind == rule.kind
                && rule.size_gb.admits(size_gb(disk))
                && rule.model.admits(disk.model.as_deref())
                && rule.serial.admits(disk.serial.as_deref())
        })
        .collect();
    let Some(first) = fitting.first() else {
        return Err(format!("no {kind} disk fits the model's root-disk rule; found {}", list(inventory.disks.iter())));
    };
    match rule.pick {
        Pick::Only if fitting.len() > 1 => Err(format!(
            "{} {kind} disks fit the model's root-disk rule, and it says pick = \"only\": {}",
            fitting.len(),
            list(fitting.iter().copied())
        )),
        Pick::Only => Ok(first),
        Pick::Smallest => smallest(&fitting, first),
        Pick::FirstSerial => first_serial(&fitting, first),
    }
}

fn smallest<'i>(fitting: &[&'i Disk], first: &'i Disk) -> Result<&'i Disk, String> {
    if let Some(mute) = fitting.iter().find(|disk| disk.size_bytes == 0) {
        return Err(format!("disk {} does not tell its size, so the smallest is not known", mute.name));
    }
    let least = fitting.iter().copied().min_by_key(|disk| disk.size_bytes).unwrap_or(first);
    let same: Vec<&Disk> = fitting.iter().copied().filter(|disk| disk.size_bytes == least.size_bytes).collect();
    if same.len() > 1 {
        return Err(format!(
            "{} disks are of the same smallest size: {}; use pick = \"first-serial\" or a narrower size-gb",
            same.len(),
            list(same.into_iter())
        ));
    }
    Ok(least)
}

fn first_serial<'i>(fitting: &[&'i Disk], first: &'i Disk) -> Result<&'i Disk, String> {
    if let Some(mute) = fitting.iter().find(|disk| serial(disk).is_none()) {
        return Err(format!("disk {} does not tell its serial, so the order of serials is not known", mute.name));
    }
    let least = fitting.iter().copied().min_by_key(|disk| serial(disk)).unwrap_or(first);
    if fitting.iter().filter(|disk| serial(disk) == serial(least)).count() > 1 {
        return Err(format!("several disks tell the serial {:?}", serial(least).unwrap_or_default()));
    }
    Ok(least)
}

fn serial(disk: &Disk) -> Option<&str> {
    disk.serial.as_deref().map(str::trim).filter(|serial| !serial.is_empty())
}

/// The picked disk itself must be fit to write; the rule never falls through to another.
fn writable<'i>(disk: &'i Disk, inventory: &Inventory, reimage: Option<MachineId>) -> Result<&'i Disk, String> {
    let name = &disk.name;
    let Some(identity) = disk.identity().filter(|identity| !identity.trim().is_empty()) else {
        return Err(format!("disk {name} has neither WWN nor serial, so no order could name it"));
    };
    if inventory.disks.iter().filter(|other| other.identity() == Some(identity)).count() > 1 {
        return Err(format!("several disks call themselves {identity}, so no order could name one of them"));
    }
    if disk.read_only {
        return Err(format!("disk {name} ({identity}) is read-only"));
    }
    let own = reimage.is_some_and(|machine| disk.owner == Some(machine.to_string()));
    if let Some(why) = disk.in_use.as_ref().filter(|_| !own) {
        return Err(format!("disk {name} ({identity}) must not be written: {why}"));
    }
    Ok(disk)
}

fn list<'d>(disks: impl Iterator<Item = &'d Disk>) -> String {
    let names: Vec<String> = disks
        .map(|disk| {
            let size = size_gb(disk).map_or_else(|| "?".to_owned(), |gb| gb.to_string());
            format!("{} ({}, {size} GB, {})", disk.name, kind_word(disk.kind), disk.identity().unwrap_or("unnamed"))
        })
        .collect();
    if names.is_empty() { "no disk at all".into() } else { names.join(", ") }
}
