//! A BMC as a map from paths to JSON: every reader of this room without a network.
//!
//! What is decided about a tree here is what is decided about a BMC; only the reads are answered from the map. The fuzzer
//! stands on it, and so can whoever wants to know what a recording tells.

use super::pages::{Budget, Pages};
use super::services::{Clock, Service};
use super::walk::Walk;
use super::{accounts, bios, boot, console, entry, inventory, json, sensors, settle};
use crate::{Hardware, LogEntry};
use muster_catalog::Catalog;
use serde_json::Value;
use std::collections::BTreeMap;

const PAGES: Budget = Budget { pages: 16, entries: 512 };

/// What a tree tells of its machine, `None` where it has none; beside that every resource is read as whatever it could be.
pub fn parse_tree(tree: &BTreeMap<String, Value>, catalog: &Catalog) -> Option<Hardware> {
    for (path, body) in tree {
        resource(body);
        let log = Service::read(path, body, Clock::default());
        let _ = entries(tree, &log, None);
    }
    let get = |path: &str| tree.get(path.trim_end_matches('/'));
    let round = |walk: &mut Walk| {
        while let Some(step) = walk.next() {
            match get(&step.path) {
                Some(body) => walk.read(&step, body.clone()),
                None => walk.missed(&step, "HTTP 404".into()),
            }
        }
    };
    let mut walk = Walk::from_root(get("/redfish/v1").cloned().unwrap_or_default());
    round(&mut walk);
    walk.choose(None);
    let profile = catalog.recognise(&inventory::signs(&walk));
    if !walk.lead(profile.map(|profile| profile.link.clone()).unwrap_or_default()) {
        return None;
    }
    round(&mut walk);
    Some(inventory::tell(&walk, profile))
}

/// One log, and what is new in it since the middle of it.
fn entries(tree: &BTreeMap<String, Value>, log: &Service, mark: Option<&str>) -> Vec<LogEntry> {
    let mut pages = Pages::new(&log.entries, mark, PAGES);
    while let Some(path) = pages.next() {
        match tree.get(&path) {
            Some(body) => pages.read(body),
            None => pages.missed("HTTP 404"),
        }
    }
    let members = settle::order(pages.finish().members);
    let read: Vec<_> = members
        .iter()
        .filter_map(|member| {
            let body = member.body.as_ref().or_else(|| tree.get(member.path.as_ref()?))?;
            entry::read(body, &log.name, &member.id, log.clock.zone)
        })
        .collect();
    let whole = settle::news(&log.name, &read, None);
    let half = read.get(..read.len() / 2).unwrap_or_default();
    let known = settle::news(&log.name, half, None).mark;
    let _ = settle::news(&log.name, &read, known.as_ref());
    whole.entries
}

fn resource(body: &Value) {
    let _ = (boot::read(body), json::complaint(body), json::fault(400, body, "it"), json::members(body));
    sensors::parse(body);
    bios::parse(body);
    accounts::parse(body);
    console::parse(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree() -> BTreeMap<String, Value> {
        let link = |path: &str| json!({"@odata.id": format!("/redfish/v1{path}")});
        let one = |path: &str| json!({"Members": [link(path)]});
        let entry =
            |id: u32| json!({"Id": id.to_string(), "Message": "a fan failed", "Created": "2024-01-01T00:00:00Z"});
        let all = [
            ("", json!({"Systems": link("/Systems")})),
            ("/Systems", one("/Systems/1")),
            ("/Systems/1", json!({"SerialNumber": "SN-1", "Memory": link("/Systems/1/Memory")})),
            ("/Systems/1/Memory", one("/Systems/1/Memory/A1")),
            ("/Systems/1/Memory/A1", json!({"DeviceLocator": "A1", "SerialNumber": "M-1", "CapacityMiB": 16384})),
            ("/Log", json!({"Entries": link("/Log/Entries")})),
            ("/Log/Entries", json!({"Members": [entry(1), entry(2)]})),
        ];
        all.into_iter().map(|(path, body)| (format!("/redfish/v1{path}"), body)).collect()
    }

    #[test]
    fn a_tree_tells_what_its_bmc_would() {
        let hardware = parse_tree(&tree(), &Catalog::default()).unwrap();
        assert_eq!(hardware.serial.as_deref(), Some("SN-1"));
        assert_eq!(hardware.memory.len(), 1);
        assert_eq!(hardware.memory[0].serial.as_deref(), Some("M-1"));
    }

    #[test]
    fn a_trees_log_is_read_to_its_end() {
        let tree = tree();
        let log = Service::read("/redfish/v1/Log", &tree["/redfish/v1/Log"], Clock::default());
        let ids: Vec<String> = entries(&tree, &log, None).into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, ["1", "2"]);
    }
}
