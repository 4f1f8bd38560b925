//! The boot timeline as the conductor keeps it: bounded, durable, and whose line is whose.

use crate::agent::{ready, reset};
use crate::bed::{Site, install};
use muster_conductor::now;
use muster_conductor::timeline::{Began, Ended, Told};
use muster_names::{Mac, Millis};
use muster_netboot::timeline::{Diagnosis, Grade, How, LogLine, Stage, Via, What};
use muster_netboot::{
    Choice, Client, Lease, LeaseChange, LeaseState, ProxyStyle, ReplyKind, Said, Sighting, SightingKind, Silence,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 60);

fn peer() -> SocketAddr {
    SocketAddr::from((ADDRESS, 2000))
}

async fn told(site: &Site, mac: Mac) -> Told {
    site.me.boots_of_mac(mac).await.unwrap()
}

/// Waits until the timeline of a port is as wanted.
async fn until(site: &Site, mac: Mac, what: &str, is: impl Fn(&Told) -> bool) -> Told {
    site.when(what, async || is(&told(site, mac).await)).await;
    told(site, mac).await
}

fn entries(told: &Told) -> usize {
    told.boots.iter().map(|boot| boot.entries.len()).sum()
}

fn packet(mac: Mac, kind: SightingKind, client: Client, said: Said) -> Sighting {
    Sighting { from: client, xid: 7, ..Sighting::of(Millis(0), mac, kind, said) }
}

fn silence(mac: Mac) -> Sighting {
    packet(mac, SightingKind::Discover, Client::Pxe, Said::Silence(Silence::PoolExhausted))
}

fn answered(kind: SightingKind, reply: ReplyKind, client: Client) -> Sighting {
    let choice = if client == Client::Pxe {
        Choice::Tftp { file: "ipxe.efi".into(), proxy: ProxyStyle::default() }
    } else {
        Choice::Nothing
    };
    packet(MAC, kind, client, Said::Dhcp { kind: reply, address: ADDRESS, choice })
}

async fn lease(site: &Site) {
    let until = Millis(now().0 + 3_600_000);
    let (network, relay) = ("test".to_owned(), None);
    let lease = Lease { network, address: ADDRESS, mac: MAC, state: LeaseState::Bound, until, relay };
    site.me.commit_leases(&[LeaseChange { at: now(), lease }]).await.unwrap();
}

fn ended(path: &str, bytes: u64, how: How) -> Ended {
    Ended { via: Via::Tftp, peer: peer(), path: path.into(), bytes, took_ms: 1, repeats: 2, how }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_of_a_port_is_told_with_its_diagnosis_and_is_there_after_a_restart() {
    let (_folder, site) = Site::sqlite().await;
    assert_eq!(told(&site, MAC).await.diagnosis(), Diagnosis::NeverSeen);
    site.me.saw(silence(MAC));
    site.me.saw(silence(MAC));
    let before = until(&site, MAC, "two sightings", |told| entries(told) == 2).await;
    assert_eq!(
        before.diagnosis().to_string(),
        "asked twice, no offer: no address is free in the network's ranges; widen them"
    );
    let site = site.restarted().await;
    assert_eq!(told(&site, MAC).await.boots, before.boots);
    lease(&site).await;
    site.me.saw(answered(SightingKind::Discover, ReplyKind::Offer, Client::Pxe));
    site.me.saw(answered(SightingKind::Request, ReplyKind::Ack, Client::Pxe));
    let after = until(&site, MAC, "four sightings", |told| entries(told) == 4).await;
    assert_eq!(after.boots.len(), 1, "the same try goes on over the restart");
    assert_eq!(after.diagnosis().grade(), Grade::Going);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_belongs_to_the_port_that_leased_the_address_and_shows_while_it_runs() {
    let (_folder, site) = Site::sqlite().await;
    site.me.transfer_ended(ended("nobody.efi", 0, How::NotFound));
    lease(&site).await;
    site.me.saw(answered(SightingKind::Discover, ReplyKind::Offer, Client::Pxe));
    until(&site, MAC, "the packet", |told| entries(told) == 1).await;
    let gone = Arc::new(AtomicU64::new(0));
    let began = Began { via: Via::Tftp, peer: peer(), path: "ipxe.efi".into(), size: 1_000_000, gone: gone.clone() };
    site.me.transfer_began(began);
    gone.store(400_000, Ordering::Relaxed);
    let running = told(&site, MAC).await;
    assert_eq!((running.running[0].bytes, running.running[0].size), (400_000, 1_000_000));
    assert!(matches!(running.diagnosis(), Diagnosis::Fetching { percent: Some(40), .. }));
    site.me.transfer_ended(ended("ipxe.efi", 400_000, How::Lost));
    let cut = until(&site, MAC, "the transfer", |told| entries(told) == 2).await;
    assert!(cut.running.is_empty());
    assert_eq!(cut.diagnosis().to_string(), "the loader was cut off at 40 %: ipxe.efi by TFTP");
    let text: Vec<String> = cut.boots[0].entries.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|line| line.ends_with("the machine fell silent, 2 packets repeated")), "{text:?}");
    assert!(!text.iter().any(|line| line.contains("NO SUCH FILE")), "nobody had that address then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_a_boots_token_is_not_told() {
    let (_folder, site) = Site::sqlite().await;
    lease(&site).await;
    let path = "/b/02-00-00-00-09-09/5ec2e7/agent.cpio";
    let began = Began { via: Via::Tftp, peer: peer(), path: path.into(), size: 9, gone: Arc::default() };
    site.me.transfer_began(began);
    assert_eq!(told(&site, MAC).await.running[0].path, "agent.cpio");
    site.me.transfer_ended(ended(path, 9, How::Whole));
    let found = until(&site, MAC, "the transfer", |told| entries(told) == 1).await;
    assert!(!format!("{found:?}").contains("5ec2e7"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_a_log_is_taken_from_a_lease_of_ours_alone_also_after_a_restart() {
    let (_folder, site) = Site::sqlite().await;
    let line = |text: &str| LogLine { severity: 3, program: "kernel".into(), text: text.into() };
    let from = IpAddr::V4(ADDRESS);
    assert!(!site.me.may_log(from));
    site.me.logged(from, line("before"));
    lease(&site).await;
    assert!(site.me.may_log(from));
    let site = site.restarted().await;
    site.me.load_leases().await.unwrap();
    site.me.logged(from, line("no driver"));
    let found = until(&site, MAC, "the line", |told| entries(told) == 1).await;
    assert_eq!(found.boots[0].entries[0].to_string(), "error: no driver");
    let released = Lease {
        network: "test".into(),
        address: ADDRESS,
        mac: MAC,
        state: LeaseState::Released,
        until: now(),
        relay: None,
    };
    site.me.commit_leases(&[LeaseChange { at: now(), lease: released }]).await.unwrap();
    assert!(!site.me.may_log(from));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_stranger_keeps_its_first_and_newest_entries_and_a_chatty_log_hides_no_packet() {
    let (_folder, site) = Site::sqlite().await;
    lease(&site).await;
    site.me.saw(answered(SightingKind::Discover, ReplyKind::Offer, Client::Pxe));
    for number in 0..700 {
        site.me.saw(silence(MAC));
        let text = format!("line {number}");
        site.me.logged(IpAddr::V4(ADDRESS), LogLine { severity: 6, program: String::new(), text });
    }
    let is_newest = |told: &Told| told.boots.iter().flat_map(|boot| &boot.entries).any(|e| e.to_string() == "line 699");
    let found = until(&site, MAC, "the last line", is_newest).await;
    let logs = found.boots[0].entries.iter().filter(|entry| entry.is_log()).count();
    assert_eq!((found.boots.len(), logs, entries(&found) - logs), (1, 30, 60));
    let offers = found.boots[0].entries.iter().filter(|e| e.to_string().starts_with("OFFER")).count();
    assert_eq!(offers, 1, "the first entry of all is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_strangers_boots_the_newest_are_kept() {
    let (_folder, site) = Site::sqlite().await;
    lease(&site).await;
    for _ in 0..8 {
        site.me.saw(answered(SightingKind::Discover, ReplyKind::Offer, Client::Pxe));
        site.me.transfer_ended(ended("ipxe.efi", 1_000_000, How::Whole));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    let found = until(&site, MAC, "the last boot", |told| told.boots.len() <= 4 && entries(told) >= 6).await;
    assert!((3..=4).contains(&found.boots.len()), "{}", found.boots.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_renewed_for_ever_is_no_news() {
    let (_folder, site) = Site::sqlite().await;
    let renewed = || answered(SightingKind::Request, ReplyKind::Ack, Client::Plain);
    (0..50).for_each(|_| site.me.saw(renewed()));
    site.me.saw(silence(Mac([2, 0, 0, 0, 9, 8])));
    until(&site, Mac([2, 0, 0, 0, 9, 8]), "what came after", |told| entries(told) == 1).await;
    assert_eq!(entries(&told(&site, MAC).await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_we_ordered_begins_with_its_power_and_is_the_whole_machines() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    reset(&site, id).await;
    let found = site.me.boots_of(id).await.unwrap();
    let boot = found.boots.last().unwrap();
    assert_eq!(boot.stages.first().map(|span| span.stage), Some(Stage::Power));
    assert!(boot.entries.iter().any(|entry| entry.what == What::Power { on: true, agent: true }), "{boot:?}");
    let said = found.diagnosis();
    assert!(said.to_string().contains("nothing was heard") && said.next_step().contains("cable"), "{said}");
    let mac = found.macs[0];
    site.me.saw(silence(mac));
    let found = until(&site, mac, "the packet", |told| told.diagnosis().label() == "no-answer").await;
    assert_eq!(found.machine, Some(id), "a port of a machine tells of the machine");
    let packets = found.boots.last().unwrap().entries.iter().filter(|e| matches!(e.what, What::Packet(_))).count();
    assert_eq!(packets, 1, "firmware's first packet belongs to the boot that we ordered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_is_counted_when_it_came_where_it_was_to_come() {
    let (_folder, site) = Site::sqlite().await;
    let counted = |site: &Site, label: &str| {
        site.me.figures(|figures| figures.diagnoses().find(|(name, _)| *name == label).unwrap().1)
    };
    site.me.saw(answered(SightingKind::Discover, ReplyKind::Offer, Client::Plain));
    site.me.saw(answered(SightingKind::Request, ReplyKind::Ack, Client::Plain));
    until(&site, MAC, "two packets", |told| entries(told) == 2).await;
    site.when("the count", async || {
        site.me.judge_once().await;
        counted(&site, "system-runs") == 1
    })
    .await;
    site.me.judge_once().await;
    assert_eq!([counted(&site, "system-runs"), counted(&site, "loop")], [1, 0]);
}
