//! Words that do not belong: a vendor's name in code that decides, a mark of unfinished work, a path of the machine
//! that built it, a file that does not say what it is for.

use super::{Page, is_test, without_tests};
use std::path::Path;

/// Makers of servers, BMCs, switches and power strips, and the names of their products. What differs between them is
/// data (`firmware-profiles/`) or a named quirk in the room that speaks to the device.
const VENDORS: &[&str] = &[
    "apc",
    "arista",
    "asrock",
    "asus",
    "brocade",
    "cisco",
    "cumulus",
    "dell",
    "eaton",
    "edgecore",
    "foxconn",
    "fujitsu",
    "gigabyte",
    "hewlett",
    "hpe",
    "huawei",
    "idrac",
    "ilo",
    "inspur",
    "irmc",
    "juniper",
    "junos",
    "lenovo",
    "megarac",
    "mellanox",
    "mikrotik",
    "nvidia",
    "openbmc",
    "poweredge",
    "proliant",
    "quanta",
    "raritan",
    "supermicro",
    "thinksystem",
    "tyan",
    "vertiv",
    "wiwynn",
    "xclarity",
    "zte",
];

/// The rooms that may know vendors: they speak to the devices.
const MAY_KNOW_VENDORS: &[&str] = &["server/bmc/", "server/switches/"];

/// Marks of unfinished work, put together here so that this list is not one itself.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimplement", "ed!(")];

/// Kinds of file that people write by hand.
const BY_HAND: &[&str] = &["rs", "toml", "sh", "py", "js", "md", "html", "css", "sql", "run", "Makefile"];

/// Folders that every machine has: a path below them says nothing about the one that built this.
const EVERY_MACHINE: &[&str] = &[
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv",
    "sys", "tmp", "usr", "var",
];

/// The path prefix that gives away where the tree at `root` was built: the first folder where it is an unusual one,
/// else the whole path.
pub fn giveaway(root: &Path) -> String {
    let text = root.to_string_lossy();
    let first = text.trim_start_matches('/').split('/').next().unwrap_or_default();
    if EVERY_MACHINE.contains(&first) { format!("{text}/") } else { format!("/{first}/") }
}

/// Everything wrong with the words of one page.
pub fn faults(page: &Page, giveaway: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let by_hand =
        BY_HAND.iter().any(|extension| page.is(extension)) || BY_HAND.iter().any(|name| page.path.ends_with(name));
    for (number, line) in (1..).zip(page.text.lines()) {
        if by_hand && let Some(mark) = UNFINISHED.iter().find(|mark| contains_word(line, mark)) {
            faults.push(format!("{}:{number}: {mark}: finish it, or write an issue", page.path));
        }
        if leaks(line, giveaway) {
            faults.push(format!("{}:{number}: {giveaway} is a path of the machine that built this", page.path));
        }
    }
    if page.is("rs") {
        faults.extend(vendors(page));
        if !opens_with_its_purpose(&page.text) {
            faults.push(format!(
                "{}:1: the file does not open with //! saying what it is for and why it is so",
                page.path
            ));
        }
    }
    faults
}

fn vendors(page: &Page) -> Vec<String> {
    if is_test(&page.path) || MAY_KNOW_VENDORS.iter().any(|room| page.path.starts_with(room)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for line in without_tests(&page.text).lines() {
        if let Some(vendor) = words(line).into_iter().find(|word| VENDORS.contains(&word.as_str())) {
            let line = line.trim();
            faults
                .push(format!("{}: {vendor} in `{line}`: what differs between vendors is data or a quirk", page.path));
        }
    }
    faults
}

/// The words of a line, lower-case and without digits: `isDellBmc`, `is_dell_bmc` and `dell14g` all say `dell`. A word
/// is also given whole, for names that begin small and go on in capitals.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for whole in line.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        found.push(whole.to_lowercase());
        let mut part = String::new();
        for c in whole.chars() {
            if c.is_uppercase() && part.chars().next_back().is_some_and(char::is_lowercase) {
                found.push(std::mem::take(&mut part).to_lowercase());
            }
            part.push(c);
        }
        found.push(part.to_lowercase());
    }
    found
}

fn contains_word(line: &str, mark: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(mark).any(|(at, _)| {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + mark.len()..).unwrap_or_default());
        edge(before.chars().next_back()) && (mark.ends_with('(') || edge(after.chars().next()))
    })
}

/// Whether the giveaway stands in the line as the beginning of an absolute path.
fn leaks(line: &str, giveaway: &str) -> bool {
    line.match_indices(giveaway).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | ')' | '>' | '~' | '*'))
    })
}

/// A mere list (modules, imports, re-exports) explains itself; everything else says what it is for in its first line.
fn opens_with_its_purpose(source: &str) -> bool {
    let listed = |line: &str| {
        let line = line.trim();
        ["mod ", "pub mod ", "use ", "pub use ", "#[", "//"].iter().any(|start| line.starts_with(start))
            || line.is_empty()
    };
    source.starts_with("//! ") || source.lines().all(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        faults(&Page::new(path, text), "/attic/")
    }

    #[test]
    fn a_vendor_in_a_deciding_room_is_found_in_every_spelling() {
        for line in ["if is_dell {", "let x = DellQuirk;", "// as HPE does", "\"Supermicro\"", "let iDRAC9 = 1;"] {
            let text = format!("//! A room.\n{line}\n");
            assert_eq!(of("server/lifecycle/src/lib.rs", &text).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_vendor_is_welcome_where_devices_are_spoken_to_and_in_tests() {
        let text = "//! A room.\nconst D: &str = \"dell\";\n";
        for path in
            ["server/bmc/src/quirks.rs", "server/switches/src/lib.rs", "tests/src/x.rs", "server/api/src/tests.rs"]
        {
            assert!(of(path, text).is_empty(), "{path}");
        }
        let inline = "//! A room.\n#[cfg(test)]\nmod tests {\n    // dell\n}\n";
        assert!(of("server/api/src/lib.rs", inline).is_empty());
        assert!(of("server/api/src/lib.rs", "//! Modelled, not dell-like: modell.\n").len() == 1);
    }

    #[test]
    fn unfinished_work_is_found_and_a_longer_word_is_not() {
        for mark in UNFINISHED {
            let text = format!("//! A room.\n    // {mark} later\n");
            assert_eq!(of("server/api/src/lib.rs", &text).len(), 1, "{mark}");
        }
        assert!(of("x.sh", &format!("MAS{}S=1\n", UNFINISHED[0])).is_empty());
    }

    #[test]
    fn a_path_of_the_building_machine_is_found_and_a_relative_one_is_not() {
        assert_eq!(of("docs/x.md", "see /attic/main/Cargo.toml\n").len(), 1);
        assert!(of("docs/x.md", "see ../attic/main and $BED/attic/x and ${BED}/attic/x\n").is_empty());
        assert_eq!(giveaway(Path::new("/attic/main")), "/attic/");
        assert_eq!(giveaway(Path::new("/home/someone/muster")), "/home/someone/muster/");
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_found_unless_it_is_a_list() {
        assert_eq!(of("server/api/src/x.rs", "fn a() {}\n").len(), 1);
        assert!(of("server/api/src/x.rs", "mod a;\npub use a::B;\n").is_empty());
    }
}
