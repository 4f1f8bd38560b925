//! What one BMC is asked once, so that all of its kind need not be found out about again: how it wants to be written to,
//! and which keys it hides until it is restarted.
//!
//! What is found is kept by the caller, as JSON of [`Learnt`], for each maker, model and firmware.

use crate::lane::Sent;
use crate::{Bmcs, Error, Protocol, Quirk, Target, redfish};
use serde::{Deserialize, Serialize};

/// What a BMC makes of `If-Match` when something is changed (B7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteHabit {
    /// Over IPMI there is no such thing.
    NotApplicable,
    /// It takes a change without, and hands out no tag that could be sent.
    Untagged,
    /// It takes a change with the tag and without.
    Either,
    /// It takes a change without, and refuses it with the tag in any form.
    Refused,
    /// It refuses a change without, and takes it with the tag as it handed that out.
    Needed,
    /// The same, with the tag's `W/` left out.
    NeededStrong,
    /// The same, with the quotes left out too.
    NeededBare,
}

/// What is known of a kind of BMC because one of them was tried. What was not tried is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Learnt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_match: Option<WriteHabit>,
    /// Whether a boot override is still there after the machine was off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survives_off: Option<bool>,
    /// What [`Bmcs::missing`] told before a restart of the BMC and not after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_after_reset: Option<Vec<String>>,
}

impl Learnt {
    /// What follows for [`Target::quirks`]. No quirk stands for the rest: an override is set again before each boot in any
    /// case, and keys that are missing are missing for everybody.
    pub fn quirks(&self) -> Vec<Quirk> {
        match self.if_match {
            Some(WriteHabit::Refused) => vec![Quirk::NoIfMatch],
            Some(WriteHabit::Needed | WriteHabit::NeededStrong | WriteHabit::NeededBare) => vec![Quirk::NeedsIfMatch],
            Some(WriteHabit::NotApplicable | WriteHabit::Untagged | WriteHabit::Either) | None => Vec::new(),
        }
    }
}

impl Bmcs {
    /// Finds out how the BMC wants a change, by setting the boot override to what it is already. That changes nothing,
    /// and is a write all the same: only for a machine that somebody marked as ours.
    pub async fn probe_write(&self, target: &Target) -> Result<WriteHabit, Error> {
        if target.protocol == Protocol::Ipmi {
            return Ok(WriteHabit::NotApplicable);
        }
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async { redfish::probe_write(&lane.redfish_write(&self.inner, target).await?, &sent).await };
        let outcome = lane.run(&self.inner.settings, act).await;
        outcome.map_err(|source| Error::ProbeWrite { bmc: target.address.clone(), source })
    }

    /// Which of the keys that this house works with the BMC does not show, as paths with dots. Some show them only after
    /// the BMC was restarted. Over IPMI nothing is missing: it has commands and no keys.
    pub async fn missing(&self, target: &Target) -> Result<Vec<&'static str>, Error> {
        if target.protocol == Protocol::Ipmi {
            return Ok(Vec::new());
        }
        let lane = self.lane(target);
        let reading = async { redfish::missing(&lane.redfish_read(&self.inner, target).await?).await };
        let read = lane.run(&self.inner.settings, reading).await;
        read.map_err(|source| Error::Missing { bmc: target.address.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_learnt_is_kept_as_json_that_an_older_and_a_newer_muster_read() {
        let learnt = Learnt {
            if_match: Some(WriteHabit::NeededBare),
            survives_off: Some(false),
            keys_after_reset: Some(vec!["PowerState".into()]),
        };
        let kept = json!({"if-match": "needed-bare", "survives-off": false, "keys-after-reset": ["PowerState"]});
        assert_eq!(serde_json::to_value(&learnt).unwrap(), kept);
        assert_eq!(serde_json::from_value::<Learnt>(kept).unwrap(), learnt);
        assert_eq!(serde_json::to_value(Learnt::default()).unwrap(), json!({}));
        let newer = json!({"if-match": null, "learnt-at": 7, "survives-off": true});
        let read: Learnt = serde_json::from_value(newer).unwrap();
        assert_eq!(read, Learnt { survives_off: Some(true), ..Learnt::default() });
    }

    #[test]
    fn b7_3_what_was_learnt_of_if_match_is_the_quirk_of_that_name() {
        use WriteHabit::{Either, Needed, NeededBare, NeededStrong, NotApplicable, Refused, Untagged};
        let quirks = |if_match| Learnt { if_match, ..Learnt::default() }.quirks();
        for needed in [Needed, NeededStrong, NeededBare] {
            assert_eq!(quirks(Some(needed)), [Quirk::NeedsIfMatch]);
        }
        assert_eq!(quirks(Some(Refused)), [Quirk::NoIfMatch]);
        for either in [None, Some(NotApplicable), Some(Untagged), Some(Either)] {
            assert_eq!(quirks(either), []);
        }
    }
}
