//! Which resources of a BMC to read, and in which order, to know one machine whole (B7.1).
//!
//! Decided without asking anybody: [`Walk::next`] names a path, the caller reads it and hands back what it got. So the
//! same code walks a BMC over HTTPS and a recorded tree in a test. It goes in two rounds. The first reads who is there
//! (root, systems, chassis, managers), whereupon [`Walk::choose`] picks the system that is meant; the second reads that
//! system's parts, and the chassis that belong to it, and leaves its neighbours in the same box alone.
//!
//! What is followed are the links of the standard, and what a profile adds to them. A link that leads nowhere is a gap
//! and no end: some BMCs list what they do not serve. Nothing is read twice, whoever links to it, and the number of
//! reads is bounded, whatever the tree says.

use super::fields::{Fields, items, target};
use crate::Gap;
use muster_catalog::{Link, Resource};
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};

/// Ten times what the largest server seen needs.
const MOST_READS: usize = 4000;

/// Resources kept, those among them that lay inside others: what is compared pairwise later has to end.
const MOST_FOUND: usize = 10_000;
/// What all of them may weigh, about as many bytes.
const MOST_BYTES: usize = 64 << 20;

/// What is read first, where the root does not say where it is.
const USUAL: &[(&str, Resource)] = &[
    ("Systems", Resource::System),
    ("Chassis", Resource::Chassis),
    ("Managers", Resource::Manager),
    ("UpdateService", Resource::UpdateService),
];

/// The links of the standard that lead to a machine's parts.
const LINKS: &[(Resource, &str, Resource)] = &[
    (Resource::System, "Memory", Resource::Memory),
    (Resource::System, "Processors", Resource::Processor),
    (Resource::System, "Storage", Resource::Storage),
    (Resource::System, "SimpleStorage", Resource::SimpleStorage),
    (Resource::System, "EthernetInterfaces", Resource::Ethernet),
    (Resource::System, "NetworkInterfaces", Resource::NetworkInterface),
    (Resource::Storage, "Drives", Resource::Drive),
    (Resource::NetworkInterface, "Links/NetworkAdapter", Resource::NetworkAdapter),
    (Resource::NetworkInterface, "NetworkDeviceFunctions", Resource::NetworkFunction),
    (Resource::NetworkAdapter, "NetworkDeviceFunctions", Resource::NetworkFunction),
    (Resource::NetworkAdapter, "Ports", Resource::NetworkPort),
    (Resource::NetworkAdapter, "NetworkPorts", Resource::NetworkPort),
    (Resource::Chassis, "NetworkAdapters", Resource::NetworkAdapter),
    (Resource::Chassis, "PowerSubsystem", Resource::PowerSubsystem),
    (Resource::Chassis, "ThermalSubsystem", Resource::ThermalSubsystem),
    (Resource::Chassis, "Power", Resource::Power),
    (Resource::Chassis, "Thermal", Resource::Thermal),
    (Resource::Chassis, "Drives", Resource::Drive),
    (Resource::Chassis, "Links/Drives", Resource::Drive),
    (Resource::Chassis, "Links/Storage", Resource::Storage),
    (Resource::Chassis, "Memory", Resource::Memory),
    (Resource::PowerSubsystem, "PowerSupplies", Resource::PowerSupply),
    (Resource::ThermalSubsystem, "Fans", Resource::Fan),
    (Resource::Manager, "EthernetInterfaces", Resource::ManagerEthernet),
    (Resource::UpdateService, "FirmwareInventory", Resource::Firmware),
];

/// One resource to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub path: String,
    /// What it is, or what the members of the collection there are.
    kind: Resource,
    /// Whose link led here, as an index into what was found.
    from: Option<usize>,
    /// Tried because it is the usual place, not because anybody named it.
    guess: bool,
}

impl Step {
    pub fn is_guess(&self) -> bool {
        self.guess
    }
}

/// A resource that was read, or that lay whole inside another.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: String,
    pub kind: Resource,
    pub from: Option<usize>,
    pub body: Value,
}

pub struct Walk {
    queue: VecDeque<Step>,
    seen: BTreeSet<String>,
    found: Vec<Found>,
    gaps: Vec<Gap>,
    links: Vec<Link>,
    only: &'static [Resource],
    chosen: Option<usize>,
    wished: bool,
    reads: usize,
    bytes: usize,
    full: bool,
}

impl Walk {
    /// From the service root, as read.
    pub fn from_root(root: Value) -> Self {
        let mut walk = Self {
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
            found: Vec::new(),
            gaps: Vec::new(),
            links: Vec::new(),
            only: &[],
            chosen: None,
            wished: false,
            reads: 0,
            bytes: 0,
            full: false,
        };
        let told: Vec<_> =
            USUAL.iter().map(|(name, kind)| (*kind, *name, Fields(&root).get(name).and_then(target))).collect();
        walk.found.push(Found { path: "/redfish/v1".into(), kind: Resource::Root, from: None, body: root });
        for (kind, name, path) in told {
            let guess = path.is_none();
            walk.push(Step { path: path.unwrap_or(format!("/redfish/v1/{name}")), kind, from: Some(0), guess });
        }
        walk
    }

    /// Leaves everything else unread but who is there.
    pub fn only(&mut self, kinds: &'static [Resource]) {
        self.only = kinds;
    }

    /// What to read next; `None` when this round is over.
    pub fn next(&mut self) -> Option<Step> {
        if self.reads >= MOST_READS && !self.queue.is_empty() {
            let reason = format!("stopped after {MOST_READS} resources; {} were left", self.queue.len());
            self.gaps.push(Gap { at: "/redfish/v1".into(), reason });
            self.queue.clear();
        }
        let step = self.queue.pop_front();
        self.reads += usize::from(step.is_some());
        step
    }

    /// What was read at a step.
    pub fn read(&mut self, step: &Step, body: Value) {
        let fields = Fields(&body);
        let Some(members) = fields.get("Members") else {
            self.take(step.path.clone(), step.kind, step.from, body);
            return;
        };
        for member in items(members) {
            self.follow(member, step.kind, step.from);
        }
        let told = fields.count(&["Members@odata.count"]);
        let more = fields.get("Members@odata.nextLink").or_else(|| fields.get("@odata.nextLink"));
        let listed = items(members).len() as u64;
        match more.and_then(target) {
            Some(path) => self.push(Step { path, kind: step.kind, from: step.from, guess: false }),
            None if told.is_some_and(|told| told > listed) => self.gaps.push(Gap {
                at: step.path.clone(),
                reason: format!("it counts {} members and lists {listed}", told.unwrap_or_default()),
            }),
            None => {}
        }
    }

    /// A step that could not be read.
    pub fn missed(&mut self, step: &Step, reason: String) {
        if !step.guess {
            self.gaps.push(Gap { at: step.path.clone(), reason });
        }
    }

    /// After the first round: settles on the system whose serial number, UUID, SKU or id is `wanted`, or without a wish
    /// on the one that boots.
    pub fn choose(&mut self, wanted: Option<&str>) {
        let systems: Vec<usize> = self.of(Resource::System).map(|(at, _)| at).collect();
        self.chosen = match wanted {
            Some(wanted) => systems.iter().copied().find(|at| self.is_named(*at, wanted)),
            // Of equals the first: `max_by_key` would take the last.
            None => systems.iter().copied().rev().max_by_key(|at| self.bootable(*at)),
        };
        self.wished = wanted.is_some();
    }

    /// Begins the second round, along the standard's links and these. False: there is no system that was wished for.
    pub fn lead(&mut self, links: Vec<Link>) -> bool {
        self.links = links;
        match self.chosen {
            Some(chosen) => self.lead_on(chosen),
            None if self.wished => return false,
            // A BMC that serves no system still tells its chassis.
            None => {}
        }
        self.second_round();
        true
    }

    fn second_round(&mut self) {
        let chassis: Vec<usize> = self.belonging();
        let others = [Resource::Manager, Resource::UpdateService];
        let others = others.iter().flat_map(|kind| self.of(*kind).map(|(at, _)| at)).collect::<Vec<_>>();
        for at in chassis.into_iter().chain(others) {
            self.lead_on(at);
        }
    }

    pub fn chosen(&self) -> Option<(usize, &Found)> {
        let at = self.chosen?;
        self.found.get(at).map(|found| (at, found))
    }

    /// Everything of one kind, in the order in which it was found.
    pub fn of(&self, kind: Resource) -> impl Iterator<Item = (usize, &Found)> {
        self.found.iter().enumerate().filter(move |(_, found)| found.kind == kind)
    }

    pub fn at(&self, index: usize) -> Option<&Found> {
        self.found.get(index)
    }

    /// How many resources were asked for.
    pub fn reads(&self) -> usize {
        self.reads
    }

    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The chassis that hold the chosen system: linked with it either way, holding such a chassis or held by one; in
    /// a box with one system those that name none as well.
    pub fn belonging(&self) -> Vec<usize> {
        let systems = self.of(Resource::System).count();
        let Some((_, system)) = self.chosen() else { return self.of(Resource::Chassis).map(|(at, _)| at).collect() };
        let mine = paths(&system.body, "Links/Chassis");
        let here = key(&system.path);
        let mut belongs: BTreeSet<usize> = BTreeSet::new();
        let mut foreign: BTreeSet<usize> = BTreeSet::new();
        for (at, chassis) in self.of(Resource::Chassis) {
            let theirs = paths(&chassis.body, "Links/ComputerSystems");
            if mine.contains(&key(&chassis.path)) || theirs.contains(&here) {
                belongs.insert(at);
            } else if !theirs.is_empty() {
                foreign.insert(at);
            } else if systems <= 1 {
                belongs.insert(at);
            }
        }
        // The enclosure around, and what is plugged in.
        loop {
            let near: Vec<usize> = self
                .of(Resource::Chassis)
                .filter(|(at, _)| !belongs.contains(at) && !foreign.contains(at))
                .filter(|(_, chassis)| {
                    belongs.iter().any(|other| self.at(*other).is_some_and(|other| nested(chassis, other)))
                })
                .map(|(at, _)| at)
                .collect();
            if near.is_empty() {
                return belongs.into_iter().collect();
            }
            belongs.extend(near);
        }
    }

    /// The chassis that speaks for the chosen system: the one it is linked with, else the first that holds it.
    pub fn around(&self) -> Option<&Found> {
        let mine = self.chosen().map(|(_, system)| paths(&system.body, "Links/Chassis")).unwrap_or_default();
        let all: Vec<&Found> = self.belonging().into_iter().filter_map(|at| self.at(at)).collect();
        let linked = all.iter().copied().find(|chassis| mine.contains(&key(&chassis.path)));
        linked.or_else(|| all.first().copied())
    }

    fn is_named(&self, at: usize, wanted: &str) -> bool {
        let Some(found) = self.at(at) else { return false };
        let fields = Fields(&found.body);
        let names = ["SerialNumber", "UUID", "SKU", "Id"];
        names.iter().filter_map(|name| fields.text(&[name])).any(|name| name.eq_ignore_ascii_case(wanted.trim()))
    }

    /// How much of a server it is: some boxes list their accelerator boards as systems too.
    fn bootable(&self, at: usize) -> usize {
        let Some(found) = self.at(at) else { return 0 };
        let fields = Fields(&found.body);
        ["Boot", "BiosVersion", "EthernetInterfaces", "SerialNumber"]
            .iter()
            .filter(|name| fields.get(name).is_some())
            .count()
    }

    fn take(&mut self, path: String, kind: Resource, from: Option<usize>, body: Value) {
        let at = self.found.len();
        self.bytes = self.bytes.saturating_add(weight(&body));
        if at >= MOST_FOUND || self.bytes > MOST_BYTES {
            if !std::mem::replace(&mut self.full, true) {
                let reason =
                    format!("it tells more than {MOST_FOUND} resources or {MOST_BYTES} bytes; the rest is left");
                self.gaps.push(Gap { at: path, reason });
            }
            self.queue.clear();
            return;
        }
        self.found.push(Found { path, kind, from, body });
        if !is_first_round(kind) {
            self.lead_on(at);
        }
    }

    /// Queues what a resource links to.
    fn lead_on(&mut self, at: usize) {
        let Some(found) = self.found.get(at) else { return };
        let (kind, body) = (found.kind, found.body.clone());
        let standard = LINKS.iter().filter(|(from, ..)| *from == kind);
        let mut next: Vec<(Value, Resource)> =
            standard.filter_map(|(_, name, to)| Some((Fields(&body).get(name)?.clone(), *to))).collect();
        let own = self.links.iter().filter(|link| link.from == kind);
        next.extend(own.filter_map(|link| Some((body.pointer(&link.at)?.clone(), link.to))));
        for (value, to) in next {
            for item in items(&value) {
                self.follow(item, to, Some(at));
            }
        }
    }

    /// A link is read later; a resource that lies here whole is taken as it is.
    fn follow(&mut self, item: &Value, kind: Resource, from: Option<usize>) {
        let path = target(item);
        let whole =
            item.as_object().is_some_and(|object| object.keys().filter(|key| !key.starts_with('@')).count() > 2);
        match path {
            Some(path) if whole && self.seen.insert(key(&path)) => self.take(path, kind, from, item.clone()),
            Some(_) if whole => {}
            Some(path) => self.push(Step { path, kind, from, guess: false }),
            None if whole => self.take(String::new(), kind, from, item.clone()),
            None => {}
        }
    }

    fn push(&mut self, step: Step) {
        if !self.only.is_empty() && !self.only.contains(&step.kind) && !is_first_round(step.kind) {
            return;
        }
        // A fragment points into a resource that is read as a whole elsewhere.
        if !step.path.contains('#') && self.seen.insert(key(&step.path)) {
            self.queue.push_back(step);
        }
    }
}

/// Who is there: read before anything is chosen.
fn is_first_round(kind: Resource) -> bool {
    matches!(kind, Resource::System | Resource::Chassis | Resource::Manager | Resource::UpdateService)
}

/// About how many bytes a value fills.
pub fn weight(value: &Value) -> usize {
    let own = std::mem::size_of::<Value>();
    match value {
        Value::String(text) => own + text.len(),
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + own,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + weight(value)).sum::<usize>() + own,
        Value::Null | Value::Bool(_) | Value::Number(_) => own,
    }
}

/// The same resource, with or without the slash that some BMCs end their paths with.
fn key(path: &str) -> String {
    path.trim_end_matches('/').to_string()
}

fn paths(body: &Value, name: &str) -> BTreeSet<String> {
    Fields(body).list(name).filter_map(target).map(|path| key(&path)).collect()
}

/// Whether one chassis holds the other.
fn nested(a: &Found, b: &Found) -> bool {
    let holds = |outer: &Found, inner: &Found| {
        paths(&outer.body, "Links/Contains").contains(&key(&inner.path))
            || paths(&inner.body, "Links/ContainedBy").contains(&key(&outer.path))
    };
    holds(a, b) || holds(b, a)
}
