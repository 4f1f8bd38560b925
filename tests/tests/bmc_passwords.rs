//! From a plan to the BMC and back: the conductor changes the passwords of simulated BMCs over both protocols, and is
//! killed in between.

#![allow(clippy::unwrap_used, clippy::panic)]

use arc_swap::ArcSwap;
use muster_bmc::{Bmcs, Protocol, Secret, Settings as Patience, Target, Trust};
use muster_catalog::{BmcAccess, Catalog, read};
use muster_conductor::plans::{Action, PlanRequest};
use muster_conductor::{BmcHand, BmcOf, Conductor, Hand, Hands, Settings, SiteKey, Vault, couriers};
use muster_diagnosis::Budgets;
use muster_names::{MachineId, Power, Subject, TargetSet};
use muster_store::{ActRow, Place, Store, acts, machines};
use muster_tests::data_files::data_files;
use muster_tests::ipmi_sim::{IpmiSim, Traits};
use muster_tests::redfish_sim::{Habit, RedfishSim};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const FACTORY: &str = "secret";

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str) -> Folder {
    let dir = std::env::temp_dir().join(format!("muster-bmc-passwords-{name}-{}", std::process::id()));
    fs::create_dir_all(dir.join("secrets")).unwrap();
    fs::write(dir.join("secrets/bmc"), FACTORY).unwrap();
    Folder(dir)
}

/// The repository's models and BMC profiles, and one rack with these BMCs.
fn catalog(bmcs: &[(&str, &str)]) -> Catalog {
    let mut files = data_files();
    let mut rack = "site = \"test\"\nrack = \"r1\"\nevidence = \"declared\"\nunits = 42\n".to_owned();
    for (at, (protocol, address)) in bmcs.iter().enumerate() {
        rack.push_str(&format!(
            "[[machine]]\nname = \"n{at}\"\nu = {}\nmodel = \"qemu-q35\"\nserial = \"S{at}\"\n\
             bmc = {{ protocol = \"{protocol}\", address = \"{address}\", user = \"admin\", password-file = \"bmc\" }}\n",
            at + 1
        ));
    }
    files.push(("rack-layouts/test/r1.toml".into(), rack));
    read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

/// A daemon without its listeners.
struct Daemon {
    me: Arc<Conductor>,
    hand: Arc<BmcHand>,
    vault: Arc<Vault>,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Daemon {
    async fn start(folder: &Folder, catalog: &Catalog) -> Self {
        let db = Store::open(&Place::Sqlite(folder.0.clone())).await.unwrap();
        let vault = Arc::new(Vault::new(db.clone(), SiteKey::read(&"5a".repeat(32)).unwrap()));
        let in_force = Arc::new(ArcSwap::from_pointee(catalog.clone()));
        let hand = Arc::new(BmcHand::new(vault.clone(), folder.0.join("secrets"), in_force, None));
        let hands = Hands::of(hand.clone(), vault.clone());
        let settings = Settings {
            agent_url: "https://10.0.0.1:8443".into(),
            boot_http: "http://10.0.0.1:8080".into(),
            ca_pem: "a certificate".into(),
            bmc_accounts: false,
            events_to: None,
            name: "daemon".into(),
            tapes: muster_conductor::console::Tapes { folder: folder.0.join("console"), kept: 1 << 20 },
        };
        let cancel = CancellationToken::new();
        let (me, running) = Conductor::new(db, settings, hands, catalog.clone(), Budgets::default(), &cancel);
        let mut tasks = JoinSet::new();
        tasks.spawn(running.scribe);
        me.take_over().await.unwrap();
        me.follow_layouts().await.unwrap();
        tasks.spawn(couriers(me.clone(), cancel.clone()));
        Self { me, hand, vault, cancel, tasks }
    }

    async fn kill(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.cancel.cancel();
        self.me.db.close().await;
    }

    async fn bmc(&self, name: &str) -> BmcOf {
        let mut tx = self.me.db.read().await.unwrap();
        let record = machines::by_name(&mut tx, name).await.unwrap().unwrap();
        let access: BmcAccess = serde_json::from_str(record.bmc.as_deref().unwrap()).unwrap();
        BmcOf { machine: record.id, access }
    }

    async fn ask(&self, id: MachineId) {
        let request = PlanRequest { what: Action::ChangeBmcPassword, targets: TargetSet::new(vec![id]).unwrap() };
        let planned = self.me.plan("kim".into(), request).await.unwrap();
        self.me.execute("kim".into(), planned.digest).await.unwrap();
    }

    async fn ended(&self, id: MachineId) -> ActRow {
        let begun = Instant::now();
        loop {
            let mut tx = self.me.db.read().await.unwrap();
            let last = acts::acts_of(&mut tx, Subject::Bmc(id)).await.unwrap().pop();
            drop(tx);
            match last {
                Some(row) if row.finished.is_some() => return row,
                row => assert!(begun.elapsed() < Duration::from_secs(60), "no end: {row:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What is in force, tried at the BMC from outside; and the file's password is refused there.
    async fn own_password_holds(&self, bmc: &BmcOf) {
        let own = self.vault.in_use(bmc).await.unwrap().unwrap();
        let target = |secret: Secret| {
            let access = &bmc.access;
            let mut target = Target::new(access.protocol, access.address.clone(), access.user.clone(), secret);
            if access.protocol == Protocol::Redfish {
                target.trust = Trust::Plain;
            }
            target
        };
        let stranger = Bmcs::new(Patience::default());
        assert!(stranger.may_log_in(&target(own)).await.unwrap());
        assert!(!stranger.may_log_in(&target(Secret::new(FACTORY))).await.unwrap());
        assert_eq!(self.hand.power(bmc).await.unwrap(), Power::Off, "and power is read with it");
    }
}

#[tokio::test]
async fn a5_5_a_plan_gives_bmcs_of_both_protocols_passwords_of_their_own_and_power_is_read_with_them() {
    let folder = folder("both");
    let redfish = RedfishSim::start(vec![Habit::PasswordEndsSessions], None).await;
    let ipmi = IpmiSim::start(Traits::default()).await;
    let (over_http, over_ipmi) = (format!("http://{}", redfish.address), ipmi.address.to_string());
    let catalog = catalog(&[("redfish", &over_http), ("ipmi", &over_ipmi)]);
    let daemon = Daemon::start(&folder, &catalog).await;
    for name in ["n0", "n1"] {
        let bmc = daemon.bmc(name).await;
        assert_eq!(daemon.hand.power(&bmc).await.unwrap(), Power::Off, "with the file's password");
        daemon.ask(bmc.machine).await;
        let row = daemon.ended(bmc.machine).await;
        assert_eq!(row.state.word(), "done", "{name}: {row:?}");
        daemon.own_password_holds(&bmc).await;
    }
    daemon.kill().await;
}

/// Killed at several moments, one change after the other.
async fn survives(folder: &Folder, catalog: &Catalog) {
    for after in [30, 250, 900, 1_300] {
        let daemon = Daemon::start(folder, catalog).await;
        let bmc = daemon.bmc("n0").await;
        daemon.ask(bmc.machine).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        daemon.kill().await;
        let daemon = Daemon::start(folder, catalog).await;
        let row = daemon.ended(bmc.machine).await;
        assert_eq!(row.state.word(), "done", "killed after {after} ms: {row:?}");
        daemon.own_password_holds(&bmc).await;
        daemon.kill().await;
    }
}

#[tokio::test]
async fn a5_5_a_daemon_that_dies_while_a_password_changes_can_log_in_again_over_redfish() {
    let sim = RedfishSim::start(vec![], None).await;
    let address = format!("http://{}", sim.address);
    survives(&folder("killed-redfish"), &catalog(&[("redfish", &address)])).await;
}

#[tokio::test]
async fn a5_5_a_daemon_that_dies_while_a_password_changes_can_log_in_again_over_ipmi() {
    let sim = IpmiSim::start(Traits::default()).await;
    survives(&folder("killed-ipmi"), &catalog(&[("ipmi", &sim.address.to_string())])).await;
}
