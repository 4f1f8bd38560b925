//! What a BMC, or anybody who plays one, serves over Redfish: a tree of JSON that may say anything anywhere.
//!
//! An input that begins with a brace is the tree itself, path by path, as in the seeds. Any other spells one out of the
//! words that the readers look for: random bytes hardly ever are JSON, let alone a link.
#![no_main]

use muster_catalog::Catalog;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Profiles whose links lead beside the standard's.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let files = [
        ("firmware-profiles/bmcs/hpe-ilo-4.toml", include_str!("../../../firmware-profiles/bmcs/hpe-ilo-4.toml")),
        ("firmware-profiles/bmcs/hpe-ilo-5.toml", include_str!("../../../firmware-profiles/bmcs/hpe-ilo-5.toml")),
    ];
    muster_catalog::read(&files).expect("profiles without slips")
});

const NAMES: &str = "@odata.id @odata.type @odata.nextLink Members Members@odata.count Members@odata.nextLink Systems Chassis \
    Managers UpdateService Registries AccountService Accounts LogServices Entries Memory Processors Storage SimpleStorage \
    Drives Devices EthernetInterfaces NetworkInterfaces NetworkAdapters NetworkAdapter NetworkPorts Ports \
    NetworkDeviceFunctions PowerSubsystem ThermalSubsystem PowerSupplies Fans Power Thermal Sensors Temperatures Voltages \
    PowerControl FirmwareInventory Links ComputerSystems ManagedBy Contains ContainedBy Oem Hpe Hp Dell Supermicro Vendor \
    Product Manufacturer Model SKU SerialNumber UUID PartNumber Id Name MemberId DeviceLocator Location PartLocation \
    ServiceLabel Slot Bay CapacityMiB CapacityBytes SizeMB MACAddress PermanentMACAddress AssociatedNetworkAddresses \
    Status State Health PowerState Boot BootSourceOverrideTarget BootSourceOverrideEnabled BootSourceOverrideMode BootOrder \
    Bios Attributes RegistryEntries AttributeName Type Value ValueName ReadOnly Version FirmwareVersion Reading \
    ReadingUnits ReadingType ReadingCelsius ReadingVolts PowerConsumedWatts Thresholds UpperCritical Severity Message \
    MessageId MessageArgs Created Modified Updated EntryType OverWritePolicy MaxNumberOfRecords DateTime \
    DateTimeLocalOffset error code message @Message.ExtendedInfo UserName Enabled MaxPasswordLength SerialConsole IPMI Port \
    ServiceEnabled ConnectTypesSupported Uri Language Alias UefiDevicePath BootOptionReference Controllers StorageControllers";

const TEXTS: &str = "On Off OK Warning Critical Absent Enabled Disabled UEFI Legacy Pxe Once HPE Dell Inc. Supermicro SN-1 A1 \
    0 1 -1 4294967296 1e400 02:00:00:00:00:01 00000000-0000-0000-0000-000000000001 2024-02-29T23:59:60Z 1970-01-01 +14:00 \
    SEL Event Sel NeverOverWrites Enumeration English en IPMI SSH Base.1.0.Success Base.1.0.PasswordChangeRequired DIMM PSU1";

/// Where resources are, and where links lead; the last leads nowhere.
const PATHS: [&str; 12] =
    ["", "/S", "/S/1", "/S/2", "/C", "/C/1", "/M", "/M/1", "/L", "/L/E", "/L/E?$skip=1", "/nowhere"];

struct Spelling<'a>(std::slice::Iter<'a, u8>);

impl Spelling<'_> {
    fn byte(&mut self) -> usize {
        self.0.next().copied().map_or(0, usize::from)
    }

    fn of(&mut self, words: &str) -> String {
        let words: Vec<&str> = words.split_whitespace().collect();
        words[self.byte() % words.len()].to_owned()
    }

    fn path(&mut self) -> String {
        format!("/redfish/v1{}", PATHS[self.byte() % PATHS.len()])
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.byte() % 10 {
            0 => Value::Null,
            1 => json!(self.byte() % 2 == 0),
            2 => json!(self.byte() as i64 - 128),
            3 => json!(f64::from_bits(u64::from_le_bytes(std::array::from_fn(|_| self.byte() as u8)))),
            4 => json!(self.of(TEXTS)),
            5 => json!((0..self.byte() % 8).map(|_| char::from(self.byte() as u8)).collect::<String>()),
            6 | 7 => json!({"@odata.id": self.path()}),
            8 if depth > 0 => (0..self.byte() % 6).map(|_| self.value(depth - 1)).collect(),
            _ if depth > 0 => Value::Object(self.object(depth - 1)),
            _ => json!(self.byte()),
        }
    }

    fn object(&mut self, depth: u32) -> Map<String, Value> {
        (0..self.byte() % 8).map(|_| (self.of(NAMES), self.value(depth))).collect()
    }
}

fn tree(bytes: &[u8]) -> Option<BTreeMap<String, Value>> {
    if bytes.starts_with(b"{") {
        return serde_json::from_slice(bytes).ok();
    }
    let mut spelling = Spelling(bytes.iter());
    Some(PATHS.iter().map(|path| (format!("/redfish/v1{path}"), spelling.value(5))).take(11).collect())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(tree) = tree(bytes) else { return };
    let Some(hardware) = muster_bmc::parse_tree(&tree, &CATALOG) else { return };
    // What is told can be written, and does not depend on anything but the tree.
    let told = serde_json::to_string(&hardware).expect("an inventory can be written");
    let again = muster_bmc::parse_tree(&tree, &CATALOG).map(|again| serde_json::to_string(&again).expect("it too"));
    assert_eq!(again, Some(told));
});
