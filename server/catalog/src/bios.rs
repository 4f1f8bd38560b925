//! What a machine's firmware shall be set to, in words that hold for every maker, and what makers call it.
//!
//! A model says `c-states = "off"`; the profile of its BMC says which attribute that is there and which value. A row that
//! rests on nothing but plausibility may be compared and is never written.

use crate::{Evidence, Pattern};
use muster_names::FirmwareMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A setting that most firmware has, whatever its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BiosAttribute {
    BootMode,
    PowerProfile,
    CStates,
    Turbo,
    /// Each processor's memory told to the system as its own.
    Numa,
    SrIov,
    HyperThreading,
    Virtualization,
}

impl BiosAttribute {
    pub fn word(self) -> &'static str {
        match self {
            Self::BootMode => "boot-mode",
            Self::PowerProfile => "power-profile",
            Self::CStates => "c-states",
            Self::Turbo => "turbo",
            Self::Numa => "numa",
            Self::SrIov => "sr-iov",
            Self::HyperThreading => "hyper-threading",
            Self::Virtualization => "virtualization",
        }
    }

    /// What it may be set to.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::BootMode => &["uefi", "bios"],
            Self::PowerProfile => &["performance", "balanced", "power-saving", "system"],
            _ => &["on", "off"],
        }
    }
}

impl fmt::Display for BiosAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PowerProfile {
    Performance,
    Balanced,
    PowerSaving,
    /// The operating system decides.
    System,
}

/// What an entry of the boot order leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootSource {
    /// PXE.
    Network,
    /// UEFI HTTP boot.
    Http,
    Disk,
    Usb,
    Cd,
    /// A shell, a setup program, and what nobody has a word for.
    Other,
}

impl BootSource {
    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Http => "http",
            Self::Disk => "disk",
            Self::Usb => "usb",
            Self::Cd => "cd",
            Self::Other => "other",
        }
    }
}

/// The `[bios]` table of a model. What is left out is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BiosWants {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<FirmwareMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_profile: Option<PowerProfile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c_states: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turbo: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sr_iov: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hyper_threading: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtualization: Option<Switch>,
    /// What the boot order begins with, each kind once, where it is first met. Compared and never written: which device a
    /// boot leads to is said before each boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_order: Vec<BootSource>,
}

impl BiosWants {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each attribute with the word that it shall have; the boot order is none of them.
    pub fn attributes(&self) -> Vec<(BiosAttribute, &'static str)> {
        let switch = |switch: Option<Switch>| switch.map(|switch| if switch == Switch::On { "on" } else { "off" });
        let mode = self.boot_mode.map(|mode| if mode == FirmwareMode::Uefi { "uefi" } else { "bios" });
        let power = self.power_profile.map(|profile| match profile {
            PowerProfile::Performance => "performance",
            PowerProfile::Balanced => "balanced",
            PowerProfile::PowerSaving => "power-saving",
            PowerProfile::System => "system",
        });
        let all = [
            (BiosAttribute::BootMode, mode),
            (BiosAttribute::PowerProfile, power),
            (BiosAttribute::CStates, switch(self.c_states)),
            (BiosAttribute::Turbo, switch(self.turbo)),
            (BiosAttribute::Numa, switch(self.numa)),
            (BiosAttribute::SrIov, switch(self.sr_iov)),
            (BiosAttribute::HyperThreading, switch(self.hyper_threading)),
            (BiosAttribute::Virtualization, switch(self.virtualization)),
        ];
        all.into_iter().filter_map(|(attribute, word)| Some((attribute, word?))).collect()
    }
}

/// A `[[bios]]` table of a BMC profile: what one attribute is called there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BiosRow {
    pub attribute: BiosAttribute,
    /// The name of the Redfish attribute. A star for names that end in a number of the board.
    pub name: Pattern,
    /// The maker's value of each word.
    pub values: BTreeMap<String, String>,
    pub evidence: Evidence,
}

/// The settings of one machine's firmware, as its BMC tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiosTold {
    pub settings: BTreeMap<String, BiosSetting>,
    /// `None` where the BMC does not tell it.
    pub boot_order: Option<Vec<BootSource>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiosSetting {
    /// In force now.
    pub value: String,
    /// In force after the next boot, where that is another.
    pub pending: Option<String>,
    pub read_only: bool,
    /// What it may be set to, where the BMC tells it.
    pub offered: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wish_that_can_be_written_is_among_the_words_of_its_attribute() {
        let text = "boot-mode = \"bios\"\npower-profile = \"power-saving\"\nc-states = \"off\"\nturbo = \"on\"\n\
                    numa = \"on\"\nsr-iov = \"off\"\nhyper-threading = \"on\"\nvirtualization = \"on\"\n";
        let wants: BiosWants = toml::from_str(text).unwrap();
        let all = wants.attributes();
        assert_eq!(all.len(), 8);
        for (attribute, word) in all {
            assert!(attribute.words().contains(&word), "{attribute} {word}");
            assert!(text.contains(&format!("{attribute} = \"{word}\"")), "{attribute} {word}");
        }
        assert!(BiosWants::default().is_empty() && BiosWants::default().attributes().is_empty());
    }
}
