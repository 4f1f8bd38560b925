//! Firmware wishes that can be read and fulfilled, and names of attributes that say one thing each.

use super::{evidence_form_at, twice};
use crate::read::Read;
use crate::version::compare;
use crate::{BmcProfile, Evidence, FirmwareWant, Model, Slip};
use std::cmp::Ordering;

pub fn wants(read: &Read<'_, Model>, slips: &mut Vec<Slip>) {
    for (at, want) in read.value.firmware.iter().enumerate() {
        let mut say =
            |key: &str, message: String| slips.push(read.document.slip_at(&format!("firmware.{at}.{key}"), message));
        if want.name.trim().is_empty() {
            say("name", "name what plans shall call it: \"bios\", \"bmc\"".into());
        }
        if want.component.is_empty() || want.component.iter().any(crate::Pattern::is_hollow) {
            let message = "patterns for what the BMC calls it must be there and say something, like [\"BIOS\"]";
            say("component", message.into());
        }
        if let Err(why) = want.reported.compiled() {
            let expected = "expected a regular expression with one group in parentheses, around what is compared";
            say("reported", format!("{:?}: {why}; {expected}", want.reported.0));
        }
        for (key, message) in steps(want) {
            say(key, message);
        }
        evidence(read, &format!("firmware.{at}.evidence"), &want.evidence, slips);
    }
    let names = read.value.firmware.iter().enumerate();
    twice(names.map(|(at, want)| (read, format!("firmware.{at}.name"), want.name.clone())), "wish for", slips);
    let order = &read.value.bios.boot_order;
    let repeated = order.iter().enumerate().any(|(at, source)| order.iter().take(at).any(|other| other == source));
    if repeated {
        slips.push(read.document.slip_at("bios.boot-order", "each kind stands once, where it is first met".into()));
    }
}

/// What leads to the wanted version has to lead upwards.
fn steps(want: &FirmwareWant) -> Vec<(&'static str, String)> {
    let wanted = want.wanted.trim();
    if wanted.is_empty() || compare(wanted, wanted) != Some(Ordering::Equal) {
        return vec![("wanted", "expected a version".into())];
    }
    let below = |key: &'static str, version: &str, than: &str| match compare(version, than) {
        Some(Ordering::Less | Ordering::Equal) => None,
        Some(Ordering::Greater) => Some((key, format!("{version:?} is newer than {than:?}; expected at most that"))),
        None => Some((key, format!("cannot compare {version:?} with {than:?}; write both in the form of `reported`"))),
    };
    let mut found = Vec::new();
    match (&want.from, &want.via) {
        (None, Some(_)) => {
            found.push(("via", "a step between means something beside `from` alone: give that too".into()))
        }
        (Some(from), Some(via)) => {
            found.extend(below("from", from, via));
            found.extend(below("via", via, wanted));
        }
        (Some(from), None) => found.extend(below("from", from, wanted)),
        (None, None) => {}
    }
    found
}

pub fn names(read: &Read<'_, BmcProfile>, slips: &mut Vec<Slip>) {
    for (at, row) in read.value.bios.iter().enumerate() {
        if row.name.is_hollow() {
            let message = format!("{:?} would be every attribute; expected the name of one", row.name.0);
            slips.push(read.document.slip_at(&format!("bios.{at}.name"), message));
        }
        if row.values.is_empty() {
            let message = "expected the maker's value of each word that may be wanted";
            slips.push(read.document.slip_at(&format!("bios.{at}.values"), message.into()));
        }
        let words = row.attribute.words();
        for (word, value) in &row.values {
            let path = format!("bios.{at}.values.{word}");
            if !words.contains(&word.as_str()) {
                let mut slip = read.document.slip_at(&path, format!("{word:?} is no word for {}", row.attribute));
                slip.allowed = words.iter().map(|word| (*word).to_owned()).collect();
                slips.push(slip);
            }
            let alike = row.values.iter().filter(|(_, other)| other.eq_ignore_ascii_case(value)).count();
            if alike > 1 || value.trim().is_empty() {
                let message = format!("{value:?} must be a value, and that of this word alone");
                slips.push(read.document.slip_at(&path, message));
            }
        }
        evidence(read, &format!("bios.{at}.evidence"), &row.evidence, slips);
    }
    let rows = read.value.bios.iter().enumerate();
    twice(rows.map(|(at, row)| (read, format!("bios.{at}.attribute"), row.attribute.to_string())), "name for", slips);
}

fn evidence<T>(read: &Read<'_, T>, path: &str, evidence: &Evidence, slips: &mut Vec<Slip>) {
    if *evidence == Evidence::Declared {
        let mut slip = read.document.slip_at(path, "only a rack layout can be its owner's word".into());
        slip.allowed = ["captured", "documented", "synthetic"].map(str::to_owned).to_vec();
        slips.push(slip);
    }
    evidence_form_at(read, path, evidence, slips);
}

#[cfg(test)]
mod tests {
    use crate::tests::{BMC_FILE, MODEL_FILE, files};
    use crate::{Slip, read};

    const WISH: &str = r#"
[[firmware]]
name = "bios"
component = ["BIOS"]
reported = '(\d+\.\d+)'
wanted = "2.4"
from = "1.5"
via = "2.0"
order = 2
reset = "machine"
evidence = "synthetic"
[bios]
c-states = "off"
boot-order = ["network", "disk"]
"#;
    const NAME: &str = r#"
[[bios]]
attribute = "c-states"
name = "ProcCStates"
values = { on = "Enabled", off = "Disabled" }
evidence = "synthetic"
"#;

    fn slips(file: &str, from: &str, to: &str) -> Vec<Slip> {
        let mut files = files();
        for (name, text) in &mut files {
            let added = if name == MODEL_FILE {
                WISH
            } else if name == BMC_FILE {
                NAME
            } else {
                continue;
            };
            assert!(name != file || added.contains(from), "{from}");
            text.push_str(&if name == file { added.replacen(from, to, 1) } else { added.to_owned() });
        }
        read(&files).err().unwrap_or_default()
    }

    #[test]
    fn every_slip_of_a_wish_is_told_at_its_place() {
        assert_eq!(slips("", "", ""), []);
        for (from, to, word) in [
            ("(\\d+\\.\\d+)", "(\\d+", "expected a regular expression"),
            ("(\\d+\\.\\d+)", "\\d+", "one group in parentheses"),
            ("(\\d+\\.\\d+)", "(\\d+)(\\d+)", "it has 2 groups"),
            ("[\"BIOS\"]", "[]", "say something"),
            ("[\"BIOS\"]", "[\"*\"]", "say something"),
            ("from = \"1.5\"", "from = \"2.1\"", "newer than"),
            ("from = \"1.5\"", "from = \"rc1\"", "cannot compare"),
            ("via = \"2.0\"", "via = \"2.5\"", "newer than"),
            ("from = \"1.5\"\n", "", "beside `from`"),
            ("wanted = \"2.4\"", "wanted = \"\"", "expected a version"),
            ("reset = \"machine\"", "reset = \"host\"", "allowed: none, bmc, machine"),
            ("order = 2\n", "", "order"),
            ("evidence = \"synthetic\"", "evidence = \"declared\"", "owner's word"),
            ("evidence = \"synthetic\"", "evidence = { documented = \"x\" }", "http(s) address"),
            ("c-states = \"off\"", "c-states = \"of\"", "allowed: on, off"),
            ("c-states", "cstates", "allowed: boot-mode"),
            ("\"network\", \"disk\"", "\"disk\", \"disk\"", "stands once"),
        ] {
            let found = slips(MODEL_FILE, from, to);
            assert!(
                found.iter().any(|slip| slip.file == MODEL_FILE && slip.to_string().contains(word)),
                "{to}: {found:?}"
            );
            assert!(found.iter().all(|slip| slip.line > 50), "{to}: {found:?}");
        }
    }

    #[test]
    fn every_slip_of_a_name_is_told_at_its_place() {
        for (from, to, word) in [
            ("\"ProcCStates\"", "\"*\"", "every attribute"),
            ("off = \"Disabled\"", "of = \"Disabled\"", "allowed: on, off"),
            ("off = \"Disabled\"", "off = \"enabled\"", "this word alone"),
            ("on = \"Enabled\", off = \"Disabled\"", "", "value of each word"),
            ("attribute = \"c-states\"", "attribute = \"cstates\"", "allowed: boot-mode"),
            ("evidence = \"synthetic\"", "evidence = \"declared\"", "owner's word"),
        ] {
            let found = slips(BMC_FILE, from, to);
            assert!(
                found.iter().any(|slip| slip.file == BMC_FILE && slip.to_string().contains(word)),
                "{to}: {found:?}"
            );
        }
        let twice = format!("\n{NAME}");
        let mut files = files();
        files.iter_mut().filter(|(name, _)| name == BMC_FILE).for_each(|(_, text)| *text += &format!("{NAME}{twice}"));
        let found = read(&files).unwrap_err();
        assert!(found.iter().any(|slip| slip.message.contains("a second name for c-states")), "{found:?}");
    }
}
