//! The words of the whole tree: see [`muster_tests::tree::words`].

use muster_tests::tree::{self, words};

#[test]
fn every_word_belongs_where_it_stands() {
    let root = tree::root();
    let giveaway = words::giveaway(&root);
    let pages = tree::pages(&root).unwrap();
    let faults: Vec<String> = pages.iter().flat_map(|page| words::faults(page, &giveaway)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
