//! Rack layouts against each other and against the models.

use super::{FILE_NAME, NAME, is_file_name, is_name, known, twice};
use crate::read::{Read, Whole};
use crate::{Rack, RackMachine, Slip};
use std::collections::BTreeMap;

pub fn check(whole: &Whole<'_>, slips: &mut Vec<Slip>) {
    for read in &whole.racks {
        names(read, slips);
        super::evidence_form_at(read, "evidence", &read.value.evidence, slips);
        units(read, slips);
        for (at, machine) in read.value.machines.iter().enumerate() {
            let models = || whole.models.iter().map(|read| read.value.id.clone());
            known(read, &format!("machine.{at}.model"), "model", &machine.model, whole, models, slips);
            one_machine(read, at, machine, slips);
        }
    }
    let racks = whole.racks.iter().map(|read| (read, "rack", format!("{}/{}", read.value.site, read.value.rack)));
    twice(racks, "layout of rack", slips);
    let all = || {
        let racks = whole.racks.iter();
        racks.flat_map(|read| read.value.machines.iter().enumerate().map(move |(at, machine)| (read, at, machine)))
    };
    let names = all().map(|(read, at, machine)| (read, format!("machine.{at}.name"), machine.name.clone()));
    twice(names, "machine named", slips);
    let serials =
        all().filter_map(|(read, at, machine)| Some((read, format!("machine.{at}.serial"), machine.serial.clone()?)));
    twice(serials, "machine with serial", slips);
    let macs = all().flat_map(|(read, at, machine)| {
        let macs = machine.macs.iter().enumerate();
        macs.map(move |(n, mac)| (read, format!("machine.{at}.macs.{n}"), mac.to_string()))
    });
    twice(macs, "machine with MAC", slips);
    let ports = all().flat_map(|(read, at, machine)| {
        let ports = machine.ports.iter().enumerate();
        ports.map(move |(n, port)| (read, format!("machine.{at}.ports.{n}"), port.to_string()))
    });
    twice(ports, "machine on", slips);
    let bmcs = all().filter_map(|(read, at, machine)| {
        Some((read, format!("machine.{at}.bmc.address"), machine.bmc.as_ref()?.address.clone()))
    });
    twice(bmcs, "machine with its BMC at", slips);
}

/// The folder is the site and the file is the rack, so that both are found without a search.
fn names(read: &Read<'_, Rack>, slips: &mut Vec<Slip>) {
    let rack = &read.value;
    for (path, said, lies_in) in
        [("site", &rack.site, read.document.folder()), ("rack", &rack.rack, read.document.stem())]
    {
        if !is_name(said) {
            slips.push(read.document.slip_at(path, format!("{path} {said:?} must be {NAME}")));
        }
        if said != lies_in {
            let message = format!("{path} {said:?} must be as the file's path has it, which is {lies_in:?}");
            slips.push(read.document.slip_at(path, message));
        }
    }
}

fn units(read: &Read<'_, Rack>, slips: &mut Vec<Slip>) {
    let rack = &read.value;
    let mut filled: BTreeMap<u16, &str> = BTreeMap::new();
    for (at, machine) in rack.machines.iter().enumerate() {
        let (first, height) = (u16::from(machine.u), u16::from(machine.height));
        let path = format!("machine.{at}.u");
        if first == 0 || height == 0 {
            slips.push(read.document.slip_at(&path, "U are counted from 1, and a machine fills at least one".into()));
            continue;
        }
        let last = first + height - 1;
        if last > u16::from(rack.units) {
            let message = format!("{} reaches up to U{last}, and the rack has {} units", machine.name, rack.units);
            slips.push(read.document.slip_at(&path, message));
        }
        if let Some((u, other)) = (first..=last).find_map(|u| Some((u, filled.get(&u)?))) {
            let message = format!("{} would fill U{u}, which {other} fills already", machine.name);
            slips.push(read.document.slip_at(&path, message));
        }
        for u in first..=last {
            filled.entry(u).or_insert(&machine.name);
        }
    }
}

fn one_machine(read: &Read<'_, Rack>, at: usize, machine: &RackMachine, slips: &mut Vec<Slip>) {
    let mut say = |field: &str, message: String| {
        slips.push(read.document.slip_at(&format!("machine.{at}.{field}"), message));
    };
    if !is_name(&machine.name) {
        say("name", format!("machine name {:?} must be {NAME}: it becomes the host name", machine.name));
    }
    if machine.serial.as_ref().is_some_and(|serial| serial.trim().is_empty() || serial.trim() != serial) {
        say("serial", "a serial must not be empty or padded; leave the line out if it is not known".into());
    }
    for (n, mac) in machine.macs.iter().enumerate().filter(|(_, mac)| !mac.is_unicast()) {
        say(&format!("macs.{n}"), format!("{mac} names no single machine"));
    }
    for (n, port) in machine.ports.iter().enumerate() {
        if port.switch.trim().is_empty() || port.port.trim().is_empty() {
            say(&format!("ports.{n}"), "a port needs both the switch's name and the port's".into());
        }
    }
    let Some(bmc) = &machine.bmc else { return };
    if bmc.address.trim().is_empty() || bmc.address.contains(char::is_whitespace) {
        say("bmc.address", format!("{:?} is no address of a BMC", bmc.address));
    }
    if let Some(file) = bmc.password_file.as_ref().filter(|file| !is_file_name(file)) {
        let message = format!("{file:?} must be {FILE_NAME}, in the daemon's directory of secrets");
        say("bmc.password-file", message);
    }
}
