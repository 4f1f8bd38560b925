//! What differs between the firmware that a model wants and the one that runs, and what would happen.
//!
//! Nothing is written on the strength of it: a plan is what a person reads before a window of maintenance. So it never
//! guesses: a form that is not known, or two versions without an order, are said and leave the component alone.

use muster_catalog::{FirmwareWant, Reset, compare_versions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// One component as its BMC reports it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportedFirmware {
    pub component: String,
    pub version: String,
}

/// What comes of one wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareVerdict {
    AsWanted,
    /// It would go to the wanted version in one step.
    Differs,
    /// Below the least version to come from: it would go to `via` first.
    FirstVia,
    /// Below the least version to come from, and no step between is named.
    TooOld,
    /// Nothing is taken back.
    Newer,
    NotReported,
    /// Reported in another form than the model names.
    UnknownForm,
    /// The two versions have no order.
    Incomparable,
}

/// One wish against one component that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FirmwareLine {
    /// What the model calls it.
    pub name: String,
    /// What the BMC calls it.
    pub component: Option<String>,
    pub reported: Option<String>,
    /// The part of it that was compared.
    pub found: Option<String>,
    pub wanted: String,
    /// The step between, where one is needed.
    pub via: Option<String>,
    pub order: u32,
    pub reset: Reset,
    pub verdict: FirmwareVerdict,
    /// The verdict in words.
    pub words: String,
}

/// Every wish of a model against everything that is reported, in the order in which it would be done.
pub fn judge_firmware(wants: &[FirmwareWant], reported: &[ReportedFirmware]) -> Vec<FirmwareLine> {
    let told: BTreeSet<&ReportedFirmware> = reported.iter().collect();
    let mut lines: Vec<FirmwareLine> = Vec::new();
    for want in wants {
        let mut fitting =
            told.iter().filter(|told| want.component.iter().any(|name| name.fits(&told.component))).peekable();
        if fitting.peek().is_none() {
            let names: Vec<&str> = want.component.iter().map(|pattern| pattern.0.as_str()).collect();
            let words = format!("its BMC reports nothing that is called {}", names.join(" or "));
            lines.push(FirmwareLine { words, ..line(want, FirmwareVerdict::NotReported) });
        }
        lines.extend(fitting.map(|told| compared(want, told)));
    }
    let key = |line: &FirmwareLine| (line.order, line.name.clone(), line.component.clone(), line.reported.clone());
    lines.sort_by_cached_key(key);
    lines
}

fn line(want: &FirmwareWant, verdict: FirmwareVerdict) -> FirmwareLine {
    FirmwareLine {
        name: want.name.clone(),
        component: None,
        reported: None,
        found: None,
        wanted: want.wanted.clone(),
        via: None,
        order: want.order,
        reset: want.reset,
        verdict,
        words: String::new(),
    }
}

fn compared(want: &FirmwareWant, told: &ReportedFirmware) -> FirmwareLine {
    let found = want.reported.read(&told.version);
    let (verdict, words) = match &found {
        None => {
            let words =
                format!("{:?} has not the form {:?}; mend `reported` in the model", told.version, want.reported.0);
            (FirmwareVerdict::UnknownForm, words)
        }
        Some(found) => verdict(want, found),
    };
    let via = if verdict == FirmwareVerdict::FirstVia { want.via.clone() } else { None };
    let (component, reported) = (Some(told.component.clone()), Some(told.version.clone()));
    FirmwareLine { component, reported, found, via, words, ..line(want, verdict) }
}

fn verdict(want: &FirmwareWant, found: &str) -> (FirmwareVerdict, String) {
    let wanted = &want.wanted;
    let incomparable = |other: &str| (FirmwareVerdict::Incomparable, format!("cannot compare {found} with {other}"));
    match compare_versions(found, wanted) {
        None => return incomparable(wanted),
        Some(Ordering::Equal) => return (FirmwareVerdict::AsWanted, format!("as wanted: {found}")),
        Some(Ordering::Greater) => {
            return (FirmwareVerdict::Newer, format!("{found} is newer than wanted {wanted}; nothing is taken back"));
        }
        Some(Ordering::Less) => {}
    }
    let how = format!("order {}, {}", want.order, want.reset);
    let Some(from) = &want.from else {
        return (FirmwareVerdict::Differs, format!("would go from {found} to {wanted} ({how})"));
    };
    match (compare_versions(found, from), &want.via) {
        (None, _) => incomparable(from),
        (Some(Ordering::Less), Some(via)) => (
            FirmwareVerdict::FirstVia,
            format!("would go from {found} first to {via}, then to {wanted} ({how}): {from} is the least to come from"),
        ),
        (Some(Ordering::Less), None) => (
            FirmwareVerdict::TooOld,
            format!(
                "cannot go from {found} to {wanted} in one step: {from} is the least to come from, and the model names no \
                 step between (`via`)"
            ),
        ),
        (Some(_), _) => (FirmwareVerdict::Differs, format!("would go from {found} to {wanted} ({how})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_catalog::{Evidence, Form, Pattern};
    use proptest::prelude::*;

    fn want(name: &str, component: &str, order: u32) -> FirmwareWant {
        FirmwareWant {
            name: name.into(),
            component: vec![Pattern(component.into())],
            reported: Form(r"(?:U\d+ )?v?([\w.]+)".into()),
            wanted: "2.4".into(),
            from: Some("1.5".into()),
            via: Some("2.0".into()),
            order,
            reset: Reset::Machine,
            evidence: Evidence::Synthetic,
        }
    }

    fn told(component: &str, version: &str) -> ReportedFirmware {
        ReportedFirmware { component: component.into(), version: version.into() }
    }

    fn one(want: &FirmwareWant, version: &str) -> FirmwareLine {
        judge_firmware(std::slice::from_ref(want), &[told("BIOS", version)]).remove(0)
    }

    #[test]
    fn each_verdict_says_what_would_happen() {
        let wish = want("bios", "bios", 2);
        let no_step = FirmwareWant { via: None, ..wish.clone() };
        let anywhere = FirmwareWant { via: None, from: None, ..wish.clone() };
        for (want, version, verdict, words) in [
            (&wish, "U46 v2.4", FirmwareVerdict::AsWanted, "as wanted: 2.4"),
            (&wish, "2.3", FirmwareVerdict::Differs, "from 2.3 to 2.4 (order 2, a reset of the machine)"),
            (&wish, "1.5", FirmwareVerdict::Differs, "from 1.5 to 2.4"),
            (&wish, "1.4", FirmwareVerdict::FirstVia, "from 1.4 first to 2.0, then to 2.4"),
            (&no_step, "1.4", FirmwareVerdict::TooOld, "cannot go from 1.4 to 2.4 in one step: 1.5 is the least"),
            (&anywhere, "0.1", FirmwareVerdict::Differs, "from 0.1 to 2.4"),
            (&wish, "2.10", FirmwareVerdict::Newer, "2.10 is newer than wanted 2.4"),
            (&wish, "2.x", FirmwareVerdict::Incomparable, "cannot compare 2.x with 2.4"),
            (&wish, "2.4 beta", FirmwareVerdict::UnknownForm, "\"2.4 beta\" has not the form"),
        ] {
            let line = one(want, version);
            assert!(line.verdict == verdict && line.words.contains(words), "{version}: {line:?}");
        }
        let line = one(&want("fabric", "NIC*", 1), "2.4");
        assert_eq!((line.verdict, line.component), (FirmwareVerdict::NotReported, None));
        assert!(line.words.contains("NIC*"), "{}", line.words);
    }

    #[test]
    fn the_order_is_that_of_the_model_and_one_component_in_two_places_is_one_line() {
        let wants = [want("nics", "NIC *", 3), want("bios", "BIOS", 2), want("bmc", "BMC", 1)];
        let told = [told("NIC 2", "2.3"), told("BIOS", "2.3"), told("NIC 1", "2.4"), told("BIOS", "2.3")];
        let lines = judge_firmware(&wants, &told);
        let named: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.component.as_deref())).collect();
        assert_eq!(named, [("bmc", None), ("bios", Some("BIOS")), ("nics", Some("NIC 1")), ("nics", Some("NIC 2"))]);
    }

    proptest! {
        #[test]
        fn no_version_panics_and_the_order_of_what_is_told_changes_nothing(all in proptest::collection::vec(("[BN]IOS", "\\PC{0,12}"), 0..6)) {
            let wants = [want("bios", "BIOS", 1), want("nios", "*IOS", 1)];
            let mut reported: Vec<_> = all.iter().map(|(component, version)| told(component, version)).collect();
            let lines = judge_firmware(&wants, &reported);
            reported.reverse();
            prop_assert_eq!(judge_firmware(&wants, &reported), lines);
        }
    }
}
