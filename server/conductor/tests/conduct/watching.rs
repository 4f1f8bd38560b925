//! The watch over BMCs: what it keeps, what it tells, and that nothing is lost when the daemon or the database goes away.

use crate::bed::{Fake, Site, folder};
use muster_bmc::{Health, LogEntry, LogTime, Pin, Reading, ReadingKind, Thresholds};
use muster_conductor::{BmcOf, Grain, Reach, Rounds, Shown, watch_bmcs};
use muster_diagnosis::Budgets;
use muster_names::{MachineId, Millis, Power, Subject};
use muster_store::{bmc_adoption, bmc_watch};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

fn reading(name: &str, value: f64, health: Health) -> Reading {
    let (kind, thresholds) = (ReadingKind::Temperature, Thresholds::default());
    Reading { name: name.into(), kind, value: Some(value), unit: None, state: vec![], health, thresholds }
}

fn entry(id: u32) -> LogEntry {
    LogEntry {
        log: "SEL".into(),
        id: id.to_string(),
        raw: vec![],
        time: LogTime::Clock(id),
        health: Health::Critical,
        message_id: None,
        component: None,
        message: format!("fault {id}\0"),
        event: None,
    }
}

async fn bmc(site: &Site, id: MachineId) -> BmcOf {
    let access = serde_json::from_str(site.known(id).await.record.bmc.as_deref().unwrap()).unwrap();
    BmcOf { machine: id, access }
}

async fn visit(site: &Site, id: MachineId) -> u32 {
    site.me.visit(&bmc(site, id).await).await.unwrap().failures
}

const ROUNDS: Rounds = Rounds { period: Duration::from_secs(300), streams: 64 };

/// What the event log was told of this BMC.
async fn told(site: &Site, id: MachineId) -> Vec<String> {
    let of = |row: &muster_store::Logged| row.subject == Subject::Bmc(id);
    site.log(None).await.into_iter().filter(of).map(|row| row.kind).collect()
}

async fn logged(site: &Site, id: MachineId) -> Vec<i64> {
    let mut tx = site.me.db.read().await.unwrap();
    bmc_watch::logged(&mut tx, id, 0, 10_000).await.unwrap().into_iter().map(|row| row.n).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_again_reads_each_log_on_from_where_it_was_left() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.log_told = (1..=3).map(entry).collect()).await;
    assert_eq!(visit(&site, id).await, 0);
    assert_eq!((logged(&site, id).await, told(&site, id).await), (vec![1, 2, 3], vec![]), "history is no news");

    let site = site.restarted().await;
    assert_eq!(site.me.remember_bmcs().await.unwrap(), 1);
    site.with_bmc(id, |fake| fake.log_told.push(entry(4))).await;
    visit(&site, id).await;
    let asked = site.with_bmc(id, |fake| fake.asked_after.clone()).await;
    assert_eq!(
        asked.iter().map(|marks| marks.first().map(|mark| mark.id.clone())).collect::<Vec<_>>(),
        [None, Some("3".into())]
    );
    assert_eq!((logged(&site, id).await, told(&site, id).await), (vec![1, 2, 3, 4], vec!["bmc-logged".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_kept_does_not_count_as_read() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.log_told = vec![entry(1)]).await;
    let bmc = bmc(&site, id).await;
    site.me.db.close().await;
    assert!(site.me.visit(&bmc).await.is_err());
    assert!(site.me.watched(id).is_none(), "the next visit reads from the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_kept_of_each_visit_and_rolled_up_across_a_restart() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    let set = async |site: &Site, readings: Vec<Reading>| site.with_bmc(id, |fake| fake.readings_told = readings).await;
    set(&site, vec![reading("CPU", 40.0, Health::Ok)]).await;
    visit(&site, id).await;
    set(&site, vec![reading("CPU", 50.0, Health::Ok)]).await;
    visit(&site, id).await;
    let site = site.restarted().await;
    site.me.remember_bmcs().await.unwrap();
    set(&site, vec![reading("CPU", 90.0, Health::Ok)]).await;
    visit(&site, id).await;
    set(&site, vec![reading("CPU", 60.0, Health::Ok), reading("Inlet", 20.0, Health::Ok)]).await;
    visit(&site, id).await;

    let ever = (Millis(0), Millis(i64::MAX));
    let visits = site.me.series_of(id, Grain::Visit, ever).await.unwrap();
    let cpu: Vec<f64> = visits.iter().map(|(_, sensors)| sensors["CPU"].mean()).collect();
    assert_eq!(cpu, [40.0, 50.0, 90.0, 60.0]);
    assert_eq!(visits[3].1["Inlet"].mean(), 20.0);
    let days = site.me.series_of(id, Grain::Day, ever).await.unwrap();
    // The turn of a day, or of the list of sensors, makes another row.
    let cpu: Vec<_> = days.iter().filter_map(|(_, sensors)| sensors.get("CPU")).collect();
    let (count, least, most) = cpu
        .iter()
        .fold((0, f64::MAX, f64::MIN), |(n, least, most), sum| (n + sum.0, least.min(sum.1), most.max(sum.2)));
    assert_eq!((count, least, most), (4, 40.0, 90.0));
    assert!(days.len() <= 3, "{days:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_falls_silent_and_a_sensor_that_is_not_well_reach_the_event_log() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    visit(&site, id).await;
    site.with_bmc(id, |fake| fake.readings_told = vec![reading("Fan2", 0.0, Health::Critical)]).await;
    visit(&site, id).await;
    site.with_bmc(id, |fake| fake.silent = true).await;
    assert_eq!((visit(&site, id).await, visit(&site, id).await, visit(&site, id).await), (1, 2, 3));
    assert_eq!(told(&site, id).await, ["bmc-sensor-changed", "bmc-fell-silent"]);
    let seen = site.me.watched(id).unwrap();
    assert!(matches!(seen.seen.reach, Reach::Silent { visits: 3, .. }));
    assert_eq!((seen.seen.power, seen.health()), (Power::On, Health::Critical), "what was known stays known");
    let (reach, health) = site.me.watched_counts();
    assert_eq!((reach.get("silent"), health.len()), (Some(&1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_visits_all_that_are_ours_and_no_order_leaves_by_it() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let cancel = CancellationToken::new();
    let watch = tokio::spawn(watch_bmcs(site.me.clone(), ROUNDS, cancel.clone()));
    let answering = || site.me.watched_counts().0.get("answers").copied().unwrap_or(0);
    site.when("the first round", async || answering() >= 14).await;
    cancel.cancel();
    watch.await.unwrap();
    let id = site.id("r1-n1").await;
    let fake: Fake = site.with_bmc(id, |fake| fake.clone()).await;
    assert_eq!((fake.asked_after.len(), fake.log.len()), (1, 0), "one visit in a period, and nothing is switched");
    assert!(site.me.watched(site.id("bare1").await).is_none(), "it has no BMC");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_14_an_event_that_a_bmc_tells_brings_its_next_visit_forward_and_the_log_is_what_counts() {
    let (_folder, site) = Site::sqlite().await;
    let (tells, silent) = (site.id("r1-n1").await, site.id("r1-n2").await);
    let events = Arc::new(Notify::new());
    site.with_bmc(tells, |fake| fake.events = Some(events.clone())).await;
    let cancel = CancellationToken::new();
    let watch = tokio::spawn(watch_bmcs(site.me.clone(), ROUNDS, cancel.clone()));
    let visits = async |id| site.with_bmc(id, |fake| fake.asked_after.len()).await;
    site.when("the first round", async || visits(tells).await == 1 && visits(silent).await == 1).await;
    site.with_bmc(tells, |fake| fake.log_told = vec![entry(7)]).await;
    events.notify_one();
    let begun = Instant::now();
    site.when("what it told of is read", async || logged(&site, tells).await.len() == 1).await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(7), "{waited:?}: who tells much is not visited all the time");
    assert_eq!((visits(tells).await, visits(silent).await), (2, 1));
    let (told, _) = site.me.visits();
    assert_eq!((told.hinted, told.streams), (1, 1));
    // A login that is refused is not tried again for all that the BMC tells.
    site.with_bmc(tells, |fake| fake.file_gone = true).await;
    site.me.visit(&bmc(&site, tells).await).await.unwrap();
    events.notify_one();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((visits(tells).await, site.me.visits().0.hinted), (3, 1));
    cancel.cancel();
    watch.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_14_a_bmc_without_a_stream_is_told_to_send_its_events_and_who_refuses_is_not_asked_again() {
    let (_folder, site) = Site::sqlite().await;
    // Those with the even numbers speak Redfish, see the layout of these tests.
    let (sends, mute) = (site.id("r2-n1").await, site.id("r2-n2").await);
    site.with_bmc(mute, |fake| fake.mute = true).await;
    let cancel = CancellationToken::new();
    let watch = tokio::spawn(watch_bmcs(site.me.clone(), ROUNDS, cancel.clone()));
    let asked = async |id| site.with_bmc(id, |fake| fake.told_to_send.clone()).await;
    let heard = async |id| {
        let log = site.log(None).await.into_iter().filter(|row| row.kind.starts_with("bmc-events"));
        log.filter(|row| row.subject == Subject::Machine(id)).map(|row| row.kind).collect::<Vec<_>>()
    };
    site.when("both are settled", async || !heard(sends).await.is_empty() && !heard(mute).await.is_empty()).await;
    assert_eq!(heard(sends).await, ["bmc-events-subscribed"]);
    assert_eq!((heard(mute).await, asked(mute).await.len()), (vec!["bmc-events-refused".to_owned()], 1));
    let to = site.with_bmc(sends, |fake| fake.sends_to.clone()).await.unwrap();
    let token = to.strip_prefix("https://10.0.0.1:8444/bmc-events/").unwrap();
    let log = format!("{:?}", site.log(None).await);
    assert!(!log.contains(token), "the address is told to the BMC alone");

    let visits = async |id| site.with_bmc(id, |fake| fake.asked_after.len()).await;
    assert!(!site.me.event_pushed("guessed").await.unwrap());
    assert!(site.me.event_pushed(token).await.unwrap());
    site.when("the visit that it asked for", async || visits(sends).await == 2).await;
    assert_eq!((visits(mute).await, asked(sends).await.len()), (1, 1));
    cancel.cancel();
    watch.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_6_a_login_that_was_refused_is_not_tried_again_because_the_daemon_starts_again() {
    let (_folder, site) = Site::sqlite().await;
    let (refused, other) = (site.id("r1-n1").await, site.id("r1-n2").await);
    site.with_bmc(refused, |fake| fake.file_gone = true).await;
    assert_eq!((visit(&site, refused).await, visit(&site, other).await), (u32::MAX, 0));
    assert_eq!(told(&site, refused).await, ["bmc-refused"]);
    let site = site.restarted().await;
    site.me.remember_bmcs().await.unwrap();
    let cancel = CancellationToken::new();
    let watch = tokio::spawn(watch_bmcs(site.me.clone(), ROUNDS, cancel.clone()));
    let visits = async |id| site.with_bmc(id, |fake| fake.asked_after.len()).await;
    site.when("the others' visits", async || visits(other).await == 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(visits(refused).await, 1);
    cancel.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn a5_9_a_key_is_taken_down_at_first_sight_and_that_of_another_machines_bmc_never() {
    let (_folder, site) = Site::sqlite().await;
    let pinned = async |id| {
        let mut tx = site.me.db.read().await.unwrap();
        bmc_adoption::pin_of(&mut tx, id).await.unwrap().map(|row| row.pin)
    };
    let visit = async |name: &str, serial: &str, key: u8| {
        let id = site.id(name).await;
        // A number of the board first, as some makers have it.
        let serials = vec!["CNIVC001".to_owned(), serial.to_owned()];
        let shown = Some(Shown { pin: Pin([key; 32]), serials, uuids: vec![] });
        site.with_bmc(id, |fake| fake.shown = shown).await;
        let access = serde_json::from_str(site.known(id).await.record.bmc.as_deref().unwrap()).unwrap();
        site.me.visit(&BmcOf { machine: id, access }).await.unwrap();
        id
    };
    let id = visit("r2-n1", "r2-S1 ", 7).await;
    assert_eq!(pinned(id).await, Some(Pin([7; 32]).to_string()));
    visit("r2-n1", "r2-S1", 8).await;
    assert_eq!(pinned(id).await, Some(Pin([7; 32]).to_string()), "a key that is known is not replaced");
    let id = visit("r2-n2", "somebody else", 9).await;
    assert_eq!(pinned(id).await.as_deref(), Some("refused:CNIVC001 or somebody else"));
    let why = site.vault.pin_of(id).await.unwrap_err().reason;
    assert!(why.contains("somebody else") && why.contains("nothing is asked"), "{why}");
    assert!(site.kinds(id).await.contains(&"impostor-seen".to_owned()), "{:?}", site.kinds(id).await);
}
