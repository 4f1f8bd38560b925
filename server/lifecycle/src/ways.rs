//! By which way a machine is led into the agent next.
//!
//! A way is left only when a boot by it was missed: the time of its state passed, and nothing of the machine was seen where
//! every way leads, at the boot script. A boot that came so far and failed later is no fault of its way, and what brought the
//! machine in once is kept first. To go on by the count of attempts alone was turned down: an install that fails for its disk
//! would wander off a way that works.

use muster_names::{Epoch, Millis, Way};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last boot into the agent that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Tried {
    pub way: Way,
    pub epoch: Epoch,
    /// When the BMC was told.
    pub since: Millis,
    pub came: Came,
}

/// Whether the machine came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Came {
    /// Nobody knows yet, or the state ended before its time.
    Awaited,
    /// It was given the script that boots the agent.
    Arrived,
    /// Its time passed without that.
    Missed,
}

impl Tried {
    /// What the end of a state's time says of it.
    #[must_use]
    pub fn after_deadline(self, of: Epoch) -> Self {
        let missed = self.epoch == of && self.came == Came::Awaited;
        Self { came: if missed { Came::Missed } else { self.came }, ..self }
    }
}

/// Each of the model's ways once, in the order in which the next boot shall try them. A later one is for a BMC that refuses
/// the one before.
pub fn ways(model: &[Way], tried: Option<&Tried>) -> Vec<Way> {
    let last = tried.and_then(|tried| Some((tried, model.iter().position(|way| *way == tried.way)?)));
    let first = match last {
        None => 0,
        Some((tried, at)) => at + usize::from(tried.came == Came::Missed),
    };
    model.iter().cycle().skip(first).take(model.len()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Way::{Http, Pxe, VirtualMedia};
    use proptest::prelude::*;

    const ALL: [Way; 3] = [Pxe, Http, VirtualMedia];

    fn tried(way: Way, came: Came) -> Tried {
        Tried { way, epoch: Epoch(4), since: Millis(0), came }
    }

    #[test]
    fn a_missed_boot_leads_to_the_next_way_and_any_other_to_the_same() {
        let rows = [
            (None, ALL),
            (Some(tried(Pxe, Came::Awaited)), ALL),
            (Some(tried(Pxe, Came::Arrived)), ALL),
            (Some(tried(Pxe, Came::Missed)), [Http, VirtualMedia, Pxe]),
            (Some(tried(Http, Came::Arrived)), [Http, VirtualMedia, Pxe]),
            (Some(tried(VirtualMedia, Came::Missed)), ALL),
        ];
        for (tried, expected) in rows {
            assert_eq!(ways(&ALL, tried.as_ref()), expected, "{tried:?}");
        }
        assert_eq!(ways(&[Pxe], Some(&tried(Pxe, Came::Missed))), [Pxe], "there is no other");
        assert_eq!(
            ways(&[Http, Pxe], Some(&tried(VirtualMedia, Came::Arrived))),
            [Http, Pxe],
            "the model has it no more"
        );
        assert!(ways(&[], Some(&tried(Pxe, Came::Missed))).is_empty());
    }

    #[test]
    fn only_the_deadline_of_its_own_state_misses_a_boot() {
        let of = |came, epoch| tried(Pxe, came).after_deadline(Epoch(epoch)).came;
        assert_eq!(of(Came::Awaited, 4), Came::Missed);
        assert_eq!(of(Came::Awaited, 5), Came::Awaited);
        assert_eq!(of(Came::Arrived, 4), Came::Arrived, "what failed later is no fault of the way");
    }

    #[test]
    fn what_was_stored_by_earlier_versions_still_reads() {
        let text = r#"{"way":"virtual-media","epoch":4,"since":0,"came":"missed"}"#;
        let read: Tried = serde_json::from_str(text).unwrap();
        assert_eq!(
            (read.clone(), serde_json::to_string(&read).unwrap()),
            (tried(VirtualMedia, Came::Missed), text.into())
        );
    }

    proptest! {
        #[test]
        fn as_many_missed_boots_as_there_are_ways_try_every_way(rotation in 0_usize..6, count in 1_usize..4) {
            let mut model: Vec<Way> = ALL.iter().cycle().skip(rotation).take(3).copied().collect();
            model.truncate(count);
            let (mut last, mut seen) = (None, Vec::new());
            for _ in 0..count {
                let next = ways(&model, last.as_ref());
                prop_assert_eq!(next.len(), model.len());
                seen.push(next[0]);
                last = Some(tried(next[0], Came::Awaited).after_deadline(Epoch(4)));
            }
            prop_assert_eq!(seen, model);
        }
    }
}
