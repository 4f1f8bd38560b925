//! The repository's own data files: all of them read, and the documentation's tally is theirs.
//!
//! The crate opens no files; this test of it has to.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

use muster_catalog::{Catalog, Evidence, read, usable_for_writes};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn collect(dir: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in [
        "firmware-profiles/models",
        "firmware-profiles/bmcs",
        "pxe-images/loaders",
        "pxe-images/clients",
        "pxe-images/os",
        "rack-layouts",
    ] {
        collect(&root().join(folder), &mut files);
    }
    files
}

fn catalog() -> Catalog {
    match read(&files()) {
        Ok(catalog) => catalog,
        Err(slips) => panic!("{}", slips.iter().map(|slip| format!("{slip}\n")).collect::<String>()),
    }
}

#[test]
fn every_data_file_of_the_repository_reads_without_a_slip() {
    let catalog = catalog();
    for id in ["compute", "storage", "memory", "high-io", "qemu-q35"] {
        assert!(catalog.model(id).is_some(), "{id}");
    }
    assert!(catalog.image(&muster_names::ImageId("debian-12".into())).is_some());
}

#[test]
fn the_demos_machine_stands_where_the_demo_says_and_may_be_written() {
    let catalog = catalog();
    let node = catalog.machine_by_name("node1").unwrap();
    assert_eq!(node.place().to_string(), "demo/r1/U14");
    let model = catalog.model(&node.machine.model).unwrap();
    assert!(usable_for_writes(&model.evidence));
    assert!(catalog.bmc_of(model).is_some());
}

#[test]
fn every_firmware_of_the_boot_path_has_one_first_loader() {
    let catalog = catalog();
    let first = |arch, http, secure| catalog.loader_for(arch, http, secure).map(|loader| loader.file.as_str());
    for (arch, http, file) in
        [(0, false, "undionly.kpxe"), (7, false, "ipxe.efi"), (9, false, "ipxe.efi"), (16, true, "ipxe.efi")]
    {
        assert_eq!(first(arch, http, false), Some(file), "{arch}");
    }
    assert_eq!(first(41, false, false), None, "a Raspberry Pi gets nothing it cannot run");
    assert_eq!(first(11, false, false), Some("shimaa64.efi"), "Debian has no iPXE for arm64");
}

#[test]
fn the_ways_beside_pxe_have_their_files() {
    let catalog = catalog();
    let x86 = muster_names::Architecture::X86_64;
    assert_eq!(catalog.http_loader(x86).map(|loader| loader.file.as_str()), Some("ipxe.efi"));
    assert_eq!(catalog.disc(x86).map(|loader| loader.file.as_str()), Some("ipxe.iso"));
    let arm = muster_names::Architecture::Arm64;
    assert!(catalog.http_loader(arm).is_none() && catalog.disc(arm).is_none());
    assert!(catalog.models.iter().all(|model| model.boot.ways == [muster_names::Way::Pxe]), "none was tried otherwise");
}

#[test]
fn firmware_that_starts_nothing_unsigned_is_offered_nothing_unsigned() {
    let catalog = catalog();
    let first = |arch, http| catalog.loader_for(arch, http, true).map(|loader| loader.file.as_str());
    assert_eq!((first(7, false), first(9, false)), (Some("shimx64.efi"), Some("shimx64.efi")));
    assert_eq!(first(11, false), Some("shimaa64.efi"));
    assert_eq!((first(0, false), first(16, true)), (None, None), "unsigned loaders would be refused by the firmware");
    assert_eq!(catalog.first_loaders(true).keys().copied().collect::<Vec<_>>(), [7, 9, 11]);
}

#[test]
fn a_model_gets_the_loader_that_it_asks_for_where_it_can_run_it() {
    let catalog = catalog();
    let mut model = catalog.model("qemu-q35").unwrap().clone();
    assert!(catalog.own_loaders(&model).is_empty());
    model.boot.loader = Some("ipxe-uefi-snp".into());
    assert_eq!(catalog.own_loaders(&model), [(7, "snponly.efi"), (9, "snponly.efi")].into());
    model.boot.loader = Some("shim-grub".into());
    assert_eq!(catalog.own_loaders(&model), [(7, "shimx64.efi"), (9, "shimx64.efi")].into());
}

fn words(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Captured(digest) => format!("captured, `{digest}`"),
        Evidence::Documented(address) => format!("documented, <{address}>"),
        Evidence::Synthetic => "synthetic: read-only or in shadow".into(),
        Evidence::Declared => "its owner's word".into(),
    }
}

fn tally(catalog: &Catalog) -> String {
    let tally = catalog.tally();
    let mut text = format!(
        "{} captured, {} documented, {} synthetic, {} declared.\n\n| file | rests on |\n|---|---|\n",
        tally.captured, tally.documented, tally.synthetic, tally.declared
    );
    let mut row = |folder: &str, id: &str, evidence: &Evidence| {
        text.push_str(&format!("| `{folder}/{id}.toml` | {} |\n", words(evidence)));
    };
    catalog.models.iter().for_each(|model| row("firmware-profiles/models", &model.id, &model.evidence));
    catalog.bmcs.iter().for_each(|profile| row("firmware-profiles/bmcs", &profile.id, &profile.evidence));
    catalog.loaders.iter().for_each(|loader| row("pxe-images/loaders", &loader.id, &loader.evidence));
    catalog.clients.iter().for_each(|client| row("pxe-images/clients", &client.id, &client.evidence));
    catalog.images.iter().for_each(|image| row("pxe-images/os", &image.id.0, &image.evidence));
    catalog.racks.iter().for_each(|rack| row(&format!("rack-layouts/{}", rack.site), &rack.rack, &rack.evidence));
    text
}

/// `MUSTER_BLESS=1` writes the section anew.
#[test]
fn the_documents_tally_is_that_of_the_data() {
    const START: &str = "<!-- tally: written by server/catalog/tests/data.rs -->\n";
    const END: &str = "<!-- end of tally -->";
    let path = root().join("docs/reference/data-files.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (section, after) = rest.split_once(END).unwrap();
    let right = tally(&catalog());
    if std::env::var_os("MUSTER_BLESS").is_some() {
        fs::write(&path, format!("{before}{START}{right}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(section, right, "run again with MUSTER_BLESS=1 and commit the page");
}

#[test]
fn the_documents_examples_are_data_files_that_read() {
    let page = fs::read_to_string(root().join("docs/reference/data-files.md")).unwrap();
    let mut files = files();
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let (text, _) = block.split_once("```").unwrap();
        let name = text.lines().next().unwrap().trim_start_matches("# ");
        files.push((name.to_owned(), text.to_owned()));
        examples += 1;
    }
    assert!(examples >= 3);
    assert_eq!(read(&files).map_err(|slips| slips.iter().map(ToString::to_string).collect::<Vec<_>>()).err(), None);
}
