//! What no single type can say: ids that must exist, names and places that must not be taken twice, rules that must
//! be able to resolve.

use crate::client::{hex, oui};
use crate::read::{Read, Whole};
use crate::{BootClient, Evidence, Loader, Model, Number, OsImage, Protocol, Slip, Text, Transport, Version};
use muster_names::{FirmwareMode, Way};
use std::collections::BTreeMap;

mod dialects;
mod firmware;
mod racks;

/// The slips of all files that read by themselves.
pub fn check(whole: &Whole<'_>) -> Vec<Slip> {
    let mut slips = Vec::new();
    for read in &whole.models {
        common(read, &read.value.id, &read.value.evidence, &mut slips);
        model(read, whole, &mut slips);
        firmware::wants(read, &mut slips);
    }
    for read in &whole.bmcs {
        common(read, &read.value.id, &read.value.evidence, &mut slips);
        dialects::profile(read, &mut slips);
        firmware::names(read, &mut slips);
    }
    dialects::apart(&whole.bmcs, &mut slips);
    for read in &whole.loaders {
        common(read, &read.value.id, &read.value.evidence, &mut slips);
        loader(read, &mut slips);
    }
    for read in &whole.clients {
        common(read, &read.value.id, &read.value.evidence, &mut slips);
        client(read, whole, &mut slips);
    }
    for read in &whole.images {
        common(read, &read.value.id.0, &read.value.evidence, &mut slips);
        image(read, &mut slips);
    }
    twice(whole.models.iter().map(|read| (read, "id", read.value.id.clone())), "model", &mut slips);
    twice(whole.bmcs.iter().map(|read| (read, "id", read.value.id.clone())), "BMC profile", &mut slips);
    twice(whole.loaders.iter().map(|read| (read, "id", read.value.id.clone())), "loader", &mut slips);
    twice(whole.clients.iter().map(|read| (read, "id", read.value.id.clone())), "boot client", &mut slips);
    twice(whole.images.iter().map(|read| (read, "id", read.value.id.0.clone())), "image", &mut slips);
    twice(whole.loaders.iter().flat_map(served_archs), "loader for", &mut slips);
    racks::check(whole, &mut slips);
    slips
}

fn served_archs<'r, 'a>(
    read: &'r Read<'a, Loader>,
) -> impl Iterator<Item = (&'r Read<'a, Loader>, &'static str, String)> {
    let client = if read.value.http_client { "HTTPClient" } else { "PXEClient" };
    let signed = if read.value.secure_boot { " with Secure Boot" } else { "" };
    read.value.arch.iter().map(move |arch| (read, "arch", format!("architecture {arch} of {client}{signed}")))
}

/// Ids and evidence have one form in every kind of file.
fn common<T>(read: &Read<'_, T>, id: &str, evidence: &Evidence, slips: &mut Vec<Slip>) {
    if !is_name(id) {
        slips.push(read.document.slip_at("id", format!("id {id:?} must be {NAME}")));
    }
    let stem = read.document.stem();
    if id != stem {
        let message = format!("id {id:?} must be the file's name, which is {stem:?}");
        slips.push(read.document.slip_at("id", message));
    }
    if *evidence == Evidence::Declared {
        let mut slip = read.document.slip_at("evidence", "only a rack layout can be its owner's word".into());
        slip.allowed = ["captured", "documented", "synthetic"].map(str::to_owned).to_vec();
        slips.push(slip);
    }
    evidence_form_at(read, "evidence", evidence, slips);
}

fn evidence_form_at<T>(read: &Read<'_, T>, path: &str, evidence: &Evidence, slips: &mut Vec<Slip>) {
    if let Evidence::Documented(address) = evidence
        && !(address.starts_with("https://") || address.starts_with("http://"))
    {
        let message = format!("documented = {address:?} must be the document's http(s) address");
        slips.push(read.document.slip_at(&format!("{path}.documented"), message));
    }
}

const NAME: &str = "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";

/// Safe as a file name, a host name's label, a path in a URL.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-' || c == '.')
}

/// A file in a directory of ours: no way out of it.
fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.len() <= 128
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

const FILE_NAME: &str = "a plain file name of letters, digits, '-', '_' and '.'";

fn file_name<T>(read: &Read<'_, T>, path: &str, name: &str, slips: &mut Vec<Slip>) {
    if !is_file_name(name) {
        slips.push(read.document.slip_at(path, format!("{name:?} must be {FILE_NAME}")));
    }
}

/// Told at the second place, naming the first.
fn twice<'r, 'a: 'r, T: 'r, P: AsRef<str>>(
    entries: impl Iterator<Item = (&'r Read<'a, T>, P, String)>,
    what: &str,
    slips: &mut Vec<Slip>,
) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (read, path, value) in entries {
        let slip = read.document.slip_at(path.as_ref(), String::new());
        let here = format!("{}:{}", slip.file, slip.line);
        match seen.get(&value) {
            Some(first) => {
                let message = format!("a second {what} {value}; the first is at {first}");
                slips.push(Slip { message, ..slip });
            }
            None => {
                seen.insert(value, here);
            }
        }
    }
}

fn model(read: &Read<'_, Model>, whole: &Whole<'_>, slips: &mut Vec<Slip>) {
    let model = &read.value;
    let mut say = |path: &str, message: String| slips.push(read.document.slip_at(path, message));
    if model.identify.system.manufacturer.is_any() {
        say("identify.system.manufacturer", "a model must claim its manufacturer, or every machine is one".into());
    }
    if model.identify.system.product.is_any() {
        say("identify.system.product", "a model must claim its product, or every machine is one".into());
    }
    for (path, complaint) in hollow_claims(model) {
        say(&path, complaint);
    }
    if model.boot.firmware.is_empty() {
        say("boot.firmware", "a model must name at least one firmware mode: \"uefi\", \"bios\"".into());
    }
    for (path, complaint) in ways(model, whole) {
        say(&path, complaint);
    }
    if let Some(console) = model.boot.console.as_ref().filter(|console| !is_console(console)) {
        say("boot.console", format!("console {console:?} must be like \"ttyS0,115200\""));
    }
    for (at, arg) in model.boot.kernel_args.iter().enumerate() {
        if arg.is_empty() || !arg.chars().all(|c| c.is_ascii_graphic()) || arg.contains(['$', '\\', '"', '\'', '`']) {
            let message = format!("kernel argument {arg:?} must be one printable word without quotes or '$'");
            say(&format!("boot.kernel-args.{at}"), message);
        }
    }
    let disks = &model.identify.disks;
    if !disks.is_empty() && !disks.iter().any(|claim| claim.kind == model.root_disk.kind) {
        say("root-disk.kind", "no claimed group of disks is of this kind, so the rule could never find a disk".into());
    }
    for (path, seconds) in limits(model) {
        if seconds == 0 {
            say(&path, "a limit of 0 would end the state the moment it is entered".into());
        }
    }
    twice(
        disks.iter().enumerate().map(|(at, group)| (read, format!("identify.disks.{at}.name"), group.name.clone())),
        "group of disks",
        slips,
    );
    twice(
        model
            .identify
            .nics
            .iter()
            .enumerate()
            .map(|(at, group)| (read, format!("identify.nics.{at}.name"), group.name.clone())),
        "group of network ports",
        slips,
    );
    let loaders = || whole.loaders.iter().map(|read| read.value.id.clone());
    if let Some(loader) = &model.boot.loader {
        known(read, "boot.loader", "loader", loader, whole, loaders, slips);
    }
    let profiles = || whole.bmcs.iter().map(|read| read.value.id.clone());
    known(read, "bmc.profile", "BMC profile", &model.bmc.profile, whole, profiles, slips);
}

/// Ways that this model could never come in by.
fn ways(model: &Model, whole: &Whole<'_>) -> Vec<(String, String)> {
    let ways = &model.boot.ways;
    if ways.is_empty() {
        let message = "a machine must come in by some way: \"pxe\", \"http\", \"virtual-media\"".to_owned();
        return vec![("boot.ways".to_owned(), message)];
    }
    let profile = whole.bmcs.iter().find(|read| read.value.id == model.bmc.profile);
    let speaks = profile.map(|read| &read.value.protocols).filter(|protocols| !protocols.is_empty());
    let ipmi = speaks.is_some_and(|protocols| !protocols.contains(&Protocol::Redfish));
    let complaint = |(at, way): (usize, &Way)| {
        let message = match way {
            _ if ways.iter().take(at).any(|before| before == way) => format!("{way} stands in the list already"),
            Way::Http if !model.boot.firmware.contains(&FirmwareMode::Uefi) => {
                "HTTP boot is UEFI's: put \"uefi\" into boot.firmware, or leave it out".to_owned()
            }
            Way::Http | Way::VirtualMedia if ipmi => {
                format!("{way} is ordered over Redfish, and the BMC profile {} is for IPMI", model.bmc.profile)
            }
            _ => return None,
        };
        Some((format!("boot.ways.{at}"), message))
    };
    ways.iter().enumerate().filter_map(complaint).collect()
}

/// An id that another file must define; one whose file has slips of its own counts as defined.
fn known<T, I: Iterator<Item = String>>(
    read: &Read<'_, T>,
    path: &str,
    what: &str,
    id: &str,
    whole: &Whole<'_>,
    ids: impl Fn() -> I,
    slips: &mut Vec<Slip>,
) {
    if ids().any(|known| known == id) || whole.broken.iter().any(|broken| broken == id) {
        return;
    }
    let mut slip = read.document.slip_at(path, format!("no {what} has the id {id:?}"));
    slip.allowed = ids().collect();
    slip.allowed.sort();
    slips.push(slip);
}

fn limits(model: &Model) -> Vec<(String, u32)> {
    let limits = &model.limits;
    [
        ("discover-seconds", limits.discover_seconds),
        ("commission-seconds", limits.commission_seconds),
        ("install-seconds", limits.install_seconds),
        ("check-seconds", limits.check_seconds),
        ("drain-seconds", limits.drain_seconds),
        ("release-seconds", limits.release_seconds),
        ("attempts", limits.attempts),
    ]
    .map(|(field, seconds)| (format!("limits.{field}"), seconds))
    .to_vec()
}

/// Claims that nothing could ever fit.
fn hollow_claims(model: &Model) -> Vec<(String, String)> {
    let claim = &model.identify;
    let mut texts = vec![
        ("identify.system.manufacturer".to_owned(), &claim.system.manufacturer),
        ("identify.system.product".to_owned(), &claim.system.product),
        ("identify.system.chassis-manufacturer".to_owned(), &claim.system.chassis_manufacturer),
        ("identify.cpu.model".to_owned(), &claim.cpu.model),
        ("identify.memory.kind".to_owned(), &claim.memory.kind),
        ("root-disk.model".to_owned(), &model.root_disk.model),
        ("root-disk.serial".to_owned(), &model.root_disk.serial),
    ];
    let mut numbers = vec![
        ("identify.cpu.sockets".to_owned(), &claim.cpu.sockets),
        ("identify.cpu.cores".to_owned(), &claim.cpu.cores),
        ("identify.cpu.threads".to_owned(), &claim.cpu.threads),
        ("identify.memory.total-mib".to_owned(), &claim.memory.total_mib),
        ("identify.memory.dimms".to_owned(), &claim.memory.dimms),
        ("identify.memory.dimm-mib".to_owned(), &claim.memory.dimm_mib),
        ("identify.memory.speed-mts".to_owned(), &claim.memory.speed_mts),
        ("root-disk.size-gb".to_owned(), &model.root_disk.size_gb),
    ];
    let mut versions: Vec<(String, &Version)> =
        claim.firmware.iter().map(|(component, version)| (format!("identify.firmware.{component}"), version)).collect();
    for (at, disk) in claim.disks.iter().enumerate() {
        let path = |field: &str| format!("identify.disks.{at}.{field}");
        texts.push((path("model"), &disk.model));
        numbers.extend([(path("count"), &disk.count), (path("size-gb"), &disk.size_gb)]);
        versions.push((path("firmware"), &disk.firmware));
    }
    for (at, nic) in claim.nics.iter().enumerate() {
        let path = |field: &str| format!("identify.nics.{at}.{field}");
        texts.extend([(path("model"), &nic.model), (path("driver"), &nic.driver)]);
        numbers.extend([
            (path("count"), &nic.count),
            (path("speed-mbps"), &nic.speed_mbps),
            (path("linked"), &nic.linked),
        ]);
        versions.push((path("firmware"), &nic.firmware));
    }
    let texts = texts.into_iter().filter(|(_, claim)| hollow_text(claim)).map(|(path, _)| path);
    let numbers = numbers.into_iter().filter(|(_, claim)| hollow_number(claim)).map(|(path, _)| path);
    let versions = versions.into_iter().filter(|(_, claim)| hollow_version(claim)).map(|(path, _)| path);
    texts
        .chain(numbers)
        .chain(versions)
        .map(|path| {
            (
                path,
                "nothing could ever fit this: an empty text, an empty list or a range that ends before it begins"
                    .into(),
            )
        })
        .collect()
}

fn hollow_text(claim: &Text) -> bool {
    match claim {
        Text::Any => false,
        Text::Exact(text) | Text::Pattern(text) => text.trim().is_empty(),
        Text::OneOf(texts) => texts.iter().all(|text| text.trim().is_empty()),
    }
}

fn hollow_number(claim: &Number) -> bool {
    match claim {
        Number::Any | Number::Exact(_) | Number::Min(_) => false,
        Number::Range(least, most) => least > most,
        Number::OneOf(numbers) => numbers.is_empty(),
    }
}

fn hollow_version(claim: &Version) -> bool {
    match claim {
        Version::Any => false,
        Version::Exact(text) | Version::Min(text) => text.trim().is_empty(),
        Version::OneOf(texts) => texts.iter().all(|text| text.trim().is_empty()),
    }
}

/// `ttyS0`, `ttyS0,115200`, `ttyS0,115200n8`
fn is_console(text: &str) -> bool {
    let (device, speed) = text.split_once(',').unwrap_or((text, "9600"));
    device.starts_with("tty")
        && device.chars().all(|c| c.is_ascii_alphanumeric())
        && speed.starts_with(|c: char| c.is_ascii_digit())
        && speed.chars().all(|c| c.is_ascii_alphanumeric())
}

fn loader(read: &Read<'_, Loader>, slips: &mut Vec<Slip>) {
    let loader = &read.value;
    if loader.http_client && loader.transport != Transport::Http {
        let message = "firmware that says HTTPClient fetches over HTTP only: transport = \"http\"".to_owned();
        slips.push(read.document.slip_at("transport", message));
    }
    if loader.disc && !(loader.arch.is_empty() && loader.transport == Transport::Http) {
        let message = "a disc is for BMCs, which fetch it over HTTP: transport = \"http\" and arch = []".to_owned();
        slips.push(read.document.slip_at("disc", message));
    }
    file_name(read, "file", &loader.file, slips);
    let mut sources = vec![("source.path".to_owned(), &loader.source)];
    for (at, companion) in loader.companions.iter().enumerate() {
        file_name(read, &format!("companions.{at}.file"), &companion.file, slips);
        sources.push((format!("companions.{at}.source.path"), &companion.source));
    }
    for (path, source) in sources {
        if !source.path.starts_with('/') || source.path.split('/').any(|part| part == "..") {
            let message = format!("path {:?} must be the file's whole path in the package, from '/'", source.path);
            slips.push(read.document.slip_at(&path, message));
        }
    }
}

/// Option 43 takes one length octet for all of them, ours included.
const VENDOR_BYTES: usize = 200;

fn client(read: &Read<'_, BootClient>, whole: &Whole<'_>, slips: &mut Vec<Slip>) {
    let client = &read.value;
    let mut say = |path: &str, said: String| slips.push(read.document.slip_at(path, said));
    if client.class.is_none() && client.user_class.is_none() && client.oui.is_empty() {
        say("id", "this would be everybody: give class, user-class or oui".into());
    }
    for (path, text) in [("class", &client.class), ("user-class", &client.user_class)] {
        if text.as_ref().is_some_and(String::is_empty) {
            say(path, "an empty text says nothing; leave it out".into());
        }
    }
    for text in client.oui.iter().filter(|text| oui(text).is_none()) {
        say("oui", format!("{text:?} must be the first three octets of a MAC address, like \"02:00:5e\""));
    }
    if client.lease_seconds.is_some_and(|seconds| seconds < 60) {
        say("lease-seconds", "a lease lasts at least 60 seconds".into());
    }
    for (number, text) in &client.vendor_options {
        match number.parse::<u8>() {
            Ok(6 | 71) => say("vendor-options", format!("sub-option {number} is ours to set")),
            Ok(1..=254) => {}
            _ => say("vendor-options", format!("{number:?} must be the number of a sub-option, 1 to 254")),
        }
        if hex(text).is_none_or(|bytes| bytes.is_empty()) {
            say("vendor-options", format!("{text:?} must be bytes in hexadecimal, two digits each"));
        }
    }
    if client.vendor_bytes().len() > VENDOR_BYTES {
        say("vendor-options", format!("they do not fit into option 43; {VENDOR_BYTES} bytes at most"));
    }
    if let Some(loader) = &client.loader {
        let loaders = || whole.loaders.iter().map(|read| read.value.id.clone());
        known(read, "loader", "loader", loader, whole, loaders, slips);
    }
}

fn image(read: &Read<'_, OsImage>, slips: &mut Vec<Slip>) {
    let image = &read.value;
    file_name(read, "file", &image.file, slips);
    file_name(read, "manifest", &image.manifest, slips);
    if image.firmware.is_empty() {
        slips.push(read.document.slip_at("firmware", "an image must boot under \"uefi\", \"bios\" or both".into()));
    }
    if !image.console.is_empty() && !is_console(&image.console) {
        let message = format!("console {:?} must be like \"ttyS0,115200\"", image.console);
        slips.push(read.document.slip_at("console", message));
    }
}
