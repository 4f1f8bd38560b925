//! The Bios resource, its settings resource and its attribute registry (Redfish `Bios`, `Settings`, `AttributeRegistry`).
//!
//! What is set goes to the settings resource and holds from the next boot on (B7.4). An answer that a job was made is no
//! proof: the job waits for that boot, so that it is looked at once, and the settings are what is believed (B7.10).

use super::connection::Answer;
use super::fields::{Fields, items};
use super::json;
use super::visit::{Visit, ends};
use super::{READ_BACK_PAUSE, READ_BACKS, Turn, jobs_in_the_way, patch};
use crate::lane::Sent;
use crate::{BiosSet, Fault};
use muster_catalog::{BiosSetting, BiosTold, BootSource};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Five times what the largest BIOS seen has.
const MOST_ATTRIBUTES: usize = 4096;
const LONGEST: usize = 512;
/// Values that one attribute may take, as far as they are kept.
const MOST_VALUES: usize = 64;
/// Entries of a boot order that are looked at.
const MOST_ENTRIES: usize = 32;
const REGISTRIES: &str = "/redfish/v1/Registries";

pub async fn bios(visit: Visit<'_>, boot_order: bool) -> Result<BiosTold, Fault> {
    let (_, system) = visit.system().await?;
    let path = place(&system)?;
    let bios = visit.get(&path).await?;
    let now = attributes(&bios).ok_or_else(|| Fault::NotOffered(format!("Attributes at {path}")))?;
    let pending = match json::link(&bios, SETTINGS) {
        Some(path) => optional(visit.get(&path).await)?,
        None => None,
    };
    let registry = registry(visit, &bios).await?;
    let order = if boot_order { order(visit, &system).await? } else { None };
    let next = pending.as_ref().and_then(attributes);
    Ok(BiosTold { settings: settings(now, next, registry.as_ref()), boot_order: order })
}

const SETTINGS: &str = "/@Redfish.Settings/SettingsObject";

fn place(system: &Value) -> Result<String, Fault> {
    json::link(system, "/Bios").ok_or_else(|| Fault::NotOffered("BIOS attributes: its system links to none".into()))
}

fn attributes(resource: &Value) -> Option<&Map<String, Value>> {
    Fields(resource).get("Attributes").and_then(Value::as_object)
}

/// What helps to understand and is not needed; what the whole BMC lacks is an error all the same.
fn optional(read: Result<Value, Fault>) -> Result<Option<Value>, Fault> {
    match read {
        Ok(body) => Ok(Some(body)),
        Err(fault) if ends(&fault) => Err(fault),
        Err(fault) => {
            tracing::debug!(%fault, "not read beside the BIOS attributes");
            Ok(None)
        }
    }
}

/// A value as text, in the length of a setting.
fn said(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    (text.len() <= LONGEST).then_some(text)
}

fn settings(
    now: &Map<String, Value>,
    next: Option<&Map<String, Value>>,
    registry: Option<&Value>,
) -> BTreeMap<String, BiosSetting> {
    let mut told = BTreeMap::new();
    for (name, value) in now.iter().take(MOST_ATTRIBUTES) {
        let Some(value) = said(value).filter(|_| name.len() <= LONGEST) else { continue };
        let pending = next.and_then(|next| said(next.get(name)?)).filter(|next| *next != value);
        told.insert(name.clone(), BiosSetting { value, pending, ..BiosSetting::default() });
    }
    let entries = registry.and_then(|registry| Fields(registry).get("RegistryEntries/Attributes"));
    for entry in entries.map(items).unwrap_or_default().iter().take(MOST_ATTRIBUTES) {
        let Some(setting) = json::text(entry, "/AttributeName").and_then(|name| told.get_mut(&name)) else { continue };
        let is = |flag: &str| entry.get(flag) == Some(&Value::Bool(true));
        setting.read_only = ["ReadOnly", "Immutable", "GrayOut"].iter().any(|flag| is(flag));
        if json::text(entry, "/Type").is_some_and(|kind| kind == "Enumeration") {
            setting.offered = offered(entry);
        }
    }
    told
}

/// What an attribute may be set to; an empty list tells nothing.
fn offered(entry: &Value) -> Option<Vec<String>> {
    let values = entry.get("Value")?.as_array()?;
    let names = values.iter().take(MOST_VALUES).filter_map(|value| said(value.get("ValueName")?));
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then_some(names)
}

/// The registry that the resource names: by its file among all registries, in English where there are several.
async fn registry(visit: Visit<'_>, bios: &Value) -> Result<Option<Value>, Fault> {
    let Some(name) = json::text(bios, "/AttributeRegistry") else { return Ok(None) };
    let root = visit.root().await?;
    let list = json::link(&root, "/Registries").unwrap_or_else(|| REGISTRIES.to_string());
    let Some(list) = optional(visit.get(&list).await)? else { return Ok(None) };
    let Some(file) = named(&json::members(&list), &name) else { return Ok(None) };
    let Some(file) = optional(visit.get(&file).await)? else { return Ok(None) };
    let Some(path) = english(&file) else { return Ok(None) };
    optional(visit.get(&path).await)
}

/// The file of this registry; else the only one that differs in its version alone, for some files carry an older one.
fn named(files: &[String], registry: &str) -> Option<String> {
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let registry = registry.to_ascii_lowercase();
    let base = |name: &str| name.split(".v").next().unwrap_or_default().to_owned();
    let exact = files.iter().find(|path| last(path) == registry);
    let mut near = files.iter().filter(|path| base(&last(path)) == base(&registry));
    let only = near.next().filter(|_| near.next().is_none());
    exact.or(only).cloned()
}

fn english(file: &Value) -> Option<String> {
    let places = file.get("Location")?.as_array()?;
    let uri = |place: &Value| json::path(&json::text(place, "/Uri")?);
    let english = places.iter().find(|place| json::text(place, "/Language").is_some_and(|word| word.starts_with("en")));
    english.and_then(uri).or_else(|| places.iter().find_map(uri))
}

/// What each entry of the boot order leads to.
async fn order(visit: Visit<'_>, system: &Value) -> Result<Option<Vec<BootSource>>, Fault> {
    let Some(order) = json::texts(system, "/Boot/BootOrder") else { return Ok(None) };
    let Some(list) = json::link(system, "/Boot/BootOptions") else { return Ok(None) };
    let Some(list) = optional(visit.get(&list).await)? else { return Ok(None) };
    let wanted: BTreeSet<&String> = order.iter().take(MOST_ENTRIES).collect();
    let mut sources = BTreeMap::new();
    for path in json::members(&list).into_iter().take(2 * MOST_ENTRIES) {
        let id = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let Some(option) = optional(visit.get(&path).await)? else { continue };
        let reference = json::text(&option, "/BootOptionReference").unwrap_or(id);
        if wanted.contains(&reference) {
            sources.insert(reference, source(&option));
        }
    }
    // An entry that cannot be read stands where it stands.
    let kind = |entry: &String| sources.get(entry).copied().unwrap_or(BootSource::Other);
    Ok(Some(order.iter().take(MOST_ENTRIES).map(kind).collect()))
}

/// By the standard's word, else by the UEFI device path, else by what it is called.
fn source(option: &Value) -> BootSource {
    let word = |field: &str| json::text(option, field).unwrap_or_default().to_ascii_lowercase();
    match word("/Alias").as_str() {
        "pxe" => return BootSource::Network,
        "uefihttp" => return BootSource::Http,
        "hdd" | "sdcard" | "remotedrive" => return BootSource::Disk,
        "usb" => return BootSource::Usb,
        "cd" => return BootSource::Cd,
        _ => {}
    }
    let by = |text: &str, signs: &[(&str, BootSource)]| {
        signs.iter().find(|(sign, _)| text.contains(sign)).map(|(_, source)| *source)
    };
    let path = by(
        &word("/UefiDevicePath"),
        &[
            ("uri(", BootSource::Http),
            ("mac(", BootSource::Network),
            ("usb", BootSource::Usb),
            ("cdrom(", BootSource::Cd),
            ("hd(", BootSource::Disk),
            ("nvme(", BootSource::Disk),
            ("sata(", BootSource::Disk),
            ("scsi(", BootSource::Disk),
        ],
    );
    let name = [word("/DisplayName"), word("/Name")].join(" ");
    let named = || {
        by(
            &name,
            &[
                ("http", BootSource::Http),
                ("pxe", BootSource::Network),
                ("network", BootSource::Network),
                ("usb", BootSource::Usb),
                ("dvd", BootSource::Cd),
                ("cd-rom", BootSource::Cd),
                ("disk", BootSource::Disk),
                ("ssd", BootSource::Disk),
                ("nvme", BootSource::Disk),
            ],
        )
    };
    path.or_else(named).unwrap_or(BootSource::Other)
}

pub async fn set_bios(turn: &Turn<'_>, values: &BTreeMap<String, String>, sent: &Sent) -> Result<BiosSet, Fault> {
    let (_, system) = turn.system().await?;
    let manager = json::link(&system.body, "/Links/ManagedBy/0");
    let path = place(&system.body)?;
    let bios = turn.get(&path).await?;
    let now = attributes(&bios.body).ok_or_else(|| Fault::NotOffered(format!("Attributes at {path}")))?;
    let wanted = typed(values, now)?;
    let settings = json::link(&bios.body, SETTINGS).unwrap_or(path);
    let held = turn.get(&settings).await?;
    if missing(values, now, &held.body).is_none() {
        return Ok(BiosSet::AlreadySo);
    }
    let body = body(wanted, &bios.body);
    let what = "the BIOS attributes";
    let answer = patch(turn, &settings, held.etag().as_deref(), &body, what, sent).await;
    let answer = jobs_in_the_way(turn, answer, manager, what).await?;
    refused_by_task(turn, &answer, sent).await?;
    let mut left = None;
    for round in 0..READ_BACKS {
        if round > 0 {
            tokio::time::sleep(READ_BACK_PAUSE).await;
        }
        left = missing(values, now, &turn.get(&settings).await?.body);
        if left.is_none() {
            return Ok(BiosSet::Taken);
        }
    }
    let (wanted, found) = left.unwrap_or_default();
    Err(Fault::BiosDiffers { wanted, found })
}

/// The values in the types that the attributes have now: some BMCs count, and refuse a number in quotes.
fn typed(values: &BTreeMap<String, String>, now: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    let mut typed = Map::new();
    for (name, value) in values {
        let unfit = |kind| Fault::Declined(format!("its attribute {name} is {kind}, and {value:?} is none"));
        let value = match now.get(name) {
            None => return Err(Fault::NotOffered(format!("an attribute {name}"))),
            Some(Value::Number(_)) => Value::from(value.trim().parse::<i64>().map_err(|_| unfit("a number"))?),
            Some(Value::Bool(_)) => Value::from(value.trim().parse::<bool>().map_err(|_| unfit("true or false"))?),
            Some(_) => Value::from(value.clone()),
        };
        typed.insert(name.clone(), value);
    }
    Ok(typed)
}

/// Where the BMC makes a job of a change, it has to be told when; nothing but the next boot is ever said.
fn body(attributes: Map<String, Value>, bios: &Value) -> Value {
    let mut body = json!({ "Attributes": attributes });
    let times = json::texts(bios, "/@Redfish.Settings/SupportedApplyTimes").unwrap_or_default();
    if let Some(object) = body.as_object_mut().filter(|_| times.iter().any(|time| time == "OnReset")) {
        object.insert("@Redfish.SettingsApplyTime".into(), json!({ "ApplyTime": "OnReset" }));
    }
    body
}

/// What is not held for the next boot: as wanted, and as found.
fn missing(values: &BTreeMap<String, String>, now: &Map<String, Value>, settings: &Value) -> Option<(String, String)> {
    let next = attributes(settings);
    let held = |name: &str| next.and_then(|next| said(next.get(name)?)).or_else(|| said(now.get(name)?));
    let differs = |(name, value): &(&String, &String)| {
        held(name).is_none_or(|held| !held.trim().eq_ignore_ascii_case(value.trim()))
    };
    let left: Vec<_> = values.iter().filter(differs).collect();
    let told = |(name, _): &(&String, &String)| format!("{name} = {}", held(name).unwrap_or_else(|| "nothing".into()));
    let wanted: Vec<String> = left.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let found: Vec<String> = left.iter().map(told).collect();
    (!left.is_empty()).then(|| (wanted.join(", "), found.join(", ")))
}

/// One look at the job of a 202: it waits for the next boot, and one that has failed already says why.
async fn refused_by_task(turn: &Turn<'_>, answer: &Answer, sent: &Sent) -> Result<(), Fault> {
    let place = if answer.status == StatusCode::ACCEPTED { answer.task() } else { None };
    let Some(place) = place else { return Ok(()) };
    let Ok(task) = turn.get(&place).await else { return Ok(()) };
    let state = json::text(&task.body, "/TaskState").or_else(|| json::text(&task.body, "/JobState"));
    match state.as_deref() {
        Some(state @ ("Exception" | "Killed" | "Cancelled" | "Failed")) => {
            sent.denied();
            let words = json::texts(&task.body, "/Messages").unwrap_or_default().join(" ");
            Err(Fault::Declined(format!("the job of the change ended as {state} {words}").trim_end().to_string()))
        }
        _ => Ok(()),
    }
}

/// For the fuzzer: every reader of this file on any JSON.
pub fn parse(body: &Value) {
    if let Some(now) = attributes(body) {
        let _ = settings(now, Some(now), Some(body));
    }
    let _ = (place(body), offered(body), english(body), source(body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn settings_are_told_with_what_waits_and_what_may_not_be_set() {
        let now =
            map(json!({"Turbo": "Enabled", "Cores": 4, "Flag": true, "Odd": [1], "Long": "x".repeat(LONGEST + 1)}));
        let next = map(json!({"Turbo": "Disabled", "Cores": 4, "Unheard": "x"}));
        let registry = json!({"RegistryEntries": {"Attributes": [
            {"AttributeName": "Turbo", "Type": "Enumeration", "ReadOnly": false,
                "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}, {"Other": 1}]},
            {"AttributeName": "Cores", "Type": "Integer", "GrayOut": true, "Value": []}, {"AttributeName": 7}, "x"]}});
        let told = settings(&now, Some(&next), Some(&registry));
        let turbo = BiosSetting {
            value: "Enabled".into(),
            pending: Some("Disabled".into()),
            read_only: false,
            offered: Some(vec!["Enabled".into(), "Disabled".into()]),
        };
        assert_eq!(told["Turbo"], turbo);
        assert_eq!((told["Cores"].value.as_str(), told["Cores"].read_only, &told["Cores"].pending), ("4", true, &None));
        assert_eq!(told.keys().collect::<Vec<_>>(), ["Cores", "Flag", "Turbo"]);
    }

    #[test]
    fn a_registry_is_found_by_its_name_or_by_its_only_near_one() {
        let files = ["/r/Base.v1_0_0", "/r/BiosAttributeRegistry.v1_0_0", "/r/Other.v1"].map(String::from);
        assert_eq!(named(&files, "BiosAttributeRegistry.v1_0_3").as_deref(), Some("/r/BiosAttributeRegistry.v1_0_0"));
        let two = ["/r/Bios.v1_0_0/", "/r/Bios.v1_0_1"].map(String::from);
        assert_eq!(named(&two, "Bios.v1_0_0").as_deref(), Some("/r/Bios.v1_0_0/"));
        assert_eq!(named(&two, "Bios.v1_0_2"), None);
        assert_eq!(named(&files, ""), None);
        let file = json!({"Location": [{"Language": "ja", "Uri": "/ja"}, {"Language": "en", "Uri": "https://x/en"}]});
        assert_eq!(english(&file).as_deref(), Some("/en"));
        assert_eq!(english(&json!({"Location": [{"Uri": "//evil/x"}, {"Uri": "/x"}]})).as_deref(), Some("/x"));
    }

    #[test]
    fn what_an_entry_of_the_boot_order_leads_to_is_told_by_whatever_says_it() {
        for (option, expected) in [
            (json!({"Alias": "Pxe", "DisplayName": "USB"}), BootSource::Network),
            (
                json!({"UefiDevicePath": "PciRoot(0x2)/Pci(0x1,0x0)/MAC(58A2E10396F2,0x1)/IPv4(0.0.0.0)"}),
                BootSource::Network,
            ),
            (json!({"UefiDevicePath": "PciRoot(0x2)/MAC(58A2E10396F2,0x1)/IPv4(0.0.0.0)/Uri()"}), BootSource::Http),
            (json!({"UefiDevicePath": "HD(1,GPT,6634D938)/\\EFI\\x\\shimx64.efi"}), BootSource::Disk),
            (
                json!({"UefiDevicePath": "VenHw(986D1755)", "DisplayName": "HTTP Device 1: NIC in Slot 5"}),
                BootSource::Http,
            ),
            (json!({"DisplayName": "Embedded Shell"}), BootSource::Other),
            (json!({"UefiDevicePath": "UsbClass(0xFFFF)/HD(1)"}), BootSource::Usb),
            (json!(7), BootSource::Other),
        ] {
            assert_eq!(source(&option), expected, "{option}");
        }
    }

    #[test]
    fn a_value_goes_out_in_the_type_that_the_attribute_has() {
        let now = map(json!({"Cores": 4, "Flag": true, "Turbo": "Enabled", "Null": null}));
        let values = |all: &[(&str, &str)]| all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let out = typed(&values(&[("Cores", "8"), ("Flag", "false"), ("Turbo", "8"), ("Null", "x")]), &now).unwrap();
        assert_eq!(Value::Object(out), json!({"Cores": 8, "Flag": false, "Turbo": "8", "Null": "x"}));
        assert!(typed(&values(&[("Cores", "many")]), &now).unwrap_err().to_string().contains("a number"));
        assert!(typed(&values(&[("Other", "x")]), &now).unwrap_err().to_string().contains("attribute Other"));
    }

    #[test]
    fn b7_4_a_bmc_that_makes_jobs_is_told_the_next_boot_and_no_other_gets_a_word_of_it() {
        let told = |times: Value| body(Map::new(), &json!({"@Redfish.Settings": {"SupportedApplyTimes": times}}));
        let apply = told(json!(["Immediate", "OnReset"]));
        assert_eq!(apply.pointer("/@Redfish.SettingsApplyTime/ApplyTime"), Some(&json!("OnReset")));
        for other in [json!(["Immediate"]), json!(null), json!([])] {
            assert_eq!(told(other), json!({"Attributes": {}}));
        }
    }

    #[test]
    fn b7_10_what_is_not_held_for_the_next_boot_is_named() {
        let now = map(json!({"A": "x", "B": 1}));
        let values: BTreeMap<String, String> = [("A".into(), "y".into()), ("B".into(), "1".into())].into();
        let (wanted, found) = missing(&values, &now, &json!({"Attributes": {}})).unwrap();
        assert_eq!((wanted.as_str(), found.as_str()), ("A = y", "A = x"));
        assert_eq!(missing(&values, &now, &json!({"Attributes": {"A": "Y"}})), None);
        assert!(missing(&values, &now, &json!({"Attributes": {"A": "y", "B": 2}})).is_some());
        assert!(missing(&values, &now, &json!([])).is_some());
    }

    proptest! {
        #[test]
        fn no_words_panic(name in "\\PC{0,8}", word in "\\PC{0,8}", number: f64) {
            for value in [json!(word), json!(number), json!([word]), json!({"Attributes": word, "Location": word})] {
                let whole = json!({"Attributes": {&name: value}, "RegistryEntries": {"Attributes": [value, {"AttributeName": name, "Type": "Enumeration", "Value": value}]}, "Location": [value]});
                let now = attributes(&whole).cloned().unwrap();
                let _ = settings(&now, Some(&now), Some(&whole));
                let _ = settings(&now, Some(&now), Some(&value));
                let values = [(name.clone(), word.clone())].into();
                let _ = typed(&values, &now);
                let _ = missing(&values, &now, &value);
                let _ = english(&whole);
                let _ = named(&[name.clone(), word.clone()], &word);
                let _ = source(&json!({"Alias": value, "UefiDevicePath": word, "DisplayName": value}));
            }
        }
    }
}
