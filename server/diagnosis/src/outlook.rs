//! A machine's firmware and settings against its model, and what that comes to for all machines of a model.

use crate::{BiosLine, BiosVerdict, FirmwareLine, FirmwareVerdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// So many changes are told in a sentence; the others are counted.
const TOLD: usize = 6;

/// One machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FirmwarePlan {
    /// In the order in which it would be done.
    pub firmware: Vec<FirmwareLine>,
    pub bios: Vec<BiosLine>,
}

impl FirmwarePlan {
    pub fn differs(&self) -> bool {
        self.firmware.iter().any(|line| line.verdict != FirmwareVerdict::AsWanted)
            || self.bios.iter().any(|line| line.verdict != BiosVerdict::AsWanted)
    }

    /// Each thing that is not as wanted, in a few words, once.
    fn changes(&self) -> BTreeSet<String> {
        let firmware = self.firmware.iter().filter(|line| line.verdict != FirmwareVerdict::AsWanted);
        let bios = self.bios.iter().filter(|line| line.verdict != BiosVerdict::AsWanted);
        firmware.map(firmware_change).chain(bios.map(bios_change)).collect()
    }
}

fn firmware_change(line: &FirmwareLine) -> String {
    let (name, wanted) = (&line.name, &line.wanted);
    let found = line.found.as_deref().or(line.reported.as_deref()).unwrap_or_default();
    match line.verdict {
        FirmwareVerdict::AsWanted => format!("{name} as wanted"),
        FirmwareVerdict::Differs => format!("{name} {found} -> {wanted}"),
        FirmwareVerdict::FirstVia => {
            format!("{name} {found} -> {} -> {wanted}", line.via.as_deref().unwrap_or_default())
        }
        FirmwareVerdict::TooOld => format!("{name} {found} too old for {wanted}"),
        FirmwareVerdict::Newer => format!("{name} {found} newer than {wanted}"),
        FirmwareVerdict::NotReported => format!("{name} not reported"),
        FirmwareVerdict::UnknownForm | FirmwareVerdict::Incomparable => format!("{name} {found} not comparable"),
    }
}

fn bios_change(line: &BiosLine) -> String {
    let (attribute, wanted) = (&line.attribute, &line.wanted);
    match line.verdict {
        BiosVerdict::AsWanted => format!("{attribute} as wanted"),
        BiosVerdict::Differs => format!("{attribute} to be set to {wanted}"),
        BiosVerdict::Pending => format!("{attribute} {wanted} at the next boot"),
        BiosVerdict::NotRead => format!("{attribute} not read"),
        BiosVerdict::NotMapped | BiosVerdict::NotReported | BiosVerdict::Ambiguous => {
            format!("{attribute} not known there")
        }
        BiosVerdict::ReadOnly | BiosVerdict::NotOffered | BiosVerdict::NotProven | BiosVerdict::NotWritten => {
            format!("{attribute} not {wanted}, not to be set from here")
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    pub what: String,
    /// On how many machines.
    pub machines: usize,
}

/// All machines of one model that were asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ModelOutlook {
    pub model: String,
    pub machines: usize,
    pub differ: usize,
    /// Machines that could not be read.
    pub unread: usize,
    /// The most frequent first.
    pub changes: Vec<Change>,
    /// `12 of 40 machines differ: bios 2.1 -> 2.4 on 9, ...`
    pub words: String,
}

/// Sums up by model; `None` stands for a machine that could not be read.
pub fn by_model<'a>(machines: impl IntoIterator<Item = (&'a str, Option<&'a FirmwarePlan>)>) -> Vec<ModelOutlook> {
    let mut models: BTreeMap<&str, Vec<Option<&FirmwarePlan>>> = BTreeMap::new();
    for (model, plan) in machines {
        models.entry(model).or_default().push(plan);
    }
    models.into_iter().map(|(model, plans)| outlook(model, &plans)).collect()
}

fn outlook(model: &str, plans: &[Option<&FirmwarePlan>]) -> ModelOutlook {
    let read: Vec<&FirmwarePlan> = plans.iter().copied().flatten().collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for change in read.iter().flat_map(|plan| plan.changes()) {
        *counts.entry(change).or_default() += 1;
    }
    let mut changes: Vec<Change> = counts.into_iter().map(|(what, machines)| Change { what, machines }).collect();
    changes.sort_by(|a, b| b.machines.cmp(&a.machines).then_with(|| a.what.cmp(&b.what)));
    let (machines, unread) = (plans.len(), plans.len() - read.len());
    let differ = read.iter().filter(|plan| plan.differs()).count();
    let words = words(machines, differ, unread, &changes);
    ModelOutlook { model: model.to_owned(), machines, differ, unread, changes, words }
}

fn words(machines: usize, differ: usize, unread: usize, changes: &[Change]) -> String {
    let of = if machines == 1 { "1 machine".to_owned() } else { format!("{machines} machines") };
    let mut text = match differ {
        0 if unread == machines => format!("none of {of} could be read"),
        0 => format!("none of {of} differs"),
        1 => format!("1 of {of} differs"),
        _ => format!("{differ} of {of} differ"),
    };
    let told: Vec<String> =
        changes.iter().take(TOLD).map(|change| format!("{} on {}", change.what, change.machines)).collect();
    if !told.is_empty() {
        text = format!("{text}: {}", told.join(", "));
    }
    if let Some(more) = changes.len().checked_sub(TOLD).filter(|more| *more > 0) {
        text = format!("{text}, and {more} more");
    }
    match unread {
        0 => text,
        _ if unread == machines => text,
        _ => format!("{text}; {unread} could not be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_catalog::Reset;

    fn bios(found: &str, verdict: FirmwareVerdict) -> FirmwareLine {
        FirmwareLine {
            name: "bios".into(),
            component: Some("BIOS".into()),
            reported: Some(found.into()),
            found: Some(found.into()),
            wanted: "2.4".into(),
            via: None,
            order: 1,
            reset: Reset::Machine,
            verdict,
            words: String::new(),
        }
    }

    fn machine(found: &str, verdict: FirmwareVerdict) -> FirmwarePlan {
        FirmwarePlan { firmware: vec![bios(found, verdict), bios(found, verdict)], bios: Vec::new() }
    }

    #[test]
    fn a_model_is_summed_up_in_a_sentence() {
        let (old, right) = (machine("2.1", FirmwareVerdict::Differs), machine("2.4", FirmwareVerdict::AsWanted));
        let newer = machine("2.5", FirmwareVerdict::Newer);
        let mut all: Vec<(&str, Option<&FirmwarePlan>)> = vec![("a", Some(&old)); 9];
        all.extend(vec![("a", Some(&right)); 28]);
        all.extend([("a", Some(&newer)), ("a", None), ("a", None), ("b", Some(&right)), ("c", None)]);
        let models = by_model(all);
        assert_eq!(
            models.iter().map(|model| model.words.as_str()).collect::<Vec<_>>(),
            [
                "10 of 40 machines differ: bios 2.1 -> 2.4 on 9, bios 2.5 newer than 2.4 on 1; 2 could not be read",
                "none of 1 machine differs",
                "none of 1 machine could be read",
            ]
        );
        assert_eq!((models[0].differ, models[0].unread, models[0].machines), (10, 2, 40));
    }

    #[test]
    fn more_changes_than_a_sentence_holds_are_counted() {
        let plans: Vec<FirmwarePlan> = (0..9).map(|n| machine(&format!("1.{n}"), FirmwareVerdict::Differs)).collect();
        let models = by_model(plans.iter().map(|plan| ("a", Some(plan))));
        assert!(models[0].words.ends_with("bios 1.5 -> 2.4 on 1, and 3 more"), "{}", models[0].words);
        assert_eq!(models[0].changes.len(), 9);
    }
}
