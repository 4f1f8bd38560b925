//! Who else speaks on a boot network: one ticket and one event from first sight to proof, whatever is seen in between.

use crate::agent::{mac, ready};
use crate::bed::Site;
use muster_names::{Mac, Millis, Subject};
use muster_netboot::{Conflict, ConflictKind, Said, Sighting, SightingKind};
use muster_store::{Ticket, tickets};
use std::net::Ipv4Addr;

const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 66);
const STRANGE: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

fn met(kind: ConflictKind, seconds: i64) -> Conflict {
    Conflict { mac: Some(STRANGE), ..Conflict::new(Millis(seconds * 1000), kind, "rack", THERE) }
}

fn over(kind: ConflictKind) -> Conflict {
    Conflict { over: Some("nobody answers there any more"), ..met(kind, 99) }
}

async fn about_site(site: &Site) -> Vec<Ticket> {
    let mut tx = site.me.db.read().await.unwrap();
    tickets::list_of(&mut tx, Subject::Site, 500).await.unwrap()
}

async fn kinds(site: &Site) -> Vec<String> {
    site.log(None).await.into_iter().map(|row| row.kind).filter(|kind| kind.starts_with("conflict")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_server_is_one_ticket_and_one_event_however_often_it_is_heard() {
    let (_folder, site) = Site::sqlite().await;
    for seconds in [0, 60, 400, 800] {
        site.me.take_conflict(met(ConflictKind::Server, seconds)).await.unwrap();
    }
    let found = about_site(&site).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].cause, "conflict/dhcp-server/rack/10.0.4.66");
    assert!(found[0].title.contains("10.0.4.66 (02:00:00:00:00:66)") && found[0].title.contains("other-servers"));
    assert!(found[0].body.contains("\"seen\":4"), "{}", found[0].body);
    assert_eq!(kinds(&site).await, ["conflict-met"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_13_a_declined_reservation_opens_a_ticket_and_proof_alone_closes_it() {
    let (_folder, site) = Site::sqlite().await;
    let decline = Conflict { holder: Some(mac(1)), mac: None, ..met(ConflictKind::Reservation, 0) };
    site.me.take_conflict(decline).await.unwrap();
    assert!(about_site(&site).await[0].title.contains("its reserved address"));
    site.me.take_conflict(over(ConflictKind::Server)).await.unwrap();
    assert!(about_site(&site).await[0].closed.is_none(), "another thing's end is no proof");
    site.me.take_conflict(over(ConflictKind::Address)).await.unwrap();
    let closed = &about_site(&site).await[0];
    assert!(closed.closed.is_some());
    assert_eq!(closed.proof.as_deref(), Some("nobody answers there any more"));
    assert_eq!(kinds(&site).await, ["conflict-met", "conflict-over"]);
    assert!(site.me.open_conflicts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_names_the_machine_and_the_port_that_a_relay_told() {
    let (_folder, site) = Site::sqlite().await;
    let (_, _) = ready(&site, "r1-n1", 1).await;
    let seen = Sighting {
        giaddr: Some(Ipv4Addr::new(10, 0, 4, 254)),
        circuit_id: Some(b"swp7".to_vec()),
        remote_id: Some(b"leaf-3".to_vec()),
        ..Sighting::of(Millis(1), mac(1), SightingKind::Discover, Said::Noted)
    };
    site.me.saw(seen);
    let conflict = Conflict { mac: Some(mac(1)), ..met(ConflictKind::Address, 0) };
    site.me.take_conflict(conflict).await.unwrap();
    let open = site.me.open_conflicts();
    assert_eq!(open[0].machine.as_deref(), Some("r1-n1"));
    assert_eq!(open[0].port.as_ref().map(|port| (port.switch.as_str(), port.port.as_str())), Some(("leaf-3", "swp7")));
    assert!(open[0].words.contains("r1-n1") && open[0].words.contains("leaf-3 swp7"), "{}", open[0].words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_carries_on_from_the_open_tickets_and_a_day_of_silence_ends_them() {
    let (_folder, site) = Site::sqlite().await;
    let begun = muster_conductor::now().0 / 1000;
    site.me.take_conflict(met(ConflictKind::BootServer, begun)).await.unwrap();
    let site = site.restarted().await;
    site.when("the open conflict is known again", async || site.me.open_conflicts().len() == 1).await;
    site.me.take_conflict(met(ConflictKind::BootServer, begun + 400)).await.unwrap();
    assert_eq!(kinds(&site).await, ["conflict-met"], "it is the same one");
    site.me.forget_silent_conflicts(Millis((begun + 400 + 86_399) * 1000)).await.unwrap();
    assert!(about_site(&site).await[0].closed.is_none());
    site.me.forget_silent_conflicts(Millis((begun + 400 + 86_400) * 1000)).await.unwrap();
    assert!(about_site(&site).await[0].closed.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_invented_servers_opens_no_more_tickets_than_set() {
    let (_folder, site) = Site::sqlite().await;
    for number in 0..150u8 {
        let address = Ipv4Addr::new(10, 0, 5, number);
        let conflict = Conflict { address, ..met(ConflictKind::Server, i64::from(number)) };
        site.me.take_conflict(conflict).await.unwrap();
    }
    assert_eq!((about_site(&site).await.len(), site.me.open_conflicts().len()), (128, 128));
}
