//! What an agent says, before anything else sees it: its texts end on terminals, in logs that nobody can mend and in
//! the database, so they are bounded and hold nothing that a terminal obeys.
//!
//! A text that had to be changed no longer equals what the agent itself reads from its hardware: such a machine can be
//! looked at, and an order for it is refused by the agent. That is the safe side.

use crate::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Serials, models, names, reasons: none is longer in the field.
const LONGEST: usize = 512;
/// A machine has some hundred PCI functions and DIMMs; no list is longer.
const MOST: usize = 4_096;
/// Ports of one machine, each of which is a row to look up.
pub const MOST_NICS: usize = 256;

/// The same value with clean texts and bounded lists.
pub fn cleaned<T: Serialize + DeserializeOwned>(what: &'static str, value: &T) -> Result<T, Error> {
    let wrong = |source| Error::Stored { what, of: "an agent".into(), source };
    let mut value = serde_json::to_value(value).map_err(wrong)?;
    clean(&mut value);
    serde_json::from_value(value).map_err(wrong)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.len() > LONGEST || text.chars().any(is_foul) {
                *text = text.chars().take(LONGEST).map(|c| if is_foul(c) { '\u{fffd}' } else { c }).collect();
            }
        }
        Value::Array(list) => {
            list.truncate(MOST);
            list.iter_mut().for_each(clean);
        }
        Value::Object(map) => map.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Control characters, and those that turn the direction of the text after them or take no room.
fn is_foul(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::{Inventory, PciDevice, System};
    use proptest::prelude::*;

    fn with_serial(serial: &str) -> Inventory {
        Inventory { system: System { serial: Some(serial.into()), ..System::default() }, ..Inventory::default() }
    }

    #[test]
    fn a_serial_gives_no_orders_to_a_terminal() {
        let found = cleaned("inventory", &with_serial("S1\x1b]0;owned\x07\u{202e}x\nMAC: fine")).unwrap();
        let serial = found.system.serial.unwrap();
        assert_eq!(serial, "S1\u{fffd}]0;owned\u{fffd}\u{fffd}x\u{fffd}MAC: fine");
    }

    #[test]
    fn what_is_clean_stays_as_it_is() {
        let inventory = with_serial("CZ 2345-ü (7)");
        assert_eq!(cleaned("inventory", &inventory).unwrap(), inventory);
    }

    #[test]
    fn lists_and_texts_are_bounded() {
        let mut inventory = with_serial(&"x".repeat(100_000));
        inventory.pci = vec![PciDevice::default(); 50_000];
        let found = cleaned("inventory", &inventory).unwrap();
        assert_eq!((found.system.serial.unwrap().len(), found.pci.len()), (LONGEST, MOST));
    }

    proptest! {
        #[test]
        fn nothing_foul_comes_through(text in any::<String>()) {
            let found = cleaned("inventory", &with_serial(&text)).unwrap().system.serial.unwrap();
            prop_assert!(found.chars().all(|c| !is_foul(c)) && found.chars().count() <= LONGEST);
        }
    }
}
