//! What differs between the settings that a model wants and those that are in force, and which of them may be written.
//!
//! An aim is a wish with the name and the value that it has on this kind of BMC. What is to be written is frozen as aims:
//! a data file that is edited in between changes no act that was recorded.

use muster_catalog::{
    BiosAttribute, BiosSetting, BiosTold, BiosWants, BmcProfile, BootSource, Pattern, usable_for_writes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One wanted attribute, and what it is on this kind of BMC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BiosAim {
    pub attribute: BiosAttribute,
    /// `on`, `uefi`.
    pub wanted: String,
    /// `None`: the profile has no name or no value for it.
    pub there: Option<BiosThere>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BiosThere {
    pub name: Pattern,
    pub value: String,
    /// It rests on more than plausibility.
    pub may_be_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BiosVerdict {
    AsWanted,
    /// It would be written, and take effect at the next boot.
    Differs,
    /// Written already; it takes effect at the next boot.
    Pending,
    ReadOnly,
    /// The profile has no name or no value for it.
    NotMapped,
    /// The BMC has no attribute of that name.
    NotReported,
    /// Several attributes of the BMC could be meant.
    Ambiguous,
    /// The BMC does not list the value among those that the attribute takes.
    NotOffered,
    /// It differs, and the name or value rests on synthetic evidence: compared and never written.
    NotProven,
    /// It differs, and nothing here writes it.
    NotWritten,
    /// The settings could not be read.
    NotRead,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BiosLine {
    /// `c-states`; `boot-order`.
    pub attribute: String,
    /// What the BMC calls it.
    pub name: Option<String>,
    pub wanted: String,
    /// The BMC's own value, in force now.
    pub found: Option<String>,
    /// In force after the next boot, where that is another.
    pub pending: Option<String>,
    /// What would be written.
    pub writes: Option<String>,
    pub verdict: BiosVerdict,
    /// The verdict in words.
    pub words: String,
}

/// The wishes of a model in the words of its BMC.
pub fn bios_aims(wants: &BiosWants, profile: Option<&BmcProfile>) -> Vec<BiosAim> {
    let there = |attribute: BiosAttribute, word: &str| {
        let profile = profile?;
        let row = profile.bios.iter().find(|row| row.attribute == attribute)?;
        let may_be_written = usable_for_writes(&row.evidence) && usable_for_writes(&profile.evidence);
        Some(BiosThere { name: row.name.clone(), value: row.values.get(word)?.clone(), may_be_written })
    };
    let aim = |(attribute, word): (BiosAttribute, &str)| BiosAim {
        attribute,
        wanted: word.to_owned(),
        there: there(attribute, word),
    };
    wants.attributes().into_iter().map(aim).collect()
}

/// Every aim, and the boot order, against what the BMC tells; or why it tells nothing.
pub fn judge_bios(aims: &[BiosAim], order: &[BootSource], told: Result<&BiosTold, &str>) -> Vec<BiosLine> {
    let told = match told {
        Ok(told) => told,
        Err(why) => {
            let unread = |line: BiosLine| BiosLine { verdict: BiosVerdict::NotRead, words: why.to_owned(), ..line };
            let order = (!order.is_empty()).then(|| order_line(order));
            return aims.iter().map(line).chain(order).map(unread).collect();
        }
    };
    let order = (!order.is_empty()).then(|| judge_order(order, told.boot_order.as_deref()));
    aims.iter().map(|aim| judge(aim, told)).chain(order).collect()
}

/// What the lines would write, by the BMC's names.
pub fn bios_writes(lines: &[BiosLine]) -> BTreeMap<String, String> {
    lines.iter().filter_map(|line| Some((line.name.clone()?, line.writes.clone()?))).collect()
}

fn line(aim: &BiosAim) -> BiosLine {
    BiosLine {
        attribute: aim.attribute.word().to_owned(),
        name: None,
        wanted: aim.wanted.clone(),
        found: None,
        pending: None,
        writes: None,
        verdict: BiosVerdict::NotMapped,
        words: String::new(),
    }
}

fn judge(aim: &BiosAim, told: &BiosTold) -> BiosLine {
    let line = line(aim);
    let said = |verdict, words: String| BiosLine { verdict, words, ..line.clone() };
    let Some(there) = &aim.there else {
        let words = format!("the profile of its BMC has no name and value for {} {}", aim.attribute, aim.wanted);
        return said(BiosVerdict::NotMapped, words);
    };
    let exact = told.settings.get_key_value(&there.name.0);
    let fitting: Vec<_> = match exact {
        Some(found) => vec![found],
        None => told.settings.iter().filter(|(name, _)| there.name.fits(name)).collect(),
    };
    match fitting.as_slice() {
        [] => said(BiosVerdict::NotReported, format!("its BMC has no attribute {}", there.name.0)),
        [(name, setting)] => settle(line, there, name, setting),
        several => {
            let names: Vec<&str> = several.iter().take(4).map(|(name, _)| name.as_str()).collect();
            said(BiosVerdict::Ambiguous, format!("{} fits several attributes: {}", there.name.0, names.join(", ")))
        }
    }
}

fn settle(line: BiosLine, there: &BiosThere, name: &str, setting: &BiosSetting) -> BiosLine {
    let is = |value: &str| value.trim().eq_ignore_ascii_case(there.value.trim());
    let (now, next) = (is(&setting.value), setting.pending.as_deref().map(is));
    // In the BMC's own letters, where it lists what it takes.
    let own = setting.offered.as_ref().and_then(|offered| offered.iter().find(|offered| is(offered)));
    let value = own.cloned().unwrap_or_else(|| there.value.clone());
    let change = format!("{name}: {} -> {value}", setting.value);
    let after = match &setting.pending {
        Some(pending) if next == Some(false) => format!("; {pending} waits for the next boot there"),
        _ => String::new(),
    };
    let (verdict, words) = match (now, next) {
        (true, None | Some(true)) => (BiosVerdict::AsWanted, format!("as wanted: {name} is {}", setting.value)),
        (false, Some(true)) => (BiosVerdict::Pending, format!("{change} takes effect at the next boot")),
        _ if setting.read_only => {
            (BiosVerdict::ReadOnly, format!("{change}, and its BMC holds it read-only as it is set now{after}"))
        }
        _ if setting.offered.is_some() && own.is_none() => {
            (BiosVerdict::NotOffered, format!("{change}, and its BMC takes {} there", offered(setting)))
        }
        _ if !there.may_be_written => {
            let words = format!("{change}; compared only: name and value rest on synthetic evidence{after}");
            (BiosVerdict::NotProven, words)
        }
        _ => (BiosVerdict::Differs, format!("would be set: {change}, in effect after the next boot{after}")),
    };
    let writes = (verdict == BiosVerdict::Differs).then_some(value);
    let pending = setting.pending.clone();
    BiosLine {
        name: Some(name.to_owned()),
        found: Some(setting.value.clone()),
        pending,
        writes,
        verdict,
        words,
        ..line
    }
}

fn offered(setting: &BiosSetting) -> String {
    let all = setting.offered.as_deref().unwrap_or_default();
    let shown: Vec<&str> = all.iter().take(8).map(String::as_str).collect();
    format!("{}{}", shown.join(", "), if all.len() > shown.len() { ", ..." } else { "" })
}

fn order_line(wanted: &[BootSource]) -> BiosLine {
    BiosLine {
        attribute: "boot-order".into(),
        name: None,
        wanted: words(wanted),
        found: None,
        pending: None,
        writes: None,
        verdict: BiosVerdict::NotReported,
        words: String::new(),
    }
}

fn judge_order(wanted: &[BootSource], found: Option<&[BootSource]>) -> BiosLine {
    let line = order_line(wanted);
    let Some(found) = found else { return BiosLine { words: "its BMC tells no boot order".into(), ..line } };
    let mut kinds: Vec<BootSource> = Vec::new();
    found.iter().for_each(|source| {
        if !kinds.contains(source) {
            kinds.push(*source);
        }
    });
    let now = words(&kinds);
    let (verdict, said) = match kinds.starts_with(wanted) {
        true => (BiosVerdict::AsWanted, format!("as wanted: {now}")),
        false => {
            let said = format!(
                "is {now}; it is not written from here: the boot device is set before each boot that needs one"
            );
            (BiosVerdict::NotWritten, said)
        }
    };
    BiosLine { found: Some(now), verdict, words: said, ..line }
}

fn words(order: &[BootSource]) -> String {
    order.iter().map(|source| source.word()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_catalog::Switch;
    use proptest::prelude::*;

    fn aim(name: &str, may_be_written: bool) -> BiosAim {
        let there = BiosThere { name: Pattern(name.into()), value: "Disabled".into(), may_be_written };
        BiosAim { attribute: BiosAttribute::CStates, wanted: "off".into(), there: Some(there) }
    }

    fn told(settings: &[(&str, BiosSetting)]) -> BiosTold {
        let settings = settings.iter().map(|(name, setting)| ((*name).to_owned(), setting.clone())).collect();
        BiosTold { settings, boot_order: None }
    }

    fn set(value: &str, pending: Option<&str>) -> BiosSetting {
        BiosSetting { value: value.into(), pending: pending.map(str::to_owned), ..BiosSetting::default() }
    }

    #[test]
    fn each_verdict_says_what_would_be_written() {
        let read_only = BiosSetting { read_only: true, ..set("Enabled", None) };
        let other = BiosSetting { offered: Some(vec!["Auto".into()]), ..set("Auto", None) };
        let letters = BiosSetting { offered: Some(vec!["ENABLED".into(), "DISABLED".into()]), ..set("ENABLED", None) };
        for (setting, verdict, writes) in [
            (set("Disabled", None), BiosVerdict::AsWanted, None),
            (set(" disabled ", Some("Disabled")), BiosVerdict::AsWanted, None),
            (set("Enabled", None), BiosVerdict::Differs, Some("Disabled")),
            (set("Enabled", Some("Disabled")), BiosVerdict::Pending, None),
            (set("Enabled", Some("Auto")), BiosVerdict::Differs, Some("Disabled")),
            (set("Disabled", Some("Auto")), BiosVerdict::Differs, Some("Disabled")),
            (read_only, BiosVerdict::ReadOnly, None),
            (other, BiosVerdict::NotOffered, None),
            (letters, BiosVerdict::Differs, Some("DISABLED")),
        ] {
            let lines = judge_bios(&[aim("ProcC*", true)], &[], Ok(&told(&[("ProcCStates", setting.clone())])));
            let [line] = lines.as_slice() else { panic!("{lines:?}") };
            assert_eq!((line.verdict, line.writes.as_deref()), (verdict, writes), "{setting:?}: {}", line.words);
            assert_eq!(bios_writes(&lines).len(), usize::from(writes.is_some()));
        }
    }

    #[test]
    fn what_is_only_plausible_is_compared_and_never_written() {
        let differs = told(&[("ProcCStates", set("Enabled", None))]);
        let lines = judge_bios(&[aim("ProcCStates", false)], &[], Ok(&differs));
        assert_eq!((lines[0].verdict, lines[0].writes.as_deref()), (BiosVerdict::NotProven, None));
        assert!(bios_writes(&lines).is_empty());
        let right = told(&[("ProcCStates", set("Disabled", None))]);
        assert_eq!(judge_bios(&[aim("ProcCStates", false)], &[], Ok(&right))[0].verdict, BiosVerdict::AsWanted);
    }

    #[test]
    fn a_name_that_fits_none_or_several_is_nobodys() {
        let two = told(&[("Boot#1", set("a", None)), ("Boot#2", set("b", None))]);
        assert_eq!(judge_bios(&[aim("Boot*", true)], &[], Ok(&two))[0].verdict, BiosVerdict::Ambiguous);
        assert_eq!(judge_bios(&[aim("Boot#1", true)], &[], Ok(&two))[0].verdict, BiosVerdict::Differs);
        assert_eq!(judge_bios(&[aim("Other", true)], &[], Ok(&two))[0].verdict, BiosVerdict::NotReported);
        let wants = BiosWants { turbo: Some(Switch::On), ..BiosWants::default() };
        let lines = judge_bios(&bios_aims(&wants, None), &[], Ok(&two));
        assert_eq!(lines[0].verdict, BiosVerdict::NotMapped);
        assert!(lines[0].words.contains("turbo on"), "{}", lines[0].words);
    }

    #[test]
    fn a_boot_order_begins_as_wanted_or_is_told_and_left() {
        use BootSource::{Disk, Http, Network};
        let judged = |found: Option<Vec<BootSource>>| {
            let told = BiosTold { boot_order: found, ..BiosTold::default() };
            judge_bios(&[], &[Network, Disk], Ok(&told)).remove(0)
        };
        assert_eq!(judged(Some(vec![Network, Network, Disk, Network, Http])).verdict, BiosVerdict::AsWanted);
        let line = judged(Some(vec![Disk, Network]));
        assert_eq!((line.verdict, line.writes.clone()), (BiosVerdict::NotWritten, None));
        assert!(line.words.contains("is disk, network"), "{}", line.words);
        assert_eq!(judged(None).verdict, BiosVerdict::NotReported);
        assert_eq!(judged(Some(vec![Network])).verdict, BiosVerdict::NotWritten);
    }

    #[test]
    fn what_was_not_read_is_said_in_every_line() {
        let lines = judge_bios(&[aim("a", true)], &[BootSource::Disk], Err("not told over IPMI"));
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.verdict == BiosVerdict::NotRead && line.words == "not told over IPMI"));
        assert!(bios_writes(&lines).is_empty());
    }

    proptest! {
        #[test]
        fn only_what_differs_is_written_and_no_words_panic(
            name in "\\PC{0,6}", value in "\\PC{0,6}", pending in proptest::option::of("\\PC{0,6}"),
            read_only: bool, offered in proptest::option::of(proptest::collection::vec("\\PC{0,4}", 0..3)),
        ) {
            let setting = BiosSetting { value: value.clone(), pending, read_only, offered };
            let lines = judge_bios(&[aim(&name, true)], &[], Ok(&told(&[(&name, setting)])));
            for line in &lines {
                prop_assert_eq!(line.writes.is_some(), line.verdict == BiosVerdict::Differs);
                prop_assert!(!(read_only && line.writes.is_some()));
            }
        }
    }
}
