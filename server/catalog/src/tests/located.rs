//! A place is verified by two witnesses, and a contradiction names both.

use super::catalog;
use crate::{Located, Signs, Witness, locate};
use muster_names::SwitchPort;

fn port(port: &str) -> SwitchPort {
    SwitchPort { switch: "leaf".into(), port: port.into() }
}

fn signs(ports: &[(Witness, &str)], serial: Option<&str>, mac: Option<&str>) -> Signs {
    Signs {
        ports: ports.iter().map(|(witness, name)| (*witness, port(name))).collect(),
        serial: serial.map(str::to_owned),
        macs: mac.iter().map(|mac| mac.parse().unwrap()).collect(),
    }
}

fn located(ports: &[(Witness, &str)], serial: Option<&str>, mac: Option<&str>) -> Located {
    locate(&catalog(), &signs(ports, serial, mac))
}

#[test]
fn two_witnesses_that_agree_verify_a_place() {
    for (ports, serial) in
        [(vec![(Witness::Option82, "1"), (Witness::Lldp, "1")], None), (vec![(Witness::Option82, "1")], Some("SA"))]
    {
        let Located::Verified(spot) = located(&ports, serial, None) else { panic!("{ports:?}") };
        assert_eq!((spot.name.as_str(), spot.place.to_string().as_str()), ("a", "here/r1/U1"));
        assert_eq!(spot.witnesses.len(), 2);
    }
}

#[test]
fn one_witness_alone_is_single_evidence() {
    assert!(matches!(located(&[(Witness::Lldp, "2")], None, None), Located::Single(spot) if spot.name == "b"));
    assert!(matches!(located(&[], Some("SB"), None), Located::Single(spot) if spot.name == "b"));
}

#[test]
fn one_witness_that_says_it_twice_is_still_one() {
    let twice = [(Witness::Lldp, "1"), (Witness::Lldp, "1")];
    assert!(matches!(located(&twice, None, None), Located::Single(_)));
}

#[test]
fn a_machines_own_word_alone_verifies_no_place() {
    assert!(matches!(located(&[], Some("SA"), Some("52:54:00:00:00:0a")), Located::Single(_)));
}

#[test]
fn a_contradiction_names_both_sides() {
    for (ports, serial) in
        [(vec![(Witness::Option82, "1"), (Witness::Lldp, "2")], None), (vec![(Witness::Option82, "1")], Some("SB"))]
    {
        let Located::Conflict(text) = located(&ports, serial, None) else { panic!("{ports:?}") };
        for word in ["option 82", "leaf port 1", "a at here/r1/U1", "b at here/r1/U3"] {
            assert!(text.contains(word), "{text}");
        }
    }
}

#[test]
fn a_known_machine_at_a_port_that_is_nobodys_is_a_conflict() {
    let Located::Conflict(text) = located(&[(Witness::Lldp, "9")], Some("SA"), None) else { panic!() };
    assert!(text.contains("leaf port 9") && text.contains("leaf port 1"), "{text}");
}

#[test]
fn signs_that_no_layout_knows_are_unknown() {
    assert_eq!(located(&[(Witness::Lldp, "9")], Some("SZ"), Some("52:54:00:00:00:ff")), Located::Unknown);
    assert_eq!(located(&[], Some(" "), None), Located::Unknown);
}

#[test]
fn a_machine_is_found_by_name_serial_mac_port_and_place() {
    let catalog = catalog();
    let placed = catalog.machine_by_name("b").unwrap();
    assert_eq!(catalog.machine_by_serial("SB"), Some(placed));
    assert_eq!(catalog.machine_by_mac("52:54:00:00:00:0b".parse().unwrap()), Some(placed));
    assert_eq!(catalog.machine_by_port(&port("2")), Some(placed));
    assert_eq!(catalog.machine_at(&placed.place()), Some(placed));
    assert_eq!(catalog.machine_by_name("c"), None);
}
