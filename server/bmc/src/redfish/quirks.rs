//! What is decided where a BMC departs from the specification: one function a quirk, over what the BMC said.
//!
//! How much of an override is sent is decided in `boot`, beside the bodies it decides about.

use super::json::text;
use crate::{BootDevice, BootOrder, Fault, Quirk, Target};
use serde_json::Value;

/// [`Quirk::BaseboardBeside`]: the systems among which a machine is looked for (B7.1). NVIDIA's firmware has the board of
/// the accelerators beside the host; a reset sent there is not the machine's.
pub fn machines(members: Vec<String>, target: &Target) -> Vec<String> {
    if !target.has(Quirk::BaseboardBeside) {
        return members;
    }
    let is_board =
        |path: &String| path.trim_end_matches('/').rsplit('/').next().is_some_and(|id| id.starts_with("HGX_"));
    let (boards, machines): (Vec<String>, Vec<String>) = members.into_iter().partition(is_board);
    if machines.is_empty() { boards } else { machines }
}

/// What the firmware says while it tests itself: `BootProgress` of the standard up to the setup program, and HPE's
/// `PostState`, which iLO has had for longer.
const SELF_TEST: [&str; 9] = [
    "PrimaryProcessorInitializationStarted",
    "BusInitializationStarted",
    "MemoryInitializationStarted",
    "SecondaryProcessorInitializationStarted",
    "PCIResourceConfigStarted",
    "SystemHardwareInitializationComplete",
    "SetupEntered",
    "InPost",
    "InPostDiscoveryComplete",
];

/// [`Quirk::NoBootInPost`]: an override is not sent before the self-test is over (B7.6). A BMC that tells no progress is
/// asked, and refuses by itself.
pub fn in_self_test(system: &Value, target: &Target) -> Result<(), Fault> {
    let on = text(system, "/PowerState").as_deref() == Some("On");
    if !target.has(Quirk::NoBootInPost) || !on {
        return Ok(());
    }
    let told = ["/BootProgress/LastState", "/Oem/Hpe/PostState", "/Oem/Hp/PostState"];
    match told.iter().filter_map(|at| text(system, at)).find(|state| SELF_TEST.contains(&state.as_str())) {
        Some(state) => {
            Err(Fault::Busy(format!("its machine is in the self-test, {state}, in which it takes no override")))
        }
        None => Ok(()),
    }
}

/// [`Quirk::BootModeElsewhere`]: what an override cannot ask for has to be so already.
pub fn mode_as_held(order: BootOrder, now: &Value, target: &Target) -> Result<(), Fault> {
    if !target.has(Quirk::BootModeElsewhere) || order.device == BootDevice::None {
        return Ok(());
    }
    let wanted = super::boot::mode(order.mode);
    match text(now, "/Boot/BootSourceOverrideMode") {
        Some(held) if held != wanted => Err(Fault::Declined(format!(
            "its machine boots in mode {held}, {wanted} was asked for, and an override cannot change that; set the boot \
             mode in the firmware's setup, or {held} as the model's firmware mode"
        ))),
        _ => Ok(()),
    }
}

/// [`Quirk::BootOnceOnly`], and any BMC that lists how long an override may last: one that shall last and cannot is set
/// once. Whoever wants it to last sets it again before each boot (B7, general).
pub fn as_lasting_as_it_goes(order: BootOrder, now: &Value, target: &Target) -> BootOrder {
    let listed = super::json::texts(now, "/Boot/BootSourceOverrideEnabled@Redfish.AllowableValues");
    let cannot =
        target.has(Quirk::BootOnceOnly) || listed.is_some_and(|list| !list.iter().any(|word| word == "Continuous"));
    BootOrder { once: order.once || cannot, ..order }
}

/// [`Quirk::BootAfterJobs`]: whether a refusal is for what waits in the job queue. Dell's SYS011 has it in words only.
pub fn blames_jobs(said: &str, target: &Target) -> bool {
    target.has(Quirk::BootAfterJobs) && ["SYS011", "already committed"].iter().any(|words| said.contains(words))
}

/// A job that is not over, for a person.
pub fn open_job(job: &Value) -> Option<String> {
    let state = text(job, "/JobState")?;
    let over = ["Completed", "CompletedWithErrors", "Failed", "RebootCompleted", "RebootFailed"];
    if over.contains(&state.as_str()) {
        return None;
    }
    let id = text(job, "/Id").unwrap_or_else(|| "a job without an id".into());
    Some(match text(job, "/Name") {
        Some(name) => format!("{id} ({name}, {state})"),
        None => format!("{id} ({state})"),
    })
}

/// The refusal with what waits and the next step. Nothing is deleted from here: the job is somebody's change.
pub fn behind_jobs(said: &str, jobs: &[String], what: &str) -> Fault {
    let waiting = if jobs.is_empty() { "a configuration job".into() } else { jobs.join(", ") };
    Fault::Declined(format!(
        "{said}; its job queue holds {waiting}. Let it run with the next boot or delete it, then set {what} again"
    ))
}

/// [`Quirk::RestartByOffOn`] between its two halves: the machine is off, and a caller must not read "it refuses" as
/// "nothing happened".
pub fn half_way(fault: Fault) -> Fault {
    let words =
        |said: String| format!("it was switched off to be restarted and does not come on: {said}; switch it on");
    match fault {
        Fault::Busy(said) => Fault::Busy(words(said)),
        Fault::Declined(said) | Fault::NotOffered(said) => Fault::Declined(words(said)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Protocol, Secret};
    use muster_names::FirmwareMode;
    use proptest::prelude::*;
    use serde_json::json;

    const PXE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: false };

    fn target(quirks: &[Quirk]) -> Target {
        let mut target = Target::new(Protocol::Redfish, "x", "u", Secret::new("p"));
        target.quirks = quirks.to_vec();
        target
    }

    #[test]
    fn b7_1_a_baseboard_is_no_machine_where_the_quirk_says_so() {
        let both: Vec<String> =
            ["/redfish/v1/Systems/HGX_Baseboard_0/", "/redfish/v1/Systems/System_0"].map(String::from).to_vec();
        assert_eq!(machines(both.clone(), &target(&[])), both);
        let quirk = target(&[Quirk::BaseboardBeside]);
        assert_eq!(machines(both.clone(), &quirk), ["/redfish/v1/Systems/System_0"]);
        assert_eq!(machines(both[..1].to_vec(), &quirk), both[..1], "one that has nothing else is asked");
    }

    #[test]
    fn b7_6_no_override_goes_out_in_the_self_test() {
        let quirk = target(&[Quirk::NoBootInPost]);
        let progress = |state: &str| json!({"PowerState": "On", "BootProgress": {"LastState": state}});
        for system in [
            progress("MemoryInitializationStarted"),
            json!({"PowerState": "On", "Oem": {"Hpe": {"PostState": "InPost"}}}),
            json!({"PowerState": "On", "Oem": {"Hp": {"PostState": "InPostDiscoveryComplete"}}}),
        ] {
            assert_eq!(in_self_test(&system, &quirk).unwrap_err().kind(), Kind::Later, "{system}");
            assert!(in_self_test(&system, &target(&[])).is_ok());
        }
        for system in [
            progress("OSRunning"),
            json!({"PowerState": "Off", "BootProgress": {"LastState": "SetupEntered"}}),
            json!({"PowerState": "On"}),
            json!({"PowerState": "On", "BootProgress": null, "Oem": {"Hpe": {"PostState": "FinishedPost"}}}),
        ] {
            assert!(in_self_test(&system, &quirk).is_ok(), "{system}");
        }
    }

    #[test]
    fn b7_5_a_mode_that_cannot_be_asked_for_has_to_be_so() {
        let quirk = target(&[Quirk::BootModeElsewhere]);
        let legacy = json!({"Boot": {"BootSourceOverrideMode": "Legacy"}});
        let said = mode_as_held(PXE, &legacy, &quirk).unwrap_err().to_string();
        assert!(said.contains("Legacy") && said.contains("UEFI") && said.contains("setup"), "{said}");
        assert!(mode_as_held(PXE, &legacy, &target(&[])).is_ok());
        assert!(mode_as_held(BootOrder { device: BootDevice::None, ..PXE }, &legacy, &quirk).is_ok());
        for fine in [json!({"Boot": {"BootSourceOverrideMode": "UEFI"}}), json!({"Boot": {}}), json!({})] {
            assert!(mode_as_held(PXE, &fine, &quirk).is_ok(), "{fine}");
        }
    }

    #[test]
    fn b7_5_an_override_that_cannot_last_is_set_once() {
        let listed = |words: &[&str]| json!({"Boot": {"BootSourceOverrideEnabled@Redfish.AllowableValues": words}});
        let once = |now: &Value, quirks: &[Quirk]| as_lasting_as_it_goes(PXE, now, &target(quirks)).once;
        assert!(once(&json!({}), &[Quirk::BootOnceOnly]));
        assert!(once(&listed(&["Once", "Disabled"]), &[]));
        assert!(!once(&listed(&["Once", "Disabled", "Continuous"]), &[]) && !once(&json!({}), &[]));
    }

    #[test]
    fn b7_4_a_job_in_the_way_is_named_and_left_alone() {
        let quirk = target(&[Quirk::BootAfterJobs]);
        let said = "the boot override: HTTP 400 IDRAC.2.8.SYS011: Pending configuration values are already committed";
        assert!(blames_jobs(said, &quirk) && !blames_jobs(said, &target(&[])) && !blames_jobs("HTTP 400", &quirk));
        let job = json!({"Id": "JID_1", "Name": "Configure: BIOS.Setup.1-1", "JobState": "Scheduled"});
        assert_eq!(open_job(&job).as_deref(), Some("JID_1 (Configure: BIOS.Setup.1-1, Scheduled)"));
        assert_eq!(open_job(&json!({"Id": "JID_1", "JobState": "Completed"})), None);
        assert_eq!(open_job(&json!({"Id": "JID_1"})), None);
        let fault = behind_jobs(said, &["JID_1 (Scheduled)".to_string()], "the boot device");
        assert!(fault.kind() == Kind::Refused && fault.to_string().contains("JID_1 (Scheduled)"), "{fault}");
        assert!(behind_jobs(said, &[], "the boot device").to_string().contains("a configuration job"));
    }

    #[test]
    fn b7_9_a_restart_that_stopped_half_way_says_that_the_machine_is_off() {
        for (fault, kind) in [
            (Fault::Busy("x".into()), Kind::Later),
            (Fault::Declined("x".into()), Kind::Refused),
            (Fault::NotOffered("x".into()), Kind::Refused),
        ] {
            let fault = half_way(fault);
            assert!(fault.kind() == kind && fault.to_string().contains("switched off"), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn no_words_panic(word in "\\PC*", path in "\\PC*") {
            let all = target(&[Quirk::BaseboardBeside, Quirk::NoBootInPost, Quirk::BootModeElsewhere, Quirk::BootAfterJobs]);
            let system = json!({"PowerState": "On", "BootProgress": word, "Boot": {"BootSourceOverrideMode": word}});
            let _ = machines(vec![path], &all);
            let _ = in_self_test(&system, &all);
            let _ = mode_as_held(PXE, &system, &all);
            let _ = as_lasting_as_it_goes(PXE, &json!(word), &all);
            let _ = open_job(&json!({"JobState": word, "Id": [word]}));
            let _ = blames_jobs(&word, &all);
        }
    }
}
