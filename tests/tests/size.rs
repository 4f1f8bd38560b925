//! No file, trait or struct grows past what one person can hold in mind.

use muster_tests::tree::{self, shape};

#[test]
fn nothing_has_grown_too_big() {
    let pages = tree::pages(&tree::root()).unwrap();
    let faults: Vec<String> = pages.iter().flat_map(shape::faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
