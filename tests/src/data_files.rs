//! The repository's own data files, as a test's site starts from them; racks are the test's own.

use crate::tree;

const FOLDERS: [&str; 5] =
    ["firmware-profiles/models", "firmware-profiles/bmcs", "pxe-images/loaders", "pxe-images/clients", "pxe-images/os"];

/// Names with their folders, and texts.
///
/// # Panics
/// A folder or file that does not read: the test cannot go on.
#[allow(clippy::unwrap_used, reason = "tests alone call it")]
pub fn data_files() -> Vec<(String, String)> {
    let root = tree::root();
    let mut files = Vec::new();
    for entry in FOLDERS.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files
}
