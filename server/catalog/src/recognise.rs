//! Whose BMC this is, told from what it says of itself.
//!
//! A wrong answer sends one maker's requests to another's firmware, no answer only leaves the rules of the
//! specification in force. So a sign that is missing never counts for anybody, and two profiles that claim the same BMC
//! with equally many signs get nobody's answer.

use crate::{BmcProfile, Catalog};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a BMC says of itself, in either protocol, before anybody knows what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BmcSigns {
    /// `Vendor` of the service root.
    pub root_vendor: Option<String>,
    /// `Product` of the service root.
    pub root_product: Option<String>,
    /// The keys under `Oem` of the service root, the system, the manager and the chassis.
    pub oem: Vec<String>,
    pub system_manufacturer: Option<String>,
    pub system_model: Option<String>,
    pub manager_manufacturer: Option<String>,
    pub manager_model: Option<String>,
    /// The BMC's own version.
    pub firmware: Option<String>,
    /// The maker's IANA enterprise number (IPMI's Get Device ID).
    pub maker_number: Option<u32>,
    /// The maker's number of the product (IPMI's Get Device ID).
    pub product_number: Option<u16>,
}

/// Signs that have to be there together. The more of them, the more specific.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recognise {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_vendor: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_product: Option<Pattern>,
    /// One of the keys under `Oem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oem: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_manufacturer: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_model: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_manufacturer: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_model: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker_number: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_number: Option<u16>,
}

/// `word`, `prefix*`, `*suffix`, `*part*`: whatever the case, without the spaces around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pattern(pub String);

impl Pattern {
    pub fn fits(&self, text: &str) -> bool {
        let (text, pattern) = (text.trim().to_lowercase(), self.0.to_lowercase());
        let open = (pattern.starts_with('*'), pattern.ends_with('*'));
        let part = pattern.trim_matches('*');
        match open {
            _ if part.is_empty() => false,
            (false, false) => text == part,
            (false, true) => text.starts_with(part),
            (true, false) => text.ends_with(part),
            (true, true) => text.contains(part),
        }
    }
}

impl Recognise {
    /// How many signs fit; `None` where one does not, or none is named.
    fn score(&self, signs: &BmcSigns) -> Option<usize> {
        let texts = [
            (&self.root_vendor, &signs.root_vendor),
            (&self.root_product, &signs.root_product),
            (&self.system_manufacturer, &signs.system_manufacturer),
            (&self.system_model, &signs.system_model),
            (&self.manager_manufacturer, &signs.manager_manufacturer),
            (&self.manager_model, &signs.manager_model),
            (&self.firmware, &signs.firmware),
        ];
        let texts = texts.into_iter().filter_map(|(pattern, said)| {
            pattern.as_ref().map(|pattern| said.as_ref().is_some_and(|said| pattern.fits(said)))
        });
        let oem = self.oem.as_ref().map(|pattern| signs.oem.iter().any(|key| pattern.fits(key)));
        let maker = self.maker_number.map(|number| signs.maker_number == Some(number));
        let product = self.product_number.map(|number| signs.product_number == Some(number));
        let fits: Vec<bool> = texts.chain(oem).chain(maker).chain(product).collect();
        (!fits.is_empty() && fits.iter().all(|fits| *fits)).then_some(fits.len())
    }
}

impl BmcProfile {
    /// The score of the most specific of its tables that fits.
    fn score(&self, signs: &BmcSigns) -> Option<usize> {
        self.recognise.iter().filter_map(|table| table.score(signs)).max()
    }
}

impl Catalog {
    /// The one profile that knows this BMC best; `None` where none does, or two know it equally well.
    pub fn recognise(&self, signs: &BmcSigns) -> Option<&BmcProfile> {
        let scored = || self.bmcs.iter().filter_map(|profile| Some((profile.score(signs)?, profile)));
        let best = scored().map(|(score, _)| score).max()?;
        let mut of_best = scored().filter(|(score, _)| *score == best).map(|(_, profile)| profile);
        let found = of_best.next()?;
        of_best.next().is_none().then_some(found)
    }
}
