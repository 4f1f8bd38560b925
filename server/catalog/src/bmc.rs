//! BMC profiles: how a kind of BMC is told from others, which protocol to speak first, which named workarounds to switch
//! on and where else its inventory lies.
//!
//! A workaround is written once, in the `bmc` crate; here it has only its name. A new kind of workaround is one
//! variant here and one function there.

use crate::client::oui;
use crate::{BiosRow, Evidence, Pattern, Recognise, usable_for_writes};
use muster_names::Mac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Redfish,
    Ipmi,
}

/// A named way in which a BMC departs from its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// IPMI: answers cipher suite 17 with a refusal although it lists it; start with suite 3.
    SuiteThreeOnly,
    /// Redfish: PATCH wants no `If-Match`, not even the one it handed out.
    NoIfMatch,
    /// Redfish: PATCH is refused without `If-Match`.
    NeedsIfMatch,
    /// Setting boot-once forgets the UEFI mode; it has to be sent with every override.
    BootOnceForgetsUefi,
    /// The override stays in force after one boot; clear it once the machine has booted.
    BootOnceStays,
    /// What the BMC says of an override it took leaves out the firmware mode or how long it lasts; only the device is compared.
    BootReadBackPartial,
    /// IPMI: hashes the key exchange with the privilege of Open Session, without the name-only-lookup bit of RAKP 1.
    OpenSessionPrivilege,
    /// IPMI: misanswers Get Channel Authentication Capabilities; begin with Open Session.
    SkipAuthCapabilities,
    /// IPMI: refuses boot option 3, the 60 s limit of a boot override; do not send it.
    NoBootTimeout,
    /// Redfish: an override is taken only with enabled, target and mode in one request, changed or not.
    FullBootPatch,
    /// Redfish: has no sessions; basic authentication is what the site wants.
    BasicAuth,
    /// Redfish: an override carries no firmware mode, because the BMC does not have it there or holds it read-only.
    BootModeElsewhere,
    /// Redfish: knows no override that lasts; one that shall last is set once, and again before each boot.
    BootOnceOnly,
    /// Redfish: takes overrides in the settings resource alone, whether or not that shows one.
    BootInSettings,
    /// Redfish: refuses an override during the self-test.
    NoBootInPost,
    /// Redfish: refuses an override while a configuration job waits in its queue.
    BootAfterJobs,
    /// Redfish: a forced restart hangs, or leaves the power on; off, off read back and on is what restarts.
    RestartByOffOn,
    /// Redfish: lists accelerator baseboards among the systems; they are no machines.
    BaseboardBeside,
    /// IPMI: the disk of a UEFI boot is the one that the specification calls primary remote media.
    UefiDiskAsRemote,
    /// IPMI: knows a user only by a name that zeros pad to sixteen bytes, and no lookup by name alone.
    PadUserName,
    /// IPMI: answers RAKP 1 only where the field of the user's name is sent at its full length.
    WholeNameField,
    /// IPMI: loses a setting that follows another one within a second.
    SlowSettings,
    /// IPMI console: says of every packet that it took none of its characters, and took all.
    ConsoleTakesAll,
}

impl Quirk {
    /// Only changes what is written. Made up, it would be tried out on somebody's machine.
    pub fn is_for_writes(self) -> bool {
        match self {
            Self::SuiteThreeOnly
            | Self::OpenSessionPrivilege
            | Self::SkipAuthCapabilities
            | Self::BasicAuth
            | Self::BaseboardBeside
            | Self::PadUserName
            | Self::WholeNameField => false,
            Self::NoIfMatch
            | Self::NeedsIfMatch
            | Self::BootOnceForgetsUefi
            | Self::BootOnceStays
            | Self::BootReadBackPartial
            | Self::NoBootTimeout
            | Self::FullBootPatch
            | Self::BootModeElsewhere
            | Self::BootOnceOnly
            | Self::BootInSettings
            | Self::NoBootInPost
            | Self::BootAfterJobs
            | Self::RestartByOffOn
            | Self::UefiDiskAsRemote
            | Self::SlowSettings
            | Self::ConsoleTakesAll => true,
        }
    }
}

/// `firmware-profiles/bmcs/ID.toml`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BmcProfile {
    pub id: String,
    pub title: String,
    pub evidence: Evidence,
    /// In the order in which they are tried.
    pub protocols: Vec<Protocol>,
    /// What of them holds is [`BmcProfile::quirks_in_force`].
    #[serde(default)]
    pub quirks: Vec<Quirk>,
    /// How long a BMC of this kind may take to answer one request.
    #[serde(default = "patience")]
    pub timeout_seconds: u32,
    /// How it is told from others. Any one of them is enough; none: it is never recognised, only named by a model or a rack layout.
    #[serde(default)]
    pub recognise: Vec<Recognise>,
    /// What the machine itself calls its serial number is `SKU` there, and `SerialNumber` is another number.
    #[serde(default)]
    pub serial_in_sku: bool,
    /// How it shows when it asks for an address. It tells where to look for a BMC, and nothing more.
    #[serde(default)]
    pub dhcp: BmcDhcp,
    /// Places that the standard does not name and that lead to more of the inventory.
    #[serde(default)]
    pub link: Vec<Link>,
    /// Ids of members of the firmware inventory that are kept beside the version that runs.
    #[serde(default)]
    pub firmware_not_running: Vec<Pattern>,
    /// What the firmware's settings are called there.
    #[serde(default)]
    pub bios: Vec<BiosRow>,
}

impl BmcProfile {
    /// A profile that rests on nothing but plausibility is looked at with: its quirks for reading hold, those that
    /// change what is written do not.
    pub fn quirks_in_force(&self) -> Vec<Quirk> {
        let writes = usable_for_writes(&self.evidence);
        self.quirks.iter().copied().filter(|quirk| writes || !quirk.is_for_writes()).collect()
    }
}

/// What a BMC's DHCP packets look like: any of it is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BmcDhcp {
    /// Option 60, the vendor class.
    pub class: Vec<Pattern>,
    /// The first three octets of its MAC address, like `02:00:5e`.
    pub oui: Vec<String>,
}

impl BmcDhcp {
    /// Whether a client that calls itself so, with this address, may be such a BMC.
    pub fn fits(&self, class: Option<&str>, mac: Mac) -> bool {
        let Mac([a, b, c, ..]) = mac;
        class.is_some_and(|class| self.class.iter().any(|pattern| pattern.fits(class)))
            || self.oui.iter().any(|text| oui(text) == Some([a, b, c]))
    }
}

/// One step of a walk over a tree of Redfish resources that the standard has no name for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// What the place stands in.
    pub from: Resource,
    /// A JSON pointer (RFC 6901) to a link, to a list of links, or to a resource that lies there whole.
    pub at: String,
    /// What is found there, or what the members of the collection found there are.
    pub to: Resource,
}

/// What a Redfish resource is to an inventory, whatever its schema is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    Root,
    System,
    Chassis,
    Manager,
    Memory,
    Processor,
    Storage,
    SimpleStorage,
    Drive,
    /// A system's own port.
    Ethernet,
    NetworkInterface,
    NetworkAdapter,
    NetworkFunction,
    NetworkPort,
    /// The older one resource of power supplies and voltages.
    Power,
    /// The older one resource of fans and temperatures.
    Thermal,
    PowerSubsystem,
    ThermalSubsystem,
    PowerSupply,
    Fan,
    UpdateService,
    Firmware,
    ManagerEthernet,
    /// Tells nothing of the machine and leads on.
    Folder,
}

fn patience() -> u32 {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bmc_shows_by_its_vendor_class_or_by_its_makers_part_of_the_mac() {
        let signs = BmcDhcp { class: vec![Pattern("iLO*".into())], oui: vec!["02:00:5e".into(), "odd".into()] };
        let (own, other) = (Mac([2, 0, 0x5e, 1, 2, 3]), Mac([2, 0, 0x5f, 1, 2, 3]));
        assert!(signs.fits(Some("ilo 9"), other) && signs.fits(None, own) && signs.fits(Some("PXEClient"), own));
        assert!(!signs.fits(Some("PXEClient:Arch:00007"), other) && !signs.fits(None, other));
        assert!(!BmcDhcp::default().fits(Some(""), other));
    }

    #[test]
    fn a_made_up_profile_reads_with_its_quirks_and_writes_without() {
        let text = "id = \"x\"\ntitle = \"x\"\nevidence = \"synthetic\"\nprotocols = [\"redfish\"]\n\
                    quirks = [\"basic-auth\", \"full-boot-patch\", \"suite-three-only\"]\n";
        let made_up: BmcProfile = toml::from_str(text).unwrap();
        assert_eq!(made_up.quirks_in_force(), [Quirk::BasicAuth, Quirk::SuiteThreeOnly]);
        let documented =
            BmcProfile { evidence: Evidence::Documented("https://example.org/".into()), ..made_up.clone() };
        assert_eq!(documented.quirks_in_force(), made_up.quirks);
    }
}
