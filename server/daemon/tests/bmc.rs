//! `muster bmc` as an operator types it: the real binary against simulated BMCs of both protocols and recorded trees, and
//! what it says when something is wrong: the cause, the next step, and an exit code that tells whether to ask again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use muster_tests::ipmi_sim::{self, IpmiSim, Traits};
use muster_tests::redfish_sim::{Identity, RedfishSim, Slot, recorded};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const VERBS: [&str; 3] = ["inspect", "sensors", "log"];
const REFUSED: i32 = 1;
const AWAY: i32 = 3;

/// What the binary said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Ended with this code and said all of this.
    fn tells(&self, code: i32, words: &[&str], of: &str) {
        assert_eq!(self.code, code, "{of}: {}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{of}: no {word:?} in {}", self.err);
        }
        assert!(self.out.is_empty(), "{of}: what failed prints nothing: {}", self.out);
    }
}

fn password(text: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("muster-bmc-{}-{next}", std::process::id()));
    std::fs::write(&file, format!("{text}\n")).unwrap();
    file
}

/// Runs it beside the simulators, whose tasks go on meanwhile.
async fn muster(password_is: &str, words: &[&str]) -> Said {
    let file = password(password_is);
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.arg("bmc").args(words).args(["--user", "admin", "--password-file"]).arg(&file).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

async fn asked(verb: &str, url: &str, more: &[&str]) -> Said {
    muster("secret", &[&[verb, url], more].concat()).await
}

fn link(path: &str) -> Value {
    json!({"@odata.id": format!("/redfish/v1{path}")})
}

fn entry(id: u64, at: &str, severity: &str, message: &str) -> Value {
    json!({"Id": id.to_string(), "Created": at, "Severity": severity, "Message": message, "MessageId": "R.1.0.X"})
}

/// A machine with sensors and two logs.
fn machine(sim: &RedfishSim) {
    let log = "/Systems/1/LogServices";
    let tree = json!({
        "/Systems/1": {"Manufacturer": "ACME", "Model": "R-2", "SerialNumber": "SN-1", "PowerState": "On",
            "LogServices": link(log), "Links": {"Chassis": [link("/Chassis/1")]}},
        "/Chassis": {"Members": [link("/Chassis/1")]},
        "/Chassis/1": {"Thermal": link("/Chassis/1/Thermal")},
        "/Chassis/1/Thermal": {
            "Temperatures": [{"Name": "Inlet", "ReadingCelsius": 21.5, "UpperThresholdCritical": 40, "Status": {"Health": "OK"}}],
            "Fans": [{"Name": "Fan10", "Reading": 4200, "ReadingUnits": "RPM", "Status": {"Health": "OK"}},
                {"Name": "Fan2", "Reading": 90, "ReadingUnits": "RPM", "LowerThresholdCritical": 600, "Status": {"Health": "Critical"}}]},
        log: {"Members": [link(&format!("{log}/Audit")), link(&format!("{log}/SEL"))]},
        format!("{log}/SEL"): {"LogEntryType": "SEL"},
        format!("{log}/SEL/Entries"): {"Members": [
            entry(2, "2024-06-11T05:13:00Z", "Critical", "Fan2 stands\u{1b}[2J"), entry(1, "1970-01-01T00:00:07Z", "OK", "cleared")]},
        format!("{log}/Audit"): {"Name": "Audit Log"},
        format!("{log}/Audit/Entries"): {"Members": [entry(1, "2024-06-11T05:14:00Z", "OK", "login")]},
    });
    let tree = tree.as_object().unwrap().iter();
    sim.state().tree = tree.map(|(path, body)| (format!("/redfish/v1{path}"), body.clone())).collect();
}

async fn redfish() -> (RedfishSim, String) {
    let sim = RedfishSim::start(vec![], None).await;
    machine(&sim);
    let url = format!("http://{}", sim.address);
    (sim, url)
}

async fn ipmi(traits: Traits) -> (IpmiSim, String) {
    let sim = IpmiSim::start(traits).await;
    sim.state().store = ipmi_sim::store();
    let url = format!("ipmi://{}", sim.address);
    (sim, url)
}

// ---- the power of many

#[tokio::test(flavor = "multi_thread")]
async fn many_bmcs_are_asked_in_one_go_and_a_dead_one_is_unknown_beside_the_others() {
    let (_redfish, web) = redfish().await;
    let (first, one) = ipmi(Traits::default()).await;
    let (_second, two) = ipmi(Traits::default()).await;
    first.state().on = true;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = format!("ipmi://{}", silent.local_addr().unwrap());

    let said = asked("power", &one, &[&two, &web, "--output", "json"]).await.json();
    let power: Vec<&Value> = said.as_array().unwrap().iter().map(|one| &one["power"]).collect();
    assert_eq!(power, ["on", "off", "on"], "in the order they were named: {said}");

    let said = asked("power", &one, &[&dead, &two, &one]).await;
    assert_eq!(said.code, AWAY, "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.last().unwrap(), &"3 BMCs: 1 on, 1 off, 1 unknown", "named twice is asked once: {}", said.out);
    let dead = lines.iter().find(|line| line.contains(&dead)).unwrap();
    assert!(dead.contains("unknown") && dead.contains("no answer"), "{dead}");
    assert_eq!(first.state().open_sessions(), 0, "every session was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_refuses_is_named_with_the_cause_beside_those_that_answer() {
    let (_one, one) = ipmi(Traits::default()).await;
    let (_two, two) = ipmi(Traits { password: "other".into(), ..Traits::default() }).await;
    let said = asked("power", &one, &[&two]).await;
    assert_eq!(said.code, REFUSED);
    assert!(said.out.contains("password") && said.out.contains("2 BMCs: 1 off, 1 unknown"), "{}", said.out);
    asked("power", "ipmi://10.0.0.[9-1]", &[]).await.tells(REFUSED, &["smaller number comes first"], "a range");
}

// ---- what is read

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_read_over_redfish_as_a_table_and_as_json() {
    let (sim, url) = redfish().await;
    let hardware = asked("inspect", &url, &["--output", "json"]).await.json();
    assert_eq!((&hardware["serial"], &hardware["power"]), (&json!("SN-1"), &json!("on")));

    let readings = asked("sensors", &url, &["--output", "json"]).await.json();
    let names: Vec<&Value> = readings.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["Inlet", "Fan2", "Fan10"]);
    let fan = &readings[1];
    assert_eq!((&fan["value"], &fan["unit"], &fan["health"]), (&json!(90.0), &json!("rpm"), &json!("critical")));
    assert_eq!(
        (&fan["thresholds"]["lower_critical"], &fan["thresholds"]["upper_fatal"]),
        (&json!(600.0), &Value::Null)
    );
    let table = asked("sensors", &url, &[]).await.out;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "3 sensors: 1 critical");
    assert!(
        lines[1].starts_with("SENSOR") && lines[1].contains("LOW CRITICAL") && !lines[1].contains("FATAL"),
        "{table}"
    );
    assert_eq!(
        lines[3].split_whitespace().collect::<Vec<_>>(),
        ["Fan2", "90", "rpm", "critical", "600", "-"],
        "{table}"
    );

    let logs = asked("log", &url, &["--output", "json"]).await.json();
    assert_eq!(logs.as_array().unwrap().len(), 2);
    let sel = &logs[0];
    assert_eq!(
        (&sel["log"], &sel["since"], &sel["last_id"]),
        (&json!("Systems/1/SEL"), &json!("beginning"), &json!("2"))
    );
    let told: Vec<_> =
        sel["entries"].as_array().unwrap().iter().map(|one| (&one["id"], &one["time"], &one["severity"])).collect();
    assert_eq!(
        told,
        [(&json!("1"), &Value::Null, &json!("ok")), (&json!("2"), &json!("2024-06-11T05:13:00Z"), &json!("critical"))]
    );
    let table = asked("log", &url, &[]).await.out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[3].contains("login") && lines[3].contains("Systems/1/Audit"), "the newest last: {table}");
    assert!(lines[2].contains("2024-06-11 05:13:00") && lines[2].ends_with("Fan2 stands [2J"), "{table}");
    assert!(lines[1].split_whitespace().nth(1) == Some("-"), "1970 is no time: {table}");
    let state = sim.state();
    assert_eq!((state.open_sessions(), state.logins), (0, 5), "each look gives its session back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_on_from_an_entry_and_one_that_is_gone_is_said() {
    let (_sim, url) = redfish().await;
    let logs = asked("log", &url, &["--since", "1", "--output", "json"]).await.json();
    assert_eq!(logs.as_array().unwrap().len(), 1, "only the log that was named");
    assert_eq!((&logs[0]["since"], &logs[0]["entries"][0]["id"]), (&json!("mark"), &json!("2")));
    let said = asked("log", &url, &["--since", "2"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "no entries\n"));
    let said = asked("log", &url, &["--since", "Systems/1/Audit=9"]).await;
    assert!(
        said.code == 0 && said.err.contains("no entry 9") && said.out.contains("login"),
        "{}{}",
        said.out,
        said.err
    );
    asked("log", &url, &["--since", "nosuch=1"]).await.tells(REFUSED, &["no log \"nosuch\"", "Systems/1/SEL"], "a log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_read_over_ipmi_as_a_table_and_as_json() {
    let (sim, url) = ipmi(Traits::default()).await;
    let hardware = asked("inspect", &url, &["--output", "json"]).await.json();
    assert_eq!(hardware["serial"], "SN-0042");
    let readings = asked("sensors", &url, &["--output", "json"]).await.json();
    let cpu = readings.as_array().unwrap().iter().find(|one| one["name"] == "CPU1 Temp").unwrap();
    assert_eq!(
        (&cpu["kind"], &cpu["value"], &cpu["thresholds"]["upper_critical"]),
        (&json!("temperature"), &json!(61.0), &json!(95.0))
    );
    assert!(readings.as_array().unwrap().iter().any(|one| one["kind"] == "power_supply"), "{readings}");
    let table = asked("sensors", &url, &[]).await.out;
    assert!(table.starts_with("13 sensors: ") && table.contains("HIGH CRITICAL"), "{table}");

    let logs = asked("log", &url, &["--output", "json"]).await.json();
    let entries = logs[0]["entries"].as_array().unwrap();
    assert_eq!((&logs[0]["log"], entries.len()), (&json!("SEL"), 3));
    assert_eq!((&entries[0]["time"], &entries[0]["seconds_since_start"]), (&Value::Null, &json!(18)));
    assert_eq!((&entries[1]["component"], &entries[1]["severity"]), (&json!("power supply"), &json!("critical")));
    assert_eq!(entries[1]["sel_record"].as_str().map(str::len), Some(32));
    let said = asked("log", &url, &["--since", "2"]).await;
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines.len() == 2 && lines[1].starts_with("0004") && lines[1].contains("upper critical going high"),
        "{}",
        said.out
    );
    assert!(said.err.contains("clock is") && said.err.contains("behind"), "{}", said.err);
    assert_eq!(sim.state().open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_over_ipmi_is_shown_whole() {
    let (sim, url) = ipmi(Traits::default()).await;
    sim.state().store.log =
        (1..=700).map(|id| ipmi_sim::event(id, 0x6000_0000, 8, 0x31, 0x6f, [0, 0xff, 0xff])).collect();
    let logs = asked("log", &url, &["--output", "json"]).await.json();
    assert_eq!((logs[0]["entries"].as_array().unwrap().len(), &logs[0]["last_id"]), (700, &json!("02bc")));
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_machines_are_read_by_every_verb() {
    // Every sensor of the last is absent.
    for (name, log, entries, limits) in [
        ("dell_r750", "Managers/iDRAC.Embedded.1/Sel", 5, true),
        ("hpe_dl380a_gen11", "Systems/1/IML", 117, true),
        ("supermicro_x10", "Systems/1/Log1", 65, false),
    ] {
        let Some(tree) = recorded(name) else {
            eprintln!("skipped: MUSTER_CAPTURES does not name a folder");
            return;
        };
        let sim = RedfishSim::start(vec![], None).await;
        sim.state().tree = tree;
        let url = format!("http://{}", sim.address);
        let hardware = asked("inspect", &url, &["--output", "json"]).await.json();
        assert!(hardware["memory"].as_array().is_some_and(|all| !all.is_empty()), "{name}");
        let readings = asked("sensors", &url, &["--output", "json"]).await.json();
        assert!(readings.as_array().is_some_and(|all| all.iter().any(|one| one["value"].is_f64())), "{name}");
        let limited = readings.as_array().unwrap().iter().any(|one| one["thresholds"]["upper_critical"].is_f64());
        assert_eq!(limited, limits, "{name}");
        let logs = asked("log", &url, &["--output", "json"]).await.json();
        assert_eq!((&logs[0]["log"], logs[0]["entries"].as_array().unwrap().len()), (&json!(log), entries), "{name}");
        for verb in VERBS {
            let said = asked(verb, &url, &[]).await;
            assert!(said.code == 0 && said.out.lines().count() > 10, "{name} {verb}: {}{}", said.out, said.err);
        }
    }
}

// ---- what goes wrong

#[tokio::test(flavor = "multi_thread")]
async fn a5_6_a_wrong_password_is_named_tried_once_and_said_how_many_tries_a_bmc_may_take() {
    let words = ["user and password", "one failed login", "lock the account after three", "check the credential"];
    for verb in VERBS {
        let (sim, url) = redfish().await;
        muster("wrong", &[verb, &url]).await.tells(REFUSED, &words, verb);
        assert_eq!(sim.state().credentials, 1, "{verb}: one try");
        let (sim, url) = ipmi(Traits::default()).await;
        muster("wrong", &[verb, &url]).await.tells(REFUSED, &words, verb);
        let state = sim.state();
        assert_eq!((state.rakp1, state.logins), (1, 0), "{verb}: one try");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_is_not_there_is_said_to_be_unreachable_with_what_to_look_at() {
    let (sim, dead) = ipmi(Traits::default()).await;
    sim.state().dead = true;
    for verb in VERBS {
        asked(verb, "http://127.0.0.1:1", &[]).await.tells(
            AWAY,
            &["http://127.0.0.1:1", "refused", "check that"],
            verb,
        );
        asked(verb, &dead, &[]).await.tells(AWAY, &["no answer within", "check that the BMC has power"], verb);
        asked(verb, "ipmi://no-such-host.invalid", &[]).await.tells(
            AWAY,
            &["no-such-host.invalid", "expected host"],
            verb,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_cut_or_of_another_type_is_said_with_its_place() {
    for verb in VERBS {
        let sim = RedfishSim::start(vec![], None).await;
        let url = format!("http://{}", sim.address);
        sim.state().cut.push("/redfish/v1/Systems".into());
        asked(verb, &url, &[]).await.tells(REFUSED, &["no JSON", "EOF", "Ask again", "update its firmware"], verb);
        sim.state().cut.clear();
        for (path, body) in [("/redfish/v1/Systems", json!({"Members": 7})), ("/redfish/v1", json!(["x"]))] {
            sim.state().tree = [(path.to_string(), body)].into();
            asked(verb, &url, &[]).await.tells(REFUSED, &["breaks the protocol", "Ask again"], verb);
        }
    }
    let (sim, url) = redfish().await;
    let entries = "/redfish/v1/Systems/1/LogServices/SEL/Entries";
    sim.state().tree.insert(entries.into(), json!({"Members": "none"}));
    let said = asked("log", &url, &[]).await;
    assert!(
        said.code == 0 && said.err.contains("not read: Systems/1/SEL") && said.err.contains(entries),
        "{}",
        said.err
    );
    assert!(said.out.contains("login"), "the other log is told: {}", said.out);
    sim.state().tree.remove("/redfish/v1/Systems/1/LogServices/Audit/Entries");
    asked("log", &url, &[]).await.tells(REFUSED, &[entries, "are no list", "Ask again"], "no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_is_not_well_or_has_no_session_left_means_later() {
    for verb in VERBS {
        let (sim, url) = redfish().await;
        sim.state().moods = std::iter::repeat_n((503, json!({})), 60).collect();
        asked(verb, &url, &[]).await.tells(AWAY, &["busy", "HTTP 503", "ask again in a minute"], verb);
        sim.state().moods.clear();
        sim.state().slots = 0;
        let words = ["session slots are taken", "within minutes"];
        asked(verb, &url, &[]).await.tells(AWAY, &words, verb);
        let (_sim, url) = ipmi(Traits { slots: 0, ..Traits::default() }).await;
        asked(verb, &url, &[]).await.tells(AWAY, &words, verb);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_9_another_key_than_the_pinned_one_gets_no_credential() {
    let (real, stranger) = (Identity::new(), Identity::new());
    let sim = RedfishSim::start(vec![], Some(&stranger)).await;
    machine(&sim);
    let url = format!("redfish://{}", sim.address);
    for verb in VERBS {
        let said = asked(verb, &url, &["--pin", &real.pin]).await;
        said.tells(REFUSED, &[&stranger.pin, &real.pin, "no credential was sent", "pin its new key"], verb);
    }
    assert_eq!(sim.state().credentials, 0);
    for verb in VERBS {
        let said = asked(verb, &url, &["--pin", &stranger.pin]).await;
        assert_eq!(said.code, 0, "{verb} with the key that is there: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_is_refused_before_anything_is_sent() {
    for verb in VERBS {
        asked(verb, "10.0.0.1", &[]).await.tells(REFUSED, &["names no protocol", "redfish://HOST"], verb);
        asked(verb, "https://x", &["--pin", "12"]).await.tells(REFUSED, &["64 hexadecimal digits"], verb);
    }
    let said = asked("sensors", "http://127.0.0.1:1", &["--since", "1"]).await;
    assert_eq!(said.code, 2, "{}", said.err);
}

/// A console is no reading: it has its own tests below.
// ---- the locate light and the BMC's own restart

#[tokio::test(flavor = "multi_thread")]
async fn a_light_is_switched_and_told_over_both_protocols() {
    let (lamp, by_redfish) = redfish().await;
    lamp.state().tree.clear();
    lamp.state().set("LocationIndicatorActive", json!(false));
    let (board, by_ipmi) = ipmi(Traits::default()).await;
    for (url, redfish) in [(&by_redfish, true), (&by_ipmi, false)] {
        for (word, lit) in [("state", false), ("on", true), ("state", true), ("off", false)] {
            let said = asked("locate", url, &[word, "--output", "json"]).await.json();
            assert_eq!(said, json!({"bmc": url, "locate": lit}), "{word}");
            let is = match redfish {
                true => lamp.state().get("/LocationIndicatorActive") == true,
                false => board.state().light == 2,
            };
            assert_eq!(is, lit, "{url} {word}");
        }
    }
    let said = asked("locate", &by_ipmi, &["on"]).await;
    assert_eq!((said.code, said.out.trim()), (0, format!("{by_ipmi}: the locate light is on").as_str()));
    let (_none, url) = redfish().await;
    asked("locate", &url, &["on"]).await.tells(REFUSED, &["does not offer a locate light"], "no light");
    assert!(asked("locate", &url, &["state"]).await.out.contains("unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disc_is_inserted_told_and_ejected_and_that_of_another_server_stays() {
    let (sim, url) = redfish().await;
    sim.state().tree.clear();
    let foreign = "http://10.9.9.9/rescue.iso";
    sim.state().slots_of_media = vec![Slot::of("Cd", &["CD"]), Slot::of("Usb", &["USBStick"]).with(foreign)];
    let image = "http://10.0.0.1/boot.iso";
    let usb = json!({"slot": "Usb", "disc": false, "image": foreign, "inserted": true});
    let cd = |image: Value| json!({"slot": "Cd", "disc": true, "inserted": !image.is_null(), "image": image});
    let said = asked("media", &url, &["--insert", image, "--output", "json"]).await;
    assert_eq!(said.json(), json!([cd(json!(image)), usb]), "{}", said.err);
    let said = asked("media", &url, &[]).await;
    assert!(said.out.contains("SLOT") && said.out.contains(image) && said.out.contains(foreign), "{}", said.out);
    let said = asked("media", &url, &["--eject", "http://10.0.0.1/other.iso", "--output", "json"]).await;
    assert_eq!(said.json(), json!([cd(json!(null)), usb]), "{}", said.err);
    let said = asked("media", &url, &["--eject", image]).await;
    assert!(said.err.contains("nothing to eject"), "{}", said.err);
    let (_sim, url) = ipmi(Traits::default()).await;
    asked("media", &url, &[]).await.tells(REFUSED, &["protocol redfish"], "IPMI has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_is_restarted_on_a_persons_word_alone() {
    let (sim, url) = redfish().await;
    sim.state().tree.clear();
    let said = asked("reset", &url, &[]).await;
    said.tells(REFUSED, &["ACME R-2, serial SN-1, firmware 4.2", "runs on", "nothing was changed", "--yes"], "no word");
    assert_eq!(sim.state().manager.resets, [""; 0]);
    let said = asked("reset", &url, &["--yes", "--output", "json"]).await;
    assert_eq!(said.json(), json!({"bmc": url, "restarts": true}));
    assert_eq!(sim.state().manager.resets, ["GracefulRestart"]);

    let (sim, url) = ipmi(Traits::default()).await;
    let said = asked("reset", &url, &["--yes"]).await;
    assert_eq!((said.code, said.out.trim()), (0, format!("{url}: the BMC restarts").as_str()), "{}", said.err);
    assert_eq!(sim.state().carried_out(0x06, 0x02), 1);
    sim.state().dead = true;
    asked("reset", &url, &["--yes"]).await.tells(AWAY, &["no answer"], "a dead one");
}

async fn console(sim: &IpmiSim, more: &[&str], typed: &'static [u8]) -> Said {
    let file = password("secret");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["bmc", "console", &format!("ipmi://{}", sim.address)]).args(more);
    command.args(["--user", "admin", "--password-file"]).arg(&file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, typed).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn a_console_carries_the_bytes_of_a_pipe_and_gives_back_what_it_took() {
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().sol.echoes = true;
    sim.state().sol.say(b"login: ");
    let said = console(&sim, &["--for", "3"], b"~.root\n").await;
    assert_eq!((said.code, said.out.as_str()), (0, "login: ~.root\n"), "{}", said.err);
    assert_eq!(sim.state().sol.typed, b"~.root\n", "a program's tilde is a tilde");
    assert_eq!(sim.state().open_sessions(), 0);
}

#[tokio::test]
async fn a_console_in_other_hands_is_left_there_with_the_next_step() {
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().sol.foreign = Some(0x0900_0009);
    let said = console(&sim, &[], b"").await;
    said.tells(AWAY, &["user number 7 from 10.0.0.9", "take it over"], "taken");
    let said = console(&sim, &["--take-over", "--for", "1"], b"").await;
    assert_eq!(said.code, 0, "{}", said.err);
    sim.state().sol.refuses = Some(0x81);
    console(&sim, &[], b"").await.tells(REFUSED, &["switched off there"], "off");
}

/// `script` gives the binary a terminal; that is as it was afterwards, whichever way the console ended.
#[tokio::test]
async fn a_terminal_is_raw_while_a_console_is_on_and_restored_after_it() {
    for (typed, ends) in [(&b"\x03ls\r~."[..], "left"), (b"", "limit")] {
        let sim = IpmiSim::start(Traits::default()).await;
        let file = password("secret");
        let line = format!(
            "stty -g; {} bmc console ipmi://{} --user admin --password-file {} --for 4; stty -g",
            env!("CARGO_BIN_EXE_muster"),
            sim.address,
            file.display()
        );
        let mut command = tokio::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let begun = std::time::Instant::now();
        while sim.state().sol.active.is_none() {
            assert!(begun.elapsed().as_secs() < 20, "the console never opens");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        tokio::io::AsyncWriteExt::write_all(&mut stdin, typed).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        drop(stdin);
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().filter(|line| line.matches(':').count() > 10).collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{ends}: {said}");
        let expected: &[u8] = if typed.is_empty() { b"" } else { b"\x03ls\r" };
        assert_eq!(sim.state().sol.typed, expected, "{ends}: Ctrl-C goes to the machine");
        assert_eq!(sim.state().open_sessions(), 0, "{ends}");
    }
}
