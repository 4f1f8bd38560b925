//! The promises of `docs/SPECIFICATION.md` and the tests that keep them. A promise is a row of a table whose last cell
//! names its tests in backticks: a test function's name, `room::name` where several rooms have one of that name, or
//! `prove/NAME` for a scenario of `make prove`.
//!
//! The names are looked up in the source, not in a test run: a run that filters tests out must not make a promise look
//! broken, and a row must not be kept by a test that was renamed away.

use super::Page;
use std::collections::BTreeSet;

/// The names of all tests in the tree.
pub fn tests(pages: &[Page]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for page in pages {
        if let Some(scenario) = page.path.strip_prefix("tests/prove/").and_then(|path| path.strip_suffix(".sh")) {
            names.insert(format!("prove/{scenario}"));
        }
        if page.is("rs") {
            for name in functions(&page.text) {
                names.insert(format!("{}::{name}", room(&page.path)));
                names.insert(name);
            }
        }
    }
    names
}

/// `server/netboot/src/lib.rs` lies in `netboot`, `agent/src/main.rs` in `agent`.
fn room(path: &str) -> &str {
    path.strip_prefix("server/").unwrap_or(path).split('/').next().unwrap_or(path)
}

/// Functions right under a `#[test]`-like attribute; other attributes may stand between. The cases of a `both! { }` block,
/// which runs each on both databases, need no attribute.
fn functions(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marked = false;
    let mut both = false;
    for raw in source.lines() {
        both = raw == "both! {" || (both && raw != "}");
        let line = raw.trim();
        marked |= both && raw.starts_with("    async fn ");
        if line.starts_with("#[") {
            marked |= line == "#[test]" || line.contains("::test]") || line.contains("::test(");
            continue;
        }
        if marked {
            let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
            found.extend(name.and_then(|name| name.split(['(', '<']).next()).map(str::to_string));
        }
        marked = marked && line.starts_with("//");
    }
    found
}

/// Promises without a test, and tests that are not there.
pub fn faults(specification: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut promises = 0;
    for (number, line) in (1..).zip(specification.lines()) {
        let Some(row) = line.strip_prefix('|') else { continue };
        let cells: Vec<&str> = row.trim_end().trim_end_matches('|').split(" | ").collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
        if cells.len() < 2 || row.trim_start().starts_with("---") || row.starts_with("---") || last.trim() == "kept by"
        {
            continue;
        }
        promises += 1;
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("SPECIFICATION.md:{number}: no test keeps \"{}\"", first.trim()));
        }
        for name in named.iter().filter(|name| !tests.contains(**name)) {
            faults.push(format!("SPECIFICATION.md:{number}: there is no test `{name}` in the tree"));
        }
    }
    if promises == 0 {
        faults.push("SPECIFICATION.md promises nothing".into());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_plain_async_and_in_proptest_blocks_and_helpers_are_not() {
        let source = "#[test]\nfn a() {}\nfn helper() {}\n    #[tokio::test(flavor = \"x\")]\n    // why\n    async fn b() {}\n\
                      proptest! {\n    #[test]\n    #[ignore]\n    fn c(x: u8) {}\n}\n";
        assert_eq!(functions(source), ["a", "b", "c"]);
        let cases =
            "both! {\n    async fn a(bed: Bed) {\n        async fn inner() {}\n    }\n}\nasync fn helper() {}\n";
        assert_eq!(functions(cases), ["a"]);
        let scenario = Page::new("tests/prove/boot-bios.sh", "");
        let room = Page::new("server/netboot/src/tftp/packet.rs", "#[test]\nfn a() {}\n");
        let found = super::tests(&[scenario, room]);
        assert_eq!(found.iter().collect::<Vec<_>>(), ["a", "netboot::a", "prove/boot-bios"]);
    }

    #[test]
    fn a_promise_without_a_test_or_with_one_that_is_gone_is_a_fault() {
        let tests = BTreeSet::from(["kept".to_string()]);
        let page = |row: &str| format!("# Promises\n| promise | kept by |\n|---|---|\n{row}\n");
        assert!(faults(&page("| It holds. | `kept` |"), &tests).is_empty());
        assert_eq!(faults(&page("| It holds. | `kept`, `gone` |"), &tests).len(), 1);
        assert_eq!(faults(&page("| It holds. | some day |"), &tests).len(), 1);
        assert_eq!(faults("# Promises\n", &tests).len(), 1);
    }
}
