//! BMCs that somebody says are ours: found, met, given to a machine, and with a password of their own afterwards.

use crate::agent::{Agent, inventory};
use crate::bed::{self, Fake, Site, folder};
use crate::nobodys::Greets;
use muster_catalog::{Catalog, Protocol};
use muster_conductor::Standing as Stands;
use muster_conductor::{Entry, Manifest, ManifestVerdict, Pin, Shown};
use muster_diagnosis::Budgets;
use muster_lifecycle::machine::At;
use muster_names::{Bmc, Inventory, Mac, MachineId, Subject};
use muster_netboot::{Choice, ReplyKind, Said, Sighting, SightingKind};
use muster_store::bmc_adoption::{self, AwaitedRow};
use muster_store::passwords::{self, PasswordState};
use muster_store::{machines, tickets};
use muster_wire::{AccountMade, Report, Standing};

const MAC: Mac = Mac([2, 0, 0, 0, 9, 5]);
const AT: &str = "https://10.9.0.5";

fn entry(mac: Option<Mac>, address: Option<&str>) -> Entry {
    serde_json::from_value(serde_json::json!({
        "mac": mac, "address": address, "user": "admin", "password": "factory-label"
    }))
    .unwrap()
}

/// A BMC at [`AT`] that nobody knows of.
async fn site(serial: Option<&str>) -> (crate::bed::Folder, Site) {
    let (folder, place) = folder();
    let site = Site::open(place, Default::default(), Budgets::default(), true).await;
    greets(&site, AT, serial);
    (folder, site)
}

fn greets(site: &Site, at: &str, serial: Option<&str>) {
    let (protocol, serial) = (Protocol::Redfish, serial.map(str::to_owned));
    let greets = Greets { protocol, serial, sku: None, pin: Some(Pin([7; 32])) };
    site.bmcs.of(at, |fake| *fake = Fake { password: "factory-label".into(), greets: Some(greets), ..Fake::default() });
}

/// A BMC's own DHCP client is answered.
fn asks_for_an_address(site: &Site, address: &str) {
    let (kind, address) = (ReplyKind::Ack, address.parse().unwrap());
    let said = Said::Dhcp { kind, address, choice: Choice::Nothing };
    let seen = Sighting::of(muster_conductor::now(), MAC, SightingKind::Request, said);
    site.me.saw(Sighting { vendor_class: Some("iDRAC".into()), ..seen });
}

async fn take(site: &Site, entries: Vec<Entry>) -> Vec<ManifestVerdict> {
    let look = site.me.take_manifest("kim".into(), Manifest { entries: entries.clone(), digest: None }).await.unwrap();
    assert!(!look.executed);
    let digest = Some(look.digest);
    let taken = site.me.take_manifest("kim".into(), Manifest { entries, digest }).await.unwrap();
    assert!(taken.executed);
    taken.entries.into_iter().map(|one| one.verdict).collect()
}

async fn awaited(site: &Site) -> Vec<AwaitedRow> {
    bmc_adoption::awaited(&mut site.me.db.read().await.unwrap()).await.unwrap()
}

/// The password in force, open.
async fn in_force(site: &Site, id: MachineId) -> Option<String> {
    let rows = passwords::of(&mut site.me.db.read().await.unwrap(), id).await.unwrap();
    let row = rows.into_iter().find(|row| row.state == PasswordState::Current)?;
    Some(site.vault.open(&row).unwrap().reveal().to_owned())
}

async fn site_tickets(site: &Site) -> Vec<String> {
    let open = tickets::list_open(&mut site.me.db.read().await.unwrap()).await.unwrap();
    open.into_iter().filter(|ticket| ticket.subject == Subject::Site).map(|ticket| ticket.title).collect()
}

#[tokio::test]
async fn a_bmc_of_a_manifest_becomes_a_machine_with_a_password_that_nobody_knows() {
    let (_folder, site) = site(Some("NEW-1")).await;
    assert_eq!(take(&site, vec![entry(None, Some("10.9.0.5"))]).await, [ManifestVerdict::New]);
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 1);
    let id = site.id("new-1").await;
    let known = site.known(id).await;
    assert!(known.record.ours && known.state.at == At::Expected, "{:?}", known.state);
    assert_eq!(known.record.serial.as_deref(), Some("NEW-1"));
    assert!(Site::bmc_of(&known).contains("10.9.0.5"));
    site.when("a password of its own", async || {
        in_force(&site, id).await.is_some_and(|own| own != "factory-label")
            && in_force(&site, id).await == Some(site.bmcs.of(AT, |fake| fake.password.clone()))
    })
    .await;
    let pin = bmc_adoption::pin_of(&mut site.me.db.read().await.unwrap(), id).await.unwrap().unwrap();
    assert_eq!((pin.pin, pin.serial.as_deref()), (Pin([7; 32]).to_string(), Some("NEW-1")));
    let rows = awaited(&site).await;
    assert!(rows.iter().all(|row| row.sealed.is_empty() && row.machine == Some(id)), "{rows:?}");
    assert!(site.kinds(id).await.contains(&"bmc-adopted".to_owned()));
    let everything: Vec<String> = site.log(None).await.into_iter().map(|row| row.body).collect();
    assert!(everything.iter().all(|body| !body.contains("factory-label")), "a password is in the log");
    site.log_is_sound().await;
}

#[tokio::test]
async fn what_nobody_says_is_ours_is_only_looked_at() {
    let (_folder, site) = site(Some("NEW-1")).await;
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0);
    assert_eq!(site.bmcs.of(AT, |fake| (fake.password.clone(), fake.refused)), ("factory-label".into(), 0));
    assert!(machines::by_name(&mut site.me.db.read().await.unwrap(), "new-1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_machine_of_a_layout_that_has_this_serial_gets_its_bmc_and_keeps_it_when_the_layouts_are_read_again() {
    let (_folder, site) = site(Some("bare-S1")).await;
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("bare1").await;
    assert!(Site::bmc_of(&site.known(id).await).contains("10.9.0.5"));
    site.me.follow_layouts().await.unwrap();
    assert!(site.known(id).await.record.bmc.is_some(), "the layout that names no BMC took it away");
}

#[tokio::test]
async fn the_number_on_the_label_may_be_either_of_the_two_that_a_bmc_tells() {
    let (_folder, site) = site(Some("CNIVC0014M0388")).await;
    site.bmcs.of(AT, |fake| fake.greets.as_mut().unwrap().sku = Some("F54P1G3".into()));
    take(&site, vec![Entry { serial: Some("F54P1G3".into()), ..entry(None, Some("10.9.0.5")) }]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("f54p1g3").await;
    assert_eq!(site.known(id).await.record.serial.as_deref(), Some("F54P1G3"), "what its agent will say too");
}

#[tokio::test]
async fn another_serial_than_the_entrys_is_refused_with_a_ticket_and_nothing_is_changed() {
    let (_folder, site) = site(Some("OTHER")).await;
    let wanted = Entry { serial: Some("NEW-1".into()), ..entry(None, Some("10.9.0.5")) };
    take(&site, vec![wanted]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let rows = awaited(&site).await;
    assert_eq!(rows[0].state.word(), "refused");
    assert!(site_tickets(&site).await.iter().any(|title| title.contains("NEW-1") && title.contains("OTHER")));
    assert_eq!(site.bmcs.of(AT, |fake| fake.password.clone()), "factory-label");
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0, "it is not tried again by itself");
    // Put right and entered again, the ticket closes.
    let right = Entry { serial: Some("OTHER".into()), ..entry(None, Some("10.9.0.5")) };
    assert_eq!(take(&site, vec![right]).await, [ManifestVerdict::Change]);
    assert!(site_tickets(&site).await.is_empty());
    site.me.adopt_bmcs_once().await.unwrap();
    assert_eq!(awaited(&site).await[0].state.word(), "adopted");
}

#[tokio::test]
async fn a5_6_a_wrong_factory_password_is_tried_once_and_then_a_person_looks() {
    let (_folder, site) = site(Some("NEW-1")).await;
    site.bmcs.of(AT, |fake| fake.password = "something else".into());
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    for _ in 0..3 {
        site.me.adopt_bmcs_once().await.unwrap();
    }
    assert_eq!(site.bmcs.of(AT, |fake| fake.refused), 1);
    assert_eq!(site_tickets(&site).await.len(), 1);
}

#[tokio::test]
async fn a_bmc_that_is_silent_is_waited_for_and_an_entry_without_a_place_too() {
    let (_folder, site) = site(Some("NEW-1")).await;
    site.bmcs.of(AT, |fake| fake.silent = true);
    take(&site, vec![entry(None, Some("10.9.0.5")), entry(Some(MAC), None)]).await;
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 1, "nothing answers for the MAC");
    assert!(awaited(&site).await.iter().all(|row| row.state.word() == "awaited"));
    let shown = site.me.awaited_bmcs().await.unwrap();
    assert!(shown.iter().any(|one| one.why.as_ref().is_some_and(|why| why.contains("no answer"))), "{shown:?}");
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0, "not before a minute");
}

#[tokio::test]
async fn while_everything_is_frozen_nobody_is_adopted() {
    let (_folder, site) = site(Some("NEW-1")).await;
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    site.me.freeze(true, "kim".into(), "look".into()).await.unwrap();
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0);
    site.me.freeze(false, "kim".into(), "go".into()).await.unwrap();
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 1);
}

#[tokio::test]
async fn an_entry_that_conflicts_keeps_all_others_from_being_taken() {
    let (_folder, site) = site(Some("NEW-1")).await;
    let entries = vec![entry(None, Some("10.9.0.5")), Entry { user: String::new(), ..entry(Some(MAC), None) }];
    let look = site.me.take_manifest("kim".into(), Manifest { entries: entries.clone(), digest: None }).await.unwrap();
    assert!(!look.executable);
    let digest = Some(look.digest);
    let said = site.me.take_manifest("kim".into(), Manifest { entries, digest }).await.unwrap_err().to_string();
    assert!(said.contains("nothing was taken"), "{said}");
    assert!(awaited(&site).await.is_empty());
}

#[tokio::test]
async fn a_bmc_that_an_agent_told_of_is_found_by_its_machines_serial_and_belongs_to_that_machine() {
    let (_folder, site) = site(None).await;
    let id = site.id("bare1").await;
    let bmc = Bmc { address: Some("10.9.0.5".into()), mac: Some(MAC), firmware: None };
    Agent::boot(&site, &Inventory { bmc: Some(bmc), ..inventory("bare-S1", 40) }, true).await;
    site.when("the BMC", async || site.me.found_bmcs().await.unwrap().len() == 1).await;
    let found = site.me.found_bmcs().await.unwrap();
    assert_eq!(
        (found[0].standing, found[0].mac, found[0].name.as_deref()),
        (Stands::Observed, Some(MAC), Some("bare1"))
    );
    let by_serial = Entry { serial: Some("bare-S1".into()), ..entry(None, None) };
    take(&site, vec![by_serial]).await;
    assert_eq!(site.me.found_bmcs().await.unwrap()[0].standing, Stands::Awaited);
    site.me.adopt_bmcs_once().await.unwrap();
    assert_eq!(site.me.found_bmcs().await.unwrap()[0].standing, Stands::Ours);
    assert!(site.known(id).await.record.bmc.is_some());
}

#[tokio::test]
async fn an_adopted_bmc_that_moves_is_followed_by_its_key_and_never_without() {
    let (_folder, site) = site(Some("NEW-1")).await;
    asks_for_an_address(&site, "10.9.0.5");
    site.when("the BMC", async || site.me.found_bmcs().await.unwrap().len() == 1).await;
    take(&site, vec![entry(Some(MAC), None)]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("new-1").await;
    let address = async || Site::bmc_of(&site.known(id).await);
    greets(&site, "https://10.9.0.6", Some("NEW-1"));
    asks_for_an_address(&site, "10.9.0.6");
    site.when("the new address", async || address().await.contains("10.9.0.6")).await;
    greets(&site, "https://10.9.0.7", Some("NEW-1"));
    site.bmcs.of("https://10.9.0.7", |fake| fake.greets.as_mut().unwrap().pin = Some(Pin([8; 32])));
    asks_for_an_address(&site, "10.9.0.7");
    let moved = async || site.kinds(id).await.iter().filter(|kind| *kind == "bmc-moved").count() == 2;
    site.when("the word of it", moved).await;
    assert!(address().await.contains("10.9.0.6"), "followed to somebody else's key");
}

#[tokio::test]
async fn a_bmc_whose_password_nobody_knows_gets_an_account_by_the_agent_inside_and_is_adopted_with_it() {
    let (_folder, site) = site(Some("bare-S1")).await;
    let id = site.id("bare1").await;
    let bmc = Bmc { address: Some("10.9.0.5".into()), mac: Some(MAC), firmware: None };
    let (mut agent, reply) = Agent::boot(&site, &Inventory { bmc: Some(bmc), ..inventory("bare-S1", 41) }, true).await;
    let asked = |standing: &Standing| match standing {
        Standing::Commission { epoch, commission } => (*epoch, commission.bmc_account.clone()),
        other => panic!("{other:?}"),
    };
    let (epoch, account) = asked(&reply.standing);
    let account = account.unwrap();
    assert_eq!(asked(&agent.standing(&site).await).1, Some(account.clone()), "a lost answer asks for another one");
    assert!(!format!("{account:?}").contains(&account.password));
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0, "nobody has made it yet");
    site.bmcs.of(AT, |fake| fake.password.clone_from(&account.password));
    let made = Report::Commissioned { epoch, figures: vec![], bmc_account: Some(AccountMade::Made) };
    agent.say(&site, vec![made]).await.unwrap();
    site.when("what answered", async || !site.me.found_bmcs().await.unwrap().is_empty()).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let known = site.known(id).await;
    assert!(Site::bmc_of(&known).contains("10.9.0.5") && known.kept.adopted.is_some());
    site.when("another password", async || in_force(&site, id).await.is_some_and(|own| own != account.password)).await;
}

#[tokio::test]
async fn an_agent_that_can_make_no_account_leaves_a_ticket_and_commissions_all_the_same() {
    let (_folder, site) = site(Some("bare-S1")).await;
    let id = site.id("bare1").await;
    let bmc = Bmc { address: Some("10.9.0.5".into()), mac: None, firmware: None };
    let (mut agent, reply) = Agent::boot(&site, &Inventory { bmc: Some(bmc), ..inventory("bare-S1", 42) }, true).await;
    let epoch = reply.standing.epoch().unwrap();
    let failed = Some(AccountMade::Failed("all 3 accounts are taken".into()));
    agent.say(&site, vec![Report::Commissioned { epoch, figures: vec![], bmc_account: failed }]).await.unwrap();
    assert_eq!(site.label(id).await, "ready");
    assert!(site_tickets(&site).await.iter().any(|title| title.contains("all 3 accounts")));
}

#[tokio::test]
async fn a_bmc_of_ours_that_shows_another_key_or_has_its_own_password_gets_none_of_an_entry() {
    let (_folder, site) = site(Some("NEW-1")).await;
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("new-1").await;
    site.when("a password of its own", async || in_force(&site, id).await.is_some_and(|own| own != "factory-label"))
        .await;
    let refused = site.bmcs.of(AT, |fake| fake.refused);
    // The same BMC under another entry: its password is its own by now.
    take(&site, vec![Entry { machine: Some("new-1".into()), ..entry(Some(MAC), Some("10.9.0.5")) }]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let said = site_tickets(&site).await;
    assert!(said.iter().any(|title| title.contains("a password of its own")), "{said:?}");
    // Entered anew under its own entry, with another key behind the address.
    site.bmcs.of(AT, |fake| fake.greets.as_mut().unwrap().pin = Some(Pin([9; 32])));
    for id in ["mac/02:00:00:00:09:05", "address/10.9.0.5"] {
        site.me.forget_awaited("kim".into(), id.into()).await.unwrap();
    }
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let said = site_tickets(&site).await;
    assert!(said.iter().any(|title| title.contains("is known by the key")), "{said:?}");
    assert_eq!(site.bmcs.of(AT, |fake| fake.refused), refused, "a password of an entry was sent");
}

#[tokio::test]
async fn when_five_entries_were_refused_nothing_more_is_adopted_until_a_person_has_looked() {
    let (_folder, site) = site(Some("NEW-1")).await;
    let at = |n: u32| format!("10.9.1.{n}");
    for n in 0..12 {
        greets(&site, &format!("https://{}", at(n)), None);
        site.bmcs.of(&format!("https://{}", at(n)), |fake| fake.password = "another".into());
    }
    take(&site, (0..12).map(|n| entry(None, Some(&at(n)))).collect()).await;
    for _ in 0..4 {
        site.me.adopt_bmcs_once().await.unwrap();
    }
    let tried: u32 = (0..12).map(|n| site.bmcs.of(&format!("https://{}", at(n)), |fake| fake.refused)).sum();
    assert!((5..=8).contains(&tried), "{tried} passwords were wrong");
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    assert_eq!(site.me.adopt_bmcs_once().await.unwrap(), 0);
    let refused: Vec<String> =
        awaited(&site).await.into_iter().filter(|row| row.state.word() == "refused").map(|row| row.id).collect();
    for id in refused {
        site.me.forget_awaited("kim".into(), id).await.unwrap();
    }
    assert!(site.me.adopt_bmcs_once().await.unwrap() > 0);
}

/// The bed's layouts with one more rack.
fn with_rack(machines: &str) -> Catalog {
    let text = format!("site = \"test\"\nrack = \"r9\"\nevidence = \"declared\"\nunits = 42\n{machines}");
    bed::catalog_with(&[("rack-layouts/test/r9.toml".into(), text)])
}

fn layout(name: &str, serial: &str, address: &str) -> String {
    format!(
        "[[machine]]\nname = \"{name}\"\nu = 1\nmodel = \"qemu-q35\"\n{serial}\n\
         bmc = {{ protocol = \"redfish\", address = \"{address}\", user = \"admin\" }}\n"
    )
}

#[tokio::test]
async fn a_layout_that_names_the_address_of_an_adopted_bmc_means_that_machine() {
    let (_folder, site) = site(Some("NEW-1")).await;
    take(&site, vec![entry(None, Some("10.9.0.5"))]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("new-1").await;
    site.when("its own password", async || in_force(&site, id).await.is_some_and(|own| own != "factory-label")).await;
    site.me.set_catalog(with_rack(&layout("web1", "", "10.9.0.5")));
    assert_eq!(site.me.follow_layouts().await.unwrap(), 0, "a second machine with the same BMC");
    assert_eq!(site.id("web1").await, id);
    // It is the same place, written another way: its password is used there.
    let known = site.known(id).await;
    assert_eq!(Site::bmc_of(&known), "10.9.0.5");
    let access = serde_json::from_str(known.record.bmc.as_deref().unwrap()).unwrap();
    assert!(site.vault.in_use(&muster_conductor::BmcOf { machine: id, access }).await.unwrap().is_some());
    // Another serial number is another machine, whatever address somebody wrote beside it.
    site.me.set_catalog(with_rack(&layout("web2", "serial = \"OTHER\"", "10.9.0.5")));
    assert_eq!(site.me.follow_layouts().await.unwrap(), 1);
}

#[tokio::test]
async fn a_bmc_of_another_machine_is_asked_nothing_until_its_layout_names_another_address() {
    let (_folder, site) = site(None).await;
    site.me.set_catalog(with_rack(&layout("web1", "serial = \"S-1\"", "https://10.9.2.1")));
    site.me.follow_layouts().await.unwrap();
    let id = site.id("web1").await;
    let bmc = async || {
        let access = serde_json::from_str(site.known(id).await.record.bmc.as_deref().unwrap()).unwrap();
        muster_conductor::BmcOf { machine: id, access }
    };
    let shown = Some(Shown { pin: Pin([3; 32]), serials: vec!["S-2".into()], uuids: vec![] });
    site.with_bmc(id, |fake| fake.shown = shown).await;
    site.me.visit(&bmc().await).await.unwrap();
    assert!(site.vault.pin_of(id).await.unwrap_err().reason.contains("S-2"));
    let open = async || {
        let open = tickets::list_open(&mut site.me.db.read().await.unwrap()).await.unwrap();
        open.into_iter().any(|ticket| ticket.subject == Subject::Bmc(id) && ticket.title.contains("S-2"))
    };
    assert!(open().await);
    site.me.follow_layouts().await.unwrap();
    assert!(site.vault.pin_of(id).await.is_err(), "the same layout again changes nothing");
    site.me.set_catalog(with_rack(&layout("web1", "serial = \"S-1\"", "https://10.9.2.2")));
    site.me.follow_layouts().await.unwrap();
    assert_eq!(site.vault.pin_of(id).await.unwrap(), None);
    assert!(!open().await);
}

#[tokio::test]
async fn a_bmc_that_moved_and_cannot_prove_it_is_asked_where_a_person_says() {
    let (_folder, site) = site(Some("NEW-1")).await;
    asks_for_an_address(&site, "10.9.0.5");
    site.when("the BMC", async || site.me.found_bmcs().await.unwrap().len() == 1).await;
    take(&site, vec![entry(Some(MAC), None)]).await;
    site.me.adopt_bmcs_once().await.unwrap();
    let id = site.id("new-1").await;
    greets(&site, "https://10.9.0.8", Some("NEW-1"));
    site.bmcs.of("https://10.9.0.8", |fake| fake.greets.as_mut().unwrap().pin = Some(Pin([8; 32])));
    asks_for_an_address(&site, "10.9.0.8");
    let asked = async || {
        let open = tickets::list_open(&mut site.me.db.read().await.unwrap()).await.unwrap();
        open.into_iter().any(|ticket| ticket.subject == Subject::Bmc(id) && ticket.title.contains("muster bmc moved"))
    };
    site.when("the question", asked).await;
    assert!(Site::bmc_of(&site.known(id).await).contains("10.9.0.5"));
    site.me.move_bmc("kim".into(), id, "10.9.0.8".into()).await.unwrap();
    assert!(!asked().await);
    assert!(Site::bmc_of(&site.known(id).await).contains("10.9.0.8"));
    let said = site.me.move_bmc("kim".into(), id, "http://x/y".into()).await.unwrap_err().to_string();
    assert!(said.contains("no address"), "{said}");
    let of_layout = site.id("r1-n1").await;
    assert!(site.me.move_bmc("kim".into(), of_layout, "10.9.0.9".into()).await.is_err());
}
