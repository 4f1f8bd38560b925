//! The machines a wish is for: explicit, at least one, at most what one wish may hold. There is no value that means
//! "all", and none that a missing or empty field could turn into.

use crate::MachineId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One wish names at most this many machines.
pub const MOST_TARGETS: usize = 1_000;

/// Explicit machine ids, sorted, without duplicates, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<MachineId>", into = "Vec<MachineId>")]
#[schemars(with = "Vec<MachineId>")]
pub struct TargetSet(Vec<MachineId>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTargets {
    Empty,
    TooMany { count: usize },
}

impl fmt::Display for BadTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("no machine is named; name each machine by its id (an empty list never means all)")
            }
            Self::TooMany { count } => write!(f, "{count} machines are named; one wish takes at most {MOST_TARGETS}"),
        }
    }
}

impl std::error::Error for BadTargets {}

impl TargetSet {
    pub fn new(mut ids: Vec<MachineId>) -> Result<Self, BadTargets> {
        ids.sort_unstable();
        ids.dedup();
        match ids.len() {
            0 => Err(BadTargets::Empty),
            count if count > MOST_TARGETS => Err(BadTargets::TooMany { count }),
            _ => Ok(Self(ids)),
        }
    }

    pub fn ids(&self) -> &[MachineId] {
        &self.0
    }
}

impl TryFrom<Vec<MachineId>> for TargetSet {
    type Error = BadTargets;
    fn try_from(ids: Vec<MachineId>) -> Result<Self, BadTargets> {
        Self::new(ids)
    }
}

impl From<TargetSet> for Vec<MachineId> {
    fn from(targets: TargetSet) -> Self {
        targets.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        targets: TargetSet,
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            prop_oneof![Just("*"), Just("all"), Just(""), Just("any"), Just("0")].prop_map(Into::into),
            any::<u128>().prop_map(|id| MachineId(id).to_string().into()),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::hash_map("[a-z*]{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a6_1_nothing_means_all() {
        for json in [
            r#"{}"#,
            r#"{"targets":null}"#,
            r#"{"targets":""}"#,
            r#"{"targets":"*"}"#,
            r#"{"targets":[]}"#,
            r#"{"targets":["*"]}"#,
            r#"{"targets":["all"]}"#,
            r#"{"targets":{}}"#,
            r#"{"targets":true}"#,
            r#"{"target":[]}"#,
        ] {
            let read = serde_json::from_str::<Wish>(json).map(|wish| wish.targets);
            assert!(read.is_err(), "{json} means {read:?}");
        }
    }

    proptest! {
        /// Whatever JSON comes: what is accepted is a list of whole ids, each of which stood in the JSON.
        #[test]
        fn a6_1_only_ids_that_were_written_are_targets(json in any_json()) {
            if let Ok(targets) = serde_json::from_value::<TargetSet>(json.clone()) {
                prop_assert!(!targets.ids().is_empty());
                let listed: Vec<String> = serde_json::from_value(json).expect("a list of texts");
                for id in targets.ids() {
                    prop_assert!(listed.iter().any(|text| text.eq_ignore_ascii_case(&id.to_string())));
                }
            }
        }
    }
}
