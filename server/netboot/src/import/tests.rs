//! What the readers promise: what is there is found with its place, what was not taken is told, and no bytes hurt.

use super::*;
use proptest::prelude::*;

/// 2026-11-26 20:00:00
const NOW: Millis = Millis(1_795_723_200_000);
const LATER: Millis = Millis(NOW.0 + 3_600_000);

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// `line mac address name`, and `until` seconds from now for a lease.
fn told(reading: &Reading) -> Vec<String> {
    let one = |entry: &Entry| {
        let address = entry.address.map_or("-".to_owned(), |address| address.to_string());
        let name = entry.name.as_deref().unwrap_or("-");
        let given = match entry.given {
            Given::Reservation => String::new(),
            Given::Lease { until } => format!(" {}", (until.0 - NOW.0) / 1000),
        };
        format!("{} {} {address} {name}{given}", entry.at.line, entry.mac)
    };
    reading.entries.iter().map(one).collect()
}

/// `LINE:COLUMN broken: text`
fn notes(reading: &Reading) -> Vec<String> {
    let one = |note: &Note| format!("{} {:?} {}: {}", note.at, note.weight, note.times, note.text);
    reading.notes.iter().map(one).collect()
}

fn isc(text: &str) -> Reading {
    read(Format::Isc, text.as_bytes(), NOW)
}

#[test]
fn hosts_of_dhcpd_are_found_in_groups_subnets_and_beside_what_is_skipped() {
    let reading = isc(r#"
option domain-name-servers 10.77.0.1, 10.77.0.2;   # not ours
subnet 10.77.0.0 netmask 255.255.255.0 {
  range 10.77.0.50 10.77.0.60;
  host node1 { hardware ethernet 52:54:0:0:0:1; fixed-address 10.77.0.11; }
  group { host node2 { hardware ethernet 52:54:00:00:00:02;
    fixed-address 10.77.0.12; option host-name "n2.example"; filename "x"; } }
}
class "pxe" { match if substring(option vendor-class-identifier, 0, 9) = "PXEClient"; host inside { } }
host bare { hardware ethernet 52:54:00:00:00:03; }
"#);
    assert_eq!(
        told(&reading),
        [
            "5 52:54:00:00:00:01 10.77.0.11 node1",
            "6 52:54:00:00:00:02 10.77.0.12 n2.example",
            "10 52:54:00:00:00:03 - bare"
        ]
    );
    assert_eq!(reading.notes.iter().filter(|note| note.weight == Weight::Broken).count(), 0, "{:?}", notes(&reading));
    let skipped = notes(&reading);
    for word in [
        "2:1 Skipped 1: `option domain-name-servers`",
        "4:3 Skipped 1: `range`",
        "`filename` of a host",
        "9:1 Skipped 1: `class {...}`",
    ] {
        assert!(skipped.iter().any(|note| note.contains(word)), "{word}: {skipped:#?}");
    }
}

#[test]
fn what_is_wrong_with_a_host_is_told_with_line_and_column_and_the_host_is_not_taken() {
    for (text, expected) in [
        (
            "host a { hardware ethernet 52:54:00:00:00; fixed-address 10.0.0.1; }",
            "1:28 Broken 1: \"52:54:00:00:00\" is no MAC",
        ),
        ("host a {\n hardware token-ring 1:2;\n}", "2:2 Broken 1: hardware \"token-ring\""),
        (
            "host a { hardware ethernet 52:54:00:00:00:01; fixed-address a.example; }",
            "1:61 Broken 1: \"a.example\" is no IPv4",
        ),
        ("host a { option dhcp-client-identifier \"x\"; }", "1:1 Broken 1: host a: it is known by a client id alone"),
        ("host a { fixed-address 10.0.0.1; }", "1:1 Broken 1: host a: it has no `hardware ethernet`"),
        ("host a { hardware ethernet 52:54:00:00:00:01", "does not end; expected a `;` before the end of the file"),
        ("host a { hardware ethernet 52:54:00:00:00:01;", "1:1 Broken 1: the block does not end"),
        ("host a { option host-name \"x; }", "1:27 Broken 1: the string does not end"),
        ("}", "1:1 Broken 1: a `}` that closes nothing"),
        ("include \"/etc/more.conf\";", "1:1 Broken 1: include \"/etc/more.conf\": it was not read"),
    ] {
        let reading = isc(text);
        assert_eq!(reading.entries, [], "{text}");
        assert!(notes(&reading).iter().any(|note| note.contains(expected)), "{text}: {:#?}", notes(&reading));
    }
}

#[test]
fn of_two_addresses_the_first_is_taken_and_a_person_is_told() {
    let reading = isc("host a { hardware ethernet 52:54:00:00:00:01; fixed-address 10.77.0.11, 10.78.0.11; }");
    assert_eq!(told(&reading), ["1 52:54:00:00:00:01 10.77.0.11 a"]);
    assert_eq!(notes(&reading), ["1:1 Broken 1: host a: 2 addresses; a machine has one, so the first was taken"]);
}

#[test]
fn the_newest_word_on_an_address_counts_in_a_lease_file() {
    let lease = |address: u8, last: u8, ends: &str, more: &str| {
        format!(
            "lease 10.77.0.{address} {{ starts 4 2026/11/26 19:00:00; ends {ends}; hardware ethernet {}; {more} }}\n",
            mac(last)
        )
    };
    let text = [
        lease(50, 1, "4 2026/11/26 21:00:00", "binding state active; client-hostname \"n1\";"),
        lease(51, 2, "never", "binding state active; set vendor = \"x\"; uid \"\\001RT\"; on expiry { execute(\"a\"); }"),
        lease(52, 3, "4 2026/11/26 21:00:00", "binding state active;"),
        lease(52, 3, "4 2026/11/26 19:30:00", "binding state free;"),
        lease(53, 4, "epoch 1795723260", "binding state active;"),
        lease(54, 5, "4 2026/11/26 20:00:00", "binding state active;"),
        lease(55, 6, "4 2026/11/26 21:00:00", "binding state abandoned;"),
        "host made { dynamic; hardware ethernet 52:54:00:00:00:09; fixed-address 10.77.0.9; }\n".to_owned(),
        "host gone { dynamic; hardware ethernet 52:54:00:00:00:08; fixed-address 10.77.0.8; }\nhost gone { dynamic; deleted; }\n".to_owned(),
    ]
    .concat();
    let reading = isc(&text);
    assert_eq!(
        told(&reading),
        [
            "1 52:54:00:00:00:01 10.77.0.50 n1 3600".to_owned(),
            format!("2 52:54:00:00:00:02 10.77.0.51 - {}", (FOREVER.0 - NOW.0) / 1000),
            "5 52:54:00:00:00:04 10.77.0.53 - 60".to_owned(),
            "8 52:54:00:00:00:09 10.77.0.9 made".to_owned(),
        ]
    );
    let notes = notes(&reading);
    for word in
        ["4:1 Skipped 1: a lease that is not active", "6:1 Skipped 1: a lease that has ended", "10.77.0.55: abandoned"]
    {
        assert!(notes.iter().any(|note| note.contains(word)), "{word}: {notes:#?}");
    }
    assert_eq!(notes.len(), 3, "{notes:#?}");
}

#[test]
fn a_lease_whose_end_or_mac_does_not_read_is_broken_and_does_not_hide_behind_an_older_one() {
    let good =
        "lease 10.77.0.50 { ends 4 2026/11/26 21:00:00; hardware ethernet 52:54:00:00:00:01; binding state active; }\n";
    for (bad, expected) in [
        ("lease 10.77.0.50 { ends 4 tomorrow; hardware ethernet 52:54:00:00:00:01; }", "ends \"4 tomorrow \""),
        ("lease 10.77.0.50 { ends 4 2026/11/26 21:00:00; }", "it has no `hardware ethernet`"),
        ("lease 10.77.0.50 { hardware ethernet 52:54:00:00:00:01; }", "it has no `ends`"),
        ("lease 10.77.0.500 { }", "\"10.77.0.500\" is no IPv4"),
    ] {
        let reading = isc(&format!("{good}{bad}"));
        assert_eq!(reading.entries.len(), usize::from(bad.contains("500")), "{bad}");
        assert!(notes(&reading).iter().any(|note| note.contains(expected)), "{bad}: {:#?}", notes(&reading));
    }
}

#[test]
fn blocks_below_the_sixty_fourth_are_told_and_what_follows_them_is_read() {
    let host = |last: u8, name: &str| format!("host {name} {{ hardware ethernet {}; }} ", mac(last));
    let deep = |groups: usize, inside: &str| format!("{}{inside}{} ", "group { ".repeat(groups), "}".repeat(groups));
    let reading = isc(&(deep(63, &host(1, "a")) + &host(2, "b")));
    assert_eq!(told(&reading), ["1 52:54:00:00:00:01 - a", "1 52:54:00:00:00:02 - b"]);
    assert_eq!(notes(&reading), [""; 0]);
    let inside = "host a { hardware ethernet 52:54:00:00:00:01; if y { z; } } host c { q; }";
    let reading = isc(&(deep(64, inside) + &host(2, "b")));
    assert_eq!(told(&reading), ["1 52:54:00:00:00:02 - b"]);
    assert_eq!(notes(&reading), ["1:520 Broken 2: more than 64 blocks within each other; nothing in it was read"]);
}

#[test]
fn each_statement_of_dhcpd_is_taken_passed_over_or_told_once() {
    let reading = isc(r#"
shared-network s { pool { host "a\b" { hardware ethernet 52:54:00:00:00:01; ddns-hostname "n1"; uid "x"; dynamic; } } }
if x { y { z; } host in { hardware ethernet 52:54:00:00:00:02; } }
subnet 10.0.0.0 netmask 255.0.0.0 { } # x }
host bad { hardware ethernet 52:54:00:00:00; option host-name "-"; }
host "l\"q" { hardware ethernet 52:54:00:00:00:03; filename"x";next-server 10.0.0.1,10.0.0.2; }
"#);
    assert_eq!(told(&reading), ["2 52:54:00:00:00:01 - n1", "6 52:54:00:00:00:03 - -"], "{:#?}", notes(&reading));
    assert_eq!(
        notes(&reading),
        [
            "2:97 Skipped 1: a client id: Muster knows a machine by its MAC address",
            "3:1 Skipped 1: `if {...}` is no reservation and no lease: it was skipped whole",
            "4:1 Skipped 1: `subnet`: networks are those of Muster's configuration; its hosts were read",
            "5:30 Broken 1: \"52:54:00:00:00\" is no MAC address; expected one like 52:54:00:aa:bb:cc",
            "5:63 Broken 1: \"-\" is no host name; expected letters, digits, dashes and dots, at most 64; the machine goes without it",
            "6:52 Skipped 1: `filename` of a host: what a machine boots and is told is Muster's to say",
            "6:64 Skipped 1: `next-server` of a host: what a machine boots and is told is Muster's to say",
        ]
    );
    let lease = |more: &str| format!("lease 10.77.0.50 {{ hardware ethernet 52:54:00:00:00:01; {more} }}");
    let active = "1 52:54:00:00:00:01 10.77.0.50";
    let known = "starts 4 2026/11/26 19:00:00; tstp never; tsfp never; atsfp never; cltt never; next binding state free; \
        rewind binding state free; uid \"x\"; set a = \"b\"; option x 1; vendor-class-identifier \"x\"; ddns-fwd-name \"x\"; \
        ddns-txt \"x\"; ddns-rev-name \"x\"; bootp; reserved; ends epoch 1795723201;";
    for (more, taken, expected) in [
        (known, format!("{active} - 1"), ""),
        ("ends epoch 1795723200;", String::new(), "1:1 Skipped 1: a lease that has ended"),
        ("ends epoch x;", String::new(), "1:57 Broken 1: ends epoch \"x\"; expected seconds since 1970"),
        (
            "ends never; abandoned;",
            String::new(),
            "1:1 Skipped 1: lease 10.77.0.50: abandoned, somebody unknown answers on it; look who before you hand it out",
        ),
        (
            "ends never; colour blue;",
            format!("{active} - {}", (FOREVER.0 - NOW.0) / 1000),
            "1:69 Skipped 1: `colour` of a lease: it was skipped",
        ),
        (
            "ends epoch 1795723201; client-hostname \"a b\";",
            format!("{active} - 1"),
            "1:80 Skipped 1: \"a b\" is no host name; expected letters, digits, dashes and dots, at most 64; the machine goes without it",
        ),
    ] {
        let reading = isc(&lease(more));
        assert_eq!((told(&reading).concat().as_str(), notes(&reading).concat().as_str()), (taken.as_str(), expected));
    }
    let away = isc("lease 10.77.0.50 { hardware ethernet 52:54:00:00:00; ends never; }");
    assert_eq!((away.entries.len(), away.notes.len()), (0, 1), "what is told as broken is told once");
}

#[test]
fn reservations_of_kea_are_found_at_every_level_and_the_rest_is_told() {
    let text = r#"// a comment
{ "Dhcp4": { # another
    "reservations": [ { "hw-address": "52:54:00:00:00:01", "ip-address": "10.77.0.11", "hostname": "n1" } ],
    "valid-lifetime": 3600, /* and
    one of two lines */
    "subnet4": [ { "id": 1, "subnet": "10.77.0.0/24",
      "reservations": [
        { "hw-address": "52-54-00-00-00-02", "ip-address": "10.77.0.12", "next-server": "10.0.0.1", "option-data": [] },
        { "client-id": "01:52", "ip-address": "10.77.0.13" },
        { "hw-address": "52:54:00:00:00", "ip-address": "10.77.0.14" },
        { "hw-address": "52:54:00:00:00:05", "ip-address": 7 },
      ] } ],
    "shared-networks": [ { "name": "s", "subnet4": [ { "reservations": [ { "hw-address": "52:54:00:00:00:06" } ] } ] } ],
    "hosts-database": { "type": "mysql" }
  }, "Control-agent": {} }"#;
    let reading = read(Format::Kea, text.as_bytes(), NOW);
    assert_eq!(
        told(&reading),
        ["3 52:54:00:00:00:01 10.77.0.11 n1", "8 52:54:00:00:00:02 10.77.0.12 -", "13 52:54:00:00:00:06 - -"]
    );
    let notes = notes(&reading);
    for word in [
        "4:5 Skipped 1: \"valid-lifetime\" is no reservation",
        "8:74 Skipped 1: \"next-server\" of a reservation",
        "9:9 Broken 1: a reservation without \"hw-address\" (found \"client-id\")",
        "10:25 Broken 1: \"52:54:00:00:00\" is no MAC",
        "11:60 Broken 1: expected an IPv4 address in quotes",
        "14:5 Broken 1: \"hosts-database\"",
        "15:6 Skipped 1: \"Control-agent\"",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(word)), "{word}: {notes:#?}");
    }
}

#[test]
fn what_kea_writes_for_nothing_set_is_no_note_and_each_value_of_a_wrong_kind_is_one() {
    let one = |more: &str| {
        let text = format!("{{\"Dhcp4\":{{\"reservations\":[{{\"hw-address\":\"52:54:00:00:00:01\",{more}}}]}}}}");
        let reading = read(Format::Kea, text.as_bytes(), NOW);
        (told(&reading).concat(), notes(&reading).concat())
    };
    let found = "1 52:54:00:00:00:01".to_owned();
    let nothing = "\"boot-file-name\":\"\",\"next-server\":\"0.0.0.0\",\"option-data\":[],\"a\":{},\"b\":null,\"hostname\":\"\",\
        \"comment\":\"x\",\"user-context\":{\"a\":1}";
    assert_eq!(one(nothing), (format!("{found} - -"), String::new()));
    assert_eq!(one("\"hostname\":7"), (format!("{found} - -"), String::new()));
    let mine = |key: &str, value: &str| {
        let (entry, note) = one(&format!("\"{key}\":{value}"));
        assert_eq!(entry, format!("{found} - -"), "{key}");
        assert_eq!(
            note,
            format!("1:61 Skipped 1: \"{key}\" of a reservation: what a machine boots and is told is Muster's to say")
        );
    };
    for value in ["\"x\"", "[1]", "{\"a\":1}", "1"] {
        mine("client-classes", value);
    }
    let (entry, note) = one("\"ip-address\":\"\"");
    assert_eq!((entry.as_str(), note.as_str()), ("", "1:74 Broken 1: expected an IPv4 address in quotes"));
    let (entry, note) = one("\"ip-address\":\"10.0.0\"");
    assert_eq!(entry, "");
    assert_eq!(note, "1:74 Broken 1: \"10.0.0\" is no IPv4 address of a machine; expected one like 10.0.4.17");
    let reading = read(
        Format::Kea,
        br#"{"Dhcp4":{"id":1,"name":2,"subnet":3,"comment":4,"reservations":[7,{},{"hw-address":""}]}}"#,
        NOW,
    );
    assert_eq!(reading.entries, []);
    assert_eq!(
        notes(&reading),
        [
            "1:66 Broken 1: expected a reservation, an object in braces",
            "1:68 Broken 1: a reservation without \"hw-address\" (found none); expected one, by which Muster knows machines",
            "1:85 Broken 1: expected a MAC address in quotes",
        ]
    );
}

#[test]
fn json_that_does_not_read_is_told_at_its_place_and_nothing_of_it_is_taken() {
    for (text, expected) in [
        ("", "1:1 Broken 1: expected a value, found the end of the file"),
        ("{ \"Dhcp4\": { \"a\" 1 } }", "1:18 Broken 1: expected `:`, found"),
        ("{ \"Dhcp4\": [ 1 2 ] }", "1:16 Broken 1: expected `,` or `]`"),
        ("{ \"Dhcp4\": { a: 1 } }", "expected a name in quotes"),
        ("{ \"Dhcp4\": \"x", "the text does not end"),
        ("/* x", "the comment does not end"),
        ("{} {}", "expected the end of the file"),
        ("{ \"Dhcp6\": {} }", "the file has no \"Dhcp4\""),
        ("{ <?include \"x\"?> }", "an included file"),
        (&"[".repeat(100_000), "more than 64 lists and objects"),
    ] {
        let reading = read(Format::Kea, text.as_bytes(), NOW);
        let notes = notes(&reading);
        assert!(
            reading.entries.is_empty() && notes.iter().any(|note| note.contains(expected)),
            "{expected}: {notes:#?}"
        );
    }
}

#[test]
fn of_keas_journal_the_last_row_of_an_address_counts() {
    let text = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n\
        10.77.0.50,52:54:00:00:00:01,,3600,1795726800,1,0,0,n1&#x2cx,0,\n\
        10.77.0.50,52:54:00:00:00:01,,3600,1795726860,1,0,0,n1.,0,\n\
        10.77.0.51,52:54:00:00:00:02,01:52,3600,1795726800,1,0,0,,0,\n\
        10.77.0.51,52:54:00:00:00:02,01:52,0,1795723200,1,0,0,,0,\n\
        10.77.0.52,,,3600,1795726800,1,0,0,,1,\n\
        10.77.0.53,52:54:00:00:00:03,,4294967295,0,1,0,0,,0,\n\
        10.77.0.54,52:54:00:00:00:04,,3600,1795723200,1,0,0,,0,\n\
        10.77.0.55,52:54:00:00:00:05,,3600,soon,1,0,0,,0,\n\
        10.77.0.56,,ff:01,3600,1795726800,1,0,0,,0,\n";
    let reading = read(Format::Kea, text.as_bytes(), NOW);
    let endless = format!("7 52:54:00:00:00:03 10.77.0.53 - {}", (FOREVER.0 - NOW.0) / 1000);
    assert_eq!(told(&reading), ["3 52:54:00:00:00:01 10.77.0.50 n1 3660".to_owned(), endless]);
    let notes = notes(&reading);
    for word in [
        "10.77.0.52 is declined",
        "8:1 Skipped 1: a lease that has ended",
        "9:1 Broken 1: expire \"soon\"",
        "10:1 Broken 1: the lease of 10.77.0.56",
    ] {
        assert!(notes.iter().any(|note| note.contains(word)), "{word}: {notes:#?}");
    }
    for (head, missing) in [
        ("address,valid_lifetime", "hwaddr"),
        ("address,hwaddr,valid_lifetime", "expire"),
        ("address,hwaddr,expire", "valid_lifetime"),
    ] {
        let reading = read(Format::Kea, format!("{head}\n10.0.0.1,1,1\n").as_bytes(), NOW);
        assert_eq!(reading.entries, []);
        let expected = format!("1:1 Broken 1: the table has no column \"{missing}\"");
        assert_eq!(super::tests::notes(&reading), [expected]);
    }
    let table = b"address,hwaddr,expire,valid_lifetime,state\n\n\
        10.0.0.1,52:54:00:00:00:01,1795723201,1,\n10.0.0.2,52:54:00:00:00:02,1795723201,1,2\n10.0.0,,1,1,0\n";
    let reading = read(Format::Kea, table, NOW);
    assert_eq!(told(&reading), ["3 52:54:00:00:00:01 10.0.0.1 - 1"]);
    let expected = [
        "4:1 Skipped 1: a lease that is not assigned",
        "5:1 Broken 1: \"10.0.0\" is no IPv4 address of a machine; expected one like 10.0.4.17",
    ];
    assert_eq!(super::tests::notes(&reading), expected);
}

#[test]
fn lines_of_dnsmasq_are_told_apart_by_how_they_begin() {
    let text = "# mine\n\
        domain=example.org # not ours\n\
        dhcp-host=52:54:00:00:00:01,10.77.0.11,n1,12h\n\
        dhcp-host=52:54:00:00:00:02,52:54:00:00:00:03,set:blue,n2,10.77.0.12,infinite\n\
        dhcp-host=id:01:52,10.77.0.13\n\
        dhcp-host=52:54:00:00:00:*,10.77.0.14\n\
        dhcp-host=52:54:00:00:00:04,ignore\n\
        52:54:00:00:00:05,10.77.0.15\n\
        1795726800 52:54:00:00:00:06 10.77.0.56 n6 01:52:54:00:00:00:06\n\
        0 52:54:00:00:00:07 10.77.0.57 * *\n\
        1795723200 52:54:00:00:00:08 10.77.0.58 * *\n\
        dhcp-hostsfile=/etc/hosts.more\n\
        bogus-priv\n\
        duid 00:01\n\
        1795726800 2 fe80::1 * 00:01\n";
    let reading = read(Format::Dnsmasq, text.as_bytes(), NOW);
    assert_eq!(
        told(&reading),
        [
            "3 52:54:00:00:00:01 10.77.0.11 n1".to_owned(),
            "4 52:54:00:00:00:02 10.77.0.12 n2".to_owned(),
            "4 52:54:00:00:00:03 10.77.0.12 n2".to_owned(),
            "8 52:54:00:00:00:05 10.77.0.15 -".to_owned(),
            "9 52:54:00:00:00:06 10.77.0.56 n6 3600".to_owned(),
            format!("10 52:54:00:00:00:07 10.77.0.57 - {}", (FOREVER.0 - NOW.0) / 1000),
        ]
    );
    let notes = notes(&reading);
    for word in [
        "2:1 Skipped 1: `domain`",
        "3:43 Skipped 2: a lease time",
        "5:11 Skipped 1: a client id",
        "5:11 Broken 1: `id:01:52,10.77.0.13`: expected a MAC",
        "6:11 Broken 1: \"52:54:00:00:00:*\" is no MAC",
        "7:29 Skipped 1: `ignore`",
        "11:1 Skipped 1: a lease that has ended",
        "12:1 Broken 1: `dhcp-hostsfile=/etc/hosts.more`: it was not read",
        "13:1 Skipped 1: `bogus-priv`",
        "15:1 Skipped 1: a lease of DHCPv6",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(word)), "{word}: {notes:#?}");
    }
}

#[test]
fn each_part_of_a_host_of_dnsmasq_is_known_by_its_form() {
    let no_mac = "expected a MAC address, by which Muster knows machines";
    let no_part = "expected a MAC, an address, a host name or a lease time";
    for (line, taken, expected) in [
        ("52:54:00:00:00:01,set:a=b,tag:c,net:d,,10.77.0.11 # x", "10.77.0.11 -", vec![]),
        ("dhcp-host=52:54:00:00:00:01,n#1", "", vec![format!("1:29 Broken 1: \"n#1\": {no_part}")]),
        ("52:54:00:00:00:01=x", "", vec![
            "1:1 Broken 1: \"52:54:00:00:00:01=x\" is no MAC address; expected one like 52:54:00:aa:bb:cc".to_owned(),
        ]),
        ("n1,a=b", "", vec![format!("1:4 Broken 1: \"a=b\": {no_part}")]),
        ("n1,10.77.0.11", "", vec![format!("1:1 Broken 1: `n1,10.77.0.11`: {no_mac}")]),
        ("52:54:00:00:00:01,10.77.0", "", vec![format!("1:19 Broken 1: \"10.77.0\": {no_part}")]),
        ("52:54:00:00:00:01,m,10.77.0.11", "10.77.0.11 m", vec![]),
        ("--dhcp-host=52:54:00:00:00:01,[fe80::1]", "- -", vec!["1:31 Skipped 1: an address of DHCPv6".to_owned()]),
        ("server=a b c d e", "", vec!["1:1 Skipped 1: `server` is no reservation and no lease: it was skipped".to_owned()]),
        ("1795723200 52:54:00:00:00:01 10.77.0.11 * *", "", vec!["1:1 Skipped 1: a lease that has ended".to_owned()]),
        ("1795723201 52:54:00:00:00:01 10.77.0.11 a* *", "10.77.0.11 - 1", vec![
            "1:1 Skipped 1: \"a*\" is no host name; expected letters, digits, dashes and dots, at most 64; the machine goes without it".to_owned(),
        ]),
        ("99999999999999 52:54:00:00:00:01 10.77.0.11 * *", "", vec![
            "1:1 Broken 1: \"99999999999999\" is no end of a lease; expected seconds since 1970".to_owned(),
        ]),
        ("1795723201 06-52:54 10.77.0.11 * *", "", vec![
            "1:12 Broken 1: \"06-52:54\" is no MAC address; expected one like 52:54:00:aa:bb:cc".to_owned(),
        ]),
        ("conf-dir=/etc/d", "", vec!["1:1 Broken 1: `conf-dir=/etc/d`: it was not read; name that file as well".to_owned()]),
    ] {
        let reading = read(Format::Dnsmasq, line.as_bytes(), NOW);
        let taken: Vec<String> = [taken].iter().filter(|taken| !taken.is_empty()).map(|taken| format!("1 {} {taken}", mac(1))).collect();
        assert_eq!((told(&reading), notes(&reading)), (taken, expected), "{line}");
    }
    for time in ["3600", "30s", "45m", "12h", "7d", "2w", "infinite"] {
        let reading = read(Format::Dnsmasq, format!("dhcp-host=52:54:00:00:00:01,{time}").as_bytes(), NOW);
        assert_eq!(told(&reading), ["1 52:54:00:00:00:01 - -"]);
        let expected = "1:29 Skipped 1: a lease time of a host: lease times are those of Muster's networks";
        assert_eq!(notes(&reading), [expected], "{time}");
    }
}

#[test]
fn a_table_is_read_by_its_first_line() {
    let text = "\u{feff}Name;MAC Address;IP;Running;Rack\n\"node;1\";52:54:00:00:00:01;10.77.0.11;yes;r1\nn2;5254.0000.0002;;no\n\n# a comment\nn3;x;10.77.0.13;\nn4;52:54:00:00:00:04;10.77.0.14;maybe\n;52:54:00:00:00:05;10.77.0.15;;;\n\"n6;52:54:00:00:00:06\n;;10.77.0.17\n";
    let reading = read(Format::Csv, text.as_bytes(), NOW);
    assert_eq!(told(&reading), ["2 52:54:00:00:00:01 10.77.0.11 -", "3 52:54:00:00:00:02 - n2"]);
    assert_eq!(reading.entries.iter().map(|entry| entry.running).collect::<Vec<_>>(), [true, false]);
    let notes = notes(&reading);
    for word in [
        "1:29 Skipped 1: column \"Rack\"",
        "2:1 Broken 1: \"node;1\" is no host name",
        "6:4 Broken 1: \"x\" is no MAC",
        "7:33 Broken 1: running \"maybe\"; expected yes or no",
        "8:1 Broken 1: 6 cells; expected 5",
        "9:1 Broken 1: the quote is not closed",
        "10:1 Broken 1: the row has no MAC address",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(word)), "{word}: {notes:#?}");
    }
    for empty in ["", "\n# nothing\n", "name,address\nn1,10.0.0.1\n"] {
        let reading = read(Format::Csv, empty.as_bytes(), NOW);
        assert!(
            reading.entries.is_empty()
                && reading.notes.iter().any(|note| note.text.contains("mac,address,name,running"))
        );
    }
    let reading = read(Format::Csv, b"mac,hwaddr\n52:54:00:00:00:01,52:54:00:00:00:02\n", NOW);
    assert!(
        super::tests::notes(&reading)[0].starts_with("1:5 Broken 1: column \"hwaddr\" says what an earlier one says")
    );
}

#[test]
fn complaints_take_bounded_memory_and_are_all_counted() {
    let text: String = (0..5_000).map(|n| format!("host a{n} {{ fixed-address 10.0.0.1; }}\n")).collect();
    let reading = isc(&(text + "host a0 { fixed-address 10.0.0.1; }\n"));
    assert_eq!(reading.notes.len(), 1_001);
    let told = |place: usize| reading.notes.get(place).map(|note| (note.at.line, note.times, note.text.as_str()));
    let known = "host a0: it has no `hardware ethernet`; expected a MAC address, by which Muster knows machines";
    assert_eq!(told(0), Some((1, 2, known)), "what is kept is counted also when nothing more is");
    assert_eq!(told(1_000), Some((1_001, 4_000, "and more of the kind")));
}

fn entry(line: usize, last: u8, address: u8, name: &str, given: Given) -> Entry {
    let name = (!name.is_empty()).then(|| name.to_owned());
    Entry { at: Spot { line, column: 1 }, mac: mac(last), address: Some(at(address)), name, given, running: false }
}

#[test]
fn a_reservation_and_its_lease_become_one_row_and_the_persons_name_counts() {
    let lease = Given::Lease { until: LATER };
    let leases = [entry(1, 1, 11, "self-told", lease), entry(2, 2, 52, "guest", lease)];
    let hosts = [entry(7, 1, 11, "node1", Given::Reservation)];
    for files in [[("l", &leases[..]), ("c", &hosts[..])], [("c", &hosts[..]), ("l", &leases[..])]] {
        let mut rows = rows(files);
        rows.sort_by_key(|row| row.mac);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].name.as_deref(), rows[0].reserved, rows[0].until, rows[0].machine),
            (Some("node1"), true, Some(LATER), true)
        );
        assert_eq!(
            (rows[1].name.as_deref(), rows[1].reserved, rows[1].until, rows[1].machine),
            (Some("guest"), false, Some(LATER), false)
        );
    }
}

#[test]
fn of_several_words_on_one_machine_the_first_persons_name_the_latest_end_and_any_running_count() {
    let lease = |end: i64| Given::Lease { until: Millis(end) };
    let all = [
        entry(1, 1, 11, "told", lease(5)),
        entry(2, 1, 11, "", Given::Reservation),
        Entry { running: true, ..entry(3, 1, 11, "later", lease(9)) },
        entry(4, 1, 11, "", lease(7)),
        entry(5, 2, 12, "first", Given::Reservation),
        entry(6, 2, 12, "second", Given::Reservation),
        Entry { address: None, ..entry(7, 3, 13, "bare", Given::Reservation) },
    ];
    let rows = rows([("f", &all[..])]);
    let row = |source: &str, last: u8, name: &str| Row {
        source: source.to_owned(),
        mac: mac(last),
        address: Some(at(last + 10)),
        name: Some(name.to_owned()),
        reserved: true,
        until: None,
        machine: true,
        running: false,
    };
    let expected = [
        Row { until: Some(Millis(9)), running: true, ..row("f:1", 1, "told") },
        row("f:5", 2, "first"),
        Row { address: None, reserved: false, ..row("f:7", 3, "bare") },
    ];
    assert_eq!(rows, expected);
}

#[test]
fn what_contradicts_itself_is_told_on_both_rows() {
    let lease = Given::Lease { until: LATER };
    let all = [
        entry(1, 1, 11, "a", Given::Reservation),
        entry(2, 1, 12, "a", Given::Reservation),
        entry(3, 3, 13, "c", Given::Reservation),
        entry(4, 4, 13, "d", lease),
        entry(5, 5, 15, "e", Given::Reservation),
        entry(6, 6, 16, "e", Given::Reservation),
        entry(7, 7, 17, "g", Given::Reservation),
        entry(8, 7, 57, "g", lease),
    ];
    let rows = rows([("f", &all[..])]);
    let clashes = clashes(&rows);
    assert_eq!(clashes.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(clashes[&0], "52:54:00:00:00:01 is reserved 10.77.0.12 as well (f:2); a MAC has one reservation");
    assert_eq!(clashes[&3], "10.77.0.13 is told of 52:54:00:00:00:03 as well (f:3)");
    assert_eq!(clashes[&5], "e is the name of 52:54:00:00:00:05 as well (f:5); one machine has one name");
}

const FORMATS: [Format; 4] = [Format::Csv, Format::Isc, Format::Kea, Format::Dnsmasq];

/// The same hosts in each format's own writing.
fn written(format: Format, hosts: &[(u8, u8)]) -> String {
    let one = |(last, address): &(u8, u8)| {
        let (mac, address) = (mac(*last), at(*address));
        match format {
            Format::Csv => format!("{mac},{address},n{last}\n"),
            Format::Isc => format!("host n{last} {{ hardware ethernet {mac}; fixed-address {address}; }}\n"),
            Format::Kea => {
                format!("{{ \"hw-address\": \"{mac}\", \"ip-address\": \"{address}\", \"hostname\": \"n{last}\" }},\n")
            }
            Format::Dnsmasq => format!("dhcp-host={mac},{address},n{last}\n"),
        }
    };
    let all: String = hosts.iter().map(one).collect();
    match format {
        Format::Csv => format!("mac,address,name\n{all}"),
        Format::Kea => format!("{{ \"Dhcp4\": {{ \"subnet4\": [ {{ \"reservations\": [\n{all}] }} ] }} }}\n"),
        _ => all,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_hurt_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in FORMATS {
            let reading = read(format, &bytes, NOW);
            let rows = rows([("f", &reading.entries[..])]);
            let _ = clashes(&rows);
        }
    }

    /// Bytes near to what is really there reach deeper.
    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes(
        cut in 0usize..400, put in proptest::collection::vec(any::<u8>(), 0..4), hosts in proptest::collection::vec((1u8..250, 1u8..250), 1..5),
    ) {
        for format in FORMATS {
            let mut bytes = written(format, &hosts).into_bytes();
            let cut = cut.min(bytes.len());
            bytes.splice(cut..(cut + 1).min(bytes.len()), put.iter().copied());
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            let reading = read(format, &bytes, NOW);
            for place in reading.entries.iter().map(|entry| entry.at).chain(reading.notes.iter().map(|note| note.at)) {
                prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place} of {lines} lines");
            }
        }
    }

    /// Nothing is lost without a word: every host is an entry, or a broken one is told.
    #[test]
    fn what_is_written_in_any_format_is_read_back(hosts in proptest::collection::vec((1u8..250, 1u8..250), 1..30)) {
        for format in FORMATS {
            let reading = read(format, written(format, &hosts).as_bytes(), NOW);
            let found: Vec<(Mac, Option<Ipv4Addr>)> = reading.entries.iter().map(|entry| (entry.mac, entry.address)).collect();
            let right: Vec<(Mac, Option<Ipv4Addr>)> = hosts.iter().map(|(last, address)| (mac(*last), Some(at(*address)))).collect();
            prop_assert_eq!(&found, &right, "{:?}", format);
            prop_assert!(reading.notes.iter().all(|note| note.weight == Weight::Skipped));
        }
    }
}
