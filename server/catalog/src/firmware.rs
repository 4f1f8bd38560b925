//! The firmware that the parts of a model shall have: which version, from where one can come to it, in which order.
//!
//! Which version is wanted is a site's decision and so is data; nothing here, and nothing that stands on it, writes a
//! firmware image to anything.

use crate::{Evidence, Pattern};
use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// No BMC's version is longer; a longer text is no version.
const LONGEST: usize = 256;

/// A `[[firmware]]` table of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirmwareWant {
    /// What plans call it: `bios`, `bmc`, `fabric`.
    pub name: String,
    /// How BMCs call it, as `muster bmc inspect` shows it under `component`. Any one has to fit.
    pub component: Vec<Pattern>,
    /// The form in which the version is reported.
    pub reported: Form,
    pub wanted: String,
    /// The least version from which one gets to the wanted one in one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version to go to first from what is below `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The lowest goes first.
    pub order: u32,
    pub reset: Reset,
    pub evidence: Evidence,
}

/// What has to be restarted before a new version runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    None,
    Bmc,
    Machine,
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no reset",
            Self::Bmc => "a reset of the BMC",
            Self::Machine => "a reset of the machine",
        })
    }
}

/// A regular expression that the whole of a reported version has to fit; its one group in parentheses is what is
/// compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Form(pub String);

impl Form {
    /// The part of a reported version that is compared; `None` where it has another form.
    pub fn read(&self, reported: &str) -> Option<String> {
        let reported = reported.trim();
        if reported.len() > LONGEST {
            return None;
        }
        let found = self.compiled().ok()?.captures(reported)?.get(1)?.as_str().trim().to_owned();
        (!found.is_empty()).then_some(found)
    }

    pub(crate) fn compiled(&self) -> Result<Regex, String> {
        let regex = Regex::new(&format!("^(?:{})$", self.0)).map_err(|error| error.to_string())?;
        match regex.captures_len() {
            2 => Ok(regex),
            groups => Err(format!("it has {} groups in parentheses", groups.saturating_sub(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_group_of_a_form_is_what_is_compared_and_the_whole_text_has_to_fit() {
        let form = Form(r"[A-Z]\d+ v(\d+\.\d+)(?: \(\d\d/\d\d/\d{4}\))?".into());
        assert_eq!(form.read(" U58 v2.44 (01/17/2025) ").as_deref(), Some("2.44"));
        assert_eq!(form.read("U58 v2.44").as_deref(), Some("2.44"));
        for other in ["2.44", "U58 v2.44 beta", "", "xU58 v2.44"] {
            assert_eq!(form.read(other), None, "{other}");
        }
        assert_eq!(Form("(.*)".into()).read(&"1".repeat(LONGEST + 1)), None);
        assert!(Form("a|(b)".into()).read("a").is_none(), "a group that took no part");
    }

    proptest! {
        #[test]
        fn no_text_panics(form in "\\PC{0,20}", text in "\\PC{0,40}") {
            let _ = Form(form).read(&text);
            let _ = Form(r"(\d+(?:\.\d+)*)".into()).read(&text);
        }
    }
}
