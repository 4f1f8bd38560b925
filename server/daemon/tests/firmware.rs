//! `muster firmware plan --bmc` as an operator types it: the real binary against simulated BMCs and a recorded tree.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use muster_tests::ipmi_sim::{self, IpmiSim, Traits};
use muster_tests::redfish_sim::{BiosStore, RedfishSim, recorded};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

struct Said {
    code: i32,
    out: String,
    err: String,
}

async fn plan(url: &str, password: &str, more: &[&str]) -> Said {
    let file = std::env::temp_dir().join(format!("muster-firmware-{}-{password}", std::process::id()));
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["firmware", "plan", "--bmc", url, "--user", "admin", "--password-file"]).arg(&file);
    command.args(more).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_is_compared_with_a_model_that_is_built_in_without_a_daemon() {
    let sim = RedfishSim::start(vec![], None).await;
    let url = format!("http://{}", sim.address);
    sim.state().bios = Some(BiosStore::of(&json!({"BootMode": "Bios", "SysProfile": "PerfOptimized"})));
    let said = plan(&url, "secret", &["--model", "compute"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for word in
        ["would be set: BootMode: Bios -> Uefi", "as wanted: SysProfile", "its BMC has no attribute ProcCStates"]
    {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert!(said.out.contains("its BMC reports nothing that is called BIOS"), "{}", said.out);
    assert!(said.out.ends_with("nothing was changed. Muster writes no firmware\n"), "{}", said.out);
    let state = sim.state();
    assert_eq!((state.count("PATCH", ""), state.resets.len(), state.open_sessions()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_machine_is_as_its_model_wants_it_in_json_too() {
    let Some(tree) = recorded("dell_r750") else {
        eprintln!("skipped: MUSTER_CAPTURES names no folder of recordings");
        return;
    };
    let sim = RedfishSim::start(vec![], None).await;
    sim.state().tree = tree;
    let said = plan(&format!("http://{}", sim.address), "secret", &["--model", "compute", "--output", "json"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let firmware: Vec<_> =
        told["firmware"].as_array().unwrap().iter().map(|one| (&one["name"], &one["verdict"], &one["found"])).collect();
    let right = json!("as-wanted");
    assert_eq!(
        firmware,
        [(&json!("bmc"), &right, &json!("6.00.30.00")), (&json!("bios"), &right, &json!("1.8.2"))],
        "in the order of the model"
    );
    assert!(told["bios"].as_array().unwrap().iter().all(|one| one["verdict"] == right), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ipmi_firmware_is_compared_and_settings_are_said_not_to_be_told() {
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().store = ipmi_sim::store();
    let said = plan(&format!("ipmi://{}", sim.address), "secret", &["--model", "compute"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("over IPMI") && said.out.contains("boot-mode"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_told_with_an_exit_code_that_says_whether_to_ask_again() {
    let sim = RedfishSim::start(vec![], None).await;
    let url = format!("http://{}", sim.address);
    for (url, password, more, code, word) in [
        (url.as_str(), "secret", &["--model", "nosuch"][..], 1, "known are: compute"),
        (&url, "wrong", &["--model", "compute"], 1, "does not take this user and password"),
        ("http://127.0.0.1:1", "secret", &["--model", "compute"], 3, "check that the address is its own"),
        ("127.0.0.1", "secret", &["--model", "compute"], 1, "names no protocol"),
        (&url, "secret", &[], 2, "--model"),
        (&url, "secret", &["--model", "compute", "--files", "/nonexistent"], 1, "does not read"),
    ] {
        let said = plan(url, password, more).await;
        assert!(said.code == code && said.err.contains(word), "{more:?}: {} {}", said.code, said.err);
        assert!(said.out.is_empty(), "what failed prints nothing: {}", said.out);
    }
    assert_eq!(sim.state().count("POST", "Sessions"), 1, "a wrong password is tried once");
}
