//! The locate light in Redfish's words: `LocationIndicatorActive`, and `IndicatorLED` from before 2020.
//!
//! The older one says how a lamp looks and not what it means. Blinking is a search everywhere. Lit is one with most; at
//! Dell it is how the lamp looks at rest, and only Blinking can be asked for beside it.

use super::{READ_BACK_PAUSE, READ_BACKS, Turn, json, patch};
use crate::Fault;
use crate::lane::Sent;
use serde_json::Value;

const ACTIVE: &str = "LocationIndicatorActive";
const LED: &str = "IndicatorLED";
const SHINING: [&str; 2] = ["Blinking", "Lit"];
const DARK: [&str; 2] = ["Off", "Lit"];

pub async fn locate(turn: &Turn<'_>) -> Result<Option<bool>, Fault> {
    Ok(find(turn).await?.and_then(|(_, body, _)| is_on(&body)))
}

/// The resource that has the light, with its path and tag: a new word before an old one, the system before its chassis.
async fn find(turn: &Turn<'_>) -> Result<Option<(String, Value, Option<String>)>, Fault> {
    let (path, system) = turn.system().await?;
    let mut places = vec![(path, system)];
    if places.iter().all(|(_, one)| one.body.get(ACTIVE).and_then(Value::as_bool).is_none())
        && let Some(chassis) = places.iter().find_map(|(_, one)| json::link(&one.body, "/Links/Chassis/0"))
    {
        let one = turn.get(&chassis).await?;
        places.push((chassis, one));
    }
    let has = |word: &str| places.iter().position(|(_, one)| told(&one.body, word));
    let Some(at) = has(ACTIVE).or_else(|| has(LED)) else { return Ok(None) };
    let (path, one) = places.swap_remove(at);
    let tag = one.etag();
    Ok(Some((path, one.body, tag)))
}

fn told(resource: &Value, word: &str) -> bool {
    match resource.get(word) {
        Some(Value::Bool(_)) => word == ACTIVE,
        Some(Value::String(_)) => word == LED,
        _ => false,
    }
}

fn rests_lit(resource: &Value) -> bool {
    resource.pointer("/Oem/Dell").is_some()
}

fn is_on(resource: &Value) -> Option<bool> {
    if let Some(active) = resource.get(ACTIVE).and_then(Value::as_bool) {
        return Some(active);
    }
    match json::text(resource, "/IndicatorLED")?.as_str() {
        "Blinking" => Some(true),
        "Lit" => Some(!rests_lit(resource)),
        "Off" => Some(false),
        _ => None,
    }
}

/// What to send in turn until one is taken: not every BMC knows every word.
fn bodies(resource: &Value, on: bool) -> Vec<Value> {
    if told(resource, ACTIVE) {
        return vec![json!({ACTIVE: on})];
    }
    let listed = json::texts(resource, "/IndicatorLED@Redfish.AllowableValues");
    let fits = |word: &&str| listed.as_ref().is_none_or(|list| list.iter().any(|one| one == word));
    // Lit is on or off, and never both.
    let words = if on { SHINING } else { DARK };
    let means = |word: &&str| *word != "Lit" || rests_lit(resource) != on;
    words.iter().copied().filter(fits).filter(means).map(|word| json!({LED: word})).collect()
}

pub async fn set_locate(turn: &Turn<'_>, on: bool, sent: &Sent) -> Result<(), Fault> {
    let Some((path, body, tag)) = find(turn).await? else {
        return Err(Fault::NotOffered("a locate light, at the system or at its chassis".into()));
    };
    if is_on(&body) == Some(on) {
        return Ok(());
    }
    let mut answer = Err(Fault::NotOffered(format!("a word for a locate light that is {}", state(Some(on)))));
    for body in bodies(&body, on) {
        answer = patch(turn, &path, tag.as_deref(), &body, "the locate light", sent).await;
        if !matches!(answer, Err(Fault::Declined(_))) {
            break;
        }
    }
    super::finish(turn, &answer?, sent).await?;
    let mut found = None;
    for tries in 0..READ_BACKS {
        if tries > 0 {
            tokio::time::sleep(READ_BACK_PAUSE).await;
        }
        found = is_on(&turn.get(&path).await?.body);
        if found == Some(on) {
            return Ok(());
        }
    }
    Err(Fault::Declined(format!(
        "it says that it took the order, and its locate light reads back {}; expected {}",
        state(found),
        state(Some(on))
    )))
}

fn state(light: Option<bool>) -> &'static str {
    match light {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_lamp_shows_is_on_off_or_unknown() {
        for (resource, found) in [
            (json!({ACTIVE: true}), Some(true)),
            (json!({ACTIVE: false, LED: "Lit"}), Some(false)),
            (json!({ACTIVE: null, LED: "Lit"}), Some(true)),
            (json!({LED: "Lit", "Oem": {"Dell": {}}}), Some(false)),
            (json!({LED: "Blinking", "Oem": {"Dell": {}}}), Some(true)),
            (json!({LED: "Off"}), Some(false)),
            (json!({LED: "Unknown"}), None),
            (json!({LED: null}), None),
            (json!({}), None),
        ] {
            assert_eq!(is_on(&resource), found, "{resource}");
        }
    }

    #[test]
    fn every_word_that_can_mean_it_is_tried_and_none_that_means_the_opposite() {
        let words = |resource: Value, on| -> Vec<String> {
            bodies(&resource, on).iter().filter_map(|body| json::text(body, "/IndicatorLED")).collect()
        };
        assert_eq!(words(json!({LED: "Off"}), true), ["Blinking", "Lit"]);
        assert_eq!(words(json!({LED: "Lit"}), false), ["Off"]);
        let dell = json!({LED: "Lit", "Oem": {"Dell": {}}});
        assert_eq!(
            (words(dell.clone(), true), words(dell, false)),
            (vec!["Blinking".into()], vec!["Off".into(), "Lit".into()])
        );
        let listed = json!({LED: "Off", "IndicatorLED@Redfish.AllowableValues": ["Lit", "Off"]});
        assert_eq!(words(listed, true), ["Lit"]);
        assert_eq!(bodies(&json!({ACTIVE: false, LED: "Off"}), true), [json!({ACTIVE: true})]);
    }

    proptest! {
        #[test]
        fn no_resource_panics(text in "\\PC*", on: bool) {
            for value in [json!(text), json!([text]), json!(on), json!({&text: text})] {
                let resource = json!({ACTIVE: value, LED: value, "IndicatorLED@Redfish.AllowableValues": value, "Oem": value});
                let _ = (is_on(&resource), bodies(&resource, on), is_on(&value), bodies(&value, on));
            }
        }
    }
}
