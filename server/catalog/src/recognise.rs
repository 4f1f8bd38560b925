//! Whose BMC this is, told from what it says of itself.
//!
//! A wrong answer sends one maker's requests to another's firmware; no answer only leaves the rules of the
//! specification in force. So three things end in nobody: a sign that is missing, two profiles that know the BMC equally
//! well, and a maker's name that contradicts. The last is why a profile is more than the sum of its tables: signs that
//! a maker gives away with its firmware are found in other makers' machines too, and there the name says so. The way
//! turned down is a score over all profiles: nobody can say why it came out so.

use crate::{BmcProfile, Catalog, policy};
use muster_names::Mac;
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
    pub root_vendor: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_product: Option<Vec<Pattern>>,
    /// One of the keys under `Oem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oem: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_manufacturer: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_model: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_manufacturer: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_model: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker_number: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_number: Option<u16>,
}

/// A word in which `*` stands for any run of characters; in upper or lower case, blanks at both ends aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pattern(pub String);

impl Pattern {
    pub fn fits(&self, text: &str) -> bool {
        !self.is_hollow() && policy::fits(&self.0.trim().to_lowercase(), &text.trim().to_lowercase())
    }

    /// Says nothing: it is empty, or everything would fit.
    pub(crate) fn is_hollow(&self) -> bool {
        self.0.trim().trim_matches('*').is_empty()
    }
}

/// A key of a table, its patterns and what the BMC says there.
type Row<'a> = (&'static str, Option<&'a [Pattern]>, Vec<&'a str>);

impl Recognise {
    /// The keys that compare words, whether given or not.
    pub(crate) fn words<'a>(&'a self, signs: &'a BmcSigns) -> [Row<'a>; 8] {
        fn row<'a>(key: &'static str, patterns: &'a Option<Vec<Pattern>>, said: &'a Option<String>) -> Row<'a> {
            let said = said.as_deref().map(str::trim).filter(|said| !said.is_empty());
            (key, patterns.as_deref(), said.into_iter().collect())
        }
        [
            row("root-vendor", &self.root_vendor, &signs.root_vendor),
            row("root-product", &self.root_product, &signs.root_product),
            ("oem", self.oem.as_deref(), signs.oem.iter().map(String::as_str).collect()),
            row("system-manufacturer", &self.system_manufacturer, &signs.system_manufacturer),
            row("system-model", &self.system_model, &signs.system_model),
            row("manager-manufacturer", &self.manager_manufacturer, &signs.manager_manufacturer),
            row("manager-model", &self.manager_model, &signs.manager_model),
            row("firmware", &self.firmware, &signs.firmware),
        ]
    }

    /// The numbers that are given, and whether the BMC says them.
    fn numbers(&self, signs: &BmcSigns) -> impl Iterator<Item = bool> {
        let maker = self.maker_number.map(|number| signs.maker_number == Some(number));
        let product = self.product_number.map(|number| signs.product_number == Some(number));
        maker.into_iter().chain(product)
    }

    /// How many signs fit; `None` where one does not, or none is given.
    fn score(&self, signs: &BmcSigns) -> Option<usize> {
        let words = self.words(signs);
        let words = words.iter().filter_map(|(_, patterns, said)| patterns.map(|patterns| any_fits(patterns, said)));
        let fits: Vec<bool> = words.chain(self.numbers(signs)).collect();
        (!fits.is_empty() && fits.iter().all(|fits| *fits)).then_some(fits.len())
    }
}

fn any_fits(patterns: &[Pattern], said: &[&str]) -> bool {
    patterns.iter().any(|pattern| said.iter().any(|said| pattern.fits(said)))
}

/// The keys that name a maker.
const NAMES_A_MAKER: [&str; 3] = ["root-vendor", "system-manufacturer", "manager-manufacturer"];

impl BmcProfile {
    /// The score of the most specific of its tables that fits, unless a maker's name speaks against the profile.
    fn score(&self, signs: &BmcSigns) -> Option<usize> {
        let best = self.recognise.iter().filter_map(|table| table.score(signs)).max()?;
        (!self.is_contradicted(signs)).then_some(best)
    }

    /// The BMC names a maker where tables of this profile name some, and not one of those.
    fn is_contradicted(&self, signs: &BmcSigns) -> bool {
        let by_word = NAMES_A_MAKER.iter().any(|key| {
            let rows = self.recognise.iter().flat_map(|table| table.words(signs));
            let named: Vec<Row<'_>> =
                rows.filter(|(name, patterns, said)| name == key && patterns.is_some() && !said.is_empty()).collect();
            !named.is_empty()
                && !named.iter().any(|(_, patterns, said)| patterns.is_some_and(|patterns| any_fits(patterns, said)))
        });
        let mut numbers = self.recognise.iter().filter_map(|table| table.maker_number).peekable();
        let by_number =
            numbers.peek().is_some() && signs.maker_number.is_some_and(|said| numbers.all(|number| number != said));
        by_word || by_number
    }
}

impl Catalog {
    /// A profile whose BMCs look so when they ask for an address.
    pub fn bmc_heard(&self, class: Option<&str>, mac: Mac) -> Option<&BmcProfile> {
        self.bmcs.iter().find(|profile| profile.dhcp.fits(class, mac))
    }

    /// The one profile that knows this BMC best; `None` where none does, or two know it equally well.
    pub fn recognise(&self, signs: &BmcSigns) -> Option<&BmcProfile> {
        let scored: Vec<(usize, &BmcProfile)> =
            self.bmcs.iter().filter_map(|profile| Some((profile.score(signs)?, profile))).collect();
        let best = scored.iter().map(|(score, _)| *score).max()?;
        let mut of_best = scored.iter().filter(|(score, _)| *score == best);
        match (of_best.next(), of_best.next()) {
            (Some((_, profile)), None) => Some(profile),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evidence;
    use proptest::prelude::*;

    fn profile(id: &str, tables: &str) -> BmcProfile {
        let text = format!("id = {id:?}\ntitle = \"x\"\nevidence = \"synthetic\"\nprotocols = [\"redfish\"]\n{tables}");
        toml::from_str(&text).unwrap()
    }

    fn catalog(profiles: &[(&str, &str)]) -> Catalog {
        Catalog { bmcs: profiles.iter().map(|(id, tables)| profile(id, tables)).collect(), ..Catalog::default() }
    }

    fn said(vendor: &str, manufacturer: &str, model: &str, oem: &[&str]) -> BmcSigns {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        BmcSigns {
            root_vendor: some(vendor),
            system_manufacturer: some(manufacturer),
            manager_model: some(model),
            oem: oem.iter().map(|key| (*key).to_owned()).collect(),
            ..BmcSigns::default()
        }
    }

    fn is(catalog: &Catalog, signs: &BmcSigns) -> Option<String> {
        catalog.recognise(signs).map(|profile| profile.id.clone())
    }

    const ACME: &str = r#"
[[recognise]]
oem = ["Acme"]
[[recognise]]
root-vendor = ["Acme*"]
[[recognise]]
system-manufacturer = ["Acme*"]
[[recognise]]
maker-number = 4711
"#;
    const ACME_2: &str = r#"
[[recognise]]
oem = ["Acme"]
manager-model = ["Acme 2*"]
"#;

    #[test]
    fn any_table_suffices_and_the_most_signs_win() {
        let catalog = catalog(&[("acme", ACME), ("acme-2", ACME_2)]);
        assert_eq!(is(&catalog, &said("ACME ", "", "", &[])).as_deref(), Some("acme"));
        assert_eq!(is(&catalog, &said("", "Acme Inc.", "Acme 3", &["Acme"])).as_deref(), Some("acme"));
        assert_eq!(is(&catalog, &said("", "Acme Inc.", "acme 2 plus", &["x", "acme"])).as_deref(), Some("acme-2"));
        let by_number = BmcSigns { maker_number: Some(4711), ..BmcSigns::default() };
        assert_eq!(is(&catalog, &by_number).as_deref(), Some("acme"));
        assert_eq!(is(&catalog, &BmcSigns::default()), None);
    }

    #[test]
    fn all_signs_of_a_table_have_to_be_there() {
        let catalog = catalog(&[("acme-2", ACME_2)]);
        assert_eq!(is(&catalog, &said("Acme", "Acme", "", &["Acme"])), None);
        assert_eq!(is(&catalog, &said("Acme", "Acme", "Acme 2", &[])), None);
    }

    #[test]
    fn two_that_know_it_equally_well_are_nobody() {
        let catalog =
            catalog(&[("a", "[[recognise]]\noem = [\"X\"]"), ("b", "[[recognise]]\nmanager-model = [\"Y\"]")]);
        assert_eq!(is(&catalog, &said("", "", "Y", &["X"])), None);
        assert_eq!(is(&catalog, &said("", "", "Y", &[])).as_deref(), Some("b"));
    }

    #[test]
    fn a_makers_name_that_the_profile_does_not_know_speaks_against_it() {
        let catalog = catalog(&[("acme", ACME)]);
        assert_eq!(is(&catalog, &said("Contoso", "", "", &["Acme"])), None);
        assert_eq!(is(&catalog, &said("", "Contoso", "", &["Acme"])), None);
        assert_eq!(is(&catalog, &said(" ", "", "", &["Acme"])).as_deref(), Some("acme"), "a blank name is no name");
        let numbered = BmcSigns { maker_number: Some(1), ..said("Acme", "", "", &[]) };
        assert_eq!(is(&catalog, &numbered), None);
    }

    #[test]
    fn a_pattern_that_says_nothing_fits_nothing() {
        for hollow in ["", " ", "*", "**", " * "] {
            assert!(!Pattern(hollow.into()).fits("x") && !Pattern(hollow.into()).fits(""), "{hollow:?}");
        }
        for (pattern, text) in [("ab*", "ABC"), ("*bc", "abc "), ("*b*", "abc"), ("a*c", "abbc"), ("ABC", " abc")] {
            assert!(Pattern(pattern.into()).fits(text), "{pattern} {text}");
        }
        assert!(!Pattern("ab".into()).fits("abc") && !Pattern("bc*".into()).fits("abc"));
    }

    #[test]
    fn a_profile_without_tables_is_never_recognised() {
        let mut named = profile("named", "");
        named.evidence = Evidence::Documented("https://example.org/".into());
        assert_eq!(Catalog { bmcs: vec![named], ..Catalog::default() }.recognise(&said("a", "b", "c", &["d"])), None);
    }

    proptest! {
        #[test]
        fn no_signs_panic(pattern in "\\PC{0,12}", text in "\\PC{0,20}", oem in proptest::collection::vec("\\PC{0,8}", 0..4)) {
            let _ = Pattern(pattern.clone()).fits(&text);
            let signs = BmcSigns { root_vendor: Some(text), oem, ..BmcSigns::default() };
            let table = Recognise { root_vendor: Some(vec![Pattern(pattern)]), ..Recognise::default() };
            let profile = BmcProfile { recognise: vec![table], ..profile("x", "") };
            let _ = Catalog { bmcs: vec![profile], ..Catalog::default() }.recognise(&signs);
        }
    }
}
