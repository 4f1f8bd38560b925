//! What each state waits for, wants and does once.

use super::{After, At, Check, Facts, Hold, Machine, Start};
use crate::{Act, Again, AgentTask, OrderWant, Owner, Plan, Ticket, Wait, Want, What};
use muster_names::BootTarget;
use std::time::Duration;

pub(super) fn plan(machine: &Machine, facts: &Facts) -> Plan {
    Plan { wait: wait(machine, facts), want: want(machine), acts: acts(machine, facts) }
}

fn wait(machine: &Machine, facts: &Facts) -> Wait {
    let limits = &facts.limits;
    match machine.at {
        At::Observed | At::Expected | At::InService => Wait::World,
        At::Unidentified | At::Ready | At::Held { .. } | At::Retired => Wait::Person,
        At::Discovering { .. } => Wait::Until(limits.discover),
        At::Commissioning { .. } => Wait::Until(limits.commission),
        At::Installing { .. } => Wait::Until(limits.install),
        At::Checking { .. } => Wait::Until(limits.check),
        At::Draining { .. } => Wait::Until(limits.drain),
        At::Repairing { .. } => Wait::Until(limits.repair),
        At::Stopping { .. } => Wait::Until(limits.stop),
        At::Releasing { .. } | At::Retiring { .. } => Wait::Until(limits.wipe),
    }
}

fn want(machine: &Machine) -> Want {
    let agent = |agent| Want { boot: BootTarget::Agent, agent, ..Want::default() };
    match machine.at {
        At::Observed | At::Expected | At::Draining { .. } | At::Repairing { .. } => Want::default(),
        At::Retired => Want { order: OrderWant::Failed, ..Want::default() },
        At::Ready => Want::default(),
        At::Discovering { .. } => agent(AgentTask::Discover),
        At::Unidentified => Want { ticket: Some(unidentified()), ..agent(AgentTask::Idle) },
        At::Commissioning { .. } => agent(AgentTask::Commission),
        At::Installing { order, .. } => Want { order: OrderWant::Running(order), ..agent(AgentTask::Install(order)) },
        At::Checking { of, .. } => Want {
            agent: AgentTask::Check,
            order: if let Check::Order(order) = of { OrderWant::Written(order) } else { OrderWant::Untouched },
            ..Want::default()
        },
        At::InService => Want { order: OrderWant::Done, ..Want::default() },
        // The machine keeps what runs; only the write ends.
        At::Stopping { .. } => Want { order: OrderWant::Failed, ..agent(AgentTask::Stop) },
        At::Releasing { .. } | At::Retiring { .. } => agent(AgentTask::Wipe),
        At::Held { why } => Want { ticket: Some(held(why)), order: order_of(why), ..Want::default() },
    }
}

fn acts(machine: &Machine, facts: &Facts) -> Vec<Act> {
    if !facts.bmc {
        return Vec::new();
    }
    let boot = |target, owner| {
        vec![Act {
            slot: "boot",
            what: What::BootInto { target },
            again: Again::AfterProbe,
            owner,
            delay: Duration::ZERO,
        }]
    };
    match machine.at {
        At::Discovering { start: Start::Bmc, .. } | At::Installing { .. } => boot(BootTarget::Agent, Owner::Install),
        // The agent that just reported is in RAM already; a second attempt starts afresh.
        At::Commissioning { attempt, start: Start::Bmc } if attempt > 1 => boot(BootTarget::Agent, Owner::Install),
        At::Releasing { .. } | At::Retiring { .. } => boot(BootTarget::Agent, Owner::Person),
        At::Checking { of: Check::Order(_), .. } => boot(BootTarget::Disk, Owner::Install),
        At::Repairing { .. } => vec![Act {
            slot: "rung",
            what: What::PowerCycle,
            again: Again::AfterProbe,
            owner: Owner::Repair,
            delay: Duration::ZERO,
        }],
        // The agent is asked first; power is for an agent that does not answer.
        At::Stopping { .. } => vec![Act {
            slot: "power-off",
            what: What::PowerOff,
            again: Again::AfterProbe,
            owner: Owner::Install,
            delay: facts.limits.stop / 2,
        }],
        _ => Vec::new(),
    }
}

/// A hold that ends an install closes its order; any other leaves the order waiting.
fn order_of(why: Hold) -> OrderWant {
    match why {
        Hold::InstallFailed
        | Hold::InstallRefused
        | Hold::CheckFailed
        | Hold::StopFailed
        | Hold::BmcFailed
        | Hold::Impostor
        | Hold::DataPresent => OrderWant::Failed,
        Hold::Asked
        | Hold::DiscoveryFailed
        | Hold::CommissioningFailed
        | Hold::RepairExhausted(_)
        | Hold::RepairsUsedUp
        | Hold::DrainRefused
        | Hold::WipeFailed => OrderWant::Untouched,
    }
}

fn unidentified() -> Ticket {
    Ticket {
        cause: "unidentified",
        title:
            "No hardware model fits this machine. Look at the differences (muster machine show), then mend the machine \
                or add a model (muster model learn)."
                .into(),
    }
}

fn held(why: Hold) -> Ticket {
    let (cause, title) = match why {
        Hold::Asked => ("asked", "Held at a person's request. Resume it when the reason is gone."),
        Hold::DiscoveryFailed => (
            "discovery-failed",
            "The machine did not report from the boot image. Run `muster boot explain` with its MAC.",
        ),
        Hold::CommissioningFailed => {
            ("commissioning-failed", "The machine did not pass commissioning; its events name the check.")
        }
        Hold::InstallFailed => {
            ("install-failed", "The install did not finish within its attempts; its events name the error.")
        }
        Hold::InstallRefused => (
            "install-refused",
            "The agent refused the install: the image, the machine or the disk is not that of the order.",
        ),
        Hold::CheckFailed => {
            ("check-failed", "The installed system did not pass its quality check; its events name the difference.")
        }
        Hold::RepairExhausted(_) => {
            ("repair-exhausted", "Every rung of the repair was tried. A technician has to look.")
        }
        Hold::RepairsUsedUp => {
            ("repairs-used-up", "The machine failed again after its automatic repairs. A technician has to look.")
        }
        Hold::DrainRefused => {
            ("drain-refused", "The owner did not leave in time. Settle it with the owner, then resume.")
        }
        Hold::StopFailed => {
            ("stop-failed", "The write in flight could not be stopped for certain. Check power and agent by hand.")
        }
        Hold::WipeFailed => {
            ("wipe-failed", "The disks were not proven wiped. Nothing was powered off; look at the disks by hand.")
        }
        Hold::BmcFailed => ("bmc-failed", "The BMC did not do, or may have done, what it was told. Check it by hand."),
        Hold::Impostor => {
            ("impostor", "Two keys claim this machine's token or identity. Find the second machine first.")
        }
        Hold::DataPresent => {
            ("data-present", "The machine still holds an owner's data. Release it (wipes) before it can be Ready.")
        }
    };
    Ticket { cause, title: title.into() }
}

impl After {
    /// In LIFE.md's words.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Install(_) => "install",
            Self::Repair(_) => "repair",
            Self::Release => "release",
            Self::Retire => "retire",
            Self::Ready => "ready",
            Self::Hold(_) => "hold",
        }
    }
}
