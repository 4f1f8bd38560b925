//! Pages that point at things which are not there: a link's target, a heading, a path in backticks.
//!
//! A small reading of Markdown of our own: fenced blocks are left out, `[text](target)` is a link, and a path in
//! backticks counts when it begins with a folder of the tree. Addresses on the net are not asked for: a test that needs
//! the net fails for the net's reasons.

use super::Page;
use std::collections::BTreeSet;

/// Records and histories speak of what was; their paths in backticks may be gone. Their links may not.
const HISTORIES: &[&str] = &["docs/decisions/", "CHANGELOG.md"];

/// Every dead link of every Markdown page; `built` are paths that a build makes.
pub fn faults(pages: &[Page]) -> Vec<String> {
    let mut there = BTreeSet::new();
    for page in pages {
        let mut path = page.path.as_str();
        there.insert(path);
        while let Some((folder, _)) = path.rsplit_once('/') {
            there.insert(folder);
            path = folder;
        }
    }
    let mut faults = Vec::new();
    for page in pages.iter().filter(|page| page.is("md")) {
        for (number, line) in prose(&page.text) {
            for target in targets(&line) {
                if let Err(fault) = follow(pages, &there, page, &target) {
                    faults.push(format!("{}:{number}: {fault}", page.path));
                }
            }
            if HISTORIES.iter().any(|history| page.path.starts_with(history)) {
                continue;
            }
            for path in quoted(&line).filter(|path| is_path(path, &there)) {
                if !there.contains(path.trim_end_matches('/')) {
                    faults.push(format!("{}:{number}: `{path}` is not in the tree", page.path));
                }
            }
        }
    }
    faults
}

fn follow(pages: &[Page], there: &BTreeSet<&str>, from: &Page, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() { from.path.clone() } else { resolve(&from.path, file) };
    if !path.is_empty() && !there.contains(path.as_str()) {
        return Err(format!("({target}) leads nowhere"));
    }
    let Some(heading) = heading else { return Ok(()) };
    let page = pages.iter().find(|page| page.path == path);
    let known = page.is_some_and(|page| {
        prose(&page.text).any(|(_, line)| line.starts_with('#') && slug(line.trim_start_matches('#')) == heading)
    });
    if known { Ok(()) } else { Err(format!("({target}): {path} has no such heading")) }
}

/// The path that `target`, written in the page at `from`, means.
fn resolve(from: &str, target: &str) -> String {
    let mut steps: Vec<&str> = from.split('/').collect();
    steps.pop();
    for step in target.trim_end_matches('/').split('/') {
        match step {
            "." | "" => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// The lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| (number, line.to_string()))
    })
}

fn targets(line: &str) -> Vec<String> {
    let without_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let mut found = Vec::new();
    let mut rest = without_code.as_str();
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, left)) = after.split_once(')') else { break };
        found.push(target.split_whitespace().next().unwrap_or_default().to_string());
        rest = left;
    }
    found
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A path of the tree: it begins with one of its folders and holds no placeholder (`<site>`, `SITE`, `NNNN`).
fn is_path(text: &str, there: &BTreeSet<&str>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    text.chars().all(plain)
        && !text.contains("NNNN")
        && !text.split('/').any(|step| step.len() > 1 && step.chars().all(|c| c.is_ascii_uppercase()))
        && text.split_once('/').is_some_and(|(first, _)| there.contains(first) && !first.contains('.'))
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let life = Page::new("docs/LIFE.md", "# The life of a machine\n```\n# Not a heading\n```\n");
        faults(&[Page::new("docs/reference/words.md", text), life, Page::new("server/names/src/lib.rs", "")])
    }

    #[test]
    fn links_that_lead_somewhere_are_no_faults() {
        let text = "[a](../LIFE.md) [b](../LIFE.md#the-life-of-a-machine) [c](https://example.org/x) [d](../../server/)\n\
                    # Own words\n[e](#own-words) `server/names` `server/names/src/lib.rs` `server/<room>` `server/ROOM/src` `cargo test`\n";
        assert_eq!(of(text), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_a_dead_heading_and_a_moved_path_are_faults() {
        for text in ["[a](LIFE.md)", "[a](../LIFE.md#not-a-heading)", "[a](#nothing)", "see `server/nowhere/src`"] {
            assert_eq!(of(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_stands_in_code_is_no_link() {
        assert_eq!(of("```\n[a](gone.md) `server/nowhere`\n```\n`[a](gone.md)`\n"), Vec::<String>::new());
    }

    #[test]
    fn a_decision_may_name_what_is_gone_and_may_not_link_to_it() {
        let there = Page::new("server/x.rs", "");
        let record = |text| Page::new("docs/decisions/0001-a.md", text);
        assert!(faults(&[record("`server/gone.rs` was"), there.clone()]).is_empty());
        assert_eq!(faults(&[record("[it](gone.md)"), there]).len(), 1);
    }
}
