//! How a BMC wants to be written to, and what it does not tell: decided over what it answered (B7.3, B7.13).

use super::boot::{self, PatchStyle};
use super::connection::{Outcome, Request};
use super::{Turn, asks_for_more, finish, json, place, quirks};
use crate::lane::Sent;
use crate::{Fault, Quirk, Target, WriteHabit};
use reqwest::Method;
use serde_json::{Map, Value};

pub async fn probe_write(turn: &Turn<'_>, sent: &Sent) -> Result<WriteHabit, Fault> {
    let (path, system) = turn.system().await?;
    quirks::in_self_test(&system.body, turn.target)?;
    let (path, now) = place(turn, path, system).await?;
    let held = |style| {
        let nothing = || Fault::NotOffered("a boot override, which is what a change is tried on".into());
        as_held(&now.body, style, turn.target).ok_or_else(nothing)
    };
    let (body, whole) = (held(PatchStyle::of(turn.target))?, held(PatchStyle::Full)?);
    let mut trial = Trial { turn, path, body, whole };
    let without = trial.is_taken(None, sent).await?;
    // Taken or not, the tag may be another now.
    let tag = turn.get(&trial.path).await?.etag();
    let mut taken = None;
    for form in forms(turn.target, tag.as_deref()) {
        if trial.is_taken(Some(&form), sent).await? {
            taken = Some(form);
            break;
        }
    }
    conclude(without, tag.as_deref(), taken.as_deref()).ok_or_else(|| {
        Fault::Declined("it refuses a change with If-Match in every form, and without it too (HTTP 412 or 428)".into())
    })
}

/// A change that changes nothing, where it is sent, and all of it for a BMC that wants more.
struct Trial<'a> {
    turn: &'a Turn<'a>,
    path: String,
    body: Value,
    whole: Value,
}

impl Trial<'_> {
    /// Whether a change is taken; false where it is refused for its `If-Match` or the lack of one.
    async fn is_taken(&mut self, etag: Option<&str>, sent: &Sent) -> Result<bool, Fault> {
        match self.send(etag, sent).await {
            Err(Fault::Declined(said)) if asks_for_more(&said) && self.body != self.whole => {
                self.body = self.whole.clone();
                self.send(etag, sent).await
            }
            outcome => outcome,
        }
    }

    async fn send(&self, etag: Option<&str>, sent: &Sent) -> Result<bool, Fault> {
        let request = Request { method: Method::PATCH, path: &self.path, body: Some(&self.body), etag };
        match self.turn.send(&request, sent).await? {
            Outcome::Good(answer) => finish(self.turn, &answer, sent).await.map(|()| true),
            Outcome::Bad(412 | 428, _) => Ok(false),
            Outcome::Bad(status, body) => Err(json::fault(status, &body, "the boot override as it is")),
        }
    }
}

/// Every form of the tag, whatever quirks say.
fn forms(target: &Target, tag: Option<&str>) -> Vec<String> {
    let plain = Target { quirks: Vec::new(), ..target.clone() };
    boot::matches(&plain, tag).into_iter().flatten().collect()
}

/// The override in the BMC's own words, so that to send it changes nothing.
fn as_held(resource: &Value, style: PatchStyle, target: &Target) -> Option<Value> {
    let held = |name: &str| json::text(resource, &format!("/Boot/BootSourceOverride{name}"));
    let enabled = held("Enabled")?;
    let mut boot = Map::new();
    // To disable with a target is refused by some.
    let full = style == PatchStyle::Full;
    let wanted = [("Target", full || enabled != "Disabled"), ("Mode", full && !target.has(Quirk::BootModeElsewhere))];
    for (name, _) in wanted.iter().filter(|(_, wanted)| *wanted) {
        if let Some(word) = held(name) {
            boot.insert(format!("BootSourceOverride{name}"), word.into());
        }
    }
    boot.insert("BootSourceOverrideEnabled".into(), enabled.into());
    Some(Value::Object(Map::from_iter([("Boot".to_string(), Value::Object(boot))])))
}

/// From what was taken: a change without `If-Match`, and with which form of the tag.
fn conclude(without: bool, tag: Option<&str>, taken: Option<&str>) -> Option<WriteHabit> {
    let tag = tag.map_or("", str::trim);
    Some(match (without, taken) {
        (true, Some(_)) => WriteHabit::Either,
        (true, None) if tag.trim_start_matches("W/").trim_matches('"').is_empty() => WriteHabit::Untagged,
        (true, None) => WriteHabit::Refused,
        (false, Some(form)) if form == tag => WriteHabit::Needed,
        (false, Some(form)) if form.starts_with('"') => WriteHabit::NeededStrong,
        (false, Some(_)) => WriteHabit::NeededBare,
        (false, None) => return None,
    })
}

pub async fn missing(turn: &Turn<'_>) -> Result<Vec<&'static str>, Fault> {
    let (path, system) = turn.system().await?;
    let managed_by = json::link(&system.body, "/Links/ManagedBy/0");
    let body = system.body.clone();
    let (_, boot) = place(turn, path, system).await?;
    let manager = match managed_by {
        Some(manager) => turn.get(&manager).await?.body,
        None => Value::Null,
    };
    Ok(absent(&body, &boot.body, &manager))
}

/// The keys that are not there: of a system, of the resource that has its boot override, and of its manager. Null is not
/// there, and neither is an empty text.
fn absent(system: &Value, boot: &Value, manager: &Value) -> Vec<&'static str> {
    let text = |resource: &Value, at: &str| json::text(resource, at).is_some();
    let reset = system.pointer("/Actions/#ComputerSystem.Reset").unwrap_or(&Value::Null);
    let listed = json::texts(reset, "/ResetType@Redfish.AllowableValues").is_some_and(|list| !list.is_empty());
    let logs = |resource: &Value| json::link(resource, "/LogServices").is_some();
    let keys = [
        (text(system, "/PowerState"), "PowerState"),
        (text(system, "/Manufacturer"), "Manufacturer"),
        (text(system, "/Model"), "Model"),
        (text(system, "/SerialNumber"), "SerialNumber"),
        (text(system, "/UUID"), "UUID"),
        (text(boot, "/Boot/BootSourceOverrideEnabled"), "Boot.BootSourceOverrideEnabled"),
        (text(boot, "/Boot/BootSourceOverrideTarget"), "Boot.BootSourceOverrideTarget"),
        (text(reset, "/target"), "Actions.#ComputerSystem.Reset"),
        // Told in a resource of its own by some.
        (
            listed || text(reset, "/@Redfish.ActionInfo"),
            "Actions.#ComputerSystem.Reset.ResetType@Redfish.AllowableValues",
        ),
        (logs(system) || logs(manager), "LogServices"),
        (json::link(system, "/Links/ManagedBy/0").is_some(), "Links.ManagedBy"),
        (text(manager, "/FirmwareVersion"), "FirmwareVersion"),
    ];
    keys.into_iter().filter(|(there, _)| !there).map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, Secret};
    use proptest::prelude::*;
    use serde_json::json;

    fn target(quirks: &[Quirk]) -> Target {
        let mut target = Target::new(Protocol::Redfish, "x", "u", Secret::new("p"));
        target.quirks = quirks.to_vec();
        target
    }

    #[test]
    fn b7_3_what_was_taken_says_what_is_wanted() {
        let tag = Some("W/\"1a\"");
        for (without, tag, taken, habit) in [
            (true, tag, tag, Some(WriteHabit::Either)),
            (true, tag, Some("1a"), Some(WriteHabit::Either)),
            (true, tag, None, Some(WriteHabit::Refused)),
            (true, None, None, Some(WriteHabit::Untagged)),
            (true, Some("\"\""), None, Some(WriteHabit::Untagged)),
            (false, tag, tag, Some(WriteHabit::Needed)),
            (false, tag, Some("\"1a\""), Some(WriteHabit::NeededStrong)),
            (false, tag, Some("1a"), Some(WriteHabit::NeededBare)),
            (false, Some("\"1a\""), Some("\"1a\""), Some(WriteHabit::Needed)),
            (false, tag, None, None),
        ] {
            assert_eq!(conclude(without, tag, taken), habit, "{without} {tag:?} {taken:?}");
        }
        let quirk = target(&[Quirk::NoIfMatch]);
        assert_eq!(
            forms(&quirk, tag),
            ["W/\"1a\"", "\"1a\"", "1a"],
            "a quirk that is told keeps nothing from being tried"
        );
    }

    #[test]
    fn b7_5_what_is_tried_is_what_is_there() {
        let held = |enabled: &str| {
            json!({"Boot": {"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": "Odd-7",
                "BootSourceOverrideMode": "UEFI", "BootOrder": ["x"]}})
        };
        let sent = |enabled, style, quirks: &[Quirk]| as_held(&held(enabled), style, &target(quirks)).unwrap();
        let disabled = json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}});
        assert_eq!(sent("Disabled", PatchStyle::Minimal, &[]), disabled);
        let once = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Odd-7"}});
        assert_eq!(sent("Once", PatchStyle::Minimal, &[]), once);
        assert_eq!(sent("Once", PatchStyle::Full, &[Quirk::BootModeElsewhere]), once);
        let mut whole = once.clone();
        whole["Boot"]["BootSourceOverrideMode"] = json!("UEFI");
        assert_eq!(sent("Once", PatchStyle::Full, &[]), whole);
        assert_eq!(as_held(&json!({"Boot": {}}), PatchStyle::Full, &target(&[])), None);
    }

    #[test]
    fn b7_13_a_key_that_is_null_or_empty_is_not_there() {
        let system = json!({"PowerState": "On", "Manufacturer": "ACME", "Model": "R-2", "SerialNumber": "S", "UUID": "u",
            "Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"},
            "Actions": {"#ComputerSystem.Reset": {"target": "/x", "ResetType@Redfish.AllowableValues": ["On"]}},
            "LogServices": {"@odata.id": "/x"}, "Links": {"ManagedBy": [{"@odata.id": "/m"}]}});
        let manager = json!({"FirmwareVersion": "1"});
        assert_eq!(absent(&system, &system, &manager), [""; 0]);
        for (place, key) in [
            ("/PowerState", "PowerState"),
            ("/SerialNumber", "SerialNumber"),
            ("/Boot/BootSourceOverrideTarget", "Boot.BootSourceOverrideTarget"),
            ("/LogServices", "LogServices"),
        ] {
            for nothing in [Value::Null, json!(""), json!([])] {
                let mut bent = system.clone();
                *bent.pointer_mut(place).unwrap() = nothing;
                assert_eq!(absent(&bent, &bent, &manager), [key]);
            }
        }
        let mut elsewhere = system.clone();
        elsewhere["LogServices"] = Value::Null;
        elsewhere["Actions"]["#ComputerSystem.Reset"] = json!({"target": "/x", "@Redfish.ActionInfo": "/y"});
        let manager = json!({"FirmwareVersion": "1", "LogServices": {"@odata.id": "/x"}});
        assert_eq!(absent(&elsewhere, &system, &manager), [""; 0], "told elsewhere is told");
        assert_eq!(absent(&json!({}), &json!([]), &Value::Null).len(), 12);
    }

    proptest! {
        #[test]
        fn no_resource_panics(text in "\\PC*", number: f64) {
            for value in [json!(text), json!(number), json!([text]), json!({&text: text})] {
                let body = json!({"PowerState": value, "Boot": value, "Actions": value, "LogServices": value, "Links": value});
                let boot = json!({"Boot": {"BootSourceOverrideEnabled": value, "BootSourceOverrideTarget": value}});
                let _ = (absent(&body, &boot, &value), as_held(&boot, PatchStyle::Full, &target(&[])));
                let _ = as_held(&body, PatchStyle::Minimal, &target(&[]));
            }
            let _ = conclude(false, Some(&text), Some(&text));
        }
    }
}
