//! Ways into a machine: what was missed or refused leads to the next, what worked is kept, and nothing stays in a drive.

use crate::agent::{Agent, inventory, ready, reset};
use crate::bed::{Site, catalog, install, raw};
use muster_conductor::plans::Action;
use muster_lifecycle::Came;
use muster_names::{MachineId, Way};
use muster_netboot::timeline::What;
use muster_store::{ActState, Logged};
use serde_json::Value;

const LOADER: &str = "boot http://10.0.0.1:8080/boot/ipxe.efi";
const DISC: &str = "boot http://10.0.0.1:8080/boot/ipxe.iso";
const ALL: [Way; 3] = [Way::Pxe, Way::Http, Way::VirtualMedia];

async fn site(ways: &[Way]) -> (crate::bed::Folder, Site) {
    let (folder, site) = Site::sqlite().await;
    let mut catalog = catalog();
    let model = catalog.models.iter_mut().find(|model| model.id == "qemu-q35").unwrap();
    model.boot.ways = ways.to_vec();
    site.me.set_catalog(catalog);
    (folder, site)
}

/// The deadline of the state passes, and the next one is entered.
async fn late(site: &Site, id: MachineId) {
    let epoch = site.known(id).await.facts.epoch;
    raw(&site.place, &format!("update subject set deadline = 1 where subject = 'machine/{id}' and deadline > 1")).await;
    site.when("the next state", async || site.known(id).await.facts.epoch > epoch).await;
}

async fn changes(site: &Site, id: MachineId) -> Vec<(String, String, String)> {
    let of = |row: &Logged| {
        let body: Value = serde_json::from_str(&row.body).unwrap();
        let word = |key: &str| body["detail"][key].as_str().unwrap_or_default().to_owned();
        (word("from"), word("to"), word("why"))
    };
    site.log(Some(id)).await.iter().filter(|row| row.kind == "way-changed").map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_has_its_attempt_before_a_person_is_asked_and_each_change_is_told() {
    let (_folder, site) = site(&ALL).await;
    let id = site.id("r1-n1").await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    for _ in 0..3 {
        reset(&site, id).await;
        late(&site, id).await;
    }
    assert_eq!(site.label(id).await, "held");
    site.when("the disc to be out", async || site.known(id).await.kept.medium.is_none()).await;
    let cycles = ["boot agent", "off", "on", LOADER, "off", "on", DISC, "off", "on", "eject"];
    assert_eq!(site.power_log(id).await, cycles);
    let changes = changes(&site, id).await;
    let words: Vec<(&str, &str)> = changes.iter().map(|(from, to, _)| (from.as_str(), to.as_str())).collect();
    assert_eq!(words, [("pxe", "http"), ("http", "virtual-media")]);
    assert!(changes.iter().all(|(.., why)| why.starts_with("not seen for ")), "{changes:?}");
    let told = site.me.boots_of(id).await.unwrap();
    let entries = told.boots.iter().flat_map(|boot| &boot.entries);
    let words: Vec<String> = entries
        .filter_map(|entry| if let What::Event { words } = &entry.what { Some(words.clone()) } else { None })
        .collect();
    for expected in ["boot by PXE failed (not seen for ", "), next by HTTP", "boot by HTTP failed (", "was ejected"] {
        assert!(words.iter().any(|words| words.contains(expected)), "{expected}: {words:?}");
    }
    site.log_is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_the_bmc_refuses_costs_no_attempt_and_what_worked_is_kept() {
    let (_folder, site) = site(&[Way::Http, Way::VirtualMedia, Way::Pxe]).await;
    let id = site.id("r1-n1").await;
    let refusal = (Way::Http, "it does not offer UefiHttp as a boot source".to_owned());
    site.with_bmc(id, |fake| fake.refuses = vec![refusal]).await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    reset(&site, id).await;
    assert_eq!(site.states(id).await, ["expected", "discovering"]);
    assert_eq!(site.power_log(id).await, [DISC, "off", "on"]);
    let changes = changes(&site, id).await;
    assert_eq!((changes.len(), changes[0].0.as_str(), changes[0].1.as_str()), (1, "http", "virtual-media"));
    assert!(changes[0].2.contains("its BMC refused it: it does not offer UefiHttp"), "{changes:?}");
    let shown = site.known(id).await.kept;
    assert_eq!(shown.medium.map(|medium| format!("boot {}", medium.image)).as_deref(), Some(DISC));
    // Its agent comes in: what it was booted from is let go, and the next boot comes the same way.
    let (_agent, _) = Agent::boot(&site, &inventory("r1-S1", 1), true).await;
    assert_eq!(
        site.known(id).await.kept.way.map(|tried| (tried.way, tried.came)),
        Some((Way::VirtualMedia, Came::Arrived))
    );
    site.when("the disc to be out", async || site.known(id).await.kept.medium.is_none()).await;
    assert_eq!(site.with_bmc(id, |fake| fake.disc.clone()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_came_in_and_failed_later_stays_on_its_way() {
    let (_folder, site) = site(&ALL).await;
    let (id, agent) = ready(&site, "r1-n1", 1).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    reset(&site, id).await;
    // The script is given; the agent is never heard of.
    assert!(Agent::try_boot(&site, &agent.inventory, false).await.is_some());
    late(&site, id).await;
    reset(&site, id).await;
    assert_eq!(site.power_log(id).await, ["boot agent", "off", "on"].repeat(2));
    assert!(changes(&site, id).await.is_empty());
    late(&site, id).await;
    reset(&site, id).await;
    assert_eq!(site.power_log(id).await[6..], [LOADER, "off", "on"], "of the second boot nothing was seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disc_that_the_bmc_does_not_let_go_holds_nothing_up_and_is_shown() {
    let (_folder, site) = site(&[Way::VirtualMedia]).await;
    let (id, agent) = ready(&site, "r1-n1", 1).await;
    site.with_bmc(id, |fake| fake.clings = 1).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    reset(&site, id).await;
    // What is left in RAM of the boot before is not the machine's arrival.
    let mut left_over = agent.clone();
    left_over.introduce(&site).await.unwrap();
    assert!(site.act(id, "eject").await.is_none());
    let (mut agent, _) = Agent::boot(&site, &agent.inventory, false).await;
    site.when("a try to eject it", async || site.known(id).await.kept.medium.unwrap().left.is_some()).await;
    assert_eq!(site.act(id, "eject").await.unwrap().state, ActState::Failed);
    assert_eq!(site.label(id).await, "installing");
    assert!(site.kinds(id).await.contains(&"medium-left".to_owned()));
    // The end of the state tries once more.
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    site.when("the disc to be out", async || site.known(id).await.kept.medium.is_none()).await;
    assert!(site.kinds(id).await.contains(&"medium-ejected".to_owned()));
    assert!(agent.say(&site, Vec::new()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_after_the_disc_was_inserted_leaves_it_to_the_next_one() {
    let (_folder, site) = site(&[Way::VirtualMedia]).await;
    let id = site.id("r1-n1").await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    site.when("the disc", async || site.known(id).await.kept.medium.is_some()).await;
    // The next daemon's model boots by PXE alone: its boot ejects what the last one left.
    let site = site.restarted().await;
    raw(&site.place, "update act set until = 1 where state in ('claimed', 'sent')").await;
    let over = async || site.acts(id).await.iter().all(|act| act.finished.is_some());
    site.when("the end of its acts", over).await;
    late(&site, id).await;
    site.when("the disc to be out", async || site.known(id).await.kept.medium.is_none()).await;
    assert_eq!(site.with_bmc(id, |fake| fake.disc.clone()).await, None);
}
