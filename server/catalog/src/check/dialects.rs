//! BMC profiles: patterns that tell something, and no two profiles that know the same BMCs by the same signs.

use super::twice;
use crate::read::Read;
use crate::{BmcProfile, BmcSigns, Pattern, Recognise, Resource, Slip};

pub fn profile(read: &Read<'_, BmcProfile>, slips: &mut Vec<Slip>) {
    let profile = &read.value;
    let mut say = |path: &str, message: String| slips.push(read.document.slip_at(path, message));
    if profile.protocols.is_empty() {
        say("protocols", "a BMC must speak at least one: \"redfish\", \"ipmi\"".into());
    }
    if profile.timeout_seconds == 0 {
        say("timeout-seconds", "no BMC answers within 0 seconds".into());
    }
    for (at, table) in profile.recognise.iter().enumerate() {
        let rows = table.words(nobody());
        let given = rows.iter().filter_map(|(key, patterns, _)| patterns.map(|patterns| (key, patterns)));
        let mut signs = usize::from(table.maker_number.is_some()) + usize::from(table.product_number.is_some());
        for (key, patterns) in given {
            signs += 1;
            let path = format!("recognise.{at}.{key}");
            if patterns.is_empty() {
                say(&path, "an empty list fits no BMC; leave it out, or name what the BMC says".into());
            }
            hollow(&path, patterns, &mut say);
        }
        if signs == 0 {
            say(&format!("recognise.{at}"), "this would be every BMC: name at least one sign".into());
        }
        if table.product_number.is_some() && table.maker_number.is_none() {
            let message = "a product's number means something beside its maker's alone: give maker-number too";
            say(&format!("recognise.{at}.product-number"), message.into());
        }
    }
    hollow("dhcp.class", &profile.dhcp.class, &mut say);
    for (at, text) in profile.dhcp.oui.iter().enumerate() {
        if crate::client::oui(text).is_none() {
            say(
                &format!("dhcp.oui.{at}"),
                format!("{text:?} must be the first half of a MAC address, like \"02:00:5e\""),
            );
        }
    }
    hollow("firmware-not-running", &profile.firmware_not_running, &mut say);
    for (at, link) in profile.link.iter().enumerate() {
        if !is_pointer(&link.at) {
            let message = format!("at = {:?} must be a JSON pointer, like \"/Oem/Example/Links/Devices\"", link.at);
            say(&format!("link.{at}.at"), message);
        }
        if link.from == Resource::Folder && !profile.link.iter().any(|other| other.to == Resource::Folder) {
            say(&format!("link.{at}.from"), "no link of this profile leads to a folder".into());
        }
    }
    let links = profile.link.iter().enumerate();
    let links = links.map(|(at, link)| (read, format!("link.{at}.at"), format!("{} of {:?}", link.at, link.from)));
    twice(links, "link at", slips);
}

/// The first question that two profiles could only answer with "both", which is nobody.
pub fn apart(profiles: &[Read<'_, BmcProfile>], slips: &mut Vec<Slip>) {
    let tables = profiles.iter().flat_map(|read| {
        let tables = read.value.recognise.iter().enumerate();
        tables.map(move |(at, table)| (read, format!("recognise.{at}"), written(table)))
    });
    twice(tables, "table of signs", slips);
}

/// The table in one way of writing: whatever the order and the case of its patterns.
fn written(table: &Recognise) -> String {
    let words = table.words(nobody()).into_iter().filter_map(|(key, patterns, _)| {
        let mut patterns: Vec<String> =
            patterns?.iter().map(|Pattern(text)| format!("{:?}", text.trim().to_lowercase())).collect();
        patterns.sort();
        Some(format!("{key} = [{}]", patterns.join(", ")))
    });
    let maker = table.maker_number.map(|number| format!("maker-number = {number}"));
    let product = table.product_number.map(|number| format!("product-number = {number}"));
    words.chain(maker).chain(product).collect::<Vec<_>>().join(", ")
}

fn nobody() -> &'static BmcSigns {
    static NOBODY: BmcSigns = BmcSigns {
        root_vendor: None,
        root_product: None,
        oem: Vec::new(),
        system_manufacturer: None,
        system_model: None,
        manager_manufacturer: None,
        manager_model: None,
        firmware: None,
        maker_number: None,
        product_number: None,
    };
    &NOBODY
}

fn hollow(path: &str, patterns: &[Pattern], say: &mut impl FnMut(&str, String)) {
    for (at, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_hollow()) {
        let message = format!("pattern {:?} would fit everything or nothing; name what has to be there", pattern.0);
        say(&format!("{path}.{at}"), message);
    }
}

/// RFC 6901: parts that begin with `/`, in which `~` is written `~0` and `/` is written `~1`.
fn is_pointer(text: &str) -> bool {
    let mut tildes = text.split('~').skip(1);
    text.starts_with('/')
        && text.split('/').skip(1).all(|part| !part.is_empty())
        && tildes.all(|after| after.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use crate::Slip;
    use crate::tests::files;

    const FILE: &str = "firmware-profiles/bmcs/acme.toml";
    const PROFILE: &str = r#"
id = "acme"
title = "A BMC"
evidence = "synthetic"
protocols = ["redfish"]
firmware-not-running = ["Previous-*"]

[[recognise]]
root-vendor = ["Acme*"]
maker-number = 4711
product-number = 2

[[recognise]]
oem = ["Acme"]

[[link]]
from = "system"
at = "/Oem/Acme/Links/Devices"
to = "folder"

[[link]]
from = "folder"
at = "/Devices"
to = "drive"
"#;

    fn slips(text: &str, more: &[(&str, String)]) -> Vec<Slip> {
        let mut files = files();
        files.push((FILE.to_owned(), text.to_owned()));
        files.extend(more.iter().map(|(name, text)| ((*name).to_owned(), text.clone())));
        crate::read(&files).err().unwrap_or_default()
    }

    #[test]
    fn a_profile_with_signs_and_links_reads() {
        assert_eq!(slips(PROFILE, &[]), []);
    }

    #[test]
    fn every_slip_of_a_dialect_is_told_at_its_place() {
        for (from, to, line, word) in [
            ("[\"Acme*\"]", "[\"*\"]", 9, "everything"),
            ("[\"Acme*\"]", "[\" \"]", 9, "everything"),
            ("[\"Acme*\"]", "[]", 9, "empty list"),
            ("oem = [\"Acme\"]", "", 13, "every BMC"),
            ("maker-number = 4711", "", 11, "maker-number"),
            ("[\"Previous-*\"]", "[\"**\"]", 6, "everything"),
            ("\"/Devices\"", "\"Devices\"", 23, "JSON pointer"),
            ("\"/Devices\"", "\"/a~b\"", 23, "JSON pointer"),
            ("to = \"folder\"", "to = \"drive\"", 22, "leads to a folder"),
            ("to = \"drive\"", "to = \"disk\"", 24, "unknown variant"),
            ("oem =", "oems =", 14, "unknown field"),
            ("protocols = [\"redfish\"]", "protocols = [\"redfish\"]\nquirks = [\"no-expands\"]", 6, "no-expands"),
        ] {
            let found = slips(&PROFILE.replace(from, to), &[]);
            let told = found
                .iter()
                .any(|slip| (slip.line, slip.file.as_str()) == (line, FILE) && slip.to_string().contains(word));
            assert!(told, "{to}: {found:?}");
        }
    }

    #[test]
    fn two_profiles_with_the_same_signs_are_a_slip_that_names_the_other() {
        let second = PROFILE
            .replace("\"acme\"", "\"other\"")
            .replace("[\"Acme*\"]", "[\"ACME*\"]")
            .replace("\"Acme\"", "\"Else\"");
        let found = slips(PROFILE, &[("firmware-profiles/bmcs/other.toml", second)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found.iter().all(|slip| slip.message.contains("a second table of signs") && slip.message.contains(FILE))
        );
    }

    #[test]
    fn one_link_twice_is_a_slip() {
        let twice = format!("{PROFILE}\n[[link]]\nfrom = \"folder\"\nat = \"/Devices\"\nto = \"fan\"\n");
        assert!(slips(&twice, &[]).iter().any(|slip| slip.message.contains("a second link at")));
    }
}
