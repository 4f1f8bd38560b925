//! The watch's hand at simulated BMCs of both protocols: many at once, dead ones among them, and logs read on from their marks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use muster_bmc::{LogMark, Since};
use muster_catalog::{BmcAccess, Catalog, Protocol};
use muster_conductor::{BmcHand, BmcOf, SiteKey, Vault, Visit, WatchHand};
use muster_names::{MachineId, Power};
use muster_store::{Place, Store};
use muster_tests::ipmi_sim::{self, IpmiSim, Traits};
use muster_tests::redfish_sim::RedfishSim;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

struct Bed {
    dir: PathBuf,
    db: Store,
    hand: Arc<BmcHand>,
}

impl Bed {
    async fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("muster-bmc-watch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("secrets")).unwrap();
        std::fs::write(dir.join("secrets/bmc"), "secret").unwrap();
        let db = Store::open(&Place::Sqlite(dir.clone())).await.unwrap();
        let vault = Arc::new(Vault::new(db.clone(), SiteKey::read(&"5a".repeat(32)).unwrap()));
        let catalog = Arc::new(ArcSwap::from_pointee(Catalog::default()));
        let hand = Arc::new(BmcHand::new(vault, dir.join("secrets"), catalog, None));
        Self { dir, db, hand }
    }

    async fn end(self) {
        self.db.close().await;
        std::fs::remove_dir_all(self.dir).unwrap();
    }
}

fn bmc(n: u128, protocol: Protocol, address: String) -> BmcOf {
    let access =
        BmcAccess { protocol, address, user: "admin".into(), password_file: Some("bmc".into()), profile: None };
    BmcOf { machine: MachineId(n), access }
}

fn marks(visit: &Visit) -> Vec<LogMark> {
    visit.logs.as_ref().unwrap().iter().filter_map(|log| log.mark.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bmcs_are_visited_at_once_and_dead_ones_hold_up_none_of_the_others() {
    let bed = Bed::new("many").await;
    let (mut sims, mut fleet, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..60 {
        let sim = IpmiSim::start(Traits::default()).await;
        sim.state().store = ipmi_sim::store();
        fleet.push((true, bmc(n, Protocol::Ipmi, sim.address.to_string())));
        sims.push(sim);
        if n % 10 == 0 {
            let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            fleet.push((false, bmc(1000 + n, Protocol::Ipmi, silent.local_addr().unwrap().to_string())));
            dead.push(silent);
        }
    }
    let redfish = RedfishSim::start(vec![], None).await;
    fleet.push((true, bmc(5000, Protocol::Redfish, format!("http://{}", redfish.address))));
    let (begun, mut visits) = (Instant::now(), JoinSet::new());
    for (alive, bmc) in fleet {
        let hand = bed.hand.clone();
        visits.spawn(async move { (alive, hand.visit(&bmc, &[]).await) });
    }
    let (mut last_alive, mut first_dead) = (Duration::ZERO, Duration::MAX);
    while let Some(done) = visits.join_next().await {
        let (alive, visit) = done.unwrap();
        match alive {
            true => {
                assert_eq!(visit.power.unwrap(), Power::Off);
                last_alive = begun.elapsed();
            }
            false => {
                assert!(visit.power.unwrap_err().later);
                first_dead = first_dead.min(begun.elapsed());
            }
        }
    }
    assert!(last_alive < first_dead, "{last_alive:?} {first_dead:?}: none waited for a dead one to be given up");
    assert!(sims.iter().all(|sim| sim.state().logins == 1), "one login a visit");
    assert!(bed.hand.pace().answers > 0);
    bed.end().await;
}

#[tokio::test]
async fn b8_7_a_visit_reads_sensors_and_log_and_the_next_one_only_what_is_new() {
    let bed = Bed::new("log").await;
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().store = ipmi_sim::store();
    let bmc = bmc(1, Protocol::Ipmi, sim.address.to_string());
    let first = bed.hand.visit(&bmc, &[]).await;
    assert!(!first.readings.as_ref().unwrap().is_empty());
    let logs = first.logs.as_ref().unwrap();
    assert!(logs[0].since == Since::Beginning && !logs[0].entries.is_empty(), "{logs:?}");
    let again = bed.hand.visit(&bmc, &marks(&first)).await;
    let logs = again.logs.as_ref().unwrap();
    assert!(logs.iter().all(|log| log.since == Since::Mark && log.entries.is_empty()), "{logs:?}");
    bed.end().await;
}

#[tokio::test]
async fn a_password_file_that_does_not_read_is_a_refusal_and_no_login_is_tried() {
    let bed = Bed::new("file").await;
    let sim = IpmiSim::start(Traits::default()).await;
    std::fs::remove_file(bed.dir.join("secrets/bmc")).unwrap();
    let error = bed.hand.visit(&bmc(1, Protocol::Ipmi, sim.address.to_string()), &[]).await.power.unwrap_err();
    assert!(!error.later && error.reason.contains("does not read"), "{error}");
    assert_eq!(sim.state().rakp1, 0);
    bed.end().await;
}
