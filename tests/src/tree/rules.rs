//! The rules of the boot path and the tests that keep each from both sides: `docs/reference/boot-rules.md`. A row holds
//! the rule's number, the rule, the tests that show the right thing done, and the tests that show the wrong one refused,
//! dropped or counted.
//!
//! The numbers of each family are counted here and not read from the page: a row that is deleted must be a fault, and a
//! page cannot tell what it no longer says.

use std::collections::{BTreeMap, BTreeSet};

/// Families of rules, and how many each has: TFTP against abuse, reading DHCP, DHCPv4, choosing a boot, UEFI HTTP boot,
/// DHCPv6, TFTP, booting the disk.
const FAMILIES: [(&str, u32); 8] =
    [("a2", 6), ("a3", 10), ("b1", 31), ("b2", 18), ("b3", 9), ("b4", 6), ("b5", 13), ("b6", 8)];
/// How a cell without a test begins; a reason follows.
const REASONED: [&str; 2] = ["exempt: ", "not built: "];
/// A shorter reason is none.
const REASON: usize = 20;

/// Rules that are missing, told twice or unknown, and sides of a rule that nothing keeps and nobody gave a reason for.
pub fn faults(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut told: BTreeMap<String, usize> = all().map(|rule| (rule, 0)).collect();
    for (number, line) in (1..).zip(page.lines()) {
        let Some(row) = line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) else { continue };
        let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
        let Some(rule) = cells.first().filter(|first| !first.starts_with("---") && **first != "rule") else { continue };
        let mut fault = |what: String| faults.push(format!("boot-rules.md:{number}: {rule} {what}"));
        match told.get_mut(*rule) {
            Some(times) => *times += 1,
            None => fault("is no rule of a family that is counted".into()),
        }
        let [_, words, accepts, refuses] = cells.as_slice() else {
            fault("has not four cells: number, rule, accepting tests, refusing tests".into());
            continue;
        };
        if words.is_empty() {
            fault("says nothing".into());
        }
        for (side, cell) in [("accepts", accepts), ("refuses", refuses)] {
            for what in unkept(cell, tests) {
                fault(format!("has nothing that {side}: {what}"));
            }
        }
    }
    for (rule, times) in told.into_iter().filter(|(_, times)| *times != 1) {
        faults.push(format!("boot-rules.md: {rule} is told {times} times, expected once"));
    }
    faults
}

fn all() -> impl Iterator<Item = String> {
    FAMILIES.into_iter().flat_map(|(family, count)| (1..=count).map(move |rule| format!("{family}.{rule}")))
}

/// What is wrong with one side of a rule.
fn unkept(cell: &str, tests: &BTreeSet<String>) -> Vec<String> {
    if let Some(reason) = REASONED.iter().find_map(|word| cell.strip_prefix(word)) {
        let short = reason.len() < REASON || reason.contains('`');
        return short.then(|| format!("\"{cell}\" is no reason in words")).into_iter().collect();
    }
    let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        return vec![format!("\"{cell}\" names no test and begins with none of {REASONED:?}")];
    }
    let gone = named.iter().filter(|name| !tests.contains(**name));
    gone.map(|name| format!("there is no test `{name}` in the tree")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Vec<String> {
        all()
            .map(|rule| format!("| {rule} | It holds. | `kept` | exempt: nothing comes in that could be wrong |"))
            .collect()
    }

    fn count(rows: &[String]) -> usize {
        let page = format!("# Rules\n| rule | what | accepts | refuses |\n|---|---|---|---|\n{}\n", rows.join("\n"));
        faults(&page, &BTreeSet::from(["kept".to_string()])).len()
    }

    #[test]
    fn every_rule_of_every_family_is_told_once() {
        assert_eq!(count(&whole()), 0);
        assert_eq!(count(&whole()[1..]), 1, "a row that is gone");
        let twice = [whole(), whole()[..1].to_vec()].concat();
        assert_eq!(count(&twice), 1);
        let unknown = whole().iter().map(|row| row.replace("| b6.8 |", "| b6.9 |")).collect::<Vec<_>>();
        assert_eq!(count(&unknown), 2, "one too many and one that is missing");
        assert_eq!(count(&[]), 101);
    }

    #[test]
    fn a_side_without_a_test_that_exists_or_a_reason_is_a_fault() {
        let with = |refuses: &str| {
            let mut rows = whole();
            if let Some(row) = rows.first_mut() {
                *row = format!("| a2.1 | It holds. | `kept` | {refuses} |");
            }
            count(&rows)
        };
        assert_eq!(with("`kept`, `kept`"), 0);
        assert_eq!(with("not built: no machine of ours does it"), 0);
        for bad in ["`gone`", "", "some day", "exempt: so", "exempt: because `gone` is not there any more"] {
            assert_eq!(with(bad), 1, "{bad:?}");
        }
        assert_eq!(with("`kept` | one cell too many"), 1);
    }
}
