//! The BMC profiles and the models of this tree, for the verbs that speak to a BMC on a machine that has no data files.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    for (folder, list) in [("bmcs", "bmc_profiles.rs"), ("models", "models.rs")] {
        embed(folder, list)?;
    }
    Ok(())
}

fn embed(kind: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let data = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../firmware-profiles");
    let folder = data.join(kind).canonicalize()?;
    println!("cargo:rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<Result<Vec<PathBuf>, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut list = String::from("[\n");
    for file in files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        writeln!(list, "    (\"firmware-profiles/{kind}/{name}\", include_str!({:?})),", file.display().to_string())?;
    }
    list.push_str("]\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join(name), list)?;
    Ok(())
}
