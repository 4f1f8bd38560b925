//! The data files, the boot image and the built images, as they lie on the disk of this machine.

use crate::config::{Config, Mistakes};
use anyhow::{Context as _, Result, anyhow};
use muster_bootserver::http::Entry;
use muster_catalog::{BootClient, Catalog, Image, Loader, Manifest, Slip};
use muster_conductor::Built;
use muster_names::{Architecture, Way};
use muster_netboot::{ClientKind, FirstFile, Loaders, ProxyStyle};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every data file below `files`: (name with its folders, text). A file beside the folders is taken too: the catalog says
/// that it lies wrong, where silence would leave its rack out.
fn texts(files: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for beside in ["firmware-profiles", "pxe-images"] {
        take(files, &files.join(beside), &mut found)?;
    }
    let folders = [
        "firmware-profiles/models",
        "firmware-profiles/bmcs",
        "pxe-images/loaders",
        "pxe-images/clients",
        "pxe-images/os",
    ];
    for folder in folders {
        take(files, &files.join(folder), &mut found)?;
    }
    let racks = files.join("rack-layouts");
    take(files, &racks, &mut found)?;
    for site in sorted(&racks)? {
        if site.is_dir() {
            take(files, &site, &mut found)?;
        }
    }
    Ok(found)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "the folder of data files {} does not read; `files` in the configuration names where they lie",
            folder.display()
        )
    })?;
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

/// The BMC profiles below a folder of data files.
pub fn bmc_profiles(files: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    take(files, &files.join("firmware-profiles/bmcs"), &mut found)?;
    Ok(found)
}

/// The models below a folder of data files, with what they name.
pub fn models(files: &Path) -> Result<Vec<(String, String)>> {
    let mut found = bmc_profiles(files)?;
    take(files, &files.join("firmware-profiles/models"), &mut found)?;
    let loaders = files.join("pxe-images/loaders");
    if loaders.is_dir() {
        take(files, &loaders, &mut found)?;
    }
    Ok(found)
}

/// The catalog, or every slip of every file.
pub fn read(config: &Config) -> Result<std::result::Result<Catalog, Vec<Slip>>> {
    let texts = texts(&config.files)?;
    Ok(muster_catalog::read(&texts).map_err(|mut slips| {
        // As a path that an editor opens.
        for slip in &mut slips {
            slip.file = config.files.join(&slip.file).display().to_string();
        }
        slips
    }))
}

/// The catalog, or every slip of every file, a line each.
pub fn catalog(config: &Config) -> Result<Catalog> {
    Ok(read(config)?.map_err(Mistakes)?)
}

/// What is wrong with the password files that the layouts name: each by itself, with the machines that wait for it.
pub fn passwords(config: &Config, catalog: &Catalog) -> Vec<String> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for placed in catalog.machines() {
        if let Some(bmc) = &placed.machine.bmc {
            let file = bmc.password_file.iter();
            file.for_each(|file| named.entry(file).or_default().push(&placed.machine.name));
        }
    }
    let wrong = |(name, machines): (&str, Vec<&str>)| {
        let file = config.secrets.join(name);
        let why = match std::fs::read_to_string(&file) {
            Err(error) => {
                format!("does not read ({error}); write the BMC's password into it, readable by the daemon alone")
            }
            Ok(text) if text.trim().is_empty() => "is empty; write the BMC's password into it".to_string(),
            Ok(_) if open_to_others(&file) => "can be read by others on this machine; `chmod 600` it".to_string(),
            Ok(_) => return None,
        };
        Some(format!("password file {} {why}; named by {}", file.display(), few(&machines)))
    };
    named.into_iter().filter_map(wrong).collect()
}

pub fn open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
}

/// The first three of a list, and how many more there are.
fn few(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
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

/// Which loader each client gets, by architecture and by kind. A kind's loader that is not installed is not offered: such
/// clients are rare, and few sites have its package. On a network for firmware that starts nothing unsigned, the signed ones alone. A loader without a boot image behind it
/// would only cost its machine a minute on the way to its disk.
pub fn loaders(config: &Config, catalog: &Catalog, secure: bool) -> Loaders {
    let first = |loader: &Loader| FirstFile {
        file: loader.file.clone(),
        proxy: match loader.proxy_style {
            muster_catalog::ProxyStyle::Pxe10 => ProxyStyle::Pxe10,
            muster_catalog::ProxyStyle::Binl4011 => ProxyStyle::Binl4011,
        },
    };
    let led_on = |loader: &Loader| config.boot_image(loader.architecture).is_some();
    let by_arch = catalog.first_loaders(secure).into_iter().filter(|(_, loader)| led_on(loader));
    let kind = |client: &BootClient| ClientKind {
        name: client.title.clone(),
        class: client.class.clone(),
        user_class: client.user_class.clone(),
        ouis: client.ouis(),
        archs: client.arch.clone(),
        file: client
            .loader
            .as_ref()
            .and_then(|id| catalog.loader(id))
            .filter(|loader| Path::new(&loader.source.path).is_file())
            .map(first),
        vendor_options: client.vendor_bytes(),
        lease_seconds: client.lease_seconds,
    };
    Loaders {
        by_arch: by_arch.map(|(arch, loader)| (arch, first(loader))).collect(),
        kinds: catalog.clients_by_signs().into_iter().map(kind).collect(),
    }
}

/// What is served under which name. A loader whose package is not installed is told, and left out.
pub fn entries(config: &Config, catalog: &Catalog, built: &[Built]) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut told) = (Vec::<Entry>::new(), Vec::new());
    for loader in &catalog.loaders {
        let image = config.boot_image(loader.architecture);
        let files = std::iter::once((&loader.file, &loader.source));
        for (file, source) in files.chain(loader.companions.iter().map(|more| (&more.file, &more.source))) {
            let name = format!("boot/{file}");
            if entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            let beside = image.map(|folder| folder.join("loaders").join(file));
            if Path::new(&source.path).is_file() {
                entries.push(Entry { name, file: source.path.clone().into() });
            } else if let Some(file) = beside.filter(|file| file.is_file()) {
                entries.push(Entry { name, file });
            } else if image.is_some() && (!loader.arch.is_empty() || (loader.disc && wants_discs(catalog))) {
                told.push(format!(
                    "loader {}: {} is not there; install the package {}",
                    loader.id, source.path, source.package
                ));
            }
        }
    }
    for architecture in [Architecture::X86_64, Architecture::Arm64] {
        let Some(folder) = config.boot_image(architecture) else { continue };
        for name in [KERNEL, INITRD] {
            match boot_image_file(folder, architecture, name) {
                Ok(file) => entries.push(Entry { name: boot_file(architecture, name), file }),
                Err(why) => told.push(why),
            }
        }
    }
    for built in built {
        let id = &built.image.os.id;
        let file = config.images.join(&id.0).join(&built.image.built.file);
        entries.push(Entry { name: built.reference().url.trim_start_matches('/').to_string(), file });
    }
    (entries, told)
}

fn wants_discs(catalog: &Catalog) -> bool {
    catalog.models.iter().any(|model| model.boot.ways.contains(&Way::VirtualMedia))
}

/// Under what name a file of a boot image is served.
pub fn boot_file(architecture: Architecture, name: &str) -> String {
    match architecture {
        Architecture::X86_64 => format!("boot/{name}"),
        Architecture::Arm64 => format!("boot/arm64/{name}"),
    }
}

/// A file of a boot image, which must be of the architecture that the setting is for: a kernel of another one would be
/// fetched by machines that cannot start it.
pub fn boot_image_file(folder: &Path, architecture: Architecture, name: &str) -> Result<PathBuf, String> {
    let of = std::fs::read(folder.join("manifest.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<BootManifest>(&bytes).ok());
    if let Some(found) = of.map(|manifest| manifest.architecture).filter(|found| *found != architecture) {
        let folder = folder.display();
        return Err(format!("{folder} holds a boot image for {found}, where one for {architecture} is expected"));
    }
    let file = folder.join(name);
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("{} is not there; build the boot image for {architecture} (pxe-images/boot-image)", file.display()))
}

/// What the manifest of a boot image says that concerns us. Older recipes did not say the architecture.
#[derive(serde::Deserialize)]
struct BootManifest {
    #[serde(default)]
    architecture: Architecture,
}

pub const KERNEL: &str = "vmlinuz";
pub const INITRD: &str = "initrd.zst";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_image_of_another_architecture_is_not_served() {
        let folder = std::env::temp_dir().join(format!("muster-boot-image-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(KERNEL), b"kernel").unwrap();
        let of = |architecture| boot_image_file(&folder, architecture, KERNEL);
        assert!(of(Architecture::X86_64).is_ok(), "a recipe that did not say it made x86-64");
        std::fs::write(folder.join("manifest.json"), br#"{"architecture": "arm64", "kernel": "6.1"}"#).unwrap();
        assert!(of(Architecture::Arm64).is_ok());
        let why = of(Architecture::X86_64).unwrap_err();
        assert!(why.contains("for arm64") && why.contains("for x86-64"), "{why}");
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(of(Architecture::Arm64).unwrap_err().contains("build the boot image for arm64"));
    }
}
