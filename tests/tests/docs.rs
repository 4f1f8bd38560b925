//! The pages point at things that are there, and every promise is kept by a test that exists.

use muster_tests::tree::{self, links, promises, rules};

#[test]
fn every_link_and_path_in_the_docs_leads_somewhere() {
    let faults = links::faults(&tree::pages(&tree::root()).unwrap());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_promise_names_a_test_of_the_tree() {
    let pages = tree::pages(&tree::root()).unwrap();
    let specification = pages.iter().find(|page| page.path == "docs/SPECIFICATION.md").unwrap();
    let faults = promises::faults(&specification.text, &promises::tests(&pages));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_rule_of_the_boot_path_is_kept_from_both_sides_or_says_why_not() {
    let pages = tree::pages(&tree::root()).unwrap();
    let page = pages.iter().find(|page| page.path == "docs/reference/boot-rules.md").unwrap();
    let faults = rules::faults(&page.text, &promises::tests(&pages));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
