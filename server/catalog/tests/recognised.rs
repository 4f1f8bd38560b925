//! Whose BMC a recorded tree is, and that no damage to a tree makes it somebody else's.
//!
//! The recordings lie outside the repository; `MUSTER_CAPTURES` names their folder. Without it the tests that need them
//! say so and pass: the rest of this page does not need them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use muster_catalog::{BmcSigns, Catalog, Pattern, Quirk, Recognise, usable_for_writes};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's own profiles, without anything else.
fn catalog() -> Catalog {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware-profiles/bmcs");
    let files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (format!("firmware-profiles/bmcs/{name}"), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    muster_catalog::read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("MUSTER_CAPTURES").map(|folder| PathBuf::from(folder).join("redfish"));
    if folder.is_none() {
        eprintln!("skipped: MUSTER_CAPTURES does not name a folder of recordings");
    }
    folder
}

fn tree(folder: &Path, name: &str) -> Map<String, Value> {
    let output = Command::new("gzip").arg("-dc").arg(folder.join(format!("{name}.json.gz"))).output().unwrap();
    assert!(output.status.success(), "{name}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_object().unwrap().clone()
}

/// The signs of a tree: those of its root, and of the first system, manager and chassis that have any.
fn signs(tree: &Map<String, Value>) -> BmcSigns {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let root = &tree["/redfish/v1"];
    let members = |collection: &str| -> Vec<&Value> {
        let prefix = format!("/redfish/v1/{collection}/");
        let is_member = |path: &&String| path.strip_prefix(&prefix).is_some_and(|id| !id.contains('/'));
        tree.keys().filter(is_member).map(|path| &tree[path]).collect()
    };
    let of = |resources: &[&Value], key: &str| resources.iter().find_map(|resource| text(resource, key));
    let (systems, managers, chassis) = (members("Systems"), members("Managers"), members("Chassis"));
    let all = std::iter::once(root).chain(systems.clone()).chain(managers.clone()).chain(chassis);
    let oem = all.filter_map(|resource| resource.get("Oem")?.as_object()).flat_map(|oem| oem.keys().cloned()).collect();
    BmcSigns {
        root_vendor: text(root, "Vendor"),
        root_product: text(root, "Product"),
        oem,
        system_manufacturer: of(&systems, "Manufacturer"),
        system_model: of(&systems, "Model"),
        manager_manufacturer: of(&managers, "Manufacturer"),
        manager_model: of(&managers, "Model"),
        firmware: of(&managers, "FirmwareVersion"),
        ..BmcSigns::default()
    }
}

fn is(catalog: &Catalog, signs: &BmcSigns) -> Option<String> {
    catalog.recognise(signs).map(|profile| profile.id.clone())
}

const KNOWN: [(&str, Option<&str>, &str); 4] = [
    ("dell_r750", Some("dell-idrac-9"), "dell"),
    ("hpe_dl380a_gen11", Some("hpe-ilo-6"), "hpe"),
    ("supermicro_x10", Some("supermicro-x10-x11"), "supermicro"),
    ("dmtf_rackmount1", None, "nobody"),
];

/// Every way to leave out some of the signs.
fn lessened(signs: &BmcSigns) -> impl Iterator<Item = BmcSigns> {
    (0..256_u32).map(|left_out| {
        let mut less = signs.clone();
        let fields = [
            &mut less.root_vendor,
            &mut less.root_product,
            &mut less.system_manufacturer,
            &mut less.system_model,
            &mut less.manager_manufacturer,
            &mut less.manager_model,
            &mut less.firmware,
        ];
        for (at, field) in fields.into_iter().enumerate() {
            if left_out & (1 << at) != 0 {
                *field = None;
            }
        }
        if left_out & 128 != 0 {
            less.oem.clear();
        }
        less
    })
}

#[test]
fn every_recorded_tree_is_its_own_makers_and_the_standards_is_nobodys() {
    let (catalog, Some(folder)) = (catalog(), captures()) else { return };
    for (name, id, _) in KNOWN {
        assert_eq!(is(&catalog, &signs(&tree(&folder, name))).as_deref(), id, "{name}");
    }
}

#[test]
fn a_tree_with_signs_missing_is_its_makers_or_nobodys() {
    let (catalog, Some(folder)) = (catalog(), captures()) else { return };
    for (name, _, maker) in KNOWN {
        for less in lessened(&signs(&tree(&folder, name))) {
            let found = is(&catalog, &less);
            assert!(found.as_ref().is_none_or(|id| id.starts_with(maker)), "{name}: {found:?} from {less:?}");
        }
    }
}

#[test]
fn a_tree_that_names_an_unknown_maker_is_nobodys_whatever_else_it_has() {
    let (catalog, Some(folder)) = (catalog(), captures()) else { return };
    for (name, ..) in KNOWN {
        let whole = signs(&tree(&folder, name));
        for mut less in lessened(&whole) {
            less.root_vendor = Some("Contoso".into());
            assert_eq!(is(&catalog, &less), None, "{name}: {less:?}");
            less.root_vendor = None;
            less.system_manufacturer = Some("Contoso Ltd.".into());
            assert_eq!(is(&catalog, &less), None, "{name}: {less:?}");
        }
    }
}

/// A BMC that says what a table asks for, and nothing else.
fn as_asked(table: &Recognise) -> BmcSigns {
    let word = |patterns: &Option<Vec<Pattern>>| patterns.as_ref().map(|all| all[0].0.replace('*', "x"));
    BmcSigns {
        root_vendor: word(&table.root_vendor),
        root_product: word(&table.root_product),
        oem: word(&table.oem).into_iter().collect(),
        system_manufacturer: word(&table.system_manufacturer),
        system_model: word(&table.system_model),
        manager_manufacturer: word(&table.manager_manufacturer),
        manager_model: word(&table.manager_model),
        firmware: word(&table.firmware),
        maker_number: table.maker_number,
        product_number: table.product_number,
    }
}

#[test]
fn every_table_leads_to_its_profile_and_not_under_an_unknown_makers_name() {
    let catalog = catalog();
    for profile in &catalog.bmcs {
        for table in &profile.recognise {
            let signs = as_asked(table);
            assert_eq!(is(&catalog, &signs).as_ref(), Some(&profile.id), "{signs:?}");
            let foreign = BmcSigns { root_vendor: Some("Contoso".into()), ..signs };
            // OpenBMC is everybody's, and its quirks go with the firmware, not with the maker.
            let found = is(&catalog, &foreign).filter(|id| id != "openbmc");
            assert_eq!(found, None, "{foreign:?}");
        }
    }
}

#[test]
fn no_mixture_of_two_makers_signs_is_a_third_makers() {
    let (catalog, Some(folder)) = (catalog(), captures()) else { return };
    let all: Vec<(BmcSigns, &str)> =
        KNOWN.iter().map(|(name, _, maker)| (signs(&tree(&folder, name)), *maker)).collect();
    for (one, maker) in &all {
        for (other, second) in &all {
            for mut mixed in lessened(one) {
                mixed.root_vendor = mixed.root_vendor.or_else(|| other.root_vendor.clone());
                mixed.manager_model = mixed.manager_model.or_else(|| other.manager_model.clone());
                mixed.firmware = mixed.firmware.or_else(|| other.firmware.clone());
                mixed.oem.extend(other.oem.clone());
                let found = is(&catalog, &mixed);
                let theirs = found.as_ref().is_none_or(|id| id.starts_with(maker) || id.starts_with(second));
                assert!(theirs, "{found:?} from {mixed:?}");
            }
        }
    }
}

/// Vendor and product of the root, maker of the system, model and firmware of the manager, Oem keys; the profile.
type Row =
    (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [&'static str], &'static str);

/// What public samples of other makers say, sign by sign.
#[test]
fn what_makers_say_of_themselves_leads_to_their_profiles() {
    let catalog = catalog();
    let rows: [Row; 21] = [
        ("Dell", "", "Dell Inc.", "17G Monolithic", "1.20.50.52", &["Dell"], "dell-idrac-10"),
        ("", "", "Dell Inc.", "13G Monolithic", "2.84.84.84", &["Dell"], "dell-idrac-8"),
        ("Dell", "", "Dell Inc.", "", "", &[], "dell-idrac"),
        ("", "", "HP", "", "iLO 4 v2.55", &["Hp"], "hpe-ilo-4"),
        ("HPE", "", "HPE", "iLO 5", "iLO 5 v2.72", &["Hpe"], "hpe-ilo-5"),
        ("HPE", "", "HPE", "iLO 7", "iLO 7 v1.10", &["Hpe"], "hpe-ilo"),
        ("", "", "Supermicro", "ASPEED", "01.13.04", &["Supermicro"], "supermicro-x12-x13"),
        ("Supermicro", "", "Supermicro", "", "", &["Supermicro"], "supermicro"),
        ("Supermicro", "GB NVL", "Supermicro", "OpenBmc", "70.01.00.09", &["Nvidia", "OpenBmc"], "supermicro-grace"),
        ("Lenovo", "ThinkSystem", "Lenovo", "Lenovo XClarity Controller", "TGBT42S 2.83", &["Lenovo"], "lenovo-xcc"),
        ("Lenovo", "", "Lenovo", "Lenovo XClarity Controller 3", "", &["Lenovo"], "lenovo-xcc-2-3"),
        ("Lenovo", "", "Lenovo", "", "13.09.1", &["Ami"], "ami-megarac"),
        ("AMI", "AMI Redfish Server", "NVIDIA", "77171220", "23.11.20", &["Ami", "AMI"], "ami-megarac"),
        ("AMI", "AMI Redfish Server", "ASRockRack", "", "1.04.00", &["Ami"], "asrockrack"),
        ("AMI", "", "GIGABYTE", "", "", &["Ami"], "gigabyte"),
        ("", "", "Huawei", "iBMC", "3.31", &["Huawei"], "huawei-ibmc"),
        ("", "", "Inspur", "", "7.04.00", &["Public"], "inspur"),
        ("", "", "H3C", "HDM", "", &["Public"], "h3c-hdm"),
        ("", "", "FUJITSU", "iRMC S5", "", &["ts_fujitsu"], "fujitsu-irmc"),
        ("NVIDIA", "GB200 NVL", "", "OpenBmc", "GB200Nvl-24.12-8", &["Nvidia", "OpenBmc"], "nvidia-hgx"),
        ("", "", "Contoso", "OpenBmc", "2.14", &["OpenBmc"], "openbmc"),
    ];
    for (vendor, product, manufacturer, model, firmware, oem, id) in rows {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let said = BmcSigns {
            root_vendor: some(vendor),
            root_product: some(product),
            oem: oem.iter().map(|key| (*key).to_owned()).collect(),
            system_manufacturer: some(manufacturer),
            manager_model: some(model),
            firmware: some(firmware),
            ..BmcSigns::default()
        };
        assert_eq!(is(&catalog, &said).as_deref(), Some(id), "{said:?}");
    }
    let sr675 = BmcSigns {
        oem: vec!["Lenovo".into()],
        system_manufacturer: Some("Lenovo".into()),
        system_model: Some("ThinkSystem SR675 V3".into()),
        manager_model: Some("Lenovo XClarity Controller 2".into()),
        ..BmcSigns::default()
    };
    assert_eq!(is(&catalog, &sr675).as_deref(), Some("lenovo-sr675-v3"));
}

#[test]
fn ipmi_alone_tells_the_maker_by_number() {
    let catalog = catalog();
    for (number, id) in [(674, Some("dell-idrac")), (11, Some("hpe-ilo")), (10876, Some("supermicro")), (4711, None)] {
        let said = BmcSigns { maker_number: Some(number), ..BmcSigns::default() };
        assert_eq!(is(&catalog, &said).as_deref(), id, "{number}");
    }
}

#[test]
fn no_profile_with_a_quirk_for_writing_is_made_up() {
    let made_up: Vec<String> = catalog()
        .bmcs
        .into_iter()
        .filter(|profile| !usable_for_writes(&profile.evidence))
        .filter(|profile| profile.quirks.iter().copied().any(Quirk::is_for_writes))
        .map(|profile| profile.id)
        .collect();
    assert_eq!(made_up, Vec::<String>::new());
}
