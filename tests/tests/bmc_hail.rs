//! What BMCs tell before any login, and what a look at an address where nobody is costs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Exposure, Kind, Protocol, Secret, Settings, Target, Trust};
use muster_tests::ipmi_peers::{OpenIpmi, needs};
use muster_tests::ipmi_sim::{Hail, IpmiSim, Traits};
use muster_tests::redfish_sim::{Habit, Identity, RedfishSim, recorded};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn engine() -> Bmcs {
    Bmcs::new(Settings { answer: Duration::from_millis(150), ..Settings::default() })
}

fn root(body: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([("/redfish/v1".to_string(), body)])
}

/// Whatever is asked of it, this is what it says.
async fn says(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

// ---- Redfish

#[tokio::test]
async fn a5_8_a_bmc_of_redfish_is_known_by_its_root_and_its_key_and_no_credential_is_sent() {
    let identity = Identity::new();
    let sim = RedfishSim::start(vec![Habit::AccountIsLocked], Some(&identity)).await;
    sim.state().tree = root(json!({"RedfishVersion": "1.17.0", "Vendor": "ACME", "Product": "R-2 BMC",
        "UUID": "00112233-4455-6677-8899-AABBCCDDEEFF"}));
    let hail = engine().hail(Protocol::Redfish, &sim.address.to_string()).await.unwrap();
    assert_eq!((hail.vendor.as_deref(), hail.product.as_deref()), (Some("ACME"), Some("R-2 BMC")));
    assert_eq!(hail.uuids, ["00112233-4455-6677-8899-aabbccddeeff"]);
    assert_eq!(hail.tls_pin.unwrap().to_string(), identity.pin);
    assert_eq!(
        serde_json::to_value(&hail).unwrap(),
        json!({"protocol": "redfish", "vendor": "ACME", "product": "R-2 BMC", "version": "1.17.0", "maker_number": null,
            "uuids": ["00112233-4455-6677-8899-aabbccddeeff"], "tls_pin": identity.pin, "exposures": []})
    );
    let state = sim.state();
    assert_eq!((state.seen.len(), state.credentials, state.basics), (1, 0, 0), "{:?}", state.seen);
}

#[tokio::test]
async fn what_answers_and_is_no_bmc_is_told_apart_from_nobody() {
    let bmcs = engine();
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<html>hello<";
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"status\":\"ok\"}";
    let absent = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let elsewhere =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, words) in [(page, "no JSON"), (other, "no service root"), (absent, "404"), (elsewhere, "302")] {
        let error = bmcs.hail(Protocol::Redfish, &format!("http://{}", says(answer).await)).await.unwrap_err();
        let said = format!("{error}: {}", error.fault());
        assert_eq!((error.kind(), error.label()), (Kind::Refused, "no-bmc"), "{said}");
        assert!(said.contains(words) && said.contains("look whether the address"), "{said}");
    }
    let error = bmcs.hail(Protocol::Redfish, "127.0.0.1:1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "nobody listens there");
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let error = bmcs.hail(Protocol::Redfish, &format!("http://{}", says(busy).await)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Later, "a BMC that starts says so");
}

#[tokio::test]
async fn an_address_that_is_open_and_says_nothing_is_left_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    let error = engine().hail(Protocol::Redfish, &listener.local_addr().unwrap().to_string()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn recorded_bmcs_tell_whose_they_are_without_a_login() {
    for (name, vendor) in [("dell_r750", Some("Dell")), ("hpe_dl380a_gen11", Some("HPE")), ("supermicro_x10", None)] {
        let Some(tree) = recorded(name) else { continue };
        let sim = RedfishSim::start(vec![], None).await;
        sim.state().tree = tree;
        let hail = engine().hail(Protocol::Redfish, &format!("http://{}", sim.address)).await.unwrap();
        assert!(hail.vendor.as_deref() == vendor && hail.version.is_some(), "{name}: {hail:?}");
    }
}

// ---- IPMI

#[tokio::test]
async fn a5_8_what_ipmi_leaves_open_is_found_before_any_login() {
    use Exposure::{AnonymousLogin, CipherZero, Ipmi15, NoAuthentication, NullUser};
    let hail_of = |hail: Hail| async move {
        let sim = IpmiSim::start(Traits { hail, ..Traits::default() }).await;
        let hail = engine().hail(Protocol::Ipmi, &sim.address.to_string()).await.unwrap();
        let state = sim.state();
        assert_eq!((state.logins, state.rakp1, state.open_sessions()), (0, 0, 0));
        hail
    };
    let usual = hail_of(Hail::default()).await;
    assert_eq!((usual.version.as_deref(), usual.exposures.as_slice()), (Some("2.0"), &[Ipmi15][..]));
    assert!(usual.uuids.contains(&"00112233-4455-4677-8809-0a0b0c0d0e0f".to_string()), "{:?}", usual.uuids);

    let open = Hail { capabilities: [0x80 | 0x35, 0x07, 0x03, 0xa2, 0x02, 0, 0], ..Hail::default() };
    // In its second piece of sixteen bytes.
    let suites = [&open.suites[..], &[0xc0, 8, 0x02, 0x42, 0x81], &[0xc0, 0, 0x00, 0x40, 0x80]].concat();
    let open = hail_of(Hail { suites, ..open }).await;
    assert_eq!(open.exposures, [CipherZero, AnonymousLogin, NullUser, Ipmi15, NoAuthentication]);
    assert_eq!(open.maker_number, Some(674));
    let words = json!(["cipher-zero", "anonymous-login", "null-user", "ipmi15", "no-authentication"]);
    assert_eq!(serde_json::to_value(&open.exposures).unwrap(), words);

    let old = hail_of(Hail { is_old: true, capabilities: [0x14, 0x04, 0, 0, 0, 0, 0], ..Hail::default() }).await;
    assert_eq!((old.version.as_deref(), old.exposures.as_slice()), (Some("1.5"), &[Ipmi15][..]));
    let silent =
        hail_of(Hail { suites: vec![], capabilities: [0x94, 0x04, 0x02, 0, 0, 0, 0], ..Hail::default() }).await;
    assert_eq!(silent.exposures, [], "what it does not tell is no finding");
}

#[tokio::test]
async fn a5_8_openipmis_simulator_tells_what_its_file_leaves_open() {
    needs("ipmi_sim", "openipmi");
    let peer = OpenIpmi::start("");
    let address = format!("127.0.0.1:{}", peer.port);
    let bmcs = engine();
    for _ in 0..40 {
        let Ok(hail) = bmcs.hail(Protocol::Ipmi, &address).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        assert_eq!(hail.version.as_deref(), Some("2.0"));
        assert!(hail.uuids.contains(&"a1234567-89ab-cdef-a123-456789000001".to_string()), "{hail:?}");
        for found in [Exposure::Ipmi15, Exposure::NoAuthentication] {
            assert!(hail.exposures.contains(&found), "{hail:?}");
        }
        return;
    }
    panic!("ipmi_sim did not come up on port {}", peer.port);
}

#[tokio::test]
async fn a_bmc_that_loses_a_datagram_is_found_and_one_that_is_dead_is_unreachable() {
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().dead = true;
    let bmcs = engine();
    let address = sim.address.to_string();
    let found = tokio::spawn({
        let (bmcs, address) = (bmcs.clone(), address.clone());
        async move { bmcs.hail(Protocol::Ipmi, &address).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    sim.state().dead = false;
    assert!(found.await.unwrap().is_ok(), "the second sending is answered");
    sim.state().dead = true;
    let begun = Instant::now();
    let error = bmcs.hail(Protocol::Ipmi, &address).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Unreachable, "no-answer"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

// ---- strangers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_addresses_where_nobody_is_are_looked_through_quickly() {
    let bmcs = Bmcs::new(Settings { answer: Duration::from_millis(100), most_at_once: 1024, ..Settings::default() });
    let sim = IpmiSim::start_at("127.9.7.7:0".parse().unwrap(), Traits::default()).await;
    let port = sim.address.port();
    for protocol in [Protocol::Ipmi, Protocol::Redfish] {
        let begun = Instant::now();
        let mut asked = tokio::task::JoinSet::new();
        for at in 0..2000_u32 {
            let (bmcs, address) = (bmcs.clone(), format!("127.9.{}.{}:{port}", at / 250, at % 250 + 1));
            asked.spawn(async move { (bmcs.hail(protocol, &address).await.map_err(|error| error.kind()), address) });
        }
        let told = asked.join_all().await;
        let found: Vec<_> = told.iter().filter(|(told, _)| *told != Err(Kind::Unreachable)).collect();
        match protocol {
            Protocol::Ipmi => {
                assert!(matches!(found.as_slice(), [(Ok(_), at)] if *at == sim.address.to_string()), "{found:?}")
            }
            Protocol::Redfish => assert!(found.is_empty(), "{found:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{protocol:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a5_6_a_look_without_a_login_rests_at_nobody_and_holds_no_login() {
    let sim = IpmiSim::start(Traits::default()).await;
    let bmcs = Bmcs::new(Settings { answer: Duration::from_millis(50), rest_after: 2, ..Settings::default() });
    let address = sim.address.to_string();
    sim.state().dead = true;
    for _ in 0..5 {
        assert_eq!(bmcs.hail(Protocol::Ipmi, &address).await.unwrap_err().label(), "no-answer");
    }
    sim.state().dead = false;
    let target = Target::new(Protocol::Ipmi, address, "admin", Secret::new("secret"));
    assert!(bmcs.power(&target).await.is_ok(), "no breaker has counted that silence");

    let sim = RedfishSim::start(vec![], None).await;
    let address = format!("http://{}", sim.address);
    let mut target = Target::new(Protocol::Redfish, address.clone(), "admin", Secret::new("wrong"));
    target.trust = Trust::Plain;
    for label in ["login", "login", "logins-held"] {
        assert_eq!(bmcs.power(&target).await.unwrap_err().label(), label);
        assert!(bmcs.hail(Protocol::Redfish, &address).await.is_ok(), "held logins hold no look without one");
    }
}

#[tokio::test]
async fn a_recorded_bmc_tells_both_numbers_of_its_machine_and_no_filler_for_one() {
    for (name, serial, sku) in [
        ("dell_r750", Some("CNIVC0014M0388"), Some("F54P1G3")),
        ("hpe_dl380a_gen11", Some("2M2D2J00L4"), Some("P54903-B21")),
        ("supermicro_x10", None, None),
    ] {
        let Some(tree) = recorded(name) else {
            eprintln!("skipped: MUSTER_CAPTURES names no folder of recordings");
            return;
        };
        let sim = RedfishSim::start(vec![], None).await;
        sim.state().tree = tree;
        let address = format!("http://{}", sim.address);
        let mut target = Target::new(Protocol::Redfish, address, "admin", Secret::new("secret"));
        target.trust = Trust::Plain;
        let told = Bmcs::new(Settings::default()).identify(&target).await.unwrap();
        assert_eq!((told.serial.as_deref(), told.sku.as_deref()), (serial, sku), "{name}");
    }
}
