//! A BMC's password is changed, and whatever breaks off in between, one that works is written down.

use crate::bed::{FACTORY, Fate, Site, folder, raw};
use muster_conductor::PasswordAge;
use muster_conductor::Secret;
use muster_conductor::plans::Action;
use muster_diagnosis::Budgets;
use muster_names::{MachineId, Subject};
use muster_store::passwords::{self, Password, PasswordState};
use muster_store::{ActRow, ActState, acts, tickets};
use std::sync::Arc;

async fn rows(site: &Site, id: MachineId) -> Vec<Password> {
    let mut tx = site.me.db.read().await.unwrap();
    passwords::of(&mut tx, id).await.unwrap()
}

async fn changes(site: &Site, id: MachineId) -> Vec<ActRow> {
    let mut tx = site.me.db.read().await.unwrap();
    acts::acts_of(&mut tx, Subject::Bmc(id)).await.unwrap()
}

async fn password(site: &Site, id: MachineId) -> String {
    site.with_bmc(id, |fake| fake.password.clone()).await
}

/// Every password that is written down and may be the BMC's: that of the file while none is in force, else the one in
/// force; and one on its way.
async fn recorded(site: &Site, id: MachineId) -> Vec<String> {
    let rows = rows(site, id).await;
    let mut all: Vec<String> = rows
        .iter()
        .filter(|row| matches!(row.state, PasswordState::Made | PasswordState::Sent | PasswordState::Current))
        .map(|row| site.vault.open(row).unwrap().reveal().to_owned())
        .collect();
    if rows.iter().all(|row| row.state != PasswordState::Current) {
        all.push(FACTORY.into());
    }
    all
}

async fn one_works(site: &Site, id: MachineId) {
    let (recorded, real) = (recorded(site, id).await, password(site, id).await);
    assert!(recorded.contains(&real), "the BMC has {real}, and {recorded:?} is written down");
}

/// Asks for a change and waits until it ended.
async fn change(site: &Site, id: MachineId) -> ActRow {
    site.ask("kim", Action::ChangeBmcPassword, &[id]).await.unwrap();
    ended(site, id).await
}

async fn ended(site: &Site, id: MachineId) -> ActRow {
    let over = async || changes(site, id).await.last().is_some_and(|row| row.finished.is_some());
    site.when("the end of the change", over).await;
    changes(site, id).await.pop().unwrap()
}

async fn in_use(site: &Site, id: MachineId) -> Result<Option<Secret>, muster_conductor::HandError> {
    let access = serde_json::from_str(site.known(id).await.record.bmc.as_deref().unwrap()).unwrap();
    site.vault.in_use(&muster_conductor::BmcOf { machine: id, access }).await
}

#[tokio::test]
async fn a5_5_a_new_password_is_in_force_once_it_has_logged_in_and_is_nowhere_in_the_clear() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    let done = change(&site, id).await;
    assert_eq!(done.state, ActState::Done);
    let new = password(&site, id).await;
    assert_eq!(new.len(), 16, "as long as the BMC takes");
    assert_eq!(in_use(&site, id).await.unwrap().unwrap().reveal(), new);
    let written = format!("{:?} {:?}", changes(&site, id).await, rows(&site, id).await);
    let log: String = site.log(None).await.into_iter().map(|row| row.body).collect();
    assert!(!written.contains(&new) && !log.contains(&new), "the password is in the clear");
    assert!(site.kinds(id).await.contains(&"bmc-password-changed".to_owned()));

    assert_eq!(change(&site, id).await.state, ActState::Done);
    let states: Vec<PasswordState> = rows(&site, id).await.iter().map(|row| row.state).collect();
    assert_eq!(states, [PasswordState::Former, PasswordState::Current]);
    assert_ne!(password(&site, id).await, new);
    site.log_is_sound().await;
}

#[tokio::test]
async fn a5_5_a_daemon_killed_at_any_step_leaves_a_recorded_password_that_works_and_its_next_run_ends_the_change() {
    for (step, reached) in [
        ("before the BMC set it", Fate::HangsBefore),
        ("after the BMC set it, before its answer", Fate::HangsAfter),
        ("before the new one was tried", Fate::AnswerLost),
    ] {
        let (_folder, site) = Site::sqlite().await;
        let id = site.id("r1-n1").await;
        let deaf = reached == Fate::AnswerLost;
        site.with_bmc(id, |fake| (fake.fates, fake.deaf) = (vec![reached], deaf)).await;
        site.ask("kim", Action::ChangeBmcPassword, &[id]).await.unwrap();
        let word = if deaf { "deaf" } else { "set-password" };
        site.when(step, async || site.power_log(id).await.contains(&word.to_owned())).await;
        one_works(&site, id).await;
        let refused = in_use(&site, id).await.unwrap_err();
        assert!(refused.later && refused.reason.contains("is being changed"), "{step}: {refused}");

        let site = site.restarted().await;
        one_works(&site, id).await;
        assert_eq!(ended(&site, id).await.state, ActState::Done, "{step}");
        assert_eq!(in_use(&site, id).await.unwrap().unwrap().reveal(), password(&site, id).await, "{step}");
        let refused = site.with_bmc(id, |fake| fake.refused).await;
        assert!(refused <= 1, "{step}: {refused} wrong logins, and BMCs lock an account after a few");
    }
}

#[tokio::test]
async fn a5_5_killed_before_the_bmc_heard_of_anything_the_next_run_goes_on() {
    let (folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let id = site.id("r1-n1").await;
    site.ask("kim", Action::ChangeBmcPassword, &[id]).await.unwrap();
    let site = site.restarted().await;
    assert_eq!(ended(&site, id).await.state, ActState::Done);
    one_works(&site, id).await;
    drop(folder);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_asking_which_password_it_takes() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::AnswerLost]).await;
    assert_eq!(change(&site, id).await.state, ActState::Done);
    assert_eq!(site.power_log(id).await, ["set-password"]);
    one_works(&site, id).await;
}

/// So much time passes for the change that is under way.
async fn passes(site: &Site, minutes: i64) {
    let millis = minutes * 60_000;
    let text = format!(
        "update bmc_password set made = made - {millis}; update act set until = until - {millis} where weight = 'password'"
    );
    raw(&site.place, &text).await;
}

#[tokio::test]
async fn a_bmc_that_says_success_and_does_nothing_keeps_its_password_and_is_told_so() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::Swallowed; 9]).await;
    site.ask("kim", Action::ChangeBmcPassword, &[id]).await.unwrap();
    let waits = async || site.me.rail_of(Subject::Bmc(id), muster_names::Epoch(1)).is_some();
    site.when("it is told what the change waits for", waits).await;
    let rail = site.me.rail_of(Subject::Bmc(id), muster_names::Epoch(1)).unwrap();
    assert!(rail.contains("takes the old one still"), "{rail}");
    assert_eq!(site.power_log(id).await, ["set-password", "set-password"]);
    assert!(rows(&site, id).await.iter().all(|row| row.state == PasswordState::Sent), "it may take it yet");
    passes(&site, 11).await;
    let row = ended(&site, id).await;
    assert_eq!(row.state, ActState::Failed);
    assert!(row.evidence.unwrap().contains("takes the old one still"));
    assert!(in_use(&site, id).await.unwrap().is_none(), "the file's is in force");
    site.with_bmc(id, |fake| fake.fates.clear()).await;
    assert_eq!(change(&site, id).await.state, ActState::Done, "asked again it goes on");
}

#[tokio::test]
async fn a_bmc_that_takes_the_password_only_after_it_was_asked_for_it_twice_is_not_lost() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::Late, Fate::Refused, Fate::Refused]).await;
    assert_eq!(change(&site, id).await.state, ActState::Done);
    one_works(&site, id).await;
    assert_eq!(in_use(&site, id).await.unwrap().unwrap().reveal(), password(&site, id).await);
}

#[tokio::test]
async fn a_bmc_that_refuses_the_password_keeps_what_it_has() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::Refused]).await;
    assert_eq!(change(&site, id).await.state, ActState::Failed);
    assert_eq!(password(&site, id).await, FACTORY);
    assert!(in_use(&site, id).await.unwrap().is_none());
}

#[tokio::test]
async fn when_neither_password_logs_in_a_person_is_asked_and_nobody_tries_again() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::Garbled]).await;
    let row = change(&site, id).await;
    assert_eq!(row.state, ActState::Unknown);
    assert!(row.evidence.unwrap().contains("takes neither"));
    let open = async || {
        let mut tx = site.me.db.read().await.unwrap();
        let all = tickets::list_open(&mut tx).await.unwrap();
        let ours = all.into_iter().filter(|ticket| ticket.subject == Subject::Bmc(id));
        ours.map(|ticket| ticket.title).collect::<Vec<_>>()
    };
    assert!(open().await[0].contains("restore-bmc-password"));
    assert_eq!(site.with_bmc(id, |fake| fake.refused).await, 2);
    assert!(in_use(&site, id).await.unwrap_err().later);
    let begun = site.me.change_old_passwords_once(PasswordAge { days: 1 }).await.unwrap();
    assert_eq!(begun, 0, "the schedule waits for the person");

    assert_eq!(restore(&site, id).await.state, ActState::Unknown, "that of the file does not log in yet");
    site.with_bmc(id, |fake| fake.file_gone = true).await;
    assert_eq!(restore(&site, id).await.state, ActState::Unknown, "there is no file to compare with");
    site.with_bmc(id, |fake| fake.file_gone = false).await;
    assert!(rows(&site, id).await.iter().any(|row| row.state == PasswordState::Sent), "it may take that one still");
    assert_eq!(open().await.len(), 1, "and a person is still asked");
    // The person sets the file's password there, and says so.
    site.with_bmc(id, |fake| fake.password = FACTORY.into()).await;
    assert_eq!(restore(&site, id).await.state, ActState::Done);
    assert_eq!(open().await, [""; 0]);
    assert!(in_use(&site, id).await.unwrap().is_none());
    assert_eq!(change(&site, id).await.state, ActState::Done);
}

/// Asks for the file's password and waits until that ended.
async fn restore(site: &Site, id: MachineId) -> ActRow {
    site.ask("kim", Action::RestoreBmcPassword, &[id]).await.unwrap();
    ended(site, id).await
}

#[tokio::test]
async fn a_bmc_gets_the_password_of_its_file_again_and_it_is_set_there() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    let early = site.ask("kim", Action::RestoreBmcPassword, &[id]).await.unwrap_err().to_string();
    assert!(early.contains("password file already"), "{early}");
    assert_eq!(change(&site, id).await.state, ActState::Done);
    assert_ne!(password(&site, id).await, FACTORY);
    assert_eq!(restore(&site, id).await.state, ActState::Done);
    assert_eq!(password(&site, id).await, FACTORY);
    assert!(in_use(&site, id).await.unwrap().is_none());
    let states: Vec<PasswordState> = rows(&site, id).await.iter().map(|row| row.state).collect();
    assert_eq!(states, [PasswordState::Former, PasswordState::Former]);
}

#[tokio::test]
async fn the_schedule_takes_no_password_to_an_address_that_it_was_not_set_at() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let id = site.id("r1-n1").await;
    let everywhere = "insert into bmc_password (machine, number, address, account, state, sealed, made) \
                      select id, 1, '10.9.9.9', 'admin', 'current', 'sealed', 0 from machine where bmc is not null";
    raw(&site.place, everywhere).await;
    let round = async || site.me.change_old_passwords_once(PasswordAge { days: 1 }).await.unwrap();
    assert_eq!(round().await, 0);
    let own = Site::bmc_of(&site.known(id).await);
    raw(&site.place, &format!("update bmc_password set address = '{own}' where machine = '{id}'")).await;
    assert_eq!(round().await, 1);
    assert_eq!(changes(&site, id).await.len(), 1);
}

#[tokio::test]
async fn eleven_bmcs_at_once_need_a_second_person() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let mut ids = Vec::new();
    for n in 1..=11 {
        ids.push(site.id(&format!("r1-n{n}")).await);
    }
    let refused = site.ask("kim", Action::ChangeBmcPassword, &ids).await.unwrap_err().to_string();
    assert!(refused.contains("second person"), "{refused}");
    site.ask("kim", Action::ChangeBmcPassword, &ids[..10]).await.unwrap();
}

#[tokio::test]
async fn the_red_button_holds_a_change_back() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    let planned = {
        let targets = muster_names::TargetSet::new(vec![id]).unwrap();
        let what = Action::ChangeBmcPassword;
        site.me.plan("kim".into(), muster_conductor::plans::PlanRequest { what, targets }).await.unwrap()
    };
    site.me.freeze(true, "kim".into(), "smoke".into()).await.unwrap();
    let refused = site.me.execute("kim".into(), planned.digest).await.unwrap_err().to_string();
    assert!(refused.contains("frozen by kim (smoke)"), "{refused}");
    assert_eq!(site.me.change_old_passwords_once(PasswordAge { days: 1 }).await.unwrap(), 0);
    assert!(changes(&site, id).await.is_empty(), "the schedule begins nothing while frozen");
    site.me.freeze(false, "kim".into(), "aired".into()).await.unwrap();
    site.me.execute("kim".into(), planned.digest).await.unwrap();
    assert_eq!(ended(&site, id).await.state, ActState::Done);
}

#[tokio::test]
async fn a_change_is_refused_for_a_machine_without_a_bmc_and_asked_twice_it_is_one() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let (id, bare) = (site.id("r1-n1").await, site.id("bare1").await);
    let refused = site.ask("kim", Action::ChangeBmcPassword, &[bare]).await.unwrap_err().to_string();
    assert!(refused.contains("nobody named its BMC"), "{refused}");
    for by in ["kim", "lee"] {
        site.ask(by, Action::ChangeBmcPassword, &[id]).await.unwrap();
    }
    assert_eq!(changes(&site, id).await.len(), 1);
}

#[tokio::test]
async fn a_bmc_that_is_silent_waits_and_holds_up_no_other() {
    let (_folder, site) = Site::sqlite().await;
    let (dead, well) = (site.id("r1-n1").await, site.id("r1-n2").await);
    site.with_bmc(dead, |fake| fake.silent = true).await;
    site.ask("kim", Action::ChangeBmcPassword, &[dead, well]).await.unwrap();
    assert_eq!(ended(&site, well).await.state, ActState::Done);
    assert!(changes(&site, dead).await[0].finished.is_none());
    assert!(rows(&site, dead).await.is_empty(), "nothing was made for it");
}
