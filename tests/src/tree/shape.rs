//! How big a thing may grow: a file, a trait, a struct of the daemon. A function's length is clippy's to count
//! (`too_many_lines`).
//!
//! The traits and structs are found by rustfmt's layout rather than by a parser: one line opens, a brace at the same
//! indentation closes. That is enough for source that `cargo fmt --check` has passed.

use super::{Page, is_test, without_tests};

const FILE_LINES: usize = 800;
const TRAIT_METHODS: usize = 10;
const DAEMON_FIELDS: usize = 12;

/// What has grown too big, in words.
pub fn faults(page: &Page) -> Vec<String> {
    let mut faults = Vec::new();
    if !page.is("rs") {
        return faults;
    }
    let lines = page.text.lines().count();
    if lines > FILE_LINES {
        faults.push(format!("{}: {lines} lines, {FILE_LINES} are allowed: divide it", page.path));
    }
    if is_test(&page.path) {
        return faults;
    }
    let source = without_tests(&page.text);
    for (name, methods) in blocks(&source, "trait ", |line| line.starts_with("fn ") || line.starts_with("async fn ")) {
        if methods > TRAIT_METHODS {
            faults.push(format!("{}: trait {name} has {methods} methods, {TRAIT_METHODS} are allowed", page.path));
        }
    }
    if page.path.starts_with("server/daemon/") {
        for (name, fields) in blocks(&source, "struct ", is_field) {
            if fields > DAEMON_FIELDS {
                faults.push(format!("{}: struct {name} has {fields} fields, {DAEMON_FIELDS} are allowed", page.path));
            }
        }
    }
    faults
}

fn is_field(line: &str) -> bool {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    line.split_once(": ").is_some_and(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// Every block that `word` opens, with how many lines one level inside it count.
fn blocks(source: &str, word: &str, counts: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, usize)> = None;
    for line in source.lines() {
        let inner = line.trim_start();
        let indent = line.len() - inner.len();
        match &mut open {
            Some((at, _, _)) if indent == *at && inner.starts_with('}') => {
                found.extend(open.take().map(|(_, name, count)| (name, count)));
            }
            Some((at, _, count)) => *count += usize::from(indent == *at + 4 && counts(inner)),
            None => {
                let head = inner.strip_prefix("pub(crate) ").or_else(|| inner.strip_prefix("pub ")).unwrap_or(inner);
                if let Some(rest) = head.strip_prefix(word)
                    && line.ends_with('{')
                {
                    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(rest);
                    open = Some((indent, name.to_string(), 0));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Vec<String> {
        faults(&Page::new(path, text))
    }

    #[test]
    fn a_file_of_801_lines_is_too_long() {
        assert!(page("server/x/src/lib.rs", &"//\n".repeat(800)).is_empty());
        assert_eq!(page("server/x/src/lib.rs", &"//\n".repeat(801)).len(), 1);
        assert!(page("server/x/data.toml", &"#\n".repeat(801)).is_empty());
    }

    #[test]
    fn a_trait_of_eleven_methods_is_a_god() {
        let of = |n: usize| format!("pub trait Door: Send {{\n{}}}\n", "    fn a(&self);\n".repeat(n));
        assert!(page("server/x/src/lib.rs", &of(10)).is_empty());
        assert!(page("server/x/src/lib.rs", &of(11))[0].contains("trait Door has 11 methods"));
    }

    #[test]
    fn a_struct_of_thirteen_fields_is_too_much_for_the_daemon_only() {
        let text = format!("struct All {{\n{}}}\n", "    /// A word: said.\n    pub a: u8,\n".repeat(13));
        assert!(page("server/daemon/src/main.rs", &text)[0].contains("struct All has 13 fields"));
        assert!(page("server/names/src/lib.rs", &text).is_empty());
    }
}
