//! Which state follows. Three groups of events: what people ask, what stands, what the world reports; a report counts
//! only in the epoch it answers.

use super::{After, At, Check, Data, Event, Facts, Hold, Machine, Outcome, Resume, Start};
use muster_names::{CaseId, OrderId};

pub(super) fn next(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    if machine.at == At::Retired {
        return None;
    }
    asked(machine, event, facts).or_else(|| stands(machine, event, facts)).or_else(|| reported(machine, event, facts))
}

/// What people ask for, in the states where it may be had.
fn asked(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    let clean = machine.data == Data::Clean;
    Some(match (&machine.at, event) {
        (At::Observed, Event::Claimed) => machine.to(At::Expected),
        (At::Expected | At::Unidentified | At::Ready, Event::DiscoverAsked) if clean => {
            machine.rested(facts).to(discovering(1))
        }
        (At::Observed | At::Expected | At::Unidentified, Event::AdoptAsked) => {
            Machine { at: At::InService, data: Data::Owned, repairs: facts.limits.repairs }
        }
        (At::InService, Event::ReleaseAsked) => machine.to(At::Draining { then: After::Release }),
        (At::Ready, Event::ReleaseAsked) => machine.to(At::Releasing { attempt: 1 }),
        (At::Draining { then }, Event::DrainAcknowledged) => after(machine, *then, facts),
        // Nothing was asked of the machine yet: its owner simply stays.
        (At::Draining { then: After::Install(mine) }, Event::OrderCancelled { order }) if mine == order => {
            machine.to(At::InService)
        }
        (At::Installing { order: mine, .. }, Event::OrderCancelled { order }) if mine == order => {
            machine.to(At::Stopping { then: After::Ready })
        }
        (At::Held { .. }, Event::Resumed { to }) => resume(machine, *to, facts)?,
        _ => return None,
    })
}

fn resume(machine: &Machine, to: Resume, facts: &Facts) -> Option<Machine> {
    let rested = machine.rested(facts);
    // An owner may still be at work on a held machine: whatever disturbs it goes through the drain.
    Some(match (to, machine.data) {
        (Resume::Discover, Data::Clean) => rested.to(discovering(1)),
        (Resume::Repair(case), Data::Clean) => repair(&rested, case, 0, facts),
        (Resume::Release, Data::Clean) => rested.to(At::Releasing { attempt: 1 }),
        (Resume::Check, Data::Owned) => rested.to(At::Checking { of: Check::Again, attempt: 1 }),
        (Resume::Serve, Data::Owned) => rested.to(At::InService),
        (Resume::Repair(case), Data::Owned) => rested.to(At::Draining { then: After::Repair(case) }),
        (Resume::Release, Data::Owned) => rested.to(At::Draining { then: After::Release }),
        (Resume::Discover, Data::Owned) | (Resume::Check | Resume::Serve, Data::Clean) => return None,
    })
}

/// Standing facts. A state that returns `None` here defers: the fact stays and is offered at the next state.
fn stands(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    Some(match (&machine.at, event) {
        (At::Observed | At::Releasing { .. } | At::Retiring { .. } | At::Stopping { .. }, _) => return None,

        (At::InService | At::Checking { .. }, Event::RetireAsked) => machine.to(At::Draining { then: After::Retire }),
        (At::Held { .. }, Event::RetireAsked) if machine.data == Data::Owned => {
            machine.to(At::Draining { then: After::Retire })
        }
        (At::Draining { then }, Event::RetireAsked) if *then != After::Retire => {
            machine.to(At::Draining { then: After::Retire })
        }
        (At::Installing { .. }, Event::RetireAsked) => machine.to(At::Stopping { then: After::Retire }),
        (At::Draining { .. } | At::Repairing { .. }, Event::RetireAsked) => return None,
        (_, Event::RetireAsked) => retire(machine),

        (At::Held { .. } | At::Repairing { .. }, Event::HoldAsked) => return None,
        (At::Installing { .. }, Event::HoldAsked) => machine.to(At::Stopping { then: After::Hold(Hold::Asked) }),
        (_, Event::HoldAsked) => machine.held(Hold::Asked),

        (At::InService, Event::CaseOpened { case }) => machine.to(At::Draining { then: After::Repair(*case) }),
        (At::Ready, Event::CaseOpened { case }) => repair(machine, *case, 0, facts),
        (At::Installing { .. }, Event::CaseOpened { case }) => machine.to(At::Stopping { then: After::Repair(*case) }),

        (At::Ready, Event::Ordered { order, .. }) => machine.to(At::Installing { order: *order, attempt: 1 }),
        (At::InService, Event::Ordered { order, reimage: true }) => {
            machine.to(At::Draining { then: After::Install(*order) })
        }
        _ => return None,
    })
}

/// What the world reports.
fn reported(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    match event {
        Event::Seen { dedicated: true } if machine.at == At::Expected => {
            Some(machine.rested(facts).to(At::Discovering { attempt: 1, start: Start::Itself }))
        }
        Event::Identified { known } => identified(machine, *known),
        Event::ImpostorSeen => impostor(machine),
        Event::DeadlinePassed { epoch } if *epoch == facts.epoch => expired(machine, facts),
        Event::ActFailed { epoch } if *epoch == facts.epoch => act_failed(machine, facts),
        Event::Commissioned { epoch, .. }
        | Event::InstallReported { epoch, .. }
        | Event::CheckJudged { epoch, .. }
        | Event::RungDone { epoch, .. }
        | Event::Stopped { epoch }
        | Event::WipeReported { epoch, .. }
            if *epoch == facts.epoch =>
        {
            answered(machine, event, facts)
        }
        _ => None,
    }
}

fn identified(machine: &Machine, known: bool) -> Option<Machine> {
    match (&machine.at, known) {
        (At::Discovering { start, .. }, true) => Some(machine.to(At::Commissioning { attempt: 1, start: *start })),
        (At::Unidentified, true) => Some(machine.to(At::Commissioning { attempt: 1, start: Start::Itself })),
        (At::Discovering { .. }, false) => Some(machine.to(At::Unidentified)),
        _ => None,
    }
}

/// Two keys for one token: whoever of the two is the machine, nobody writes before a person has looked.
fn impostor(machine: &Machine) -> Option<Machine> {
    Some(match machine.at {
        At::Discovering { .. } | At::Unidentified | At::Commissioning { .. } | At::Checking { .. } | At::Ready => {
            machine.held(Hold::Impostor)
        }
        At::Installing { .. } => machine.to(At::Stopping { then: After::Hold(Hold::Impostor) }),
        // The word that the disks are wiped is worth nothing when two may say it. No power: a wipe may be under way.
        At::Releasing { .. } | At::Retiring { .. } => machine.held(Hold::Impostor),
        _ => return None,
    })
}

/// The state's own answer, in its own epoch.
fn answered(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    let again = |attempt: u8| attempt < facts.limits.attempts;
    Some(match (&machine.at, event) {
        (At::Commissioning { .. }, Event::Commissioned { passed: true, .. }) => ready(machine),
        (At::Commissioning { attempt, start }, Event::Commissioned { passed: false, .. }) => {
            if again(*attempt) {
                machine.to(At::Commissioning { attempt: attempt + 1, start: *start })
            } else {
                machine.held(Hold::CommissioningFailed)
            }
        }

        (At::Installing { order: mine, attempt }, Event::InstallReported { order, outcome, .. }) if mine == order => {
            match outcome {
                // From here on an owner's system runs from the disk.
                Outcome::Ok => {
                    Machine { data: Data::Owned, ..machine.to(At::Checking { of: Check::Order(*order), attempt: 1 }) }
                }
                Outcome::Failed => reinstall(machine, *order, *attempt, facts),
                Outcome::Refused => machine.held(Hold::InstallRefused),
            }
        }

        (At::Checking { .. }, Event::CheckJudged { passed: true, .. }) => {
            match machine.at {
                // A repair that was just proved does not refill the purse that paid for it.
                At::Checking { of: Check::Case(_), .. } => machine.to(At::InService),
                _ => machine.rested(facts).to(At::InService),
            }
        }
        (At::Checking { of, attempt }, Event::CheckJudged { passed: false, .. }) => {
            check_failed(machine, *of, *attempt, facts)
        }

        (At::Repairing { case: mine, rung }, Event::RungDone { case, ok, .. }) if mine == case => {
            if *ok {
                repaired(machine, *case)
            } else {
                repair_rung(machine, *case, rung + 1, facts)
            }
        }

        (At::Stopping { then }, Event::Stopped { .. }) => after(machine, *then, facts),

        (At::Releasing { .. }, Event::WipeReported { ok: true, .. }) => {
            Machine { at: At::Ready, data: Data::Clean, repairs: machine.repairs }
        }
        (At::Retiring { .. }, Event::WipeReported { ok: true, .. }) => {
            Machine { at: At::Retired, data: Data::Clean, repairs: 0 }
        }
        (At::Releasing { .. } | At::Retiring { .. }, Event::WipeReported { ok: false, .. }) => {
            machine.held(Hold::WipeFailed)
        }
        _ => return None,
    })
}

fn expired(machine: &Machine, facts: &Facts) -> Option<Machine> {
    let again = |attempt: u8| attempt < facts.limits.attempts;
    Some(match &machine.at {
        At::Discovering { attempt, start } if again(*attempt) => {
            machine.to(At::Discovering { attempt: attempt + 1, start: *start })
        }
        At::Discovering { .. } => machine.held(Hold::DiscoveryFailed),
        At::Commissioning { attempt, start } if again(*attempt) => {
            machine.to(At::Commissioning { attempt: attempt + 1, start: *start })
        }
        At::Commissioning { .. } => machine.held(Hold::CommissioningFailed),
        // Nobody was allowed to write yet: its boot was lost, and another is as good as the first.
        At::Installing { order, attempt } if again(*attempt) && untouched(*order, facts) => {
            machine.to(At::Installing { order: *order, attempt: attempt + 1 })
        }
        // Somebody may still be writing: stop first.
        At::Installing { .. } => machine.to(At::Stopping { then: After::Hold(Hold::InstallFailed) }),
        At::Checking { of, attempt } => check_failed(machine, *of, *attempt, facts),
        At::Draining { then } if facts.limits.drain_by_force => after(machine, *then, facts),
        At::Draining { .. } => machine.held(Hold::DrainRefused),
        At::Repairing { case, rung } => repair_rung(machine, *case, rung + 1, facts),
        At::Stopping { .. } => machine.held(Hold::StopFailed),
        At::Releasing { .. } | At::Retiring { .. } => machine.held(Hold::WipeFailed),
        _ => return None,
    })
}

fn untouched(order: OrderId, facts: &Facts) -> bool {
    facts.order.is_some_and(|open| open.order == order && !open.begun)
}

fn act_failed(machine: &Machine, facts: &Facts) -> Option<Machine> {
    Some(match &machine.at {
        At::Discovering { attempt, start } if *attempt < facts.limits.attempts => {
            machine.to(At::Discovering { attempt: attempt + 1, start: *start })
        }
        At::Repairing { case, rung } => repair_rung(machine, *case, rung + 1, facts),
        At::Stopping { .. } => machine.held(Hold::StopFailed),
        // The machine may have booted all the same.
        At::Installing { .. } => machine.to(At::Stopping { then: After::Hold(Hold::BmcFailed) }),
        At::Discovering { .. }
        | At::Commissioning { .. }
        | At::Checking { .. }
        | At::Releasing { .. }
        | At::Retiring { .. } => machine.held(Hold::BmcFailed),
        _ => return None,
    })
}

fn after(machine: &Machine, then: After, facts: &Facts) -> Machine {
    match then {
        After::Install(order) => machine.to(At::Installing { order, attempt: 1 }),
        After::Repair(case) => repair(machine, case, 0, facts),
        After::Release => machine.to(At::Releasing { attempt: 1 }),
        After::Retire => retire(machine),
        After::Ready => ready(machine),
        After::Hold(why) => machine.held(why),
    }
}

/// The only door to Ready beside a proven wipe: closed to owned data.
fn ready(machine: &Machine) -> Machine {
    match machine.data {
        Data::Clean => machine.to(At::Ready),
        Data::Owned => machine.held(Hold::DataPresent),
    }
}

/// A machine that holds nobody's data leaves at once; any other is wiped first.
fn retire(machine: &Machine) -> Machine {
    match machine.data {
        Data::Clean => machine.to(At::Retired),
        Data::Owned => machine.to(At::Retiring { attempt: 1 }),
    }
}

/// A repair is proved by the owner's system coming back, or by measuring a machine that has no owner.
fn repaired(machine: &Machine, case: CaseId) -> Machine {
    match machine.data {
        Data::Owned => machine.to(At::Checking { of: Check::Case(case), attempt: 1 }),
        Data::Clean => machine.to(At::Commissioning { attempt: 1, start: Start::Bmc }),
    }
}

fn check_failed(machine: &Machine, of: Check, attempt: u8, facts: &Facts) -> Machine {
    match of {
        Check::Order(_) | Check::Again if attempt < facts.limits.attempts => {
            machine.to(At::Checking { of, attempt: attempt + 1 })
        }
        Check::Order(_) | Check::Again => machine.held(Hold::CheckFailed),
        Check::Case(case) => machine.held(Hold::RepairExhausted(case)),
    }
}

fn reinstall(machine: &Machine, order: OrderId, attempt: u8, facts: &Facts) -> Machine {
    if attempt < facts.limits.attempts {
        machine.to(At::Installing { order, attempt: attempt + 1 })
    } else {
        machine.held(Hold::InstallFailed)
    }
}

/// A new repair costs one of those left.
fn repair(machine: &Machine, case: CaseId, rung: u8, facts: &Facts) -> Machine {
    match machine.repairs.checked_sub(1) {
        Some(left) => repair_rung(&Machine { repairs: left, ..machine.clone() }, case, rung, facts),
        None => machine.held(Hold::RepairsUsedUp),
    }
}

fn repair_rung(machine: &Machine, case: CaseId, rung: u8, facts: &Facts) -> Machine {
    if rung < facts.limits.rungs {
        machine.to(At::Repairing { case, rung })
    } else {
        machine.held(Hold::RepairExhausted(case))
    }
}

fn discovering(attempt: u8) -> At {
    At::Discovering { attempt, start: Start::Bmc }
}

impl Machine {
    fn to(&self, at: At) -> Self {
        Self { at, data: self.data, repairs: self.repairs }
    }

    /// With a full purse of repairs: only a person's word does this, else a flapping fault would never end.
    fn rested(&self, facts: &Facts) -> Self {
        Self { repairs: facts.limits.repairs, ..self.clone() }
    }

    fn held(&self, why: Hold) -> Self {
        self.to(At::Held { why })
    }
}
