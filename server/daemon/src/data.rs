//! The data files, the boot image and the built images, as they lie on the disk of this machine.

use crate::config::Config;
use anyhow::{Context as _, Result, anyhow};
use muster_bootserver::http::Entry;
use muster_catalog::{Catalog, Image, Manifest};
use muster_conductor::Built;
use muster_netboot::Loaders;
use std::path::{Path, PathBuf};

/// Every data file below `files`: (name with its folders, text).
fn texts(files: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let folders = ["firmware-profiles/models", "firmware-profiles/bmcs", "pxe-images/loaders", "pxe-images/os"];
    for folder in folders {
        take(files, &files.join(folder), &mut found)?;
    }
    let racks = files.join("rack-layouts");
    for site in sorted(&racks)? {
        if site.is_dir() {
            take(files, &site, &mut found)?;
        }
    }
    Ok(found)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("the data folder {} does not read", folder.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn take(base: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> Result<()> {
    for path in sorted(folder)? {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{} does not read", path.display()))?;
            let name = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            found.push((name, text));
        }
    }
    Ok(())
}

/// The catalog, or every slip of every file, a line each.
pub fn catalog(config: &Config) -> Result<Catalog> {
    let texts = texts(&config.files)?;
    muster_catalog::read(&texts).map_err(|slips| {
        let lines: Vec<String> = slips.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })
}

/// The images that are built and fit their data file; the others are told, and left out.
pub fn images(config: &Config, catalog: &Catalog) -> (Vec<Built>, Vec<String>) {
    let (mut built, mut told) = (Vec::new(), Vec::new());
    for os in &catalog.images {
        let manifest = config.images.join(&os.id.0).join("manifest.json");
        match image(&manifest, os) {
            Ok(image) => built.push(image),
            Err(error) => told.push(format!("image {} cannot be installed: {error:#}", os.id)),
        }
    }
    (built, told)
}

fn image(manifest: &Path, os: &muster_catalog::OsImage) -> Result<Built> {
    let text = std::fs::read_to_string(manifest).with_context(|| format!("{} does not read", manifest.display()))?;
    let read: Manifest = serde_json::from_str(&text).with_context(|| format!("in {}", manifest.display()))?;
    let agent_version = read.agent_version.clone();
    let image = Image::from_manifest(os, read).map_err(|error| anyhow!(error))?;
    let file = manifest.with_file_name(&image.built.file);
    let length = std::fs::metadata(&file).with_context(|| format!("{} is not there", file.display()))?.len();
    anyhow::ensure!(
        length == image.built.bytes,
        "{} has {length} bytes, its manifest says {}",
        file.display(),
        image.built.bytes
    );
    Ok(Built { image, agent_version })
}

/// Which loader each client architecture gets.
pub fn loaders(catalog: &Catalog) -> Loaders {
    let pairs = catalog.loaders.iter().flat_map(|loader| loader.arch.iter().map(|arch| (*arch, loader.file.clone())));
    Loaders(pairs.collect())
}

/// What is served under which name. A loader whose package is not installed is told, and left out.
pub fn entries(config: &Config, catalog: &Catalog, built: &[Built]) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut told) = (Vec::<Entry>::new(), Vec::new());
    for loader in &catalog.loaders {
        let files = std::iter::once((&loader.file, &loader.source));
        for (name, source) in files.chain(loader.companions.iter().map(|more| (&more.file, &more.source))) {
            let name = format!("boot/{name}");
            if entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            if Path::new(&source.path).is_file() {
                entries.push(Entry { name, file: source.path.clone().into() });
            } else if !loader.arch.is_empty() {
                told.push(format!(
                    "loader {}: {} is not there; install the package {}",
                    loader.id, source.path, source.package
                ));
            }
        }
    }
    for name in [KERNEL, INITRD] {
        let file = config.boot_image.join(name);
        if file.is_file() {
            entries.push(Entry { name: format!("boot/{name}"), file });
        } else {
            told.push(format!("{} is not there; build the boot image (pxe-images/boot-image)", file.display()));
        }
    }
    for built in built {
        let id = &built.image.os.id;
        let file = config.images.join(&id.0).join(&built.image.built.file);
        entries.push(Entry { name: built.reference().url.trim_start_matches('/').to_string(), file });
    }
    (entries, told)
}

pub const KERNEL: &str = "vmlinuz";
pub const INITRD: &str = "initrd.zst";
