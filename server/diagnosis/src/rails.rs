//! The rails that every change of the outside world passes: freeze, owner, budgets.
//!
//! The ledger is read and the claim written in one transaction, so that two couriers cannot both find room. An act
//! that is turned away waits and says which rail holds it; it is never dropped and never counted as done.

use muster_names::{MachineId, Millis, Power};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an act costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Power on, off, cycle.
    Power,
    /// Overwriting a disk with an image.
    Install,
    /// Overwriting a disk with nothing.
    Wipe,
    /// Setting BIOS attributes for the next boot.
    Bios,
}

impl Weight {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Install => "install",
            Self::Wipe => "wipe",
            Self::Bios => "bios",
        }
    }

    pub fn from_label(text: &str) -> Option<Self> {
        [Self::Power, Self::Install, Self::Wipe, Self::Bios].into_iter().find(|weight| weight.label() == text)
    }

    pub fn destructive(self) -> bool {
        matches!(self, Self::Install | Self::Wipe)
    }
}

/// How much of one weight may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budget {
    /// At one moment, in the whole fleet.
    pub concurrent: u32,
    /// At one moment, in one rack.
    pub per_rack: u32,
    /// At one moment, asked for by one person or workflow.
    pub per_requester: u32,
    /// Begun within any hour, in the whole fleet.
    pub per_hour: u32,
    /// At one moment, of the fleet's machines, in percent.
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Budgets {
    pub power: Budget,
    pub install: Budget,
    pub wipe: Budget,
    pub bios: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            power: Budget { concurrent: 10, per_rack: 1, per_requester: 10, per_hour: 1_200, percent: 10 },
            install: Budget { concurrent: 250, per_rack: 40, per_requester: 250, per_hour: 1_500, percent: 100 },
            wipe: Budget { concurrent: 5, per_rack: 2, per_requester: 5, per_hour: 60, percent: 2 },
            bios: Budget { concurrent: 10, per_rack: 5, per_requester: 10, per_hour: 600, percent: 10 },
        }
    }
}

impl Budgets {
    pub fn of(&self, weight: Weight) -> &Budget {
        match weight {
            Weight::Power => &self.power,
            Weight::Install => &self.install,
            Weight::Wipe => &self.wipe,
            Weight::Bios => &self.bios,
        }
    }
}

/// One act that is under way, or began within the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    pub machine: MachineId,
    pub rack: Option<String>,
    pub requester: String,
    pub weight: Weight,
    pub owner: String,
    pub began: Millis,
    pub in_flight: bool,
}

/// All that `admit` may know, read in the claiming transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Why, when the red button is pressed.
    pub frozen: Option<String>,
    pub spent: Vec<Spent>,
    /// Machines that are ours.
    pub fleet: u32,
}

/// What wants to go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub machine: MachineId,
    pub rack: Option<String>,
    pub requester: String,
    pub weight: Weight,
    pub owner: String,
    /// The machine's power as read just now.
    pub power: Power,
    pub now: Millis,
}

/// What holds an act back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rail", rename_all = "kebab-case")]
pub enum Rail {
    Frozen {
        why: String,
    },
    /// Another owner is at work on this machine.
    OwnerFence {
        owner: String,
    },
    /// One destructive step at a time.
    DestructiveInFlight,
    /// Unknown is not off.
    PowerUnknown,
    Budget {
        weight: Weight,
        scope: String,
        limit: u32,
    },
}

impl Rail {
    /// What the site holds back is not the machine's delay, so its clock stands meanwhile. A BMC that does not tell the
    /// power is the machine's own fault and may not put off the end of its wait.
    pub fn stops_the_clock(&self) -> bool {
        !matches!(self, Self::PowerUnknown)
    }
}

impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen { why } => write!(f, "frozen ({why}); `muster unfreeze` lets it go on"),
            Self::OwnerFence { owner } => write!(f, "{owner} is at work on this machine; it goes next"),
            Self::DestructiveInFlight => f.write_str("a destructive step is in flight on this machine; one at a time"),
            Self::PowerUnknown => f.write_str("the BMC does not say whether the machine is on; unknown is not off"),
            Self::Budget { weight, scope, limit } => {
                write!(f, "the {} budget allows {limit} {scope}; it waits for its turn", weight.label())
            }
        }
    }
}

const HOUR_MS: i64 = 3_600_000;

/// May this act go out now?
pub fn admit(ledger: &Ledger, budgets: &Budgets, asked: &Asked) -> Result<(), Rail> {
    if let Some(why) = &ledger.frozen {
        return Err(Rail::Frozen { why: why.clone() });
    }
    if asked.weight == Weight::Power && asked.power == Power::Unknown {
        return Err(Rail::PowerUnknown);
    }
    let mine = ledger.spent.iter().filter(|spent| spent.machine == asked.machine && spent.in_flight);
    for spent in mine {
        if spent.owner != asked.owner {
            return Err(Rail::OwnerFence { owner: spent.owner.clone() });
        }
        if spent.weight.destructive() && asked.weight.destructive() {
            return Err(Rail::DestructiveInFlight);
        }
    }
    within_budget(ledger, budgets.of(asked.weight), asked)
}

fn within_budget(ledger: &Ledger, budget: &Budget, asked: &Asked) -> Result<(), Rail> {
    let alike = || ledger.spent.iter().filter(|spent| spent.weight == asked.weight);
    let running = || alike().filter(|spent| spent.in_flight);
    // A small site is not frozen by rounding.
    let share = (u64::from(ledger.fleet) * u64::from(budget.percent) / 100).max(1);
    let fleet = budget.concurrent.max(1).min(u32::try_from(share).unwrap_or(u32::MAX));
    let recent = alike().filter(|spent| spent.began.0 > asked.now.0.saturating_sub(HOUR_MS));
    let in_rack = running().filter(|spent| asked.rack.is_some() && spent.rack == asked.rack);
    let by_requester = running().filter(|spent| spent.requester == asked.requester);
    let scopes = [
        (running().count(), fleet, "at a time in the fleet"),
        (in_rack.count(), budget.per_rack.max(1), "at a time in a rack"),
        (by_requester.count(), budget.per_requester.max(1), "at a time for one requester"),
        (recent.count(), budget.per_hour.max(1), "an hour"),
    ];
    for (used, limit, scope) in scopes {
        if u32::try_from(used).unwrap_or(u32::MAX) >= limit {
            return Err(Rail::Budget { weight: asked.weight, scope: scope.into(), limit });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(machine: u128, weight: Weight) -> Asked {
        Asked {
            machine: MachineId(machine),
            rack: Some("r1".into()),
            requester: "ops".into(),
            weight,
            owner: "install".into(),
            power: Power::Off,
            now: Millis(10 * HOUR_MS),
        }
    }

    fn spent(machine: u128, weight: Weight, in_flight: bool) -> Spent {
        Spent {
            machine: MachineId(machine),
            rack: Some("r1".into()),
            requester: "ops".into(),
            weight,
            owner: "install".into(),
            began: Millis(10 * HOUR_MS - 1000),
            in_flight,
        }
    }

    fn ledger(spent: Vec<Spent>) -> Ledger {
        Ledger { frozen: None, spent, fleet: 1000 }
    }

    #[test]
    fn a6_7_nothing_passes_a_freeze() {
        let frozen = Ledger { frozen: Some("power works".into()), ..ledger(vec![]) };
        for weight in [Weight::Power, Weight::Install, Weight::Wipe, Weight::Bios] {
            let rail = admit(&frozen, &Budgets::default(), &asked(1, weight)).unwrap_err();
            assert_eq!(rail, Rail::Frozen { why: "power works".into() });
        }
    }

    #[test]
    fn unknown_power_is_not_off() {
        let unknown = Asked { power: Power::Unknown, ..asked(1, Weight::Power) };
        assert_eq!(admit(&ledger(vec![]), &Budgets::default(), &unknown), Err(Rail::PowerUnknown));
        for power in [Power::On, Power::Off] {
            assert_eq!(
                admit(&ledger(vec![]), &Budgets::default(), &Asked { power, ..asked(1, Weight::Power) }),
                Ok(())
            );
        }
    }

    #[test]
    fn one_owner_at_a_time_works_on_a_machine() {
        let other = Spent { owner: "repair".into(), ..spent(1, Weight::Power, true) };
        let found = admit(&ledger(vec![other.clone()]), &Budgets::default(), &asked(1, Weight::Install));
        assert_eq!(found, Err(Rail::OwnerFence { owner: "repair".into() }));
        let ended = Spent { in_flight: false, ..other };
        assert_eq!(admit(&ledger(vec![ended]), &Budgets::default(), &asked(1, Weight::Install)), Ok(()));
    }

    #[test]
    fn i3_one_destructive_step_at_a_time() {
        let found = admit(&ledger(vec![spent(1, Weight::Install, true)]), &Budgets::default(), &asked(1, Weight::Wipe));
        assert_eq!(found, Err(Rail::DestructiveInFlight));
    }

    #[test]
    fn a6_4_each_nested_budget_turns_away_what_is_over_it() {
        let wide = Budget { concurrent: 9, per_rack: 9, per_requester: 9, per_hour: 9, percent: 100 };
        for (budget, scope) in [
            (Budget { concurrent: 2, ..wide }, "at a time in the fleet"),
            (Budget { per_rack: 2, ..wide }, "at a time in a rack"),
            (Budget { per_requester: 2, ..wide }, "at a time for one requester"),
            (Budget { per_hour: 2, ..wide }, "an hour"),
        ] {
            let budgets = Budgets { power: budget, ..Budgets::default() };
            let two = vec![spent(1, Weight::Power, true), spent(2, Weight::Power, true)];
            let rail = Rail::Budget { weight: Weight::Power, scope: scope.into(), limit: 2 };
            assert_eq!(admit(&ledger(two.clone()), &budgets, &asked(3, Weight::Power)), Err(rail));
            assert_eq!(admit(&ledger(two[..1].to_vec()), &budgets, &asked(3, Weight::Power)), Ok(()), "{scope}");
        }
    }

    #[test]
    fn a_small_site_is_not_frozen_by_rounding() {
        let small = Ledger { fleet: 3, ..ledger(vec![]) };
        assert_eq!(admit(&small, &Budgets::default(), &asked(1, Weight::Wipe)), Ok(()));
    }

    proptest! {
        /// I4: whatever comes in whatever order, no budget is ever exceeded.
        #[test]
        fn i4_budgets_are_never_exceeded(steps in proptest::collection::vec((0u128..40, 0u8..4, any::<bool>()), 1..200)) {
            let budget = Budget { concurrent: 4, per_rack: 3, per_requester: 9, per_hour: 30, percent: 50 };
            let budgets = Budgets { power: budget, ..Budgets::default() };
            let mut book = Ledger { frozen: None, spent: vec![], fleet: 100 };
            for (machine, rack, ends) in steps {
                if ends {
                    if let Some(one) = book.spent.iter_mut().find(|s| s.in_flight) { one.in_flight = false; }
                    continue;
                }
                let asked = Asked { rack: Some(format!("r{rack}")), ..asked(machine, Weight::Power) };
                if admit(&book, &budgets, &asked).is_ok() {
                    book.spent.push(Spent { rack: asked.rack.clone(), ..spent(machine, Weight::Power, true) });
                }
                let running: Vec<_> = book.spent.iter().filter(|s| s.in_flight).collect();
                prop_assert!(running.len() <= 4 && book.spent.len() <= 30);
                for rack in 0..4 {
                    let name = Some(format!("r{rack}"));
                    let busy = running.iter().filter(|s| s.rack == name).count();
                    prop_assert!(busy <= 3);
                }
            }
        }
    }
}
