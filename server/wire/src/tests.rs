//! What the wire promises to both ends: old bytes stay, new words are unknown, no text ends a reader.

use super::*;
use proptest::prelude::*;

#[test]
fn a_word_of_a_newer_version_reads_as_unknown() {
    let standing: Standing = serde_json::from_str(r#"{"type":"teleport","epoch":7,"to":"moon"}"#).unwrap();
    assert_eq!(standing, Standing::Unknown);
    let report: Report = serde_json::from_str(r#"{"type":"levitated","height":3}"#).unwrap();
    assert_eq!(report, Report::Unknown);
    let permission: Permission = serde_json::from_str(r#"{"type":"maybe"}"#).unwrap();
    assert_eq!(permission, Permission::Unknown);
}

#[test]
fn versions_meet_at_the_highest_both_speak() {
    let v = |min, max| Speaks { min, max };
    assert_eq!(v(1, 3).common(v(2, 5)), Some(3));
    assert_eq!(v(1, 1).common(v(2, 5)), None);
    assert_eq!(v(4, 5).common(v(1, 4)), Some(4));
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    for (name, golden) in [
        ("turn", include_str!("../golden/v1/turn.json")),
        ("reply", include_str!("../golden/v1/reply.json")),
        ("reply that brings the agent", include_str!("../golden/v1/reply-brings-agent.json")),
    ] {
        let ours = match name {
            "turn" => serde_json::to_string_pretty(&serde_json::from_str::<Turn>(golden).unwrap()).unwrap(),
            _ => serde_json::to_string_pretty(&serde_json::from_str::<Reply>(golden).unwrap()).unwrap(),
        };
        assert_eq!(ours.trim(), golden.trim(), "{name}");
    }
}

#[test]
fn nothing_wiped_is_not_wiped() {
    let disk = DiskRef { wwn: None, serial: Some("S1".into()), size_bytes: 10 };
    let wiped = |verified, error: Option<&str>| Wiped {
        epoch: Epoch(1),
        disks: vec![report::WipedDisk {
            disk: disk.clone(),
            method: "overwrite".into(),
            verified,
            error: error.map(Into::into),
        }],
    };
    assert!(wiped(true, None).ok(std::slice::from_ref(&disk)));
    assert!(!wiped(true, None).ok(&[]), "an empty order is not fulfilled");
    assert!(!wiped(false, None).ok(std::slice::from_ref(&disk)));
    assert!(!wiped(true, Some("write error")).ok(std::slice::from_ref(&disk)));
    let other = DiskRef { serial: Some("S2".into()), ..disk.clone() };
    assert!(!wiped(true, None).ok(&[disk, other]), "a disk left out is not wiped");
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        let _ = serde_json::from_str::<Turn>(&text);
        let _ = serde_json::from_str::<Reply>(&text);
    }
}
