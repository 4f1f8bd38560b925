//! Boots as real firmware made them: OVMF in QEMU, its list as `tests/prove/boot-timeline.sh` keeps it. What the rules say
//! of a recorded boot stays as it is, whatever they learn besides.

use super::boots::{Boot, boots};
use super::entry::Entry;
use muster_names::Millis;

fn recorded(lines: &str) -> Vec<Boot> {
    let entries: Vec<Entry> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = entries.iter().map(|entry| entry.at).max().unwrap();
    boots(entries, &[], Millis(last.0 + 30_000))
}

/// Each stage with its length in tenths of a second.
fn stages(boot: &Boot) -> Vec<(&'static str, Option<i64>)> {
    boot.stages.iter().map(|span| (span.stage.label(), span.millis.map(|millis| millis / 100))).collect()
}

#[test]
fn a_recorded_boot_of_uefi_firmware_is_one_boot_with_its_stages_and_came_to_its_agent() {
    let all = recorded(include_str!("recorded/uefi.jsonl"));
    assert_eq!(all.len(), 1);
    let boot = all.first().unwrap();
    assert_eq!(boot.diagnosis.label(), "agent-spoke");
    let lengths = [43, 36, 25, 0, 6, 120].map(Some);
    let names = ["power", "address", "loader", "script", "kernel", "system", "agent"];
    assert_eq!(stages(boot), names.into_iter().zip(lengths.into_iter().chain([None])).collect::<Vec<_>>());
}

#[test]
fn a_recorded_boot_whose_loader_is_missing_names_the_file() {
    let all = recorded(include_str!("recorded/missing-loader.jsonl"));
    assert_eq!(all.len(), 1);
    let boot = all.first().unwrap();
    assert_eq!(boot.diagnosis.to_string(), "the loader's file ipxe.efi is not there");
    assert_eq!(stages(boot), [("power", Some(41)), ("address", Some(39)), ("loader", None)]);
}
