//! The watch's hand at simulated BMCs of both protocols: many at once, dead ones among them, and logs read on from their marks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use muster_bmc::{LogMark, Since, Subscription};
use muster_catalog::{BmcAccess, Catalog, Protocol};
use muster_conductor::{BmcHand, BmcOf, EventHand, Heard, Listening, SiteKey, Vault, Visit, WatchHand};
use muster_names::{MachineId, Power};
use muster_store::{Place, Store};
use muster_tests::ipmi_sim::{self, IpmiSim, Traits};
use muster_tests::redfish_sim::{Events, Habit, RedfishSim};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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

#[tokio::test(flavor = "multi_thread")]
async fn b7_14_what_a_bmc_tells_by_itself_is_heard_by_a_session_that_is_given_back() {
    let bed = Bed::new("events").await;
    let sim = RedfishSim::start(vec![], None).await;
    let bmc = bmc(1, Protocol::Redfish, format!("http://{}", sim.address));
    let (heard, cancel) = (AtomicUsize::new(0), CancellationToken::new());
    let pushed = || {
        heard.fetch_add(1, Ordering::SeqCst);
    };
    let (places, none) = (Semaphore::new(1), Semaphore::new(0));
    let listens = || Listening { pushed: &pushed, places: &places, cancel: &cancel };
    assert_eq!(bed.hand.listen(&bmc, listens()).await.unwrap(), Heard::NoStream);
    assert_eq!(sim.state().open_sessions(), 0, "and nobody logged in to find that out");

    let events = broadcast::channel(8).0;
    sim.state().events = Some(Events::streaming(events.clone()));
    let full = Listening { places: &none, ..listens() };
    assert_eq!(bed.hand.listen(&bmc, full).await.unwrap(), Heard::NoPlace);
    assert_eq!(sim.state().open_sessions(), 1, "who has no place gives the session back");
    let tells = async {
        // The stream that had no place is there still: a BMC sees that nobody listens when it next has something to tell.
        while events.receiver_count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(sim.state().open_sessions(), 2, "one that asks and one that listens");
        for event in [": still there\n\n", "id: 1\ndata: {\"Events\":", "[]}\n\n", "data: {}\r\n\r\n"] {
            events.send(event.into()).unwrap();
        }
        while heard.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let (listened, ()) = tokio::join!(bed.hand.listen(&bmc, listens()), tells);
    assert_eq!((listened.unwrap(), places.available_permits()), (Heard::Ended, 1));
    assert_eq!((heard.load(Ordering::SeqCst), sim.state().open_sessions()), (2, 1));
    bed.hand.close().await;
    assert_eq!(sim.state().open_sessions(), 0, "the daemon leaves no session behind");

    sim.state().password = "another".into();
    let refused = bed.hand.listen(&bmc, listens()).await.unwrap_err();
    assert!(!refused.later, "{refused}");
    bed.end().await;
}

#[tokio::test]
async fn b7_14_exactly_one_subscription_of_ours_is_left_there_and_those_of_others_stay() {
    let bed = Bed::new("subscribes").await;
    let sim = RedfishSim::start(vec![Habit::WantsEventTypes], None).await;
    let bmc = bmc(1, Protocol::Redfish, format!("http://{}", sim.address));
    let wanted = |to: Option<&str>| Subscription { context: "muster".into(), destination: to.map(str::to_owned) };
    let told = || -> Vec<(Value, Value)> {
        let state = sim.state();
        let all = &state.events.as_ref().unwrap().subscriptions;
        all.values().map(|one| (one["Context"].clone(), one["Destination"].clone())).collect()
    };
    let none = bed.hand.subscribe(&bmc, &wanted(Some("https://a"))).await.unwrap_err();
    assert!(!none.later && !none.may_have_happened && none.reason.contains("subscriptions"), "{none}");
    bed.hand.subscribe(&bmc, &wanted(None)).await.unwrap();

    let mut events = Events::default();
    events.subscribed(json!({"Context": "another tool", "Destination": "https://c"}));
    events.subscribed(json!({"Context": "muster", "Destination": "https://old"}));
    sim.state().events = Some(events);
    for _ in 0..2 {
        bed.hand.subscribe(&bmc, &wanted(Some("https://a"))).await.unwrap();
    }
    let other = (json!("another tool"), json!("https://c"));
    assert_eq!(told(), [other.clone(), (json!("muster"), json!("https://a"))]);
    assert!(bed.hand.subscribed(&bmc, &wanted(Some("https://a"))).await.unwrap());
    assert!(!bed.hand.subscribed(&bmc, &wanted(None)).await.unwrap());
    assert_eq!(sim.state().count("POST", "Subscriptions"), 1, "the second time it was there");
    bed.hand.subscribe(&bmc, &wanted(None)).await.unwrap();
    assert_eq!(told(), [other]);

    sim.state().habits.push(Habit::ForgetsSubscription);
    let forgets = bed.hand.subscribe(&bmc, &wanted(Some("https://a"))).await.unwrap_err();
    assert!(forgets.reason.contains("lists none of ours"), "{forgets}");
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
