//! Boot overrides in Redfish's words (ComputerSystem.Boot; B7.3 to B7.5, B7.10).

use super::json::{text, texts};
use crate::{BootDevice, BootOrder, BootSet, Fault, Quirk, Target};
use muster_names::FirmwareMode;
use serde_json::{Map, Value};

/// How much of the override goes into one PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchStyle {
    /// What changes: some BMCs refuse a mode they hold to be read-only.
    Minimal,
    /// Everything, changed or not: others take what is missing for its default, or refuse.
    Full,
}

impl PatchStyle {
    pub fn of(target: &Target) -> Self {
        // A settings resource that shows nothing does not say what could be left out.
        let full = [Quirk::FullBootPatch, Quirk::BootOnceForgetsUefi, Quirk::BootInSettings];
        if full.iter().any(|quirk| target.has(*quirk)) { Self::Full } else { Self::Minimal }
    }
}

/// What a device is called; some have one of several names, of which the BMC lists its own.
fn names(device: BootDevice) -> &'static [&'static str] {
    match device {
        BootDevice::Pxe => &["Pxe"],
        BootDevice::Disk => &["Hdd"],
        BootDevice::Http => &["UefiHttp"],
        BootDevice::Cd => &["Cd", "UsbCd"],
        BootDevice::None => &["None"],
    }
}

/// The name that this BMC has for a device; the standard's where it lists none of them.
fn device(device: BootDevice, now: &Value) -> &'static str {
    let listed = texts(now, TARGETS).unwrap_or_default();
    let names = names(device);
    let known = names.iter().find(|name| listed.iter().any(|word| word == *name));
    known.or(names.first()).copied().unwrap_or_default()
}

const TARGETS: &str = "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues";

/// Whether a BMC that lists its boot sources lists this one; one that lists none is asked. Only what not every BMC has is
/// looked for: lists leave out what goes without saying.
pub fn offers(wanted: BootDevice, now: &Value) -> Result<(), Fault> {
    let sought = matches!(wanted, BootDevice::Http | BootDevice::Cd);
    match texts(now, TARGETS) {
        Some(listed) if sought && !listed.iter().any(|word| names(wanted).contains(&word.as_str())) => {
            Err(Fault::NotOffered(format!("{} as a boot source; it lists {}", device(wanted, now), listed.join(", "))))
        }
        _ => Ok(()),
    }
}

pub fn mode(mode: FirmwareMode) -> &'static str {
    match mode {
        FirmwareMode::Uefi => "UEFI",
        FirmwareMode::Bios => "Legacy",
    }
}

fn enabled(order: BootOrder) -> &'static str {
    match order.device {
        BootDevice::None => "Disabled",
        _ if order.once => "Once",
        _ => "Continuous",
    }
}

/// The body of the PATCH. `now` is the resource as read. An address for HTTP boot goes where the resource has room for one
/// (B7.4); elsewhere firmware hears it from our DHCP server.
pub fn patch(order: BootOrder, uri: Option<&str>, style: PatchStyle, target: &Target, now: &Value) -> Value {
    let mut boot = Map::new();
    let mut put = |name: &str, word: &str| boot.insert(format!("BootSourceOverride{name}"), word.into());
    put("Enabled", enabled(order));
    // To disable with target None is refused by some; Minimal leaves the target as it was.
    if style == PatchStyle::Full || order.device != BootDevice::None {
        put("Target", device(order.device, now));
    }
    let held = text(now, "/Boot/BootSourceOverrideMode");
    let other = held.is_some_and(|held| held != mode(order.mode)) && order.device != BootDevice::None;
    if (style == PatchStyle::Full || other) && !target.has(Quirk::BootModeElsewhere) {
        put("Mode", mode(order.mode));
    }
    if let Some(uri) = uri.filter(|_| takes_uri(now)) {
        boot.insert("HttpBootUri".into(), uri.into());
    }
    Value::Object(Map::from_iter([("Boot".to_string(), Value::Object(boot))]))
}

fn takes_uri(now: &Value) -> bool {
    now.pointer("/Boot/HttpBootUri").is_some()
}

/// Whether the address that was sent is the one held, as far as the BMC tells it.
pub fn holds(uri: Option<&str>, now: &Value) -> bool {
    let told = text(now, "/Boot/HttpBootUri");
    uri.zip(told.as_deref()).is_none_or(|(uri, told)| uri == told)
}

/// Whether a resource tells of overrides at all.
pub fn is_told(resource: &Value) -> bool {
    resource.pointer("/Boot/BootSourceOverrideTarget").is_some()
}

/// The override of a System (or of its settings object).
pub fn read(system: &Value) -> BootSet {
    let said = |name: &str| text(system, &format!("/Boot/BootSourceOverride{name}"));
    let (enabled, target, mode) = (said("Enabled"), said("Target"), said("Mode"));
    let off = enabled.as_deref() == Some("Disabled");
    let device = match target.as_deref() {
        _ if off => Some(BootDevice::None),
        Some("None") => Some(BootDevice::None),
        Some("Pxe") => Some(BootDevice::Pxe),
        Some("Hdd") => Some(BootDevice::Disk),
        Some("UefiHttp") => Some(BootDevice::Http),
        Some("Cd" | "UsbCd") => Some(BootDevice::Cd),
        _ => None,
    };
    let or = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".into());
    BootSet {
        device,
        mode: match mode.as_deref() {
            Some("UEFI") => Some(FirmwareMode::Uefi),
            Some("Legacy") => Some(FirmwareMode::Bios),
            _ => None,
        },
        once: match enabled.as_deref() {
            Some("Once") => Some(true),
            Some("Continuous") => Some(false),
            _ => None,
        },
        said: format!("{} {} {}", or(&enabled), or(&target), or(&mode)),
    }
}

/// Whether what was read back is what was asked for. A mode that the BMC does not tell is not held against it.
pub fn agrees(order: BootOrder, found: &BootSet, target: &Target) -> bool {
    if found.device != Some(order.device) {
        return false;
    }
    let partial = target.has(Quirk::BootReadBackPartial) || order.device == BootDevice::None;
    let once = found.once == Some(order.once) || (order.once && target.has(Quirk::BootOnceStays));
    partial || (once && found.mode.is_none_or(|mode| mode == order.mode))
}

/// The words in which [`BootSet::said`] would have it.
pub fn words(order: BootOrder) -> String {
    format!("{} {} {}", enabled(order), device(order.device, &Value::Null), mode(order.mode))
}

/// The `If-Match` values to try in turn (B7.3): as given, strong, without quotes, none. An empty tag is no tag.
pub fn matches(target: &Target, etag: Option<&str>) -> Vec<Option<String>> {
    if target.has(Quirk::NoIfMatch) {
        return vec![None];
    }
    let mut tries = Vec::new();
    let tag = etag.map_or("", str::trim);
    let strong = tag.trim_start_matches("W/");
    let bare = strong.trim_matches('"');
    for form in [tag, strong, bare] {
        if !bare.is_empty() && !tries.contains(&Some(form.to_string())) {
            tries.push(Some(form.to_string()));
        }
    }
    match (target.has(Quirk::NeedsIfMatch), tries.is_empty()) {
        (true, true) => tries.push(Some("*".into())),
        (true, false) => {}
        (false, _) => tries.push(None),
    }
    tries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, Secret};
    use serde_json::json;

    const PXE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: true };

    fn target(quirks: &[Quirk]) -> Target {
        let mut target = Target::new(Protocol::Redfish, "x", "u", Secret::new("p"));
        target.quirks = quirks.to_vec();
        target
    }

    #[test]
    fn b7_5_minimal_sends_what_changes_and_full_sends_all() {
        let plain = target(&[]);
        let now = json!({"Boot": {"BootSourceOverrideMode": "UEFI"}});
        let minimal = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}});
        assert_eq!(patch(PXE, None, PatchStyle::Minimal, &plain, &now), minimal);
        let legacy = json!({"Boot": {"BootSourceOverrideMode": "Legacy"}});
        let full = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe",
            "BootSourceOverrideMode": "UEFI"}});
        assert_eq!(patch(PXE, None, PatchStyle::Full, &plain, &now), full);
        assert_eq!(patch(PXE, None, PatchStyle::Minimal, &plain, &legacy), full);
        let none = BootOrder { device: BootDevice::None, ..PXE };
        let disabled = json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}});
        assert_eq!(patch(none, None, PatchStyle::Minimal, &plain, &legacy), disabled);
    }

    #[test]
    fn b7_5_a_mode_that_is_set_elsewhere_is_in_no_patch() {
        let quirk = target(&[Quirk::BootModeElsewhere]);
        for (style, now) in [
            (PatchStyle::Minimal, json!({"Boot": {"BootSourceOverrideMode": "Legacy"}})),
            (PatchStyle::Full, json!({"Boot": {}})),
        ] {
            let sent = patch(PXE, None, style, &quirk, &now);
            assert!(sent.pointer("/Boot/BootSourceOverrideTarget").is_some(), "{sent}");
            assert_eq!(sent.pointer("/Boot/BootSourceOverrideMode"), None, "{style:?}");
        }
    }

    #[test]
    fn b7_3_tags_are_tried_as_given_then_strong_then_bare_then_not_at_all() {
        let forms = |quirks: &[Quirk], etag| {
            let tries = matches(&target(quirks), etag);
            tries.into_iter().map(|form| form.unwrap_or("-".into())).collect::<Vec<_>>()
        };
        assert_eq!(forms(&[], Some("W/\"1a\"")), ["W/\"1a\"", "\"1a\"", "1a", "-"]);
        assert_eq!(forms(&[], Some("\"1a\"")), ["\"1a\"", "1a", "-"]);
        for empty in [Some(""), Some("\"\""), Some("W/\"\""), None] {
            assert_eq!(forms(&[], empty), ["-"], "{empty:?}");
        }
        assert_eq!(forms(&[Quirk::NeedsIfMatch], Some("\"1a\"")), ["\"1a\"", "1a"]);
        assert_eq!(forms(&[Quirk::NeedsIfMatch], None), ["*"]);
        assert_eq!(forms(&[Quirk::NoIfMatch], Some("\"1a\"")), ["-"]);
    }

    #[test]
    fn b7_10_what_is_read_back_has_to_agree() {
        let found = |enabled: &str, target: &str, mode: Value| {
            read(&json!({"Boot": {"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": target,
                "BootSourceOverrideMode": mode}}))
        };
        let strict = target(&[]);
        assert!(agrees(PXE, &found("Once", "Pxe", json!("UEFI")), &strict));
        assert!(agrees(PXE, &found("Once", "Pxe", Value::Null), &strict));
        assert!(!agrees(PXE, &found("Once", "Pxe", json!("Legacy")), &strict));
        assert!(!agrees(PXE, &found("Continuous", "Pxe", json!("UEFI")), &strict));
        assert!(agrees(PXE, &found("Continuous", "Pxe", json!("UEFI")), &target(&[Quirk::BootOnceStays])));
        assert!(!agrees(PXE, &found("Once", "Hdd", json!("UEFI")), &target(&[Quirk::BootReadBackPartial])));
        assert!(!agrees(PXE, &found("Disabled", "Pxe", json!("UEFI")), &strict));
    }
}
