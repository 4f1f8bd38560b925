//! The boot timeline through the door.

use crate::bed::Bed;
use axum::http::StatusCode;
use muster_api::Role;
use muster_names::{Mac, Millis};
use muster_netboot::timeline::LogLine;
use muster_netboot::{Client, Lease, LeaseChange, LeaseState, Said, Sighting, SightingKind, Silence};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 60);

fn silence() -> Sighting {
    let said = Said::Silence(Silence::PoolExhausted);
    Sighting { from: Client::Pxe, ..Sighting::of(Millis(0), MAC, SightingKind::Discover, said) }
}

async fn told(bed: &Bed, query: &str, entries: usize) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        let answer = bed.as_role(Role::Auditor, "GET", &format!("/api/v1/boot/{MAC}{query}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let json = answer.json();
        let found = json["boots"][0]["entries"].as_array().map_or(0, Vec::len);
        if found >= entries {
            return json;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{json}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mac_that_nobody_knows_is_told_with_what_it_asked_and_why_it_got_nothing() {
    let bed = Bed::new().await;
    let never = told(&bed, "", 0).await;
    assert_eq!((&never["diagnosis"]["label"], &never["machine"]), (&"never-seen".into(), &serde_json::Value::Null));
    bed.me.saw(silence());
    let json = told(&bed, "", 1).await;
    assert_eq!(json["diagnosis"]["grade"], "wrong");
    assert_eq!(
        json["diagnosis"]["words"],
        "asked once, no offer: no address is free in the network's ranges; widen them"
    );
    let entry = &json["boots"][0]["entries"][0];
    assert_eq!(
        (&entry["kind"], &entry["after"], &entry["asked"]),
        (&"discover".into(), &0.into(), &"firmware, PXE".into())
    );
    assert_eq!(json["boots"][0]["stages"][0]["stage"], "address");
    let brief = told(&bed, "?brief=true&boots=1", 0).await;
    assert_eq!(brief["boots"][0]["entries"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_asked_for_by_name_and_its_figures_are_in_the_metrics() {
    let bed = Bed::new().await;
    let answer = bed.as_role(Role::Auditor, "GET", "/api/v1/boot/n1", None).await;
    assert_eq!((answer.status, &answer.json()["machine"]), (StatusCode::OK, &bed.id("n1").await.to_string().into()));
    let metrics = bed.as_role(Role::Auditor, "GET", "/metrics", None).await.text;
    assert!(metrics.contains("muster_boot_diagnoses_total{diagnosis=\"loop\"} 0"), "{metrics}");
    assert!(metrics.contains("# TYPE muster_boot_stage_seconds histogram"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_a_machines_log_leads_out_of_its_place_in_the_answer() {
    let bed = Bed::new().await;
    let until = Millis(muster_conductor::now().0 + 3_600_000);
    let (network, relay) = ("test".to_owned(), None);
    let lease = Lease { network, address: ADDRESS, mac: MAC, state: LeaseState::Bound, until, relay };
    bed.me.commit_leases(&[LeaseChange { at: muster_conductor::now(), lease }]).await.unwrap();
    let text = "\",\"entries\":[]}</pre><script>x</script>\u{0}".to_owned();
    bed.me.logged(IpAddr::V4(ADDRESS), LogLine { severity: 3, program: "x".into(), text: text.clone() });
    let json = told(&bed, "", 1).await;
    let answer = json["boots"][0]["entries"][0]["answer"].as_str().unwrap();
    assert!(answer.contains("</pre><script>"), "it is text: {answer}");
}
