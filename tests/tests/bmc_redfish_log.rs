//! What the Redfish client reads of event logs, from our simulator and from recorded trees that it serves.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Health, Log, LogMark, LogTime, Protocol, Secret, Settings, Since, Target, Trust};
use muster_tests::redfish_sim::{RedfishSim, recorded};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

const LOG: &str = "/redfish/v1/Systems/1/LogServices/SEL";

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

fn links(paths: &[&str]) -> Value {
    json!({"Members": paths.iter().map(|path| link(path)).collect::<Vec<_>>()})
}

/// An entry that happened at this second.
fn entry(id: u64) -> Value {
    json!({"@odata.id": format!("{LOG}/Entries/{id}"), "Id": id.to_string(), "Created": format!("2024-06-11T05:{:02}:{:02}Z", id / 60, id % 60),
        "Message": format!("event {id}"), "MessageId": "R.1.0.Event", "Severity": "Warning"})
}

fn listed(ids: impl IntoIterator<Item = u64>) -> Value {
    json!({"Members": ids.into_iter().map(entry).collect::<Vec<_>>()})
}

/// A machine whose only log is a SEL with these entries.
fn machine(entries: Value) -> BTreeMap<String, Value> {
    let tree = json!({
        "/redfish/v1/Systems/1": {"SerialNumber": "S1", "LogServices": link("/redfish/v1/Systems/1/LogServices"),
            "Links": {"ManagedBy": [link("/redfish/v1/Managers/1")]}},
        "/redfish/v1/Systems/1/LogServices": links(&[LOG]),
        LOG: {"Id": "SEL", "LogEntryType": "SEL", "Entries": link(&format!("{LOG}/Entries"))},
        format!("{LOG}/Entries"): entries,
    });
    serde_json::from_value(tree).unwrap()
}

async fn serve(tree: BTreeMap<String, Value>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(vec![], None).await;
    sim.state().tree = tree;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings::default()), target)
}

async fn read(bmcs: &Bmcs, target: &Target, after: Option<&LogMark>) -> Log {
    let [log] =
        bmcs.event_log(target, after.map(std::slice::from_ref).unwrap_or_default()).await.unwrap().try_into().unwrap();
    log
}

fn ids(log: &Log) -> Vec<&str> {
    log.entries.iter().map(|entry| entry.id.as_str()).collect()
}

#[tokio::test]
async fn b7_14_a_log_is_read_once_and_then_what_is_new() {
    let (sim, bmcs, target) = serve(machine(listed(1..=3))).await;
    let log = read(&bmcs, &target, None).await;
    assert_eq!((log.name.as_str(), log.since, log.gap.as_deref()), ("Systems/1/SEL", Since::Beginning, None));
    assert_eq!(ids(&log), ["1", "2", "3"]);
    let last = log.entries.last().unwrap();
    assert_eq!(
        (last.log.as_str(), last.time, last.health),
        ("Systems/1/SEL", LogTime::Clock(1_718_082_003), Health::Warning)
    );
    let mark = log.mark.unwrap();
    assert_eq!(ids(&read(&bmcs, &target, Some(&mark)).await), Vec::<&str>::new());
    sim.state().tree.insert(format!("{LOG}/Entries"), listed((2..=5).rev()));
    let log = read(&bmcs, &target, Some(&mark)).await;
    assert_eq!((ids(&log), log.since), (vec!["4", "5"], Since::Mark), "though it lists the newest first now");
    sim.state().tree.insert(format!("{LOG}/Entries"), listed(7..=8));
    let log = read(&bmcs, &target, Some(&mark)).await;
    assert_eq!((ids(&log), log.since), (vec!["7", "8"], Since::Broken));
    sim.state().tree.insert(format!("{LOG}/Entries"), json!({"Members": []}));
    let log = read(&bmcs, &target, Some(&mark)).await;
    assert_eq!((ids(&log), log.since, &log.mark), (vec![], Since::Broken, &None));
    assert_eq!(sim.state().count("POST", "LogServices"), 0, "nobody clears a log");
    assert_eq!(sim.state().logins, 1);
}

#[tokio::test]
async fn b7_14_a_log_in_pages_is_read_from_its_newest_end() {
    let page = |skip: u64| {
        let mut page = listed(skip + 1..=(skip + 50).min(180));
        page["Members@odata.count"] = json!(180);
        page["Members@odata.nextLink"] = json!(format!("{LOG}/Entries?$skip={}", skip + 50));
        page
    };
    let mut tree = machine(page(0));
    tree.extend([50, 100, 130, 150, 80].map(|skip| (format!("{LOG}/Entries?$skip={skip}"), page(skip))));
    let (sim, bmcs, target) = serve(tree).await;
    let log = read(&bmcs, &target, None).await;
    assert_eq!((log.entries.len(), log.gap.as_deref()), (180, None));
    assert!(log.entries.iter().zip(1..).all(|(entry, id)| entry.id == id.to_string()));
    sim.state().seen.clear();
    let mark = LogMark { id: "170".into(), ..log.mark.unwrap() };
    let known = LogMark { print: String::new(), ..mark };
    let log = read(&bmcs, &target, Some(&known)).await;
    assert_eq!((log.entries.len(), log.since), (10, Since::Mark));
    assert_eq!(sim.state().count("GET", "/Entries"), 2, "the front and the end");
}

#[tokio::test]
async fn entries_that_are_only_linked_are_read_one_by_one_from_the_mark_on() {
    let paths: Vec<String> = (1..=400).map(|id| format!("{LOG}/Entries/{id}")).collect();
    let mut tree = machine(links(&paths.iter().map(String::as_str).collect::<Vec<_>>()));
    tree.extend((1..=400).map(|id| (format!("{LOG}/Entries/{id}"), entry(id))));
    tree.remove(&format!("{LOG}/Entries/399"));
    let (sim, bmcs, target) = serve(tree).await;
    let log = read(&bmcs, &target, None).await;
    assert_eq!((log.entries.len(), log.entries[0].id.as_str()), (255, "145"), "one is gone");
    assert!(log.gap.as_deref().unwrap().contains("256 of 400"), "{:?}", log.gap);
    sim.state().seen.clear();
    let known = LogMark { id: "397".into(), print: String::new(), ..log.mark.unwrap() };
    let log = read(&bmcs, &target, Some(&known)).await;
    assert_eq!((ids(&log), log.since, log.gap.as_deref()), (vec!["398", "400"], Since::Mark, None));
    assert_eq!(sim.state().count("GET", "/Entries/"), 4);
}

#[tokio::test]
async fn b7_14_logs_of_system_manager_and_chassis_are_read_and_what_two_tell_is_told_once() {
    let mut tree = machine(listed(1..=3));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let wrong = i64::try_from(now).unwrap() - 7200;
    let of = |entries: Value, name: &str| {
        [
            (format!("/redfish/v1/{name}/LogServices"), links(&[&format!("/redfish/v1/{name}/LogServices/Log")])),
            (format!("/redfish/v1/{name}/LogServices/Log"), json!({"Name": "Manager Log"})),
            (format!("/redfish/v1/{name}/LogServices/Log/Entries"), entries),
        ]
    };
    tree.extend(of(listed(2..=4), "Managers/1"));
    tree.extend(of(
        json!({"Members": [{"Id": "1", "Message": "lid", "Created": "2024-06-11T07:00:00", "Name": "x"}]}),
        "Chassis/1",
    ));
    let date = format!("{}", Clock(wrong));
    let manager = json!({"DateTime": date, "LogServices": link("/redfish/v1/Managers/1/LogServices")});
    tree.insert("/redfish/v1/Managers/1".into(), manager);
    tree.insert("/redfish/v1/Chassis/1".into(), json!({"LogServices": link("/redfish/v1/Chassis/1/LogServices")}));
    tree.get_mut("/redfish/v1/Systems/1").unwrap()["Links"]["Chassis"] = json!([link("/redfish/v1/Chassis/1")]);
    let (_sim, bmcs, target) = serve(tree).await;
    let logs = bmcs.event_log(&target, &[]).await.unwrap();
    let told: Vec<_> = logs.iter().map(|log| (log.name.as_str(), ids(log))).collect();
    let expected =
        [("Systems/1/SEL", vec!["1", "2", "3"]), ("Managers/1/Log", vec!["4"]), ("Chassis/1/Log", vec!["1"])];
    assert_eq!(told, expected);
    assert_eq!(logs[2].entries[0].time, LogTime::Untold, "a time without a zone, and nobody tells one");
    for log in &logs {
        let offset = log.clock_offset.unwrap();
        assert!((-7230..=-7200).contains(&offset), "{offset}");
    }
}

/// Seconds since 1970 as Redfish writes them.
struct Clock(i64);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out =
            std::process::Command::new("date").args(["-u", "-d", &format!("@{}", self.0), "+%FT%TZ"]).output().unwrap();
        f.write_str(String::from_utf8(out.stdout).unwrap().trim())
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_beside_the_others() {
    let mut tree = machine(listed(1..=2));
    let all = [LOG, "/redfish/v1/Systems/1/LogServices/EventLog", "/redfish/v1/Systems/1/LogServices/Dump"];
    tree.insert("/redfish/v1/Systems/1/LogServices".into(), links(&all));
    tree.insert(all[1].into(), json!({"LogEntryType": "Event"}));
    tree.insert(format!("{}/Entries", all[1]), json!({"Members": [entry(9)]}));
    tree.insert(all[2].into(), json!({"Name": "Dump LogService"}));
    let (sim, bmcs, target) = serve(tree).await;
    sim.state().cut.push(format!("{}/Entries", all[1]));
    let logs = bmcs.event_log(&target, &[]).await.unwrap();
    let told: Vec<_> = logs.iter().map(|log| (log.name.as_str(), log.entries.len(), log.gap.is_some())).collect();
    assert_eq!(told, [("Systems/1/SEL", 2, false), ("Systems/1/EventLog", 0, true), ("Systems/1/Dump", 0, true)]);
    assert!(logs[1].gap.as_deref().unwrap().contains("JSON"), "{:?}", logs[1].gap);
    assert_eq!(sim.state().count("GET", "Dump/Entries"), 0);
    sim.state().cut.push(format!("{LOG}/Entries"));
    let error = bmcs.event_log(&target, &[]).await.unwrap_err();
    assert_eq!(error.label(), "garbled", "{error:?}");
}

#[tokio::test]
async fn a_machine_without_a_log_says_so() {
    let mut tree = machine(Value::Null);
    tree.remove("/redfish/v1/Systems/1/LogServices");
    tree.insert("/redfish/v1/Systems/1".into(), json!({"SerialNumber": "S1"}));
    let (_sim, bmcs, target) = serve(tree).await;
    let error = bmcs.event_log(&target, &[]).await.unwrap_err();
    assert_eq!(error.label(), "not-offered", "{error:?}");
    assert!(error.fault().to_string().contains("event log"), "{}", error.fault());
}

#[tokio::test]
async fn a5_6_a_wrong_password_ends_the_reading_of_logs_at_once() {
    let (sim, bmcs, mut target) = serve(machine(listed(1..=2))).await;
    target.password = Secret::new("wrong");
    assert_eq!(bmcs.event_log(&target, &[]).await.unwrap_err().label(), "login");
    assert_eq!(sim.state().count("POST", "Sessions"), 1);
}

// ---- recorded trees

async fn replay(file: &str) -> Option<Vec<Log>> {
    let Some(tree) = recorded(file) else {
        eprintln!("skipped: MUSTER_CAPTURES does not name a folder");
        return None;
    };
    let (_sim, bmcs, target) = serve(tree).await;
    let logs = bmcs.event_log(&target, &[]).await.unwrap();
    // What was read is what is known: nothing is new after it.
    let marks: Vec<LogMark> = logs.iter().filter_map(|log| log.mark.clone()).collect();
    for log in bmcs.event_log(&target, &marks).await.unwrap() {
        assert!(log.entries.is_empty(), "{file}: {} tells {:?} again", log.name, log.entries.first());
    }
    Some(logs)
}

fn counts(logs: &[Log]) -> Vec<(&str, usize)> {
    logs.iter().map(|log| (log.name.as_str(), log.entries.len())).collect()
}

fn named<'a>(logs: &'a [Log], name: &str) -> &'a Log {
    logs.iter().find(|log| log.name == name).unwrap()
}

#[tokio::test]
async fn the_logs_of_a_recorded_dell_are_told_hardware_first() {
    let Some(logs) = replay("dell_r750").await else { return };
    let manager = "Managers/iDRAC.Embedded.1";
    let expected =
        [(format!("{manager}/Sel"), 5), (format!("{manager}/FaultList"), 0), (format!("{manager}/Lclog"), 5)];
    let expected: Vec<(&str, usize)> = expected.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts(&logs), expected);
    assert_eq!(ids(&logs[0]), ["1020", "1021", "1022", "1023", "1024"], "listed newest first, told newest last");
    let last = logs[0].entries.last().unwrap();
    assert_eq!((last.time, last.health), (LogTime::Clock(1_718_082_780), Health::Ok));
    assert_eq!(
        (last.message.as_str(), last.message_id.as_deref()),
        ("An OEM diagnostic event occurred.", Some("7e012790"))
    );
    let failed = &logs[2].entries[2];
    assert_eq!((failed.health, failed.message_id.as_deref()), (Health::Critical, Some("IDRAC.2.7.SWC9005")));
    assert!(logs.iter().all(|log| log.clock_offset.unwrap() < -70_000_000), "its clock stands where it was recorded");
}

#[tokio::test]
async fn the_logs_of_a_recorded_hpe_are_told_with_unknown_times_as_unknown() {
    let Some(logs) = replay("hpe_dl380a_gen11").await else { return };
    // Of 256 places of the second 60 are empty.
    let expected = [("Systems/1/IML", 117), ("Systems/1/Event", 196), ("Systems/1/SL", 94), ("Managers/1/IEL", 248)];
    assert_eq!(counts(&logs), expected);
    let health = |health: Health| logs[0].entries.iter().filter(|entry| entry.health == health).count();
    assert_eq!((health(Health::Ok), health(Health::Critical), health(Health::Warning)), (114, 2, 1));
    let hood = &logs[0].entries[2];
    assert!(hood.message.starts_with("Intrusion Alert Detection"), "{hood:?}");
    assert_eq!((hood.time, hood.component.as_deref()), (LogTime::Untold, Some("UEFI")));
    let unknown = logs[2].entries.iter().filter(|entry| entry.time == LogTime::Untold).count();
    assert_eq!(unknown, 3);
    let started = &logs[1].entries[0];
    assert_eq!(started.message, "iLOResourceEvents.1.3.iLORestServicesStarted (1.66, 2024-12-13)");
    assert_eq!(started.component.as_deref(), Some("Managers/1"));
    assert!(logs.iter().all(|log| log.gap.is_none()), "{:?}", logs.iter().map(|log| &log.gap).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_of_a_recorded_supermicro_is_judged_though_it_tells_no_severity() {
    let Some(logs) = replay("supermicro_x10").await else { return };
    assert_eq!(counts(&logs), [("Systems/1/Log1", 65)]);
    let (first, last) = (&logs[0].entries[0], logs[0].entries.last().unwrap());
    assert_eq!(
        (first.message.as_str(), first.component.as_deref()),
        ("[ OEM ] Correctable ECC @DIMMB1", Some("Memory"))
    );
    assert_eq!((first.health, first.time), (Health::Warning, LogTime::Clock(1_534_077_974)));
    assert_eq!((last.health, last.component.as_deref()), (Health::Unknown, Some("OOB")));
}

#[tokio::test]
async fn the_logs_of_the_recorded_mockup_are_told_though_a_link_leads_nowhere() {
    let Some(logs) = replay("dmtf_rackmount1").await else { return };
    assert_eq!(counts(&logs), [("Systems/437XR1138R2/Log1", 2), ("Managers/BMC/Log", 1)]);
    let hot = &named(&logs, "Managers/BMC/Log").entries[0];
    assert_eq!((hot.message.as_str(), hot.health), ("System May be Melting", Health::Critical));
    assert_eq!(hot.component.as_deref(), Some("Chassis/1U/Thermal"));
    assert_eq!(logs[0].entries[1].component.as_deref(), Some("Temperature"));
    assert!(logs.iter().all(|log| log.gap.is_none()), "{logs:?}");
}
