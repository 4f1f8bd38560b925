//! Checks of the repository over its own text and its own import graph.
//!
//! Every check is a function from text or graph to a list of faults in words, so that each one is shown a fault of its
//! kind in a unit test: a check that has never been seen failing proves nothing. The tests in `tests/tests/` feed them
//! the real tree.

pub mod floors;
pub mod links;
pub mod promises;
pub mod rules;
pub mod shape;
pub mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A text file of the tree: its path from the repository's root, with `/`, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub path: String,
    pub text: String,
}

impl Page {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub fn is(&self, extension: &str) -> bool {
        self.path.rsplit('.').next() == Some(extension)
    }
}

/// The repository's root, where the workspace's `Cargo.toml` lies.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every text file below `root`, in order of path. What is built (`target`, `.build`, a fuzzer's corpus) and git's own
/// folder are no part of the tree; a file that is not UTF-8 is no text.
pub fn pages(root: &Path) -> io::Result<Vec<Page>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !matches!(name.as_str(), "target" | ".build" | ".git" | "corpus" | "artifacts") {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
                && let Ok(path) = entry.path().strip_prefix(root)
            {
                found.push(Page { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The source without its inline test modules: rustfmt closes a module that begins at column 0 with a brace at column 0.
pub fn without_tests(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let inline = lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && inline {
            for skipped in lines.by_ref() {
                if skipped == "}" {
                    break;
                }
            }
        } else {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

/// Whether a path holds tests and nothing that ships.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_is_cut_and_what_follows_it_stays() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\nfn b() {}\n";
        assert_eq!(without_tests(source), "fn a() {}\n\nfn b() {}\n");
        assert_eq!(without_tests("#[cfg(test)]\nmod tests;\nfn b() {}\n"), "#[cfg(test)]\nmod tests;\nfn b() {}\n");
    }

    #[test]
    fn the_walk_finds_this_very_file_and_nothing_that_was_built() {
        let pages = pages(&root()).unwrap();
        assert!(pages.iter().any(|page| page.path == "tests/src/tree/mod.rs"));
        assert!(pages.iter().all(|page| !page.path.starts_with("target/") && !page.path.starts_with(".git/")));
    }
}
