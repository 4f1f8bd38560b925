//! Pure: which BMC an entry speaks of, and which machine a BMC belongs to. Wherever two signs disagree a person looks:
//! a wrong guess gives one machine's power switch to another.

use super::{FoundBody, Ours};
use muster_catalog::Protocol;
use muster_names::{Mac, MachineId};
use std::net::IpAddr;

/// A BMC that answered, as a judgement needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub address: String,
    pub mac: Option<Mac>,
    pub body: FoundBody,
}

/// Where the BMC of an entry is.
#[derive(Clone, Debug, PartialEq)]
pub enum Where {
    /// Nothing that answered fits yet.
    Nowhere,
    /// What answered there before any login, if it was looked at.
    At {
        address: String,
        found: Option<Box<Found>>,
    },
    Unclear(String),
}

/// The host of an address, in one way of writing: `HTTPS://10.0.0.5:8443/` is `10.0.0.5`.
pub fn host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default().trim();
    let name = match (rest.strip_prefix('['), rest.split_once(':')) {
        (Some(rest), _) => rest.split_once(']').map_or(rest, |(host, _)| host),
        // More than one colon is an IPv6 address without a port.
        (None, Some((host, port))) if !port.contains(':') => host,
        _ => rest,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().map_or(name, |address| address.to_string())
}

/// By MAC, by the address that the entry names, by the serial number that its machine's agent told.
pub fn whereabouts(ours: &Ours, found: &[Found]) -> Where {
    if let Some(agent) = ours.agent {
        let beside = found.iter().find(|one| one.body.machine == Some(agent.machine)).filter(|_| agent.made);
        return beside.map_or(Where::Nowhere, |one| Where::At {
            address: one.address.clone(),
            found: Some(Box::new(one.clone())),
        });
    }
    let by_mac = ours.mac.and_then(|mac| found.iter().find(|one| one.mac == Some(mac)));
    let by_address = ours.address.as_deref().map(host);
    let by_address = by_address.as_deref();
    let by_address_found = by_address.and_then(|address| found.iter().find(|one| host(&one.address) == address));
    if let (Some(one), Some(address)) = (by_mac, by_address)
        && host(&one.address) != address
    {
        let mac = one.mac.map(|mac| mac.to_string()).unwrap_or_default();
        return Where::Unclear(format!("its entry says {address}, and {mac} answers at {}", one.address));
    }
    if let (Some(wanted), Some(Found { mac: Some(seen), .. })) = (ours.mac, by_address_found)
        && wanted != *seen
    {
        let address = by_address.unwrap_or_default();
        return Where::Unclear(format!("its entry says {wanted}, and at {address} answers {seen}"));
    }
    if let Some(address) = &ours.address {
        return Where::At { address: address.clone(), found: by_address_found.cloned().map(Box::new) };
    }
    if let Some(one) = by_mac {
        return Where::At { address: one.address.clone(), found: Some(Box::new(one.clone())) };
    }
    let told = |one: &&Found| ours.serial.is_some() && one.body.serial == ours.serial;
    let mut by_serial = found.iter().filter(told);
    match (by_serial.next(), by_serial.next()) {
        // A MAC that the entry names and that answers nowhere: another BMC is not taken in its place.
        (Some(one), None) if ours.mac.is_none() || one.mac.is_none() => {
            Where::At { address: one.address.clone(), found: Some(Box::new(one.clone())) }
        }
        (Some(one), Some(two)) => Where::Unclear(format!(
            "machines behind {} and {} both say that they have its serial number",
            one.address, two.address
        )),
        _ => Where::Nowhere,
    }
}

/// Which protocols are tried, in this order.
pub fn protocols(ours: &Ours, found: Option<&Found>) -> Vec<Protocol> {
    if let Some(protocol) = ours.protocol {
        return vec![protocol];
    }
    if ours.address.as_deref().is_some_and(|address| address.contains("://")) {
        return vec![Protocol::Redfish];
    }
    let told: Vec<Protocol> = found.iter().flat_map(|found| &found.body.told).map(|told| told.protocol).collect();
    let all = [Protocol::Redfish, Protocol::Ipmi];
    let spoken: Vec<Protocol> = all.into_iter().filter(|protocol| told.contains(protocol)).collect();
    if spoken.is_empty() { all.to_vec() } else { spoken }
}

/// A machine that may be the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: MachineId,
    pub name: String,
    pub ours: bool,
    pub serial: Option<String>,
    pub uuid: Option<String>,
    /// Where its BMC is, as far as that is known.
    pub bmc: Option<String>,
    /// That BMC was adopted, and is the one with this MAC.
    pub adopted: Option<Mac>,
}

const NAMED: &str = "its entry names";

/// Which machines the signs lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The entry names it.
    pub named: Option<Candidate>,
    /// It has the serial number that the BMC tells.
    pub by_serial: Vec<Candidate>,
    /// Its agent told of this BMC.
    pub by_agent: Option<Candidate>,
    /// Its BMC has this address.
    pub by_address: Vec<Candidate>,
}

/// What the BMC says of its machine.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Makers have up to two numbers for a machine, and the machine itself may know it by either.
    pub serials: &'a [String],
    pub uuids: &'a [String],
}

impl Said<'_> {
    /// Whether it may speak for a machine of this serial number and UUID: not where there is something to compare and
    /// nothing of it is the same.
    pub(crate) fn fits(&self, serial: Option<&str>, uuid: Option<&str>) -> bool {
        let told: Vec<String> = self.uuids.iter().map(|uuid| digits(uuid)).filter(|uuid| is_telling(uuid)).collect();
        let serial = serial.filter(|_| !self.serials.is_empty());
        let uuid = uuid.map(digits).filter(|uuid| is_telling(uuid) && !told.is_empty());
        let by_serial = serial.map(|known| self.serials.iter().any(|one| is_same(known, one)));
        let by_uuid = uuid.map(|known| told.iter().any(|one| *one == known || swapped(one) == known));
        [by_serial, by_uuid].contains(&Some(true)) || [by_serial, by_uuid] == [None, None]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    New { name: String },
    Known(MachineId),
    Conflict(String),
}

/// Whose BMC it is that took the password, says this of its machine, and answers at this address.
pub fn whose(ours: &Ours, said: &Said<'_>, address: &str, signs: &Signs) -> Whose {
    if !said.fits(ours.serial.as_deref(), None) {
        let (wanted, told) = (ours.serial.as_deref().unwrap_or_default(), said.serials.join(" or "));
        return Whose::Conflict(format!("its entry says serial number {wanted}, and the BMC says {told}"));
    }
    let serial = serial_of(ours, said);
    if let [one, two, ..] = signs.by_serial.as_slice() {
        return Whose::Conflict(format!(
            "{} and {} both have serial number {}",
            one.name,
            two.name,
            serial.unwrap_or_default()
        ));
    }
    let all = [(NAMED, signs.named.as_ref())]
        .into_iter()
        .chain(signs.by_serial.iter().map(|one| ("its serial number is that of", Some(one))))
        .chain([("its agent is that of", signs.by_agent.as_ref())])
        .chain(signs.by_address.iter().map(|one| ("its address is that of", Some(one))));
    let all: Vec<(&str, &Candidate)> = all.filter_map(|(why, one)| Some((why, one?))).collect();
    let Some((why, one)) = all.first() else {
        let serial = serial.map(str::to_ascii_lowercase).filter(|serial| muster_catalog::is_name(serial));
        let name = ours.machine.clone().or(serial);
        let name = name.unwrap_or_else(|| format!("bmc-{}", host(address).replace([':', '.'], "-")));
        return Whose::New { name };
    };
    if let Some((other_why, other)) = all.iter().find(|(_, other)| other.id != one.id) {
        return Whose::Conflict(format!("{why} {}, and {other_why} {}", one.name, other.name));
    }
    // Anybody can boot something that has this serial number; a person says that it is ours.
    if let Some((_, stranger)) = all.iter().find(|(why, other)| !other.ours && *why != NAMED) {
        return Whose::Conflict(format!(
            "{} has its serial number, and nobody said that it is ours: name it in the entry if it is the same machine",
            stranger.name
        ));
    }
    if !said.fits(one.serial.as_deref(), one.uuid.as_deref()) {
        let known = [one.serial.as_deref(), one.uuid.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let told = said.serials.iter().chain(said.uuids).map(String::as_str).collect::<Vec<_>>().join(" or ");
        return Whose::Conflict(format!("{} is {known}, and the BMC says {told}", one.name));
    }
    let same = |bmc: &str| host(bmc) == host(address);
    if let Some(bmc) = one.bmc.as_deref().filter(|bmc| !same(bmc))
        && (one.adopted.is_none() || one.adopted != ours.mac)
    {
        return Whose::Conflict(format!(
            "the BMC of {} is known at {bmc}, and this one answers at {address}",
            one.name
        ));
    }
    Whose::Known(one.id)
}

/// A serial number is one whatever stands around it, in upper or lower case.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

/// The serial number that its machine is known by: the entry's, which is one of those told, or else the first told.
pub fn serial_of<'a>(ours: &'a Ours, said: &Said<'a>) -> Option<&'a str> {
    ours.serial.as_deref().or_else(|| said.serials.first().map(String::as_str))
}

fn digits(uuid: &str) -> String {
    uuid.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase()
}

/// Nothing but zeros, or another digit all over, is what boards have that nobody numbered.
fn is_telling(digits: &str) -> bool {
    digits.len() == 32 && digits.bytes().any(|digit| Some(digit) != digits.bytes().next())
}

/// Makers disagree about the order of the first bytes.
fn swapped(digits: &str) -> String {
    let pair = |at: usize| digits.get(at * 2..at * 2 + 2).unwrap_or_default();
    let first: String = [3, 2, 1, 0, 5, 4, 7, 6].map(pair).concat();
    first + digits.get(16..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adoption::{ByAgent, Told};

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

    fn ours() -> Ours {
        Ours { user: "admin".into(), ..Ours::default() }
    }

    fn found(address: &str, mac: Option<Mac>, serial: Option<&str>) -> Found {
        let body = FoundBody { serial: serial.map(str::to_owned), ..FoundBody::default() };
        Found { address: address.into(), mac, body }
    }

    fn at(place: &Where) -> Option<&str> {
        if let Where::At { address, .. } = place { Some(address) } else { None }
    }

    #[test]
    fn an_address_is_compared_by_its_host_whatever_stands_around_it() {
        for (text, host_of) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5:623", "10.0.0.5"),
            ("HTTPS://BMC-1.example.org./", "bmc-1.example.org"),
            ("fd00:0:0::5", "fd00::5"),
            ("https://bmc-1:8443", "bmc-1"),
            ("[fd00::5]:623", "fd00::5"),
            ("fd00::5", "fd00::5"),
        ] {
            assert_eq!(host(text), host_of);
        }
    }

    #[test]
    fn an_entry_is_found_by_its_mac_its_address_or_by_the_serial_that_an_agent_told() {
        let seen = [found("10.0.0.5", Some(MAC), None), found("10.0.0.6", None, Some("S6"))];
        assert_eq!(at(&whereabouts(&Ours { mac: Some(MAC), ..ours() }, &seen)), Some("10.0.0.5"));
        assert_eq!(at(&whereabouts(&Ours { serial: Some("S6".into()), ..ours() }, &seen)), Some("10.0.0.6"));
        let named = Ours { address: Some("https://10.0.0.9".into()), ..ours() };
        assert_eq!(at(&whereabouts(&named, &seen)), Some("https://10.0.0.9"), "a person may know better than a scan");
        assert_eq!(whereabouts(&Ours { serial: Some("S7".into()), ..ours() }, &seen), Where::Nowhere);
        assert_eq!(whereabouts(&ours(), &seen), Where::Nowhere, "nothing named is nobody, and not everybody");
    }

    #[test]
    fn an_account_that_an_agent_makes_is_used_once_it_is_made_and_at_that_agents_bmc_alone() {
        let mut beside = found("10.0.0.5", None, None);
        beside.body.machine = Some(MachineId(7));
        let by = |machine, made| Ours { agent: Some(ByAgent { machine: MachineId(machine), made }), ..ours() };
        let seen = [found("10.0.0.4", None, None), beside];
        assert_eq!(whereabouts(&by(7, false), &seen), Where::Nowhere);
        assert_eq!(at(&whereabouts(&by(7, true), &seen)), Some("10.0.0.5"));
        assert_eq!(whereabouts(&by(8, true), &seen), Where::Nowhere);
    }

    #[test]
    fn two_signs_that_disagree_are_nobody() {
        let other = Mac([2, 0, 0, 0, 0, 6]);
        let seen = [found("10.0.0.5", Some(MAC), Some("S")), found("10.0.0.6", Some(other), Some("S"))];
        let moved = Ours { mac: Some(MAC), address: Some("10.0.0.6".into()), ..ours() };
        assert!(matches!(whereabouts(&moved, &seen), Where::Unclear(why) if why.contains("10.0.0.5")));
        let gone = Ours { mac: Some(Mac([2, 0, 0, 0, 0, 9])), address: Some("10.0.0.6".into()), ..ours() };
        assert!(matches!(whereabouts(&gone, &seen), Where::Unclear(why) if why.contains("02:00:00:00:00:06")));
        let twice = Ours { serial: Some("S".into()), ..ours() };
        assert!(matches!(whereabouts(&twice, &seen), Where::Unclear(_)));
        let absent = Ours { mac: Some(Mac([2, 0, 0, 0, 0, 9])), serial: Some("S".into()), ..ours() };
        assert_eq!(whereabouts(&absent, seen.get(..1).unwrap()), Where::Nowhere, "its own MAC answers nowhere");
    }

    #[test]
    fn the_protocol_is_the_entrys_or_what_answered_redfish_first() {
        let told = |protocol| -> Told { serde_json::from_value(serde_json::json!({ "protocol": protocol })).unwrap() };
        let mut seen = found("10.0.0.5", None, None);
        assert_eq!(protocols(&ours(), Some(&seen)), [Protocol::Redfish, Protocol::Ipmi]);
        seen.body.told = vec![told(Protocol::Ipmi)];
        assert_eq!(protocols(&ours(), Some(&seen)), [Protocol::Ipmi]);
        seen.body.told.push(told(Protocol::Redfish));
        assert_eq!(protocols(&ours(), Some(&seen)), [Protocol::Redfish, Protocol::Ipmi]);
        assert_eq!(protocols(&Ours { protocol: Some(Protocol::Ipmi), ..ours() }, Some(&seen)), [Protocol::Ipmi]);
        let url = Ours { address: Some("http://10.0.0.5:8000".into()), ..ours() };
        assert_eq!(protocols(&url, None), [Protocol::Redfish]);
    }

    /// What a BMC says that tells these numbers and no UUID.
    fn by(ours: &Ours, serials: &[&str], address: &str, signs: &Signs) -> Whose {
        let serials: Vec<String> = serials.iter().map(|serial| (*serial).to_owned()).collect();
        whose(ours, &Said { serials: &serials, uuids: &[] }, address, signs)
    }

    fn machine(id: u128, serial: Option<&str>, bmc: Option<&str>) -> Candidate {
        let (serial, bmc) = (serial.map(str::to_owned), bmc.map(str::to_owned));
        Candidate { id: MachineId(id), name: format!("n{id}"), ours: true, serial, uuid: None, bmc, adopted: None }
    }

    #[test]
    fn a_bmc_that_no_sign_leads_from_becomes_a_new_machine_with_the_best_name_there_is() {
        let name = |ours: &Ours, serial: &[&str]| match by(ours, serial, "10.0.0.5", &Signs::default()) {
            Whose::New { name } => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(name(&Ours { machine: Some("web1".into()), ..ours() }, &["S1"]), "web1");
        assert_eq!(name(&ours(), &["S1"]), "s1");
        assert_eq!(name(&ours(), &["S 1/.."]), "bmc-10-0-0-5", "what is no name is not taken for one");
        assert_eq!(name(&ours(), &[]), "bmc-10-0-0-5");
    }

    #[test]
    fn all_signs_have_to_lead_to_one_machine() {
        let (one, two) = (machine(1, Some("S1"), None), machine(2, None, None));
        let signs = Signs { named: Some(one.clone()), by_serial: vec![one.clone()], ..Signs::default() };
        assert_eq!(by(&ours(), &["S1"], "10.0.0.5", &signs), Whose::Known(MachineId(1)));
        let signs = Signs { by_agent: Some(two.clone()), ..signs };
        let Whose::Conflict(why) = by(&ours(), &["S1"], "10.0.0.5", &signs) else { panic!("no conflict") };
        assert!(why.contains("n1") && why.contains("n2"), "{why}");
        let twins = Signs { by_serial: vec![one, two], ..Signs::default() };
        assert!(matches!(by(&ours(), &["S1"], "10.0.0.5", &twins), Whose::Conflict(_)));
    }

    #[test]
    fn a_machine_that_nobody_claimed_gets_no_bmc_by_its_own_word() {
        let stranger = Candidate { ours: false, ..machine(1, Some("S1"), None) };
        let by_serial = Signs { by_serial: vec![stranger.clone()], ..Signs::default() };
        let said = by(&ours(), &["S1"], "10.0.0.5", &by_serial);
        assert!(matches!(said, Whose::Conflict(why) if why.contains("nobody said")));
        let named = Signs { named: Some(stranger), ..Signs::default() };
        assert_eq!(by(&ours(), &["S1"], "10.0.0.5", &named), Whose::Known(MachineId(1)));
    }

    #[test]
    fn another_serial_than_the_manifests_or_the_machines_is_a_conflict() {
        let wanted = Ours { serial: Some("S1".into()), ..ours() };
        assert!(matches!(by(&wanted, &["S2"], "a", &Signs::default()), Whose::Conflict(_)));
        assert!(matches!(by(&wanted, &[], "a", &Signs::default()), Whose::New { .. }), "one that tells none");
        let signs = Signs { named: Some(machine(1, Some("S1"), None)), ..Signs::default() };
        assert!(matches!(by(&ours(), &["S2"], "a", &signs), Whose::Conflict(_)));
    }

    #[test]
    fn a_bmc_speaks_for_a_machine_by_either_number_or_its_uuid_in_either_order_and_by_no_filler() {
        let fits = |serials: &[&str], uuids: &[&str], serial: &str, uuid: &str| {
            let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
            Said { serials: &text(serials), uuids: &text(uuids) }.fits(some(serial), some(uuid))
        };
        const UUID: &str = "00112233-4455-4677-8899-aabbccddeeff";
        const SWAPPED: &str = "33221100-5544-7746-8899-AABBCCDDEEFF";
        assert!(fits(&["CNIVC001", "F54P1G3"], &[], "f54p1g3 ", ""), "the maker's own number is what SMBIOS has");
        assert!(!fits(&["CNIVC001", "F54P1G3"], &[], "F54P1G4", ""));
        assert!(fits(&["X"], &[UUID], "S1", SWAPPED) && fits(&["X"], &[UUID], "S1", UUID));
        assert!(!fits(&["X"], &[UUID], "S1", "11112233-4455-4677-8899-aabbccddeeff"));
        let zeros = "00000000-0000-0000-0000-000000000000";
        assert!(!fits(&["X"], &[zeros], "S1", zeros), "two boards without a number are not the same");
        assert!(fits(&[], &[], "S1", UUID) && fits(&["X"], &[UUID], "", ""), "nothing to compare is no contradiction");
    }

    #[test]
    fn a_machine_whose_bmc_is_known_elsewhere_keeps_it_unless_it_was_adopted_by_the_same_mac() {
        let entry = Ours { mac: Some(MAC), ..ours() };
        let mut one = machine(1, None, Some("10.0.0.5"));
        let whose_at = |one: &Candidate, address: &str| {
            by(&entry, &[], address, &Signs { named: Some(one.clone()), ..Signs::default() })
        };
        assert_eq!(whose_at(&one, "https://10.0.0.5"), Whose::Known(MachineId(1)));
        assert!(matches!(whose_at(&one, "10.0.0.6"), Whose::Conflict(_)));
        one.adopted = Some(MAC);
        assert_eq!(whose_at(&one, "10.0.0.6"), Whose::Known(MachineId(1)));
    }
}
