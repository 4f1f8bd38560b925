//! A mistake in a data file is told with its place and with what may stand there.

use super::{BMC, BMC_FILE, MODEL, MODEL_FILE, RACK, RACK_FILE, catalog, files};
use crate::{Slip, read};
use proptest::prelude::*;

/// The slips after replacing `from` by `to` in one of the files.
fn slips(file: &str, from: &str, to: &str) -> Vec<Slip> {
    let mut files = files();
    let (_, text) = files.iter_mut().find(|(name, _)| name == file).unwrap();
    assert!(text.contains(from), "{from}");
    *text = text.replacen(from, to, 1);
    read(&files).expect_err("a slip")
}

fn only(file: &str, from: &str, to: &str) -> Slip {
    let mut slips = slips(file, from, to);
    assert_eq!(slips.len(), 1, "{slips:?}");
    slips.remove(0)
}

/// Line and column of `word` in `text`, counted by other means than the reader's.
fn place(text: &str, word: &str) -> (usize, usize) {
    let (line, content) = text.lines().enumerate().find(|(_, line)| line.contains(word)).unwrap();
    (line + 1, content.find(word).unwrap() + 1)
}

#[test]
fn a_misspelt_word_is_told_with_file_line_column_and_the_words_allowed() {
    let slip = only(MODEL_FILE, "role = \"compute\"", "role = \"comptue\"");
    assert_eq!((slip.file.as_str(), (slip.line, slip.column)), (MODEL_FILE, place(MODEL, "\"compute\"")));
    assert!(slip.message.contains("comptue"), "{slip}");
    assert_eq!(slip.allowed, ["compute", "storage", "memory", "high-io", "test"]);
}

#[test]
fn a_misspelt_field_is_told_with_the_fields_allowed() {
    let slip = only(MODEL_FILE, "dimms = {", "dimmz = {");
    assert_eq!((slip.line, slip.column), place(MODEL, "dimms = {"));
    assert!(slip.message.contains("dimmz") && slip.allowed.contains(&"dimms".to_owned()), "{slip}");
}

#[test]
fn a_misspelt_policy_is_told_with_the_policies_allowed() {
    let slip = only(MODEL_FILE, "{ min = 65536 }", "{ mni = 65536 }");
    assert_eq!(slip.line, place(MODEL, "{ min = 65536 }").0);
    assert_eq!(slip.allowed, ["any", "exact", "min", "range", "one-of"]);
}

#[test]
fn a_wrong_kind_of_value_is_told_where_it_stands() {
    let slip = only(MODEL_FILE, "sockets = { exact = 2 }", "sockets = { exact = \"two\" }");
    assert_eq!(slip.line, place(MODEL, "sockets").0);
    assert!(slip.message.contains("two"), "{slip}");
    let slip = only(RACK_FILE, "u = 3", "u = -3");
    assert_eq!((slip.line, slip.column), (place(RACK, "u = 3").0, 5));
}

#[test]
fn a_claim_of_two_policies_is_told_once() {
    for (from, to) in
        [("{ range = [8, 16] }", "{ min = 8, exact = 9 }"), ("[8, 16]", "[\"8\", 16]"), ("[8, 16]", "[8]")]
    {
        assert_eq!(only(MODEL_FILE, from, to).line, place(MODEL, "[8, 16]").0);
    }
}

#[test]
fn a_missing_field_is_told_by_name() {
    let slip = only(MODEL_FILE, "title = \"Small\"\n", "");
    assert!(slip.message.contains("title"), "{slip}");
}

#[test]
fn all_slips_of_all_files_are_told_at_once_and_in_order() {
    let mut files = files();
    files[0].1 = MODEL
        .replace("role = \"compute\"", "role = \"comptue\"")
        .replace("dimms = {", "dimmz = {")
        .replace("kind = \"hdd\"", "kind = \"hhd\"")
        .replace("[boot]\nfirmware = [\"uefi\"]", "[boot]\nfirmware = [\"efi\"]");
    files[1].1 = BMC.replace("ipmi", "impi");
    files[2].1 = RACK.replace("switch = \"leaf\", port = \"2\"", "swich = \"leaf\", port = \"2\"");
    let slips = read(&files).unwrap_err();
    let told: Vec<(&str, usize)> = slips.iter().map(|slip| (slip.file.as_str(), slip.line)).collect();
    let at = |file, text, word| (file, place(text, word).0);
    assert_eq!(
        told,
        [
            at(BMC_FILE, BMC, "ipmi"),
            at(MODEL_FILE, MODEL, "compute"),
            at(MODEL_FILE, MODEL, "dimms ="),
            at(MODEL_FILE, MODEL, "\"hdd\""),
            at(MODEL_FILE, MODEL, "uefi"),
            at(RACK_FILE, RACK, "port = \"2\""),
        ],
        "{slips:#?}"
    );
}

#[test]
fn broken_toml_is_told_where_it_breaks() {
    let slips = slips(MODEL_FILE, "title = \"Small\"", "title = \"Small");
    assert_eq!(slips[0].line, place(MODEL, "title").0);
}

#[test]
fn a_layout_that_names_no_model_is_told_with_the_models_there_are() {
    let slip = only(RACK_FILE, "model = \"small\"", "model = \"smal\"");
    assert_eq!((slip.line, slip.column), (place(RACK, "model = \"small\"").0, 9));
    assert_eq!(slip.allowed, ["small"]);
}

#[test]
fn a_model_whose_own_file_has_a_slip_is_not_missing_besides() {
    let slips = slips(MODEL_FILE, "role = \"compute\"", "role = \"comptue\"");
    assert!(slips.iter().all(|slip| slip.file == MODEL_FILE), "{slips:?}");
}

#[test]
fn what_two_machines_claim_is_told_at_the_second_and_names_the_first() {
    for (from, to, word) in [
        ("name = \"b\"", "name = \"a\"", "named a"),
        ("serial = \"SB\"", "serial = \"SA\"", "serial SA"),
        ("00:0b", "00:0a", "52:54:00:00:00:0a"),
        ("port = \"2\"", "port = \"1\"", "leaf port 1"),
        ("u = 3", "u = 2", "U2"),
    ] {
        let slip = only(RACK_FILE, from, to);
        assert!(slip.message.contains(word), "{slip}");
        assert!(slip.line > place(RACK, "name = \"b\"").0 - 1, "{slip}");
    }
}

#[test]
fn a_machine_does_not_reach_out_of_its_rack() {
    for to in ["u = 11", "u = 0", "u = 255\nheight = 255"] {
        assert_eq!(only(RACK_FILE, "u = 3", to).line, place(RACK, "u = 3").0);
    }
}

#[test]
fn a_second_file_for_the_same_thing_is_told() {
    let mut files = files();
    files.push(("more/rack-layouts/here/r1.toml".into(), RACK.into()));
    let slips = read(&files).unwrap_err();
    assert!(slips.iter().any(|slip| slip.message.contains("a second layout of rack here/r1")), "{slips:?}");
}

#[test]
fn a_password_in_a_layout_is_refused_with_the_way_out() {
    let slip = only(RACK_FILE, "password-file = \"a\"", "password-file = \"a\", password = \"hunter2\"");
    assert!(slip.message.contains("password-file") && !slip.message.contains("hunter2"), "{slip}");
    let slip = only(RACK_FILE, "password-file = \"a\"", "password-file = \"../../etc/shadow\"");
    assert!(slip.message.contains("plain file name"), "{slip}");
}

#[test]
fn a_claim_that_nothing_could_fit_is_told() {
    for (from, to) in [
        ("range = [8, 16]", "range = [16, 8]"),
        ("{ one-of = [\"R1\", \"R2\"] }", "{ one-of = [] }"),
        ("{ exact = \"Example Inc.\" }", "{ exact = \" \" }"),
    ] {
        assert!(only(MODEL_FILE, from, to).message.contains("nothing could ever fit"));
    }
}

#[test]
fn a_model_that_every_machine_fits_is_refused() {
    let slip = only(MODEL_FILE, "{ exact = \"Example Inc.\" }", "\"any\"");
    assert!(slip.message.contains("must claim its manufacturer"), "{slip}");
}

#[test]
fn the_ways_into_a_machine_are_a_list_that_can_be_gone() {
    for (ways, column, said) in [
        ("[]", 8, "by some way: \"pxe\", \"http\", \"virtual-media\""),
        ("[\"pxe\", \"pxe\"]", 16, "PXE stands in the list already"),
    ] {
        let slip = only(MODEL_FILE, "[boot]", &format!("[boot]\nways = {ways}"));
        assert_eq!((slip.file.as_str(), slip.line), (MODEL_FILE, place(MODEL, "[boot]").0 + 1), "{slip}");
        assert!(slip.column == column && slip.message.contains(said), "{slip}");
    }
    let slip = only(MODEL_FILE, "[boot]", "[boot]\nways = [\"cd\"]");
    assert_eq!(slip.allowed, ["pxe", "http", "virtual-media"]);
    let bios = "[boot]\nways = [\"pxe\", \"http\"]\nfirmware = [\"bios\"]";
    let slip = only(MODEL_FILE, "[boot]\nfirmware = [\"uefi\"]", bios);
    assert!(slip.message.contains("HTTP boot is UEFI's"), "{slip}");
    let media = "[boot]\nways = [\"pxe\", \"virtual-media\"]";
    let slip = only(MODEL_FILE, "[boot]", media);
    assert!(slip.message.contains("virtual media is ordered over Redfish"), "{slip}");
    let mut files = files();
    for (name, text) in &mut files {
        match name.as_str() {
            MODEL_FILE => *text = text.replacen("[boot]", media, 1),
            BMC_FILE => *text = text.replacen("[\"ipmi\"]", "[\"redfish\", \"ipmi\"]", 1),
            _ => {}
        }
    }
    assert!(read(&files).is_ok());
}

#[test]
fn a_boot_disc_is_no_loader_for_firmware() {
    let file = "pxe-images/loaders/disc.toml".to_owned();
    let text = |arch: &str| {
        format!(
            "id = \"disc\"\ntitle = \"A disc\"\nevidence = \"synthetic\"\narch = [{arch}]\ntransport = \"http\"\n\
             firmware = \"uefi\"\ndisc = true\nfile = \"a.iso\"\nsource = {{ package = \"a\", path = \"/a.iso\" }}\n"
        )
    };
    let with = |arch: &str| read(&[files(), vec![(file.clone(), text(arch))]].concat());
    assert_eq!(with("").unwrap().disc(muster_names::Architecture::X86_64).unwrap().file, "a.iso");
    let slips = with("7").unwrap_err();
    assert!(slips[0].message.contains("arch = []") && slips[0].line == 7, "{slips:?}");
}

#[test]
fn a_kernel_argument_cannot_smuggle_a_second_one() {
    for arg in ["a b", "", "$(reboot)", "a\\nb", "ä"] {
        let slip = only(MODEL_FILE, "[boot]", &format!("[boot]\nkernel-args = [\"{arg}\"]"));
        assert!(slip.message.contains("kernel argument"), "{slip}");
    }
}

#[test]
fn only_a_rack_layout_can_be_its_owners_word() {
    let slip = only(MODEL_FILE, "evidence = \"synthetic\"", "evidence = \"declared\"");
    assert_eq!(slip.allowed, ["captured", "documented", "synthetic"]);
}

#[test]
fn evidence_is_a_digest_or_an_address_and_nothing_like_it() {
    for wrong in ["{ captured = \"abc\" }", "{ documented = \"a book\" }", "{ seen = \"yes\" }", "\"believed\""] {
        let slip = only(BMC_FILE, "\"synthetic\"", wrong);
        assert_eq!(slip.line, place(BMC, "synthetic").0, "{slip}");
    }
}

#[test]
fn a_file_in_no_known_folder_is_told_with_the_folders() {
    let slips = read(&[("models.toml", MODEL)]).unwrap_err();
    assert_eq!(slips[0].allowed.len(), 6);
}

#[test]
fn an_id_is_the_files_name() {
    let slips = slips(BMC_FILE, "id = \"plain\"", "id = \"plainer\"");
    assert!(slips.iter().any(|slip| slip.file == BMC_FILE && slip.message.contains("must be the file's name")));
}

#[test]
fn the_catalog_is_one_shape_in_files_and_in_json() {
    let catalog = catalog();
    let json = serde_json::to_string(&catalog).unwrap();
    assert_eq!(serde_json::from_str::<crate::Catalog>(&json).unwrap(), catalog);
}

fn located_within(files: &[(String, String)], slips: &[Slip]) -> bool {
    slips.iter().all(|slip| {
        files.iter().any(|(file, text)| {
            *file == slip.file
                && slip.line >= 1
                && slip.column >= 1
                && slip.line <= text.split('\n').count()
                && !slip.message.is_empty()
        })
    })
}

proptest! {
    #[test]
    fn no_text_panics_and_no_slip_is_without_a_place(text in any::<String>()) {
        for folder in ["firmware-profiles/models/x.toml", "pxe-images/os/x.toml", "rack-layouts/a/b.toml", "x"] {
            let files = [(folder.to_owned(), text.clone())];
            if let Err(slips) = read(&files) {
                prop_assert!(!slips.is_empty() && located_within(&files, &slips), "{slips:?}");
            }
        }
    }

    #[test]
    fn no_damage_to_a_good_file_panics_or_goes_without_a_place(
        which in 0usize..3, at in 0usize..1500, cut in 0usize..40, put in "[\\[\\]{}=\",a-z0-9\\. \n-]{0,8}",
    ) {
        let mut files = files();
        let text = &mut files[which].1;
        let from = at.min(text.len());
        let to = (from + cut).min(text.len());
        text.replace_range(from..to, &put);
        if let Err(slips) = read(&files) {
            prop_assert!(!slips.is_empty() && located_within(&files, &slips), "{slips:?}");
        }
    }
}
