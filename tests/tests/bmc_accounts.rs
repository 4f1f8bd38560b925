//! The passwords of BMC accounts, changed and tried out over both protocols, against simulators that take them, refuse
//! them, forget them and cut the line.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Error, Kind, Protocol, Quirk, Secret, Settings, Target, Trust};
use muster_names::Power;
use muster_tests::ipmi_peers::{OpenIpmi, ipmitool, needs};
use muster_tests::ipmi_sim::{IpmiSim, Keeps, Mishap, Traits};
use muster_tests::redfish_sim::{Habit, RedfishSim};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const OLD: &str = "secret";
const NEW: &str = "Xq7-sixteen-long";
const LONG: &str = "Xq7-twenty-long-Wm3z";

fn brisk() -> Settings {
    Settings { answer: Duration::from_millis(150), ..Settings::default() }
}

async fn redfish(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new(OLD));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(brisk()), target)
}

async fn ipmi(traits: Traits) -> (IpmiSim, Bmcs, Target) {
    let sim = IpmiSim::start(traits).await;
    let target = Target::new(Protocol::Ipmi, sim.address.to_string(), "admin", Secret::new(OLD));
    (sim, Bmcs::new(brisk()), target)
}

fn with(target: &Target, password: &str) -> Target {
    Target { password: Secret::new(password), ..target.clone() }
}

/// Everything an error shows anybody.
fn shown(error: &Error) -> String {
    let mut all = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        all += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    all
}

/// Logins so far, and sessions that are open.
fn redfish_sessions(sim: &RedfishSim) -> (usize, usize) {
    let state = sim.state();
    (state.logins, state.open_sessions())
}

fn ipmi_sessions(sim: &IpmiSim) -> (usize, usize) {
    let state = sim.state();
    (state.logins, state.open_sessions())
}

fn recorded(file: &str) -> BTreeMap<String, Value> {
    let unpacked = Command::new("zcat").arg(file).output().unwrap().stdout;
    serde_json::from_slice(&unpacked).unwrap()
}

/// The new password holds, the one before does not, and ordinary operations take the new one.
async fn new_holds(bmcs: &Bmcs, target: &Target, new: &str) {
    assert!(bmcs.may_log_in(&with(target, new)).await.unwrap(), "the new password");
    assert!(!bmcs.may_log_in(target).await.unwrap(), "the one before");
    assert_eq!(bmcs.power(&with(target, new)).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn a_password_is_changed_and_the_one_before_is_refused() {
    for habits in [vec![], vec![Habit::PasswordEndsSessions], vec![Habit::PasswordByTask]] {
        let (sim, bmcs, target) = redfish(habits.clone()).await;
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_or_else(|error| panic!("{habits:?}: {error:?}"));
        assert_eq!(sim.state().open_sessions(), 0, "{habits:?}: the session before is given back");
        new_holds(&bmcs, &target, NEW).await;
        assert_eq!(sim.state().accounts.asked, [NEW], "sent once");
    }
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    new_holds(&bmcs, &target, NEW).await;
    assert_eq!(sim.state().users.sent, [20]);
}

#[tokio::test]
async fn a_session_ended_by_the_change_is_no_failed_login() {
    let (sim, bmcs, target) = redfish(vec![Habit::PasswordEndsSessions, Habit::PasswordByTask]).await;
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    assert_eq!(sim.state().count("POST", "Sessions"), 1, "nobody logs in with the password before it");
    // Both failures of the hour are still to be had.
    let wrong = with(&target, "wrong");
    assert!(!bmcs.may_log_in(&wrong).await.unwrap());
    assert!(!bmcs.may_log_in(&wrong).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_6_those_who_read_during_a_change_bring_about_no_refused_login() {
    for round in 0..10 {
        let (sim, bmcs, target) = redfish(vec![Habit::PasswordEndsSessions]).await;
        bmcs.power(&target).await.unwrap();
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (bmcs, target) = (bmcs.clone(), target.clone());
            readers.spawn(async move { while bmcs.power(&target).await.is_ok() {} });
        }
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
        readers.join_all().await;
        let asked = sim.state().count("POST", "Sessions");
        assert_eq!(redfish_sessions(&sim).0, asked, "round {round}: logins taken, logins asked for");
        assert_eq!(bmcs.power(&with(&target, NEW)).await.unwrap(), Power::Off);
    }
}

#[tokio::test]
async fn a5_6_an_operation_with_the_password_before_the_change_sends_nothing() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    let before = sim.state().seen.len();
    for _ in 0..5 {
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Later, "superseded"));
    }
    assert_eq!(sim.state().seen.len(), before);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    let before = sim.state().rakp1;
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "superseded");
    assert_eq!(sim.state().rakp1, before);
    assert_eq!(bmcs.power(&with(&target, NEW)).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn a_session_of_one_password_never_serves_another() {
    // Changed by somebody else, so that no operation of ours could have closed the session.
    let (sim, bmcs, target) = redfish(vec![]).await;
    bmcs.power(&target).await.unwrap();
    sim.state().password = NEW.into();
    bmcs.power(&with(&target, NEW)).await.unwrap();
    assert_eq!(sim.state().logins, 2);
    assert_eq!(bmcs.power(&with(&target, "wrong")).await.unwrap_err().label(), "login");
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    sim.state().traits.password = NEW.into();
    bmcs.power(&with(&target, NEW)).await.unwrap();
    assert_eq!(sim.state().logins, 2);
    assert_eq!(bmcs.power(&with(&target, "wrong")).await.unwrap_err().label(), "login");
}

#[tokio::test]
async fn may_log_in_believes_no_session_that_stands_and_leaves_none() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    bmcs.power(&target).await.unwrap();
    assert!(bmcs.may_log_in(&target).await.unwrap());
    assert_eq!(redfish_sessions(&sim), (2, 1));
    sim.state().password = "changed by somebody".into();
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "the session lives on");
    assert!(!bmcs.may_log_in(&target).await.unwrap());
    let (sim, bmcs, target) = ipmi(Traits { slots: 1, ..Traits::default() }).await;
    bmcs.power(&target).await.unwrap();
    assert!(bmcs.may_log_in(&target).await.unwrap(), "with one slot for all");
    assert_eq!(ipmi_sessions(&sim), (2, 0));
    sim.state().traits.password = "changed".into();
    assert!(!bmcs.may_log_in(&target).await.unwrap());
}

#[tokio::test]
async fn a_bmc_that_says_success_and_changes_nothing_is_found_out() {
    let (_sim, bmcs, target) = redfish(vec![Habit::ForgetsPassword]).await;
    let (sim, ipmi_bmcs, ipmi_target) = ipmi(Traits::default()).await;
    sim.state().users.forgets = true;
    for (bmcs, target) in [(bmcs, target), (ipmi_bmcs, ipmi_target)] {
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
        assert!(!bmcs.may_log_in(&with(&target, NEW)).await.unwrap());
        assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "superseded");
        assert!(bmcs.may_log_in(&target).await.unwrap());
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "what holds is used again");
    }
}

#[tokio::test]
async fn a5_6_a_refused_login_twice_closes_the_guard_and_no_third_packet_leaves() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    let wrong = with(&target, "wrong");
    assert!(!bmcs.may_log_in(&wrong).await.unwrap());
    assert!(!bmcs.may_log_in(&wrong).await.unwrap());
    let before = sim.state().seen.len();
    let error = bmcs.may_log_in(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label(), error.may_have_happened()), (Kind::Refused, "logins-held", false));
    assert_eq!(sim.state().seen.len(), before);
    assert_eq!(sim.state().credentials, 2);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    let wrong = with(&target, "wrong");
    assert!(!bmcs.may_log_in(&wrong).await.unwrap());
    assert_eq!(bmcs.power(&wrong).await.unwrap_err().label(), "login", "both ways count");
    assert_eq!(bmcs.may_log_in(&target).await.unwrap_err().label(), "logins-held");
    assert_eq!(sim.state().rakp1, 2);
}

#[tokio::test]
async fn what_is_no_refusal_of_the_login_is_an_error() {
    let (sim, bmcs, target) = redfish(vec![Habit::AccountIsLocked]).await;
    let error = bmcs.may_log_in(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Later, "locked"));
    assert!(shown(&error).contains("UserLocked"), "{error:?}");
    sim.state().habits.clear();
    sim.state().slots = 0;
    assert_eq!(bmcs.may_log_in(&target).await.unwrap_err().label(), "no-slot");
    drop(sim);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bmcs.may_log_in(&target).await.unwrap_err().kind(), Kind::Unreachable);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    sim.state().dead = true;
    assert_eq!(bmcs.may_log_in(&target).await.unwrap_err().kind(), Kind::Unreachable);
}

#[tokio::test]
async fn a5_10_without_sessions_the_login_is_one_reading() {
    let (sim, bmcs, target) = redfish(vec![Habit::NoSessions]).await;
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    new_holds(&bmcs, &target, NEW).await;
    assert!(sim.state().basics > 0);
    // Where a session was had, none of this is tried.
    let (sim, bmcs, target) = redfish(vec![]).await;
    assert!(bmcs.may_log_in(&target).await.unwrap());
    sim.state().habits = vec![Habit::NoSessions];
    assert_eq!(bmcs.may_log_in(&target).await.unwrap_err().label(), "not-offered");
    assert_eq!(sim.state().basics, 0);
}

#[tokio::test]
async fn the_account_is_found_on_whichever_page_it_stands() {
    for page in [2, 3, 16] {
        let (sim, bmcs, target) = redfish(vec![]).await;
        sim.state().accounts.page = page;
        sim.state().accounts.slots = (0..9).map(|at| format!("user{at}")).chain(["admin".to_string()]).collect();
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
        assert_eq!(sim.state().password, NEW, "pages of {page}");
    }
}

#[tokio::test]
async fn a_list_of_accounts_without_end_is_left() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    sim.state().accounts.page = 1;
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false));
    assert!(sim.state().count("GET", "Accounts?") < 3);
}

#[tokio::test]
async fn an_account_that_is_not_there_or_there_twice_is_left_alone() {
    let (sim, bmcs, mut target) = redfish(vec![]).await;
    sim.state().accounts.slots[4] = "admin".into();
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert!(shown(&error).contains("Accounts/3") && shown(&error).contains("Accounts/5"), "{error:?}");
    sim.state().user = "directory".into();
    target.user = "directory".into();
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert!(shown(&error).contains("directory") && shown(&error).contains("root"), "{error:?}");
    assert_eq!(sim.state().count("PATCH", ""), 0);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    sim.state().users.others.insert(5, "admin".into());
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert!(shown(&error).contains("[3, 5]"), "{error:?}");
    sim.state().users.others.clear();
    sim.state().users.number = 40;
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false));
    assert!(sim.state().users.sent.is_empty());
}

#[tokio::test]
async fn the_account_is_found_in_recorded_trees() {
    let Ok(captures) = std::env::var("MUSTER_CAPTURES") else {
        eprintln!("skipped: MUSTER_CAPTURES does not name a folder");
        return;
    };
    for (file, user, slot, limit) in [("dell_r750", "root", 2, 40), ("supermicro_x10", "ADMIN", 2, 19)] {
        let (sim, bmcs, mut target) = redfish(vec![]).await;
        sim.state().tree = recorded(&format!("{captures}/redfish/{file}.json.gz"));
        sim.state().user = user.into();
        sim.state().accounts.slots =
            (1..=slot).map(|at| if at == slot { user.into() } else { String::new() }).collect();
        target.user = user.into();
        assert_eq!(bmcs.password_limit(&target).await.unwrap(), limit, "{file}");
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert!(bmcs.may_log_in(&with(&target, NEW)).await.unwrap(), "{file}");
    }
}

#[tokio::test]
async fn b7_3_every_kind_of_etag_ends_in_the_new_password() {
    use Habit::{ChokesOnIfMatch, DemandsIfMatch, EmptyTag, WantsBareTag};
    let kinds = [
        (vec![DemandsIfMatch], vec![]),
        (vec![DemandsIfMatch], vec![Quirk::NeedsIfMatch]),
        (vec![DemandsIfMatch, WantsBareTag], vec![]),
        (vec![ChokesOnIfMatch], vec![]),
        (vec![ChokesOnIfMatch], vec![Quirk::NoIfMatch]),
        (vec![EmptyTag], vec![]),
    ];
    for (habits, quirks) in kinds {
        let (sim, bmcs, mut target) = redfish(habits.clone()).await;
        target.quirks = quirks;
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_or_else(|error| panic!("{habits:?}: {error:?}"));
        assert_eq!(sim.state().password, NEW, "{habits:?}");
        assert_eq!(sim.state().accounts.asked.len(), 1, "{habits:?}");
    }
}

#[tokio::test]
async fn b7_3_a_change_that_no_tag_unlocks_did_not_happen() {
    let (sim, bmcs, mut target) = redfish(vec![Habit::DemandsIfMatch]).await;
    target.quirks = vec![Quirk::NoIfMatch];
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false));
    assert!(sim.state().accounts.asked.is_empty());
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "the password is what it was, and is used");
}

#[tokio::test]
async fn a_password_that_has_to_be_changed_first_is_changed() {
    for habit in [Habit::WantsNewPassword, Habit::WantsNewPasswordAtLogin, Habit::NoSessionBeforeNewPassword] {
        let (sim, bmcs, target) = redfish(vec![habit.clone()]).await;
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Refused, "wants-new-password"), "{habit:?}");
        assert!(bmcs.may_log_in(&target).await.unwrap(), "{habit:?}: the credential is right");
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_or_else(|error| panic!("{habit:?}: {error:?}"));
        assert_eq!(sim.state().password, NEW, "{habit:?}");
        new_holds(&bmcs, &target, NEW).await;
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_may_have_happened() {
    let (sim, bmcs, target) = redfish(vec![Habit::DropsPasswordReply]).await;
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unreachable, true), "{error:?}");
    assert_eq!(sim.state().accounts.asked.len(), 1, "sent once");
    new_holds(&bmcs, &target, NEW).await;
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    sim.state().users.changing_ends_sessions = true;
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unreachable, true), "{error:?}");
    assert_eq!(sim.state().rakp1, 1, "no login with the password before");
    new_holds(&bmcs, &target, NEW).await;
}

#[tokio::test]
async fn after_a_server_error_nobody_knows_and_the_login_tells() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    // The service, the list and the five slots, then the change.
    bmcs.power(&target).await.unwrap();
    let account = |at: usize, name: &str| (200, json!({"Id": at.to_string(), "UserName": name}));
    let list = json!({"Members": [{"@odata.id": "/redfish/v1/AccountService/Accounts/3"}]});
    sim.state().moods.extend([(200, json!({})), (200, list), account(3, "admin"), (500, json!({}))]);
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Later, true), "{error:?}");
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "superseded");
    assert!(!bmcs.may_log_in(&with(&target, NEW)).await.unwrap());
    assert!(bmcs.may_log_in(&target).await.unwrap());
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn a_refused_change_did_not_happen_and_the_password_is_used_on() {
    let (_sim, bmcs, target) = redfish(vec![Habit::RepeatsPassword]).await;
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false));
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    // Access, sixteen names, and the change.
    sim.plan(vec![Mishap::Fine; 17]);
    sim.plan([Mishap::Code(0xd4)]);
    let error = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false), "{error:?}");
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn a_lost_datagram_of_a_change_is_sent_again_in_the_same_session() {
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    for mishap in [Mishap::LoseRequest, Mishap::LoseReply, Mishap::Code(0xc0)] {
        sim.plan(vec![Mishap::Fine; 17]);
        sim.plan([mishap.clone()]);
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_or_else(|error| panic!("{mishap:?}: {error:?}"));
        assert!(bmcs.may_log_in(&with(&target, NEW)).await.unwrap(), "{mishap:?}");
        sim.state().traits.password = OLD.into();
        assert!(bmcs.may_log_in(&target).await.unwrap());
        bmcs.power(&target).await.unwrap();
    }
}

#[tokio::test]
async fn twenty_bytes_are_given_only_to_a_bmc_that_looks_at_all_of_them() {
    for (keeps, tests, limit) in [
        (Keeps::Twenty, true, 20),
        (Keeps::Twenty, false, 16),
        (Keeps::SixteenOfTwenty, true, 16),
        (Keeps::Sixteen, true, 16),
    ] {
        let (sim, bmcs, mut target) = ipmi(Traits { password: "sixteen-or-more1".into(), ..Traits::default() }).await;
        target.password = Secret::new("sixteen-or-more1");
        sim.state().users.keeps = keeps;
        sim.state().users.tests = tests;
        assert_eq!(bmcs.password_limit(&target).await.unwrap(), limit, "{keeps:?}");
        assert!(sim.state().users.sent.is_empty(), "to ask changes nothing");
        let outcome = bmcs.set_password(&target, &Secret::new(LONG)).await;
        if limit == 20 {
            outcome.unwrap();
            new_holds(&bmcs, &target, LONG).await;
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.label(), error.may_have_happened()), (Kind::Refused, "unfit-password", false));
        assert!(shown(&error).contains("16") && shown(&error).contains("20"), "{error:?}");
        assert!(sim.state().users.sent.is_empty(), "{keeps:?}: refused before it was sent");
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
        assert_eq!(sim.state().users.sent, [if keeps == Keeps::Sixteen { 16 } else { 20 }]);
        new_holds(&bmcs, &target, NEW).await;
    }
}

/// OpenIPMI's simulator lets nobody in afterwards: sixteen bytes of the new one, then what stood behind those of the old.
#[tokio::test]
async fn a_bmc_that_logs_in_with_more_bytes_than_it_looks_at_keeps_its_password() {
    let (sim, bmcs, target) = ipmi(Traits { password: LONG.into(), ..Traits::default() }).await;
    let target = with(&target, LONG);
    sim.state().users.keeps = Keeps::SixteenOfTwenty;
    let limit = bmcs.password_limit(&target).await.unwrap_err();
    let change = bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err();
    for error in [limit, change] {
        assert_eq!((error.kind(), error.label(), error.may_have_happened()), (Kind::Refused, "unfit-password", false));
        assert!(shown(&error).contains("20 bytes") && shown(&error).contains("at most 16"), "{error:?}");
    }
    assert!(sim.state().users.sent.is_empty());
    assert!(bmcs.may_log_in(&target).await.unwrap());
    // One that shows that it looks at all of them, and one that does not know the question, get a shorter one.
    for (keeps, tests) in [(Keeps::Twenty, true), (Keeps::Twenty, false)] {
        let (sim, bmcs, target) = ipmi(Traits { password: LONG.into(), ..Traits::default() }).await;
        let target = with(&target, LONG);
        (sim.state().users.keeps, sim.state().users.tests) = (keeps, tests);
        bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
        new_holds(&bmcs, &target, NEW).await;
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_carried_leaves_no_packet() {
    let over = "x".repeat(21);
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    for new in ["", "bell\u{7}", &over, OLD] {
        let error = bmcs.set_password(&target, &Secret::new(new)).await.unwrap_err();
        assert_eq!((error.kind(), error.label(), error.may_have_happened()), (Kind::Refused, "unfit-password", false));
    }
    assert_eq!(sim.state().rakp1, 0);
    assert!(sim.state().done.is_empty());
    let (sim, bmcs, target) = redfish(vec![]).await;
    for new in ["", "new\nline", OLD] {
        assert_eq!(bmcs.set_password(&target, &Secret::new(new)).await.unwrap_err().label(), "unfit-password");
    }
    assert!(sim.state().seen.is_empty());
    sim.state().accounts.shortest = json!(8);
    sim.state().accounts.longest = json!("19");
    assert_eq!(bmcs.password_limit(&target).await.unwrap(), 19);
    for (new, limit) in [(LONG, "19"), ("short", "8")] {
        let error = bmcs.set_password(&target, &Secret::new(new)).await.unwrap_err();
        assert!(error.label() == "unfit-password" && shown(&error).contains(limit), "{error:?}");
    }
    assert_eq!(sim.state().count("PATCH", ""), 0);
    sim.state().accounts.longest = json!(null);
    assert_eq!(bmcs.password_limit(&target).await.unwrap(), 20);
}

#[tokio::test]
async fn no_error_and_no_type_shows_a_password() {
    let secrets = [OLD, NEW, "wrong-one"];
    let hides = |text: String| assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    for habits in [
        vec![Habit::RepeatsPassword],
        vec![Habit::DropsPasswordReply],
        vec![Habit::WantsNewPassword, Habit::RepeatsPassword],
        vec![Habit::AccountIsLocked],
        vec![Habit::DemandsIfMatch, Habit::ChokesOnIfMatch],
    ] {
        let (_sim, bmcs, target) = redfish(habits).await;
        hides(shown(&bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err()));
    }
    let (sim, bmcs, target) = redfish(vec![]).await;
    // A login whose refusal repeats what was sent.
    let info = json!([{"MessageId": "Base.1.12.Denied", "Message": "no user admin with wrong-one is locked"}]);
    sim.state().moods.push_back((403, json!({"error": {"@Message.ExtendedInfo": info}})));
    let error = bmcs.may_log_in(&with(&target, "wrong-one")).await.unwrap_err();
    assert!(shown(&error).contains("***"), "{error:?}");
    hides(shown(&error));
    hides(format!("{:?} {:?}", with(&target, NEW), Secret::new(NEW)));
    let (_sim, bmcs, target) = ipmi(Traits { slots: 0, ..Traits::default() }).await;
    hides(shown(&bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap_err()));
    hides(shown(&bmcs.set_password(&target, &Secret::new(format!("{NEW}-too-long"))).await.unwrap_err()));
}

// ---- peers that know nothing of us

#[tokio::test]
async fn ipmitool_sets_and_tests_passwords_of_our_simulator_as_the_product_does() {
    needs("ipmitool", "ipmitool");
    let (sim, bmcs, target) = ipmi(Traits::default()).await;
    let port = sim.address.port();
    let said = ipmitool("17", port, "user list 1").await;
    assert!(said.contains("admin") && said.contains("root"), "{said}");
    let said = ipmitool("17", port, "user test 3 20 secret").await;
    assert!(said.contains("Success"), "{said}");
    let said = ipmitool("17", port, "user set password 3 Xq7-twenty-long-Wm3z 20").await;
    assert!(said.contains("successful"), "{said}");
    new_holds(&bmcs, &target, LONG).await;
    bmcs.set_password(&with(&target, LONG), &Secret::new(OLD)).await.unwrap();
    let said = ipmitool("17", port, "chassis power status").await;
    assert!(said.contains("Chassis Power is off"), "the password it knows holds again: {said}");
}

#[tokio::test]
async fn openipmis_simulator_keeps_sixteen_bytes_and_gets_no_more() {
    needs("ipmi_sim", "openipmi");
    let peer = OpenIpmi::start("");
    let bmcs = Bmcs::new(Settings { rest_after: 100, ..brisk() });
    let target = Target::new(Protocol::Ipmi, format!("127.0.0.1:{}", peer.port), "admin", Secret::new(OLD));
    for _ in 0..20 {
        if bmcs.power(&target).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It takes twenty, keeps sixteen and says nothing.
    assert_eq!(bmcs.password_limit(&target).await.unwrap(), 16);
    assert_eq!(bmcs.set_password(&target, &Secret::new(LONG)).await.unwrap_err().label(), "unfit-password");
    bmcs.set_password(&target, &Secret::new(NEW)).await.unwrap();
    new_holds(&bmcs, &target, NEW).await;
    bmcs.set_password(&with(&target, NEW), &Secret::new(OLD)).await.unwrap();
    new_holds(&bmcs, &with(&target, NEW), OLD).await;
}
