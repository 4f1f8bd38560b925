//! `muster firmware` through the daemon: machines whose BMCs answer and one whose BMC does not, in one table.

use crate::bed::Site;
use muster_tests::redfish_sim::{BiosStore, RedfishSim};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const MODEL: &str = r#"id = "acme-r2"
title = "ACME R2"
role = "compute"
evidence = { documented = "https://example.org/" }
[identify.system]
manufacturer = { exact = "ACME" }
product = { exact = "R-2" }
[root-disk]
kind = "nvme"
pick = "only"
[boot]
firmware = ["uefi"]
[bmc]
profile = "acme"
[[firmware]]
name = "bios"
component = ["System ROM"]
reported = '[A-Z]\d+ v(\d+\.\d+)'
wanted = "2.44"
from = "2.0"
via = "2.10"
order = 1
reset = "machine"
evidence = { documented = "https://example.org/" }
[bios]
turbo = "on"
"#;
const PROFILE: &str = r#"id = "acme"
title = "The BMC of an ACME R2"
evidence = { documented = "https://example.org/" }
protocols = ["redfish"]
[[bios]]
attribute = "turbo"
name = "Turbo"
values = { on = "Enabled", off = "Disabled" }
evidence = { documented = "https://example.org/" }
"#;

async fn machine(rom: &str) -> RedfishSim {
    let sim = RedfishSim::start(vec![], None).await;
    let at = |path: &str| json!({"@odata.id": format!("/redfish/v1/{path}")});
    let mut state = sim.state();
    state.bios = Some(BiosStore::of(&json!({"Turbo": "Disabled"})));
    for (path, body) in [
        ("UpdateService", json!({"FirmwareInventory": at("UpdateService/FirmwareInventory")})),
        ("UpdateService/FirmwareInventory", json!({"Members": [at("UpdateService/FirmwareInventory/2")]})),
        ("UpdateService/FirmwareInventory/2", json!({"Id": "2", "Name": "System ROM", "Version": rom})),
    ] {
        state.tree.insert(format!("/redfish/v1/{path}"), body);
    }
    drop(state);
    sim
}

/// A site with its own data files and these BMCs; the last machine's BMC is nowhere.
fn site(bmcs: &[&RedfishSim]) -> Site {
    let site = Site::new("firmware", None);
    let data = site.dir.join("files/firmware-profiles");
    fs::remove_file(&data).unwrap();
    for (folder, name, text) in [("models", "acme-r2", MODEL), ("bmcs", "acme", PROFILE)] {
        fs::create_dir_all(data.join(folder)).unwrap();
        fs::write(data.join(folder).join(format!("{name}.toml")), text).unwrap();
    }
    let mut layout = "site = \"s\"\nrack = \"r1\"\nevidence = \"declared\"\nunits = 42\n".to_owned();
    let addresses = bmcs.iter().map(|sim| sim.address.to_string()).chain(["127.0.0.1:1".to_owned()]);
    for (at, address) in addresses.enumerate() {
        layout.push_str(&format!(
            "[[machine]]\nname = \"node{0}\"\nu = {0}\nmodel = \"acme-r2\"\nserial = \"X{0}\"\nbmc = {{ protocol = \"redfish\", \
             address = \"http://{address}\", user = \"admin\", password-file = \"p\" }}\n",
            at + 1
        ));
    }
    site.file("files/rack-layouts/s/r1.toml", &layout);
    fs::create_dir_all(site.dir.join("secrets")).unwrap();
    let secret = site.file("secrets/p", "secret\n");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(Path::new(&secret).is_file());
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_bmc_does_not_spoil_the_table_and_a_machine_nobody_looked_at_is_not_set() {
    let sims = [machine("U58 v2.41 (01/17/2025)").await, machine("U58 v1.90").await, machine("U58 v2.44").await];
    let mut site = site(&sims.iter().collect::<Vec<_>>());
    let told = tokio::task::spawn_blocking(move || {
        site.serve();
        let whole = site.says(&["firmware", "plan"]);
        let json = site.says(&["firmware", "plan", "--model", "acme-r2", "--output", "json"]);
        let one = site.says(&["firmware", "plan", "node3"]);
        let wrong = site.fails(&["firmware", "plan", "--model", "nosuch"]);
        let refused = site.says(&["firmware", "apply-bios", "node1", "--dry-run"]);
        (whole, json, one, wrong, refused)
    });
    let (whole, json, one, wrong, refused) = told.await.unwrap();
    let (code, table, _) = whole;
    assert_eq!(code, 3, "one did not answer, the same again may work later: {table}");
    for word in [
        "node1    bios   System ROM  U58 v2.41 (01/17/2025)",
        "has not the form",
        "would go from 1.90 first to 2.10, then to 2.44 (order 1, a reset of the machine): 2.0 is the least to come from",
        "would be set: Turbo: Disabled -> Enabled",
        "node4",
        "not read: ",
        "acme-r2: 3 of 4 machines differ: turbo to be set to on on 3",
        "1 could not be read",
        "Muster writes no firmware",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(!table.contains("as wanted: 2.44"), "among many, only what differs: {table}");

    let report: Value = serde_json::from_str(&json.1).unwrap();
    let verdicts: Vec<_> =
        report["machines"].as_array().unwrap().iter().map(|one| &one["plan"]["firmware"][0]["verdict"]).collect();
    assert_eq!(verdicts, [&json!("unknown-form"), &json!("first-via"), &json!("as-wanted"), &Value::Null], "{report}");
    assert_eq!((json.0, &report["machines"][3]["later"]), (3, &json!(true)));
    assert!(one.0 == 0 && one.1.contains("as wanted: 2.44"), "{one:?}");
    assert!(wrong.contains("known are: acme-r2"), "{wrong}");
    let (code, table, _) = refused;
    assert!(code == 1 && table.contains("discover it first") && table.contains("nothing was changed"), "{table}");
    for sim in &sims {
        let state = sim.state();
        assert_eq!((state.count("PATCH", ""), state.resets.len()), (0, 0), "looking changes nothing");
    }
}
