//! One lenient view of a JSON object: what a field says, whatever its spelling or type (B7.13).
//!
//! Firmware writes numbers as texts, texts as numbers, one object where a list belongs, and names a field in its own
//! capitals. Each of these costs nothing here; what cannot be read costs that one field.

use super::json;
use muster_names::Mac;
use serde_json::{Map, Value};

const LONGEST: usize = 256;

/// What makers write where they have nothing to say. None of these is anybody's serial number.
const PLACEHOLDERS: &[&str] = &[
    "n/a",
    "na",
    "nil",
    "none",
    "null",
    "unknown",
    "undefined",
    "empty",
    "not available",
    "not applicable",
    "not specified",
    "no dimm",
    "default string",
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "system serial number",
    "system product name",
    "system manufacturer",
];

#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Value);

impl<'a> Fields<'a> {
    /// The value behind a path of names (`Status/State`), in whatever capitals; of a list its first item.
    pub fn get(self, path: &str) -> Option<&'a Value> {
        path.split('/').try_fold(self.0, |value, name| field(first(value).as_object()?, name))
    }

    /// The first of the named fields that has something to say.
    pub fn text(self, paths: &[&str]) -> Option<String> {
        paths.iter().find_map(|path| said(first(self.get(path)?)))
    }

    /// The first of the named fields that is a count, as a number or in digits.
    pub fn count(self, paths: &[&str]) -> Option<u64> {
        paths.iter().find_map(|path| count(first(self.get(path)?)))
    }

    pub fn small(self, paths: &[&str]) -> Option<u32> {
        self.count(paths).and_then(|count| u32::try_from(count).ok())
    }

    pub fn mac(self, paths: &[&str]) -> Option<Mac> {
        paths.iter().find_map(|path| mac(&said(first(self.get(path)?))?))
    }

    /// The items of a list; an object or a text where a list belongs is its only item.
    pub fn list(self, path: &str) -> impl Iterator<Item = &'a Value> {
        self.get(path).map(items).unwrap_or_default().iter()
    }

    /// `Status.State`, or a status that is a text itself.
    pub fn state(self) -> Option<String> {
        self.text(&["Status/State"]).or_else(|| self.text(&["Status", "State"]))
    }

    /// `Status.Health`, as told.
    pub fn health(self) -> Option<String> {
        self.text(&["Status/Health", "Status/HealthRollup"])
    }

    /// The first of what one of all makers' own sections says under this name.
    pub fn oem(self, path: &str) -> Option<String> {
        let makers = self.get("Oem")?.as_object()?;
        makers.values().find_map(|section| Fields(section).text(&[path]))
    }

    pub fn is_absent(self) -> bool {
        self.state().is_some_and(|state| state.eq_ignore_ascii_case("absent"))
    }

    pub fn is_enabled(self) -> bool {
        self.state().is_some_and(|state| state.eq_ignore_ascii_case("enabled"))
    }
}

/// Where a link leads: an object with an `@odata.id` (`href` before 1.0), or the path itself.
pub fn target(link: &Value) -> Option<String> {
    let told = match link {
        Value::String(path) => path.as_str(),
        Value::Object(object) => object.get("@odata.id").or_else(|| object.get("href"))?.as_str()?,
        _ => return None,
    };
    json::path(told.trim())
}

/// A value as a list.
pub fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        other => std::slice::from_ref(other),
    }
}

fn first(value: &Value) -> &Value {
    value.as_array().and_then(|items| items.first()).unwrap_or(value)
}

fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| alike(key, name)).map(|(_, value)| value))
}

/// Whether two names differ in capitals and dividers alone.
fn alike(a: &str, b: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
        name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase())
    }
    letters(a).eq(letters(b))
}

fn said(value: &Value) -> Option<String> {
    let text = json::text(value, "")?;
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '"');
    let nothing = text.is_empty() || PLACEHOLDERS.iter().any(|word| text.eq_ignore_ascii_case(word));
    (!nothing).then(|| text.to_string())
}

fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim().replace(',', "");
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        _ => None,
    }
}

/// A float that a count was written as: some firmware has no integers.
fn whole(number: f64) -> Option<u64> {
    // 2^53: beyond it a float no longer holds every whole number.
    (0.0..=9_007_199_254_740_992.0).contains(&number).then_some(number.round() as u64)
}

/// Six bytes with colons, dashes, dots or nothing between them; what names no interface is none.
fn mac(text: &str) -> Option<Mac> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.' | ' ')).collect();
    if digits.len() != 12 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0_u8; 6];
    for (byte, at) in bytes.iter_mut().zip((0..12).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    let mac = Mac(bytes);
    mac.is_unicast().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn b7_13_a_field_is_read_in_whatever_type_it_comes() {
        let value = json!({"a": "32768", "b": 4.0, "c": ["x", "y"], "d": {"e": [{"f": 7}]}, "g": -1, "h": "1,024"});
        let fields = Fields(&value);
        assert_eq!(
            (fields.count(&["a"]), fields.count(&["b"]), fields.count(&["h"])),
            (Some(32768), Some(4), Some(1024))
        );
        assert_eq!(fields.text(&["c"]).as_deref(), Some("x"));
        assert_eq!(fields.text(&["d/e/f"]).as_deref(), Some("7"));
        assert_eq!((fields.count(&["g"]), fields.count(&["c"]), fields.count(&["z"])), (None, None, None));
    }

    #[test]
    fn a_name_is_found_in_other_capitals() {
        let value = json!({"serial_number": "\"S1\" ", "STATUS": {"state": "absent"}});
        assert_eq!(Fields(&value).text(&["SerialNumber"]).as_deref(), Some("S1"));
        assert!(Fields(&value).is_absent());
        assert!(Fields(&json!({"Status": "Enabled"})).is_enabled());
    }

    #[test]
    fn a_placeholder_is_nobodys_serial_number() {
        for word in ["To be filled by O.E.M.", "N/A", "   ", "Unknown", "NULL", "Not Specified"] {
            assert_eq!(Fields(&json!({"SerialNumber": word})).text(&["SerialNumber"]), None, "{word}");
        }
        let two = json!({"SerialNumber": "None", "Serial": "X1"});
        assert_eq!(Fields(&two).text(&["SerialNumber", "Serial"]).as_deref(), Some("X1"));
    }

    #[test]
    fn only_an_address_of_one_interface_is_a_mac() {
        let read = |text: &str| Fields(&json!({"m": text})).mac(&["m"]).map(|mac| mac.to_string());
        for same in ["52:54:00:AA:BB:CC", "52-54-00-aa-bb-cc", "525400aabbcc", "5254.00aa.bbcc"] {
            assert_eq!(read(same).as_deref(), Some("52:54:00:aa:bb:cc"), "{same}");
        }
        for none in
            ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "", "5254", "b8:3f:d2:03:00:a4:1b:d2"]
        {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_link_is_an_object_or_the_path_itself() {
        assert_eq!(target(&json!({"@odata.id": "/redfish/v1/X"})).as_deref(), Some("/redfish/v1/X"));
        assert_eq!(target(&json!("/redfish/v1/X")).as_deref(), Some("/redfish/v1/X"));
        for odd in [json!(null), json!(7), json!([]), json!({"@odata.id": 7}), json!("X")] {
            assert_eq!(target(&odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "\\PC*", number: f64) {
            let value = json!({"a": text, "b": number, "c": [text]});
            let fields = Fields(&value);
            for path in ["a", "b", "c", "a/b", "c/d/e", ""] {
                let _ = (fields.text(&[path]), fields.count(&[path]), fields.mac(&[path]), fields.list(path).count());
            }
        }
    }
}
