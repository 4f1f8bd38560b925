//! Events in a person's words.

use crate::table::{cell, items, place};
use serde_json::Value;

/// An event in a person's words; nothing for what only a program wants to know.
pub fn sentence(event: &Value) -> String {
    let body = event.get("body").cloned().unwrap_or_default();
    let detail = body.get("detail").cloned().unwrap_or_default();
    let inner = body.get("event").cloned().unwrap_or_default();
    match cell(event, "kind").as_str() {
        "entered" => {
            let to = body.get("to").and_then(|to| to.get("at")).cloned().unwrap_or_default();
            let why =
                to.get("why").map(|why| format!(" ({})", why.as_str().map_or_else(|| why.to_string(), Into::into)));
            format!("=> {}{}", cell(&to, "state"), why.unwrap_or_default())
        }
        "identified" => {
            let place = located(&detail);
            match detail.get("model").and_then(Value::as_str) {
                Some(model) => format!("is a {model}: {}{place}", cell(&detail, "summary")),
                None => format!("fits no model: {}{place}", differences(&detail)),
            }
        }
        "seen" => "asked for its boot script".into(),
        "agent-started" => format!("agent {} runs ({})", cell(&detail, "version"), cell(&detail, "mode")),
        "act-phase" => match cell(&detail, "phase").as_str() {
            "set-boot" => "BMC: setting the boot device".into(),
            "off" => "BMC: powering off".into(),
            "on" => "BMC: powering on".into(),
            other => format!("BMC: {other}"),
        },
        "act-failed" => format!("BMC: {}", cell(&detail, "why")),
        "bmc-password-asked" => match cell(&detail, "goal").as_str() {
            "file" => "its BMC is to have the password of its file again".into(),
            _ => "its BMC is to have a new password".into(),
        },
        "bmc-password-changed" => "its BMC has a new password".into(),
        "bmc-password-unchanged" | "bmc-password-unclear" => format!("BMC password: {}", cell(&detail, "why")),
        "bmc-password-restored" => "its BMC has the password of its file".into(),
        "write-permitted" => "the first write is permitted".into(),
        "write-denied" => format!("the write is denied: {}", cell(&detail, "reason")),
        "install-reported" => {
            let outcome = cell(&inner, "outcome");
            match detail.get("failure") {
                Some(failure) => format!("install {outcome}: {failure}"),
                None => {
                    let installed = detail.get("installed").cloned().unwrap_or_default();
                    format!(
                        "image written: {} bytes, {} skipped, {} s",
                        cell(&installed, "bytes_written"),
                        cell(&installed, "bytes_skipped"),
                        cell(&installed, "seconds")
                    )
                }
            }
        }
        "check-judged" => match differences(&detail).as_str() {
            "" => "passes its quality check".into(),
            found => format!("does not pass its quality check: {found}"),
        },
        "order-closed" => format!("order closed: {}", cell(&detail, "outcome")),
        "agent-refused" => format!("the agent refused: {}", cell(&detail, "reason")),
        "impostor-seen" => format!("IMPOSTOR: {}", cell(&detail, "why")),
        "deadline-passed" => "the deadline passed".into(),
        "wipe-reported" => match inner.get("ok") {
            Some(Value::Bool(true)) => "every ordered disk is wiped and was read back".into(),
            _ => "THE WIPE FAILED: no disk counts as wiped".into(),
        },
        "frozen" => format!("EVERYTHING IS FROZEN: {}", cell(&body, "why")),
        "unfrozen" => format!("not frozen any more: {}", cell(&body, "why")),
        "token-made" => format!("token of {} made, {}", cell(&body, "name"), cell(&body, "role")),
        "token-revoked" => "token revoked".into(),
        _ => String::new(),
    }
}

/// `path: expected this, found that; ...`
fn differences(detail: &Value) -> String {
    let told: Vec<String> = items(detail, "differences")
        .iter()
        .map(|d| format!("{}: expected {}, found {}", cell(d, "path"), cell(d, "expected"), cell(d, "actual")))
        .collect();
    told.join("; ")
}

fn located(detail: &Value) -> String {
    let Some(located) = detail.get("located") else { return String::new() };
    for (word, said) in [("verified", "verified at"), ("single", "seen at")] {
        if let Some(spot) = located.get(word) {
            return format!(", {said} {}", place(spot));
        }
    }
    match located.get("conflict").and_then(Value::as_str) {
        Some(text) => format!(", PLACE CONFLICT: {text}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_reads_as_what_happened() {
        for (event, said) in [
            (
                json!({ "kind": "entered", "body": { "to": { "at": { "state": "held", "why": "asked" } } } }),
                "=> held (asked)",
            ),
            (
                json!({ "kind": "check-judged", "body": { "detail": { "differences": [
                    { "path": "hostname", "expected": "a", "actual": "b" }] } } }),
                "does not pass its quality check: hostname: expected a, found b",
            ),
            (
                json!({ "kind": "check-judged", "body": { "detail": { "differences": [] } } }),
                "passes its quality check",
            ),
            (json!({ "kind": "frozen", "body": { "why": "fire" } }), "EVERYTHING IS FROZEN: fire"),
            (json!({ "kind": "only-for-programs" }), ""),
            (json!({}), ""),
        ] {
            assert_eq!(sentence(&event), said, "{event}");
        }
    }
}
