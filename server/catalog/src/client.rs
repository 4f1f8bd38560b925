//! Boot clients that are known by more than their architecture: who they are on the wire, and what they are given.
//!
//! Option 93 tells most firmware apart. A board whose ROM calls itself an x86 BIOS, a switch's installer, a loader that
//! names itself in option 60 are told apart here, so that the next odd one is a file.

use crate::{Catalog, Evidence};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `pxe-images/clients/ID.toml`. All that is given has to fit; `class`, `user-class` or `oui` has to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootClient {
    pub id: String,
    /// What a person reads where the client was seen.
    pub title: String,
    pub evidence: Evidence,
    /// Option 60 begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Option 77 is it, or lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_class: Option<String>,
    /// The first three octets of its MAC address, like `02:00:5e`.
    #[serde(default)]
    pub oui: Vec<String>,
    /// One of its client architectures (DHCP option 93).
    #[serde(default)]
    pub arch: Vec<u16>,
    /// The loader it is given; left out, it is recognised, gets an address and boots nothing of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
    /// In place of the network's own times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u32>,
    /// Sub-options of option 43 that it wants to see: number, and bytes in hexadecimal.
    #[serde(default)]
    pub vendor_options: BTreeMap<String, String>,
}

impl BootClient {
    /// The maker's parts of MAC addresses; what is no such part is left out, and is a slip.
    pub fn ouis(&self) -> Vec<[u8; 3]> {
        self.oui.iter().filter_map(|text| oui(text)).collect()
    }

    /// The sub-options as they go out: number, length, bytes.
    pub fn vendor_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, text) in &self.vendor_options {
            if let (Ok(number), Some(bytes)) = (number.parse::<u8>(), hex(text))
                && let Ok(length) = u8::try_from(bytes.len())
            {
                out.extend([number, length]);
                out.extend(bytes);
            }
        }
        out
    }

    /// How many signs it is known by: the more, the earlier it is tried.
    pub fn signs(&self) -> usize {
        [self.class.is_some(), self.user_class.is_some(), !self.oui.is_empty(), !self.arch.is_empty()]
            .iter()
            .filter(|given| **given)
            .count()
    }
}

pub(crate) fn oui(text: &str) -> Option<[u8; 3]> {
    let bytes = hex(&text.replace(':', ""))?;
    (text.len() == 8).then(|| bytes.try_into().ok()).flatten()
}

pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl Catalog {
    /// Boot clients in the order they are tried: by signs, then by id.
    pub fn clients_by_signs(&self) -> Vec<&BootClient> {
        let mut clients: Vec<&BootClient> = self.clients.iter().collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.signs()));
        clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slip;
    use crate::tests::files;

    const FILE: &str = "pxe-images/clients/board.toml";
    const CLIENT: &str = r#"
id = "board"
title = "A board"
evidence = "synthetic"
class = "PXEClient"
oui = ["02:00:5e"]
arch = [0]
vendor-options = { "10" = "00505845", "9" = "000011" }
"#;

    fn read(text: &str) -> Result<Catalog, Vec<Slip>> {
        let mut files = files();
        files.push((FILE.to_owned(), text.to_owned()));
        crate::read(&files)
    }

    #[test]
    fn b2_14_a_client_of_data_reads_as_the_bytes_of_the_wire() {
        let catalog = read(CLIENT).unwrap();
        let client = catalog.clients.first().unwrap();
        assert_eq!(client.ouis(), [[2, 0, 0x5e]]);
        assert_eq!(client.vendor_bytes(), [10, 4, 0, 0x50, 0x58, 0x45, 9, 3, 0, 0, 0x11]);
        assert_eq!(client.signs(), 3);
    }

    #[test]
    fn every_slip_of_a_client_is_told_at_its_place() {
        for (from, to, word) in [
            ("oui = [\"02:00:5e\"]", "oui = [\"02:00\"]", "first three octets"),
            ("\"00505845\"", "\"0050584\"", "hexadecimal"),
            ("\"10\" =", "\"255\" =", "1 to 254"),
            ("\"10\" =", "\"6\" =", "is ours to set"),
            ("arch = [0]", "loader = \"nowhere\"", "no loader has the id"),
            ("arch = [0]", "lease-seconds = 5", "60 seconds"),
            ("class = \"PXEClient\"", "class = \"\"", "empty"),
        ] {
            let slips = read(&CLIENT.replace(from, to)).unwrap_err();
            assert!(slips.len() == 1 && slips.iter().all(|slip| slip.to_string().contains(word)), "{to}: {slips:?}");
        }
        let everybody = read("id = \"board\"\ntitle = \"x\"\nevidence = \"synthetic\"\narch = [0]\n").unwrap_err();
        assert!(everybody.iter().any(|slip| slip.message.contains("class, user-class or oui")), "{everybody:?}");
    }

    #[test]
    fn who_is_known_by_more_signs_is_tried_first() {
        let general = "id = \"a\"\ntitle = \"x\"\nevidence = \"synthetic\"\nclass = \"PXEClient\"\n";
        let mut files = files();
        files.push((FILE.to_owned(), CLIENT.to_owned()));
        files.push(("pxe-images/clients/a.toml".to_owned(), general.to_owned()));
        let catalog = crate::read(&files).unwrap();
        let order: Vec<&str> = catalog.clients_by_signs().iter().map(|client| client.id.as_str()).collect();
        assert_eq!(order, ["board", "a"]);
    }
}
