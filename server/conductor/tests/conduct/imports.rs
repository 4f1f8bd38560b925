//! Imports: rows of another DHCP server become machines, reservations and leases, and nothing is powered.

use crate::bed::Site;
use muster_conductor::Error;
use muster_conductor::import::{ImportPlanned, ImportRequest, ImportRow, Imported, Verdict};
use muster_conductor::plans::{Action, PlanRequest};
use muster_names::{Mac, MachineId, Millis, TargetSet};
use muster_netboot::{Lease, LeaseChange, LeaseState, Network, Networks, Range};
use std::net::Ipv4Addr;

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 7, last])
}

/// A reserved machine that runs.
fn row(last: u8, name: &str) -> ImportRow {
    ImportRow {
        source: format!("dhcpd.conf:{last}"),
        mac: mac(last),
        address: Some(at(last)),
        name: (!name.is_empty()).then(|| name.to_owned()),
        reserved: true,
        until: None,
        machine: true,
        running: true,
    }
}

/// A lease of nobody we know.
fn lease(last: u8, until: Millis) -> ImportRow {
    ImportRow { reserved: false, until: Some(until), machine: false, running: false, ..row(last, "") }
}

fn later() -> Millis {
    Millis(muster_conductor::now().0 + 3_600_000)
}

async fn site() -> (crate::bed::Folder, Site) {
    let (folder, site) = Site::sqlite().await;
    let mut lan = Network::new("lan", "10.0.0.0/24".parse().unwrap(), at(1), "http://10.0.0.1:8080");
    lan.ranges = vec![Range { first: at(50), last: at(99) }];
    lan.gateway = Some(at(254));
    site.me.set_networks(Networks::new(vec![lan]).unwrap());
    (folder, site)
}

async fn plan(site: &Site, rows: Vec<ImportRow>) -> ImportPlanned {
    let rows = rows.try_into().unwrap();
    site.me.plan_import("operator".into(), ImportRequest { rows }).await.unwrap()
}

async fn import(site: &Site, rows: Vec<ImportRow>) -> Result<Imported, Error> {
    let planned = plan(site, rows).await;
    site.me.execute_import("operator".into(), planned.digest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_machine_is_taken_over_with_its_address_and_nothing_is_powered() {
    let (_folder, site) = site().await;
    let until = later();
    let rows = vec![row(11, "n11"), ImportRow { until: Some(until), ..row(12, "") }, lease(55, until)];
    let planned = plan(&site, rows.clone()).await;
    assert_eq!((planned.new, planned.change, planned.conflict), (2, 1, 0), "{planned:#?}");
    assert_eq!(planned.rows[0].words, "becomes a machine, in service as it runs; the address is reserved");
    assert!(site.me.host(mac(11)).reservation.is_none(), "a plan changes nothing");
    let done = site.me.execute_import("operator".into(), planned.digest).await.unwrap();
    assert_eq!((done.new.len(), done.adopted.len(), done.reservations, done.leases), (2, 2, 2, 2));
    for (last, name) in [(11, "n11"), (12, "imported-02-00-00-00-07-0c")] {
        let id = site.id(name).await;
        assert_eq!(site.label(id).await, "in-service");
        let host = site.me.host(mac(last));
        assert_eq!((host.ours, host.reservation, host.boot), (true, Some(at(last)), muster_netboot::Boot::Disk));
        assert!(site.acts(id).await.is_empty());
        assert!(site.kinds(id).await.contains(&"reserved".to_owned()));
    }
    assert!(site.bmcs.all().iter().all(|(_, fake)| fake.log.is_empty()), "a BMC was told something");
    assert_eq!(*site.me.reserved().borrow(), [at(11), at(12)].into());
    // The thread that answers is told of the leases, each with the time it has left.
    let bound = |last: u8| Lease {
        network: "lan".into(),
        address: at(last),
        mac: mac(last),
        state: LeaseState::Bound,
        until,
        relay: None,
    };
    assert_eq!(site.me.learnt(), [bound(12), bound(55)]);
    assert_eq!(site.me.load_leases().await.unwrap(), [bound(12), bound(55)]);
    site.log_is_sound().await;
    // The same again is all there.
    let before = site.log(None).await.len();
    let planned = plan(&site, rows).await;
    assert_eq!((planned.new, planned.change, planned.same), (0, 0, 3), "{planned:#?}");
    let done = site.me.execute_import("operator".into(), planned.digest).await.unwrap();
    assert_eq!((done.new.len(), done.reservations, done.leases), (0, 0, 0));
    assert_eq!(site.log(None).await.len(), before + 1, "nothing but the word that an import was carried out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_contradicts_what_is_known_is_told_and_the_plan_is_not_executed() {
    let (_folder, site) = site().await;
    import(&site, vec![row(11, "n11"), lease(55, later())]).await.unwrap();
    let with = |change: &dyn Fn(&mut ImportRow)| {
        let mut one = row(20, "n20");
        change(&mut one);
        one
    };
    for (wrong, expected) in [
        (with(&|row| row.address = Some(Ipv4Addr::new(10, 9, 0, 1))), "in none of the networks; configured are: lan"),
        (with(&|row| row.address = Some(at(1))), "is no machine's"),
        (with(&|row| row.address = Some(at(254))), "is no machine's"),
        (with(&|row| row.address = Some(at(255))), "is no machine's"),
        (with(&|row| row.address = Some(at(11))), "10.0.0.11 is reserved for 02:00:00:00:07:0b"),
        (with(&|row| row.address = Some(at(55))), "10.0.0.55 is leased to 02:00:00:00:07:37"),
        (with(&|row| row.name = Some("n11".into())), "n11 is the name of a machine with other MACs"),
        (with(&|row| row.name = Some("a b".into())), "no host name"),
        (with(&|row| row.mac = Mac([1, 0, 0, 0, 0, 1])), "names no single machine"),
        (with(&|row| row.address = None), "has no address to keep"),
        (lease(20, Millis(1)), "its lease has ended"),
    ] {
        let planned = plan(&site, vec![row(30, "n30"), wrong]).await;
        assert_eq!((planned.rows[1].verdict, planned.executable), (Verdict::Conflict, false), "{expected}");
        assert!(planned.rows[1].words.contains(expected), "{expected}: {}", planned.rows[1].words);
        let refused = site.me.execute_import("operator".into(), planned.digest).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(site.me.host(mac(30)).reservation.is_none(), "half of a refused plan was carried out");
    }
    let planned = plan(&site, vec![row(30, "n30"), ImportRow { address: Some(at(31)), ..row(30, "n30") }]).await;
    assert_eq!(planned.conflict, 2, "{planned:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_a_layout_is_found_by_its_name_or_mac_and_keeps_what_is_known_of_it() {
    let (_folder, site) = site().await;
    let id = site.id("r1-n1").await;
    let done = import(&site, vec![row(21, "r1-n1")]).await.unwrap();
    assert_eq!((done.new.len(), done.adopted), (0, vec![id]));
    assert_eq!(site.label(id).await, "in-service");
    assert_eq!(site.known(id).await.record.serial.as_deref(), Some("r1-S1"));
    assert!(site.acts(id).await.is_empty(), "it has a BMC, and it was not told anything");
    // By its MAC from now on; an address that changed moves with a word about it.
    let planned = plan(&site, vec![ImportRow { address: Some(at(22)), ..row(21, "another-name") }]).await;
    assert_eq!(planned.rows[0].machine.as_deref(), Some("r1-n1"));
    assert_eq!(planned.rows[0].words, "the address is reserved; until now 10.0.0.21 was reserved for it");
    site.me.execute_import("operator".into(), planned.digest).await.unwrap();
    assert_eq!(site.me.host(mac(21)).reservation, Some(at(22)));
    assert_eq!(*site.me.reserved().borrow(), [at(22)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_is_not_at_work_is_taken_over_and_who_does_not_run_waits() {
    let (_folder, site) = site().await;
    let waits = import(&site, vec![ImportRow { running: false, ..row(23, "n23") }]).await.unwrap();
    let id = waits.new[0];
    assert_eq!(site.label(id).await, "expected");
    site.ask("operator", Action::Retire, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "retired");
    // What left the fleet keeps no address; the view follows the commit.
    site.when("its address to be free", async || site.me.reserved().borrow().is_empty()).await;
    let planned = plan(&site, vec![row(23, "n23")]).await;
    assert!(planned.rows[0].words.contains("n23 is retired"), "{planned:#?}");
    let held: MachineId = site.id("r1-n2").await;
    site.ask("operator", Action::Hold { why: "mine".into() }, &[held]).await.unwrap();
    let planned = plan(&site, vec![row(24, "r1-n2")]).await;
    assert!(planned.rows[0].words.contains("r1-n2 is held"), "{planned:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_the_way_of_every_plan() {
    let (_folder, site) = site().await;
    let planned = plan(&site, vec![row(11, "n11")]).await;
    // Another door carries it out no more than it counts its rows as machines.
    let wrong = site.me.execute("operator".into(), planned.digest).await.unwrap_err().to_string();
    assert!(wrong.contains("muster import"), "{wrong}");
    assert!(site.me.approve("second".into(), planned.digest, 1).await.is_err());
    site.me.freeze(true, "operator".into(), "a drill".into()).await.unwrap();
    let frozen = site.me.execute_import("operator".into(), planned.digest).await.unwrap_err().to_string();
    assert!(frozen.contains("a drill"), "{frozen}");
    site.me.freeze(false, "operator".into(), "over".into()).await.unwrap();
    // Somebody takes the name meanwhile.
    import(&site, vec![row(12, "n11")]).await.unwrap();
    let moved = site.me.execute_import("operator".into(), planned.digest).await.unwrap_err().to_string();
    assert!(moved.contains("the world has changed"), "{moved}");
    let unknown = site.me.execute_import("operator".into(), muster_conductor::sha256(b"x")).await.unwrap_err();
    assert!(unknown.to_string().contains("there is no import"), "{unknown}");
    // What an import did does not stand in the way of what the same person takes from owners.
    let id = site.id("n11").await;
    let request = PlanRequest { what: Action::Release, targets: TargetSet::new(vec![id]).unwrap() };
    assert!(!site.me.plan("operator".into(), request).await.unwrap().needs_approval);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_somebody_got_meanwhile_is_told_and_a_longer_one_stays() {
    let (_folder, site) = site().await;
    let (soon, long) = (later(), Millis(later().0 + 3_600_000));
    let planned = plan(&site, vec![lease(60, soon), lease(61, soon)]).await;
    let given = |last: u8, mac: Mac| LeaseChange {
        at: muster_conductor::now(),
        lease: Lease {
            network: "lan".into(),
            address: at(last),
            mac,
            state: LeaseState::Bound,
            until: long,
            relay: None,
        },
    };
    // The machine itself renewed; the plan has seen nothing of it, so it is made again.
    site.me.commit_leases(&[given(61, mac(61))]).await.unwrap();
    assert!(site.me.execute_import("operator".into(), planned.digest).await.is_err());
    let done = import(&site, vec![lease(60, soon), lease(61, soon)]).await.unwrap();
    assert_eq!((done.leases, done.leases_taken.len()), (1, 0));
    let kept = site.me.load_leases().await.unwrap();
    assert_eq!(kept.iter().map(|lease| lease.until).collect::<Vec<_>>(), [soon, long]);
    for empty in ["{\"rows\":[]}", "{}", "{\"rows\":null}", "{\"rows\":\"*\"}", "{\"rows\":\"all\"}"] {
        assert!(serde_json::from_str::<ImportRequest>(empty).is_err(), "{empty}");
    }
}
